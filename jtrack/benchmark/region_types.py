"""The kinds of region that published results are stored as, turned into boxes as the OTB toolkit does.

Coordinates in and out are those of the files, counted from 1.
"""

from collections.abc import Callable

import numpy as np

from jtrack.errors import JtrackError, unknown_name


def boxes(kind: str, rows: np.ndarray, template: np.ndarray | None = None) -> np.ndarray:
    """Turns regions into boxes.

    Args:
      kind: `rect`: [T, 4] x, y, w, h. `4corner` and `affine`: [2 T, 4], for each frame a row of the x and a
        row of the y of its corners. `ivtAff`: [T, 6] tx, ty, a11, a12, a21, a22, which take the template,
        centred at the origin, to the image. `L1Aff`: [T, 6] a11, a12, a21, a22, tr, tc, which take (row,
        column) of the template, counted from 1, to the image.
      rows: the regions; NaN where there is none.
      template: [2] size of the template: width and height for `ivtAff`, height and width for `L1Aff`.

    Returns:
      [T, 4] float64 x, y, w, h. Boxes of all kinds but `rect` are whole numbers; those of turned regions may
      have a size that is not positive, which scoring takes for no box.

    Raises:
      JtrackError: for an unknown kind, or rows that do not have its shape.
    """
    if kind not in _KINDS:
        raise unknown_name("type of region", kind, _KINDS)
    width, convert = _KINDS[kind]
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise JtrackError(
            f"regions of type {kind} have {width} numbers a row, these have the shape {rows.shape}"
        )
    size = np.zeros(0) if template is None else np.asarray(template, np.float64).reshape(-1)
    return convert(rows, size)


def _rectangles(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
    return rows


def _corners(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The box about the corners, whose pixels count at both ends."""
    if len(rows) % 2:
        raise JtrackError(f"corners take two rows a frame, these are {len(rows)} rows")
    corners = rows.reshape(-1, 2, 4)  # frame, x or y, corner
    low, high = corners.min(axis=2), corners.max(axis=2)
    return _rounded(np.concatenate([low, high - low + 1], axis=1))


def _ivt(rows: np.ndarray, template: np.ndarray) -> np.ndarray:
    """From the first to the third corner of the template, rounded down (Ross et al.'s affine parameters)."""
    half = _size(template) / 2
    first, third = (
        np.floor(rows[:, :2] + rows[:, [2, 4]] * sign * half[0] + rows[:, [3, 5]] * sign * half[1])
        for sign in (-1, 1)
    )
    return np.concatenate([first, third - first], axis=1)


def _l1(rows: np.ndarray, template: np.ndarray) -> np.ndarray:
    """From the first to the last pixel of the template, both of which count (Mei and Ling's L1 tracker)."""
    matrix, shift = rows[:, :4].reshape(-1, 2, 2), rows[:, 4:]
    first, last = (_rounded(matrix @ corner + shift)[:, ::-1] for corner in (np.ones(2), _size(template)))
    return np.concatenate([first, last - first + 1], axis=1)


def _size(template: np.ndarray) -> np.ndarray:
    if template.shape != (2,) or not np.all(np.isfinite(template) & (template > 0)):
        raise JtrackError(
            "affine regions need the size of their template (tmplsize), two numbers: found is "
            f"{template.tolist()}"
        )
    return template


def _rounded(values: np.ndarray) -> np.ndarray:
    """To the nearest whole number, halves away from zero, as MATLAB rounds."""
    return np.trunc(values + np.copysign(0.5, values))


# kind -> numbers a row, conversion
_KINDS: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "rect": (4, _rectangles),
    "4corner": (4, _corners),
    "affine": (4, _corners),
    "ivtAff": (6, _ivt),
    "L1Aff": (6, _l1),
}
