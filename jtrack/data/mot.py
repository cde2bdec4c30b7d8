"""MOTChallenge's text: all targets of a video in one file, a line a box, and everything counted from 1.

`frame,id,x,y,w,h,confidence` and two columns more in annotations (class, visibility), three in detections
and results (a place in the world, or -1). Detections have the id -1; what has the confidence 0 is ignored.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jtrack.data.text import read_lines, read_rows
from jtrack.errors import JtrackError

SUFFIX = ".mot.txt"
WIDTHS = (9, 10)  # columns of annotations; of detections and results. Boxes of other files have 4 or 8


def is_mot(path: str | Path) -> bool:
    """Whether a file is MOTChallenge's: a .txt by the number of columns in its first line.

    Raises:
      JtrackError: it cannot be read.
    """
    if Path(path).suffix.lower() != ".txt":
        return False
    lines = read_lines(path)
    return bool(lines) and lines[0][1].rstrip(",").count(",") + 1 in WIDTHS


def boxes_of_frame(path: str | Path, frame: int) -> np.ndarray:
    """Reads the targets' boxes in one frame.

    Args:
      path: annotations, detections or results.
      frame: counted from 0.

    Returns:
      [N, 4] x, y, w, h in pixels, counted from 0, in the order of their ids; of detections in the file's.

    Raises:
      JtrackError: the file cannot be read or is of another form, has one id twice in the frame, or has no
        box there.
    """
    rows = read_rows(path)
    for number, row in rows:
        if len(row) not in WIDTHS or not np.isfinite(row[:7]).all():
            raise JtrackError(
                f"line {number} of {path} is not MOTChallenge's: it should be frame,id,x,y,w,h,confidence "
                "and two or three numbers more"
            )
    here = [row for _, row in rows if row[0] == frame + 1 and row[6] != 0]
    ids = [row[1] for row in here if row[1] > 0]
    if twice := {each for each in ids if ids.count(each) > 1}:
        raise JtrackError(f"{path} has target {min(twice):g} twice in frame {frame + 1}")
    if not here:
        first, last = min(row[0] for _, row in rows), max(row[0] for _, row in rows)
        raise JtrackError(
            f"{path} has no box for frame {frame + 1} (it counts from 1), only for some of {first:g} to "
            f"{last:g}: start at one of these (--start)"
        )
    boxes = np.array([row[2:6] for row in sorted(here, key=lambda row: row[1])])
    return boxes - np.array([1, 1, 0, 0])


def line(frame: int, target: int, box: Iterable[float], score: float) -> str:
    """A line of results.

    Args:
      frame: counted from 0.
      target: its id, counted from 1.
      box: [4] x, y, w, h, counted from 0.
      score: in [0, 1].
    """
    x, y, w, h = box
    numbers = ",".join(f"{value:.6f}" for value in (x + 1, y + 1, w, h, score))
    return f"{frame + 1},{target},{numbers},-1,-1,-1\n"
