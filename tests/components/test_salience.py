"""Features of boxes that can be projected back: against the network on each box, and a plain gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones
from jtrack.components.salience import ProjectedPatches, ProjectedRegion
from jtrack.types import Frame
from jtrack.vision import roi
from jtrack.vision.crop import crop

NET = backbones.get("tiny")
WEIGHTS = NET.random_params(0)
FRAME = Frame(
    jnp.asarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3)), jnp.uint8),
    jnp.asarray([90, 120], jnp.int32),
)
BOXES = jnp.asarray([[20.0, 20.0, 30.0, 24.0], [40.0, 30.0, 30.0, 24.0], [25.5, 22.25, 30.0, 24.0]])
REGION = jnp.asarray([5.0, 5.0, 90.0, 80.0])


@pytest.mark.parametrize("cells", [None, 3])
def test_a_patch_is_the_networks_map_of_the_box(cells):
    part = ProjectedPatches("relu4_4", cells, (48, 48))
    found = part.extract(NET, WEIGHTS, FRAME, REGION).describe(BOXES)
    for box, features in zip(BOXES, found, strict=True):
        map_ = NET.apply(WEIGHTS, crop(FRAME, box, (48, 48))[None], ("relu4_4",))["relu4_4"][0]
        if cells is None:
            np.testing.assert_allclose(features, map_.ravel(), rtol=1e-4, atol=1e-3)
        else:  # 6 x 6 cells are averaged two by two
            mean = np.asarray(map_).reshape(3, 2, 3, 2, -1).mean((1, 3))
            np.testing.assert_allclose(features, mean.ravel(), rtol=1e-3, atol=1e-2)


def test_in_batches_of_any_size_features_are_the_same():
    part = ProjectedPatches("relu4_4", 3, (48, 48))
    extracted = part.extract(NET, WEIGHTS, FRAME, REGION)
    many = jnp.concatenate([BOXES] * 12)  # more than one pass of the network
    np.testing.assert_allclose(extracted.describe(many)[-3:], extracted.describe(BOXES), rtol=1e-5, atol=1e-4)


def test_a_region_gives_boxes_the_means_of_its_map():
    part = ProjectedRegion("relu4_4", 3, (128, 128))
    found = part.extract(NET, WEIGHTS, FRAME, REGION).describe(BOXES)
    map_ = NET.apply(WEIGHTS, crop(FRAME, REGION, (128, 128))[None], ("relu4_4",))["relu4_4"][0]
    np.testing.assert_allclose(
        found, roi.average(map_, REGION, BOXES, 3).reshape(3, -1), rtol=1e-4, atol=1e-3
    )
    # A box that is the region has the means of thirds of the map.
    whole = part.extract(NET, WEIGHTS, FRAME, REGION).describe(REGION[None])[0].reshape(3, 3, -1)
    centre = np.asarray(map_)[map_.shape[0] // 3 + 1 : 2 * map_.shape[0] // 3]
    assert (
        np.abs(np.asarray(whole)[1, 1] - centre[:, centre.shape[0]].mean(0)).mean() < np.asarray(map_).std()
    )


def parts():
    return [ProjectedPatches("relu4_4", 3, (48, 48)), ProjectedRegion("relu4_4", 3, (128, 128))]


@pytest.mark.parametrize("part", parts(), ids=lambda part: type(part).__name__)
def test_saliency_lies_in_the_boxes_that_count(part):
    extracted = part.extract(NET, WEIGHTS, FRAME, REGION)
    classifier = jnp.ones(extracted.describe(BOXES[:1]).shape[1])
    window, cells = jnp.asarray([0.0, 0.0, 120.0, 120.0]), 40  # cells of 3 x 3 pixels
    one = np.asarray(extracted.salience(BOXES, jnp.asarray([True, False, False]), classifier, window, cells))
    none = extracted.salience(BOXES, jnp.zeros(3, bool), classifier, window, cells)
    both = np.asarray(extracted.salience(BOXES, jnp.asarray([True, True, False]), classifier, window, cells))
    assert not np.any(none)
    rows, columns = np.nonzero(one > 1e-6 * one.max())
    assert columns.min() >= 20 // 3 - 1 and columns.max() <= 50 // 3 + 1
    assert rows.min() >= 20 // 3 - 1 and rows.max() <= 44 // 3 + 1
    assert both[:, 18:].max() > 0 and not one[:, 18:].any()


def test_without_positive_weights_nothing_is_salient():
    for part in parts():
        extracted = part.extract(NET, WEIGHTS, FRAME, REGION)
        classifier = -jnp.ones(extracted.describe(BOXES[:1]).shape[1])
        window = jnp.asarray([0.0, 0.0, 120.0, 120.0])
        assert not np.any(extracted.salience(BOXES, jnp.ones(3, bool), classifier, window, 40))


def test_saliency_of_one_box_is_the_gradient_of_its_score():
    """The box's image is the window, cell by cell: what is projected is the gradient itself."""
    part = ProjectedPatches("relu4_4", None, (48, 48))
    box = jnp.asarray([20.0, 20.0, 48.0, 48.0])
    extracted = part.extract(NET, WEIGHTS, FRAME, REGION)
    classifier = jnp.asarray(
        np.random.default_rng(1).standard_normal(extracted.describe(box[None]).shape[1]), jnp.float32
    )

    def score(image):
        map_ = NET.apply(WEIGHTS, image[None], ("relu4_4",))["relu4_4"]
        return jnp.sum(jnp.maximum(classifier, 0) * map_.ravel())

    gradient = jax.grad(score)(crop(FRAME, box, (48, 48)))
    found = extracted.salience(box[None], jnp.ones(1, bool), classifier, box, 48)
    np.testing.assert_allclose(
        found, jnp.abs(gradient).max(-1), rtol=1e-3, atol=1e-5 * np.abs(gradient).max()
    )
