"""Separable resampling of images and feature maps.

One axis is resampled by taps: output sample j reads the pixels `index[j, :]` with the weights
`weight[j, :]`. The taps of an axis depend only on its window and its output length, so the same few lines
serve a whole map (here, in NumPy, since sizes are static) and a window that moves over a frame
(`jtrack.vision.crop`, traced).
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack.errors import JtrackError, unknown_name
from jtrack.types import Array, floating

METHODS = ("bilinear", "imresample", "bicubic")

# The overall factor of Dollar's imResample, which keeps its float sums from exceeding the range of the input.
IMRESAMPLE_GAIN = 1 / (1 + 1e-6)


def radius(method: str, shrink: float) -> int:
    """Returns how many pixels on either side a sample reads when `shrink` input pixels make one output."""
    if method == "bilinear":
        return 1
    shrink = max(shrink, 1.0)
    return math.ceil(round(2 * shrink if method == "bicubic" else (shrink + 1) / 2, 6))


def taps(
    start: Any, length: Any, out: int, *, radius: int, method: str, xp: Any, count: Any = None
) -> tuple[Any, Any]:
    """The pixels and weights that resample the window [start, start + length) of an axis to `out` samples.

    The window's ends are a border of the resampling, as if the window had been cut out first: "bilinear" and
    "imresample" read no pixel beyond its outermost ones, "bicubic" mirrors it there.

    Args:
      start: where the window begins, a floating scalar; may be fractional and outside the axis.
      length: the window's length in pixels, a floating scalar of the same type.
      out: number of samples.
      radius: pixels read on either side of a sample's centre, from `radius`. Fewer than the method needs
        truncates its kernel; the weights still sum to one.
      method: "bilinear", "imresample" or "bicubic".
      xp: `numpy` or `jax.numpy`.
      count: how many of the samples are the window's, a floating scalar, which may be traced; by default
        `out`. The others mean nothing, but are finite.

    Returns:
      index [out, 2 * radius] int32, not limited to the axis, and weight [out, 2 * radius], each row of which
      sums to one.
    """
    count = out if count is None else count
    shrink = length / count
    position = (xp.arange(out).astype(length.dtype) + 0.5) * length / count - 0.5
    if method != "bicubic":  # no sample beyond the centres of the outermost pixels
        middle, half = (length - 1) / 2, xp.maximum(length - 1, 0) / 2
        position = xp.clip(position, middle - half, middle + half)
    # Whole pixels are added as integers at the end: fractions keep their precision far from the origin.
    whole = xp.floor(start)
    position = position + (start - whole)
    first = xp.floor(position)
    step = xp.arange(1 - radius, radius + 1)
    distance = xp.abs(step.astype(length.dtype)[None, :] - (position - first)[:, None])
    index = (first + whole).astype(xp.int32)[:, None] + step.astype(xp.int32)[None, :]

    stretch = xp.maximum(shrink, 1)
    if method == "bilinear":
        weight = xp.maximum(1 - distance, 0)
    elif method == "imresample":  # the part of the pixel that the sample covers, or bilinear when enlarging
        weight = xp.clip((stretch + 1) / 2 - distance, 0, 1)
    else:
        weight = _cubic(distance / stretch, xp)
        index = _mirror(index, start, length, xp)
    return index, weight / weight.sum(axis=1, keepdims=True)


def _cubic(t: Any, xp: Any) -> Any:
    """Keys' cubic convolution kernel with a = -0.5 at t >= 0."""
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return xp.where(t <= 1, near, xp.where(t <= 2, far, 0))


def _mirror(index: Any, start: Any, length: Any, xp: Any) -> Any:
    """Reflects indices about the ends of a window, each rounded to the nearest half pixel."""
    begin = xp.round(2 * start).astype(xp.int32)
    extent = xp.maximum(xp.round(2 * (start + length)).astype(xp.int32) - begin, 1)
    centre = (2 * index + 1 - begin) % (2 * extent)  # in half pixels from the window's begin
    return (xp.minimum(centre, 2 * extent - centre) + begin - 1) // 2


