"""Back-projected saliency against finite differences, and what laying maps over each other must keep."""

import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones
from jtrack.errors import JtrackError
from jtrack.learning import saliency

NET = backbones.get("tiny")
PARAMS = NET.random_params(0)


def describe(images):
    return NET.apply(PARAMS, images, ("relu6",))["relu6"]


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, 64, 64, 3)).astype(np.float32)


WEIGHTS = np.random.default_rng(1).standard_normal(32).astype(np.float32)


@pytest.mark.parametrize("form", saliency.FORMS)
def test_gradient_against_finite_differences(form):
    """On linear-squared features in float64, by hand: phi = max(A z, 0)."""
    rng = np.random.default_rng(2)
    matrix, z = rng.standard_normal((6, 4 * 4 * 3)), rng.uniform(0, 1, (2, 4, 4, 3))
    weights = rng.standard_normal(6)

    def features(images, xp=np):
        return xp.maximum(images.reshape(images.shape[0], -1) @ xp.asarray(matrix, images.dtype).T, 0)

    def response(image):
        phi, wanted = features(image[None])[0], np.maximum(weights, 0)
        return wanted @ (phi if form == "linear" else phi**2 / 2)

    made = saliency.back_project(
        lambda x: features(x, jnp), jnp.asarray(z, jnp.float32), jnp.asarray(weights, jnp.float32), form=form
    )
    for index, image in enumerate(z):
        slopes = np.zeros_like(image)
        for at in np.ndindex(image.shape):
            step = np.zeros_like(image)
            step[at] = 1e-6
            slopes[at] = (response(image + step) - response(image - step)) / 2e-6
        np.testing.assert_allclose(made[index], np.abs(slopes).max(axis=-1), rtol=1e-4, atol=1e-5)


def test_gradient_through_a_network_along_directions():
    image = images(1)[0]
    wanted = np.maximum(WEIGHTS, 0)
    direction = np.zeros_like(image)
    row, column = 30, 21
    made = np.asarray(saliency.back_project(describe, jnp.asarray(image[None]), jnp.asarray(WEIGHTS)))[0]
    slopes = []
    for channel in range(3):
        direction[:] = 0
        direction[row, column, channel] = 0.25
        up, down = (describe(jnp.asarray((image + s * direction)[None]))[0] for s in (1, -1))
        slopes.append(float((np.asarray(up, np.float64) - np.asarray(down, np.float64)) @ wanted / 0.5))
    assert made[row, column] == pytest.approx(np.abs(slopes).max(), rel=0.02)


def test_a_batch_is_each_image_by_itself():
    both = saliency.back_project(describe, jnp.asarray(images(2)), jnp.asarray(WEIGHTS))
    for index in range(2):
        single = saliency.back_project(
            describe, jnp.asarray(images(2)[index : index + 1]), jnp.asarray(WEIGHTS)
        )
        np.testing.assert_allclose(both[index], single[0], rtol=1e-4, atol=1e-7)


def test_without_positive_weights_there_is_none():
    made = saliency.back_project(describe, jnp.asarray(images(1)), -jnp.abs(jnp.asarray(WEIGHTS)))
    np.testing.assert_array_equal(made, 0)
    made = saliency.back_project(describe, jnp.asarray(images(1)), jnp.asarray(WEIGHTS))
    assert made.shape == (1, 64, 64) and float(made.min()) >= 0 and float(made.max()) > 0


def test_forms_are_named():
    with pytest.raises(JtrackError, match="form of saliency"):
        saliency.back_project(describe, jnp.asarray(images(1)), jnp.asarray(WEIGHTS), form="guided")


WINDOW = jnp.asarray([0.0, 0.0, 40.0, 40.0])
FRAME = jnp.asarray([30, 36], jnp.int32)
BOXES = jnp.asarray([[4.0, 6.0, 8.0, 8.0], [10.0, 10.0, 16.0, 16.0], [26.0, 20.0, 16.0, 16.0]])


