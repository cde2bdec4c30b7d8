"""Cues that forget the light: local contrast normalisation, gradients, and the common range of cues.

Images are [H, W] float32; the border is replicated.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtrack.types import Array


def smoothing_matrix(length: int, sigma: float) -> np.ndarray:
    """Gaussian smoothing of an axis as a matrix [length, length] float64, the border replicated.

    The kernel ends at ceil(1.645 sigma) on either side, beyond which a tenth of the Gaussian lies, and sums
    to one, as in the `localnormalize` of MATLAB users (G. Xiong, 2005).
    """
    radius = math.ceil(1.645 * sigma)
    offset = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offset**2) / (2 * sigma**2))
    matrix = np.zeros((length, length))
    rows = np.arange(length)[:, None]
    np.add.at(matrix, (rows, np.clip(rows + offset, 0, length - 1)), kernel / kernel.sum())
    return matrix


def traced_smoothing_matrix(length: int, sigma: Array) -> Array:
    """`smoothing_matrix` [length, length] of a traced width (), its kernel no wider than the axis."""
    offset = jnp.arange(-length, length + 1, dtype=sigma.dtype)
    kernel = jnp.exp(-(offset**2) / (2 * sigma**2))
    kernel = jnp.where(jnp.abs(offset) <= jnp.ceil(1.645 * sigma), kernel, 0)
    kernel = kernel / kernel.sum()
    place = np.arange(length)
    matrix = kernel[place[None] - place[:, None] + length]
    # What lies beyond the border is the pixel there: it counts for all that the kernel has beyond.
    below = jnp.cumsum(kernel)[length - 1 - place]
    above = below[::-1]
    return matrix.at[:, 0].add(below).at[:, -1].add(above)


def smooth(image: Array, sigma: float, *, aspect: Array | float = 1.0) -> Array:
    """Gaussian smoothing [..., H, W] -> [..., H, W]; see `smoothing_matrix`.

    Args:
      image: [..., H, W].
      sigma: pixels, static.
      aspect: () how many times as wide the kernel is across as down; traced unless it is 1.
    """
    height, width = image.shape[-2:]
    down = smoothing_matrix(height, sigma).astype(image.dtype)
    across: Any = smoothing_matrix(width, sigma).astype(image.dtype)
    if not isinstance(aspect, float):
        across = traced_smoothing_matrix(width, sigma * aspect.astype(image.dtype))
    return jnp.matmul(jnp.matmul(down, image, precision="highest"), across.T, precision="highest")


def local_contrast(
    image: Array,
    sigma_mean: float,
    sigma_deviation: float,
    *,
    epsilon: float = 1.0,
    aspect: Array | float = 1.0,
) -> Array:
    """Local contrast normalisation: the deviation from the local mean over its own local root mean square.

    out = d / sqrt(G(d^2) + epsilon^2) with d = image - G(image): DeepTrack's first two cues (Li et al. 2016,
    II-B, which gives only the two widths). With epsilon = 0 it is invariant to a * image + b, a > 0.

    Args:
      image: [..., H, W].
      sigma_mean: width of the smoothing that makes the mean, pixels.
      sigma_deviation: width of the smoothing that makes the root mean square, pixels.
      epsilon: contrast, in units of the image, below which a patch counts as flat.
      aspect: as of `smooth`.

    Returns:
      [..., H, W] float32, most values within -3 and 3; 0 where the image is flat.
    """
    deviation = image - smooth(image, sigma_mean, aspect=aspect)
    power = smooth(deviation**2, sigma_deviation, aspect=aspect) + epsilon**2
    return deviation / jnp.sqrt(jnp.where(power > 0, power, 1))


def gradient_magnitude(image: Array, *, aspect: Array | float = 1.0) -> Array:
    """Length of the gradient [..., H, W] by central differences (one-sided at the border), per pixel.

    Args:
      image: [..., H, W].
      aspect: () what differences across are multiplied by, where the image was stretched so much across.
    """
    down, across = jnp.gradient(image, axis=(-2, -1))
    if not isinstance(aspect, float):
        across = across * aspect.astype(image.dtype)
    square = down**2 + across**2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def stretch(image: Array, top: float) -> Array:
    """Maps an image's own range [..., H, W] linearly to [0, top]; a flat image becomes 0."""
    low = image.min(axis=(-2, -1), keepdims=True)
    span = image.max(axis=(-2, -1), keepdims=True) - low
    return (image - low) * (top / jnp.where(span > 0, span, 1))
