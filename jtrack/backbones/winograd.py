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
    together = max(1, TOGETHER // kernel.shape[2])
    # Without it XLA transforms the kernels of all layers at once, before the first: memory, and a cold cache.
    x, kernel = lax.optimization_barrier((x, kernel))
    weights = [
        _transformed(kernel[..., first : first + together]) for first in range(0, kernel.shape[3], together)
    ]
    some = functools.partial(_of_images, weights=weights, padding=padding)
    images = max(1, AT_ONCE // (down * across))
    if count <= images:
        return some(x)
    whole = count - count % images
    y = lax.map(some, x[:whole].reshape(-1, images, *x.shape[1:]))
    y = y.reshape(whole, *y.shape[2:])
    return y if whole == count else jnp.concatenate([y, some(x[whole:])])


def _of_images(x: Array, weights: list[Array], padding: tuple[int, int]) -> Array:
    """The convolution of maps [N, h, w, inputs] with transformed kernels [36, inputs, of some outputs]."""
    count, height, width, inputs = x.shape
    down, across = _tiles(x.shape, padding)
    after = [
        STEP * n + 2 - side - pad
        for n, side, pad in zip((down, across), (height, width), padding, strict=True)
    ]
    margins = [(before, behind, 0) for before, behind in zip(padding, after, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *margins, (0, 0, 0)])
    rows = _combined(_TILE, [x[:, i : i + STEP * (down - 1) + 1 : STEP] for i in range(SIDE)])
    # Without the barriers XLA computes a row anew for each of the six numbers that are made of it.
    rows = lax.optimization_barrier(rows)
    tiles = [
        each
        for row in rows
        for each in _combined(_TILE, [row[:, :, j : j + STEP * (across - 1) + 1 : STEP] for j in range(SIDE)])
    ]
    flat = jnp.stack(tiles).reshape(SIDE * SIDE, -1, inputs)
    parts = [_some_outputs(flat, each, (count, down, across)) for each in weights]
    result = jnp.concatenate(parts, axis=-1)
    return result[:, : height + 2 * padding[0] - 2, : width + 2 * padding[1] - 2]


def _tiles(maps: Sequence[int], padding: tuple[int, int]) -> tuple[int, int]:
    """(down, across) of an image."""
    down, across = (-(-(side + 2 * pad - 2) // STEP) for side, pad in zip(maps[1:3], padding, strict=True))
    return down, across


def _combined(matrix: Sequence[Sequence[float]], of: Sequence[Array]) -> list[Array]:
    """A matrix times a vector of arrays, whose zeros and ones cost nothing."""
    return [
        functools.reduce(
            operator.add, [_times(factor, each) for factor, each in zip(row, of, strict=True) if factor]
        )
        for row in matrix
    ]


def _times(factor: float, x: Array) -> Array:
    return x if factor == 1 else -x if factor == -1 else factor * x


def _transformed(kernel: Array) -> Array:
    """A kernel [3, 3, inputs, outputs] transformed [36, inputs, outputs]: 36 numbers of 9, one product."""
    weights = jnp.dot(_KERNELS, kernel.reshape(9, -1), precision=lax.Precision.HIGHEST)
    return weights.reshape(SIDE * SIDE, *kernel.shape[2:])


def _some_outputs(tiles: Array, weights: Array, grid: tuple[int, int, int]) -> Array:
    """Maps [N, h, w, some of the outputs], made of whole tiles [36, N down across, inputs]."""
    products = jnp.einsum("ntc,nck->ntk", tiles, weights, precision=lax.Precision.HIGHEST)
    products = products.reshape(SIDE, SIDE, *grid, -1)
    rows = lax.optimization_barrier(_combined(_RESULT, list(products)))
    pixels = [jnp.stack(_combined(_RESULT, list(row)), axis=3) for row in rows]
    count, down, across = grid
    return jnp.stack(pixels, axis=2).reshape(count, STEP * down, STEP * across, -1)
