"""Response fusion: one response of those of several layers, and where it is largest."""

from dataclasses import dataclass

import jax.numpy as jnp

from jtrack.learning.filter_grid import Grid
from jtrack.types import Array


@dataclass(frozen=True)
class WeightedSum:
    """The layers' responses are added, each times its weight: released in 2016."""

    def combine(self, responses: Array, weights: Array, radius: Array, grid: Grid) -> tuple[Array, Array]:
        """The combined response [M, N] of [L, M, N], and where it is largest: [2] (rows, columns)."""
        del radius
        response = (responses * weights[:, None, None]).sum(0)
        return response, grid.largest(response)


@dataclass(frozen=True)
class NormalisedSum:
    """As `WeightedSum`, but each response over its own maximum first: released in 2018."""

    def combine(self, responses: Array, weights: Array, radius: Array, grid: Grid) -> tuple[Array, Array]:
        """As of `WeightedSum`."""
        top = responses.max((1, 2), keepdims=True)
        return WeightedSum().combine(responses / jnp.where(top > 0, top, 1.0), weights, radius, grid)


@dataclass(frozen=True)
class CoarseToFine:
    """Every shallower layer is added in turn and may move the peak by a few cells only: equation 5."""

    def combine(self, responses: Array, weights: Array, radius: Array, grid: Grid) -> tuple[Array, Array]:
        """As of `WeightedSum`; `radius` () is how far, in cells of L1 distance."""
        weighted = responses * weights[:, None, None]
        response = weighted.sum(0)
        partial = weighted[0]
        at = grid.largest(partial)
        for layer in weighted[1:]:
            partial = partial + layer
            allowed = grid.within(at, radius)
            at = grid.largest(jnp.where(allowed, partial, -jnp.inf))
        return response, at


def peak_height(
    responses: Array,
    displacement: Array,
    weights: Array,
    size: tuple[int, int] | Array,
    *,
    between: bool = False,
) -> Array:
    """How high the layers' responses are at the peak (), before any normalisation: their weighted mean.

    A ridge response is near 1 where the sample is the one it learnt from, so that the height means the same
    on every network and video.

    Args:
      responses: [L, M, N], zero displacement at (0, 0).
      displacement: [2] (rows, columns) in cells.
      weights: [L].
      size: (M, N) of the grid, of which the responses may be the top-left part.
      between: whether to interpolate between the four nearest cells instead of taking the nearest.
    """
    if between:
        corner = jnp.floor(displacement)
        cells = corner.astype(jnp.int32)[:, None] + jnp.arange(2, dtype=jnp.int32)[None]
        rows, columns = cells % jnp.asarray(size)[:, None]
        nearest = responses[:, rows[:, None], columns[None, :]]
        (up, left) = displacement - corner
        shares = jnp.stack([1 - up, up])[:, None] * jnp.stack([1 - left, left])[None, :]
        heights = jnp.sum(nearest * shares[None], axis=(1, 2))
    else:
        row, column = (jnp.round(displacement).astype(jnp.int32) % jnp.asarray(size)).T
        heights = responses[:, row, column]
    return jnp.sum(weights * heights) / jnp.sum(weights)
