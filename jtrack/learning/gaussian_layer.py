"""The Bayesian layer of GDT: Gaussians of target and background over features, and what they say of a sample.

    S(x) = log p(x | target) - log p(x | background),    p(x | class) = prod_i N(x_i; mean_i, variance_i)

(Zhai, Javan Roshtkhari and Mori, 2016, equations 1 to 4, with equal priors; their sigma, "variance" in the
text, is a standard deviation.) Here Gaussians keep variances, which is what is updated.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jtrack.types import Array


class Gaussian(NamedTuple):
    """Independent Gaussians, one a feature; float32."""

    mean: Array  # [O]
    variance: Array  # [O], positive


@dataclass(frozen=True)
class Mixture:
    """Gaussians are blended into those of the mixture's mean and variance.

    The end of equation 7 is then the squared difference of the means, of the old one, as in the compressive
    tracking that the paper follows.
    """

    def drift(self, old: Gaussian, new: Gaussian) -> Array:
        """What the old and the new Gaussians being apart adds to the variance [O], over gamma (1 - gamma)."""
        return (old.mean - new.mean) ** 2


@dataclass(frozen=True)
class AsPrinted:
    """Gaussians are blended as equation 7 is printed: by the squared difference of the deviations.

    However far the mean moves, the variance does not grow with it.
    """

    def drift(self, old: Gaussian, new: Gaussian) -> Array:
        """As of `Mixture`."""
        return (jnp.sqrt(old.variance) - jnp.sqrt(new.variance)) ** 2


@dataclass(frozen=True)
class Mean:
    """Samples and features are averaged, so that one learning rate serves any number of them."""

    def divisor(self, labels: Array, features: int) -> Array:
        """What a sum over samples [N] and so many features is divided by ()."""
        return jnp.maximum(jnp.sum(jnp.abs(labels)), 1) * features


@dataclass(frozen=True)
class Sum:
    """Samples and features are summed, as in equation 11."""

    def divisor(self, labels: Array, features: int) -> Array:
        """1."""
        del features
        return jnp.ones((), labels.dtype)


def estimate(values: Array, weights: Array, floor: Array | float) -> Gaussian:
    """The most likely Gaussians of samples (dividing by their number, not by one less).

    Args:
      values: [N, O].
      weights: [N], not negative: 0 leaves a sample out. Where all are 0, the Gaussians are of no use but
        finite.
      floor: () share of the mean variance of all features below which no feature's variance falls.

    Returns:
      The Gaussians [O].
    """
    share = weights / jnp.maximum(weights.sum(), 1e-6)
    mean = jnp.einsum("n,no->o", share, values, precision="highest")
    square = jnp.einsum("n,no->o", share, (values - mean[None]) ** 2, precision="highest")
    return floored(Gaussian(mean, square), floor)


def of_both(values: Array, labels: Array, floor: Array | float) -> tuple[Gaussian, Gaussian]:
    """The most likely Gaussians of target and background, of samples [N, O] with labels [N].

    Args:
      values: [N, O].
      labels: [N]: +1 a sample of the target, -1 of the background, 0 leaves it out.
      floor: as of `estimate`.
    """
    target = estimate(values, jnp.maximum(labels, 0), floor)
    return target, estimate(values, jnp.maximum(-labels, 0), floor)


def floored(gaussian: Gaussian, floor: Array | float) -> Gaussian:
    """The Gaussians with no variance below a share of their mean variance (and none of 0).

    A feature that is the same for all samples of a frame would otherwise decide alone.
    """
    least = jnp.maximum(floor * gaussian.variance.mean(), 1e-12)
    return Gaussian(gaussian.mean, jnp.maximum(gaussian.variance, least))


def widened(gaussian: Gaussian, other: Gaussian, share: Array | float) -> Gaussian:
    """The Gaussians with no variance below a share of another class's variance of the same feature.

    Samples of the target are shifts of one image and vary far less than its appearance does in a later
    frame. With a share of 1 the target is no narrower than the background, and S is positive where the
    features are nearer to the target's mean, by the deviations, than to the background's.
    """
    return Gaussian(gaussian.mean, jnp.maximum(gaussian.variance, share * other.variance))


def update(
    old: Gaussian, new: Gaussian, retention: Array | float, rule: Mixture | AsPrinted = Mixture()
) -> Gaussian:
    """Mean and variance of `retention` old + (1 - `retention`) new, a feature each: equations 6 and 7.

    Args:
      old: [O].
      new: [O].
      retention: () gamma in [0, 1]: 1 keeps the old, 0 takes the new.
      rule: how 7 is read.

    Returns:
      The Gaussians [O].
    """
    other = 1 - retention
    mean = retention * old.mean + other * new.mean
    drift = retention * other * rule.drift(old, new)
    return Gaussian(mean, retention * old.variance + other * new.variance + drift)


@jax.custom_vjp
def score(values: Array, target: Gaussian, background: Gaussian) -> Array:
    """S [N] of samples [N, O] (equation 4).

    Its gradient is written out: for the values equations 8 and 10, for the Gaussians likewise. That of a
    sample of the background, equation 9, is the same with the other sign: see `objective`.

    Args:
      values: [N, O].
      target: [O].
      background: [O].

    Returns:
      [N] float32: positive where the target is more likely.
    """
    return _log_density(values, target) - _log_density(values, background)


def _log_density(values: Array, gaussian: Gaussian) -> Array:
    """The logarithm of the density, without the constant that both classes share."""
    mean, variance = gaussian.mean[None], gaussian.variance[None]
    return -0.5 * jnp.sum(jnp.log(variance) + (values - mean) ** 2 / variance, axis=1)


def _forward(values: Array, target: Gaussian, background: Gaussian) -> tuple[Array, Any]:
    return score(values, target, background), (values, target, background)


def _backward(kept: Any, slope: Array) -> tuple[Array, Gaussian, Gaussian]:
    values, target, background = kept
    to_target, target_slope = _slopes(values, target, slope)
    to_background, background_slope = _slopes(values, background, -slope)
    return to_target + to_background, target_slope, background_slope


def _slopes(values: Array, gaussian: Gaussian, slope: Array) -> tuple[Array, Gaussian]:
    """Of `slope` times the log density: with respect to the values and to the Gaussian."""
    mean, variance = gaussian.mean[None], gaussian.variance[None]
    apart = (values - mean) / variance
    pull = slope[:, None] * apart
    spread = 0.5 * slope[:, None] * (apart**2 - 1 / variance)
    return -pull, Gaussian(pull.sum(axis=0), spread.sum(axis=0))


score.defvjp(_forward, _backward)


def objective(
    values: Array, labels: Array, target: Gaussian, background: Gaussian, total: Mean | Sum = Mean()
) -> Array:
    """What the network's online step climbs: sign S, over samples and features.

    Args:
      values: [N, O].
      labels: [N]: 1 for a sample of the target, -1 of the background, 0 leaves it out.
      target: [O].
      background: [O].
      total: whether they are averaged or summed.

    Returns:
      ().
    """
    scores = score(values, target, background)
    return jnp.sum(labels * scores) / total.divisor(labels, values.shape[1])
