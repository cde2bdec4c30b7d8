"""The search window of a correlation filter: its size, its place, and the label of a target in it."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.components import motion
from jtrack.learning.filter_grid import Grid
from jtrack.types import Array, Box, Scalar, floating

CELL = 4  # pixels of the frame per cell of the released grid


@dataclass(frozen=True)
class ReleasedWindow:
    """The authors' search window: by their rule, on whole pixels, never rescaled, in cells of 4 pixels."""

    padding: float = 2.8  # sides of the search window over the target's

    def __post_init__(self) -> None:
        checks.require(self.padding > 1, f"padding of a search window is {self.padding}: it must be above 1")

    def size(self, target: Array | np.ndarray, frame_size: Array | np.ndarray) -> Array:
        """Size (w, h) [2] of the window of a target of size (w, h), in pixels."""
        dtype = floating(target)
        w, h = target[0], target[1]
        tall = jnp.stack([w * self.padding, h * self.padding / 2])
        large = jnp.stack([w, h]) * 2.0
        small = jnp.stack([w, h]) * self.padding
        fraction = w * h / jnp.prod(jnp.asarray(frame_size, dtype))
        chosen = jnp.where(h / w > 2, tall, jnp.where(fraction > 0.05, large, small))
        # 2.8 is not a binary fraction: without the margin a product that is whole could fall below it.
        return jnp.floor(chosen + 1e-3).astype(dtype)

    def first_centre(self, box: Box) -> Array:
        """The centre (x, y) [2] of a target [4] as the released code counts pixels."""
        return box[:2] + jnp.floor(box[2:] / 2)

    def around(self, centre: Array, size: Array, scale: Scalar) -> Box:
        """The window [4] around a place, on whole pixels, placed as the released code's indices are."""
        del scale
        corner = jnp.floor(centre + 1) - jnp.floor(size / 2)
        return jnp.concatenate([corner, size])

    def moved(self, centre: Array, window: Box, cells: Array, grid: Array, frame_size: Array) -> Array:
        """The centre (x, y) after a displacement (rows, columns) in cells."""
        del window, grid, frame_size
        return centre + CELL * cells[::-1]

    def label(self, target: Array, size: Array, width: Array, grid: Grid) -> Array:
        """The filters' label [M, N]; a cell is taken for 4 pixels, whatever the grid."""
        del size
        return grid.label(width * jnp.sqrt(jnp.prod(target / CELL)), odd="release")


@dataclass(frozen=True)
class SquareWindow:
    """A search window of the target's area times `padding`^2, exact to the fraction of a pixel.

    It is square, or as upright or wide as the target, or in between.
    """

    padding: float = 2.8  # sides of the window over the target's
    aspect: float = 0.0  # power of the target's aspect ratio in the window's: 0 a square, 1 the target's own

    def __post_init__(self) -> None:
        checks.require(self.padding > 1, f"padding of a search window is {self.padding}: it must be above 1")
        checks.require(
            0 <= self.aspect <= 1, f"aspect of a search window is {self.aspect}: it must be from 0 to 1"
        )

    def size(self, target: Array | np.ndarray, frame_size: Array | np.ndarray) -> Array:
        """Size (w, h) [2] of the window of a target of size (w, h), in pixels."""
        del frame_size
        root = jnp.sqrt(target[0] * target[1])
        side = self.padding * root
        square = jnp.stack([side, side])
        return square if self.aspect == 0 else square * (target / root) ** self.aspect

    def around(self, centre: Array, size: Array, scale: Scalar = 1.0) -> Box:
        """The window [4] of a size (w, h) times a scale around a place (x, y)."""
        scaled = size * scale
        return jnp.concatenate([centre - scaled / 2, scaled])


@dataclass(frozen=True)
class CentredWindow(SquareWindow):
    """A window on a fixed grid, square if no aspect is given, which grows and shrinks with the target."""

    def first_centre(self, box: Box) -> Array:
        """The centre (x, y) [2] of a target [4]."""
        return box[:2] + box[2:] / 2

    def moved(self, centre: Array, window: Box, cells: Array, grid: Array, frame_size: Array) -> Array:
        """The centre (x, y) after a displacement (rows, columns) in cells.

        Half of the target may leave the frame, but not its centre: out there is nothing to come back from.
        """
        return motion.keep_in_frame(centre + window[2:] / grid[::-1] * cells[::-1], frame_size)

    def label(self, target: Array, size: Array, width: Array, grid: Grid) -> Array:
        """The filters' label [M, N] of a target (w, h) in a window (w, h)."""
        cells = jnp.asarray(grid.size[::-1], target.dtype)
        return grid.label(width * jnp.sqrt(jnp.prod(target * cells / size)))


