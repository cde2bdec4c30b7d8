"""HCFT's profiles whose grid follows the target, as lanes of one program, against a stream each."""

import dataclasses
import functools
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import trackers
from jtrack.errors import JtrackError
from jtrack.learning.filter_grid import UpTo
from jtrack.types import Frame

KEY = jax.random.key(0)
SIZE = (240, 320)
FRAMES = 30
# Small, large, tall, wide, and partly outside the frame.
BOXES = np.float32(
    [
        (140, 100, 40, 36),
        (60, 40, 17, 23),
        (200, 120, 30, 75),
        (90, 150, 81, 22),
        (20, 60, 64, 64),
        (250, 30, 25, 25),
        (-8, 180, 33, 41),
        (120, 30, 52, 47),
    ]
)


@functools.cache
def clip():
    """A smooth random image that moves to and fro, under noise of its own in every frame."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3)).astype(np.float32), (0, 0), 3)
    image = np.clip(128 + 6 * (image - image.mean()), 0, 255)
    frames = []
    for t in range(FRAMES):
        move = np.float32([[1, 0, 18 * np.sin(t / 4)], [0, 1, 1.1 * t]])
        moved = cv2.warpAffine(image, move, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)
        frames.append(np.clip(moved + rng.normal(0, 4, moved.shape), 0, 255).astype(np.uint8))
    return [Frame(jnp.asarray(pixels), jnp.asarray(SIZE, jnp.int32)) for pixels in frames]


class Followed(NamedTuple):
    boxes: np.ndarray  # [..., T, 4]
    scores: np.ndarray  # [..., T]


def alone(bound, box):
    """A stream of its own."""
    tracker = bound.functions(box, SIZE)
    init, step = jax.jit(tracker.init), jax.jit(tracker.step)
    first, *rest = clip()
    state, outputs = init(bound.params, KEY, first, jnp.asarray(box)), []
    for frame in rest:
        state, output = step(bound.params, state, frame)
        outputs.append(output)
    return Followed(
        np.stack([output.box for output in outputs]), np.stack([output.score for output in outputs])
    )


def together(bound):
    """All as lanes [N, T], and how many programs were compiled."""
    tracker = bound.factory(bound.backbone, bound.for_lanes(BOXES, np.array([SIZE] * len(BOXES))))
    init = jax.jit(jax.vmap(tracker.init, (None, None, None, 0)))
    step = jax.jit(jax.vmap(tracker.step, (None, 0, None)))
    first, *rest = clip()
    states, outputs = init(bound.params, KEY, first, jnp.asarray(BOXES)), []
    for frame in rest:
        states, output = step(bound.params, states, frame)
        outputs.append(output)
    boxes, scores = (np.stack([getattr(output, name) for output in outputs], 1) for name in ("box", "score"))
    return Followed(boxes, scores), init._cache_size() + step._cache_size()


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["release2016", "paper", "c5", "release2018"])
def test_lanes_of_different_grids_follow_the_boxes_of_streams(profile):
    bound = trackers.create("hcft", profile=profile, backbone="tiny")
    lanes, compilations = together(bound)
    assert compilations == 2  # one init, one step
    grids = {bound.for_target(box, SIZE).grid for box in BOXES}
    assert len(grids) == len(BOXES)
    for box, boxes, scores in zip(BOXES, *lanes, strict=True):
        stream = alone(bound, box)
        np.testing.assert_allclose(boxes, stream.boxes, rtol=0, atol=0.02)
        np.testing.assert_allclose(scores, stream.scores, rtol=0, atol=1e-3)
        assert np.ptp(boxes[:, 0]) > 8, "a target that is not followed tells nothing"


@pytest.mark.parametrize("profile", ["paper", "release2018"])
def test_lanes_compute_in_the_type_of_their_inputs(profile):
    bound = trackers.create("hcft", profile=profile, backbone="tiny")
    tracker = bound.factory(bound.backbone, bound.for_lanes(BOXES, np.array([SIZE] * len(BOXES))))
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, bound.params)
        frame = Frame(np.zeros((*SIZE, 3)), np.int32(SIZE))
        state = jax.eval_shape(tracker.init, params, KEY, frame, np.float64(BOXES[0]))
        after, output = jax.eval_shape(tracker.step, params, state, frame)
    assert after == state
    assert {leaf.dtype for leaf in jax.tree.leaves((state, output))} <= {
        np.dtype(name) for name in ("float64", "complex128", "bool")
    }


def test_a_config_for_lanes_holds_the_largest_grid_in_steps_of_16():
    config = trackers.profile("hcft", "release2016", "tiny").config
    sizes = np.array([SIZE] * 2)
    # Windows of 112 x 100 and 72 x 250 pixels, wide and high.
    boxes = np.float32([(0, 0, 40, 36), (0, 0, 26, 180)])
    assert [config.for_target(box, SIZE).grid for box in boxes] == [(25, 28), (63, 18)]
    assert config.for_lanes(boxes, sizes).grid == UpTo((64, 32))
    assert config.for_lanes(boxes[:1], sizes[:1]).grid == UpTo((32, 32))


@pytest.mark.parametrize("tracker", trackers.names())
def test_where_nothing_follows_the_target_the_config_is_the_same(tracker):
    config = trackers.profile(tracker, "default", trackers.default_backbone(tracker)).config
    assert config.for_lanes(BOXES, np.array([SIZE] * len(BOXES))) is config


def test_a_size_that_is_none_is_refused():
    with pytest.raises(JtrackError, match="whole numbers"):
        UpTo((0, 32))
    with pytest.raises(JtrackError, match="grid of hcft is 'large'"):
        dataclasses.replace(trackers.profile("hcft", "release2016", "tiny").config, grid="large")
