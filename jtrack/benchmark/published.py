"""Published results: the boxes of other people's trackers, in the forms in which they are passed around.

    results = published.read("results/CF2_OPE.json.gz")  # a list: a folder may hold many trackers

Forms:
  * JSON, plain or `.json.gz`: {sequence: entry or [entry, ...]} of one tracker, `NAME_OPE.json.gz`; or the
    list of entries of one sequence, a file a sequence in the folder of a tracker.
  * `.mat`, of any version: a file a sequence, `SEQUENCE_TRACKER.mat`, whose `results` is a cell of entries.
  * text: see `jtrack.benchmark.layouts`.
An entry is the OTB toolkit's struct of one trial: `res`, its `type` (see `jtrack.benchmark.region_types`)
and, of affine regions, `tmplsize`; `len`, `fps`, `shiftType`. Coordinates count from 1 in the files and from
0 here.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jtrack import matlab
from jtrack.benchmark import layouts, region_types
from jtrack.benchmark.results import Results, Trajectory
from jtrack.data.otb import ORIGIN
from jtrack.data.text import check_name
from jtrack.errors import JtrackError, unknown_name

_SUFFIX = "_OPE.json.gz"
_LARGEST = 64 << 20  # bytes, unpacked: ten times the largest such file
_MALFORMED = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
_DEEPEST = 2  # folders above those of trackers
_PROTOCOLS = ("ope", "tre", "sre")


def read(path: str | Path) -> list[Results]:
    """Reads all results of a file or a folder.

    Args:
      path: a file of one of the forms above, a folder of such files, a tracker's folder of text files, or a
        folder of such folders.

    Returns:
      One `Results` a tracker and protocol, by name.

    Raises:
      JtrackError: if there is nothing to read, or a file is damaged, too large or something else.
    """
    path = Path(path)
    if not path.exists():
        raise JtrackError(f"there are no results {path}: give a file or a folder of boxes")
    found = [_file(path)] if path.is_file() else list(_folder(path, 0))
    if not found:
        raise JtrackError(
            f"{path} holds no results: wanted are .json, .json.gz or .mat files, or a text file a sequence"
        )
    return sorted(found, key=lambda results: (results.tracker.lower(), results.protocol))


def trackers(folder: str | Path) -> list[str]:
    """Names of the trackers whose boxes a results folder holds as `NAME_OPE.json.gz`."""
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
    results = _file(Path(folder) / (tracker + _SUFFIX))
    return {name: trials[0].boxes for name, trials in results.trajectories.items()}


def boxes(folder: str | Path, tracker: str, sequence: str) -> np.ndarray:
    """Reads a tracker's boxes on one sequence, [T, 4] counted from 0; see `load`."""
    results = load(folder, tracker)
    if sequence not in results:
        raise unknown_name(f"sequence of {tracker}", sequence, results)
    return results[sequence]


def _folder(folder: Path, depth: int) -> Iterable[Results]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    tables = [path for path in files if path.name.endswith((".mat", ".json", ".json.gz"))]
    if tables:
        yield from _merged(map(_file, tables))
        return
    found = layouts.read(folder)
    yield from found
    if not found and depth < _DEEPEST:
        for child in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _folder(child, depth + 1)


def _merged(parts: Iterable[Results]) -> list[Results]:
    """Joins the sequences of the same tracker and protocol."""
    joined: dict[tuple[str, str], Results] = {}
    for part in parts:
        key = part.tracker, part.protocol
        before = joined.get(key)
        if before is not None and (both := before.trajectories.keys() & part.trajectories.keys()):
            raise JtrackError(
                f"{' and '.join(before.label['files'] + part.label['files'])} both hold {min(both)} of "
                f"{part.tracker}: keep one of them"
            )
        joined[key] = part if before is None else _union(before, part)
    return list(joined.values())


def _union(one: Results, other: Results) -> Results:
    return replace(
        one,
        trajectories={**one.trajectories, **other.trajectories},
        label={**one.label, "files": one.label["files"] + other.label["files"]},
    )


