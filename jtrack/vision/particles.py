"""Candidate boxes drawn around a box."""

import jax
import jax.numpy as jnp

from jtrack.types import Array, Box, Key
from jtrack.vision import boxes


def gaussian_particles(
    key: Key, box: Box, count: int, *, std_xy: Array | float, std_scale: Array | float
) -> Box:
    """Draws boxes whose centre and scale are Gaussian around those of a box; the aspect ratio is kept.

    Args:
      key: a PRNG key.
      box: [4] float32.
      count: how many boxes.
      std_xy: standard deviation of the centre in pixels, a scalar or [2] for (x, y).
      std_scale: standard deviation of the natural logarithm of the scale, which for small values is the
        relative standard deviation of width and height, and never makes a box negative.

    Returns:
      [count, 4] float32.
    """
    noise = jax.random.normal(key, (count, 3), dtype=box.dtype)
    shift = noise[:, :2] * jnp.broadcast_to(jnp.asarray(std_xy, box.dtype), (1, 2))
    scale = jnp.exp(noise[:, 2:] * std_scale)
    return boxes.from_centre(boxes.centre(box)[None, :] + shift, box[None, 2:] * scale)
