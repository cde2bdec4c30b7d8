"""`jtrack paper`: results in; a paper's tables and figures out, with what the paper prints beside ours."""

import csv
import gzip
import json

import numpy as np
import pytest

from jtrack.benchmark import ledger, papers, protocol, results
from jtrack.benchmark.protocol import Trial
from jtrack.benchmark.results import INITIALISED, TRACKED, Trajectory
from jtrack.data import otb, synthetic
from tests.data import otb_tree

FRAMES = {"Deer": 12, "Fish": 9}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What JTRACK_DATA may hold: annotations of two sequences and the published boxes of HCFT, 3 px off."""
    folder = tmp_path_factory.mktemp("data") / "otb_benchmark"
    shown = {}
    for seed, (name, frames) in enumerate(FRAMES.items()):
        boxes = synthetic.clip(frames=frames, size=(96, 128), seed=seed).boxes
        (folder / "annotations" / "anno").mkdir(parents=True, exist_ok=True)
        otb.write_boxes(folder / "annotations" / "anno" / f"{name}.txt", boxes)
        shown[name] = {"res": (boxes + otb.ORIGIN + [3, 0, 0, 0]).tolist()}
    (folder / "results").mkdir()
    with gzip.open(folder / "results" / "CF2_OPE.json.gz", "wt") as file:
        json.dump(shown, file)
    return folder.parent


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    """An empty folder without anybody's data."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("JTRACK_DATA", raising=False)
    return tmp_path


def table(folder, name="table1"):
    with (folder / "tables" / f"{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


def keep_run(away, root):
    """A run of HCFT on Deer that never moves, in a ledger in docs/runs."""
    label = {"tracker": "hcft", "profile": "release2016", "backbone": "vgg16", "seed": 0}
    place = {"root": str(root), "dataset": "otb"}
    store = results.open_store(away / "results", label, place, {"Deer": "ab"}, {})
    boxes = otb.dataset(root, None).annotation("Deer").boxes
    status = np.full(len(boxes), TRACKED, np.uint8)
    status[0] = INITIALISED
    trial = Trial("Deer", 0, 0, len(boxes), boxes[0], 0)
    store.write(protocol.load("ope"), trial, Trajectory(np.tile(boxes[0], (len(boxes), 1)), status))
    return ledger.keep(store.folder, away / "here" / "docs" / "runs", commit="c", command="x")


def test_a_paper_without_any_data(jtrack, away):
    done = jtrack("paper", "CNN-SVM")
    assert done.stdout.startswith("wrote paper-cnn_svm/report.html (")
    assert "jtrack: 15 rows could not be filled" in done.stderr
    rows = table(away / "here" / "paper-cnn_svm")
    assert {row["Source"] for row in rows} == {"the paper"}
    assert rows[-1]["Method"] == "Ours" and rows[-1]["IV (25)"] == "0.556" and rows[-1]["SR@0.5"] == ""


def test_data_are_found_where_they_usually_are(jtrack, away, data, monkeypatch):
    monkeypatch.setenv("JTRACK_DATA", str(data))
    keep_run(away, data / "otb_benchmark" / "annotations")
    jtrack("paper", "hcft", "--out", away / "out")
    ours = [(row["Source"], row["Sequences"]) for row in table(away / "out") if row["Method"] == "Ours"]
    assert ours == [
        ("the paper", ""),
        ("hcft release2016 on vgg16", "1 of 51 of cvpr13, 1 of 100 of tb100"),
        ("published boxes of CF2", "2 of 51 of cvpr13, 2 of 100 of tb100"),
        ("published boxes of CF2 on the sequences of the run", "1 of 51 of cvpr13, 1 of 100 of tb100"),
    ]
    # The first frame, from which a tracker starts, has no error.
    errors = [3 * (frames - 1) / frames for frames in FRAMES.values()]
    assert float(table(away / "out")[2]["Error cvpr13"]) == pytest.approx(np.mean(errors), rel=1e-5)
    assert (away / "out" / "figures" / "figure5-ope-success-shared.pdf").is_file()


def test_annotations_are_those_of_the_runs(jtrack, away, data):
    keep_run(away, data / "otb_benchmark" / "annotations")
    listed = jtrack("paper", "hcft", "--list").stdout.splitlines()
    assert {line.split("\t")[3] for line in listed if "hcft release2016 on vgg19" in line} == {
        "hcft release2016 on vgg16: 1 of 51 of cvpr13, 1 of 100 of tb100",
        "hcft release2016 on vgg16: 1 of 100 of tb100",
        "nothing",  # under TRE and SRE
    }
    assert not (away / "here" / "paper-hcft").exists()


def test_what_is_named_is_taken(jtrack, away, data):
    boxes = data / "otb_benchmark" / "results" / "CF2_OPE.json.gz"
    root = data / "otb_benchmark" / "annotations"
    jtrack("paper", "gdt", "--results", boxes, "--root", root, "--out", away / "out")
    rows = {row["Method"]: row for row in table(away / "out", "table2") if row["Source"] != "the paper"}
    assert list(rows) == ["HCFT"] and rows["HCFT"]["P@20"] == "1"
    assert jtrack("paper", "gdt", "--out", away / "out", code=2).stderr.count("--overwrite") == 1
    jtrack("paper", "gdt", "--out", away / "out", "--overwrite")
    assert {row["Source"] for row in table(away / "out", "table2")} == {"the paper"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gtd"], "unknown paper 'gtd': did you mean 'gdt'"),
        (["gdt", "--results", "nowhere"], "nowhere"),
        (["gdt", "--curves", "nowhere"], "nowhere"),
        (["gdt", "--root", "nowhere"], "nowhere"),
    ],
)
def test_what_is_not_there_is_refused(jtrack, away, arguments, message):
    assert message in jtrack("paper", *arguments, code=2).stderr
    assert list((away / "here").iterdir()) == []


