"""Trackers from elsewhere: ten lines fit, OpenCV's come along, and what does not fit is refused."""

import re
import textwrap

import cv2
import numpy as np
import pytest

from jtrack import trackers
from jtrack.benchmark import adapters, metrics, protocol, results
from jtrack.benchmark.adapters import evaluated
from jtrack.benchmark.evaluate import evaluate
from jtrack.data import open_dataset
from jtrack.errors import JtrackError
from tests.run import fake

FRAME = np.zeros((60, 90, 3), np.uint8)
BOX = np.array([10.0, 12, 20, 16])
BROKEN = """
    class Good:
        def init(self, frame, box): self.box = box
        def update(self, frame): return self.box
    class Numbered(Good):
        def __init__(self, seed): self.seed = seed
        def update(self, frame): return self.seed, 0, 5, 5
    class Stable(Good):
        deterministic, version = True, "2.5"
    class Lost(Good):
        def update(self, frame): return None
    class Short(Good):
        def update(self, frame): return 1, 2, 3
    class Words(Good):
        def update(self, frame): return "nowhere"
    class Ragged(Good):
        def update(self, frame): return [1, [2, 3], 4, 5]
    class Mute:
        def init(self, frame, box): pass
    def make(): return Good()
    number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(BROKEN))
    return path


def said(tracker, seed=0):
    session = tracker.start(seed)
    session.prepare(FRAME, BOX)
    session.init(FRAME, BOX)
    return session.update(FRAME)


def test_the_ten_lines_of_the_documentation_fit(tmp_path):
    """The example of the module's docstring, as it stands there, on a whole protocol."""
    example = re.search(r"\n( {4}class Still:.*?)\n\n {4}jtrack eval", adapters.__doc__, re.DOTALL)[1]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    (tmp_path / "still.py").write_text(textwrap.dedent(example))
    tracker = evaluated(f"{tmp_path / 'still.py'}:Still")
    assert tracker.deterministic and tracker.label["tracker"] == "Still"
    done = evaluate(tracker, open_dataset("synthetic"), protocol.load("ope"), tmp_path / "out", limit=5)
    assert done.made == len(open_dataset("synthetic").names) and not done.failures
    (loaded,) = results.load(tmp_path / "out")
    for found, *_ in loaded.trajectories.values():
        # As `check_boxes` gives it: what a tracker is told is float32.
        np.testing.assert_array_equal(found.boxes[1:], np.tile(found.boxes[0].astype(np.float32), (4, 1)))
        assert found.scores is None


def test_a_tracker_is_told_what_the_documentation_says(file):
    tracker = evaluated(f"{file}:Good")
    found = said(tracker)
    np.testing.assert_array_equal(found.box, BOX)
    assert found.box.dtype == np.float64 and found.lost is False and found.score is None
    assert not tracker.deterministic
    stable = evaluated(f"{file}:Stable")
    assert stable.deterministic and stable.label["release"] == "2.5"
    np.testing.assert_array_equal(said(evaluated(f"{file}:make")).box, BOX)
    np.testing.assert_array_equal(said(evaluated(f"{file}:Numbered"), seed=7).box, [7, 0, 5, 5])
    lost = said(evaluated(f"{file}:Lost"))
    assert np.isnan(lost.box).all() and lost.lost is True


def test_every_trial_has_an_object_of_its_own(file):
    tracker = evaluated(f"{file}:Good")
    one, two = tracker.start(0), tracker.start(0)
    one.init(FRAME, BOX)
    two.init(FRAME, BOX + 5)
    np.testing.assert_array_equal(one.update(FRAME).box, BOX)


