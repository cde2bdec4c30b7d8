"""The Bayes filter over places, against NumPy and by what it must do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import bayes_filter, saliency_filter
from jtrack.learning.saliency_filter import BoxPosterior, PeakPosterior, UniformPrior, WeightedPrior

GRID, TEMPLATE = 32, 8


def start(filters=3):
    return saliency_filter.begin(filters=filters, template=TEMPLATE, grid=GRID, deviation=jnp.float32(0.2))


def test_it_begins_in_the_middle_with_the_deviation_of_a_cell_at_least():
    model = start()
    rows, columns = np.mgrid[:GRID, :GRID]
    expected = np.exp(-((rows - 16) ** 2 + (columns - 16) ** 2) / 2)
    np.testing.assert_allclose(model.posterior, expected / expected.sum(), rtol=1e-4, atol=1e-7)
    assert int(model.stored) == 0 and not np.any(model.filters)


def test_the_middle_cell_of_a_window_is_at_the_centre():
    window = np.asarray(saliency_filter.window_around(jnp.asarray([50.0, 40.0]), jnp.float32(2.0), GRID))
    np.testing.assert_allclose(window[2:], 2 * GRID)
    np.testing.assert_allclose(window[:2] + (GRID // 2 + 0.5) * 2.0, [50, 40])


def test_what_candidates_count():
    scores = jnp.asarray([-1.0, 0.5, 2.0])
    np.testing.assert_array_equal(UniformPrior().weights(scores, jnp.float32(0)), [0, 1, 1])
    np.testing.assert_array_equal(WeightedPrior().weights(scores, jnp.float32(-0.5)), [0, 1, 2.5])


def test_the_prior_moves_by_the_weighted_mean_of_the_candidates():
    places = np.array([[3.0, 0.0], [5.0, 2.0], [-9.0, 4.0]], np.float32)
    weights = np.array([1.0, 3.0, 0.0], np.float32)
    mean = (weights[:, None] * places).sum(0) / weights.sum()
    model = start()._replace(offset=jnp.asarray([1.0, -1.0]))
    motion = jnp.asarray(places), jnp.asarray(weights), jnp.float32(1)
    prior = np.asarray(saliency_filter.predict(model, *motion, WeightedPrior()))
    rows, columns = np.mgrid[:GRID, :GRID]
    centre = (prior * rows).sum() / prior.sum(), (prior * columns).sum() / prior.sum()
    # The posterior's mass is in the middle; the maps have moved by the offset since.
    np.testing.assert_allclose(centre, 16 + mean - [1, -1], atol=0.05)
    apart = places - mean
    covariance = (weights[:, None, None] * apart[:, :, None] * apart[:, None, :]).sum(0) / weights.sum()
    spread = (prior * (rows - centre[0]) ** 2).sum() / prior.sum()
    assert spread == pytest.approx(1 + covariance[0, 0] + 1, rel=0.05)  # of the posterior, motion, least


@pytest.mark.parametrize(
    "covariance",
    [((4.0, 0.0), (0.0, 9.0)), ((5.0, 2.0), (2.0, 1.5)), ((1.0, 1.0), (1.0, 1.0)), ((0.0,) * 2,) * 2],
)
def test_the_papers_covariance_is_widened_only_where_it_is_degenerate(covariance):
    given = np.array(covariance, np.float32)
    least = np.linalg.eigvalsh(given)[0]
    got = np.asarray(UniformPrior().widened(jnp.asarray(given), jnp.float32(1)))
    np.testing.assert_allclose(got, given + max(1 - least, 0) * np.eye(2), atol=1e-5)
    assert np.linalg.eigvalsh(got)[0] >= 1 - 1e-5
    np.testing.assert_allclose(WeightedPrior().widened(jnp.asarray(given), jnp.float32(1)), given + np.eye(2))


def test_the_next_prior_is_where_the_box_is_not_where_the_peak_was_beyond_the_frame():
    """A peak 6 rows down, of which the frame holds 4; then the target stays where it is."""
    posterior = jnp.zeros((GRID, GRID)).at[22, 16].set(1.0)
    model = start()._replace(posterior=posterior, offset=jnp.asarray([6.0, 0.0]))
    still = jnp.zeros((1, 2)), jnp.ones(1), jnp.float32(1), UniformPrior()
    rows = np.arange(GRID)
    for rule, expected in ((PeakPosterior(), 16), (BoxPosterior(), 18)):
        carried = rule.carried(model, jnp.asarray([-2.0, 0.0]), None)
        np.testing.assert_array_equal(carried.posterior, posterior)
        prior = np.asarray(saliency_filter.predict(carried, *still)).sum(1)
        assert (prior * rows).sum() == pytest.approx(expected, abs=0.05)


def test_a_posterior_is_resampled_when_its_cells_grow():
    middle = GRID // 2 + 0.5
    places = np.arange(GRID) + 0.5 - middle
    density = np.exp(-((places[:, None] - 4) ** 2 + places[None] ** 2) / 32).astype(np.float32)
    model = start()._replace(posterior=jnp.asarray(density / density.sum()), offset=jnp.asarray([4.0, 0.0]))
    carried = BoxPosterior().carried(model, jnp.zeros(2), jnp.float32(1.25))
    shrunk = np.exp(-((1.25 * places[:, None] - 4) ** 2 + (1.25 * places[None]) ** 2) / 32)
    shrunk = shrunk / shrunk.sum()
    np.testing.assert_allclose(carried.posterior, shrunk, atol=0.02 * shrunk.max())
    np.testing.assert_allclose(carried.posterior.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(carried.offset, [3.2, 0], rtol=1e-6)
    same = BoxPosterior().carried(model, jnp.zeros(2), jnp.float32(1))
    np.testing.assert_allclose(same.posterior, model.posterior, atol=1e-6)
    assert jax.tree.all(jax.tree.map(np.array_equal, PeakPosterior().carried(model, jnp.ones(2), 2.0), model))


def test_the_template_is_the_mean_of_the_last_filters():
    model = start(filters=2)
    np.testing.assert_array_equal(saliency_filter.template(model), np.zeros((TEMPLATE, TEMPLATE)))
    window, target = jnp.asarray([0.0, 0.0, 64.0, 64.0]), jnp.asarray([16.0, 24.0, 16.0, 16.0])
    for level in (1.0, 3.0, 7.0):
        salient = jnp.full((GRID, GRID), level)
        model = saliency_filter.remember(model, salient, window, jnp.float32(2), target)
    assert int(model.stored) == 3
    np.testing.assert_allclose(saliency_filter.template(model), 5.0, rtol=1e-5)  # 3 and 7; 1 is forgotten


def test_what_is_remembered_is_the_cut_of_the_target():
    rng = np.random.default_rng(0)
    salient = jnp.asarray(rng.random((GRID, GRID)), jnp.float32)
    window, target = jnp.asarray([10.0, 20.0, 64.0, 64.0]), jnp.asarray([10.0 + 8, 20.0 + 12, 16.0, 16.0])
    model = saliency_filter.remember(start(), salient, window, jnp.float32(2), target)
    np.testing.assert_allclose(model.filters[0], salient[6:14, 4:12], atol=1e-5)  # a cell a cell


def test_the_likelihood_is_highest_where_the_template_is_again():
    rng = np.random.default_rng(1)
    pattern = jnp.asarray(rng.random((9, 9)), jnp.float32)  # with a middle cell
    model = start()._replace(filters=pattern[None], stored=jnp.int32(1))
    salient = jnp.zeros((GRID, GRID)).at[12 + 5 : 21 + 5, 12 - 3 : 21 - 3].set(pattern)
    found = saliency_filter.likelihood(model, salient, jnp.asarray([9.0, 9.0]))
    assert found.shape == (GRID, GRID)
    highest = saliency_filter.cells(found)[found.reshape(-1).argmax()]
    np.testing.assert_array_equal(highest, [16 + 5, 16 - 3])


def test_a_posterior_follows_from_prior_and_likelihood():
    prior = start().posterior
    likelihood = jnp.zeros((GRID, GRID)).at[20, 16].set(2.0)
    posterior = np.asarray(bayes_filter.update(prior, likelihood))
    assert np.unravel_index(posterior.argmax(), posterior.shape) == (20, 16)
    assert posterior.sum() == pytest.approx(1, rel=1e-5)