@pytest.fixture
def on_hog(monkeypatch):
    """A paper of which one run is on HOG, which needs no weights."""
    text = """
        title = "T"
        authors = "A"
        venue = "V"
        tracker = "hcft"
        networks = ["hog"]
        methods.Ours.runs = [{ profile = "default" }]
        [[tables]]
        id = "table1"
        title = "Table 1"
        caption = "C"
        list = "cvpr13"
        columns = [{ measure = "auc" }]
        values.Ours = [0.5]
    """
    made_up = papers.parse("made_up", text)
    monkeypatch.setattr(papers, "load", lambda name: made_up)


def made_up_videos(away, *names):
    for name in names:
        clip = synthetic.clip(frames=3, size=(96, 128))
        otb_tree.write(away / "otb", name, clip)
    return ["paper", "hcft", "--run", away / "runs", "--root", away / "otb", "--overwrite"]


def test_what_is_missing_is_run_once(jtrack, away, on_hog):
    command = made_up_videos(away, "Deer", "Walk")  # Walk is on no list
    said = jtrack(*command).stderr
    assert "to run: hcft default on hog, ope: 1 sequence, 3 frames\n" in said
    theirs, ours = table(away / "here" / "paper-made_up")
    assert (theirs["Source"], theirs["AUC"]) == ("the paper", "0.5")
    assert (ours["Source"], ours["Sequences"]) == ("hcft default on hog", "1 of 51")
    assert "to run" not in jtrack(*command).stderr


def test_shards_make_the_whole(jtrack, away, on_hog):
    command = made_up_videos(away, "Couple", "Deer", "Girl")
    for part in ("1/2", "0/2"):
        done = jtrack(*command, "--shard", part)
        assert f"shard {part} is done" in done.stdout
        assert not (away / "here" / "paper-made_up").exists()
    assert "to run" not in jtrack(*command).stderr
    assert table(away / "here" / "paper-made_up")[1]["Sequences"] == "3 of 51"
    assert "give --run FOLDER" in jtrack("paper", "hcft", "--shard", "0/2", code=2).stderr


def test_annotations_alone_cannot_be_run_on(jtrack, away, data, on_hog):
    said = jtrack("paper", "hcft", "--run", away / "runs", code=2).stderr
    assert "--images DIR" in said
    root = data / "otb_benchmark" / "annotations"
    said = jtrack("paper", "hcft", "--run", away / "runs", "--root", root, code=2).stderr
    assert "no images to run on" in said


def test_frames_with_boxes_are_there_where_images_are(jtrack, away, data):
    boxes = data / "otb_benchmark" / "results" / "CF2_OPE.json.gz"
    for seed, (name, frames) in enumerate(FRAMES.items()):
        otb_tree.write(away / "otb", name, synthetic.clip(frames=frames, size=(96, 128), seed=seed))
    root = data / "otb_benchmark" / "annotations"
    command = ["paper", "gdt", "--results", boxes, "--root", root, "--overwrite", "--out", away / "out"]
    page, figures = away / "out" / "report.html", away / "out" / "figures"
    jtrack(*command)
    assert "Images are missing" in page.read_text("utf-8") and not [*figures.glob("figure6.*")]
    jtrack(*command, "--images", away / "otb")
    assert "Images are missing" not in page.read_text("utf-8")
    assert {path.name for path in figures.glob("figure6.*")} == {"figure6.png", "figure6.pdf"}
    assert "nowhere" in jtrack(*command, "--images", "nowhere", code=2).stderr
