"""`jtrack report`: results in; a page, figures and tables out."""

import gzip
import json
import shutil

import numpy as np
import pytest

from jtrack.benchmark.report import figures
from jtrack.data import otb, synthetic
from tests.data import otb_tree


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two sequences in OTB's layout, and the published boxes of two trackers, 3 and 30 px off."""
    folder = tmp_path_factory.mktemp("world")
    boxes = {}
    for name, frames in (("Deer", 12), ("Fish", 9)):
        clip = synthetic.clip(frames=frames, size=(96, 128))
        otb_tree.write(folder / "otb", name, clip)
        (folder / "bare" / "anno").mkdir(parents=True, exist_ok=True)
        otb.write_boxes(folder / "bare" / "anno" / f"{name}.txt", clip.boxes)
        boxes[name] = clip.boxes + otb.ORIGIN
    for tracker, shift in (("Near", 3), ("Far", 30)):
        shown = {name: {"res": np.add(rows, [shift, 0, 0, 0]).tolist()} for name, rows in boxes.items()}
        with gzip.open(folder / f"{tracker}_OPE.json.gz", "wt") as file:
            json.dump(shown, file)
    short = {name: {"res": rows[:9].tolist()} for name, rows in boxes.items()}
    with gzip.open(folder / "Short_OPE.json.gz", "wt") as file:
        json.dump(short, file)
    return folder


@pytest.fixture
def quick(monkeypatch):
    """No figures, which take most of the time."""
    monkeypatch.setattr(figures, "write", lambda section, folder: None)


def given(world, *names, root="otb"):
    files = [world / f"{name}_OPE.json.gz" for name in names]
    return ["report", *files, "--root", world / root, "--out"]


@pytest.mark.slow
def test_report_of_published_results(jtrack, world, tmp_path):
    out = tmp_path / "report"
    said = jtrack(*given(world, "Far", "Near"), out, "--title", "Near & far").stdout
    assert said.startswith(f"wrote {out}/report.html (")
    page = (out / "report.html").read_text("utf-8")
    assert "<title>Near &amp; far</title>" in page and page.count("data:image/jpeg") > 8
    assert (out / "tables" / "ope-overall.csv").read_text().splitlines()[1].startswith("Near,")
    assert (out / "figures" / "ope-success.pdf").stat().st_size > 1000


def test_frames_of_another_folder(quick, jtrack, world, tmp_path):
    bare = given(world, "Near", root="bare")
    jtrack(*bare, tmp_path / "without")
    jtrack(*bare, tmp_path / "with", "--images", world / "otb")
    assert "data:image/jpeg" not in (tmp_path / "without" / "report.html").read_text("utf-8")
    assert "data:image/jpeg" in (tmp_path / "with" / "report.html").read_text("utf-8")


def test_only_some_sequences(quick, jtrack, world, tmp_path):
    jtrack(*given(world, "Near", "Far"), tmp_path / "r", "--sequences", "Fish")
    rows = (tmp_path / "r" / "tables" / "ope-sequences-auc.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Sequence", "Fish"]


def test_an_earlier_report_is_replaced_only_if_told(quick, jtrack, world, tmp_path):
    out = tmp_path / "r"
    jtrack(*given(world, "Near"), out)
    assert "is not empty" in jtrack(*given(world, "Near"), out, code=2).stderr
    jtrack(*given(world, "Near", "Far"), out, "--overwrite")
    assert len((out / "tables" / "ope-overall.csv").read_text().splitlines()) == 3
    (out / "notes.txt").write_text("mine")
    assert "'notes.txt'" in jtrack(*given(world, "Near"), out, "--overwrite", code=2).stderr
    assert (out / "notes.txt").read_text() == "mine"


def test_what_cannot_be_scored_does_not_keep_the_others_from_the_report(quick, jtrack, world, tmp_path):
    said = jtrack(*given(world, "Near", "Short"), tmp_path / "r", code=1).stderr
    assert "Short has 9 boxes of Deer" in said and "the report has the other 1" in said
    assert (tmp_path / "r" / "report.html").exists()


def test_a_damaged_annotation_costs_its_own_sequence(quick, jtrack, world, tmp_path):
    root = tmp_path / "otb"
    shutil.copytree(world / "otb", root)
    (root / "Deer" / "groundtruth_rect.txt").write_text("11,11,20\n")
    arguments = [root if each == world / "otb" else each for each in given(world, "Near", "Far")]
    with pytest.warns(UserWarning, match=r"left out: line 1 of .*groundtruth_rect\.txt has 3 numbers"):
        jtrack(*arguments, tmp_path / "r")
    rows = (tmp_path / "r" / "tables" / "ope-sequences-auc.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Sequence", "Fish"]


@pytest.mark.parametrize(
    "change, why",
    [
        (["--protocol", "tre"], "unknown protocol of these results 'tre'"),
        (["--images", "nowhere"], "there is no folder nowhere"),
        (["--list", "tb51"], "did you mean 'tb50'"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(jtrack, world, tmp_path, change, why):
    assert why in jtrack(*given(world, "Near"), tmp_path / "r", *change, code=2).stderr
    assert not list(tmp_path.iterdir())
