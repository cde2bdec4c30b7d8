"""What a tracker did on the sequences of a benchmark: the form in which everything is stored and scored.

A run of one protocol holds one or more trajectories a sequence (segments, perturbations or repetitions); a
trajectory has a row a frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# What a row of a trajectory is. All but TRACKED have no box (NaN) but INITIALISED, which has the given one.
TRACKED, INITIALISED, FAILED, SKIPPED = range(4)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One trial: T frames of a sequence from frame `start` on. Row t belongs to frame `start + t`."""

    boxes: np.ndarray  # [T, 4] float64: x, y, w, h, 0-based, not rounded
    status: np.ndarray  # [T] uint8: TRACKED, INITIALISED, FAILED or SKIPPED
    start: int = 0  # 0-based, in the frames the protocol runs on
    seconds: np.ndarray | None = None  # [T] float64 a frame took; NaN where it was not timed
    scores: np.ndarray | None = None  # [T] float64 in [0, 1], the tracker's own
    lost: np.ndarray | None = None  # [T] bool, the tracker's own
    polygons: np.ndarray | None = None  # [T, P, 2] float64, 0-based, of a tracker that gives polygons; then
    # `boxes` are about them


@dataclass(frozen=True)
class Results:
    """The trajectories of one tracker under one protocol."""

    tracker: str  # how tables and legends call it
    protocol: str  # a name of `jtrack.benchmark.protocol`
    trajectories: Mapping[str, list[Trajectory]]  # sequence -> its trials, in their order
    profile: str | None = None
    label: Mapping[str, Any] = field(default_factory=dict)  # what `run.json` says: digest, versions, device
    failures: Mapping[str, str] = field(default_factory=dict)  # sequence -> why it has none
