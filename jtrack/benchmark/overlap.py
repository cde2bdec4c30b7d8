"""Overlap of regions, which are boxes or polygons: as the VOT toolkit counts pixels, and exactly.

Both work on spans: a row of pixels (or a vertical line) crosses a region in intervals, and what two regions
have in common is the length their intervals share.
"""

import numpy as np

from jtrack.errors import JtrackError

_CELLS = 1 << 18  # rows of regions rasterised at once, which bounds the memory
_FARTHEST = 1e9  # pixels: what lies further off is so far out of every image that it may lie there
_TALLEST = 1 << 16  # rows of two regions where no image bounds them


def pixel_overlap(regions: np.ndarray, truth: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Intersection over union of regions drawn on the pixels of the image, as vot-toolkit 0.9 draws them.

    What lies outside the image does not count. Coordinates are rounded to whole pixels, half to even. A box
    covers as many pixels as it is wide; a polygon covers its outline too, and so one pixel more. Two regions
    whose common bounding box is less than two pixels wide or high are the same (1) by the toolkit, and those
    for which only what the image shows of it is that small are apart (0): both are kept.

    Args:
      regions: boxes [T, 4] (x, y, w, h) or polygons [T, P, 2] (x, y), in pixels counted from 0.
      truth: the same of the annotation; it may be boxes where `regions` are polygons, and vice versa.
      size: (height, width) of the image; None: nothing is cut off.

    Returns:
      [T] float64 in [0, 1]; NaN where a region is not finite.

    Raises:
      JtrackError: if the shapes are others, or regions that no image bounds are too far apart to be drawn.
    """
    pair = _pair(regions, truth)
    result = np.full(len(pair[0]), np.nan)
    finite = np.flatnonzero(_finite(pair[0]) & _finite(pair[1]))
    # The toolkit keeps coordinates in single precision: a half may become one only there.
    near = (np.clip(region[finite], -_FARTHEST, _FARTHEST) for region in pair)
    first, second = (np.rint(region.astype(np.float32)).astype(np.float64) for region in near)
    both = _union(_pixel_bounds(first), _pixel_bounds(second))  # [N, 4]: left, top, right, bottom, inclusive
    seen = both
    if size is not None:
        low, high = np.maximum(both[:, :2], 0), np.minimum(both[:, 2:], [size[1] - 1, size[0] - 1])
        seen = np.concatenate([low, high], axis=1)
    same = (both[:, 0] >= both[:, 2]) | (both[:, 1] >= both[:, 3])
    apart = (seen[:, 0] >= seen[:, 2]) | (seen[:, 1] >= seen[:, 3])
    values = np.where(same, 1.0, 0.0)
    drawn = np.flatnonzero(~same & ~apart)
    tallest = int(np.max(seen[drawn, 3] - seen[drawn, 1], initial=0)) + 1
    if tallest > _TALLEST:
        raise JtrackError(
            f"two regions of one frame span {tallest} rows of pixels: give the size of the image, or correct"
            " the boxes"
        )
    for part in np.array_split(drawn, len(drawn) * tallest // _CELLS + 1):
        values[part] = _ratio(_raster(first[part], seen[part]), _raster(second[part], seen[part]))
    result[finite] = values
    return result


def exact_overlap(regions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of the areas of regions, without pixels.

    Args:
      regions: boxes [T, 4] (x, y, w, h) or polygons [T, P, 2] (x, y), convex or not, in either direction; a
        polygon must not cross itself.
      truth: the same of the annotation.

    Returns:
      [T] float64 in [0, 1]; 0 where both are empty, NaN where a region is not finite.

    Raises:
      JtrackError: if the shapes are others.
    """
    first, second = (as_polygons(region) for region in _pair(regions, truth))
    result = np.full(len(first), np.nan)
    finite = _finite(first) & _finite(second)
    first, second = first[finite], second[finite]
    # Between two neighbouring corners or crossings every length is linear in x: its middle gives the area.
    x = np.sort(np.concatenate([first[..., 0], second[..., 0], _crossings(first, second)], axis=1), axis=1)
    middle, width = (x[:, 1:] + x[:, :-1]) / 2, np.diff(x, axis=1)
    result[finite] = _ratio(_vertical_spans(first, middle), _vertical_spans(second, middle), weight=width)
    return result


def _pair(regions: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = np.asarray(regions, np.float64), np.asarray(truth, np.float64)
    for region in pair:
        box = region.ndim == 2 and region.shape[1] == 4
        if not box and not (region.ndim == 3 and region.shape[1] >= 3 and region.shape[2] == 2):
            raise JtrackError(
                f"regions have the shape {list(region.shape)}: needed are boxes [T, 4] or polygons [T, P, 2]"
            )
    if len(pair[0]) != len(pair[1]):
        raise JtrackError(
            f"there are {len(pair[0])} regions for {len(pair[1])} annotations: cut both to the frames they"
            " share"
        )
    return pair


def _finite(region: np.ndarray) -> np.ndarray:
    return np.isfinite(region).all(axis=tuple(range(1, region.ndim)))


def as_polygons(region: np.ndarray) -> np.ndarray:
    """Polygons [T, P, 2], boxes as their four corners."""
    if region.ndim == 3:
        return region
    x, y, w, h = np.maximum(region, [-np.inf, -np.inf, 0, 0]).T
    return np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1).reshape(-1, 4, 2)


def _ratio(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Intersection over union [N] of regions given as spans (low, high), each [N, lines, spans]."""
    areas = [np.sum(np.sum(np.maximum(high - low, 0), -1) * weight, -1) for low, high in (first, second)]
    common = np.zeros(areas[0].shape)
    for i in range(first[0].shape[-1]):
        for j in range(second[0].shape[-1]):
            low = np.maximum(first[0][..., i], second[0][..., j])
            high = np.minimum(first[1][..., i], second[1][..., j])
            common += np.sum(np.maximum(high - low, 0) * weight, axis=-1)
    union = areas[0] + areas[1] - common
    return np.clip(np.divide(common, union, out=np.zeros_like(common), where=union > 0), 0, 1)


def _pixel_bounds(region: np.ndarray) -> np.ndarray:
    """First and last column and row [N, 4] (left, top, right, bottom) of whole-numbered regions."""
    if region.ndim == 2:
        return np.concatenate([region[:, :2], region[:, :2] + region[:, 2:] - 1], axis=1)
    return np.concatenate([region.min(axis=1), region.max(axis=1)], axis=1)


def _union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    low, high = np.minimum(first, second)[:, :2], np.maximum(first, second)[:, 2:]
    return np.concatenate([low, high], axis=1)


def _raster(region: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spans of columns [N, rows, spans] that a region covers in each row of `bounds` [N, 4]; low, end."""
    corner = bounds[:, :2]
    width, height = (bounds[:, 2:] - corner + 1).T
    row = np.arange(height.max(initial=0))[None, :, None]
    if region.ndim == 2:
        left, top, right, bottom = (_pixel_bounds(region) - np.tile(corner, 2)).T[:, :, None, None]
        inside = (row >= top) & (row <= bottom)
        low, high = np.where(inside, left, 0), np.where(inside, right + 1, 0)
    else:
        low, high = _polygon_rows(region - corner[:, None], row)
    inside = row < height[:, None, None]
    return np.maximum(low, 0), np.where(inside, np.minimum(high, width[:, None, None]), 0)


def _polygon_rows(polygon: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spans [N, rows, P - 1] of polygons [N, P, 2] in rows [1, rows, 1], some of them empty; low, end.

    A row meets each edge it touches, ends included; the columns it meets them in, cut to whole numbers and
    sorted, bound spans by pairs. A column met twice in a row is one corner, and counts once.
    """
    x, y = polygon[:, None, :, 0], polygon[:, None, :, 1]
    before_x, before_y = np.roll(x, 1, axis=-1), np.roll(y, 1, axis=-1)
    met = (row >= np.minimum(y, before_y)) & (row <= np.maximum(y, before_y))
    rise = before_y - y
    run = np.divide(row - y, rise, out=np.zeros(met.shape), where=rise != 0) * (before_x - x)
    columns = np.sort(np.where(met, np.trunc(x + run), np.inf), axis=-1)
    number = met.sum(axis=-1, keepdims=True)

    last_place = columns.shape[-1] - 1
    low, high = np.zeros((2, *columns.shape[:2], last_place))
    place, end = np.zeros_like(number), np.full(number.shape, -np.inf)
    for span in range(last_place):
        first = np.take_along_axis(columns, np.minimum(place, last_place - 1), axis=-1)
        last = np.take_along_axis(columns, np.minimum(place + 1, last_place), axis=-1)
        corner = (first == last) & (place < number - 2)
        found = (place < number - 1) & ~corner
        low[..., span] = np.where(found, np.maximum(first, end), 0)[..., 0]  # a shared column counts once
        high[..., span] = np.where(found, last + 1, 0)[..., 0]
        end = np.where(found, last + 1, end)
        place = place + np.where(found, 2, corner)
    return low, high


def _crossings(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Abscissae [N, P * Q] of where edges cross; for edges that do not, anything between their corners."""
    start, step = first[:, :, None], (np.roll(first, -1, axis=1) - first)[:, :, None]
    other, other_step = second[:, None], (np.roll(second, -1, axis=1) - second)[:, None]
    cross = step[..., 0] * other_step[..., 1] - step[..., 1] * other_step[..., 0]
    gap = other - start
    along = gap[..., 0] * other_step[..., 1] - gap[..., 1] * other_step[..., 0]
    part = np.clip(np.divide(along, cross, out=np.zeros_like(cross), where=cross != 0), 0, 1)
    return (start[..., 0] + part * step[..., 0]).reshape(len(first), -1)


def _vertical_spans(polygon: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where vertical lines x [N, S] run inside polygons [N, P, 2]: (low, high), each [N, S, P // 2]."""
    here, after = polygon[:, None], np.roll(polygon, -1, axis=1)[:, None]
    x = x[..., None]
    crossed = (here[..., 0] <= x) != (after[..., 0] <= x)
    run = after[..., 0] - here[..., 0]
    part = np.divide(x - here[..., 0], run, out=np.zeros(crossed.shape), where=crossed)
    y = here[..., 1] + part * (after[..., 1] - here[..., 1])
    beyond = polygon[..., 1].max(axis=1)[:, None, None]  # spans of no length
    y = np.sort(np.where(crossed, y, beyond), axis=-1)
    pairs = polygon.shape[1] // 2 * 2
    return y[..., 0:pairs:2], y[..., 1:pairs:2]
