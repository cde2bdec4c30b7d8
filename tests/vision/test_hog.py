import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.vision.hog import fhog

features = jax.jit(fhog, static_argnames=("cell", "orientations", "clip", "shared"))
RNG = np.random.default_rng(4)


def loop_fhog(image, cell=4, orientations=9, clip=0.2, shared=False):
    """Felzenszwalb's features pixel by pixel and cell by cell, in float64."""
    image = image.astype(np.float64)
    height, width, channels = image.shape
    rows, columns = height // cell, width // cell
    histogram = np.zeros((rows, columns, 2 * orientations))
    for y in range(rows * cell):
        for x in range(columns * cell):
            best = (-1.0, 0.0, 0.0)
            for c in range(channels):
                left, right = max(x - 1, 0), min(x + 1, width - 1)
                up, down = max(y - 1, 0), min(y + 1, height - 1)
                dx = (image[y, right, c] - image[y, left, c]) / (right - left)
                dy = (image[down, x, c] - image[up, x, c]) / (down - up)
                if dx * dx + dy * dy > best[0]:
                    best = (dx * dx + dy * dy, dx, dy)
            magnitude, angle = math.sqrt(best[0]), math.atan2(best[2], best[1]) % (2 * math.pi)
            place = angle * orientations / math.pi
            directions = {math.floor(place + 0.5 + 1e-9) % (2 * orientations): 1.0}
            if shared:
                before, part = math.floor(place), place - math.floor(place)
                directions = {before % (2 * orientations): 1 - part, (before + 1) % (2 * orientations): part}
            cy, cx = (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5
            for i in (math.floor(cy), math.floor(cy) + 1):
                for j in (math.floor(cx), math.floor(cx) + 1):
                    if 0 <= i < rows and 0 <= j < columns:
                        share = (1 - abs(cy - i)) * (1 - abs(cx - j))
                        for direction, of_it in directions.items():
                            histogram[i, j, direction] += of_it * magnitude * share / cell**2
    histogram[[0, -1]] *= 8 / 7
    histogram[:, [0, -1]] *= 8 / 7

    unsigned = histogram[..., :orientations] + histogram[..., orientations:]
    features = np.zeros((rows, columns, 3 * orientations + 4))
    for i in range(rows):
        for j in range(columns):
            for k, (di, dj) in enumerate([(0, 0), (-1, 0), (0, -1), (-1, -1)]):
                # The 2x2 block with this cell in one of its corners, moved inside at the border.
                top, left = min(max(i + di, 0), rows - 2), min(max(j + dj, 0), columns - 2)
                energy = (unsigned[top : top + 2, left : left + 2] ** 2).sum()
                norm = math.sqrt(energy + 1e-4 / (4 * cell**4))
                signed_part = np.minimum(histogram[i, j] / norm, clip)
                features[i, j, : 2 * orientations] += signed_part / 2
                features[i, j, 2 * orientations : 3 * orientations] += (
                    np.minimum(unsigned[i, j] / norm, clip) / 2
                )
                features[i, j, 3 * orientations + k] = 0.2357 * signed_part.sum()
    return features


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((24, 24, 1), {}),
        ((30, 21, 3), {}),
        ((8, 9, 1), {}),
        ((40, 33, 3), {"cell": 8, "orientations": 6, "clip": 0.3}),
        ((15, 14, 1), {"cell": 2, "orientations": 4}),
        ((24, 31, 3), {"shared": True}),
    ],
)
def test_fhog_is_the_loop_over_pixels(shape, options):
    image = RNG.uniform(0, 255, shape).astype(np.float32)
    result = features(jnp.asarray(image), **options)
    np.testing.assert_allclose(result, loop_fhog(image, **options), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (8, 27), (23, 9), (16, 20), (31, 30), (32, 32)])
