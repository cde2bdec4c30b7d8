"""A run in one small file that can be committed: raw boxes, scores and times of every trial.

    ledger.keep("results/hcft-default-hog-0123456789ab", "docs/runs", commit="...", command="jtrack eval ...")
    ledger.restore("docs/runs/hcft-default-hog-0123456789ab.run.json.gz", "results")

A ledger's file is JSON, compressed: what `run.json` says, with `commit` and `command`; then `trials`
{protocol: {sequence: [trial, ...]}}. A trial has the frame it `start`s from, its `machine`, a digit of
`status` a frame, `boxes` and `scores` in the digits of their `dtype`, `lost` and `learnt` (0 or 1 a frame)
and `seconds` (to a tenth of a millisecond); null stands for what is not known. Boxes and scores are read back
to the last bit. Files of runs of layout 2 have no `learnt`. Response maps are not kept in a ledger.
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import results
from jtrack.benchmark.protocol import Trial
from jtrack.benchmark.results import Results, Store, Trajectory
from jtrack.errors import JtrackError
from jtrack.untrusted import json_of, reading, regular_file
from jtrack.whole import write_whole

SUFFIX = ".run.json.gz"
_DTYPES: dict[str, type[np.floating]] = {"float32": np.float32, "float64": np.float64}
_LARGEST = 1 << 28  # bytes, unpacked: a hundred runs of OTB-100


def keep(run: str | Path, folder: str | Path, *, commit: str, command: str) -> Path:
    """Writes a run's folder into the ledger. A file of the same run is replaced; who made it stays.

    Args:
      run: the folder of a run. If it is still in work, what is there is kept.
      folder: the ledger's.
      commit: of the code that made the run, unless its `run.json` or its file in the ledger names one.
      command: that made the run, unless these name one.

    Returns:
      The file.

    Raises:
      JtrackError: the run, or its file in the ledger, cannot be read, or the file cannot be written.
    """
    run, folder = Path(run), Path(folder)
    path = folder / (run.name + SUFFIX)
    trials: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for found in results.load(run):
        trials[found.protocol] = {
            name: [_packed(trial) for trial in done] for name, done in found.trajectories.items()
        }
    made = {"commit": commit, "command": command}
    for earlier in read(path)[:1] if path.exists() else ():
        made |= {key: earlier.label[key] for key in made if key in earlier.label}
    content = made | results.read_label(run) | {"trials": trials}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without a time in its head, the same run gives the same file.
        write_whole(path, gzip.compress(json.dumps(content).encode(), 9, mtime=0))
    except OSError as error:
        raise JtrackError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def read(path: str | Path) -> list[Results]:
    """Reads a file of the ledger.

    Returns:
      One `Results` a protocol.

    Raises:
      JtrackError: it is damaged, too large, or something else.
    """
    path = Path(path)
    with reading(str(path), "get it again", fault="is not a run of a ledger"):
        with gzip.open(regular_file(path)) as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST >> 20} MiB")
        label = results.check_label(json_of(data))
        trials = label.pop("trials")
        if not re.fullmatch("[0-9a-f]{12}", label["digest"]):
            raise ValueError("it has no digest")
        try:
            found = [_results(label, protocol, of) for protocol, of in trials.items()]
        except JtrackError as error:
            raise ValueError(str(error)) from error  # it does not name the file
    return found


def restore(path: str | Path, folder: str | Path) -> Path:
    """Makes the folder of a run from its file, so that `jtrack eval` continues the run.

    Args:
      path: the file.
      folder: the results folder. Trials that are in the run's folder already stay as they are.

    Returns:
      The run's folder.

    Raises:
      JtrackError: the file is damaged, or the folder cannot be written.
    """
    path = Path(path)
    kept = read(path)
    run = Path(folder) / path.name.removesuffix(SUFFIX)
    try:
        run.mkdir(parents=True, exist_ok=True)
        if kept and not results.is_run(run):
            # Its trials are written as this jtrack writes them.
            layout = {"version": max(kept[0].label["version"], results.VERSION)}
            write_whole(run / "run.json", json.dumps({**kept[0].label, **layout}, indent=1) + "\n")
    except OSError as error:
        raise JtrackError(f"cannot write {run}: {error.strerror or error}") from None
    for found in kept:
        rules = protocols.load(found.protocol)
        for name, done in found.trajectories.items():
            for number, trial in enumerate(done):
                end = trial.start + len(trial.boxes)
                place = Trial(name, number, trial.start, end, trial.boxes[0], 0)
                store = Store(run, trial.machine)
                if store.read(rules, place) is None:
                    store.write(rules, place, trial)
    return run


def _results(label: Mapping[str, Any], protocol: str, of: Mapping[str, Any]) -> Results:
    """The results under one protocol of a file."""
    trajectories = {
        results.check_name(name, "a ledger"): [_unpacked(trial) for trial in trials]
        for name, trials in of.items()
    }
    name = protocols.load(protocol).name
    machines = label.get("machines", ())
    return Results(
        str(label.get("tracker")), name, trajectories, label.get("profile"), label, machines=machines
    )


def _packed(done: Trajectory) -> dict[str, Any]:
    columns = [done.boxes] if done.scores is None else [done.boxes, done.scores]
    single = all(np.array_equal(c, np.float32(c), equal_nan=True) for c in columns)
    kind = np.float32 if single else np.float64
    return {
        "start": done.start,
        "machine": done.machine,
        "dtype": kind.__name__,
        "status": "".join(map(str, done.status.tolist())),
        "boxes": [_numbers(row, kind) for row in done.boxes],
        "scores": None if done.scores is None else _numbers(done.scores, kind),
        "lost": _marks(done.lost),
        "learnt": _marks(done.learnt),
        "seconds": None if done.seconds is None else _numbers(np.round(done.seconds, 4), np.float64),
    }


def _marks(values: np.ndarray | None) -> str | None:
    """Yes or no a frame, a digit each."""
    return None if values is None else "".join("01"[int(mark)] for mark in values)


def _numbers(values: np.ndarray, kind: type[np.floating]) -> list[float | None]:
    """Numbers in the digits that a dtype needs; None for NaN."""
    return [None if np.isnan(value) else float(str(kind(value))) for value in values]


def _unpacked(trial: Mapping[str, Any]) -> Trajectory:
    status = np.array(list(trial["status"]), np.uint8)
    lost, seconds, learnt = trial["lost"], trial["seconds"], trial.get("learnt")
    kind = _DTYPES[trial["dtype"]]
    boxes = np.stack([_array(row, kind) for row in trial["boxes"]])
    machine = trial["machine"]
    if boxes.shape != (len(status), 4) or (status > results.SKIPPED).any() or type(trial["start"]) is not int:
        raise ValueError("a trial's rows do not belong together")
    columns = (trial["scores"], lost, seconds, learnt)
    if any(column is not None and len(column) != len(status) for column in columns):
        raise ValueError("a trial's columns do not belong together")
    if machine is not None and not (type(machine) is int and 0 <= machine < 2**31):
        raise ValueError(f"a trial's machine is {str(machine)[:40]!r}")
    done = Trajectory(
        boxes,
        status,
        trial["start"],
        None if seconds is None else _array(seconds),
        None if trial["scores"] is None else _array(trial["scores"], kind),
        None if lost is None else np.array(list(lost)) == "1",
        machine=machine,
        learnt=None if learnt is None else np.array(list(learnt)) == "1",
    )
    return results.possible(done, "a trial")


def _array(values: Iterable[float | None], kind: type[np.floating] = np.float64) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], kind).astype(np.float64)