def _file(path: Path) -> Results:
    what = "the OTB toolkit's results" if path.suffix == ".mat" else "one list of boxes a sequence"
    try:
        if path.suffix == ".mat":
            sequence, _, tracker = path.stem.partition("_")
            entries = {sequence: _mat(path)}
        else:
            tracker = path.name.removesuffix(".gz").removesuffix(".json")
            entries = _by_sequence(_json(path), tracker)
            if tracker in entries and len(entries) == 1:  # a file a sequence, in the folder of a tracker
                tracker = path.resolve().parent.name
        return _results(re.sub(r"_(OPE|TRE|SRE)$", "", tracker) or "unnamed", entries, path)
    except JtrackError as error:
        raise error if str(path) in str(error) else JtrackError(f"{path}: {error}") from error
    except (*_MALFORMED, matlab.Damaged) as error:
        raise JtrackError(f"{path} does not hold {what} ({error or type(error).__name__})") from error


def _json(path: Path) -> Any:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise JtrackError(f"{path} unpacks to more than {_LARGEST >> 20} MiB: it is not a file of boxes")
    return json.loads(data)


def _by_sequence(content: Any, stem: str) -> dict[str, Any]:
    """{sequence: entries} of both forms of JSON."""
    if isinstance(content, list):
        return {content[0].get("seqName", stem): content}
    return dict(content.items())


def _mat(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise JtrackError(f"{path} has more than {_LARGEST >> 20} MiB: it is not a file of boxes")
    if matlab.is_hdf5(path):
        found = matlab.hdf5_variable(path, "results", _LARGEST)
    else:
        found = next((value for name, value in matlab.variables(path, _LARGEST) if name == "results"), None)
    if found is None:
        raise matlab.Damaged("it has no variable `results`")
    return found


def _results(tracker: str, entries: Mapping[str, Any], path: Path) -> Results:
    lists = {check_name(name, path): _entries(trials) for name, trials in entries.items()}
    protocols = {_protocol(trials) for trials in lists.values()}
    if len(protocols) != 1:
        raise ValueError("the sequences are of several protocols" if protocols else "there is no sequence")
    trajectories = {name: _trajectories(trials, name) for name, trials in lists.items()}
    return Results(tracker, protocols.pop(), trajectories, label={"files": [path.name]})


def _entries(trials: Any) -> list[Mapping[str, Any]]:
    entries = [trials] if isinstance(trials, Mapping) else list(trials)
    entries = [entry for entry in entries if not isinstance(entry, np.ndarray)]  # trials that were not run
    if not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError("a sequence has no boxes")
    return entries


def _protocol(entries: Sequence[Mapping[str, Any]]) -> str:
    """As the entries say, or else by what distinguishes them."""
    said = str(entries[0].get("evalType")).lower()
    if said in _PROTOCOLS:
        return said
    if any(isinstance(entry.get("shiftType"), str) for entry in entries):
        return "sre"
    return "ope" if len(entries) == 1 else "tre"


def _trajectories(entries: Sequence[Mapping[str, Any]], name: str) -> list[Trajectory]:
    try:
        found = [_boxes(entry) for entry in entries]
    except JtrackError as error:
        raise JtrackError(f"{name}: {error}") from error
    # Every segment of TRE runs to the end of the sequence, and the first has all of it.
    longest = max(map(len, found)) if _protocol(entries) == "tre" else 0
    return [
        layouts.tracked(rows, _seconds(entry, rows), start=max(0, longest - len(rows)))
        for entry, rows in zip(entries, found, strict=True)
    ]


def _boxes(entry: Mapping[str, Any]) -> np.ndarray:
    kind, rows = entry.get("type") or entry.get("resType"), np.array(entry["res"], np.float64)
    if not kind and "transformType" in entry:  # an older form, transposed
        kind, rows = entry["transformType"], rows.T
    found = region_types.boxes(str(kind or "rect"), rows, entry.get("tmplsize")) - ORIGIN
    length = _number(entry.get("len"))
    if length and length > len(found):
        raise JtrackError(f"it shall have {length:.0f} boxes (len) but has {len(found)}: it is cut short")
    return found[: int(length)] if length else found


def _seconds(entry: Mapping[str, Any], rows: np.ndarray) -> np.ndarray | None:
    fps = _number(entry.get("fps"))
    return np.full(len(rows), 1 / fps) if fps else None


def _number(value: Any) -> float | None:
    """A positive finite number in any of the forms of the files; None for anything else."""
    try:
        number = float(np.asarray(value, np.float64).item())
    except (TypeError, ValueError):
        return None
    return number if 0 < number < np.inf else None
