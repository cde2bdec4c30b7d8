"""Trajectories of VOT's toolkit in its binary form (`.bin`), its default.

All numbers are little-endian. The file begins with an int16, its version 1, and a uint32, how many frames
follow. A frame is a uint8, the kind of its region, and then
  * 0, a code: a uint32, 1 where the tracker was started, 2 where it failed, 0 where it was not run;
  * 1, a box: x, y, w, h as float32;
  * 2, a polygon: a uint16, its number of corners, and x, y of each as float32;
  * 3, a mask: x, y as int16, w, h and the number of runs as uint16, and the runs as uint16;
  * 4, a point: x, y as float32.
"""

import struct
from pathlib import Path

from jtrack.data.text import LARGEST, MOST_LINES
from jtrack.errors import JtrackError
from jtrack.untrusted import read_file, reading

_VERSION = 1
_UNSCORED = {3: "masks", 4: "points"}


def read_rows(path: Path) -> list[list[float]]:
    """Reads a trajectory as the text form of the same toolkit has it.

    Returns:
      A row a frame: a code alone, x, y, w, h of a box, or the corners x1, y1, x2, y2, ... of a polygon.

    Raises:
      JtrackError: the file is something else, ends early or goes on, or has masks or points.
    """
    data = read_file(path, largest=LARGEST)
    with reading(str(path), "write it again with vot-toolkit", fault="is not a trajectory of VOT's toolkit"):
        return _rows(data, path)


def _rows(data: bytes, path: Path) -> list[list[float]]:
    version, frames = struct.unpack_from("<hI", data)
    if version != _VERSION:
        raise ValueError(f"it is of version {version}, known is {_VERSION}")
    if not 0 < frames <= MOST_LINES:
        raise ValueError(f"it shall have {frames} frames")
    at = struct.calcsize("<hI")
    rows: list[list[float]] = []
    for frame in range(frames):
        if at >= len(data):
            raise ValueError(f"it ends after {frame} of {frames} frames")
        kind, at = data[at], at + 1
        if kind in _UNSCORED:
            raise JtrackError(f"{path} holds {_UNSCORED[kind]}: jtrack scores boxes and polygons alone")
        if kind == 2:
            (corners,) = struct.unpack_from("<H", data, at)
            if corners < 3:
                raise ValueError(f"frame {frame} has a polygon of {corners} corners")
            at += 2
            form = f"<{2 * corners}f"
        elif kind in (0, 1):
            form = "<I" if kind == 0 else "<4f"
        else:
            raise ValueError(f"frame {frame} has a region of kind {kind}")
        rows.append([float(value) for value in struct.unpack_from(form, data, at)])
        at += struct.calcsize(form)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes follow its {frames} frames")
    return rows
