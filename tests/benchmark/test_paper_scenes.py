"""A paper's figures of frames with boxes: of which sequences they are, and what the page says of them."""

import re

import cv2
import numpy as np
import pytest
import report_world as world

from jtrack.benchmark import papers, scoring
from jtrack.benchmark.papers import Scenes, writing
from jtrack.benchmark.papers.matching import Material
from jtrack.benchmark.report.looks import look
from jtrack.data import open_dataset, otb
from jtrack.errors import JtrackError

MADE_UP = """
title = "Made up"
authors = "A and B"
venue = "C 2000"
tracker = "hcft"
networks = ["hog"]

[methods]
Ours = { runs = [{ profile = "paper" }] }
Rival = { published = "Boxes" }
Unknown = {}

[[plots]]
id = "figure1"
title = "Figure 1"
caption = "Success plots"
curve = "success"
list = "cvpr13"
methods = ["Ours", "Rival"]
"""
NAMED = """
[[scenes]]
id = "figure2"
title = "Figure 2"
caption = "Frames"
methods = ["Rival", "Unknown"]
sequences = ["Fish", "Basketball", "Deer"]
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return world.build(tmp_path_factory.mktemp("otb"))


def material(dataset, boxes_of=tuple(world.FRAMES)):
    """A run of the paper's tracker on all, published boxes of some."""
    truth = scoring.annotations(dataset)
    label = {"tracker": "hcft", "backbone": "hog"}
    run = world.run("hcft", 1.0, truth, profile="paper", label=label)
    boxes = world.run("Boxes", 2.0, {name: truth[name] for name in boxes_of})
    return Material([run, boxes], truth)


def section(page, id_):
    return re.search(rf'<section id="{id_}">.*?</section>', page, re.S)[0]


def words(page, id_):
    return re.sub(r"<[^>]*>|&#39;", "'", section(page, id_))


def written(text, material, images, out):
    paper = papers.parse("made_up", text)
    page = writing.write(paper, material, out, images=images).page.read_text("utf-8")
    return page, {path.name for path in (out / "figures").iterdir()}


def test_the_papers_sequences_where_its_text_names_them(dataset, tmp_path):
    page, files = written(MADE_UP + NAMED, material(dataset), dataset, tmp_path / "out")
    assert {"figure2.png", "figure2.pdf"} <= files
    text = words(page, "figure2")
    assert "Sequences are the paper's; frames are spread evenly, as its text names none." in text
    assert "There are no images, or nobody's boxes, of Basketball." in text
    assert 'src="data:image/jpeg;base64,' in section(page, "figure2") and "https:" not in page
    # Rival is the second tracker in the plot, and has its colour here.
    picture = cv2.imread(str(tmp_path / "out" / "figures" / "figure2.png"))[:, :, ::-1]
    colours = [np.array([int(look(n).colour[at : at + 2], 16) for at in (1, 3, 5)]) for n in range(3)]
    there = [bool((picture == colour).all(axis=2).any()) for colour in colours]
    assert there == [False, True, False]
    # Two rows of five frames of 340 x 255 pixels, ten between them, and one line of a legend.
    assert picture.shape[1] == 1792 and 2 * 265 + 30 < len(picture) < 2 * 265 + 80


def test_sequences_are_chosen_evenly_where_it_names_none(dataset, tmp_path):
    """Of those that most runs have: of Coke and Fish."""
    page, files = written(MADE_UP, material(dataset, ["Coke", "Fish"]), dataset, tmp_path / "out")
    assert {"frames.png", "frames.pdf"} <= files
    text = words(page, "frames")
    assert "Sequences and frames are chosen evenly: they are not the paper's, whose text names none." in text
    assert "has no box" not in text
    (scenes,) = papers.parse("made_up", MADE_UP).scenes
    assert scenes == Scenes("frames", "Frames", "Boxes of several trackers", ("Ours", "Rival"))


@pytest.mark.parametrize("bare", [False, True])
def test_without_images_the_page_says_so(dataset, tmp_path, bare):
    (tmp_path / "bare" / "anno").mkdir(parents=True)
    for name in world.FRAMES:
        otb.write_boxes(tmp_path / "bare" / "anno" / f"{name}.txt", dataset.annotation(name).boxes)
    images = open_dataset("otb", tmp_path / "bare") if bare else None
    page, files = written(MADE_UP + NAMED, material(dataset), images, tmp_path / "out")
    assert "Images are missing of Fish, Basketball, Deer: give --images DIR" in words(page, "figure2")
    page, more = written(MADE_UP, material(dataset), images, tmp_path / "other")
    assert "Images are missing: give --images DIR" in words(page, "frames")
    assert not {name for name in files | more if name.startswith(("figure2", "frames"))}


def test_images_without_boxes_are_said(dataset, tmp_path):
    page, _ = written(MADE_UP + NAMED, Material(), dataset, tmp_path / "out")
    assert "There are images, but nobody's boxes, of Fish, Deer." in words(page, "figure2")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (NAMED.replace('"Fish"', '"Fisch"'), "unknown sequence of OTB 'Fisch': did you mean 'Fish'"),
        (NAMED.replace('"Unknown"', '"Nobody"'), "unknown method 'Nobody'"),
        (NAMED.replace("figure2", "figure1"), "the same id"),
        (NAMED + "frames = [1]\n", "unknown key 'frames'"),
        (NAMED.replace("methods", "sequence"), "unknown key 'sequence'"),
    ],
)
def test_what_a_file_has_wrong_is_refused(wrong, message):
    with pytest.raises(JtrackError, match=re.escape(message)):
        papers.parse("made_up", MADE_UP + wrong)


def test_the_papers_name_these():
    sizes = {name: [len(each.sequences) for each in papers.load(name).scenes] for name in papers.names()}
    assert sizes == {"cnn_svm": [5], "deeptrack": [0], "fcnt": [0], "gdt": [0], "hcft": [12, 3]}
