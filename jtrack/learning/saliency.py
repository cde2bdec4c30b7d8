"""Which pixels make a network's features look like the target (Hong et al., ICML 2015, section 3.2).

A linear classifier on top of a network is one more layer. What its positive weights ask for is projected back
to the image, as Simonyan et al. (2014) do for a class: the magnitude of the gradient. The paper writes the
gradient of a vector; `linear` takes it of the sum of w_k phi_k over w_k > 0, `squared` of half the sum of
w_k phi_k^2, which is what comes out when phi+ itself is sent backwards.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jtrack.errors import unknown_name
from jtrack.types import Array, Box

FORMS = ("linear", "squared")


def back_project(
    describe: Callable[[Array], Array], images: Array, weights: Array, *, form: str = "linear"
) -> Array:
    """Saliency of each image of a batch.

    Args:
      describe: [P, h, w, 3] RGB 0..255 -> features [P, D]; every image by itself.
      images: [P, h, w, 3] float32.
      weights: [D], of the classifier; those that are not positive do not count.
      form: of the target-specific feature's gradient, one of `FORMS` (module docstring).

    Returns:
      [P, h, w], the largest magnitude over the colours; zero everywhere if no weight is positive.

    Raises:
      JtrackError: an unknown form.
    """
    if form not in FORMS:
        raise unknown_name("form of saliency", form, FORMS)
    wanted = jnp.maximum(weights, 0)

    def response(images: Array) -> Array:
        features = describe(images)
        return jnp.sum((features if form == "linear" else features**2 / 2) * wanted[None])

    # The images do not meet in the sum: its gradient is each image's own.
    return jnp.abs(jax.grad(response)(images)).max(axis=-1)


def aggregate(
    maps: Array, boxes: Box, valid: Array, window: Box, grid: tuple[int, int], frame_size: Array
) -> Array:
    """Lays the maps of samples over each other by pixel-wise maximum (equation 7).

    Args:
      maps: [P, h, w], each the saliency of what a box was resized to.
      boxes: [P, 4] in the frame.
      valid: [P] bool, those that count.
      window: [4], the part of the frame that is asked for.
      grid: cells (rows, columns) of the window.
      frame_size: [2] int32, height and width; there is nothing outside.

    Returns:
      [rows, columns], zero where no valid box reaches.
    """
    cells = jnp.array(grid, jnp.float32)
    unit = cells / window[3:1:-1]  # cells a pixel, (rows, columns)

    def lay(image: Array, box: Box) -> Array:
        scale = box[3:1:-1] * unit / jnp.array(image.shape, jnp.float32)
        shift = (box[1::-1] - window[1::-1]) * unit
        return jax.image.scale_and_translate(image, grid, (0, 1), scale, shift, "linear")

    laid = jax.vmap(lay)(maps, boxes)
    largest = jnp.where(valid[:, None, None], laid, 0).max(axis=0)
    inside = [
        (at >= 0) & (at < extent.astype(jnp.float32))
        for at, extent in (
            (window[1 - axis] + (jnp.arange(n, dtype=jnp.float32) + 0.5) / unit[axis], frame_size[axis])
            for axis, n in enumerate(grid)
        )
    ]
    return jnp.where(inside[0][:, None] & inside[1][None, :], largest, 0)
