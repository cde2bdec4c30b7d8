"""A one-dimensional correlation filter over scales, as DSST estimates the size of a target.

The released code of HCFT (2018) uses it as Danelljan et al. (BMVC 2014) describe: S patches around the
target, each larger or smaller by a constant factor, are described by a feature vector each; every feature's
row over scales is correlated with one filter, and all rows vote for a Gaussian label.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jtrack.learning.correlation_filter import divide
from jtrack.types import Array


class ScaleFilter(NamedTuple):
    """Numerator and denominator, averaged apart."""

    numerator: Array  # [F, S] complex64
    denominator: Array  # [S] float32


def scale_factors(count: int, step: float) -> np.ndarray:
    """Relative sizes of the patches, largest first: step^(ceil(S / 2) - s) for s = 1..S. [S] float64."""
    return step ** (np.ceil(count / 2) - np.arange(1, count + 1))


def scale_label(count: int) -> np.ndarray:
    """Gaussian label over scales with its peak at the factor 1 and sigma = S / sqrt(S) / 4. [S] float64."""
    sigma = count / np.sqrt(count) / 4
    offset = np.arange(1, count + 1) - np.ceil(count / 2)
    return np.exp(-0.5 * offset**2 / sigma**2)


def train(features: Array, label: Array) -> ScaleFilter:
    """Learns a filter from windowed features [S, F] and a label [S]."""
    transformed = jnp.fft.fft(features.T)
    numerator = jnp.fft.fft(label)[None] * jnp.conj(transformed)
    return ScaleFilter(numerator, jnp.sum(transformed.real**2 + transformed.imag**2, axis=0))


def respond(model: ScaleFilter, features: Array, regularisation: Array | float) -> Array:
    """Response [S] of windowed features [S, F]; its maximum names the new scale."""
    products = jnp.sum(model.numerator * jnp.fft.fft(features.T), axis=0)
    return jnp.fft.ifft(divide(products, model.denominator + regularisation)).real
