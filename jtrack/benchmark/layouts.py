"""Results as text files, in the folders in which the toolkits keep them.

  * OTB:  TRACKER/SEQUENCE.txt; times in TRACKER/times/SEQUENCE_time.txt. Counted from 1.
  * GOT:  TRACKER/SEQUENCE/SEQUENCE_001.txt, ..._002.txt; times in SEQUENCE_time.txt, a column a repetition.
  * VOT:  TRACKER/EXPERIMENT/SEQUENCE/SEQUENCE_001.txt, times as above or, a file a repetition, in
    SEQUENCE_001_time.value. A row is a region (x, y, w, h, or the corners of a polygon) or a single number: 1
    where the tracker was started, 2 where it failed, 0 where it was not run.
Coordinates of GOT and VOT are used as they stand.
"""

from pathlib import Path

import numpy as np

from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory
from jtrack.data.otb import ORIGIN
from jtrack.data.regions import bounding_boxes
from jtrack.data.text import read_rows
from jtrack.errors import JtrackError

EXPERIMENTS = ("baseline", "region_noise", "grayscale", "unsupervised")  # of VOT
_CODES = {0: SKIPPED, 1: INITIALISED, 2: FAILED}


def read(folder: Path) -> list[Results]:
    """Reads the results of one tracker: one `Results`, or one an experiment of VOT.

    Returns:
      The results; none where the folder has no such layout.

    Raises:
      JtrackError: if a file of it is not what the layout says.
    """
    tracker = folder.resolve().name
    if files := [path for path in sorted(folder.glob("*.txt")) if not path.stem.endswith("_time")]:
        found = {path.stem: [_otb(path)] for path in files}
        return [_results(tracker, "ope", found)]
    experiments = [folder / name for name in EXPERIMENTS if (folder / name).is_dir()]
    kinds = [(path, path.name) for path in experiments] or [(folder, "got10k")]
    pairs = [(protocol, _repetitions(path)) for path, protocol in kinds]
    return [_results(tracker, protocol, found) for protocol, found in pairs if found]


def tracked(boxes: np.ndarray, seconds: np.ndarray | None = None, *, start: int = 0) -> Trajectory:
    """A trial that was started in its first frame and ran to its end. `boxes` [T, 4] count from 0."""
    status = np.full(len(boxes), TRACKED, np.uint8)
    status[0] = INITIALISED
    return Trajectory(boxes, status, start, seconds)


def _results(tracker: str, protocol: str, found: dict[str, list[Trajectory]]) -> Results:
    return Results(tracker, protocol, found, label={"files": [tracker]})


def _otb(path: Path) -> Trajectory:
    rows = _rows(path)
    times = _times(path.parent / "times" / f"{path.stem}_time.txt", 0, len(rows))
    for number, row in enumerate(rows, 1):
        if len(row) != 4:
            raise JtrackError(f"row {number} of {path} has {len(row)} numbers: a box is x, y, w, h")
    return tracked(np.array(rows) - ORIGIN, times)


def _repetitions(folder: Path) -> dict[str, list[Trajectory]]:
    """Sequence -> its trials, of the folders that hold files named like themselves."""
    found = {}
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(child.glob("*_[0-9][0-9][0-9].txt"))
        files = [path for path in files if path.stem[:-4] == child.name]
        if files:
            found[child.name] = [_repetition(path, number) for number, path in enumerate(files)]
    return found


def _repetition(path: Path, number: int) -> Trajectory:
    rows = _rows(path)
    status = np.array([_status(row, path) for row in rows], np.uint8)
    given = [row for row in rows if len(row) > 1]
    width = max(map(len, given), default=4)
    if any(len(row) != width for row in given) or (width != 4 and (width < 6 or width % 2)):
        raise JtrackError(
            f"rows of {path} have {width} and other numbers: all regions must be x, y, w, h, or polygons of "
            "as many corners"
        )
    values = np.array([row if len(row) == width else [np.nan] * width for row in rows])
    own, shared = path.with_name(f"{path.stem}_time.value"), path.with_name(f"{path.stem[:-4]}_time.txt")
    times = _times(own, 0, len(rows)) if own.exists() else _times(shared, number, len(rows))
    if width == 4:
        return Trajectory(values, status, 0, times)
    polygons = values.reshape(len(values), -1, 2)
    return Trajectory(bounding_boxes(polygons), status, 0, times, polygons=polygons)


def _status(row: list[float], path: Path) -> int:
    if len(row) > 1:
        return TRACKED
    if row[0] not in _CODES:
        raise JtrackError(f"{path} has the code {row[0]:g}: known are 1 (started), 2 (failed), 0 (not run)")
    return _CODES[int(row[0])]


def _times(path: Path, column: int, length: int) -> np.ndarray | None:
    """Seconds of each frame [length]; None where they are not stored, or not for these frames."""
    if not path.is_file():
        return None
    rows = _rows(path)
    if len(rows) == 1 and len(rows[0]) == length:  # all in one row
        return np.array(rows[0])
    if len(rows) != length or any(len(row) <= column for row in rows):
        return None
    return np.array([row[column] for row in rows])


def _rows(path: Path) -> list[list[float]]:
    return [row for _, row in read_rows(path)]
