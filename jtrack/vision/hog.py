"""Felzenszwalb's histograms of oriented gradients, as Dollar's `fhog` computes them."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack.errors import JtrackError
from jtrack.types import Array, floating

# A quarter per neighbouring block would average; these are the scales of the original features.
ORIENTATION_GAIN = 0.5
TEXTURE_GAIN = 0.2357


def fhog(
    image: Array,
    *,
    cell: int = 4,
    orientations: int = 9,
    clip: float = 0.2,
    shared: bool = False,
    inner: Array | None = None,
) -> Array:
    """Felzenszwalb's HOG: 31 channels for 9 orientations.

    The gradient is a central difference (one-sided at the border) of the channel where it is largest. Its
    magnitude goes to the nearest of 2 * orientations directions (hard binning, as in `fhog`) and is shared
    bilinearly among the four nearest cells; border cells, which see 7/8 of the weight of inner ones, are
    scaled to match. Each cell is normalised by the energy of the four 2x2 blocks of cells it belongs to (at
    the border the nearest whole block) and clipped, four times. Differentiable except where the features
    jump, as a gradient moves to another direction.

    Args:
      image: [..., H, W, C] float 0..255 (the result hardly depends on the scale), C = 1 for grey; at least
        two cells in each direction. Rows and columns beyond a whole number of cells only enter gradients.
      cell: width of a cell in pixels.
      orientations: number of unsigned orientations o.
      clip: the largest normalised value.
      shared: whether a gradient is shared linearly between its two nearest directions (as Dalal and Triggs
        do, CVPR 2005) instead of going to the nearest: then the features never jump.
      inner: [2] int32 (h, w), traced: the top-left part of the image that counts, at least two cells in each
        direction; by default all of it. The features are those of this part, and zero beyond.

    Returns:
      [..., H // cell, W // cell, 3 o + 4] float32: 2 o contrast-sensitive channels, direction k pointing
      along k * pi / o radians from +x (columns) towards +y (rows); o contrast-insensitive; 4 texture, of the
      blocks below right, above right, below left, above left. In 0..2 clip, texture within
      0..0.2357 * 2 o * clip.

    Raises:
      JtrackError: an image of less than two cells.

    Source: Felzenszwalb et al., PAMI 2010, section 6; Dollar's toolbox adds the hard binning and the 7/8, and
    a 32nd channel of zeros, left out here.
    """
    rows, columns = image.shape[-3] // cell, image.shape[-2] // cell
    if min(rows, columns) < 2:
        raise JtrackError(
            f"HOG of an image of {image.shape[-3]} x {image.shape[-2]} pixels is not defined: "
            f"it needs at least 2 cells of {cell} pixels in each direction; enlarge the image"
        )
    part = _Whole((rows, columns)) if inner is None else _Inner((rows, columns), cell, inner)
    image = part.continued(image.astype(floating(image)))
    dx, dy = (g[..., : rows * cell, : columns * cell] for g in _gradient(image))
    # Channels lead while pixels are counted: every operation then runs along contiguous rows.
    directions = _shared_directions if shared else _directions
    energy = part.only(directions(dx, dy, orientations), cell)
    sensitive = _pool(energy, cell, part.border_gain(energy.dtype))  # [..., 2 o, rows, columns]
    insensitive = sensitive[..., :orientations, :, :] + sensitive[..., orientations:, :, :]

    blocks = part.bordered(_block_scales((insensitive**2).sum(axis=-3), cell))
    below = right = slice(1, None)
    above = left = slice(None, -1)
    contrast = plain = jnp.zeros((), dx.dtype)
    texture = []
    for block in ((below, right), (above, right), (below, left), (above, left)):
        scale = blocks[..., None, block[0], block[1]]
        clipped = jnp.minimum(sensitive * scale, clip)
        contrast = contrast + clipped
        plain = plain + jnp.minimum(insensitive * scale, clip)
        texture.append(clipped.sum(axis=-3, keepdims=True))
    channels = [ORIENTATION_GAIN * contrast, ORIENTATION_GAIN * plain, *(TEXTURE_GAIN * t for t in texture)]
    return jnp.moveaxis(part.only(jnp.concatenate(channels, axis=-3), 1), -3, -1)


@dataclass(frozen=True)
class _Whole:
    """All cells of an image count."""

    cells: tuple[int, int]

    def continued(self, image: Array) -> Array:
        """An image [..., H, W, C] whose gradient is one-sided at the border."""
        return image

    def only(self, values: Array, length: int) -> Array:
        """What is in the cells that count, of values [..., rows, columns], so many a side of a cell."""
        del length
        return values

    def border_gain(self, dtype: np.dtype) -> Array | np.ndarray:
        """What makes up for the eighth of its weight that a border cell lacks: [rows, columns]."""
        rows, columns = (np.where((i == 0) | (i == i.size - 1), 8 / 7, 1) for i in map(np.arange, self.cells))
        return np.outer(rows, columns).astype(dtype)

    def bordered(self, scale: Array) -> Array:
        """Scales of the whole blocks, those beyond the border repeated: [..., rows + 1, columns + 1]."""
        return jnp.pad(scale, [(0, 0)] * (scale.ndim - 2) + [(1, 1), (1, 1)], mode="edge")


@dataclass(frozen=True)
class _Inner:
    """The cells of the top-left part of an image count."""

    cells: tuple[int, int]  # of the whole image
    cell: int
    size: Array  # [2] int32 (h, w) of the part

    def continued(self, image: Array) -> Array:
        """As of `_Whole`: beyond a straight line the central difference is the one-sided one."""
        for axis, end in zip((-3, -2), self.size, strict=True):
            last, before = (jnp.take(image, end[None] - k, axis=axis) for k in (1, 2))
            places = jnp.arange(image.shape[axis], dtype=end.dtype)
            after = (places == end).reshape(-1, *(1,) * (-axis - 1))
            image = jnp.where(jnp.expand_dims(after, range(image.ndim + axis)), 2 * last - before, image)
        return image

    def only(self, values: Array, length: int) -> Array:
        """As of `_Whole`, and zero elsewhere."""
        inside = [place < end * length for place, end in zip(self._places(length), self._ends(), strict=True)]
        mask = inside[0][:, None] & inside[1][None, :]
        return jnp.where(jnp.expand_dims(mask, range(values.ndim - 2)), values, 0)

    def border_gain(self, dtype: np.dtype) -> Array | np.ndarray:
        """As of `_Whole`."""
        rows, columns = (
            jnp.where((place == 0) | (place == end - 1), 8 / 7, 1).astype(dtype)
            for place, end in zip(self._places(), self._ends(), strict=True)
        )
        return rows[:, None] * columns[None, :]

    def bordered(self, scale: Array) -> Array:
        """As of `_Whole`."""
        for axis, end in zip((-2, -1), self._ends(), strict=True):
            places = jnp.arange(scale.shape[axis] + 2, dtype=end.dtype) - 1
            scale = jnp.take(scale, jnp.clip(places, 0, end - 2), axis=axis)
        return scale

    def _ends(self) -> Array:
        """How many rows and columns of cells count [2]."""
        return self.size // self.cell

    def _places(self, length: int = 1) -> list[Array]:
        """The numbers of all rows and columns, so many a cell."""
        return [jnp.arange(cells * length, dtype=self.size.dtype) for cells in self.cells]


def _difference(image: Array, axis: int) -> Array:
    """Central differences along an axis, one-sided at its ends."""
    n = image.shape[axis]
    first, last = (lax.slice_in_dim(image, i, i + 1, axis=axis) for i in (0, n - 1))
    after = jnp.concatenate([lax.slice_in_dim(image, 1, n, axis=axis), last], axis=axis)
    before = jnp.concatenate([first, lax.slice_in_dim(image, 0, n - 1, axis=axis)], axis=axis)
    step = np.full(n, 0.5, image.dtype)
    step[[0, -1]] = 1
    return (after - before) * step.reshape([-1 if i == axis else 1 for i in range(image.ndim)])


def _gradient(image: Array) -> tuple[Array, Array]:
    """The gradient (dx, dy) [..., H, W] of the channel of [..., H, W, C] where it is largest."""
    rows, columns = image.ndim - 3, image.ndim - 2
    dx, dy = jnp.zeros_like(image[..., 0]), jnp.zeros_like(image[..., 0])
    for c in range(image.shape[-1]):
        x, y = _difference(image[..., c], columns), _difference(image[..., c], rows)
        larger = x**2 + y**2 > dx**2 + dy**2
        dx, dy = jnp.where(larger, x, dx), jnp.where(larger, y, dy)
    return dx, dy


def _directions(dx: Array, dy: Array, orientations: int) -> Array:
    """The gradient's magnitude in the channel of its nearest direction: [..., 2 o, H, W]."""
    along, nearest = dx, jnp.zeros(dx.shape, jnp.int32)
    for k in range(1, orientations):
        other = math.cos(k * math.pi / orientations) * dx + math.sin(k * math.pi / orientations) * dy
        # A tie, such as a vertical gradient between 80 and 100 degrees, goes to the larger angle.
        nearer = jnp.abs(other) >= jnp.abs(along)
        along, nearest = jnp.where(nearer, other, along), jnp.where(nearer, k, nearest)
    nearest = jnp.where(along < 0, nearest + orientations, nearest)
    magnitude = _magnitude(dx, dy)
    # Without the barrier XLA fuses all of the above into the next line and repeats it for every channel.
    magnitude, nearest = lax.optimization_barrier((magnitude, nearest))
    channel = jnp.arange(2 * orientations, dtype=jnp.int32).reshape((1,) * (dx.ndim - 2) + (-1, 1, 1))
    return jnp.where(nearest[..., None, :, :] == channel, magnitude[..., None, :, :], 0)


def _shared_directions(dx: Array, dy: Array, orientations: int) -> Array:
    """As `_directions`, but shared between the two nearest."""
    magnitude = _magnitude(dx, dy)
    angle = jnp.arctan2(dy, jnp.where(magnitude > 0, dx, 1))
    count = 2 * orientations
    channel = jnp.arange(count, dtype=dx.dtype).reshape((1,) * (dx.ndim - 2) + (-1, 1, 1))
    apart = (angle * (orientations / math.pi))[..., None, :, :] - channel
    apart = jnp.abs(apart - count * jnp.round(lax.stop_gradient(apart) / count))
    return jnp.maximum(1 - apart, 0) * magnitude[..., None, :, :]


def _magnitude(dx: Array, dy: Array) -> Array:
    """The length of a gradient, whose derivative is 0 where it is 0."""
    square = dx**2 + dy**2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _shares(cells: int, cell: int, dtype: np.dtype) -> np.ndarray:
    """[cells, cells * cell]: the bilinear share of each pixel of an axis in each cell's average."""
    position = (np.arange(cells * cell) + 0.5) / cell - 0.5
    shares = np.maximum(1 - np.abs(position[None, :] - np.arange(cells)[:, None]), 0) / cell
    return shares.astype(dtype)


def _pool(energy: Array, cell: int, gain: Array | np.ndarray) -> Array:
    """Bilinear sharing between cells, times a gain of each: [..., H, W] -> [..., H / cell, W / cell]."""
    *lead, height, width = energy.shape
    rows, columns = height // cell, width // cell
    # Rows, the larger part of the work: each row counts for its own cell, the one before and the one after.
    energy = energy.reshape(*lead, rows, cell, width)
    before, own, after = (
        sum(energy[..., i, :] * share[i] for i in range(cell))
        for share in _shares(3, cell, energy.dtype)[:, cell : 2 * cell]
    )
    nothing = jnp.zeros_like(own[..., :1, :])
    own += jnp.concatenate([before[..., 1:, :], nothing], axis=-2)
    own += jnp.concatenate([nothing, after[..., :-1, :]], axis=-2)
    pooled = jnp.einsum("...w,jw->...j", own, _shares(columns, cell, energy.dtype), precision="highest")
    return pooled * gain.reshape((1,) * len(lead) + (rows, columns))


def _block_scales(energy: Array, cell: int) -> Array:
    """One over the norm of each 2x2 block of cells: [..., rows, columns] -> [..., rows - 1, columns - 1].

    With the border, block (i, j) has cell (i, j) at its lower right, and the blocks that would reach over the
    border repeat the nearest whole one.
    """
    pairs = energy[..., 1:, :] + energy[..., :-1, :]
    whole = pairs[..., :, 1:] + pairs[..., :, :-1]
    return 1 / jnp.sqrt(whole + 1e-4 / (4 * cell**4))
