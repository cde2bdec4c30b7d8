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
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jtrack import matlab
from jtrack.benchmark import layouts, region_types
from jtrack.benchmark.results import Results, Trajectory, possible
from jtrack.data.otb import ORIGIN
from jtrack.data.text import check_name
from jtrack.errors import JtrackError, unknown_name
from jtrack.untrusted import json_of, listed, reading, regular_file, warn_left_out

_SUFFIX = "_OPE.json.gz"
_LARGEST = 32 << 20  # bytes, unpacked: five times the largest such file
_MOST_SEQUENCES = 1 << 16  # the largest benchmark has some ten thousand
_DEEPEST = 2  # folders above those of trackers
_PROTOCOLS = ("ope", "tre", "sre")


def read(path: str | Path) -> list[Results]:
    """Reads all results of a file or a folder.

    A file of a folder that cannot be read costs what is in it alone, and a warning says so.

    Args:
      path: a file of one of the forms above, a folder of such files, a tracker's folder of text files, or a
        folder of such folders.

    Returns:
      One `Results` a tracker and protocol, by name.

    Raises:
      JtrackError: if there is nothing to read, or nothing but files that are damaged, too large or something
        else; or two files hold the same sequence of a tracker.
    """
    path = Path(path)
    if not path.exists():
        raise JtrackError(f"there are no results {path}: give a file or a folder of boxes")
    refused: list[JtrackError] = []
    found = list(_folder(path, 0, refused)) if path.is_dir() else [_file(path)]
    if not found and refused:
        raise refused[0]
    if not found:
        raise JtrackError(
            f"{path} holds no results: wanted are .json, .json.gz or .mat files, or a text file a sequence"
        )
    warn_left_out(refused, path)
    return sorted(found, key=lambda results: (results.tracker.lower(), results.protocol))


def trackers(folder: str | Path) -> list[str]:
    """Names of the trackers whose boxes a results folder holds as `NAME_OPE.json.gz`."""
    return [path.name.removesuffix(_SUFFIX) for path in listed(folder, "*" + _SUFFIX)]


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


def _folder(folder: Path, depth: int, refused: list[JtrackError]) -> Iterable[Results]:
    entries = listed(folder)
    tables = [
        path for path in entries if path.name.endswith((".mat", ".json", ".json.gz")) and path.is_file()
    ]
    if found := _merged(_files(tables, refused)):
        yield from found
        return
    found = layouts.read(folder, refused)
    yield from found
    if not found and depth < _DEEPEST:
        for child in entries:
            if child.is_dir() and child.name not in layouts.EXPERIMENTS:  # those have been looked at
                yield from _folder(child, depth + 1, refused)


def _files(paths: Iterable[Path], refused: list[JtrackError]) -> Iterable[Results]:
    for path in paths:
        try:
            yield _file(path)
        except JtrackError as error:
            refused.append(error)


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
    with reading(str(path), fault=f"does not hold {what}"):
        tracker, entries = _content(path)
        return _results(re.sub(r"_(OPE|TRE|SRE)$", "", tracker) or "unnamed", entries, path)


def _content(path: Path) -> tuple[str, dict[str, Any]]:
    """The tracker, as the names of file and folder say, and sequence -> entries."""
    if path.suffix == ".mat":
        sequence, _, tracker = path.stem.partition("_")
        return tracker, {sequence: _mat(path)}
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    entries = _by_sequence(_json(path), stem)
    if stem in entries and len(entries) == 1:  # a file a sequence, in the folder of a tracker
        return path.resolve().parent.name, entries
    return stem, entries


def _json(path: Path) -> Any:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(regular_file(path), "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise JtrackError(f"{path} unpacks to more than {_LARGEST >> 20} MiB: it is not a file of boxes")
    return json_of(data)


def _by_sequence(content: Any, stem: str) -> dict[str, Any]:
    """{sequence: entries} of both forms of JSON."""
    if not isinstance(content, list):
        return dict(content.items())
    found: dict[str, list[Any]] = {}
    for entry in content:
        found.setdefault(entry.get("seqName", stem), []).append(entry)
    if len(found) != 1 and (twice := [name for name, entries in found.items() if len(entries) > 1]):
        raise ValueError(f"it has several entries of {twice[0]} among other sequences")
    return dict(found) if found else {stem: content}


def _mat(path: Path) -> Any:
    regular_file(path, largest=_LARGEST)
    if matlab.is_hdf5(path):
        found = matlab.hdf5_variable(path, "results", _LARGEST)
    else:
        found = next((value for name, value in matlab.variables(path, _LARGEST) if name == "results"), None)
    if found is None:
        raise matlab.Damaged("it has no variable `results`")
    return found


def _results(tracker: str, entries: Mapping[str, Any], path: Path) -> Results:
    if len(entries) > _MOST_SEQUENCES:
        raise ValueError(f"it has {len(entries)} sequences: at most {_MOST_SEQUENCES} are read")
    lists = {check_name(name, path): _entries(trials) for name, trials in entries.items()}
    protocols = {_protocol(trials) for trials in lists.values()}
    if len(protocols) != 1:
        raise ValueError("the sequences are of several protocols" if protocols else "there is no sequence")
    trajectories = {name: _trajectories(trials, f"{path}: {name}") for name, trials in lists.items()}
    return Results(tracker, protocols.pop(), trajectories, label={"files": [path.name]})


def _entries(trials: Any) -> list[Mapping[str, Any]]:
    entries = [trials] if isinstance(trials, Mapping) else trials
    if not isinstance(entries, list):
        raise ValueError("a sequence has no boxes")
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


def _trajectories(entries: Sequence[Mapping[str, Any]], where: str) -> list[Trajectory]:
    try:
        found = [_boxes(entry) for entry in entries]
    except JtrackError as error:
        raise JtrackError(f"{where}: {error}") from error
    kind, lengths = _protocol(entries), {len(rows) for rows in found}
    told = str(entries[0].get("evalType")).lower() in _PROTOCOLS
    if len(entries) > 1 and (kind == "ope" or (kind == "tre" and not told and len(lengths) == 1)):
        raise JtrackError(f"{where}: it has {len(entries)} entries of one pass: keep one of them")
    # Every segment of TRE runs to the end of the sequence, and the first has all of it.
    longest = max(lengths) if kind == "tre" else 0
    done = [
        layouts.tracked(rows, _seconds(entry, rows), start=max(0, longest - len(rows)))
        for entry, rows in zip(entries, found, strict=True)
    ]
    return [possible(each, where) for each in done]


def _boxes(entry: Mapping[str, Any]) -> np.ndarray:
    kind, rows = entry.get("type") or entry.get("resType"), _numbers(entry["res"])
    if not kind and "transformType" in entry:  # an older form, transposed
        kind, rows = entry["transformType"], rows.T
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all numbers is refused later
        found = region_types.boxes(str(kind or "rect"), rows, entry.get("tmplsize")) - ORIGIN
    length = _number(entry.get("len"))
    if length and length > len(found):
        raise JtrackError(f"it shall have {length:.0f} boxes (len) but has {len(found)}: it is cut short")
    return found[: int(length)] if length else found


def _numbers(values: Any) -> np.ndarray:
    """Numbers as float64; None is NaN. NumPy would also take strings, with the digits of all scripts."""
    rows = np.array(values)
    if rows.dtype.kind not in "fiuO" or any(isinstance(value, str | bool) for value in _objects(rows)):
        raise ValueError("its boxes are not numbers")
    return rows.astype(np.float64)


def _objects(rows: np.ndarray) -> Iterable[Any]:
    return rows.flat if rows.dtype.kind == "O" else ()


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
