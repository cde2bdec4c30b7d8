"""What an evaluation has to do, and doing it: the trials that a run misses, each kept as it ends.

Any number of processes may have the same work: a sequence is claimed before it is run, so that each is run by
one of them.
"""

import functools
import traceback
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Several
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from typing import Protocol as Protocols

import cv2
import jax
import numpy as np

from jtrack.benchmark.adapters import EvaluatedTracker
from jtrack.benchmark.one_trial import run_trial
from jtrack.benchmark.protocol import Protocol, Trial, begun_with, trials
from jtrack.benchmark.results import Trajectory
from jtrack.benchmark.trials_in_lanes import Parcel, Task, run_in_lanes
from jtrack.checks import there
from jtrack.data import Annotation, Dataset
from jtrack.data.decode import pyav
from jtrack.data.folder import is_image
from jtrack.data.identity import digest
from jtrack.data.otb import omitted
from jtrack.errors import JtrackError
from jtrack.run.engine import shared_canvas
from jtrack.run.lane_memory import fitting_lanes
from jtrack.run.stream import make_tracker

OUTSIZED = 4  # times the larger side of the frame

type OnProgress = Callable[[Progress], object]
type Lanes = int | Literal["auto"]


class Progress(NamedTuple):
    """How far an evaluation is."""

    sequence: str  # the one in work; with lanes, how many are
    frames: int  # done of those that were to do when it began
    total: int


class Keeper(Protocols):
    """Where a run keeps its trials; `results.Store` says what each function does."""

    @property
    def folder(self) -> Path:
        """That of the run."""

    def lock(self, protocol: Protocol, sequence: str, *, wait: bool) -> AbstractContextManager[bool]:
        """Claims a sequence for this process."""

    def read(self, protocol: Protocol, trial: Trial) -> Trajectory | None:
        """What is kept of a trial."""

    def write(self, protocol: Protocol, trial: Trial, done: Trajectory) -> None:
        """Keeps a trial."""

    def fail(self, protocol: Protocol, sequence: str, traceback: str) -> Path:
        """Keeps why a sequence could not be run."""


@dataclass(eq=False)
class Run:
    """One tracker at work: where its trials are kept, and what came of them."""

    evaluated: EvaluatedTracker
    protocol: Protocol
    store: Keeper
    made: int = 0
    frames: int = 0
    failures: dict[str, Path] = field(default_factory=dict)

    @functools.cached_property
    def program(self) -> tuple[Any, ...]:
        """What is the same in all runs that one compiled program serves."""
        bound = there(self.evaluated.bound)
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(bound.params["tracker"]))
        return bound.factory, bound.backbone, bound.config, self.evaluated.label["weights"], shapes

    def missing(self, trials: Several[Trial]) -> list[Trial]:
        """Those that are not kept yet."""
        return [trial for trial in trials if self.store.read(self.protocol, trial) is None]

    def keep(self, trial: Trial, done: Trajectory) -> None:
        """Keeps what came of a trial."""
        self.store.write(self.protocol, trial, done)
        self.made += 1
        self.frames += len(done.boxes)

    def fail(self, name: str, reason: JtrackError | None = None) -> None:
        """Keeps why a sequence failed: the exception that is being handled, or one that was not raised."""
        told = traceback.format_exc() if reason is None else "".join(traceback.format_exception(reason))
        self.failures[name] = self.store.fail(self.protocol, name, told)


class Plan(NamedTuple):
    """What is to do of a sequence in a run."""

    run: Run
    name: str
    trials: int
    missing: list[Trial]  # when the evaluation began
    boxes: np.ndarray  # [N, 4] that the tracker may be begun with
    size: tuple[int, int]  # (height, width) of the frames; (0, 0) where it need not be known

    @property
    def frames(self) -> int:
        """Those that are to be tracked."""
        return sum(trial.end - trial.start for trial in self.missing)

    @property
    def outsized(self) -> bool:
        """Whether a box is so large that a program for it would burden all others with its size."""
        return bool((self.boxes[:, 2:] > OUTSIZED * max(*self.size, 1)).any())

    @property
    def longest(self) -> int:
        """Frames of the longest trial."""
        return max(trial.end - trial.start for trial in self.missing)


