"""Averages of a feature map over the cells of boxes: one pass of a network describes many boxes."""

import jax.numpy as jnp

from jtrack.types import Array, Box
from jtrack.vision.heat_map import coverage, on_map


def pool(maps: Array, region: Box, boxes: Box, cells: int) -> Array:
    """The mean of a map in each of the cells that boxes are divided into.

    Every cell of the map counts by the part of it that is covered. Linear in the map: `jax.vjp` gives the
    adjoint. The cost is that of two products of matrices a box.

    Args:
      maps: [h, w, C], what a network made of the region.
      region: [4] in the frame.
      boxes: [N, 4] in the frame. What reaches out of the region does not count: the mean is over the rest.
      cells: of a box a side.

    Returns:
      [N, cells, cells, C] float32; zero in cells outside the region.
    """
    height, width, channels = maps.shape
    x, y, w, h = jnp.moveaxis(on_map(boxes, region, (height, width)), -1, 0)
    rows, columns = _shares(y, h, height, cells), _shares(x, w, width, cells)
    flat = maps.reshape(height, width * channels)
    bands = jnp.matmul(rows.reshape(-1, height), flat, precision="highest")
    bands = bands.reshape(boxes.shape[0], cells, width, channels)
    return jnp.einsum("nbw,nawc->nabc", columns, bands, precision="highest")


def _shares(start: Array, length: Array, count: int, cells: int) -> Array:
    """The weights [N, cells, count] of an axis; each row sums to one, or is zero."""
    part = length[:, None] / cells
    starts = start[:, None] + part * jnp.arange(cells, dtype=jnp.float32)[None]
    covered = coverage(starts.reshape(-1), jnp.repeat(part[:, 0], cells), count).reshape(-1, cells, count)
    return covered / jnp.maximum(covered.sum(axis=-1, keepdims=True), 1e-6)
