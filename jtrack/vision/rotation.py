"""Cutting a window out of a frame rotated about its middle."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jtrack.types import Array, Box, Frame, floating
from jtrack.vision import boxes


def crop_rotated(frame: Frame, window: Box, size: tuple[int, int], angle: Array | float) -> Array:
    """Cuts a window out of a frame, rotated, and resamples it to `size` bilinearly.

    The turn is one of the frame: a window that is resampled to other proportions shows a rigid turn of the
    object in it, not a sheared one. At angle 0 this is `crop`, but at the window's outermost half pixel of
    the frame, at whose middle `crop` stops and this does not. The cost follows the frame, all of which is
    made floating point.

    Args:
      frame: pixels [H, W, 3] 0..255 and the size of their valid part, beyond which the nearest pixel counts.
      window: [4] float32 (x, y, w, h).
      size: (h, w) of the result.
      angle: () radians; positive rotates the content clockwise.

    Returns:
      [h, w, 3] float32 0..255. Differentiable with respect to float32 pixels.
    """
    height, width = size
    dtype = floating(window)
    x = ((jnp.arange(width, dtype=dtype) + 0.5) / width - 0.5) * window[2]
    y = ((jnp.arange(height, dtype=dtype) + 0.5) / height - 0.5) * window[3]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle = boxes.centre(window) - 0.5  # the middle of pixel 0 is at 0.5
    columns = middle[0] + cos * x[None, :] + sin * y[:, None]
    rows = middle[1] - sin * x[None, :] + cos * y[:, None]
    last = (frame.size - 1).astype(dtype)
    places = [jnp.clip(rows, 0, last[0]), jnp.clip(columns, 0, last[1])]
    pixels = frame.pixels.astype(floating(frame.pixels, window))
    return jax.vmap(lambda channel: map_coordinates(channel, places, order=1), 2, 2)(pixels)