def test_the_inner_part_of_an_image_has_the_features_of_that_part_alone(size):
    height, width = size
    image = RNG.uniform(0, 255, (32, 32, 1)).astype(np.float32)
    got = np.asarray(features(jnp.asarray(image), inner=jnp.asarray(size)))
    want = np.zeros((8, 8, 31))
    want[: height // 4, : width // 4] = loop_fhog(image[:height, :width])
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert not got[height // 4 :].any() and not got[:, width // 4 :].any()


def test_shape_of_the_usual_features():
    assert jax.eval_shape(fhog, jnp.zeros((224, 224, 3))).shape == (56, 56, 31)


@pytest.mark.parametrize("turns", range(4))
def test_straight_edges_fall_into_the_loops_directions(turns):
    """A vertical gradient lies exactly between two of the 18 directions."""
    image = np.rot90(np.tile(np.repeat([10.0, 200.0], 8)[:, None], (1, 16)), turns)[..., None].astype(
        np.float32
    )
    np.testing.assert_allclose(features(jnp.asarray(image)), loop_fhog(image), atol=1e-6)


def test_shared_directions_never_jump():
    """A slope half way between two directions is rotated a little to either side."""
    y, x = np.mgrid[:16, :16].astype(np.float32)
    halfway = np.radians(np.arange(10, 360, 20))
    angles = np.stack([halfway - 1e-4, halfway + 1e-4])[..., None, None]
    images = (100 + 4 * (np.cos(angles) * x + np.sin(angles) * y))[..., None]

    def largest_change(shared):
        before, after = features(jnp.asarray(images, jnp.float32), shared=shared)
        return float(jnp.abs(after - before).max())

    assert largest_change(True) < 2e-3
    assert largest_change(False) > 0.1


def test_a_flat_image_has_no_features():
    np.testing.assert_array_equal(features(jnp.full((16, 20, 3), 128.0)), np.zeros((4, 5, 31)))


def test_colour_takes_the_strongest_channel():
    image = RNG.uniform(0, 255, (24, 24, 1)).astype(np.float32)
    mixed = np.concatenate([0.3 * image, image, np.full_like(image, 9)], axis=-1)
    np.testing.assert_allclose(features(jnp.asarray(mixed)), features(jnp.asarray(image)), atol=1e-6)


def test_features_ignore_affine_changes_of_illumination():
    image = RNG.uniform(0, 100, (24, 28, 3)).astype(np.float32)
    np.testing.assert_allclose(features(jnp.asarray(2 * image + 40)), features(jnp.asarray(image)), atol=1e-5)


def test_leading_dimensions_are_a_batch():
    patches = RNG.uniform(0, 255, (2, 3, 20, 16, 3)).astype(np.float32)
    result = features(jnp.asarray(patches))
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(result[i, j], features(jnp.asarray(patches[i, j])), atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(fhog)))(jnp.asarray(patches)), result, atol=1e-6)


def test_gradient_is_that_of_the_loop():
    """Finite differences in float64, short enough that no pixel changes its direction."""
    image = RNG.uniform(0, 255, (16, 16, 1)).astype(np.float32)
    weights = RNG.normal(size=(4, 4, 31)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(fhog(x) * weights)))(jnp.asarray(image))
    for y, x in RNG.integers(0, 16, (12, 2)):
        step = np.zeros(image.shape)
        step[y, x] = 1e-4
        numeric = ((loop_fhog(image + step) - loop_fhog(image - step)) * weights).sum() / 2e-4
        np.testing.assert_allclose(gradient[y, x, 0], numeric, rtol=1e-3, atol=1e-5)


def test_gradient_of_a_flat_image_is_finite():
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(fhog(x))))(jnp.full((16, 16, 3), 7.0))
    assert np.isfinite(gradient).all()


def test_an_image_smaller_than_two_cells_is_refused():
    with pytest.raises(JtrackError, match=r"7 x 30 pixels .* at least 2 cells of 4 pixels"):
        fhog(jnp.zeros((7, 30, 3)))
