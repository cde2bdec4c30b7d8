"""Which target is followed in which lane, and when: on the host, without a device.

A lane that has ended takes the next job at once, so that none waits for another's end. Jobs come in parcels,
a parcel being all jobs of one video: its frames are then decoded once, and dropped when its last job is done.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jtrack.data import FrameSource
from jtrack.types import PyTree


class Again(NamedTuple):
    """Where a target that was lost begins anew; in a frame that its job has not, the job ends."""

    frame: int
    box: np.ndarray  # [4]


class Job(NamedTuple):
    """A target to be followed through frames [start, end) of a video."""

    frames: FrameSource  # the same object for all jobs of a video
    box: np.ndarray  # [4] x, y, w, h in frame `start`
    start: int = 0
    end: int | None = None  # None: to the end of the video
    seed: int = 0  # of the tracker's randomness
    hyper: PyTree | None = None  # hyper-parameters in place of the tracker's own
    # Asked after every frame, with its number and the box [4] found in it: where to begin anew, if it failed.
    after: Callable[[int, np.ndarray], Again | None] | None = None
    name: Any = None  # what the caller knows it by


@dataclass(eq=False)
class Running:
    """A job in a lane."""

    job: Job
    lane: int
    at: int  # the next frame to be tracked
    box: np.ndarray | None  # [4] to begin with in that frame; None: the tracker has begun
    done: bool = False

    def ahead(self, count: int) -> range:
        """The next frames, at most so many."""
        end = self.at + count
        return range(self.at, end if self.job.end is None else min(end, self.job.end))

    def move(self, at: int, box: np.ndarray | None = None) -> None:
        """Goes to a frame, to begin anew there where there is a box."""
        self.at, self.box = at, box
        self.done = self.job.end is not None and at >= self.job.end


@dataclass
class Schedule:
    """Jobs in lanes: running, waiting, and still to be fetched."""

    parcels: Iterator[Sequence[Job]]
    lanes: int
    running: dict[int, Running] = field(default_factory=dict)  # by lane
    waiting: deque[Job] = field(default_factory=deque)  # of parcels that are opened

    @classmethod
    def of(cls, parcels: Iterable[Sequence[Job]], lanes: int) -> "Schedule":
        """Nothing runs yet. A parcel is fetched when a lane is free and no opened one has jobs left."""
        return cls(iter(parcels), lanes)

    def fill(self) -> list[Running]:
        """Takes ended jobs out of their lanes, and puts waiting ones into those that are free.

        Returns:
          The jobs that begin.
        """
        self.running = {lane: each for lane, each in self.running.items() if not each.done}
        begun: list[Running] = []
        for lane in range(self.lanes):
            if lane in self.running:
                continue
            while not self.waiting:
                parcel = next(self.parcels, None)
                if parcel is None:
                    return begun
                self.waiting.extend(parcel)
            job = self.waiting.popleft()
            self.running[lane] = Running(job, lane, job.start, job.box)
            begun.append(self.running[lane])
        return begun

    def needs(self) -> dict[int, list[range]]:
        """By the identity of a video: the frames that jobs in work, or waiting, have still to see."""
        found: dict[int, list[range]] = {}
        for each in self.running.values():
            if not each.done:
                found.setdefault(id(each.job.frames), []).append(_span(each.at, each.job.end))
        for job in self.waiting:
            found.setdefault(id(job.frames), []).append(_span(job.start, job.end))
        return found


def _span(start: int, end: int | None) -> range:
    return range(start, 2**62 if end is None else end)
