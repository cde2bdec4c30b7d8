"""Masks from saliency, on images whose masks are known exactly."""

import dataclasses

import numpy as np
import pytest

import jtrack
from jtrack import run, trackers
from jtrack.data import synthetic
from jtrack.errors import JtrackError
from jtrack.run import segmentation

SIZE = (120, 160)


def scene(seed, centre, axes, angle=0.4):
    """A textured ellipse on a textured ground: image, mask, box."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SIZE) + 0.5
    x, y = columns - centre[0], rows - centre[1]
    u = (x * np.cos(angle) + y * np.sin(angle)) / axes[0]
    v = (-x * np.sin(angle) + y * np.cos(angle)) / axes[1]
    mask = u**2 + v**2 <= 1
    ground = np.array([70, 110, 60]) + rng.normal(0, 12, (*SIZE, 3))
    body = np.array([190, 60, 50]) + rng.normal(0, 12, (*SIZE, 3))
    body[np.abs(u) < 0.25] -= 60
    image = np.where(mask[..., None], body, ground).clip(0, 255).astype(np.uint8)
    at = np.argwhere(mask)
    top, left = at.min(0)
    bottom, right = at.max(0) + 1
    return image, mask, np.array([left, top, right - left, bottom - top], float)


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_equals_the_known_one(seed):
    image, mask, box = scene(seed, (70 + 10 * seed, 60), (34, 20))
    # Saliency as a tracker's: blurred, strongest near the middle, some of it on the ground.
    rows, columns = np.indices(SIZE)
    middle = np.exp(-((columns - box[0] - box[2] / 2) ** 2 + (rows - box[1] - box[3] / 2) ** 2) / 200)
    found = segmentation.segment(image, box, (middle + 0.1).astype(np.float32))
    assert found.dtype == np.bool_ and found.shape == SIZE
    assert overlap(found, mask) > 0.85
    # Better than the box, and the box a little off does not spoil it.
    filled = np.zeros(SIZE, bool)
    filled[int(box[1]) : int(box[1] + box[3]), int(box[0]) : int(box[0] + box[2])] = True
    assert overlap(found, mask) > overlap(filled, mask)
    off = segmentation.segment(image, box + np.array([-3, -2, 6, 4]), (middle + 0.1).astype(np.float32))
    assert overlap(off, mask) > 0.8


def test_the_same_image_gives_the_same_mask():
    image, _, box = scene(0, (80, 60), (34, 20))
    saliency = np.random.default_rng(0).uniform(0, 1, SIZE).astype(np.float32)
    first = segmentation.segment(image, box, saliency)
    np.testing.assert_array_equal(segmentation.segment(image, box, saliency), first)


def test_nothing_salient_or_no_background_gives_the_box():
    image, _, box = scene(0, (80, 60), (34, 20))
    left, top, right, bottom = (int(v) for v in (*box[:2], *(box[:2] + box[2:])))
    expected = np.zeros(SIZE, bool)
    expected[top:bottom, left:right] = True
    np.testing.assert_array_equal(segmentation.segment(image, box, np.zeros(SIZE)), expected)
    whole = segmentation.segment(image, np.array([0.0, 0.0, 160.0, 120.0]), np.ones(SIZE))
    assert whole.all()


@pytest.mark.parametrize(
    "box", [(-20, -10, 40, 30), (150, 110, 40, 40), (159.6, 20, 0.3, 5), (300, 10, 20, 20), (5, -50, 9, 9)]
)
def test_boxes_at_and_beyond_the_border(box):
    image, _, _ = scene(0, (80, 60), (34, 20))
    found = segmentation.segment(image, np.array(box, float), np.ones(SIZE, np.float32))
    assert found.shape == SIZE
    if box[0] > 200 or box[1] < -40:
        assert not found.any()


def test_an_image_of_one_colour():
    image = np.full((*SIZE, 3), 90, np.uint8)
    saliency = np.random.default_rng(1).uniform(0, 1, SIZE)
    found = segmentation.segment(image, np.array([40.0, 30.0, 50.0, 40.0]), saliency)
    assert found.shape == SIZE


def test_a_window_lies_where_it_is():
    rng = np.random.default_rng(2)
    saliency = rng.uniform(0, 1, (20, 30)).astype(np.float32)
    # One cell a pixel, partly outside the frame.
    laid = segmentation.on_frame(saliency, np.array([-5.0, 8.0, 30.0, 20.0]), SIZE)
    np.testing.assert_allclose(laid[8:28, :25], saliency[:, 5:], atol=1e-5)
    assert laid[:8].max() == laid[29:].max() == laid[:, 26:].max() == 0
    # Two pixels a cell: a cell's middle is between two pixels.
    wide = segmentation.on_frame(saliency, np.array([10.0, 20.0, 60.0, 40.0]), SIZE)
    twos = wide[20:60, 10:70].reshape(20, 2, 30, 2).mean((1, 3))
    inner = (slice(1, -1), slice(1, -1))
    expected = (6 * saliency[1:-1] + saliency[:-2] + saliency[2:]) / 8
    expected = (6 * expected[:, 1:-1] + expected[:, :-2] + expected[:, 2:]) / 8
    np.testing.assert_allclose(twos[inner], expected, atol=0.02)


def test_mistakes_are_named():
    image, _, box = scene(0, (80, 60), (34, 20))
    with pytest.raises(JtrackError, match="saliency map of 3 x 4 does not belong to an image of 120 x 160"):
        segmentation.segment(image, box, np.zeros((3, 4)))
    with pytest.raises(JtrackError, match="holds no saliency map"):
        segmentation.segment_output(image, box, {})


@pytest.mark.slow
def test_a_clip_is_segmented_and_an_image_has_a_saliency_map():
    """The tracker's masks of the synthetic clip against its exact ones, on features that need no weights."""
    arguments = {"frames": 120, "size": (240, 320), "seed": 0}
    clip, truth = synthetic.clip(**arguments), synthetic.masks(**arguments)
    overlaps = []

    def look(index, image, said):
        if index:
            found = segmentation.segment_output(image, said[0].box, said[0].info)
            overlaps.append(overlap(found, truth[index]))

    bound = trackers.create("cnn_svm", backbone="hog")
    bound = bound._replace(
        config=dataclasses.replace(
            bound.config,
            info=True,
            saliency=dataclasses.replace(bound.config.saliency, grid=128),
            candidates=60,
            budget=60,
            samples=24,
        )
    )
    run.track(clip, clip.boxes[0], tracker=bound, end=8, on_frame=look)
    assert np.mean(overlaps) > 0.7, overlaps

    image = next(iter(clip.frames))
    made = jtrack.saliency(image, clip.boxes[0], backbone="hog")
    assert made.shape == (240, 320) and made.min() >= 0
    x, y, w, h = clip.boxes[0].astype(int)
    assert made[y : y + h, x : x + w].mean() > 3 * made.mean()
    with pytest.raises(JtrackError, match="svm_only makes no saliency map"):
        jtrack.saliency(image, clip.boxes[0], backbone="hog", profile="svm_only")