def resample(image: Array, axis: int, index: Any, weight: Any) -> Array:
    """Sums taps along an axis: image [..., n, ...], index and weight [out, K] -> [..., out, ...]."""
    axis %= image.ndim
    other_axes = [i for i in range(image.ndim) if i != axis]
    dtype = floating(image, weight)

    def add(total: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
        taken = jnp.take(image, tap[0], axis=axis, mode="clip").astype(dtype)
        return total + taken * jnp.expand_dims(tap[1], other_axes), None

    out, count = index.shape
    total = jnp.zeros((*image.shape[:axis], out, *image.shape[axis + 1 :]), dtype)
    if count > 16:  # a loop, lest compile time grow with the number of taps
        return lax.scan(add, total, (jnp.asarray(index.T), jnp.asarray(weight.T)), unroll=16)[0]
    for k in range(count):
        total, _ = add(total, (index[:, k], weight[:, k]))
    return total


def resample_matrix(n: int, out: int, *, method: str) -> np.ndarray:
    """What `resize` does along one axis, as a matrix [out, n] float64: for folding into other linear maps."""
    index, weight = taps(
        np.float64(0), np.float64(n), out, radius=radius(method, n / out), method=method, xp=np
    )
    matrix = np.zeros((out, n))
    np.add.at(matrix, (np.arange(out)[:, None], np.clip(index, 0, n - 1)), weight)
    # The overall factor belongs to both axes together.
    return matrix * np.sqrt(IMRESAMPLE_GAIN) if method == "imresample" else matrix


def traced_resample_matrix(
    n: int,
    out: Array,
    most: int,
    dtype: Any,
    part: tuple[Array, Array] | None = None,
    *,
    method: str = "imresample",
) -> Array:
    """`resample_matrix` for a traced number of samples, or of a part of the axis.

    Args:
      n: length of the axis.
      out: () int32, number of samples, from 1 to `most`.
      most: static.
      dtype: of the result.
      part: () where it begins and () how long it is, in pixels of the axis, traced; None for the whole axis.
        Its samples may read pixels on either side of it, and repeat the outermost ones beyond the axis.
      method: "imresample" or "bilinear".

    Returns:
      [most, n]; the rows from `out` on are zero.
    """
    count = out.astype(dtype)
    start, length = (0, n) if part is None else part
    shrink = length / count
    position = (jnp.arange(most, dtype=dtype) + 0.5) * shrink + (start - 0.5)
    position = jnp.clip(position, 0, n - 1)  # no sample beyond the centres of the outermost pixels
    distance = jnp.abs(position[:, None] - jnp.arange(n, dtype=dtype)[None, :])
    averages = method == "imresample"
    weight = jnp.clip((jnp.maximum(shrink, 1) + 1) / 2 - distance if averages else 1 - distance, 0, 1)
    gain = np.sqrt(IMRESAMPLE_GAIN) if averages else np.ones(())
    weight = weight / weight.sum(axis=1, keepdims=True) * gain.astype(dtype)
    return jnp.where(jnp.arange(most, dtype=out.dtype)[:, None] < out, weight, 0)


def check_method(method: str, size: tuple[int, int]) -> None:
    """Refuses an unknown method and an output size that is not two positive whole numbers."""
    if method not in METHODS:
        raise unknown_name("resampling method", method, METHODS)
    if len(size) != 2 or any(int(n) != n or n < 1 for n in size):
        raise JtrackError(f"output size {size!r} is not allowed: give (height, width), whole numbers >= 1")


def resize(maps: Array, size: tuple[int, int], *, method: str) -> Array:
    """Resamples images or feature maps to a static size.

    Pixel centres lie at half-integers in every method, and the axes are independent.

    Args:
      maps: [..., H, W, C], any real type.
      size: (h, w) of the result.
      method: "bilinear": linear interpolation, the border clamped, no antialiasing when shrinking
        (OpenCV's INTER_LINEAR). "imresample": Piotr Dollar's imResample: per axis bilinear when enlarging
        and the average over the area of the output pixel when shrinking, times 1 / (1 + 1e-6); its dropping
        of weights below a thousandth of a pixel concerns outputs of 1000 samples and more and is left out.
        "bicubic": MATLAB's imresize: cubic convolution (Keys 1981, a = -0.5), stretched when shrinking so
        that it antialiases, the image mirrored at its border.

    Returns:
      [..., h, w, C] float32.

    Raises:
      JtrackError: an unknown method or a size that is not positive.
    """
    check_method(method, size)
    maps = maps.astype(floating(maps))
    for axis, out in zip((-3, -2), size, strict=True):
        n = maps.shape[axis]
        if n != out:
            index, weight = taps(
                np.float64(0), np.float64(n), out, radius=radius(method, n / out), method=method, xp=np
            )
            maps = resample(maps, axis, np.clip(index, 0, n - 1), weight.astype(maps.dtype))
    return maps * IMRESAMPLE_GAIN if method == "imresample" else maps
