"""The dense Bayes filter against closed forms and direct sums."""

import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import bayes_filter

GRID = (48, 40)
COVARIANCE = np.array([[5.0, 1.5], [1.5, 3.0]], np.float32)


def normal(mean, covariance, grid=GRID):
    points = np.stack(np.indices(grid), axis=-1) - np.asarray(mean)
    density = np.exp(-0.5 * np.einsum("rci,ij,rcj->rc", points, np.linalg.inv(covariance), points))
    return density / density.sum()


def spot(row, column, grid=GRID):
    density = np.zeros(grid, np.float32)
    density[row, column] = 1
    return jnp.asarray(density)


def test_gaussian():
    made = bayes_filter.gaussian(GRID, jnp.asarray([20.5, 17.0]), jnp.asarray(COVARIANCE))
    np.testing.assert_allclose(made, normal((20.5, 17), COVARIANCE), atol=1e-6)
    assert float(made.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (-1.25, 4.6)])
def test_the_prior_of_a_sure_place_is_the_normal_density_around_where_it_moved(shift):
    prior = bayes_filter.predict(spot(22, 18), jnp.asarray(shift), jnp.asarray(COVARIANCE))
    np.testing.assert_allclose(prior, normal((22 + shift[0], 18 + shift[1]), COVARIANCE), atol=1e-6)


def test_smoothing_adds_covariances():
    start = jnp.asarray(normal((20, 20), 4 * np.eye(2)), jnp.float32)
    prior = bayes_filter.predict(start, jnp.asarray([2.0, -1.0]), jnp.asarray(COVARIANCE))
    np.testing.assert_allclose(prior, normal((22, 19), COVARIANCE + 4 * np.eye(2)), atol=1e-6)


def test_mass_is_kept_and_a_whole_shift_is_a_roll():
    rng = np.random.default_rng(0)
    density = rng.uniform(0, 1, GRID).astype(np.float32)
    density /= density.sum()
    moved = bayes_filter.predict(jnp.asarray(density), jnp.asarray([5.0, -3.0]), jnp.zeros((2, 2)))
    np.testing.assert_allclose(moved, np.roll(density, (5, -3), (0, 1)), atol=1e-6)
    for shift, spread in [((0.3, 7.9), COVARIANCE), ((-11.0, 2.5), 1e-3 * np.eye(2))]:
        prior = bayes_filter.predict(
            jnp.asarray(density), jnp.asarray(shift), jnp.asarray(spread, jnp.float32)
        )
        assert float(prior.sum()) == pytest.approx(1, abs=1e-5)
        assert float(prior.min()) >= 0


@pytest.mark.parametrize("grid", [(12, 10), (9, 11)])
def test_likelihood_is_the_direct_sum(grid):
    rng = np.random.default_rng(1)
    template, saliency = rng.uniform(0, 1, (2, *grid)).astype(np.float32)
    expected = np.zeros(grid)
    middle = grid[0] // 2, grid[1] // 2
    for r, c in np.ndindex(grid):
        for i, j in np.ndindex(grid):
            y, x = i + r - middle[0], j + c - middle[1]
            if 0 <= y < grid[0] and 0 <= x < grid[1]:
                expected[r, c] += template[i, j] * saliency[y, x]
    made = bayes_filter.correlate(jnp.asarray(template), jnp.asarray(saliency))
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_a_shift_of_the_saliency_shifts_the_likelihood():
    template = np.zeros(GRID, np.float32)
    template[20:28, 17:24] = np.random.default_rng(2).uniform(0, 1, (8, 7))
    saliency = np.roll(template, (4, -3), (0, 1))
    made = np.asarray(bayes_filter.correlate(jnp.asarray(template), jnp.asarray(saliency)))
    assert np.unravel_index(made.argmax(), GRID) == (24 + 4, 20 - 3)
    still = np.asarray(bayes_filter.correlate(jnp.asarray(template), jnp.asarray(template)))
    np.testing.assert_allclose(made, np.roll(still, (4, -3), (0, 1)), atol=1e-4)


def test_posterior_is_the_normalised_product_and_knows_no_units():
    rng = np.random.default_rng(3)
    prior, likelihood = rng.uniform(0, 1, (2, *GRID)).astype(np.float32)
    prior /= prior.sum()
    made = bayes_filter.update(jnp.asarray(prior), jnp.asarray(likelihood))
    np.testing.assert_allclose(made, prior * likelihood / (prior * likelihood).sum(), rtol=1e-4, atol=1e-9)
    for factor in (1e-6, 250.0):
        again = bayes_filter.update(jnp.asarray(prior), jnp.asarray(factor * likelihood))
        assert int(again.argmax()) == int(made.argmax())
        np.testing.assert_allclose(again, made, rtol=1e-4, atol=1e-9)


def test_without_a_likelihood_the_prior_is_kept():
    prior = jnp.asarray(normal((20, 20), COVARIANCE), jnp.float32)
    for nothing in (jnp.zeros(GRID), -jnp.ones(GRID)):
        np.testing.assert_allclose(bayes_filter.update(prior, nothing), prior, atol=1e-6)


def test_no_place_is_ruled_out():
    """A likelihood where the prior underflowed still finds the target."""
    made = bayes_filter.update(spot(3, 3), spot(40, 30))
    assert np.unravel_index(int(made.argmax()), GRID) == (40, 30)
