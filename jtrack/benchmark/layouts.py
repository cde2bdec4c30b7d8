"""Results as text files, in the folders in which the toolkits keep them.

  * OTB:  TRACKER/SEQUENCE.txt; times in TRACKER/times/SEQUENCE_time.txt. Counted from 1.
  * GOT:  TRACKER/SEQUENCE/SEQUENCE_001.txt, ..._002.txt; times in SEQUENCE_time.txt, a column a repetition.
  * VOT:  TRACKER/EXPERIMENT/SEQUENCE/SEQUENCE_001.txt, times as above or, a file a repetition, in
    SEQUENCE_001_time.value. A row is a region (x, y, w, h, or the corners of a polygon) or a single number: 1
    where the tracker was started, 2 where it failed, 0 where it was not run. In place of the text there may
    be SEQUENCE_001.bin, see `jtrack.benchmark.vot_binary`.
Coordinates of GOT and VOT are used as they stand.
"""

import re
from pathlib import Path

import numpy as np

from jtrack.benchmark import vot_binary
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory, possible
from jtrack.data.otb import ORIGIN
from jtrack.data.regions import bounding_boxes
from jtrack.data.text import check_name, parse_row, read_rows, read_text
from jtrack.errors import JtrackError
from jtrack.untrusted import listed

EXPERIMENTS = ("baseline", "region_noise", "grayscale", "unsupervised")  # of VOT
_CODES = {0: SKIPPED, 1: INITIALISED, 2: FAILED}
_GOT = "got10k"


def read(folder: Path, refused: list[JtrackError] | None = None) -> list[Results]:
    """Reads the results of one tracker: one `Results`, or one an experiment of VOT.

    Args:
      folder: the tracker's.
      refused: takes what is wrong with a file, which then costs its own sequence alone; and what else there
        is that is not read. None: the first such error is raised.

    Returns:
      The results; none where the folder has no such layout.

    Raises:
      JtrackError: if a file of it is not what the layout says.
    """
    tracker, errors = folder.resolve().name, [] if refused is None else refused
    found = _one_pass(folder, errors)
    results = [_results(tracker, "ope", found)] if found else _experiments(folder, tracker, errors)
    if refused is None and errors:
        raise errors[0]
    return results


def tracked(boxes: np.ndarray, seconds: np.ndarray | None = None, *, start: int = 0) -> Trajectory:
    """A trial that was started in its first frame and ran to its end. `boxes` [T, 4] count from 0."""
    status = np.full(len(boxes), TRACKED, np.uint8)
    status[0] = INITIALISED
    return Trajectory(boxes, status, start, seconds)


def _results(tracker: str, protocol: str, found: dict[str, list[Trajectory]]) -> Results:
    return Results(tracker, protocol, found, label={"files": [tracker]})


def _one_pass(folder: Path, refused: list[JtrackError]) -> dict[str, list[Trajectory]]:
    """Sequence -> its trial, of the text files of a folder."""
    found = {}
    for path in listed(folder, "*.txt"):
        if path.stem.endswith("_time") or path.is_dir():
            continue
        try:
            found[check_name(path.stem, folder)] = [_otb(path)]
        except JtrackError as error:
            refused.append(error)
    return found


def _otb(path: Path) -> Trajectory:
    rows = _rows(path)
    times = _times(path.parent / "times" / f"{path.stem}_time.txt", 0, len(rows))
    for number, row in enumerate(rows, 1):
        if len(row) != 4:
            raise JtrackError(f"row {number} of {path} has {len(row)} numbers: a box is x, y, w, h")
    return possible(tracked(np.array(rows) - ORIGIN, times), path)


def _experiments(folder: Path, tracker: str, refused: list[JtrackError]) -> list[Results]:
    """The results of the experiments of VOT, or those of GOT-10k."""
    if tracker in EXPERIMENTS:  # one of them alone
        found = _repetitions(folder, tracker, refused)
        return [_results(folder.resolve().parent.name, tracker, found)] if found else []
    known = [folder / name for name in EXPERIMENTS if (folder / name).is_dir()]
    kinds = [(path, path.name) for path in known] or [(folder, _GOT)]
    pairs = [(protocol, _repetitions(path, protocol, refused)) for path, protocol in kinds]
    for other in listed(folder) if known else ():
        if other not in known and other.is_dir() and any(map(_trials, _folders(other))):
            refused.append(_unknown(other))
    return [_results(tracker, protocol, found) for protocol, found in pairs if found]


def _unknown(folder: Path) -> JtrackError:
    return JtrackError(
        f"{folder} is an experiment of VOT that jtrack does not score: known are {', '.join(EXPERIMENTS)}"
    )


def _folders(folder: Path) -> list[Path]:
    return [path for path in listed(folder) if path.is_dir()]


def _trials(folder: Path) -> list[Path]:
    """The files of a sequence's trials; of one in both forms the text, as VOT's toolkit takes it."""
    form = re.compile(re.escape(folder.name) + r"_[0-9]{3}\.(txt|bin)")
    found = {path.stem: path for path in listed(folder) if form.fullmatch(path.name)}  # .txt after .bin
    return list(found.values())


def _repetitions(folder: Path, protocol: str, refused: list[JtrackError]) -> dict[str, list[Trajectory]]:
    """Sequence -> its trials, of the folders that hold files named like themselves."""
    found = {}
    for child in _folders(folder):
        try:
            if files := _trials(child):
                found[check_name(child.name, folder)] = [
                    _repetition(path, number, protocol) for number, path in enumerate(files)
                ]
            elif any(re.fullmatch(re.escape(child.name) + r"_[0-9]{8}", path.stem) for path in listed(child)):
                raise JtrackError(
                    f"{child} is of VOT's experiment with many starts (since VOT2020), which jtrack does not "
                    f"score: known are {', '.join(EXPERIMENTS)}"
                )
        except JtrackError as error:
            refused.append(error)
    return found


def _repetition(path: Path, number: int, protocol: str) -> Trajectory:
    rows = vot_binary.read_rows(path) if path.suffix == ".bin" else _rows(path)
    _check_start(rows[0], path, protocol)
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
    times = _values(own, len(rows)) if own.exists() else _times(shared, number, len(rows))
    if width == 4:
        return possible(Trajectory(values, status, 0, times), path)
    polygons = values.reshape(len(values), -1, 2)
    return possible(Trajectory(bounding_boxes(polygons), status, 0, times, polygons=polygons), path)


def _check_start(row: list[float], path: Path, protocol: str) -> None:
    """GOT-10k's results begin with the box that is given, VOT's with the code of a start (or not run)."""
    if (len(row) == 1) == (protocol != _GOT):
        return
    if protocol == _GOT:
        raise _unknown(path.parent.parent)
    raise JtrackError(
        f"{path} begins with a box: results of VOT's experiment {protocol} begin with a code, and those of"
        " GOT-10k lie in no folder of this name"
    )


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


def _values(path: Path, length: int) -> np.ndarray | None:
    """The same of a file of VOT's toolkit, which leaves a line empty where a frame has no value."""
    lines = read_text(path).removesuffix("\n").split("\n")
    if len(lines) != length:
        return None
    rows = [parse_row(line, number, path) if line.strip() else [] for number, line in enumerate(lines, 1)]
    return np.array([row[0] if row else np.nan for row in rows])


def _rows(path: Path) -> list[list[float]]:
    return [row for _, row in read_rows(path)]
