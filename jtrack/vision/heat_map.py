"""Heat maps of a target over a region of the frame, and what a box contains of one.

A map [h, w] covers a region; boxes on it are in its cells: cell (r, c) covers [c, c + 1) x [r, r + 1).
"""

import jax.numpy as jnp
import numpy as np

from jtrack.types import Array, Box
from jtrack.vision.resize import resample_matrix

EDGE = 1.5  # standard deviations from the middle of a target to its edge


def on_map(box: Box, region: Box, size: tuple[int, int]) -> Box:
    """Boxes [..., 4] of the frame in the cells of a map of `size` (h, w) over a region [4]."""
    cells = jnp.asarray(size[::-1], jnp.float32)
    lead = (1,) * (box.ndim - 1)
    unit = (cells / region[2:]).reshape(*lead, 2)
    return jnp.concatenate([(box[..., :2] - region[:2].reshape(*lead, 2)) * unit, box[..., 2:] * unit], -1)


def gaussian(box: Box, size: tuple[int, int], *, truncated: bool = True) -> Array:
    """The Gaussian of a target: 1 in the middle of the box, sides / 3 its standard deviations.

    Args:
      box: [4] in the cells of the map.
      size: (h, w) of the map.
      truncated: 0 outside the box, as the released code of FCNT has it: the map then drops from .325 in the
        middle of an edge, and from .105 in a corner, to 0.

    Returns:
      [h, w] in [0, 1], sampled at the cells' centres.
    """

    def along(start: Array, length: Array, count: int) -> Array:
        distance = (jnp.arange(count, dtype=jnp.float32) + 0.5 - start - length / 2) / length
        values = jnp.exp(-0.5 * (2 * EDGE * distance) ** 2)
        return jnp.where(jnp.abs(distance) <= 0.5, values, 0) if truncated else values

    return along(box[1], box[3], size[0])[:, None] * along(box[0], box[2], size[1])[None, :]


def resampled_gaussian(
    box: Box, size: tuple[int, int], *, truncated: bool = True, fineness: int = 8
) -> Array:
    """The Gaussian of a target on cells too coarse for its edge.

    Args:
      box: [4] in the cells of the map.
      size: (h, w) of the map.
      truncated: as in `gaussian`.
      fineness: samples a cell in each direction, which are reduced by antialiased bicubic interpolation.

    Returns:
      [h, w] float32; the interpolation may overshoot.
    """
    fine = gaussian(box * fineness, (size[0] * fineness, size[1] * fineness), truncated=truncated)
    rows, columns = (_matrix(n * fineness, n) for n in size)
    return rows @ fine @ columns.T


def enlarge(heat: Array, fineness: int) -> Array:
    """A map [h, w] with `fineness` times as many cells in each direction, by bicubic interpolation."""
    rows, columns = (_matrix(n, n * fineness) for n in heat.shape)
    return rows @ heat @ columns.T


def _matrix(n: int, out: int) -> Array:
    return jnp.asarray(resample_matrix(n, out, method="bicubic"), np.float32)


def coverage(start: Array, length: Array, count: int) -> Array:
    """What part of each of `count` cells intervals cover: starts and lengths [N] -> [N, count] in [0, 1]."""
    cell = jnp.arange(count, dtype=jnp.float32)[None, :]
    first, last = start[:, None], (start + length)[:, None]
    return jnp.clip(jnp.minimum(last, cell + 1) - jnp.maximum(first, cell), 0, 1)


def inside_sums(heat: Array, boxes: Box) -> Array:
    """The heat within boxes: maps [h, w], boxes [N, 4] in its cells -> [N]; 0 lies beyond the map.

    Cells count by the part that is covered, so that the sum is piecewise smooth in the boxes.
    """
    rows = coverage(boxes[:, 1], boxes[:, 3], heat.shape[0])
    columns = coverage(boxes[:, 0], boxes[:, 2], heat.shape[1])
    return jnp.sum((rows @ heat) * columns, axis=1)


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


def distracter_share(heat: Array, box: Box) -> Array:
    """The heat outside a box [4] over that inside, P_d of equation 9: () from 0.

    A map without heat has none: 0. Heat outside alone gives a very large number.
    """
    inside = inside_sums(heat, box[None])[0]
    outside = jnp.maximum(heat.sum() - inside, 0)
    # What rounding leaves of equal sums is not a distracter.
    outside = jnp.where(outside > 1e-5 * heat.sum(), outside, 0)
    return outside / jnp.maximum(inside, 1e-9)
