"""Intervals by the bootstrap: against scipy's, against closed forms, and how often they hold the truth."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jtrack.benchmark import bootstrap
from jtrack.errors import JtrackError


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_intervals_are_those_of_scipy(method):
    """Skewed scores of 51 sequences, three trackers at once; two draws differ by chance alone."""
    values = np.random.default_rng(0).beta(5, 1, (51, 3))
    ours = bootstrap.mean_interval(values, method=method, resamples=40_000)
    theirs = stats.bootstrap(
        (values,), np.mean, axis=0, method={"bca": "BCa"}.get(method, method), n_resamples=40_000, rng=1
    ).confidence_interval
    width = theirs.high - theirs.low
    np.testing.assert_allclose(ours.mean, values.mean(axis=0))
    assert np.all(np.abs(ours.low - theirs.low) < 0.02 * width)
    assert np.all(np.abs(ours.high - theirs.high) < 0.02 * width)


def test_percentiles_are_those_of_all_samples():
    """Three sequences have 27 samples: the exact distribution of their mean."""
    values = np.array([0.0, 1.0, 5.0])
    means = np.array([np.mean(sample) for sample in itertools.product(values, repeat=3)])
    interval = bootstrap.mean_interval(values, level=0.8, method="percentile", resamples=200_000)
    expected = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=1e-9)


def test_normal_scores_have_nearly_the_closed_interval():
    """Of many normal values the interval is mean +- 1.96 standard errors."""
    values = np.random.default_rng(1).normal(0.5, 0.2, 2000)
    interval = bootstrap.mean_interval(values)
    error = values.std() / np.sqrt(len(values))
    np.testing.assert_allclose(interval.low, values.mean() - 1.96 * error, atol=0.1 * error)
    np.testing.assert_allclose(interval.high, values.mean() + 1.96 * error, atol=0.1 * error)


@pytest.mark.parametrize(("draw", "mean"), [("normal", 0.0), ("exponential", 1.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(draw, mean):
    """Of 2000 experiments with 50 sequences, 95 % less what the bootstrap is known to lack."""
    values = getattr(np.random.default_rng(2), draw)(size=(50, 2000))
    if draw == "normal":
        values += mean
    interval = bootstrap.mean_interval(values, resamples=2000)
    covered = np.mean((interval.low <= mean) & (mean <= interval.high))
    student = stats.t.ppf(0.975, 49) * values.std(axis=0, ddof=1) / np.sqrt(50)
    closed = np.mean(np.abs(values.mean(axis=0) - mean) <= student)
    assert 0.92 < covered < 0.965
    assert abs(covered - closed) < 0.02


def test_skewed_scores_are_allowed_for():
    """Both ends of the corrected interval lie on the side of the long tail of the plain one."""
    values = np.random.default_rng(3).exponential(size=30)
    plain, corrected = (bootstrap.mean_interval(values, method=method) for method in ("percentile", "bca"))
    assert corrected.low > plain.low and corrected.high > plain.high
    mirrored = bootstrap.mean_interval(-values)
    assert mirrored.low < -plain.high and mirrored.high < -plain.low


def test_differences_are_paired():
    """One tracker is a little better on every sequence: surely so, though their own intervals overlap."""
    rng = np.random.default_rng(4)
    hard = rng.uniform(0.2, 0.9, 40)
    better = hard + 0.02 + rng.normal(0, 0.01, 40)
    difference = bootstrap.difference_interval(better, hard)
    assert 0.01 < difference.low < difference.mean < difference.high < 0.03
    first, second = bootstrap.mean_interval(better), bootstrap.mean_interval(hard)
    assert first.low < second.high
    same = bootstrap.difference_interval(hard, hard)
    assert same.low == same.high == same.mean == 0


def test_the_seed_decides():
    values = np.random.default_rng(5).uniform(size=(20, 2, 3))
    first, again, other = (bootstrap.mean_interval(values, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.low, again.low)
    assert np.any(first.low != other.low)
    assert first.mean.shape == first.low.shape == first.high.shape == (2, 3)


def test_equal_scores_leave_no_doubt_and_one_score_leaves_all():
    interval = bootstrap.mean_interval(np.full(10, 0.1))
    np.testing.assert_allclose([interval.low, interval.high], 0.1, rtol=1e-14)
    interval = bootstrap.mean_interval(np.array([0.3]))
    assert interval.mean == 0.3 and np.isnan(interval.low) and np.isnan(interval.high)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "no sequence"),
        ([0.1, np.nan], {}, "not finite"),
        ([0.1, 0.2], {"level": 95}, "level is 95"),
        ([0.1, 0.2], {"method": "basic"}, "unknown method 'basic'"),
    ],
)
def test_wrong_values(values, options, message):
    with pytest.raises(JtrackError, match=message):
        bootstrap.mean_interval(np.array(values), **options)


def test_differences_are_of_the_same_sequences():
    with pytest.raises(JtrackError, match=r"\[3\] and \[4\]"):
        bootstrap.difference_interval(np.ones(3), np.ones(4))


def test_intervals_of_few_sequences_have_a_caveat():
    """Of four numbers of a normal distribution, an interval of 95 % holds the mean four times in five."""
    values = np.random.default_rng(0).normal(size=(4, 2000))
    interval = bootstrap.mean_interval(values, resamples=500)
    assert np.mean((interval.low <= 0) & (interval.high >= 0)) < 0.85
    assert [bool(bootstrap.caveat(number)) for number in (1, 2, 4, 5, 100)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert bootstrap.caveat(4).startswith("Intervals over 4 sequences are narrower than they should be")
