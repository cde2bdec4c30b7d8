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
from jtrack.types import Array, Box, floating

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
    # The images do not meet: what goes back to each is its own.
    features, backward = jax.vjp(describe, images)
    (gradient,) = backward(seed(features, weights, form))
    return jnp.abs(gradient).max(axis=-1)


def seed(features: Array, weights: Array, form: str = "linear") -> Array:
    """What is sent backwards from features [..., D]: the gradient of what the positive weights [D] ask for.

    Raises:
      JtrackError: an unknown form.
    """
    if form not in FORMS:
        raise unknown_name("form of saliency", form, FORMS)
    positive = jnp.broadcast_to(jnp.maximum(weights, 0), features.shape)
    return positive if form == "linear" else positive * features


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
    dtype = floating(maps, window)
    cells = jnp.array(grid, dtype)
    cells_per_pixel = cells / window[3:1:-1]  # cells a pixel, (rows, columns)

    def paste(image: Array, box: Box) -> Array:
        scale = box[3:1:-1] * cells_per_pixel / jnp.array(image.shape, dtype)
        shift = (box[1::-1] - window[1::-1]) * cells_per_pixel
        return jax.image.scale_and_translate(image, grid, (0, 1), scale, shift, "linear")

    pasted = jax.vmap(paste)(maps, boxes)
    largest = jnp.where(valid[:, None, None], pasted, 0).max(axis=0)
    inside = [
        (at >= 0) & (at < extent.astype(dtype))
        for at, extent in (
            (window[1 - axis] + (jnp.arange(n, dtype=dtype) + 0.5) / cells_per_pixel[axis], frame_size[axis])
            for axis, n in enumerate(grid)
        )
    ]
    return jnp.where(inside[0][:, None] & inside[1][None, :], largest, 0)


def union(boxes: Box, valid: Array, window: Box, grid: tuple[int, int]) -> Array:
    """Which cells of a window have their middle in a box: [rows, columns] float32, 1 or 0.

    Args:
      boxes: [P, 4] in the frame.
      valid: [P] bool, those that count.
      window: [4] in the frame.
      grid: (rows, columns) of the window.
    """

    def inside(axis: int) -> Array:
        cell = window[3 - axis] / grid[axis]
        middle = window[1 - axis] + (jnp.arange(grid[axis], dtype=window.dtype) + 0.5) * cell
        first = boxes[:, 1 - axis, None]
        return (middle[None] >= first) & (middle[None] <= first + boxes[:, 3 - axis, None])

    rows = (inside(0) & valid[:, None]).astype(window.dtype)
    covering = jnp.matmul(rows.T, inside(1).astype(window.dtype), precision="highest")
    return (covering > 0).astype(window.dtype)