def test_a_module_is_named_by_its_import(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    tracker = evaluated("mine:Good")
    assert tracker.label["source"] == "mine.py"
    assert tracker.label == evaluated(f"{file}:Good").label


def test_changed_code_is_another_tracker(file):
    before = results.digest(evaluated(f"{file}:Good").label)
    assert before == results.digest(evaluated(f"{file}:Good").label)
    file.write_text(file.read_text() + "# another\n")
    assert before != results.digest(evaluated(f"{file}:Good").label)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Short", r"returned \(1, 2, 3\): needed is a box"),
        ("Words", "returned 'nowhere'"),
        ("Ragged", "returned"),
    ],
)
def test_a_box_that_is_none_is_refused(file, name, message):
    with pytest.raises(JtrackError, match=message):
        said(evaluated(f"{file}:{name}"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{file}:Mute", "tracker Mute has no method update"),
        ("{file}:number", "unknown class or function .*'number'"),
        ("{file}:Goood", "did you mean 'Good'"),
        ("{folder}/none.py:Good", "there is no file .*none.py"),
        ("{folder}/bad.py:Good", "bad.py fails when it is run: ZeroDivisionError"),
        ("no_such_module:Good", "cannot import no_such_module .*ModuleNotFoundError"),
        ("nothing", "unknown tracker 'nothing'"),
        ("opencv:kcf", "unknown tracker of OpenCV 'kcf'"),
        ("opencv:vit", r"needs 1 model files, got 0: give --model NET.onnx"),
        ("opencv:nano", "give --model BACKBONE.onnx and --model NECKHEAD.onnx"),
    ],
)
def test_what_does_not_fit_is_one_sentence(file, name, message):
    (file.parent / "bad.py").write_text("1 / 0\n")
    with pytest.raises(JtrackError, match=message):
        evaluated(name.format(file=file, folder=file.parent))


def test_model_files_are_looked_at(file, tmp_path):
    with pytest.raises(JtrackError, match="there is no model file"):
        evaluated("opencv:vit", models=[tmp_path / "none.onnx"])
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(JtrackError, match=r"OpenCV cannot make its tracker vit of .*bad\.onnx"):
        evaluated("opencv:vit", models=[tmp_path / "bad.onnx"])
    for name in ("hcft", f"{file}:Good"):
        with pytest.raises(JtrackError, match="takes no --model"):
            evaluated(name, models=["x"])


def test_opencvs_mil_follows_a_target(tmp_path):
    tracker = evaluated("opencv:mil")
    assert tracker.label["tracker"] == "opencv-mil" and tracker.label["release"] == cv2.__version__
    assert not tracker.deterministic
    data = open_dataset("synthetic")
    name = data.names[0]
    chosen = open_dataset("synthetic", sequences=[name])
    evaluate(tracker, chosen, protocol.load("ope"), tmp_path, limit=12)
    (found,) = results.load(tmp_path)[0].trajectories[name]
    assert metrics.overlap(found.boxes, data.annotation(name).boxes[:12]).mean() > 0.4
    assert found.boxes[0].tolist() == data.annotation(name).boxes[0].tolist()


def test_our_trackers_say_what_they_draw():
    assert not adapters.ours(fake.build()).deterministic
    assert adapters.ours(trackers.create("hcft", backbone="hog")).deterministic


def test_our_label_holds_what_shapes_the_numbers():
    label = evaluated("hcft", backbone="hog").label
    assert {"profile", "backbone", "precision", "weights", "configuration"} <= set(label)
    assert {"code", "jtrack", "jax", "jaxlib"} <= set(label)
    assert "device" not in label  # nor anything else of the machine
    about = evaluated("hcft", backbone="hog").about
    assert about["hyper"]["learning_rate"] == pytest.approx(0.01)


def test_our_tracker_needs_its_first_frame():
    with pytest.raises(JtrackError, match="before it was given its first"):
        evaluated("hcft", backbone="hog").start(0).update(FRAME)


@pytest.mark.parametrize(
    ("tracker", "options", "message"),
    [
        ("mine.py", {}, "give mine.py:NAME"),
        (
            "opencv:mil",
            {"backbone": "hog"},
            "takes no --profile, --set, --backbone, --precision or --weights",
        ),
        ("opencv:mil", {"changes": {"learning_rate": 1.0}}, "takes no --profile, --set"),
        ("mine.py:Mine", {"profile": "paper"}, "takes no --profile"),
    ],
)
def test_options_that_do_not_fit_are_refused(tracker, options, message):
    with pytest.raises(JtrackError, match=message):
        evaluated(tracker, **options)
