"""Decisions: whether a number is above a threshold, which of two states follows, which candidate is the best.

The papers' trackers decide one way or the other (`Hard`): a decision has no derivative, and a tracker's
gradient is that of the numbers between its decisions. `Soft` weighs instead: a decision is a number in
[0, 1], states are blended, the best is an average that the best dominate, so that gradients go through
decisions, too. What cannot be weighed (which samples are kept, a count, a random number) is as it is
computed, a constant of the derivative.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jtrack import checks
from jtrack.types import Array, Scalar


@dataclass(frozen=True)
class Hard:
    """One way or the other; a decision is () bool."""

    width = 0.0
    differentiable = False  # whether loops have to have a derivative, too

    def above(self, value: Array, threshold: Scalar, unit: Scalar = 1.0) -> Array:
        """Whether a value is above a threshold.

        Args:
          value: of any shape.
          threshold: () or of the value's shape.
          unit: () what they are measured in.
        """
        del unit
        return value > jnp.asarray(threshold, value.dtype)

    def reaches(self, value: Array, threshold: Scalar, unit: Scalar = 1.0) -> Array:
        """Whether a value is a threshold or above it; arguments as of `above`."""
        del unit
        return value >= jnp.asarray(threshold, value.dtype)

    def never(self, dtype: jax.typing.DTypeLike) -> Array:
        """The decision () against, in a computation of a dtype."""
        del dtype
        return jnp.zeros((), jnp.bool_)

    def both(self, a: Array, b: Array) -> Array:
        """The decision for what two are for."""
        return a & b

    def either(self, a: Array, b: Array) -> Array:
        """The decision for what one of two is for."""
        return a | b

    def unless(self, a: Array) -> Array:
        """The decision against what one is for."""
        return ~a

    def likely(self, decision: Array) -> Array:
        """Whether a decision is for rather than against () bool."""
        return decision

    def possible(self, decision: Array) -> Array:
        """Whether what is decided may have to be done () bool: what `State.due` says."""
        return decision

    def choose[T](self, decision: Array, then: T, otherwise: T) -> T:
        """One of two trees of the same structure."""
        chosen: T = jax.tree.map(lambda a, b: jnp.where(decision, a, b), then, otherwise)
        return chosen

    def apply[T](self, decision: Array, function: Callable[[T], T], value: T) -> T:
        """What a function makes of a tree if a decision is for it, else the tree."""
        done: T = lax.cond(decision, function, lambda value: value, value)
        return done

    def best[T](self, scores: Array, values: T, unit: Scalar = 1.0, *, count: int = 1) -> T:
        """What belongs to the highest score, the first of equal ones; or the mean over the highest.

        Args:
          scores: [N].
          values: a tree of arrays [N, ...].
          unit: () what scores are measured in.
          count: of how many.

        Returns:
          The tree without the leading axis.
        """
        del unit
        order = jnp.argmax(scores) if count == 1 else lax.top_k(scores, count)[1]
        chosen: T = jax.tree.map(
            lambda value: value[order] if count == 1 else value[order].mean(axis=0), values
        )
        return chosen


@dataclass(frozen=True)
class Soft:
    """Decisions by degrees, in [0, 1]; the methods are those of `Hard`."""

    width: float = 0.05  # of a threshold: a value so far above it decides by .73, in its unit
    temperature: float = 0.05  # of the best, in units of the scores
    differentiable = True

    def __post_init__(self) -> None:
        checks.require(self.width > 0, f"width of a decision is {self.width}: it must be above 0")
        checks.require(
            self.temperature > 0, f"temperature of a decision is {self.temperature}: it must be above 0"
        )

    def above(self, value: Array, threshold: Scalar, unit: Scalar = 1.0) -> Array:
        """How far a value is above a threshold: a logistic curve, 1/2 at the threshold."""
        apart = value - jnp.asarray(threshold, value.dtype)
        return jax.nn.sigmoid(apart / (self.width * jnp.asarray(unit, value.dtype)))

    def reaches(self, value: Array, threshold: Scalar, unit: Scalar = 1.0) -> Array:
        """As `above`."""
        return self.above(value, threshold, unit)

    def never(self, dtype: jax.typing.DTypeLike) -> Array:
        """0."""
        return jnp.zeros((), dtype)

    def both(self, a: Array, b: Array) -> Array:
        """Their product."""
        return a * b

    def either(self, a: Array, b: Array) -> Array:
        """One less the product of what they lack of 1."""
        return 1 - (1 - a) * (1 - b)

    def unless(self, a: Array) -> Array:
        """What it lacks of 1."""
        return 1 - a

    def likely(self, decision: Array) -> Array:
        """Whether it is above one half: a constant of the derivative."""
        return decision > 0.5

    def possible(self, decision: Array) -> Array:
        """Always: it is done, and weighed by the decision."""
        return jnp.ones(decision.shape, jnp.bool_)

    def choose[T](self, decision: Array, then: T, otherwise: T) -> T:
        """Both, weighed; counts and keys are those of `then`."""

        def blend(a: Array, b: Array) -> Array:
            a, b = jnp.asarray(a), jnp.asarray(b)
            if not jnp.issubdtype(a.dtype, jnp.inexact):
                return a
            return b + decision.astype(a.dtype) * (a - b)

        chosen: T = jax.tree.map(blend, then, otherwise)
        return chosen

    def apply[T](self, decision: Array, function: Callable[[T], T], value: T) -> T:
        """What a function makes of a tree and the tree, weighed: the function always runs."""
        return self.choose(decision, function(value), value)

    def best[T](self, scores: Array, values: T, unit: Scalar = 1.0, *, count: int = 1) -> T:
        """The mean of all, weighed by exp(score / (temperature unit)); arguments as of `Hard`."""
        del count
        weights = jax.nn.softmax(scores / (self.temperature * jnp.asarray(unit, scores.dtype)))

        def mean(value: Array) -> Array:
            return jnp.tensordot(weights.astype(value.dtype), value, 1, precision="highest")

        chosen: T = jax.tree.map(mean, values)
        return chosen
