"""Runs a tracker over the sequences of a dataset by a protocol, and keeps what it does.

    dataset = jtrack.data.open_dataset("otb", root, subset="cvpr13")
    tracker = adapters.evaluated("hcft", backbone="googlenet")
    evaluate(tracker, dataset, protocol.load("ope"), "results")

What is kept already is not run again, and a sequence that fails does not keep the others from being run. Any
number of processes may work on the same results at once: each sequence is run by one of them.
"""

import datetime
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from jtrack import data
from jtrack.benchmark import machine, vot_measures
from jtrack.benchmark.adapters import EvaluatedTracker
from jtrack.benchmark.protocol import Protocol, Trial, noisy, trials
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Store, Trajectory, open_store
from jtrack.data import Annotation, Dataset, FrameSource, Sequence
from jtrack.data.decode import pyav
from jtrack.data.folder import is_image
from jtrack.data.identity import digest
from jtrack.data.otb import omitted
from jtrack.errors import JtrackError
from jtrack.run.batch import track_batch
from jtrack.run.inputs import canvas_of


class Progress(NamedTuple):
    """How far an evaluation is."""

    sequence: str  # the one in work
    frames: int  # done of those that were to do when it began
    total: int


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to."""

    folder: Path  # of the run
    made: int  # trials run now
    kept: int  # trials that were there before
    failures: Mapping[str, Path]  # sequence -> the file that says why

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} sequences failed" if self.failures else ""
        return f"Evaluation({self.made} trials run, {self.kept} kept{failed}, in {str(self.folder)!r})"


type OnProgress = Callable[[Progress], object]


def evaluate(
    evaluated: EvaluatedTracker,
    dataset: Dataset,
    protocol: Protocol,
    results: str | Path,
    *,
    repeats: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    lanes: int = 1,
    on_progress: OnProgress = lambda _: None,
) -> Evaluation:
    """Runs a tracker on what is not there yet of a dataset.

    A frame's time is that of the tracker's own work, from the decoded image to the box, as the kits of OTB
    and GOT-10k take it. What is compiled is compiled before, and not counted.

    Args:
      evaluated: the tracker; see `adapters.evaluated`.
      dataset: the sequences.
      protocol: how they are run.
      results: the folder for all results; this run's is made in it, named by the tracker and a digest of all
        that shapes its numbers: tracker, weights, code, versions, and what the sequences consist of.
      repeats: how often each start is tried; None for the protocol's number, or once where neither tracker
        nor protocol draws random numbers.
      seed: of the first repetition; the next ones count up.
      limit: only so many frames of each trial.
      lanes: how many trials run at once, in one vmapped step: for an accelerator, a tracker of jtrack and a
        protocol without restarts. They are not timed, and those in work at once are lost together.
      on_progress: called after every frame; with lanes, after they have ended.

    Raises:
      JtrackError: results that cannot be written, an option that does not fit. What goes wrong with a single
        sequence is kept as its failure.
    """
    for what, number in (("repeats", repeats), ("frames of a trial", limit), ("lanes", lanes)):
        if number is not None and number < 1:
            raise JtrackError(f"the number of {what} is {number}: give 1 or more")
    if not 0 <= seed < 2**31:
        raise JtrackError(f"the seed is {seed}: give 0 to {2**31 - 1}")
    if lanes > 1:
        _check_lanes(evaluated, protocol)
    if repeats is None and evaluated.deterministic and not protocol.noise:
        repeats = 1
    label = dict(evaluated.label) | {"dataset": dataset.kind, "seed": seed, "limit_frames": limit}
    contents, decoders = _data(dataset)
    label |= decoders
    about = {"root": str(dataset.root.absolute()), "list": dataset.subset}
    about |= {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    here = machine.describe(lanes=lanes, jax_device=evaluated.bound is not None)
    store = open_store(results, label, dict(evaluated.about) | about, contents, here)
    work = _Work(evaluated, dataset, protocol, store, lanes)
    plans = [plan for name in dataset.names if (plan := work.plan(name, repeats, seed, limit))]
    meter = _Meter(on_progress, sum(plan.frames for plan in plans))
    groups = _grouped([plan for plan in plans if plan.missing], lanes)
    for wait in (False, True):
        groups = [[plan] for group in groups for plan in work.run(group, meter, wait=wait)]
    kept = sum(plan.trials - len(plan.missing) for plan in plans)
    return Evaluation(store.folder, work.made, kept, work.failures)


def run_trial(
    evaluated: EvaluatedTracker,
    sequence: Sequence,
    protocol: Protocol,
    trial: Trial,
    on_frame: Callable[[], object] = lambda: None,
) -> Trajectory:
    """Runs one trial, restarting the tracker after failures where the protocol says so.

    Args:
      evaluated: the tracker.
      sequence: the trial's.
      protocol: the trial's.
      trial: what to run.
      on_frame: called after every frame that is tracked.

    Raises:
      JtrackError: the frames end before the trial does, or cannot be read; a box that cannot be tracked.
    """
    session = evaluated.start(trial.seed)
    truth = vot_measures.ground_truth(sequence)
    length = trial.end - trial.start
    boxes, scores, seconds = np.full((length, 4), np.nan), np.full(length, np.nan), np.full(length, np.nan)
    lost = np.full(length, np.nan)
    ahead = data.prefetch(_frames(sequence.frames, protocol, trial))

    def image_of(frame: int) -> np.ndarray:
        for index, image in images:
            if index == frame:
                return image
        raise JtrackError(f"{sequence.name} has ended before frame {trial.start + frame}, which is annotated")

    def start(frame: int) -> None:
        image, at = image_of(frame), trial.start + frame
        box = noisy(protocol, trial, at, sequence.boxes[at]) if frame else trial.box
        session.prepare(image, box)
        began = time.perf_counter()
        session.init(image, box)
        seconds[frame] = time.perf_counter() - began
        boxes[frame], scores[frame], lost[frame] = box, 1, 0
        on_frame()

    def step(frame: int) -> bool:
        image = image_of(frame)
        began = time.perf_counter()
        said = session.update(image)
        seconds[frame] = time.perf_counter() - began
        boxes[frame], scores[frame], lost[frame] = said.box, _known(said.score), _known(said.lost)
        on_frame()
        at = trial.start + frame
        return protocol.restart_after is not None and vot_measures.failed(
            said.box, truth[at], sequence.frames.size
        )

    with closing(ahead):
        images = enumerate(ahead)
        status = vot_measures.supervise(length, start, step, restart_after=protocol.restart_after)
    boxes[np.isin(status, (FAILED, SKIPPED))] = np.nan
    unknown = status != INITIALISED
    return Trajectory(
        boxes,
        status,
        trial.start,
        seconds,
        None if np.isnan(scores[unknown]).all() else scores,
        None if np.isnan(lost[unknown]).all() else lost > 0,
    )


class _Plan(NamedTuple):
    """What is to do of a sequence."""

    name: str
    trials: int
    missing: list[Trial]  # when the evaluation began
    canvas: tuple[int, int]

    @property
    def frames(self) -> int:
        return sum(trial.end - trial.start for trial in self.missing)


@dataclass
class _Meter:
    """Counts the frames that are done."""

    on_progress: OnProgress
    total: int
    before: int = 0  # frames of the sequences that have ended

    def tell(self, name: str, frames: int) -> None:
        self.on_progress(Progress(name, min(self.before + frames, self.total), self.total))

    def end(self, plans: list[_Plan]) -> None:
        self.before += sum(plan.frames for plan in plans)
        for plan in plans:
            self.tell(plan.name, 0)


@dataclass
class _Work:
    """An evaluation in work."""

    evaluated: EvaluatedTracker
    dataset: Dataset
    protocol: Protocol
    store: Store
    lanes: int
    made: int = 0
    failures: dict[str, Path] = field(default_factory=dict)

    def plan(self, name: str, repeats: int | None, seed: int, limit: int | None) -> _Plan | None:
        """What is to do of a sequence; None where that cannot be known."""
        try:
            annotation = self._annotation(name)
            away = omitted(name) if self.dataset.kind in ("otb", "tfds") else ()  # packed or not
            found = trials(self.protocol, annotation, repeats=repeats, seed=seed, limit=limit, omitted=away)
            missing = [trial for trial in found if self.store.read(self.protocol, trial) is None]
        except Exception:
            self._fail(name)
            return None
        return _Plan(name, len(found), missing, canvas_of(annotation.size or (0, 0)))

    def run(self, plans: list[_Plan], meter: _Meter, *, wait: bool) -> list[_Plan]:
        """Runs sequences that no other process has in work, and returns the others."""
        with ExitStack() as locks:
            held = [locks.enter_context(self.store.lock(self.protocol, p.name, wait=wait)) for p in plans]
            mine = list(compress(plans, held))
            try:
                for trial, done in self._track(mine, meter):
                    self.store.write(self.protocol, trial, done)
                    self.made += 1
            except Exception:
                if len(mine) > 1:  # it is not known whose failure it is: alone, each will say
                    return plans
                self._fail(mine[0].name)
            meter.end(mine)
        return [plan for plan, taken in zip(plans, held, strict=True) if not taken]

    def _track(self, plans: list[_Plan], meter: _Meter) -> Iterator[tuple[Trial, Trajectory]]:
        """Tracks what is still missing of sequences that are held."""
        jobs = []
        for plan in plans:
            sequence = self.dataset.sequence(plan.name)
            missing = [trial for trial in plan.missing if self.store.read(self.protocol, trial) is None]
            jobs += [(sequence, trial) for trial in missing]
        if self.lanes > 1:
            yield from _run_lanes(self.evaluated, self.protocol, jobs, self.lanes)
            return
        frames = 0
        for sequence, trial in jobs:

            def count(name: str = sequence.name) -> None:
                nonlocal frames
                frames += 1
                meter.tell(name, frames)

            yield trial, run_trial(self.evaluated, sequence, self.protocol, trial, count)

    def _annotation(self, name: str) -> Annotation:
        """The annotation, with the size of the frames, or their number, where one is needed."""
        annotation = self.dataset.annotation(name)
        unsized = annotation.size is None and (self.lanes > 1 or not self.protocol.starts_once)
        return self.dataset.sequence(name) if unsized or len(annotation.boxes) == 1 else annotation

    def _fail(self, name: str) -> None:
        self.failures[name] = self.store.fail(self.protocol, name, traceback.format_exc())


def _run_lanes(
    evaluated: EvaluatedTracker, protocol: Protocol, jobs: list[tuple[Sequence, Trial]], lanes: int
) -> Iterator[tuple[Trial, Trajectory]]:
    """Runs trials as lanes of one step; those of one seed together."""
    assert evaluated.bound is not None
    for seed in sorted({trial.seed for _, trial in jobs}):
        mine = [(sequence, trial) for sequence, trial in jobs if trial.seed == seed]
        sources = [(_cut(sequence.frames, protocol, trial), trial.box) for sequence, trial in mine]
        tracks = track_batch(sources, tracker=evaluated.bound, seed=seed, lanes=lanes)
        for (sequence, trial), track in zip(mine, tracks, strict=True):
            if track.stopped or len(track.boxes) < trial.end - trial.start:
                reason = track.stopped or f"its frames end after {len(track.boxes)}"
                raise JtrackError(f"{sequence.name} was not tracked to its end: {reason}")
            status = np.full(len(track.boxes), TRACKED, np.uint8)
            boxes = track.boxes.astype(np.float64)
            status[0], boxes[0] = INITIALISED, trial.box
            scores = track.scores.astype(np.float64)
            yield trial, Trajectory(boxes, status, trial.start, scores=scores, lost=track.lost)


def _grouped(plans: list[_Plan], lanes: int) -> list[list[_Plan]]:
    """Sequences that are run together: as many as fill the lanes, of one canvas and of nearly one length."""
    if lanes == 1:
        return [[plan] for plan in plans]
    groups: list[list[_Plan]] = []
    filled = lanes
    for plan in sorted(plans, key=lambda plan: (plan.canvas, plan.frames)):
        if filled >= lanes or groups[-1][-1].canvas != plan.canvas:
            groups.append([])
            filled = 0
        groups[-1].append(plan)
        filled += len(plan.missing)
    return groups


def _check_lanes(evaluated: EvaluatedTracker, protocol: Protocol) -> None:
    if evaluated.bound is None:
        raise JtrackError(
            f"{evaluated.label['tracker']} is not a tracker of jtrack: it runs in one lane only"
        )
    if protocol.restart_after is not None:
        raise JtrackError(f"protocol {protocol.name} restarts the tracker: it runs in one lane only")


def _cut(source: FrameSource, protocol: Protocol, trial: Trial) -> FrameSource:
    """The frames of a trial as a source of their own."""
    length = trial.end - trial.start
    return FrameSource(source.name, source.size, length, source.fps, lambda: _frames(source, protocol, trial))


def _frames(source: FrameSource, protocol: Protocol, trial: Trial) -> Iterator[np.ndarray]:
    """The frames of a trial, as the protocol shows them."""
    images: Iterator[np.ndarray] = islice(source, trial.start, trial.end)
    if source.pick is not None:  # then what is before the trial need not be read
        images = map(source.pick, range(trial.start, trial.end))
    return map(_greyscale, images) if protocol.greyscale else images


def _greyscale(image: np.ndarray) -> np.ndarray:
    """Grey by .299 R + .587 G + .114 B, in three channels."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def _data(dataset: Dataset) -> tuple[dict[str, str], dict[str, str]]:
    """The digest of each sequence that can be opened, and the versions of what makes pixels of their files.

    Images are decoded by OpenCV. PyAV counts where a sequence is a video alone.
    """
    digests, decoders = {}, {"opencv": cv2.__version__}
    for name in dataset.names:
        with suppress(Exception):  # whatever it is, `_Work` meets it again and keeps its traceback
            sequence = dataset.sequence(name)
            digests[name] = digest(sequence)
            if not all(map(is_image, sequence.frames.files)):
                decoders["av"] = pyav().__version__
    return digests, decoders


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)
