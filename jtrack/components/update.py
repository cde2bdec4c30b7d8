"""The model updater: which frames are learnt, and how much of them."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax

from jtrack.components.decisions import Hard, Soft
from jtrack.types import Array


@dataclass(frozen=True)
class EveryFrame:
    """Every frame is learnt alike."""

    def weight(self, score: Array, found: Array, decisions: Hard | Soft) -> Array:
        """How much of a frame is learnt (): 1."""
        del found, decisions
        return jnp.ones((), score.dtype)


@dataclass(frozen=True)
class WhenFound:
    """Every frame is learnt alike, but nothing of a lost target."""

    def weight(self, score: Array, found: Array, decisions: Hard | Soft) -> Array:
        """How much of a frame is learnt (): 1 or, by the decision whether the target is found, 0."""
        return decisions.choose(found, jnp.ones_like(score), jnp.zeros_like(score))


@dataclass(frozen=True)
class ByScore:
    """A frame is learnt in proportion to its score, and nothing of a lost target."""

    def weight(self, score: Array, found: Array, decisions: Hard | Soft) -> Array:
        """How much of a frame is learnt (), in [0, 1].

        Args:
          score: () in [0, 1].
          found: () the decision whether the target is not lost.
          decisions: how it was decided.
        """
        return decisions.choose(found, score, jnp.zeros_like(score))


def averaged(average: Array, score: Array, rate: Array | float, *, most: float | None = None) -> Array:
    """The exponential moving average of scores after another frame ().

    Args:
      average: () so far; begin with 0, so that a young model learns of low scores, too.
      score: () of the frame; a negative one counts as 0.
      rate: () the share of the new score.
      most: what a score counts as at most; None sets no limit.
    """
    return average + rate * (jnp.clip(score, 0, most) - average)


def cosine(a: Array, b: Array) -> Array:
    """The cosine () of the angle between two vectors."""
    return jnp.sum(a * b) * lax.rsqrt(jnp.maximum(jnp.sum(a * a) * jnp.sum(b * b), 1e-20))
