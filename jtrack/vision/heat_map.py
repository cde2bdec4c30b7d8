"""Heat maps of a target over a region of the frame, and what a box contains of one.

A map [h, w] covers a region; boxes on it are in its cells: cell (r, c) covers [c, c + 1) x [r, r + 1).
"""

import jax.numpy as jnp
import numpy as np

from jtrack.types import Array, Box
from jtrack.vision import grid
from jtrack.vision.resize import resample_matrix

EDGE = 1.5  # standard deviations from the middle of a target to its edge


def gaussian(box: Box, size: tuple[int, int], *, edge: float = 0.5) -> Array:
    """The Gaussian of a target: 1 in the middle of the box, sides / 3 its standard deviations.

    Args:
      box: [4] in the cells of the map.
      size: (h, w) of the map.
      edge: sides from the middle at which it ends. 0.5 is the edge of the box, as the released code of FCNT
        has it: the map then drops from .325 in the middle of an edge, and from .105 in a corner, to 0.

    Returns:
      [h, w] in [0, 1], sampled at the cells' centres.
    """

    def along(start: Array, length: Array, count: int) -> Array:
        distance = (jnp.arange(count, dtype=box.dtype) + 0.5 - start - length / 2) / length
        values = jnp.exp(-0.5 * (2 * EDGE * distance) ** 2)
        return jnp.where(jnp.abs(distance) <= edge, values, 0)

    return along(box[1], box[3], size[0])[:, None] * along(box[0], box[2], size[1])[None, :]


def resampled_gaussian(box: Box, size: tuple[int, int], *, edge: float = 0.5, upsampling: int = 8) -> Array:
    """The Gaussian of a target on cells too coarse for its edge.

    Args:
      box: [4] in the cells of the map.
      size: (h, w) of the map.
      edge: as in `gaussian`.
      upsampling: samples a cell in each direction, which are reduced by antialiased bicubic interpolation.

    Returns:
      [h, w] float32; the interpolation may overshoot.
    """
    fine = gaussian(box * upsampling, (size[0] * upsampling, size[1] * upsampling), edge=edge)
    rows, columns = (_matrix(n * upsampling, n, fine.dtype) for n in size)
    return jnp.matmul(jnp.matmul(rows, fine, precision="highest"), columns.T, precision="highest")


def enlarge(heat: Array, upsampling: int) -> Array:
    """A map [h, w] with `upsampling` times as many cells in each direction, by bicubic interpolation."""
    rows, columns = (_matrix(n, n * upsampling, heat.dtype) for n in heat.shape)
    return jnp.matmul(jnp.matmul(rows, heat, precision="highest"), columns.T, precision="highest")


def _matrix(n: int, out: int, dtype: np.dtype) -> Array:
    return jnp.asarray(resample_matrix(n, out, method="bicubic"), dtype)


def coverage(start: Array, length: Array, count: int) -> Array:
    """What part of each of `count` cells intervals cover: starts and lengths [N] -> [N, count] in [0, 1]."""
    cell = jnp.arange(count, dtype=start.dtype)[None, :]
    first, last = start[:, None], (start + length)[:, None]
    return jnp.clip(jnp.minimum(last, cell + 1) - jnp.maximum(first, cell), 0, 1)


def inside_sums(heat: Array, boxes: Box) -> Array:
    """The heat within boxes: maps [h, w], boxes [N, 4] in its cells -> [N]; 0 lies beyond the map.

    Cells count by the part that is covered, so that the sum is piecewise smooth in the boxes.
    """
    rows = coverage(boxes[:, 1], boxes[:, 3], heat.shape[0])
    columns = coverage(boxes[:, 0], boxes[:, 2], heat.shape[1])
    return jnp.sum(jnp.matmul(rows, heat, precision="highest") * columns, axis=1)


def for_candidates(heat: Array, region: Box, frame_size: Array, *, upsampling: int) -> Array:
    """A heat map as candidates are scored on it: over its maximum, finer, and 0 where there is no frame.

    Args:
      heat: [h, w] of a region.
      region: [4] in the frame.
      frame_size: [2] int32.
      upsampling: samples a cell in each direction.
    """
    fine = enlarge(heat / jnp.maximum(heat.max(), 1e-6), upsampling)
    inside = grid.in_frame(region, (fine.shape[0], fine.shape[1]), frame_size)
    return jnp.where(inside, fine, 0)


def candidate_scores(heat: Array, boxes: Box, exponent: Array | float) -> tuple[Array, Array]:
    """How well boxes [N, 4] cover the heat of a map [h, w] that is 0 beyond the target.

    Args:
      heat: [h, w].
      boxes: [N, 4] in its cells.
      exponent: of the area. With 1 the score is the heat inside (Wang et al. 2015, section 4.2): for a map
        that is 1 in a box and 0 elsewhere all boxes around that box tie. Below 1 the score is largest at
        that box; the released code has 0.7 and 0.75.

    Returns:
      The confidence [N], which is the mean of the heat inside, and the score [N], mean times area^exponent.
    """
    area = jnp.maximum(boxes[:, 2] * boxes[:, 3], 1e-6)
    mean = inside_sums(heat, boxes) / area
    return mean, mean * area**exponent


def distractor_share(heat: Array, box: Box) -> Array:
    """The heat outside a box [4] over that inside, P_d of equation 9: () from 0.

    A map without heat has none: 0. Heat outside alone gives a very large number.
    """
    inside = inside_sums(heat, box[None])[0]
    outside = jnp.maximum(heat.sum() - inside, 0)
    # What rounding leaves of equal sums is not a distractor.
    outside = jnp.where(outside > 1e-5 * heat.sum(), outside, 0)
    return outside / jnp.maximum(inside, 1e-9)


def heat_in_box(heat: Array, box: Box, region: Box) -> Array:
    """The mean heat () in a box [4] on a map [h, w] of a region [4]; what is below 0 counts as 0."""
    cells = grid.to_cells(box, region, (heat.shape[0], heat.shape[1]))
    mean, _ = candidate_scores(jnp.maximum(heat, 0), cells[None], 1.0)
    return mean[0]


def label(box: Box, region: Box, size: tuple[int, int], *, edge: float = 0.5) -> tuple[Array, Array]:
    """The heat map [h, w] of a target in a region, and 1 in the cells [h, w] it does not touch.

    Args:
      box: [4] in the frame.
      region: [4] in the frame.
      size: (h, w) of the maps.
      edge: sides from the target's middle at which its Gaussian ends.
    """
    cells = grid.to_cells(box, region, size)
    target = resampled_gaussian(cells, size, edge=edge)
    rows = coverage(cells[1:2], cells[3:4], size[0])[0]
    columns = coverage(cells[0:1], cells[2:3], size[1])[0]
    touched = (rows[:, None] > 0) & (columns[None, :] > 0)
    return target, jnp.where(touched, jnp.zeros((), target.dtype), 1)


def heat_ratio(specific: Array, general: Array, weight: Array | float) -> Array:
    """How far one network can stand in for another (), in [0, 1]: its highest heat over the other's.

    Args:
      specific: the one's heat map.
      general: the other's.
      weight: () how far the ratio counts; 0 gives 1.
    """
    highest = jnp.maximum(specific.max(), 1e-6) / jnp.maximum(general.max(), 1e-6)
    return (1 - weight) + weight * jnp.minimum(highest, 1.0)


def finite(values: Array) -> Array:
    """The values, 0 where one is no finite number."""
    return jnp.where(jnp.isfinite(values), values, 0)
