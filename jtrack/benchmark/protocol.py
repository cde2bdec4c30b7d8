"""Protocols of evaluation, each a small file of data in `protocols/`."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Protocol:
    """How a benchmark runs a tracker and pools what comes out. The fields are those of its file."""

    name: str  # "ope"
    title: str  # "one-pass evaluation"
    source: str  # the paper, and the toolkit it was checked against
    measures: Literal["otb", "vot", "got"]  # which measures it is scored by
    pooling: Literal["sequences", "frames"]  # whether the trials of a sequence count once or by their frames
    segments: int = 1  # starts spread over the sequence (TRE)
    shifts: tuple[tuple[float, float], ...] = ()  # of the first box, in its width and height (SRE)
    scales: tuple[float, ...] = ()  # of the first box about its centre (SRE)
    noise: float = 0.0  # each side of a first box is moved at random by at most this part of its size
    greyscale: bool = False  # frames are turned grey
    restart_after: int | None = None  # frames from a failure to the next start; None: never restarted
    burn_in: int = 0  # frames after a start that do not count in accuracy
    repetitions: int = 1  # trials of a tracker that draws random numbers


class Trial(NamedTuple):
    """One trial of a sequence: frames [start, end), from a first box."""

    sequence: str
    number: int  # among the trials of the sequence, from 0
    start: int
    end: int
    box: np.ndarray  # [4] x, y, w, h, 0-based
    seed: int
