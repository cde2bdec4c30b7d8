"""The package's front: what is public is found, documented and printed in one line."""

import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jtrack
from jtrack import trackers
from jtrack.benchmark.evaluate import Evaluation
from jtrack.benchmark.results import FAILED, TRACKED, Results, Trajectory
from jtrack.benchmark.scoring import Scored, SequenceScore
from jtrack.data import Annotation, Dataset, from_arrays, open_dataset, synthetic
from jtrack.errors import JtrackError
from jtrack.types import Frame, Output


def test_dir_is_what_is_public():
    assert dir(jtrack) == sorted([*jtrack.__all__, "__version__"])
    assert {"advance", "to_frame", "track", "trackers"} <= set(dir(jtrack))


@pytest.mark.parametrize("name", jtrack.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(jtrack, name))


def test_a_name_that_is_not_public_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trak'"):
        _ = jtrack.trak


def test_help_of_the_package_names_everything_before_anything_is_imported():
    code = "import jtrack, sys; print(*dir(jtrack)); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, jax_is_there = done.stdout.splitlines()
    assert names.split() == dir(jtrack) and jax_is_there == "False"


IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


def test_a_frame_of_an_image_is_on_the_canvas_that_track_uses():
    frame = jtrack.to_frame(IMAGE)
    assert isinstance(frame, Frame) and frame.pixels.shape == (128, 128, 3)
    assert frame.pixels.dtype == jnp.uint8 and frame.size.dtype == jnp.int32
    assert frame.size.tolist() == [5, 7]
    np.testing.assert_array_equal(frame.pixels[:5, :7], IMAGE)
    assert jtrack.to_frame(IMAGE, (6, 9)).pixels.shape == (6, 9, 3)


@pytest.mark.parametrize("canvas", [(5, 7), (8, 8)])
def test_a_frame_keeps_its_pixels_when_the_image_is_changed(canvas):
    image = IMAGE.copy()
    frame = jtrack.to_frame(image, canvas)
    image[:] = 0
    np.testing.assert_array_equal(frame.pixels[:5, :7], IMAGE)


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (IMAGE[:, :, 0], IMAGE[:, :, [0, 0, 0]]),
        (IMAGE[:, :, :1], IMAGE[:, :, [0, 0, 0]]),
        (np.dstack([IMAGE, IMAGE[:, :, 0]]), IMAGE),
        (IMAGE.astype(np.uint16) << 8, IMAGE),
        (jnp.asarray(IMAGE), IMAGE),
        (IMAGE.tolist(), None),
        (IMAGE.astype(np.float32) / 3, IMAGE.astype(np.float32) / 3),
    ],
    ids=["grey", "grey channel", "RGBA", "uint16", "on the device", "list", "float"],
)
def test_images_that_are_taken(image, pixels):
    if pixels is None:
        with pytest.raises(JtrackError, match="a frame is int64"):
            jtrack.to_frame(image)
        return
    found = jtrack.to_frame(image).pixels
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found[:5, :7], pixels)


def test_images_that_are_refused():
    for image in (IMAGE.astype(np.float32)[:, :, 0], IMAGE[None].astype(np.float32)):
        with pytest.raises(JtrackError, match=r"must be RGB \[H, W, 3\]"):
            jtrack.to_frame(image)
    with pytest.raises(JtrackError, match="7x5 does not fit on a canvas of 6x8"):
        jtrack.to_frame(IMAGE, (8, 6))


def test_gradients_pass_through_a_frame():
    gradient = jax.grad(lambda image: jtrack.to_frame(image).pixels.sum())(IMAGE.astype(np.float32))
    np.testing.assert_array_equal(gradient, np.ones(IMAGE.shape))


