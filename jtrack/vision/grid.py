"""A window of the frame and the cells of a map over it: where boxes lie on a map, and cells in the frame.

A map [h, w] covers a window [4] of the frame. Cell (r, c) covers [c, c + 1) x [r, r + 1) of the map.
"""

import jax.numpy as jnp

from jtrack.types import Array, Box


def to_cells(box: Box, window: Box, size: tuple[int, int]) -> Box:
    """Boxes [..., 4] of the frame in the cells of a map of `size` (h, w) over a window [4]."""
    cells = jnp.asarray(size[::-1], window.dtype)
    lead = (1,) * (box.ndim - 1)
    cells_per_pixel = (cells / window[2:]).reshape(*lead, 2)
    return jnp.concatenate(
        [(box[..., :2] - window[:2].reshape(*lead, 2)) * cells_per_pixel, box[..., 2:] * cells_per_pixel], -1
    )


def centres(window: Box, size: tuple[int, int]) -> tuple[Array, Array]:
    """Where in the frame the middles of the rows [h] and of the columns [w] of a map are, in pixels."""
    rows, columns = (
        window[1 - axis] + (jnp.arange(n, dtype=window.dtype) + 0.5) * (window[3 - axis] / n)
        for axis, n in enumerate(size)
    )
    return rows, columns


def in_frame(window: Box, size: tuple[int, int], frame_size: Array) -> Array:
    """Which cells of a map of a window have their middle in the frame: [h, w] bool."""
    rows, columns = (
        (place >= 0) & (place < extent)
        for place, extent in zip(centres(window, size), frame_size.astype(window.dtype), strict=True)
    )
    return rows[:, None] & columns[None, :]
