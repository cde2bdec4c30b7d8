"""The peak of a filter's response: where it is, and how sure one may be of it."""

from dataclasses import dataclass

import jax.numpy as jnp

from jtrack.learning.filter_grid import Grid
from jtrack.types import Array, Scalar

REACH = 5  # cells on each side of a peak that are no part of its sidelobe: Bolme et al. leave out 11 x 11


@dataclass(frozen=True)
class WholeCell:
    """The cell with the highest response."""

    def displacement(self, response: Array, grid: Grid, temperature: Scalar) -> Array:
        """Where a response [M, N] is highest, [2] (rows, columns) in cells, at a temperature ()."""
        del temperature
        return grid.largest(response)


@dataclass(frozen=True)
class BetweenCells:
    """The top of a parabola through the highest response and its neighbours."""

    def displacement(self, response: Array, grid: Grid, temperature: Scalar) -> Array:
        """As of `WholeCell`."""
        del temperature
        return grid.refine(response, grid.largest(response))


@dataclass(frozen=True)
class SoftPeak:
    """The mean of all cells by the softmax of their responses, which is differentiable."""

    def displacement(self, response: Array, grid: Grid, temperature: Scalar) -> Array:
        """As of `WholeCell`; the temperature is in units of the highest response."""
        return grid.soft_argmax(response, temperature * jnp.maximum(response.max(), 1e-6))


@dataclass(frozen=True)
class Height:
    """How high the response is at its peak: about 1 where the sample is the one that was learnt."""

    def measure(self, response: Array, at: Array, grid: Grid) -> Array:
        """The height () of a response [M, N] at a displacement [2] (rows, columns), cells as floats."""
        row, column = jnp.round(at).astype(jnp.int32) % jnp.asarray(grid.size)
        return response[row, column]


@dataclass(frozen=True)
class SidelobeRatio:
    """How far the peak stands out of the rest, in standard deviations of it: PSR, Bolme et al., CVPR 2010."""

    def measure(self, response: Array, at: Array, grid: Grid) -> Array:
        """The ratio (), arguments as of `Height`."""
        size = jnp.asarray(grid.size)
        peak = jnp.round(at).astype(jnp.int32) % size
        inside, near = [], []
        for cells, most, place in zip(size, response.shape, peak, strict=True):
            index = jnp.arange(most, dtype=cells.dtype)
            apart = jnp.abs(index - place)
            inside.append(index < cells)
            near.append(jnp.minimum(apart, cells - apart) <= REACH)
        counted = inside[0][:, None] & inside[1][None, :] & ~(near[0][:, None] & near[1][None, :])
        count = jnp.maximum(counted.sum(), 1).astype(response.dtype)
        mean = jnp.where(counted, response, 0).sum() / count
        variance = jnp.where(counted, (response - mean) ** 2, 0).sum() / count
        # A response without any sidelobe has no peak either.
        return (response[peak[0], peak[1]] - mean) / jnp.sqrt(variance + 1e-8)
