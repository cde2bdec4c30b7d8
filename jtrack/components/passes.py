"""Forward passes: how often the network sees a frame that is searched and then learnt."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp

from jtrack import checks
from jtrack.learning.filter_grid import Grid, Part
from jtrack.types import Array, Box, floating
from jtrack.vision import boxes


@dataclass(frozen=True)
class TwoPasses:
    """The sample to learn is described by a forward pass of its own, around the place that was found."""

    def region(self, window: Box) -> Box:
        """What the network sees [4] when the target is looked for in a window [4]: that window."""
        return window

    def searched(self, maps: Array, grid: Grid) -> Array:
        """The spectra [C, M, N // 2 + 1] of the window, of the maps [h, w, C] of its region."""
        return grid.windowed_spectrum(maps)

    def learnt(
        self,
        describe: Callable[[Box], dict[str, Array]],
        seen: dict[str, Array],
        region: Box,
        window: Box,
        grid: Grid,
    ) -> dict[str, Array]:
        """The spectra [C, M, N // 2 + 1] of the window to learn, by layer.

        Args:
          describe: makes the maps [h, w, C] of a region [4], by layer: a forward pass.
          seen: the maps in which the target was found.
          region: [4] what they are of.
          window: [4] around the place where it was found.
          grid: that of the filters.
        """
        del seen, region
        return {layer: self.searched(maps, grid) for layer, maps in describe(self.region(window)).items()}


@dataclass(frozen=True)
class OnePass:
    """The sample to learn is cut from the maps in which the target was found.

    They are of a region that is a little larger than the window, so that the window still lies in it when it
    has moved and grown; where it does not, the outermost cells are repeated, under the taper's edge.
    """

    margin: float = 8 / 7  # sides of the region over the window's

    def __post_init__(self) -> None:
        checks.require(
            self.margin >= 1,
            f"margin of a region is {self.margin}: the window does not fit in if it is below 1",
        )

    def region(self, window: Box) -> Box:
        """As of `TwoPasses`: a larger one about the same centre."""
        return boxes.scale_about_centre(window, self.margin)

    def searched(self, maps: Array, grid: Grid) -> Array:
        """As of `TwoPasses`."""
        size = jnp.asarray(maps.shape[:2], floating(maps))
        return grid.windowed_spectrum(maps, Part((size - size / self.margin) / 2, size / self.margin))

    def learnt(
        self,
        describe: Callable[[Box], dict[str, Array]],
        seen: dict[str, Array],
        region: Box,
        window: Box,
        grid: Grid,
    ) -> dict[str, Array]:
        """As of `TwoPasses`."""
        del describe
        start = (window[1::-1] - region[1::-1]) / region[:1:-1]
        extent = window[:1:-1] / region[:1:-1]

        def cut(maps: Array) -> Array:
            size = jnp.asarray(maps.shape[:2], start.dtype)
            return grid.windowed_spectrum(maps, Part(start * size, extent * size))

        return {layer: cut(maps) for layer, maps in seen.items()}