def grid_size(window: Array) -> Array:
    """The grid (M, N) [2] int32 of a window (w, h) [2]: whole cells of 4 pixels, at least one a side."""
    return jnp.maximum(jnp.floor(window[::-1] / CELL), 1).astype(jnp.int32)


@dataclass(frozen=True)
class PixelWindow:
    """KCF's search window, as released: of the target's proportions, on whole pixels.

    Henriques et al., TPAMI 2015. A target of 100 x 100 pixels or more is followed in frames of half the size.
    """

    method = "bicubic"  # of resampling, as `vision.crop` takes it
    max_shrink = 2.0

    padding: float = 2.5  # sides of the search window over the target's
    large: float = 100.0  # pixels: the root of the area from which frames are halved

    def __post_init__(self) -> None:
        _require_padding(self.padding)

    def unit(self, target: Array) -> Array:
        """Pixels of the frame a pixel of the patch ()."""
        return jnp.where(target[0] * target[1] >= self.large**2, 2, 1).astype(target.dtype)

    def patch(self, target: Array) -> Array:
        """The size (h, w) [2] int32 of the window's image, in pixels."""
        whole = jnp.floor(target / self.unit(target))
        return jnp.floor(whole * self.padding)[::-1].astype(jnp.int32)

    def first_centre(self, box: Box) -> Array:
        """The centre (x, y) [2] of a target [4] as the released code counts pixels."""
        unit = self.unit(box[2:])
        return jnp.floor((box[:2] + 1 + jnp.floor(box[2:] / 2)) / unit) * unit - 1

    def window(self, centre: Array, target: Array) -> Box:
        """The window [4] in the frame around a target (w, h) at a place (x, y)."""
        unit, size = self.unit(target), self.patch(target)[::-1].astype(target.dtype)
        corner = jnp.floor((centre + 1) / unit) - jnp.floor(size / 2)
        return unit * jnp.concatenate([corner, size])

    def moved(self, centre: Array, target: Array, step: Array, patch: Array, frame_size: Array) -> Array:
        """The centre (x, y) after a step (rows, columns) in pixels of the patch."""
        del patch, frame_size
        return centre + self.unit(target) * step[::-1]

    def label(self, target: Array, width: Scalar, cell: int, patch: Array, grid: Grid) -> Array:
        """The filters' label [M, N] of a target (w, h)."""
        del patch
        whole = jnp.floor(target / self.unit(target))
        return grid.label(width * jnp.sqrt(jnp.prod(whole)) / cell, odd="release")


@dataclass(frozen=True)
class ScaledWindow:
    """A search window of the target's proportions that grows and shrinks with it."""

    method = "imresample"  # as of `PixelWindow`
    max_shrink = 8.0

    padding: float = 2.0  # sides of the search window over the target's

    def __post_init__(self) -> None:
        _require_padding(self.padding)

    def patch(self, target: Array) -> Array:
        """The size (h, w) [2] int32 of the window's image where it follows the target: that of the window."""
        return jnp.floor(target[::-1] * self.padding + 1e-3).astype(jnp.int32)

    def first_centre(self, box: Box) -> Array:
        """The centre (x, y) [2] of a target [4]."""
        return box[:2] + box[2:] / 2

    def window(self, centre: Array, target: Array) -> Box:
        """The window [4] in the frame around a target (w, h) at a place (x, y)."""
        size = self.padding * target
        return jnp.concatenate([centre - size / 2, size])

    def moved(self, centre: Array, target: Array, step: Array, patch: Array, frame_size: Array) -> Array:
        """The centre (x, y), kept in the frame, after a step (rows, columns) in pixels of a patch (h, w)."""
        scale = self.padding * target / patch[::-1].astype(target.dtype)
        return motion.keep_in_frame(centre + scale * step[::-1], frame_size)

    def label(self, target: Array, width: Scalar, cell: int, patch: Array, grid: Grid) -> Array:
        """The filters' label [M, N] of a target (w, h), which takes the same part of every patch (h, w)."""
        del target
        side = jnp.sqrt(jnp.prod(patch.astype(floating(width)))) / self.padding
        return grid.label(width * side / cell)


def _require_padding(padding: float) -> None:
    checks.require(padding >= 1, f"padding of a search window is {padding}: it must be at least 1")
