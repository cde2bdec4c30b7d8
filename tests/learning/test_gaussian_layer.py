"""GDT's Bayesian layer against SciPy's densities, closed forms, autodiff and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.stats import norm

from jtrack.learning import gaussian_layer
from jtrack.learning.gaussian_layer import AsPrinted, Gaussian, Mean, Sum


def gaussian(seed, count=7):
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(0, 2, count), rng.uniform(0.3, 3, count)
    return Gaussian(jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32))


def samples(seed=5, count=9, features=7):
    return jnp.asarray(np.random.default_rng(seed).normal(0, 2, (count, features)), jnp.float32)


TARGET, BACKGROUND = gaussian(0), gaussian(1)


def plain(values, target, background):
    """The score again, without the gradients written by hand."""

    def log_density(each):
        deviation = jnp.sqrt(each.variance)[None]
        return jax.scipy.stats.norm.logpdf(values, each.mean[None], deviation).sum(axis=1)

    return log_density(target) - log_density(background)


def test_the_score_is_the_difference_of_log_densities():
    found = gaussian_layer.score(samples(), TARGET, BACKGROUND)
    densities = [
        norm.logpdf(np.asarray(samples(), np.float64), each.mean, np.sqrt(np.asarray(each.variance))).sum(1)
        for each in (TARGET, BACKGROUND)
    ]
    np.testing.assert_allclose(found, densities[0] - densities[1], rtol=1e-5, atol=1e-4)


def test_classes_swapped_change_its_sign():
    there = gaussian_layer.score(samples(), TARGET, BACKGROUND)
    back = gaussian_layer.score(samples(), BACKGROUND, TARGET)
    np.testing.assert_allclose(there, -back, rtol=1e-6)


def test_equal_variances_make_it_affine_and_nothing_at_the_middle():
    background = Gaussian(BACKGROUND.mean, TARGET.variance)
    (target, other), variance = (
        (np.asarray(g.mean, np.float64) for g in (TARGET, background)),
        TARGET.variance,
    )
    want = (
        (target - other) / np.asarray(variance, np.float64) * (np.asarray(samples()) - (target + other) / 2)
    ).sum(1)
    np.testing.assert_allclose(
        gaussian_layer.score(samples(), TARGET, background), want, rtol=1e-4, atol=1e-4
    )
    middle = ((TARGET.mean + background.mean) / 2)[None]
    np.testing.assert_allclose(gaussian_layer.score(middle, TARGET, background), 0, atol=1e-4)


def test_written_gradients_are_those_of_autodiff():
    weights = jnp.asarray(np.random.default_rng(2).normal(size=9), jnp.float32)

    def total(score):
        return lambda *given: jnp.sum(weights * score(*given))

    found = jax.grad(total(gaussian_layer.score), argnums=(0, 1, 2))(samples(), TARGET, BACKGROUND)
    wanted = jax.grad(total(plain), argnums=(0, 1, 2))(samples(), TARGET, BACKGROUND)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    check_grads(gaussian_layer.score, (samples(), TARGET, BACKGROUND), 1, modes=["rev"], atol=0.1, rtol=0.05)


def test_gradients_are_the_papers_and_a_negative_samples_the_opposite():
    """Equations 8 to 10; `objective` divides them by the numbers of samples and features."""
    values = samples(count=2)
    x = np.asarray(values, np.float64)
    want = -(x - np.asarray(TARGET.mean)) / np.asarray(TARGET.variance)
    want += (x - np.asarray(BACKGROUND.mean)) / np.asarray(BACKGROUND.variance)
    slope = jax.grad(gaussian_layer.objective)(values, jnp.asarray([1.0, -1.0]), TARGET, BACKGROUND)
    np.testing.assert_allclose(slope[0] * 14, want[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slope[1] * 14, -want[1], rtol=1e-4, atol=1e-5)
    unused = jax.grad(gaussian_layer.objective)(values, jnp.asarray([1.0, 0.0]), TARGET, BACKGROUND)
    np.testing.assert_array_equal(unused[1], 0)


def test_at_the_targets_mean_only_the_background_pulls():
    slope = jax.grad(lambda x: gaussian_layer.score(x, TARGET, BACKGROUND)[0])(TARGET.mean[None])[0]
    want = (TARGET.mean - BACKGROUND.mean) / BACKGROUND.variance
    np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-6)


def test_an_estimate_is_that_of_maximum_likelihood_over_what_counts():
    values = samples(count=40)
    weights = np.r_[np.ones(25), np.zeros(15)]
    found = gaussian_layer.estimate(values, jnp.asarray(weights, jnp.float32), 1e-6)
    kept = np.asarray(values, np.float64)[:25]
    for index in range(7):
        mean, deviation = norm.fit(kept[:, index])
        assert float(found.mean[index]) == pytest.approx(mean, abs=1e-5)
        assert float(found.variance[index]) == pytest.approx(deviation**2, rel=1e-4)


@pytest.mark.parametrize("values", [np.zeros((5, 7)), np.full((5, 7), 1e4), samples(count=5)])
@pytest.mark.parametrize("weights", [np.ones(5), np.eye(5)[0], np.zeros(5)], ids=["all", "one", "none"])
def test_variances_stay_positive_and_finite(values, weights):
    found = gaussian_layer.estimate(
        jnp.asarray(values, jnp.float32), jnp.asarray(weights, jnp.float32), jnp.float32(1e-3)
    )
    assert (np.asarray(found.variance) > 0).all() and np.isfinite(found.variance).all()
    for _ in range(50):
        found = gaussian_layer.update(found, gaussian(3), 0.95)
        assert (np.asarray(found.variance) > 0).all()
    assert np.isfinite(gaussian_layer.score(samples(), found, BACKGROUND)).all()


def test_no_variance_falls_below_its_share_of_the_mean():
    wide = jnp.asarray([1.0, 3.0, 0.0, 0.004])
    found = gaussian_layer.floored(Gaussian(jnp.zeros(4), wide), 0.01).variance
    np.testing.assert_allclose(found, [1, 3, 0.01001, 0.01001], rtol=1e-4)


def test_widened_to_the_other_class_the_nearer_mean_wins():
    narrow = Gaussian(TARGET.mean, 0.01 * TARGET.variance)
    found = gaussian_layer.widened(narrow, BACKGROUND, 1.0)
    np.testing.assert_array_equal(found.variance, BACKGROUND.variance)
    x, variance = np.asarray(samples(count=60), np.float64), np.asarray(BACKGROUND.variance)
    distance = [((x - np.asarray(g.mean)) ** 2 / variance).sum(1) for g in (TARGET, BACKGROUND)]
    scores = np.asarray(gaussian_layer.score(samples(count=60), found, BACKGROUND))
    np.testing.assert_array_equal(scores > 0, distance[0] < distance[1])
    assert 5 < (scores > 0).sum() < 55
    np.testing.assert_array_equal(gaussian_layer.widened(narrow, BACKGROUND, 0.0).variance, narrow.variance)


@pytest.mark.parametrize("retention", [0.0, 0.3, 0.95, 1.0])
def test_an_update_has_mean_and_variance_of_the_mixture(retention):
    rng = np.random.default_rng(0)
    old, new = gaussian(3, 2), gaussian(4, 2)
    size = 400_000
    chosen = (rng.random(size) < retention)[:, None]
    draw = [
        np.asarray(g.mean) + np.sqrt(np.asarray(g.variance)) * rng.normal(size=(size, 2)) for g in (old, new)
    ]
    mixture = np.where(chosen, draw[0], draw[1])
    found = gaussian_layer.update(old, new, retention)
    np.testing.assert_allclose(found.mean, mixture.mean(0), atol=0.02)
    np.testing.assert_allclose(found.variance, mixture.var(0), rtol=0.02)


def test_retention_of_one_freezes_and_of_nothing_replaces():
    for retention, kept in ((1.0, TARGET), (0.0, BACKGROUND)):
        found = gaussian_layer.update(TARGET, BACKGROUND, retention)
        np.testing.assert_array_equal(found.mean, kept.mean)
        np.testing.assert_array_equal(found.variance, kept.variance)


def test_the_variance_is_updated_with_the_old_mean():
    """With the new mean in its last term the mixture's variance would come out too small."""
    found = gaussian_layer.update(TARGET, BACKGROUND, 0.5)
    drift = 0.25 * (np.asarray(TARGET.mean) - np.asarray(BACKGROUND.mean)) ** 2
    middle = (np.asarray(TARGET.variance) + np.asarray(BACKGROUND.variance)) / 2
    np.testing.assert_allclose(found.variance, middle + drift, rtol=1e-5)
    late = 0.25 * (np.asarray(found.mean) - np.asarray(BACKGROUND.mean)) ** 2
    assert (np.asarray(found.variance) > middle + late).all()
    printed = 0.25 * (np.sqrt(TARGET.variance) - np.sqrt(BACKGROUND.variance)) ** 2
    assert not np.allclose(found.variance, middle + printed, rtol=0.05)


