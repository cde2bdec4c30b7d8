"""Boxes cut from feature maps against SciPy's interpolation."""

import jax.numpy as jnp
import numpy as np
from scipy.ndimage import map_coordinates

from jtrack.vision import roi


def test_samples_are_scipys_with_the_nearest_cell_beyond_the_border():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 12, 3))
    centres = np.array([[4.0, 5.0], [2.3, 7.9], [-1.5, 0.2], [8.8, 13.0]])
    steps = np.array([[1.0, 1.0], [0.7, 1.9], [1.2, 0.3], [2.0, 0.0]])
    found = roi.bilinear(*(jnp.asarray(x, jnp.float32) for x in (features, centres, steps)), 4)
    offsets = np.arange(4) - 1.5
    for index in range(4):
        rows = centres[index, 0] + steps[index, 0] * offsets
        columns = centres[index, 1] + steps[index, 1] * offsets
        at = np.stack(np.meshgrid(rows, columns, indexing="ij"))
        want = np.stack(
            [map_coordinates(features[..., c], at, order=1, mode="nearest") for c in range(3)], -1
        )
        np.testing.assert_allclose(found[index], want, atol=1e-5)


def test_whole_cells_are_copied():
    features = jnp.asarray(np.random.default_rng(1).normal(size=(8, 8, 2)), jnp.float32)
    found = roi.bilinear(features, jnp.asarray([[3.5, 2.5]]), jnp.ones((1, 2)), 4)
    np.testing.assert_array_equal(found[0], features[2:6, 1:5])
