"""`jtrack view`: results in; a page a sequence out."""

import base64
import gzip
import json
import re
import shutil

import cv2
import numpy as np
import pytest

from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import results
from jtrack.benchmark.protocol import Trial
from jtrack.benchmark.response_maps import Response, gathered, small
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.benchmark.view import pictures
from jtrack.cli import outputs
from jtrack.data import otb, synthetic
from tests.data import otb_tree

LENGTHS = {"Deer": 12, "Fish": 9}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two sequences in OTB's layout, one without images, and published boxes, 3 and 30 px off."""
    folder = tmp_path_factory.mktemp("world")
    boxes = {}
    for name, frames in LENGTHS.items():
        clip = synthetic.clip(frames=frames, size=(96, 128))
        otb_tree.write(folder / "otb", name, clip)
        (folder / "bare" / "anno").mkdir(parents=True, exist_ok=True)
        otb.write_boxes(folder / "bare" / "anno" / f"{name}.txt", clip.boxes)
        boxes[name] = clip.boxes
    for tracker, shift, names in (("Near", 3, LENGTHS), ("Far", 30, ["Deer"])):
        shown = {name: {"res": np.add(boxes[name] + otb.ORIGIN, [shift, 0, 0, 0]).tolist()} for name in names}
        with gzip.open(folder / f"{tracker}_OPE.json.gz", "wt") as file:
            json.dump(shown, file)
    return folder


def given(world, *names, root="otb"):
    files = [world / f"{name}_OPE.json.gz" for name in names]
    return ["view", *files, "--root", world / root, "--out"]


def data_of(path):
    """What the script of a page draws."""
    text = path.read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="view">(.*?)</script>', text, re.S)[1])


def states(path):
    """Of each tracker, its states in the first trial; None for no trial."""
    return {
        tracker["name"]: tracker["trials"][0]["states"] if tracker["trials"] else None
        for tracker in data_of(path)["trackers"]
    }


def test_a_page_a_sequence(jtrack, world, tmp_path):
    out = tmp_path / "pages"
    assert jtrack(*given(world, "Near", "Far"), out).stdout == f"wrote 2 pages to {out}\n"
    assert sorted(path.name for path in out.iterdir()) == ["Deer.html", "Fish.html"]
    assert (
        set(states(out / "Deer.html")) == {"Near", "Far"} and None not in states(out / "Deer.html").values()
    )
    assert states(out / "Fish.html")["Far"] is None
    assert "Far: Far has no results of Fish: run it on it" in (out / "Fish.html").read_text("utf-8")
    data = data_of(out / "Deer.html")
    assert len(data["images"]) == 12 and all(data["images"])


def test_height_and_every(jtrack, world, tmp_path):
    jtrack(*given(world, "Near"), tmp_path, "--height", 48, "--every", 4, "--sequences", "Deer")
    assert [path.name for path in tmp_path.iterdir()] == ["Deer.html"]
    data = data_of(tmp_path / "Deer.html")
    assert data["frames"] == [0, 4, 8] and len(data["images"]) == 3
    picture = base64.b64decode(data["images"][0].partition(",")[2])
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
    """A results folder as `jtrack eval` writes it: one run under two protocols, which failed on Fish."""
    folder = tmp_path_factory.mktemp("results")
    about = {"dataset": "otb", "root": str(world / "otb")}
    store = results.open_store(folder, {"tracker": "own", "profile": "default"}, about)
    ope, baseline = protocols.load("ope"), protocols.load("baseline")
    boxes = otb.read_boxes(world / "otb" / "Deer" / "groundtruth_rect.txt")
    status = np.full(12, TRACKED, np.uint8)
    status[0] = INITIALISED
    trial = Trial("Deer", 0, 0, 12, boxes[0], 0)
    store.write(ope, trial, Trajectory(boxes, status, lost=np.arange(12) == 7))
    store.fail(ope, "Fish", "Traceback ...\nValueError: <b>no</b> room")
    status = np.array(
        [INITIALISED, *[TRACKED] * 3, FAILED, *[SKIPPED] * 4, INITIALISED, *[TRACKED] * 2], np.uint8
    )
    boxes = np.where((status == FAILED)[:, None] | (status == SKIPPED)[:, None], np.nan, boxes)
    store.write(baseline, trial, Trajectory(boxes, status))
    return folder


