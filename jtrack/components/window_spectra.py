"""From a search window to the spectrum that a correlation filter takes: its image, features, grid and taper.

The image has a size of its own, or that of the target: static, or traced and in the corner of a larger one
(`filter_grid.UpTo`), so that targets of different sizes are lanes of one compiled step.
"""

from typing import Protocol

import jax
import jax.numpy as jnp

from jtrack.learning.filter_grid import FixedGrid, Grid, Part, TracedGrid, UpTo
from jtrack.types import Array, Box, Frame, Key
from jtrack.vision import boxes
from jtrack.vision.crop import crop
from jtrack.vision.rotation import crop_rotated


class Resampling(Protocol):
    """What is asked of a search window."""

    @property
    def method(self) -> str:
        """How its image is resampled, as `vision.crop` takes it."""

    @property
    def max_shrink(self) -> float:
        """How many pixels of the frame a pixel of its image is at most."""


class Features(Protocol):
    """What is asked of features (`components.filter_features`)."""

    @property
    def cell(self) -> int:
        """Pixels of a cell of their maps."""

    def describe(self, image: Array, inner: Array | None = None) -> Array:
        """Maps [h // cell, w // cell, C] of an image [h, w, 3]."""


def grid_of(size: tuple[int, int] | UpTo, patch: Array, cell: int) -> Grid:
    """The grid of the cells of a window's image of a static size, or of a traced size `patch` (h, w) [2]."""
    if isinstance(size, UpTo):
        return TracedGrid((size.size[0] // cell, size.size[1] // cell), patch // cell)
    return FixedGrid((size[0] // cell, size[1] // cell))


def cut(rule: Resampling, size: tuple[int, int] | UpTo, patch: Array, frame: Frame, window: Box) -> Array:
    """The image [h, w, 3] of a window [4]; sizes as of `grid_of`."""
    most, inner = (size.size, patch) if isinstance(size, UpTo) else (size, None)
    return crop(frame, window, most, method=rule.method, max_shrink=rule.max_shrink, inner=inner)


def perturbed(key: Key, count: int, spread: Array, frame: Frame, window: Box, size: tuple[int, int]) -> Array:
    """Images [N, h, w, 3] of a window [4] that is turned and scaled by chance about its centre.

    Args:
      key: of the chance.
      count: N.
      spread: [2] standard deviations of the angle in radians and of the logarithm of the scale.
      frame: the frame.
      window: [4].
      size: (h, w) of an image.
    """
    draws = jax.random.normal(key, (count, 2), window.dtype) * spread[None]
    windows = boxes.scale_about_centre(window[None], jnp.exp(draws[:, 1:]))
    return jax.vmap(crop_rotated, (None, 0, None, 0))(frame, windows, size, draws[:, 0])


def spectrum(features: Features, image: Array, grid: Grid, patch: Array) -> Array:
    """The spectrum [C, M, N // 2 + 1] of the tapered features of an image; `patch` as of `grid_of`."""
    if isinstance(grid, FixedGrid):
        return grid.windowed_spectrum(features.describe(image))
    maps = features.describe(image, patch)
    cells = grid.size.astype(maps.dtype)
    return grid.windowed_spectrum(maps, Part(jnp.zeros_like(cells), cells))
