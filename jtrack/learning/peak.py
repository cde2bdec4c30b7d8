"""Where a response is largest.

Responses are [M, N] with zero displacement at (0, 0); displacements are signed and wrap around:
row r means r for r < ceil(M / 2) and r - M from there on.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.types import Array


def displacements(grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Signed displacement, in cells, of every row [M] and every column [N] of a response."""
    rows, columns = (np.fft.fftfreq(n, 1 / n).round().astype(np.float32) for n in grid)
    return rows, columns


def largest(response: Array) -> Array:
    """Displacement (rows, columns) of the first maximum in column-major order. [2] float32."""
    m, n = response.shape
    index = jnp.argmax(response.T.reshape(-1))
    rows, columns = (jnp.asarray(each, response.dtype) for each in displacements((m, n)))
    return jnp.stack([rows[index % m], columns[index // m]])


def refine(response: Array, peak: Array, size: Array | None = None) -> Array:
    """Moves a peak to the top of the parabola through it and its two neighbours, along each axis.

    Args:
      response: [M, N], taken as circular.
      peak: displacement (rows, columns) of a maximum, integers as float32.
      size: [2] int32 after how many rows and columns it begins again; None for M and N.

    Returns:
      Displacement [2], within half a cell of `peak` on either axis.
    """
    at = peak.astype(jnp.int32)
    period = response.shape if size is None else size

    def offset(axis: int) -> Array:
        step = jnp.asarray([axis == 0, axis == 1], jnp.int32)
        before, centre, after = (response[tuple((at + k * step) % jnp.asarray(period))] for k in (-1, 0, 1))
        curvature = before - 2 * centre + after
        # A flat top has no vertex; the cell itself is then the best answer.
        vertex = 0.5 * (after - before) / jnp.where(curvature < 0, -curvature, 1.0)
        return jnp.where(curvature < 0, jnp.clip(vertex, -0.5, 0.5), 0.0)

    return peak + jnp.stack([offset(0), offset(1)])


def soft_argmax(response: Array, temperature: Array | float) -> Array:
    """Expected displacement under softmax(response / temperature): the differentiable read-out. [2] float32.

    Displacements do not wrap in the expectation, so the peak should lie away from the border of the grid.
    """
    weight = jax.nn.softmax(response.reshape(-1) / temperature).reshape(response.shape)
    rows, columns = displacements((response.shape[0], response.shape[1]))
    return jnp.stack([jnp.sum(weight.sum(1) * rows), jnp.sum(weight.sum(0) * columns)])


def within(grid: tuple[int, int], centre: Array, radius: Array | float) -> Array:
    """Mask [M, N] of the cells at most `radius` from `centre` in L1 distance (HCFT, equation 5)."""
    rows, columns = displacements(grid)
    distance = (
        jnp.abs(jnp.asarray(rows) - centre[0])[:, None] + jnp.abs(jnp.asarray(columns) - centre[1])[None, :]
    )
    return distance <= radius
