"""Response maps of a trial, kept small beside its boxes: where in each frame a tracker's filters responded.

    found.append(response_maps.small(response))     # of each frame, None where there is none
    kept = response_maps.gathered(found)
    response_maps.write("ope/Basketball.maps.npz", kept)
    kept = response_maps.read("ope/Basketball.maps.npz", frames=725)

A file is a NumPy archive of the two arrays of `ResponseMaps`.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from jtrack.archives import numpy_array, zip_archive
from jtrack.data.text import FARTHEST
from jtrack.untrusted import reading, true_file
from jtrack.whole import write_whole

SUFFIX = ".maps.npz"
LARGEST_SIDE = 64  # cells of a map that is kept
_LARGEST = 1 << 29  # bytes of a file, unpacked: a hundred thousand frames


class Response(NamedTuple):
    """What a tracker's filters made of its search window in a frame."""

    values: np.ndarray  # [M, N], zero displacement in the middle (at M // 2, N // 2)
    window: np.ndarray  # [4] x, y, w, h of the search window, which M x N cells are as large as


class Small(NamedTuple):
    """A response made small, at most `LARGEST_SIDE` cells a side."""

    levels: np.ndarray  # [M, N] uint8, from the lowest of the frame, 0, to its highest, 255
    place: np.ndarray  # [4] x, y, w, h of the part of the frame that it lies on


class ResponseMaps(NamedTuple):
    """The maps of T frames, of one size."""

    levels: np.ndarray  # [T, M, N] uint8: from the lowest of the frame, 0, to its highest, 255; 0 for no map
    places: np.ndarray  # [T, 4] float32: x, y, w, h of the part of the frame a map lies on; NaN for no map


def small(response: Response) -> Small:
    """Makes a response small. The middle of its cell of zero displacement is the middle of the window."""
    values = np.nan_to_num(np.asarray(response.values, np.float32))
    (rows, columns), (x, y, w, h) = values.shape, np.asarray(response.window, np.float64)
    middle = (columns // 2 + 0.5) / columns, (rows // 2 + 0.5) / rows
    place = np.array([x + w * (0.5 - middle[0]), y + h * (0.5 - middle[1]), w, h])
    values = _resized(values, (min(rows, LARGEST_SIDE), min(columns, LARGEST_SIDE)))
    low, high = float(values.min()), float(values.max())
    scale = 255 / (high - low) if high > low else 0
    return Small(np.rint((values - low) * scale).astype(np.uint8), place)


def gathered(found: Sequence[Small | None]) -> ResponseMaps | None:
    """The responses of T frames as one; None where no frame has one."""
    shapes = [each.levels.shape for each in found if each is not None]
    if not shapes:
        return None
    rows, columns = np.max(shapes, axis=0).tolist()
    levels = np.zeros((len(found), rows, columns), np.uint8)
    places = np.full((len(found), 4), np.nan, np.float32)
    for frame, each in enumerate(found):
        if each is not None:
            levels[frame], places[frame] = _resized(each.levels, (rows, columns)), each.place
    return ResponseMaps(levels, places)


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return values if values.shape == shape else cv2.resize(values, shape[::-1], interpolation=cv2.INTER_AREA)


def write(path: str | Path, maps: ResponseMaps) -> None:
    """Writes a file whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    file = io.BytesIO()
    np.savez_compressed(file, levels=maps.levels, places=maps.places)
    write_whole(Path(path), file.getvalue())


def read(path: str | Path, frames: int) -> ResponseMaps:
    """Reads the maps of a trial of so many frames.

    Raises:
      JtrackError: the file holds something else.
    """
    path, arrays = Path(path), dict[str, np.ndarray]()
    with reading(str(path), "remove it, or run its trial again", fault="holds no response maps of its trial"):
        true_file(path, largest=_LARGEST)
        with zip_archive(path, _LARGEST) as archive:
            for name in ("levels", "places"):
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = numpy_array(stream, archive.getinfo(f"{name}.npy").file_size)
        return _checked(ResponseMaps(**arrays), frames)


def _checked(maps: ResponseMaps, frames: int) -> ResponseMaps:
    """Returns what was read; refuses what no trial of so many frames has."""
    levels, places = maps
    if (
        levels.dtype != np.uint8
        or levels.ndim != 3
        or not all(0 < n <= LARGEST_SIDE for n in levels.shape[1:])
    ):
        raise ValueError(f"its levels are {levels.dtype} of shape {levels.shape}")
    if places.dtype != np.float32 or places.shape != (len(levels), 4):
        raise ValueError(f"its places are {places.dtype} of shape {places.shape}")
    if len(levels) != frames:
        raise ValueError(f"it is of {len(levels)} frames, its trial of {frames}")
    known = places[~np.isnan(places).all(axis=1)].astype(np.float64)
    if not ((np.abs(known) <= FARTHEST).all() and (known[:, 2:] > 0).all()):
        raise ValueError("a map lies nowhere in a frame")
    return maps
