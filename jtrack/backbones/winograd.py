"""Convolutions of 3 x 3 pixels with a quarter of the multiplications.

Winograd's minimal filtering F(4 x 4, 3 x 3), as in Lavin and Gray, "Fast algorithms for convolutional neural
networks" (CVPR 2016), section 4. Maps are cut into tiles of 6 x 6 pixels that overlap by two. Tiles and
kernel are transformed and multiplied number by number, which over channels is 36 products of matrices; what
comes out is transformed back to 4 x 4 pixels of the result. In float32 the result differs from that of the
plain convolution by about 1e-5 of its largest value.
"""

import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack.types import Array

STEP = 4  # pixels of the result that a tile gives, in each direction
SIDE = STEP + 2  # of a tile

# What makes a tile's rows, a kernel's rows, and the result's: B^T, G and A^T of the paper.
_TILE = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_KERNELS = np.kron(_KERNEL, _KERNEL).astype(np.float32)  # rows and columns at once
_RESULT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)

# With fewer tiles in an image, to transform the kernel takes longer than is saved; with fewer products for
# each number of a tile, inputs x outputs / (inputs + outputs), to transform the tiles does.
TILES = 48
CHANNELS = 40
# Numbers of a kernel [inputs, outputs] that are transformed at a time, so that the cache holds the result.
TOGETHER = 2**16
AT_ONCE = 1024  # tiles of several images that are computed at a time: memory


def pays(maps: Sequence[int], kernel: Sequence[int], padding: tuple[int, int]) -> bool:
    """Whether this way is the quicker one on a CPU; not where a size is 0, or not known yet.

    The number of images does not count, so that an image gives the same numbers alone and among others, but
    for the rounding of larger products of matrices.

    Args:
      maps: shape [N, h, w, inputs].
      kernel: shape [k, k', inputs, outputs].
      padding: as in `convolve`.
    """
    height, width, inputs, outputs = kernel
    known = all(isinstance(each, int) for each in maps)
    if (height, width) != (3, 3) or not known or 0 in (*maps, *kernel):
        return False
    down, across = _tiles(maps, padding)
    return down * across >= TILES and inputs * outputs >= CHANNELS * (inputs + outputs)


def convolve(x: Array, kernel: Array, padding: tuple[int, int]) -> Array:
    """The convolution of stride 1 of maps [N, h, w, inputs] with a kernel [3, 3, inputs, outputs].

    Args:
      x: float32 maps.
      kernel: float32.
      padding: zeros beyond the upper and the lower border, and beyond the left and the right one.

    Returns:
      Maps [N, h + 2 padding - 2, w + 2 padding - 2, outputs].
    """
    count, (down, across) = x.shape[0], _tiles(x.shape, padding)
    inputs, outputs = kernel.shape[2:]
    parts = -(-inputs * outputs // TOGETHER)
    together = -(-outputs // parts)  # outputs of a part
    # Without it XLA transforms the kernels of all layers at once, before the first: memory, and a cold cache.
    x, kernel = lax.optimization_barrier((x, kernel))
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, parts * together - outputs)))
    weights = [_transformed(each) for each in jnp.split(kernel, parts, axis=3)]
    some = functools.partial(_of_images, weights=weights, outputs=outputs, padding=padding)
    images = max(1, AT_ONCE // (down * across))
    if count <= images:
        return some(x)
    whole = count - count % images
    y = lax.map(some, x[:whole].reshape(-1, images, *x.shape[1:]))
    y = y.reshape(whole, *y.shape[2:])
    return y if whole == count else jnp.concatenate([y, some(x[whole:])])


def _of_images(x: Array, weights: list[Array], outputs: int, padding: tuple[int, int]) -> Array:
    """The convolution of maps [N, h, w, inputs] with transformed kernels [36, inputs, outputs of a part].

    Each sum is one operation over all tiles: many small ones take XLA far longer to compile.
    """
    count, height, width, inputs = x.shape
    together = weights[0].shape[2]
    down, across = _tiles(x.shape, padding)
    after = [
        STEP * n + 2 - side - pad
        for n, side, pad in zip((down, across), (height, width), padding, strict=True)
    ]
    margins = [(before, behind, 0) for before, behind in zip(padding, after, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *margins, (0, 0, 0)])
    # Without the barriers XLA computes a row anew for each of the six numbers that are made of it.
    rows = _product(_TILE, [x[:, i : i + STEP * (down - 1) + 1 : STEP] for i in range(SIDE)], axis=2)
    rows = jnp.moveaxis(lax.optimization_barrier(rows), 2, 0)  # [6, N, down, w, inputs]
    columns = [rows[:, :, :, j : j + STEP * (across - 1) + 1 : STEP] for j in range(SIDE)]
    tiles = lax.optimization_barrier(_product(_TILE, columns, axis=1)).reshape(SIDE * SIDE, -1, inputs)
    products = jnp.stack([_dot("ntc,nck->ntk", tiles, each) for each in weights])
    products = lax.optimization_barrier(products).reshape(-1, SIDE, SIDE, count, down, across, together)
    rows = _product(_RESULT, [products[:, i] for i in range(SIDE)], axis=1)
    rows = lax.optimization_barrier(rows)  # [parts, 4, 6, N, down, across, together]
    pixels = _product(_RESULT, [rows[:, :, j] for j in range(SIDE)], axis=5)
    pixels = jnp.transpose(pixels, (2, 3, 1, 4, 5, 0, 6)).reshape(count, STEP * down, STEP * across, -1)
    return pixels[:, : height + 2 * padding[0] - 2, : width + 2 * padding[1] - 2, :outputs]


def _tiles(maps: Sequence[int], padding: tuple[int, int]) -> tuple[int, int]:
    """(down, across) of an image."""
    down, across = (-(-(side + 2 * pad - 2) // STEP) for side, pad in zip(maps[1:3], padding, strict=True))
    return down, across


def _product(matrix: Sequence[Sequence[float]], of: Sequence[Array], *, axis: int) -> Array:
    """A matrix times a vector of arrays, stacked along a new axis."""
    others = tuple(1 + each for each in range(of[0].ndim + 1) if each != axis)
    columns = np.expand_dims(np.asarray(matrix, np.float32).T, others)
    terms = [column * jnp.expand_dims(each, axis) for column, each in zip(columns, of, strict=True)]
    return functools.reduce(operator.add, terms)


def _transformed(kernel: Array) -> Array:
    """A kernel [3, 3, inputs, outputs] transformed [36, inputs, outputs]: 36 numbers of 9, one product."""
    return _dot("tn,nck->tck", _KERNELS, kernel.reshape(9, *kernel.shape[2:]))


_dot = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
