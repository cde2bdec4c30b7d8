"""Stochastic gradient descent as Caffe does it: momentum that holds the rate, and multipliers a blob.

    velocity <- momentum velocity + rate rate_multiplier (gradient + decay decay_multiplier weight)
    weight   <- weight - velocity

Unlike optax's momentum the velocity contains the learning rate, so that a rate changed later acts on new
gradients alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.types import Array, PyTree, Scalar


class Rates(NamedTuple):
    """Numbers of a descent, () float32 each."""

    learning_rate: Array
    momentum: Array
    decay: Array


class Multiplier(NamedTuple):
    """Of a blob: what its learning rate and its weight decay are multiplied by."""

    rate: float
    decay: float


# What FCNT's released networks give their kernels and their biases.
KERNEL = Multiplier(1.0, 2.0)
BIAS = Multiplier(2.0, 0.0)


def zero_velocity(weights: PyTree) -> PyTree:
    """The velocity to begin with: zeros like the weights."""
    return jax.tree.map(jnp.zeros_like, weights)


def tree_where(condition: Array, then: PyTree, otherwise: PyTree) -> PyTree:
    """One of two weights, or whatever else is alike, by a condition ()."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), then, otherwise)


def clipped(gradient: PyTree, norm: Scalar) -> PyTree:
    """A gradient, scaled to a norm () over all its leaves if it is longer."""
    square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))
    factor = jnp.minimum(1.0, norm * lax.rsqrt(jnp.maximum(square, 1e-20)))
    return jax.tree.map(lambda leaf: factor * leaf, gradient)


def step(
    weights: PyTree, velocity: PyTree, gradient: PyTree, rates: Rates, multipliers: PyTree
) -> tuple[PyTree, PyTree]:
    """One step of the descent.

    Args:
      weights: any tree of float32 arrays.
      velocity: the same tree; `zero_velocity` at first. It may be kept while the weights are trained.
      gradient: the same tree.
      rates: learning rate, momentum and weight decay.
      multipliers: a `Multiplier` for each leaf, in the tree of the weights.

    Returns:
      The weights and the velocity afterwards.

    Source: Caffe's SGDSolver (Jia et al. 2014), with L2 regularisation.
    """

    def moved(multiplier: Multiplier, weight: Array, speed: Array, slope: Array) -> Array:
        slope = slope + rates.decay * multiplier.decay * weight
        return rates.momentum * speed + rates.learning_rate * multiplier.rate * slope

    velocity = jax.tree.map(
        moved, multipliers, weights, velocity, gradient, is_leaf=lambda node: isinstance(node, Multiplier)
    )
    return jax.tree.map(jnp.subtract, weights, velocity), velocity
