"""Scores of a tracker's results: per sequence, per attribute and overall, pooled as each toolkit pools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jtrack.benchmark.results import Results


class SequenceScore(NamedTuple):
    """The scores of one sequence under a protocol, its trials taken together."""

    frames: int  # scored, over all trials
    fps: float | None  # None where nothing was timed
    measures: Mapping[str, float]  # "auc", "precision20", ... or "accuracy", "failures", ...
    curves: Mapping[str, np.ndarray]  # "success" [21], "precision" [51], "normalised_precision" [51]


@dataclass(frozen=True)
class Scored:
    """The scores of one tracker."""

    results: Results
    subset: str  # the list scored: "cvpr13", or "all"
    sequences: Mapping[str, SequenceScore]
    measures: Mapping[str, float]  # overall
    curves: Mapping[str, np.ndarray]  # overall
    intervals: Mapping[str, tuple[float, float]]  # 95 % bootstrap confidence interval of each overall measure
    attributes: Mapping[str, tuple[str, ...]]  # attribute -> the sequences that have it
