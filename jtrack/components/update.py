"""The model updater: which frames are learnt, and how much of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jtrack.types import Array


@dataclass(frozen=True)
class EveryFrame:
    """Every frame is learnt alike."""

    def weight(self, score: Array, lost: Array) -> Array:
        """How much of a frame is learnt (): 1."""
        del lost
        return jnp.ones((), score.dtype)


@dataclass(frozen=True)
class ByScore:
    """A frame is learnt in proportion to its score, and nothing of a lost target."""

    def weight(self, score: Array, lost: Array) -> Array:
        """How much of a frame is learnt (), in [0, 1].

        Args:
          score: () in [0, 1].
          lost: () bool.
        """
        return jnp.where(lost, 0.0, score)


def allowed(score: Array, average: Array, threshold: Array | float) -> Array:
    """Whether a frame may be learnt () bool: its score reaches a share of the average one.

    Args:
      score: () of the frame.
      average: () of earlier frames, from `averaged`.
      threshold: () the share; 0 allows every score that is not negative.
    """
    return score >= threshold * average


def averaged(average: Array, score: Array, rate: Array | float, *, most: float | None = None) -> Array:
    """The exponential moving average of scores after another frame ().

    Args:
      average: () so far; begin with 0, so that a young model learns of low scores, too.
      score: () of the frame; a negative one counts as 0.
      rate: () the share of the new score.
      most: what a score counts as at most; None sets no limit.
    """
    return average + rate * (jnp.clip(score, 0, most) - average)


def where[T](condition: Array, then: T, otherwise: T) -> T:
    """One of two states of the same structure, leaf by leaf; `condition` is () bool."""
    chosen: T = jax.tree.map(lambda a, b: jnp.where(condition, a, b), then, otherwise)
    return chosen
