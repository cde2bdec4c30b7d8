"""Trials of many sequences, starts, seeds and settings in lanes of one compiled tracker."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jtrack import data
from jtrack.benchmark import vot_measures
from jtrack.benchmark.protocol import Protocol, Trial, noisy, shown
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.errors import JtrackError
from jtrack.run import engine
from jtrack.run.inputs import check_boxes
from jtrack.run.schedule import Again, Job
from jtrack.types import PyTree, Tracker


class Task(NamedTuple):
    """A trial that is to be run."""

    trial: Trial
    hyper: PyTree  # the hyper-parameters that it is run with
    owner: Any  # what the caller knows it by


class Ended(NamedTuple):
    """A trial that has come to its end."""

    task: Task
    result: Trajectory | JtrackError  # why it has none


type Parcel = tuple[data.Sequence, Sequence[Task]]  # a sequence, and its trials that are to be run


def run_in_lanes(
    tracker: Tracker,
    weights: PyTree,
    protocol: Protocol,
    parcels: Iterable[Parcel],
    canvas: tuple[int, int],
    *,
    lanes: int,
    most: int | None = None,
    on_frames: Callable[[int], object] = lambda _: None,
) -> Iterator[Ended]:
    """Runs trials, each in a lane, restarting the tracker after failures where the protocol says so.

    Args:
      tracker: the functions, for all the targets.
      weights: of the network, shared by all trials.
      protocol: the trials'.
      parcels: sequences with their trials; the next is fetched when a lane is free for it.
      canvas: (height, width) that the frames of all sequences fit on.
      lanes: how many trials run at once.
      most: how many frames all sequences have, where that is known.
      on_frames: called with the number of frames that were tracked since.

    Yields:
      The trials, as they end. One that fails takes no other with it.
    """
    refused: list[Ended] = []
    at_once = engine.AT_ONCE if protocol.restart_after is None else 1
    jobs = (_jobs(protocol, *parcel, refused) for parcel in parcels)
    params = {"backbone": weights, "tracker": None}  # each job has hyper-parameters of its own
    for followed in engine.follow(
        tracker, params, jobs, canvas, lanes=lanes, at_once=at_once, most=most, on_frames=on_frames
    ):
        work: _Supervised = followed.job.name
        yield Ended(work.task, _result(work, followed))
        while refused:
            yield refused.pop()
    yield from refused


def _jobs(
    protocol: Protocol, sequence: data.Sequence, tasks: Sequence[Task], refused: list[Ended]
) -> list[Job]:
    """The jobs of a sequence; a trial whose box cannot be tracked is refused."""
    frames, found = shown(protocol, sequence.frames), []
    for task in tasks:
        trial = task.trial
        try:
            box = check_boxes(trial.box, frames.size, inside=False)
        except JtrackError as error:
            refused.append(Ended(task, error))
            continue
        work = _Supervised(protocol, sequence, task)
        after = work.after if protocol.restart_after is not None else None
        found.append(Job(frames, box, trial.start, trial.end, trial.seed, task.hyper, after, work))
    return found


@dataclass
class _Supervised:
    """A trial, and where its tracker was started."""

    protocol: Protocol
    sequence: data.Sequence
    task: Task
    starts: dict[int, np.ndarray] = field(init=False)  # by frame: the box that was given
    status: np.ndarray | None = None  # [T] once the last frame is there
    error: JtrackError | None = None

    @property
    def trial(self) -> Trial:
        return self.task.trial

    def __post_init__(self) -> None:
        self.starts = {self.trial.start: self.trial.box}
        self._truth = vot_measures.ground_truth(self.sequence)
        length = self.trial.end - self.trial.start
        self._rules = vot_measures.supervision(length, restart_after=self.protocol.restart_after)
        next(self._rules)
        self._tell(failure=False)  # the first frame is the start

    def after(self, frame: int, box: np.ndarray) -> Again | None:
        """As of `Job.after`."""
        size = self.sequence.frames.size
        following = self._tell(failure=vot_measures.failed(box, self._truth[frame], size))
        if following is None:
            return Again(self.trial.end, box)
        at, starting = following
        if not starting:
            return None
        at += self.trial.start
        given = noisy(self.protocol, self.trial, at, self.sequence.boxes[at])
        try:
            checked = check_boxes(given, size, inside=False)
        except JtrackError as error:
            self.error = error
            return Again(self.trial.end, box)
        self.starts[at] = given
        self._tell(failure=False)  # of the start
        return Again(at, checked)

    def _tell(self, *, failure: bool) -> tuple[int, bool] | None:
        """What comes after a frame; None after the last."""
        try:
            return self._rules.send(failure)
        except StopIteration as end:
            self.status = end.value
            return None


def _result(work: _Supervised, followed: engine.Followed) -> Trajectory | JtrackError:
    trial, start, length = work.trial, work.trial.start, work.trial.end - work.trial.start
    if work.error is not None:
        return work.error
    whole = len(followed.boxes) == length or work.status is not None
    if followed.stopped or not whole:
        reason = followed.stopped or f"its frames end after {start + len(followed.boxes)}"
        return JtrackError(f"{trial.sequence} was not tracked to its end: {reason}")
    status = work.status
    if status is None:  # nothing was supervised
        status = np.full(length, TRACKED, np.uint8)
        status[0] = INITIALISED
    boxes, scores, lost = np.full((length, 4), np.nan), np.full(length, np.nan), np.zeros(length, bool)
    rows = slice(len(followed.boxes))
    boxes[rows], scores[rows], lost[rows] = followed.boxes, followed.scores, followed.lost
    for frame, box in work.starts.items():
        boxes[frame - start] = box
    boxes[np.isin(status, (FAILED, SKIPPED))] = np.nan
    learnt = None
    if followed.learnt is not None:
        learnt = np.zeros(length, bool)
        learnt[rows] = followed.learnt
    return Trajectory(boxes, status, start, scores=scores, lost=lost, learnt=learnt)
