"""Published boxes of other trackers, to compare with on the same sequences.

A results folder holds one file a tracker, `NAME_OPE.json.gz`: {sequence: {"res": [[x, y, w, h], ...]}}, boxes
counted from 1 as the OTB toolkit saves them. `CF2` is HCFT, by its authors.
"""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np

from jtrack.data.otb import ORIGIN
from jtrack.errors import JtrackError, unknown_name

_SUFFIX = "_OPE.json.gz"
_LARGEST = 64 << 20  # bytes, unpacked: ten times the largest such file
_MALFORMED = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def trackers(folder: str | Path) -> list[str]:
    """Names of the trackers whose boxes a results folder holds."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in Path(folder).glob("*" + _SUFFIX))


def load(folder: str | Path, tracker: str) -> dict[str, np.ndarray]:
    """Reads a tracker's boxes on every sequence.

    Args:
      folder: the results folder.
      tracker: one of `trackers(folder)`.

    Returns:
      {sequence: [T, 4] float64 x, y, w, h counted from 0}, sequences by their names in the benchmark
      (`Jogging-1`). As published, T may differ from the annotation: Tiger1 was run from image 6, and some
      trackers lack frames at the end.

    Raises:
      JtrackError: if there is no such file, or it holds something else.
    """
    names = trackers(folder)
    if not names:
        raise JtrackError(f"there are no published boxes (*{_SUFFIX}) in {folder}")
    if tracker not in names:
        raise unknown_name(f"published tracker in {folder}", tracker, names)
    path = Path(folder) / (tracker + _SUFFIX)
    try:
        with gzip.open(path) as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise JtrackError(f"{path} unpacks to more than {_LARGEST >> 20} MiB: it is not a file of boxes")
        return {name: _boxes(entry["res"]) for name, entry in json.loads(data).items()}
    except JtrackError:
        raise
    except _MALFORMED as error:
        raise JtrackError(f"{path} does not hold one list of boxes a sequence ({error})") from error


def boxes(folder: str | Path, tracker: str, sequence: str) -> np.ndarray:
    """Reads a tracker's boxes on one sequence, [T, 4] counted from 0; see `load`."""
    results = load(folder, tracker)
    if sequence not in results:
        raise unknown_name(f"sequence of {tracker}", sequence, results)
    return results[sequence]


def _boxes(rows: list[list[float]]) -> np.ndarray:
    values = np.array(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"boxes of shape {list(values.shape)}")
    return values - ORIGIN
