"""DeepTrack's structural truncated loss (Li, Li and Porikli, TIP 2016, II-D and III-A).

A sample's label is (1, 0) for the target and (0, 1) for the background, by its overlap with the estimated
box; its importance grows with the distance of that overlap from 0.5. Errors are squared norms throughout:
the paper's typography leaves the square open, but its thresholds make sense for squares only.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from jtrack.types import Array, Scalar


def label(overlap: Array) -> Array:
    """Labels [..., 2] of overlaps [...]: (1, 0) above 0.5, else (0, 1). Equation 6."""
    target = (overlap > 0.5).astype(overlap.dtype)
    return jnp.stack([target, 1 - target], axis=-1)


def importance(overlap: Array, slope: Array | float = 1.0) -> Array:
    """How much a sample counts, Delta of equation 5: |tanh(slope (overlap - 0.5) / 2)|.

    Args:
      overlap: [...] in [0, 1].
      slope: 1 is the paper's text, whose range ends at 0.245 and not at the 1 it claims; 10 reaches 0.987.

    Returns:
      [...] in [0, 1], 0 at an overlap of 0.5.
    """
    return jnp.abs(jnp.tanh(slope * (overlap - 0.5) / 2))


@dataclass(frozen=True)
class Structural:
    """Samples count by `importance`."""

    def of(self, overlap: Array, slope: Scalar) -> Array:
        """How much samples count, by their overlaps [...]."""
        return importance(overlap, slope)


@dataclass(frozen=True)
class Uniform:
    """All samples count alike."""

    def of(self, overlap: Array, slope: Scalar) -> Array:
        """How much samples count: 1."""
        del slope
        return jnp.ones_like(overlap)


def truncated(error: Array, label: Array, *, beta: Array | float, tightening: Array | float) -> Array:
    """The truncated norm of equation 9: the squared error, or 0 where it is small.

    Args:
      error: [..., 2] output minus label.
      label: [..., 2].
      beta: squared errors up to it do not count on the background; 0 truncates nothing.
      tightening: u: on the target only those up to beta / (1 + u) do not.

    Returns:
      [...]; where an error is cut its gradient is 0 too.
    """
    square = jnp.sum(error**2, axis=-1)
    return jnp.where(square > beta / (1 + tightening * label[..., 0]), square, 0)


def score(output: Array) -> Array:
    """The confidence of outputs [..., 2], equation 1: s1 exp(s1 - s2); e for (1, 0), 0 for (0, 1).

    The exponent is held within 20, so that what a diverging network says stays finite.
    """
    return output[..., 0] * jnp.exp(jnp.clip(output[..., 0] - output[..., 1], -20, 20))


def quality(scores: Array, losses: Array, weights: Array, *, share: Array | float) -> Array:
    """How far a frame's labels can be trusted, Q of equations 15 and 16.

    One minus the mean loss of the candidates that score nearly as high as the best: were they spread over
    the frame, those off the estimated box would cost much.

    Args:
      scores: [N].
      losses: [N] truncated errors of the candidates against the labels the estimated box implies.
      weights: [N] their importance.
      share: v: candidates above this share of the best score count; the best one alone where that is not
        positive.

    Returns:
      () in [0, 1].
    """
    best = scores.max()
    near = jnp.where(best > 0, scores > share * best, scores == best)
    count = jnp.maximum(near.sum(), 1).astype(losses.dtype)
    return jnp.clip(1 - jnp.where(near, weights * losses, 0).sum() / count, 0, 1)
