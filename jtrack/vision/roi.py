"""Cutting boxes out of a feature map, so that one pass of a network serves many boxes."""

import jax.numpy as jnp

from jtrack.types import Array


def sample(features: Array, centres: Array, steps: Array, cells: int) -> Array:
    """Samples a map bilinearly on a small grid around each of many places.

    Args:
      features: [h, w, C] float32; beyond its border the nearest cell counts.
      centres: [N, 2] float32 (row, column) of the grids' middles, in cells of the map: (0, 0) is the middle
        of the first.
      steps: [N, 2] float32: between the grid's points, in cells of the map.
      cells: points of the grid a side.

    Returns:
      [N, cells, cells, C].
    """
    offsets = jnp.arange(cells, dtype=jnp.float32) - (cells - 1) / 2
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
