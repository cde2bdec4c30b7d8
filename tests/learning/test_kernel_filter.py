"""Filters with a Gaussian kernel against the ridge regression that they solve, shift by shift."""

import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.learning.correlation_filter import spectrum
from jtrack.learning.filter_grid import FixedGrid, Part, TracedGrid
from jtrack.learning.kernel_filter import Gaussian

GRID = (6, 5)
SHIFTS = [(row, column) for row in range(GRID[0]) for column in range(GRID[1])]
SIGMA, RIDGE = 0.4, 1e-2


def draw(seed):
    return np.random.default_rng(seed).uniform(0, 1, (*GRID, 3)).astype(np.float32)


def kernel(x, z):
    """The Gaussian kernel of two samples."""
    return np.exp(-((x - z) ** 2).sum() / (SIGMA**2 * x.size))


def shifted(x, by):
    return np.roll(x, by, (0, 1))


def label():
    offsets = [np.minimum(np.arange(n), n - np.arange(n)) for n in GRID]
    return np.exp(-0.5 * (offsets[0][:, None] ** 2 + offsets[1][None] ** 2)).astype(np.float32)


def respond(model, z):
    grid = FixedGrid(GRID)
    return np.asarray(grid.inverse(Gaussian(SIGMA).correlate(model, spectrum(jnp.asarray(z)), grid, 0.0)))


def begun(x):
    grid = FixedGrid(GRID)
    wanted = jnp.fft.rfft2(jnp.asarray(label()))
    return Gaussian(SIGMA).begin(spectrum(jnp.asarray(x)), wanted, grid, jnp.zeros(2), RIDGE)


def test_a_response_is_that_of_the_regression_over_all_shifts():
    """Dual coefficients (K + ridge)^-1 y of the table of kernels of all shifts of x, applied to another z."""
    x, z = draw(0), draw(1)
    table = np.array([[kernel(shifted(x, a), shifted(x, b)) for b in SHIFTS] for a in SHIFTS])
    dual = np.linalg.solve(table + RIDGE * np.eye(len(SHIFTS)), label().reshape(-1))
    # The response at a shift s is of z moved back by s.
    expected = [
        sum(
            weight * kernel(shifted(x, by), shifted(z, (-s[0], -s[1])))
            for weight, by in zip(dual, SHIFTS, strict=True)
        )
        for s in SHIFTS
    ]
    np.testing.assert_allclose(respond(begun(x), z).reshape(-1), expected, atol=1e-4)


def test_a_shift_of_the_sample_moves_the_peak():
    x = draw(2)
    model = begun(x)
    for shift in ((0, 0), (2, 1), (5, 3)):
        response = respond(model, shifted(x, shift))
        assert np.unravel_index(response.argmax(), GRID) == shift


def test_a_traced_grid_gives_the_same_filter():
    """The sample in the corner of a larger array whose rest is never looked at."""
    x, z = draw(3), draw(4)
    grid = TracedGrid((8, 8), jnp.asarray(GRID, jnp.int32))
    part = Part(jnp.zeros(2), jnp.asarray(GRID, jnp.float32))
    padded = [jnp.full((8, 8, 3), 7.0).at[: GRID[0], : GRID[1]].set(each) for each in (x, z)]
    samples = [grid.windowed_spectrum(each, part) for each in padded]
    learner = Gaussian(SIGMA)
    wanted = grid.spectrum(jnp.zeros((8, 8)).at[: GRID[0], : GRID[1]].set(label()))
    model = learner.begin(samples[0], wanted, grid, jnp.zeros(2), RIDGE)
    found = grid.inverse(learner.correlate(model, samples[1], grid, RIDGE))[: GRID[0], : GRID[1]]

    fixed = FixedGrid(GRID)
    plain = [fixed.windowed_spectrum(jnp.asarray(each)) for each in (x, z)]
    model = learner.begin(plain[0], fixed.spectrum(jnp.asarray(label())), fixed, jnp.zeros(2), RIDGE)
    expected = fixed.inverse(learner.correlate(model, plain[1], fixed, RIDGE))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_kernel_without_width_is_refused():
    with pytest.raises(JtrackError, match="sigma of a kernel is 0: it must be above 0"):
        Gaussian(0)