type Video = list[Plan]  # of several runs, of one sequence


@dataclass
class Meter:
    """Counts the frames that are done."""

    on_progress: OnProgress
    total: int
    before: int = 0  # frames of the sequences that have ended

    def tell(self, name: str, frames: int) -> None:
        """Says how many frames of the sequences in work are done."""
        self.on_progress(Progress(name, min(self.before + frames, self.total), self.total))

    def end(self, plans: Several[Plan]) -> None:
        """Counts sequences that have ended, well or not."""
        self.before += sum(plan.frames for plan in plans)
        for plan in plans:
            self.tell(plan.name, 0)


@dataclass(eq=False)
class _Working:
    """A plan whose trials are in lanes."""

    plan: Plan
    left: int  # trials
    lock: ExitStack
    reasons: list[JtrackError] = field(default_factory=list)  # of trials that failed

    def take(self, trial: Trial, result: Trajectory | JtrackError) -> bool:
        """Keeps what came of a trial; says whether it was the last."""
        if isinstance(result, JtrackError):
            self.reasons.append(result)
        else:
            self.plan.run.keep(trial, result)
        self.left -= 1
        if not self.left:  # a failure is written last: what is kept makes it forgotten
            if self.reasons:
                self.plan.run.fail(self.plan.name, self.reasons[0])
            self.lock.close()
        return not self.left


def _let_go(working: set[_Working]) -> None:
    for each in working:
        each.lock.close()


