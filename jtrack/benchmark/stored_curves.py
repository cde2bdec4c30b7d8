"""The curves of 29 trackers that come with the OTB toolkit: what it stored of runs whose boxes it has not.

    for stored in stored_curves.read("otb_benchmark/curves"):
        scored = stored_curves.score(stored, otb.lists()["cvpr13"], subset="cvpr13")

A folder holds `*_overlap_OPE.mat` (also TRE, SRE) with `aveSuccessRatePlot` [trackers, sequences, 21], the
success at overlaps of 0, 0.05, ..., 1; `*_error_OPE.mat` with the same [trackers, sequences, 51], the
precision at 0, 1, ..., 50 px; both with the trackers' names, `nameTrkAll`; and `*sequence_order.json`, a list
of the sequences' names.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack import matlab
from jtrack.benchmark import metrics
from jtrack.benchmark.results import Results
from jtrack.benchmark.scoring import Scored, SequenceScore
from jtrack.data import otb
from jtrack.data.text import check_name
from jtrack.errors import JtrackError
from jtrack.untrusted import json_of, listed, read_file, reading, regular_file

_PROTOCOLS = ("ope", "tre", "sre")
_LARGEST = 32 << 20  # bytes, unpacked: thirty times the largest such file


class Stored(NamedTuple):
    """The curves of one tracker under one protocol."""

    tracker: str
    protocol: str
    success: dict[str, np.ndarray]  # sequence -> [21]
    precision: dict[str, np.ndarray]  # sequence -> [51]


def read(folder: str | Path) -> list[Stored]:
    """Reads the curves of all trackers, protocol by protocol.

    Raises:
      JtrackError: there are none, or they are damaged or do not belong together.
    """
    folder = Path(folder)
    names = _names(_only(folder, "*sequence_order.json"))
    found = []
    for protocol in _PROTOCOLS:
        files = [listed(folder, f"*_{kind}_{protocol.upper()}.mat") for kind in ("overlap", "error")]
        if not all(files):
            continue
        overlap, error = (_curves(paths[0], len(names)) for paths in files)
        for tracker in overlap:
            if tracker not in error:
                raise JtrackError(f"{folder} has no precision of {tracker} under {protocol}: get it again")
            success, precision = overlap[tracker], error[tracker]
            found.append(
                Stored(
                    tracker,
                    protocol,
                    dict(zip(names, success, strict=True)),
                    dict(zip(names, precision, strict=True)),
                )
            )
    if not found:
        raise JtrackError(f"{folder} holds no curves: wanted are *_overlap_OPE.mat and *_error_OPE.mat")
    return found


def score(stored: Stored, sequences: Iterable[str], *, subset: str) -> Scored | None:
    """Scores a tracker on those of some sequences that it has curves of: plain means over sequences.

    Curves say `auc`, `precision20`, `success50` and `success60`; no error in pixels.

    Args:
      stored: the curves of the tracker.
      sequences: names in the benchmark.
      subset: what they are called.

    Returns:
      None where there are no curves of any.
    """
    scores = {name: _score(stored, name) for name in sequences if name in stored.success}
    if not scores:
        return None
    marked = {
        attribute: tuple(name for name in scores if attribute in otb.attributes(name))
        for attribute in otb.ATTRIBUTES
    }
    marked = {attribute: members for attribute, members in marked.items() if members}
    return Scored(
        Results(stored.tracker, stored.protocol, {}),
        subset,
        scores,
        _mean(scores.values()),
        {key: np.mean([each.curves[key] for each in scores.values()], axis=0) for key in _CURVES},
        {},
        marked,
        by_attribute={
            attribute: _mean(scores[name] for name in members) for attribute, members in marked.items()
        },
    )


_CURVES = ("success", "precision")


def _score(stored: Stored, name: str) -> SequenceScore:
    success, precision = stored.success[name], stored.precision[name]
    measures = {
        "auc": metrics.auc(success),
        "precision20": float(precision[20]),
        "success50": float(success[10]),
        "success60": float(success[12]),
    }
    return SequenceScore(0, None, measures, {"success": success, "precision": precision})


def _mean(scores: Iterable[SequenceScore]) -> dict[str, float]:
    rows = [score.measures for score in scores]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _only(folder: Path, pattern: str) -> Path:
    paths = listed(folder, pattern)
    if not paths:
        raise JtrackError(f"{folder} holds no stored curves: there is no {pattern}")
    return paths[0]


def _names(path: Path) -> list[str]:
    with reading(str(path), "get it again", fault="is not a list of sequences"):
        names = json_of(read_file(path, largest=_LARGEST))
        if not isinstance(names, list) or len(set(names)) < len(names):
            raise ValueError("it is no list of different names")
        return [check_name(name, path) for name in names]


def _curves(path: Path, sequences: int) -> dict[str, np.ndarray]:
    """Tracker -> its curves [sequences, thresholds] in a file."""
    thresholds = len(metrics.OVERLAP_THRESHOLDS if "_overlap_" in path.name else metrics.ERROR_THRESHOLDS)
    with reading(str(path), "get it again", fault="holds no curves"):
        variables = dict(matlab.variables(regular_file(path, largest=_LARGEST), _LARGEST))
        names = [str(name) for name in variables["nameTrkAll"]]
        curves = np.asarray(variables["aveSuccessRatePlot"], np.float64)
        if curves.shape != (len(names), sequences, thresholds):
            raise ValueError(f"they have the shape {curves.shape}, not {(len(names), sequences, thresholds)}")
        if not ((curves >= 0) & (curves <= 1)).all():
            raise ValueError("they are no rates from 0 to 1")
        return dict(zip(names, curves, strict=True))
