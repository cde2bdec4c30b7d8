"""Calibration: what a tracker measures as a score in [0, 1]."""

import jax
import jax.numpy as jnp

from jtrack.types import Array, Scalar


def logistic(value: Array, slope: Scalar, middle: Scalar = 0.0) -> Array:
    """The logistic curve of a value: 1/2 at `middle`, rising with `slope`.

    Args:
      value: any shape.
      slope: at the middle, four times the curve's derivative there.
      middle: the value of score 1/2.
    """
    return jax.nn.sigmoid(slope * (value - middle))


def logistic_of_ratio(value: Array, slope: Scalar, middle: Scalar) -> Array:
    """The logistic curve of the logarithm of value / middle, for values that are not negative.

    It is value^slope / (value^slope + middle^slope). Values below 1e-6 count as that.
    """
    return jax.nn.sigmoid(slope * jnp.log(jnp.maximum(value, 1e-6) / middle))
