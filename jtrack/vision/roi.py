"""Boxes cut out of the feature map of a region, so that one pass of a network describes many boxes."""

import jax.numpy as jnp

from jtrack.types import Array, Box
from jtrack.vision import grid
from jtrack.vision.heat_map import coverage


def bilinear(features: Array, centres: Array, steps: Array, cells: int) -> Array:
    """Samples a map bilinearly on a small grid around each of many places.

    Args:
      features: [h, w, C]; beyond its border the nearest cell counts.
      centres: [N, 2] (row, column) of the grids' middles, in cells of the map: (0, 0) is the middle
        of the first.
      steps: [N, 2]: between the grid's points, in cells of the map.
      cells: points of the grid a side.

    Returns:
      [N, cells, cells, C].
    """
    offsets = jnp.arange(cells, dtype=steps.dtype) - (cells - 1) / 2
    places = centres[:, :, None] + steps[:, :, None] * offsets[None, None]  # [N, 2, cells]
    (top, bottom, down), (left, right, along) = (
        _taps(places[:, axis], features.shape[axis]) for axis in (0, 1)
    )
    down, along = down[:, :, None, None], along[:, None, :, None]

    def at(rows: Array, columns: Array) -> Array:
        return features[rows[:, :, None], columns[:, None, :]]

    upper = at(top, left) * (1 - along) + at(top, right) * along
    lower = at(bottom, left) * (1 - along) + at(bottom, right) * along
    return upper * (1 - down) + lower * down


def _taps(places: Array, length: int) -> tuple[Array, Array, Array]:
    """The two cells beside each place, and the share of the second."""
    inside = jnp.clip(places, 0, length - 1)
    first = jnp.floor(inside)
    index = first.astype(jnp.int32)
    return index, jnp.minimum(index + 1, length - 1), inside - first


def average(maps: Array, region: Box, boxes: Box, cells: int) -> Array:
    """The mean of a map in each of the cells that boxes are divided into.

    Every cell of the map counts by the part of it that is covered. Linear in the map: `jax.vjp` gives the
    adjoint. The cost is that of two products of matrices a box.

    Args:
      maps: [h, w, C], what a network made of the region.
      region: [4] in the frame.
      boxes: [N, 4] in the frame. What reaches out of the region does not count: the mean is over the rest.
      cells: of a box a side.

    Returns:
      [N, cells, cells, C]; zero in cells outside the region.
    """
    height, width, channels = maps.shape
    x, y, w, h = jnp.moveaxis(grid.to_cells(boxes, region, (height, width)), -1, 0)
    rows, columns = _shares(y, h, height, cells), _shares(x, w, width, cells)
    flat = maps.reshape(height, width * channels)
    bands = jnp.matmul(rows.reshape(-1, height), flat, precision="highest")
    bands = bands.reshape(boxes.shape[0], cells, width, channels)
    return jnp.einsum("nbw,nawc->nabc", columns, bands, precision="highest")


def _shares(start: Array, length: Array, count: int, cells: int) -> Array:
    """The weights [N, cells, count] of an axis; each row sums to one, or is zero."""
    part = length[:, None] / cells
    starts = start[:, None] + part * jnp.arange(cells, dtype=part.dtype)[None]
    covered = coverage(starts.reshape(-1), jnp.repeat(part[:, 0], cells), count).reshape(-1, cells, count)
    return covered / jnp.maximum(covered.sum(axis=-1, keepdims=True), 1e-6)
