"""Regions in text files: boxes, polygons and masks, one a line, as VOT writes them.

* four numbers are x, y, w, h; an even number of at least six the corners of a polygon;
* one number is a code of VOT's: there is no region in this frame; so is a line of NaN only;
* `m x,y,w,h,n0,n1,...` is a mask in a window of the image: in its rows one after the other, n0 pixels
  outside, then n1 inside, and so on by turns.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.data.text import parse_row, read_lines
from jtrack.errors import JtrackError
from jtrack.untrusted import PIXELS

WIDEST = 1 << 16  # pixels: no image has a side as long
MOST_CORNERS = (
    1 << 24
)  # of all regions of a file: a line of many makes as many for each frame without a region


class Regions(NamedTuple):
    """One region a frame; NaN where there is none."""

    boxes: np.ndarray  # [T, 4] float64: x, y, w, h as the file has them, else axis-aligned bounding boxes
    polygons: np.ndarray  # [T, P, 2] float64: corners x, y; of a box or a mask those of its bounding box
    polygonal: bool  # whether there is anything else than boxes


def overlap(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [..., 4] (x, y, w, h) in [0, 1], broadcast; 0 where both are empty."""
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    low = np.maximum(boxes[..., :2], truth[..., :2])
    high = np.minimum(boxes[..., :2] + boxes[..., 2:], truth[..., :2] + truth[..., 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(boxes[..., 2:], axis=-1) + np.prod(truth[..., 2:], axis=-1) - intersection
    ratio = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return np.minimum(ratio, 1)  # rounding may exceed 1 where boxes are not whole numbers


class _Region(NamedTuple):
    """The region of one frame."""

    box: np.ndarray  # [4]
    corners: np.ndarray  # [P, 2]; of no region [0, 2]
    polygonal: bool


_NOWHERE = _Region(np.full(4, np.nan), np.empty((0, 2)), False)


def read_regions(path: str | Path) -> Regions:
    """Reads a file of regions.

    Raises:
      JtrackError: if the file cannot be read, or a line is none of the above, or has another number of
        corners than the first.
    """
    found = [(number, _parse(line, number, path)) for number, line in read_lines(path)]
    known = [(number, len(region.corners)) for number, region in found if len(region.corners)]
    if not known:
        raise JtrackError(f"{path} holds no region")
    first, corners = known[0]
    for number, count in known:
        if count != corners:
            raise JtrackError(
                f"line {number} of {path} has {count} corners and line {first} has {corners}: all regions "
                "must have as many"
            )
    if corners * len(found) > MOST_CORNERS:
        raise JtrackError(
            f"{path} has {len(found)} regions of {corners} corners: at most {MOST_CORNERS} corners are read"
        )
    nowhere = np.full((corners, 2), np.nan)
    return Regions(
        np.array([region.box for _, region in found]),
        np.array([region.corners if len(region.corners) else nowhere for _, region in found]),
        any(region.polygonal for _, region in found),
    )


def bounding_boxes(polygons: np.ndarray) -> np.ndarray:
    """Axis-aligned bounding boxes [..., 4] (x, y, w, h) of polygons [..., P, 2]; NaN where they are."""
    corner = polygons.min(axis=-2)
    return np.concatenate([corner, polygons.max(axis=-2) - corner], axis=-1)


def _parse(line: str, number: int, path: str | Path) -> _Region:
    if line.startswith("m"):
        row = np.array(parse_row(line[1:].strip(), number, path))
        return _rectangle(mask_box(row, f"line {number} of {path}"), polygonal=True)
    row = np.array(parse_row(line, number, path))
    if len(row) == 1 or np.isnan(row).all():
        return _NOWHERE
    if len(row) == 4:
        return _rectangle(row, polygonal=False)
    if len(row) < 6 or len(row) % 2:
        raise JtrackError(
            f"line {number} of {path} has {len(row)} numbers: a region has 4 (x, y, w, h), or the corners of "
            "a polygon (8 as a rule)"
        )
    corners = row.reshape(-1, 2)
    return _Region(bounding_boxes(corners), corners, True)


def _rectangle(box: np.ndarray, *, polygonal: bool) -> _Region:
    x, y, w, h = box
    return _Region(box, np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]), polygonal)


def mask_box(values: np.ndarray, what: str) -> np.ndarray:
    """The bounding box of a mask, from its runs: the mask itself is never made.

    Args:
      values: x, y, width and height of the mask's window in pixels; then the lengths of the runs in its rows,
        outside and inside by turns.
      what: the mask, as errors should name it.

    Returns:
      [4] float64 x, y, w, h of the pixels inside; NaN where there is none.

    Raises:
      JtrackError: the numbers are not whole, or not of a mask in an image.
    """
    if len(values) < 4 or not (np.isfinite(values).all() and (values == np.round(values)).all()):
        raise JtrackError(f"{what} is not a mask: x, y, w, h and lengths of runs, all whole")
    window, runs = values[:4], values[4:]
    if not ((np.abs(window) <= WIDEST).all() and (window[2:] >= 0).all() and window[2] * window[3] <= PIXELS):
        shown = ",".join(f"{value:g}" for value in window)
        raise JtrackError(f"{what} is not a mask: its window {shown} (x, y, w, h) is not within an image")
    x, y, width, height = (int(value) for value in window)
    with np.errstate(over="ignore"):
        covered = float(runs.sum())
    if not (runs >= 0).all() or covered > width * height:
        raise JtrackError(
            f"{what} is not a mask: its runs cover {covered:g} pixels of a window of {width}x{height}"
        )
    ends = np.cumsum(runs)[1::2].astype(np.int64)
    starts = ends - runs[1::2].astype(np.int64)
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(ends):
        return np.full(4, np.nan)
    (top, left), (bottom, right) = np.divmod(starts, width), np.divmod(ends - 1, width)
    several = bottom > top  # a run over the end of a row reaches both sides of the window
    low, high = np.where(several, 0, left).min(), np.where(several, width - 1, right).max()
    return np.array([x + low, y + top.min(), high - low + 1, bottom.max() - top.min() + 1], np.float64)
