"""One place of a frame in several sizes."""

import jax
import jax.numpy as jnp

from jtrack.types import Array, Frame
from jtrack.vision.crop import crop


def pyramid(frame: Frame, centre: Array, sides: Array, factors: Array, size: tuple[int, int]) -> Array:
    """Patches around a place, each larger or smaller by a factor, all cut from one of the largest.

    Args:
      frame: the frame.
      centre: [2] (x, y).
      sides: [2] (w, h) in pixels of the patch of factor 1.
      factors: [S], the largest first.
      size: (h, w) of a patch.

    Returns:
      [S, h, w, 3] float32 0..255.
    """
    largest = sides * factors[0]
    fine = (2 * size[0], 2 * size[1])
    region = jnp.concatenate([centre - largest / 2, largest])
    base = Frame(crop(frame, region, fine, method="imresample", max_shrink=8), jnp.asarray(fine, jnp.int32))
    extent = jnp.asarray(fine[::-1], sides.dtype)

    def patch(factor: Array) -> Array:
        inner = extent * (factor / factors[0])
        window = jnp.concatenate([(extent - inner) / 2, inner])
        return crop(base, window, size, method="imresample", max_shrink=2)

    return jax.vmap(patch)(factors)
