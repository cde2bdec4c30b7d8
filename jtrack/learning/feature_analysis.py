"""Looking at what a network's layers see."""

import jax.numpy as jnp

from jtrack.types import Array


def principal_components(maps: Array, *, count: int = 3) -> Array:
    """Projects the channels of feature maps on their leading principal components.

    This is how HCFT's Figures 2 and 4 turn hundreds of channels into a colour picture: positions are the
    samples, channels the variables.

    Args:
      maps: [H, W, C] float32 with C >= count.
      count: components kept; 3 make a colour picture.

    Returns:
      [H, W, count] float32, each component scaled to 0..1 on its own (0 where it is constant) and signed so
      that its largest loading is positive.
    """
    height, width, channels = maps.shape
    samples = maps.reshape(-1, channels)
    centred = samples - samples.mean(0, keepdims=True)
    # The covariance is at most C x C, whatever the size of the picture.
    _, vectors = jnp.linalg.eigh(centred.T @ centred)
    leading = vectors[:, ::-1][:, :count]
    largest = jnp.take_along_axis(leading, jnp.abs(leading).argmax(0)[None], axis=0)
    projected = centred @ (leading * jnp.sign(largest))
    low, high = projected.min(0, keepdims=True), projected.max(0, keepdims=True)
    scaled = (projected - low) / jnp.where(high > low, high - low, 1.0)
    return scaled.reshape(height, width, count)
