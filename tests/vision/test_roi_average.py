"""Averages over the cells of boxes against means of a finely divided map; patches of several sizes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.types import Frame
from jtrack.vision.crop import crop
from jtrack.vision.pyramid import pyramid
from jtrack.vision.roi import average

REGION = jnp.asarray((10.0, 20.0, 60.0, 40.0))  # of 4 x 6 cells of 10 pixels
FINE = 50  # points a cell of the map


def maps(seed=0):
    return np.random.default_rng(seed).standard_normal((4, 6, 3)).astype(np.float32)


def expected(features, box, cells):
    fine = np.kron(features, np.ones((FINE, FINE, 1)))
    (x, y), (w, h) = (np.asarray(box[:2]) - (10, 20)) * FINE / 10, np.asarray(box[2:]) * FINE / 10
    rows, columns = (np.linspace(a, a + b, cells + 1).round().astype(int) for a, b in ((y, h), (x, w)))

    def mean(top, bottom, left, right):
        part = fine[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        return part.mean((0, 1)) if part.size else np.zeros(3)

    pairs = [list(itertools.pairwise(edges)) for edges in (rows, columns)]
    return np.array([[mean(*row, *column) for column in pairs[1]] for row in pairs[0]])


def test_a_cell_is_the_mean_of_what_it_covers():
    boxes = [
        (10.0, 20.0, 60.0, 36.0),
        (23.4, 31.0, 12.0, 9.6),
        (0.0, 10.0, 36.0, 24.0),
        (66.0, 56.0, 24.0, 24.0),
    ]
    for cells in (1, 2, 3):
        made = average(jnp.asarray(maps()), REGION, jnp.asarray(boxes), cells)
        assert made.shape == (4, cells, cells, 3)
        for one, box in zip(made, boxes, strict=True):
            np.testing.assert_allclose(one, expected(maps(), box, cells), atol=1e-4)


def test_pooling_is_linear_and_its_adjoint_is_its_transpose():
    boxes = jnp.asarray([(23.4, 31.0, 12.0, 9.6), (0.0, 10.0, 36.0, 24.0)])
    made, adjoint = jax.vjp(lambda maps: average(maps, REGION, boxes, 2), jnp.asarray(maps()))
    other = jnp.asarray(np.random.default_rng(1).standard_normal(made.shape), jnp.float32)
    (back,) = adjoint(other)
    np.testing.assert_allclose((made * other).sum(), (back * maps()).sum(), rtol=1e-4)
    ones = average(jnp.ones((4, 6, 3)), REGION, boxes[:1], 2)
    np.testing.assert_allclose(ones, 1, rtol=1e-5)


def test_a_pyramid_shows_one_place_in_several_sizes():
    """Of a smooth image, whose patches a crop of each size would show alike."""
    rows, columns = np.indices((120, 160))
    image = np.stack([128 + 100 * np.sin(rows / 15), 128 + 100 * np.cos(columns / 11), rows + 0.0], -1)
    frame = Frame(jnp.asarray(image, jnp.float32), jnp.asarray((120, 160), jnp.int32))
    centre, sides = jnp.asarray((70.0, 55.0)), jnp.asarray((40.0, 30.0))
    factors = jnp.asarray((1.4, 1.0, 0.7))
    made = pyramid(frame, centre, sides, factors, (24, 24))
    for patch, factor in zip(made, factors, strict=True):
        window = jnp.concatenate([centre - factor * sides / 2, factor * sides])
        np.testing.assert_allclose(patch, crop(frame, window, (24, 24), method="imresample"), atol=3)
    assert np.abs(np.asarray(made[0] - made[2])).mean() > 10
