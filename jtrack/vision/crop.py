"""Cutting a window out of a frame and resampling it to a fixed grid."""

import jax.numpy as jnp
from jax import lax

from jtrack.errors import unknown_name
from jtrack.types import Array, Box, Frame, floating
from jtrack.vision import resize

BORDERS = ("edge", "zero", "mean")


def crop(
    frame: Frame,
    window: Box,
    size: tuple[int, int],
    *,
    method: str = "bilinear",
    border: str = "edge",
    fill: Array | None = None,
    max_shrink: float | None = None,
    inner: Array | None = None,
) -> Array:
    """Cuts a window out of a frame and resamples it to `size`.

    For a window of whole pixels this is exactly: take those pixels, those outside the frame by the border
    rule, and `resize` them. So the window's edge is a border of the resampling: bilinear interpolation is
    clamped to the centres of the window's outermost pixels, bicubic mirrors there. A fractional window is the
    continuous extension of that (bicubic mirrors at the nearest half pixel). Output pixel i has its centre at
    `window.y + (i + 0.5) * window.h / h`.

    Position, size and frame size are traced: one compilation serves all windows and videos of a canvas. The
    cost follows the output and the row length, not the frame's area. Nothing outside `frame.size` is read.
    Differentiable with respect to float32 pixels and, piecewise, with respect to the window. Made to be
    vmapped over windows of one frame; many small crops of one place (a scale pyramid) are cheaper from a
    first crop of the largest.

    Args:
      frame: pixels [H, W, 3] 0..255 and the size of their valid part; any number of channels will do.
      window: [4] float32 (x, y, w, h), finite; w and h positive.
      size: (h, w) of the result.
      method: "bilinear", "imresample" or "bicubic", see `resize`.
      border: what lies outside the frame: "edge", the nearest pixel; "zero"; or "mean", one colour.
      fill: [3] float32, the colour of `border="mean"`; default the mean colour of the valid frame.
      max_shrink: the largest ratio of window to output length for which "imresample" and "bicubic" are exact.
        They read a number of pixels proportional to it; beyond it each sample sees only
        the middle of its share. Default: a window of twice the canvas, 2 H / h and 2 W / w. A caller who
        knows his windows makes small outputs cheaper by saying so.
      inner: [2] int32 (h, w), traced: the top-left part of the result that the window becomes; by default all
        of it. What is beyond means nothing, but is finite. `max_shrink` should then be given.

    Returns:
      [h, w, 3] float32 0..255 ("bicubic" may overshoot).

    Raises:
      JtrackError: an unknown method or border, or a size that is not positive.
    """
    resize.check_method(method, size)
    if border not in BORDERS:
        raise unknown_name("border rule", border, BORDERS)
    image, weights = frame.pixels, []
    for axis, out in enumerate(size):
        shrink = 2 * image.shape[axis] / out if max_shrink is None else max_shrink
        radius = resize.radius(method, shrink)
        start, length = window[1 - axis], window[3 - axis]
        count = None if inner is None else inner[axis].astype(length.dtype)
        index, weight = resize.taps(start, length, out, radius=radius, method=method, xp=jnp, count=count)
        # The barriers only steer XLA's fusion: taps are computed once, not anew for every pixel they serve.
        index, weight = lax.optimization_barrier((index, weight))
        if border != "edge":
            weight = weight * ((index >= 0) & (index < frame.size[axis])).astype(weight.dtype)
        image = resize.resample(image, axis, jnp.clip(index, 0, frame.size[axis] - 1), weight)
        if 2 * radius * size[1] > frame.pixels.shape[1]:
            # Whole rows are summed once; else again for each column tap, cheaper only when few are read.
            image = lax.optimization_barrier(image)
        weights.append(weight.sum(axis=1))
    if border == "mean":
        colour = mean_colour(frame) if fill is None else fill
        outside = 1 - weights[0][:, None] * weights[1][None, :]
        image = image + outside[:, :, None] * colour[None, None, :]
    return image * resize.IMRESAMPLE_GAIN if method == "imresample" else image


def mean_colour(frame: Frame) -> Array:
    """The mean colour [3] float32 of the valid part of a frame."""
    height, width, channels = frame.pixels.shape
    # Rows as a product of matrices: far quicker on a CPU than a reduction over both axes at once.
    inside = (jnp.arange(height) < frame.size[0])[:, None]
    dtype = floating(frame.pixels)
    pixels = frame.pixels.astype(dtype).reshape(height, width * channels)
    columns = jnp.dot(jnp.ones(height, dtype), jnp.where(inside, pixels, 0), precision="highest")
    columns = columns.reshape(width, channels)
    total = jnp.where((jnp.arange(width) < frame.size[1])[:, None], columns, 0).sum(axis=0)
    return total / jnp.maximum(frame.size.prod(), 1).astype(dtype)