def lay(maps, valid, grid=(40, 40), window=WINDOW):
    return np.asarray(saliency.aggregate(jnp.asarray(maps), BOXES, jnp.asarray(valid), window, grid, FRAME))


def test_maps_lie_where_their_boxes_are():
    maps = np.random.default_rng(3).uniform(1, 2, (3, 16, 16)).astype(np.float32)
    # The second box is as many pixels as its map has: it is copied.
    made = lay(maps, [False, True, False])
    expected = np.zeros((40, 40), np.float32)
    expected[10:26, 10:26] = maps[1]
    np.testing.assert_allclose(made, expected, atol=1e-5)
    # The third reaches out of the frame, below row 30 and right of column 36.
    made = lay(maps, [False, False, True])
    expected[:] = 0
    expected[20:30, 26:36] = maps[2][:10, :10]
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_the_largest_of_the_valid_counts_and_more_of_them_never_lower_it():
    maps = np.random.default_rng(4).uniform(0, 1, (3, 16, 16)).astype(np.float32)
    single = [lay(maps, np.arange(3) == index) for index in range(3)]
    np.testing.assert_allclose(lay(maps, [True] * 3), np.max(single, axis=0), atol=1e-6)
    assert (lay(maps, [True, True, False]) >= lay(maps, [True, False, False])).all()
    np.testing.assert_array_equal(lay(maps, [False] * 3), 0)


def test_shrinking_averages():
    """A box of 8 cells from a map of 16: a constant stays, a fine checkerboard becomes its mean."""
    board = np.indices((16, 16)).sum(0) % 2
    maps = np.broadcast_to(board, (3, 16, 16)).astype(np.float32)
    made = lay(maps, [True, False, False])
    np.testing.assert_allclose(made[8:12, 6:10], 0.5, atol=0.01)
    assert made[:6].max() == made[14:].max() == 0


def test_a_window_elsewhere_shows_the_same():
    maps = np.random.default_rng(5).uniform(0, 1, (3, 16, 16)).astype(np.float32)
    whole = lay(maps, [True] * 3)
    part = lay(maps, [True] * 3, grid=(20, 24), window=jnp.asarray([8.0, 10.0, 24.0, 20.0]))
    np.testing.assert_allclose(part, whole[10:30, 8:32], atol=1e-5)


def test_the_union_of_boxes_on_a_grid():
    boxes = np.array([(2.0, 3.0, 4.0, 2.0), (5.0, 4.0, 3.0, 3.0), (0.0, 0.0, 9.0, 9.0)], np.float32)
    valid = np.array([True, True, False])
    window, grid = np.array([1.0, 2.0, 8.0, 6.0], np.float32), (12, 8)
    given = (jnp.asarray(boxes), jnp.asarray(valid), jnp.asarray(window))
    made = np.asarray(saliency.union(*given, grid))
    for row in range(grid[0]):
        for column in range(grid[1]):
            x, y = 1 + (column + 0.5) * 1.0, 2 + (row + 0.5) * 0.5
            inside = [0 <= x - a <= w and 0 <= y - b <= h for a, b, w, h in boxes[valid]]
            assert bool(made[row, column]) == any(inside)


def test_the_seed_is_the_gradient_of_what_positive_weights_ask_for():
    features = np.abs(np.random.default_rng(3).standard_normal((2, 32))).astype(np.float32)
    linear = saliency.seed(jnp.asarray(features), jnp.asarray(WEIGHTS))
    np.testing.assert_array_equal(linear, np.tile(np.maximum(WEIGHTS, 0), (2, 1)))
    squared = saliency.seed(jnp.asarray(features), jnp.asarray(WEIGHTS), "squared")
    np.testing.assert_allclose(squared, np.maximum(WEIGHTS, 0) * features, rtol=1e-6)
    assert not np.any(saliency.seed(jnp.asarray(features), -jnp.abs(jnp.asarray(WEIGHTS))))
