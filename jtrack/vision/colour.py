"""Colour spaces. Images are [..., 3], RGB in 0..255, any leading dimensions."""

import jax.numpy as jnp

from jtrack.types import Array, floating


def grey(rgb: Array) -> Array:
    """Luma after Rec. 601, 0.299 R + 0.587 G + 0.114 B, as OpenCV and MATLAB's rgb2gray have it, unrounded.

    Args:
      rgb: [..., 3], 0..255.

    Returns:
      [...] float32, 0..255.
    """
    red, green, blue = (rgb[..., i].astype(floating(rgb)) for i in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def hsv(rgb: Array) -> Array:
    """Hue, saturation and value, as MATLAB's rgb2hsv has them.

    Args:
      rgb: [..., 3], 0..255.

    Returns:
      [..., 3] float32: hue in [0, 1) (0 red, 1/3 green, 2/3 blue; 0 for greys), saturation and value in
      [0, 1].
    """
    rgb = rgb.astype(floating(rgb)) / 255
    red, green, blue = (rgb[..., i] for i in range(3))
    value = rgb.max(axis=-1)
    chroma = value - rgb.min(axis=-1)
    divisor = jnp.where(chroma > 0, chroma, 1)
    sixth = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # A hue a rounding error below 0 would wrap to exactly 1, which is 0 again.
    hue = jnp.mod(jnp.mod(sixth / 6, 1), 1)
    saturation = chroma / jnp.where(value > 0, value, 1)
    return jnp.stack([hue, saturation, value], axis=-1)


def bgr(rgb: Array) -> Array:
    """Reverses the channels of [..., 3]: the order of OpenCV and of Caffe's networks; its own inverse."""
    return rgb[..., ::-1]