@dataclass
class Work:
    """An evaluation in work."""

    dataset: Dataset
    protocol: Protocol
    lanes: Lanes
    contents: Mapping[str, str]  # what the sequences consist of, of those that can be opened
    repeats: int | None = None
    seed: int = 0
    limit: int | None = None
    starts: int | None = None
    used: int = 1  # lanes, at most

    def plans(self, name: str, runs: Several[Run]) -> Iterator[Plan]:
        """What is to do of a sequence in each run, where that can be known."""
        annotation = functools.cache(self._annotation)
        for run in runs:
            try:
                found = self._trials(annotation(name), run)
                missing = run.missing(found)
            except Exception:
                run.fail(name)
                continue
            boxes = begun_with(self.protocol, annotation(name), missing)
            yield Plan(run, name, len(found), missing, boxes, annotation(name).size or (0, 0))

    def is_done(self, name: str, run: Run) -> bool:
        """Whether all trials of a sequence are kept, as far as that can be known; keeps no failure."""
        try:
            return not run.missing(self._trials(self._annotation(name), run))
        except Exception:  # the process that runs it says why
            return False

    def _trials(self, annotation: Annotation, run: Run) -> list[Trial]:
        once = self.repeats is None and run.evaluated.deterministic and not self.protocol.noise
        packed = self.dataset.kind in ("otb", "tfds")
        return trials(
            self.protocol,
            annotation,
            repeats=1 if once else self.repeats,
            seed=self.seed,
            limit=self.limit,
            omitted=omitted(annotation.name) if packed else (),
        )[: self.starts]

    def run(self, plan: Plan, meter: Meter, *, wait: bool) -> bool:
        """Runs a sequence in one lane, timed; says whether no other process has it in work."""
        run = plan.run
        with run.store.lock(self.protocol, plan.name, wait=wait) as mine:
            if not mine:
                return False
            frames = 0

            def count() -> None:
                nonlocal frames
                frames += 1
                meter.tell(plan.name, frames)

            try:
                sequence = self.dataset.sequence(plan.name)
                for trial in run.missing(plan.missing):
                    run.keep(trial, run_trial(run.evaluated, sequence, self.protocol, trial, count))
            except Exception:
                run.fail(plan.name)
            meter.end([plan])
        return True

    def run_in_lanes(self, videos: list[Video], meter: Meter, *, wait: bool) -> list[Plan]:
        """Runs what one program serves in lanes; returns what other processes have in work."""
        plans = [plan for video in videos for plan in video]
        bound = there(plans[0].run.evaluated.bound)
        boxes = np.concatenate([plan.boxes for plan in plans])
        sizes = np.concatenate([np.tile(plan.size, (len(plan.boxes), 1)) for plan in plans])
        config = bound.for_lanes(boxes, sizes)
        tracker = make_tracker(bound.factory, bound.backbone, config)
        canvas = shared_canvas(plans[0].size)
        lanes = fitting_lanes(tracker, bound.params, canvas) if self.lanes == "auto" else self.lanes
        self.used = max(self.used, lanes)
        others: list[Plan] = []
        working: set[_Working] = set()
        most = sum(max(trial.end for plan in video for trial in plan.missing) for video in videos)
        frames = 0

        def count(more: int) -> None:
            nonlocal frames
            frames += more
            meter.tell(f"{len({each.plan.name for each in working})} sequences", frames)

        with ExitStack() as locks:
            locks.callback(_let_go, working)
            parcels = self._parcels(videos, others, working, wait=wait)
            for task, result in run_in_lanes(
                tracker,
                bound.params["backbone"],
                self.protocol,
                parcels,
                canvas,
                lanes=lanes,
                most=most,
                on_frames=count,
            ):
                if task.owner.take(task.trial, result):
                    working.remove(task.owner)
        away = {id(plan) for plan in others}
        meter.end([plan for plan in plans if id(plan) not in away])
        return others

    def _parcels(
        self, videos: list[Video], others: list[Plan], working: set[_Working], *, wait: bool
    ) -> Iterator[Parcel]:
        """Sequences with the trials that all runs miss of them, each locked when it is asked for."""
        opened = functools.lru_cache(maxsize=1)(self.dataset.sequence)
        for video in videos:
            tasks: list[Task] = []
            for plan in video:
                with ExitStack() as lock:
                    if not lock.enter_context(plan.run.store.lock(self.protocol, plan.name, wait=wait)):
                        others.append(plan)
                        continue
                    try:
                        sequence, missing = opened(plan.name), plan.run.missing(plan.missing)
                    except Exception:
                        plan.run.fail(plan.name)
                        continue
                    if missing:
                        held = _Working(plan, len(missing), lock.pop_all())
                        working.add(held)
                        hyper = there(plan.run.evaluated.bound).params["tracker"]
                        tasks += [Task(trial, hyper, held) for trial in missing]
            if tasks:
                yield sequence, tasks

    def _annotation(self, name: str) -> Annotation:
        """The annotation, with the size of the frames, or their number, where one is needed.

        In lanes the frames' own size counts, whatever the annotation says.
        """
        if self.lanes != 1:
            return self.dataset.sequence(name)
        annotation = self.dataset.annotation(name)
        unsized = annotation.size is None and not self.protocol.starts_once
        return self.dataset.sequence(name) if unsized or len(annotation.boxes) == 1 else annotation


def grouped(plans: list[Plan]) -> list[list[Video]]:
    """What one program serves on one canvas, by videos; the longest first: short ones then fill the gaps.

    All processes have the same order, so that no two of them wait for each other's locks.
    """
    groups: dict[Any, dict[str, Video]] = {}
    for plan in sorted(plans, key=lambda plan: plan.run.store.folder):
        videos = groups.setdefault((plan.run.program, shared_canvas(plan.size)), {})
        videos.setdefault(plan.name, []).append(plan)
    return [
        sorted(videos.values(), key=lambda video: (-max(plan.longest for plan in video), video[0].name))
        for videos in groups.values()
    ]


def described(dataset: Dataset) -> tuple[dict[str, str], dict[str, str]]:
    """The digest of each sequence that can be opened, and the versions of what makes pixels of their files.

    Images are decoded by OpenCV. PyAV counts where a sequence is a video alone.
    """
    digests, decoders = {}, {"opencv": cv2.__version__}
    for name in dataset.names:
        with suppress(Exception):  # whatever it is, `Work` meets it again and keeps its traceback
            sequence = dataset.sequence(name)
            digests[name] = digest(sequence)
            if not all(map(is_image, sequence.frames.files)):
                decoders["av"] = pyav().__version__
    return digests, decoders