def test_a_results_folder_of_two_protocols_knows_its_dataset(jtrack, runs, tmp_path):
    jtrack("view", runs, "--out", tmp_path / "p", "--sequences", "Deer")
    assert states(tmp_path / "p" / "Deer.html") == {
        "own · baseline": "itttfssssitt",
        "own · ope": "itttttt" + "l" + "tttt",
    }
    jtrack("view", runs, "--out", tmp_path / "q", "--sequences", "Deer", "--protocol", "ope")
    assert set(states(tmp_path / "q" / "Deer.html")) == {"own"}


def test_a_sequence_that_only_failed_has_no_page_and_others_do(jtrack, runs, world, tmp_path):
    said = jtrack("view", runs, "--out", tmp_path / "p", code=1)
    assert "nothing is shown of Fish" in said.stderr and "1 page written" in said.stderr
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["Deer.html"]
    jtrack("view", runs, *given(world, "Near")[1:], tmp_path / "q", "--protocol", "ope")
    page = (tmp_path / "q" / "Fish.html").read_text("utf-8")
    assert "own: failed: ValueError: &lt;b&gt;no&lt;/b&gt; room" in page


def test_frames_of_another_folder_and_frames_that_are_missing(jtrack, world, tmp_path):
    jtrack(*given(world, "Near", root="bare"), tmp_path / "bare")
    assert data_of(tmp_path / "bare" / "Deer.html")["images"] == [None] * 12
    jtrack(*given(world, "Near", root="bare"), tmp_path / "lent", "--images", world / "otb")
    assert all(data_of(tmp_path / "lent" / "Deer.html")["images"])


def test_a_damaged_image_leaves_its_place_empty(jtrack, world, tmp_path, copied):
    (copied / "Deer" / "img" / "0005.jpg").write_bytes(b"damaged")
    arguments = [copied if each == world / "otb" else each for each in given(world, "Near")]
    jtrack(*arguments, tmp_path / "p")
    images = data_of(tmp_path / "p" / "Deer.html")["images"]
    assert [place for place, image in enumerate(images) if image is None] == [4]
    assert "1 of 12 frames could not be read" in (tmp_path / "p" / "Deer.html").read_text("utf-8")


@pytest.fixture
def copied(world, tmp_path):
    return shutil.copytree(world / "otb", tmp_path / "otb")


def test_earlier_pages_are_replaced_only_if_told(jtrack, world, tmp_path):
    out = tmp_path / "p"
    jtrack(*given(world, "Near"), out)
    assert "is not empty" in jtrack(*given(world, "Far"), out, code=2).stderr
    jtrack(*given(world, "Far"), out, "--overwrite")
    assert set(states(out / "Deer.html")) == {"Far"} and set(states(out / "Fish.html")) == {"Near"}


def test_response_maps(jtrack, world, tmp_path):
    for name in ("Deer", "Fish"):
        (tmp_path / "maps" / name).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "maps" / "Deer" / "000003.png"), np.full((30, 60, 3), 99, np.uint8))
    cv2.imwrite(str(tmp_path / "maps" / "Fish" / "000001.png"), np.full((30, 60, 3), 99, np.uint8))
    jtrack(*given(world, "Near"), tmp_path / "p", "--maps", tmp_path / "maps")
    maps = data_of(tmp_path / "p" / "Deer.html")["maps"]
    assert [place for place, image in enumerate(maps) if image] == [3]
    one = (*given(world, "Near"), tmp_path / "q", "--maps", tmp_path / "maps" / "Fish")
    jtrack(*one, "--sequences", "Fish")
    assert data_of(tmp_path / "q" / "Fish.html")["maps"][1]
    assert "has no folder of one of the 2 sequences" in jtrack(*one, "--overwrite", code=2).stderr


