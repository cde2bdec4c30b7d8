"""How sure a mean over sequences is, and whether one tracker beats another, by the bootstrap.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 13 and 14. Sequences are what is
drawn anew, for they are what a benchmark is a sample of. One draw serves all trackers and measures at once,
so a hundred intervals take little longer than one.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from jtrack.errors import JtrackError

RESAMPLES = 9999
FEW = 5  # sequences; of fewer an interval is too narrow: what is drawn anew has hardly any variety
_BLOCK = 1 << 22  # numbers of a resampling held at once, which bounds the memory


class Interval(NamedTuple):
    """A confidence interval of a mean; arrays of the shape the values have after their first axis."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def caveat(sequences: int) -> str:
    """What a reader of intervals over so many sequences must know, as a sentence; empty for nothing."""
    if not 1 < sequences < FEW:
        return ""
    return f"Intervals over {sequences} sequences are narrower than they should be: they need {FEW} or more."


def mean_interval(
    values: np.ndarray,
    *,
    level: float = 0.95,
    method: str = "bca",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Confidence interval of the mean over sequences.

    Args:
      values: [n, ...] a measure of n sequences, of any number of trackers and measures.
      level: the probability that the interval shall cover the mean.
      method: `bca`, bias-corrected and accelerated, which allows for skewed values; or `percentile`.
      resamples: how many samples of n sequences are drawn.
      seed: of the draw: the same seed gives the same interval.

    Returns:
      The interval. Of a single sequence it is unknown: NaN at both ends.

    Raises:
      JtrackError: without sequences, for values that are not finite, or a level outside (0, 1).
    """
    values = np.asarray(values, np.float64)
    if not values.ndim or not len(values):
        raise JtrackError("there is no sequence to draw from: give the values of at least one")
    if not np.isfinite(values).all():
        raise JtrackError("some values are not finite: leave out the sequences that have no score")
    if not 0 < level < 1:
        raise JtrackError(f"the level is {level}: it must lie between 0 and 1, usually 0.95")
    if method not in ("bca", "percentile"):
        raise JtrackError(f"unknown method {method!r}: known: bca, percentile")
    mean, table = values.mean(axis=0), values.reshape(len(values), -1)
    if len(values) == 1:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    means = np.sort(_resampled_means(table, resamples, np.random.default_rng(seed)), axis=0)
    tails = np.repeat([[(1 - level) / 2], [(1 + level) / 2]], table.shape[1], axis=1)
    if method == "bca":
        tails = _bca_tails(table, means, tails)
    ends = _quantiles(means, tails).reshape(2, *mean.shape)
    return Interval(mean, ends[0], ends[1])


def difference_interval(
    first: np.ndarray,
    second: np.ndarray,
    *,
    level: float = 0.95,
    method: str = "bca",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Confidence interval of the mean difference of two trackers on the same sequences.

    The first beats the second, at this level, where `low` is above 0. The differences are paired: two
    intervals of their means may overlap and this one not hold 0.

    Args:
      first: [n, ...] a measure of n sequences.
      second: the same of the other tracker, sequences in the same order; [n, 1] against several.
      level: the probability that the interval shall cover the mean difference.
      method: `bca` or `percentile`, as `mean_interval` has them.
      resamples: how many samples of n sequences are drawn.
      seed: of the draw.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape and (*first.shape[:1], 1) != second.shape:
        raise JtrackError(
            f"the values have the shapes {list(first.shape)} and {list(second.shape)}: give both trackers'"
            " on the same sequences"
        )
    return mean_interval(first - second, level=level, method=method, resamples=resamples, seed=seed)


def _resampled_means(table: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means [resamples, M] of samples drawn with replacement from the rows of a table [n, M]."""
    number = len(table)
    block = max(1, _BLOCK // number)
    means = []
    for start in range(0, resamples, block):
        # How often each row was drawn: then one product gives the means of every column.
        times = rng.multinomial(number, np.full(number, 1 / number), min(block, resamples - start))
        means.append(times @ table / number)
    return np.concatenate(means)


def _bca_tails(table: np.ndarray, means: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Moves the tails [2, M] of sorted means [B, M] for their bias and the skewness of the rows [n, M]."""
    normal = NormalDist()
    deviation = table - table.mean(axis=0)
    square = np.sum(deviation**2, axis=0)
    # The acceleration by the jackknife, which for a mean is a sixth of the skewness over the root of n.
    skew = np.divide(
        np.sum(deviation**3, axis=0), 6 * square**1.5, out=np.zeros_like(square), where=square > 0
    )
    moved = np.empty_like(tails)
    for column, mean in enumerate(table.mean(axis=0)):
        slack = 1e-12 * max(abs(mean), 1.0)  # of equal sums in another order
        below = np.searchsorted(means[:, column], mean - slack, side="left")
        upto = np.searchsorted(means[:, column], mean + slack, side="right")
        share = np.clip((below + upto) / 2 / len(means), 1e-6, 1 - 1e-6)
        bias = normal.inv_cdf(float(share))
        for end in range(2):
            z = bias + normal.inv_cdf(float(tails[end, column]))
            moved[end, column] = normal.cdf(bias + z / (1 - float(skew[column]) * z))
    return moved


def _quantiles(means: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Quantiles [2, M] of sorted means [B, M], between neighbours in proportion."""
    place = tails * (len(means) - 1)
    low = np.floor(place).astype(int)
    part = place - low
    lower = np.take_along_axis(means, low, axis=0)
    upper = np.take_along_axis(means, np.minimum(low + 1, len(means) - 1), axis=0)
    return lower + part * (upper - lower)