def test_an_update_as_printed_ends_in_the_difference_of_the_deviations():
    found = gaussian_layer.update(TARGET, BACKGROUND, 0.8, AsPrinted())
    old, new = (np.asarray(g.variance) for g in (TARGET, BACKGROUND))
    np.testing.assert_allclose(found.mean, gaussian_layer.update(TARGET, BACKGROUND, 0.8).mean)
    want = 0.8 * old + 0.2 * new + 0.16 * (np.sqrt(old) - np.sqrt(new)) ** 2
    np.testing.assert_allclose(found.variance, want, rtol=1e-5)
    # The mean's drift leaves no trace.
    far = BACKGROUND._replace(mean=BACKGROUND.mean + 100)
    np.testing.assert_array_equal(
        gaussian_layer.update(TARGET, far, 0.8, AsPrinted()).variance, found.variance
    )


def test_the_step_climbs_a_mean_or_the_papers_sum():
    labels = jnp.asarray([1.0, -1.0, 0.0, 1.0, -1.0, 1.0, 0.0, -1.0, 1.0])
    scores = np.asarray(gaussian_layer.score(samples(), TARGET, BACKGROUND))
    want = np.sum(np.asarray(labels) * scores)
    parts = samples(), labels, TARGET, BACKGROUND
    np.testing.assert_allclose(gaussian_layer.objective(*parts, Sum()), want, rtol=1e-5)
    np.testing.assert_allclose(gaussian_layer.objective(*parts, Mean()), want / (7 * 7), rtol=1e-5)
    np.testing.assert_array_equal(gaussian_layer.objective(*parts), gaussian_layer.objective(*parts, Mean()))


def test_repeated_updates_approach_geometrically():
    old = TARGET
    for count in range(1, 61):
        old = gaussian_layer.update(old, BACKGROUND, 0.95)
        if count % 20 == 0:
            left = 0.95**count
            gap = np.asarray(TARGET.mean) - np.asarray(BACKGROUND.mean)
            np.testing.assert_allclose(old.mean - BACKGROUND.mean, left * gap, rtol=1e-3, atol=1e-5)
            want = left * (np.asarray(TARGET.variance) - np.asarray(BACKGROUND.variance))
            want += left * (1 - left) * gap**2  # the variance of the mixture of the first and the constant
            np.testing.assert_allclose(old.variance - BACKGROUND.variance, want, rtol=1e-3, atol=1e-4)