def test_a_page_that_would_be_too_large_costs_itself_alone(jtrack, world, tmp_path, monkeypatch):
    jtrack(*given(world, "Near"), tmp_path / "p")
    sizes = [sum(map(len, data_of(tmp_path / "p" / f"{name}.html")["images"])) for name in LENGTHS]
    assert sizes[0] > sizes[1]
    monkeypatch.setattr(pictures, "LARGEST", sizes[1])
    said = jtrack(*given(world, "Near"), tmp_path / "q", code=1).stderr
    assert "the page of Deer would have more than" in said and "--every 2" in said
    assert [path.name for path in (tmp_path / "q").iterdir()] == ["Fish.html"]
    monkeypatch.setattr(pictures, "LARGEST", 10)
    assert "(and 1 more such)" in jtrack(*given(world, "Near"), tmp_path / "r", code=2).stderr
    assert not (tmp_path / "r").exists()


def test_kept_response_maps_and_learning_come_with_the_results(jtrack, world, tmp_path):
    boxes = otb.read_boxes(world / "otb" / "Deer" / "groundtruth_rect.txt")
    status = np.full(12, TRACKED, np.uint8)
    status[0] = INITIALISED
    found = [None, *(small(Response(np.eye(5), np.float32(box))) for box in boxes[1:])]
    about = {"dataset": "otb", "root": str(world / "otb")}
    store = results.open_store(tmp_path / "results", {"tracker": "own"}, about)
    ope, trial = protocols.load("ope"), Trial("Deer", 0, 0, 12, boxes[0], 0)
    learnt = np.arange(12) % 5 == 4
    store.write(ope, trial, Trajectory(boxes, status, learnt=learnt, maps=lambda: gathered(found)))
    jtrack("view", tmp_path / "results", "--out", tmp_path / "p")
    (shown,) = data_of(tmp_path / "p" / "Deer.html")["trackers"][0]["trials"]
    assert shown["learnt"] == [4, 9] and shown["maps"][0] is None
    np.testing.assert_allclose([place for _, place in shown["maps"][1:]], boxes[1:], rtol=1e-6)
    (path,) = (tmp_path / "results").rglob("*.maps.npz")
    path.write_bytes(path.read_bytes()[:99])
    said = jtrack("view", tmp_path / "results", "--out", tmp_path / "q", code=2).stderr
    assert "Deer.maps.npz holds no response maps of its trial" in said and said.count("\n") == 1
    assert not list((tmp_path / "q").glob("*")) and "--overwrite" not in said


def test_results_of_two_datasets_are_refused(jtrack, runs, tmp_path):
    other = tmp_path / "results"
    label = {"tracker": "other"}
    store = results.open_store(other, label, {"dataset": "otb", "root": "/elsewhere"})
    trial = Trial("Deer", 0, 0, 2, np.ones(4), 0)
    store.write(protocols.load("ope"), trial, Trajectory(np.ones((2, 4)), np.ones(2, np.uint8)))
    said = jtrack("view", runs, other, "--out", tmp_path / "p", code=2).stderr
    assert "a page is of one dataset" in said and not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    "change, why",
    [
        (["--protocol", "tre"], "unknown protocol of these results 'tre'"),
        (["--images", "nowhere"], "there is no folder nowhere"),
        (["--sequences", "Dear"], "did you mean 'Deer'"),
        (["--maps", "nowhere"], "nowhere has no folder of one of the 2 sequences"),
        (["--maps", "nowhere", "--sequences", "Deer"], "nowhere holds no response maps"),
        (["--dataset", "otbb"], "did you mean 'otb'"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(jtrack, world, tmp_path, change, why):
    assert why in jtrack(*given(world, "Near"), tmp_path / "p", *change, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_missing_results_and_a_missing_dataset_are_one_sentence(jtrack, world, tmp_path):
    jtrack("view", tmp_path / "nothing", "--root", world / "otb", "--out", tmp_path / "p", code=2)
    unknown = ("view", world / "Near_OPE.json.gz", "--out", tmp_path / "p")
    assert "give --root DIR" in jtrack(*unknown, code=2).stderr
    assert "there is no folder" in jtrack(*unknown, "--root", tmp_path / "gone", code=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_no_half_page(jtrack, world, tmp_path, monkeypatch):
    def full(path):
        raise outputs.WriteError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(outputs, "appearing", full)
    assert "No space left" in jtrack(*given(world, "Near"), tmp_path / "p", code=2).stderr
    assert not (tmp_path / "p").exists()