CLIP = synthetic.clip(frames=3, size=(96, 128))
RESULTS = Results(
    "hcft",
    "ope",
    {"a": [Trajectory(np.zeros((4, 4)), np.array([TRACKED, TRACKED, FAILED, TRACKED], np.uint8))]},
    "default",
    failures={"b": "why"},
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            Frame(np.zeros((128, 128, 3), np.uint8), np.int32([5, 7])),
            "Frame(pixels=uint8[128, 128, 3], size=[5, 7])",
        ),
        (
            Output(
                np.float32([1, 2, 3, 4]), np.float32(0.5), np.False_, {"map": np.zeros((9, 9), np.float32)}
            ),
            "Output(box=[1.0, 2.0, 3.0, 4.0], score=0.5, lost=False, info={map: float32[9, 9]})",
        ),
        (
            trackers.create("fcnt", profile="paper", backbone="tiny"),
            "BoundTracker(fcnt paper on tiny (float32, 5,692 weights))",
        ),
        (
            jtrack.Track(
                np.zeros((5, 2, 4)),
                np.zeros((5, 2)),
                np.arange(10).reshape(5, 2) > 7,
                fps=12.34,
                label={"tracker": "gdt", "profile": "paper", "backbone": "hog"},
            ),
            "Track(5 frames of 2 targets, lost in 1, gdt paper on hog, 12.3 frames a second)",
        ),
        (
            jtrack.Track(np.zeros((5, 4)), np.zeros(5), np.zeros(5, bool), stopped="it broke"),
            "Track(5 frames, lost in 0, stopped: it broke)",
        ),
        (
            CLIP,
            "Sequence('synthetic', 3 frames of 128x96 pixels, boxes of 3, "
            "events occlusion illumination scale rotation)",
        ),
        (
            Annotation(
                "a", np.zeros((2, 4)), np.zeros((2, 4, 2)), ("SV", "OCC"), size=(96, 128), category="dog"
            ),
            "Annotation('a', 2 frames of 128x96 pixels, dog, polygons, attributes SV OCC)",
        ),
        (open_dataset("synthetic"), "Dataset('synthetic', 4 sequences)"),
        (
            Dataset("otb", "data/otb", "tb50", ("a", "b"), None, None, frozenset("b")),
            "Dataset('otb', 2 sequences, list 'tb50', 1 of the list missing, in 'data/otb')",
        ),
        (from_arrays([IMAGE]), "FrameSource(name='frames', size=(5, 7), length=1, fps=None)"),
        (RESULTS, "Results('hcft default', ope: 1 trials of 1 sequences, 1 failed)"),
        (RESULTS.trajectories["a"][0], "Trajectory(4 frames from frame 0, 1 failure)"),
        (Evaluation("results/a", 3, 2, {}), "Evaluation(3 trials run, 2 kept, in 'results/a')"),
        (
            Evaluation("results/a", 3, 2, {"b": "b.error"}),
            "Evaluation(3 trials run, 2 kept, 1 sequences failed, in 'results/a')",
        ),
        (
            SequenceScore(9, None, {"auc": 0.25}, {"success": np.zeros(21)}),
            "SequenceScore(9 frames: auc 0.250)",
        ),
        (
            Scored(RESULTS, "all", {}, {"auc": 0.25, "precision20": 0.5}, {"success": np.zeros(21)}, {}, {}),
            "Scored('hcft', ope, all, 0 sequences: auc 0.250, precision20 0.500)",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_values_are_printed_in_a_line_without_arrays(value, said):
    assert repr(value) == said


def test_a_tracker_is_printed_by_its_functions():
    for name, functions in (("hcft", "init, step"), ("fcnt", "init, step, learn")):
        bound = trackers.create(name, backbone="tiny")
        assert (
            repr(bound.factory(bound.backbone, bound.config))
            == f"Tracker({functions} of jtrack.trackers.{name})"
        )


def test_a_traced_or_donated_frame_can_be_printed():
    said = []
    jax.jit(lambda frame: said.append(repr(frame)) or frame.size)(jtrack.to_frame(IMAGE))
    assert said == ["Frame(pixels=uint8[128, 128, 3], size=int32[2])"]
    frame = jtrack.to_frame(IMAGE)
    frame.size.delete()
    assert repr(frame) == "Frame(pixels=uint8[128, 128, 3], size=int32[2])"
    assert repr(Frame(0, None)) == "Frame(pixels=0, size=None)"
