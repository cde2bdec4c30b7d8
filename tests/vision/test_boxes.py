import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jtrack.vision import boxes

BOXES = np.random.default_rng(0).uniform([-20, -20, 1, 1], [60, 60, 50, 50], (40, 4)).astype(np.float32)


def iou_by_counting(a, b):
    """The overlap of boxes of whole pixels, by counting pixels."""

    def mask(box):
        x, y = np.meshgrid(np.arange(-40, 130), np.arange(-40, 130))
        return (x >= box[0]) & (x < box[0] + box[2]) & (y >= box[1]) & (y < box[1] + box[3])

    return (mask(a) & mask(b)).sum() / (mask(a) | mask(b)).sum()


def test_iou_counts_shared_area():
    on_grid = np.round(BOXES[:12])
    table = boxes.iou(jnp.asarray(on_grid)[:, None], jnp.asarray(on_grid)[None])
    expected = [[iou_by_counting(a, b) for b in on_grid] for a in on_grid]
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)
    assert (table > 0).sum() > 30


def test_iou_broadcasts_leading_dimensions_of_different_rank():
    a, b = jnp.asarray(BOXES[:6]).reshape(2, 3, 4), jnp.asarray(BOXES[6])
    expected = np.array([boxes.iou(x, b) for x in a.reshape(-1, 4)]).reshape(2, 3)
    np.testing.assert_allclose(boxes.iou(a, b), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], 0),
        ([1, 1, 0, 5], [0, 0, 4, 4], 0),
        ([0, 0, -3, 4], [0, 0, 4, 4], 0),
        ([0, 0, 4, 4], [4, 0, 4, 4], 0),
        ([0, 0, 4, 4], [2, 0, 4, 4], 1 / 3),
    ],
)
def test_iou_of_touching_and_empty_boxes_is_finite(a, b, expected):
    a, b = jnp.array(a, jnp.float32), jnp.array(b, jnp.float32)
    value, gradients = jax.value_and_grad(boxes.iou, argnums=(0, 1))(a, b)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert np.isfinite(gradients).all()


def test_iou_gradient():
    pairs = [(a, b) for a in BOXES[:8] for b in BOXES[8:16] if 0.05 < boxes.iou(a, b) < 0.9][:6]
    assert len(pairs) == 6
    for a, b in pairs:
        check_grads(boxes.iou, (jnp.asarray(a), jnp.asarray(b)), order=1, modes=["rev"], eps=1e-2, rtol=2e-2)


def test_centre_and_from_centre_are_inverse():
    box = jnp.asarray(BOXES)
    x, y, w, h = BOXES.T
    np.testing.assert_allclose(boxes.centre(box), np.stack([x + w / 2, y + h / 2], -1), rtol=1e-6)
    np.testing.assert_allclose(boxes.from_centre(boxes.centre(box), box[:, 2:]), BOXES, atol=1e-5)


def test_scale_about_centre():
    box = jnp.array([10.0, 20.0, 40.0, 60.0])
    np.testing.assert_allclose(boxes.scale_about_centre(box, 1.5), [0, 5, 60, 90])
    np.testing.assert_allclose(boxes.scale_about_centre(box, jnp.array([0.5, 2.0])), [20, -10, 20, 120])


@pytest.mark.parametrize(
    ("box", "clipped", "inside"),
    [
        ([10, 20, 30, 40], [10, 20, 30, 40], True),
        ([0, 0, 100, 80], [0, 0, 100, 80], True),
        ([-5, 70, 20, 20], [0, 70, 15, 10], False),
        ([95, -5, 20, 100], [95, 0, 5, 80], False),
        ([-50, 10, 20, 20], [0, 10, 0, 20], False),
        ([120, 90, 20, 20], [100, 80, 0, 0], False),
    ],
)
def test_clip_and_inside(box, clipped, inside):
    box, size = jnp.array(box, jnp.float32), jnp.array([80, 100], jnp.int32)
    np.testing.assert_array_equal(boxes.clip(box, size), clipped)
    assert boxes.inside(box, size) == inside
    np.testing.assert_array_equal(boxes.clip(box[None], size), [clipped])
