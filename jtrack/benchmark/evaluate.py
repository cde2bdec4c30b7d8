"""Runs a tracker over the sequences of a dataset by a protocol, and keeps what it does.

    dataset = jtrack.data.open_dataset("otb", root, subset="cvpr13")
    tracker = adapters.evaluated("hcft", backbone="googlenet")
    evaluate(tracker, dataset, protocol.load("ope"), "results")

What is kept already is not run again, and a sequence that fails does not keep the others from being run. Any
number of processes may work on the same results at once: each sequence is run by one of them.

`evaluate_all` runs several, such as the settings of a sweep; those that differ in numbers alone are lanes of
one compiled program.
"""

import datetime
import functools
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Several
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple
from typing import Protocol as Protocols

import cv2
import jax
import numpy as np

from jtrack import data
from jtrack.benchmark import machine, vot_measures
from jtrack.benchmark.adapters import EvaluatedTracker
from jtrack.benchmark.protocol import Protocol, Trial, begun_with, noisy, shown, trials
from jtrack.benchmark.response_maps import Small, gathered, small
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, Trajectory, open_store
from jtrack.benchmark.shards import Shard
from jtrack.benchmark.trials_in_lanes import Parcel, Task, run_in_lanes
from jtrack.checks import there
from jtrack.data import Annotation, Dataset, FrameSource, Sequence
from jtrack.data.decode import pyav
from jtrack.data.folder import is_image
from jtrack.data.identity import digest
from jtrack.data.otb import omitted
from jtrack.errors import JtrackError
from jtrack.run.engine import shared_canvas
from jtrack.run.lane_memory import fitting_lanes
from jtrack.run.mesh import mesh_of
from jtrack.run.stream import make_tracker


class Progress(NamedTuple):
    """How far an evaluation is."""

    sequence: str  # the one in work; with lanes, how many are
    frames: int  # done of those that were to do when it began
    total: int


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to."""

    folder: Path  # of the run
    made: int  # trials run now
    kept: int  # trials that were there before
    failures: Mapping[str, Path]  # sequence -> the file that says why
    lanes: int = 1  # how many trials ran at once
    missing: tuple[str, ...] = ()  # sequences of other shards that lack trials
    frames: int = field(default=0, compare=False)  # that were tracked now
    # That it took, with compilation, reading and writing.
    seconds: float = field(default=0.0, compare=False)

    @property
    def rate(self) -> float | None:
        """Frames a second of the whole run, those of all lanes counted; None where nothing was tracked."""
        return self.frames / self.seconds if self.frames else None

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} sequences failed" if self.failures else ""
        return f"Evaluation({self.made} trials run, {self.kept} kept{failed}, in {str(self.folder)!r})"


OUTSIZED = 4  # times the larger side of the frame


type OnProgress = Callable[[Progress], object]
type Lanes = int | Literal["auto"]


def evaluate(
    evaluated: EvaluatedTracker,
    dataset: Dataset,
    protocol: Protocol,
    results: str | Path,
    *,
    repeats: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    starts: int | None = None,
    lanes: Lanes = 1,
    shard: Shard | None = None,
    claims: str = "lock",
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
      starts: only the first so many trials of each sequence.
      lanes: how many trials run at once, in one compiled step, shared out over all local devices: for
        accelerators and trackers of jtrack. They are not timed. Each is kept as it ends. "auto" takes as many
        as fit the devices' memory; on a CPU, one.
      shard: only this part of the sequences; None for all. The run is the same one, whichever part is run.
      claims: how processes that share the results agree who runs what: "lock", or "lease" where the locks of
        a network disk do not hold between machines (`results.Store`).
      on_progress: called after every frame; with lanes, after every few.

    Raises:
      JtrackError: results that cannot be written, an option that does not fit. What goes wrong with a single
        sequence is kept as its failure.
    """
    [only] = evaluate_all(
        [evaluated],
        dataset,
        protocol,
        results,
        repeats=repeats,
        seed=seed,
        limit=limit,
        starts=starts,
        lanes=lanes,
        shard=shard,
        claims=claims,
        on_progress=on_progress,
    )
    return only


def evaluate_all(
    trackers: Several[EvaluatedTracker],
    dataset: Dataset,
    protocol: Protocol,
    results: str | Path,
    *,
    repeats: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    starts: int | None = None,
    lanes: Lanes = 1,
    shard: Shard | None = None,
    claims: str = "lock",
    on_progress: OnProgress = lambda _: None,
    executor: "Executor | None" = None,
) -> list[Evaluation]:
    """Runs several trackers, or settings of one; each comes to what `evaluate` makes of it alone.

    With lanes, those that differ in hyper-parameters alone share one compiled program, and each video is
    decoded once for them. Others run one after another.

    Args:
      trackers: what to run, no two of the same label.
      dataset: as of `evaluate`.
      protocol: as of `evaluate`.
      results: as of `evaluate`.
      repeats: as of `evaluate`.
      seed: as of `evaluate`.
      limit: as of `evaluate`.
      starts: as of `evaluate`.
      lanes: as of `evaluate`; of all trackers together.
      shard: as of `evaluate`.
      claims: as of `evaluate`.
      on_progress: as of `evaluate`; counts the frames of all trackers.
      executor: what runs the trials; None for this process.

    Returns:
      What each came to; its `seconds` are those of all together.

    Raises:
      JtrackError: as of `evaluate`.
    """
    counts = {"repeats": repeats, "frames of a trial": limit, "starts": starts, "lanes": lanes}
    for what, number in counts.items():
        if isinstance(number, int) and number < 1:
            raise JtrackError(f"the number of {what} is {number}: give 1 or more")
    if not 0 <= seed < 2**31:
        raise JtrackError(f"the seed is {seed}: give 0 to {2**31 - 1}")
    executor = executor or Here()
    lanes = executor.lanes(lanes, trackers)
    contents, decoders = described(dataset)
    label = decoders | {"dataset": dataset.kind, "seed": seed, "limit_frames": limit}
    about = {"root": str(dataset.root.absolute()), "list": dataset.subset}
    about |= {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}

    def begin(evaluated: EvaluatedTracker) -> Run:
        own = dict(evaluated.label) | label, dict(evaluated.about) | about
        here = executor.machine(evaluated, lanes)
        return Run(evaluated, protocol, open_store(results, *own, contents, here, claims=claims))

    work = Work(dataset, protocol, lanes, contents, repeats, seed, limit, starts)
    runs = [begin(evaluated) for evaluated in trackers]
    names = dataset.names if shard is None else shard.of(dataset.names)
    plans = [plan for name in names for plan in work.plans(name, runs)]
    meter = Meter(on_progress, sum(plan.frames for plan in plans))
    began = time.perf_counter()
    executor.run(work, plans, meter)
    seconds = time.perf_counter() - began
    others = sorted({*dataset.names} - {*names})
    return [
        Evaluation(
            run.store.folder,
            run.made,
            sum(plan.trials - len(plan.missing) for plan in plans if plan.run is run),
            run.failures,
            work.used,
            tuple(name for name in others if not work.is_done(name, run)),
            run.frames,
            seconds,
        )
        for run in runs
    ]


class Executor(Protocols):
    """What runs the trials of an evaluation."""

    def lanes(self, wanted: Lanes, trackers: Several[EvaluatedTracker]) -> Lanes:
        """How many trials will run at once, of what the user asks for."""

    def machine(self, evaluated: EvaluatedTracker, lanes: Lanes) -> Mapping[str, Any] | None:
        """What is noted of the machine that runs a tracker's trials; None where each trial says it itself."""

    def run(self, work: "Work", plans: Several["Plan"], meter: "Meter") -> None:
        """Runs what is missing. What fails is kept as a failure of its sequence."""


class Here:
    """Runs trials in this process."""

    def lanes(self, wanted: Lanes, trackers: Several[EvaluatedTracker]) -> Lanes:
        """As of `Executor`.

        Raises:
          JtrackError: several lanes, of a tracker that cannot run in them or whose response maps are kept.
        """
        other = next((evaluated for evaluated in trackers if evaluated.bound is None), None)
        alone = next((evaluated for evaluated in trackers if evaluated.keeps_maps), None)
        if wanted == "auto" and (other or alone or mesh_of().devices.flat[0].platform == "cpu"):
            return 1
        if wanted != 1 and other:
            raise JtrackError(
                f"{other.label['tracker']} is not a tracker of jtrack: it runs in one lane only"
            )
        if wanted != 1 and alone:
            raise JtrackError(
                f"the response maps of {alone.label['tracker']} are to be kept, which is for one lane only: "
                "leave out --lanes or --keep-maps"
            )
        return wanted

    def machine(self, evaluated: EvaluatedTracker, lanes: Lanes) -> Mapping[str, Any]:
        """As of `Executor`."""
        return machine.describe(lanes=lanes, jax_device=evaluated.bound is not None)

    def run(self, work: "Work", plans: Several["Plan"], meter: "Meter") -> None:
        """As of `Executor`."""
        lanes = work.lanes
        due = [plan for plan in plans if plan.missing]
        in_lanes = [plan for plan in due if lanes != 1 and not plan.outsized]
        due = [plan for plan in due if lanes == 1 or plan.outsized]
        waiting = [
            plan for group in _grouped(in_lanes) for plan in work.run_in_lanes(group, meter, wait=False)
        ]
        due = [plan for plan in due if not work.run(plan, meter, wait=False)]
        # Then what others had in work: one at a time, so that none is held while another is waited for.
        for plan in waiting:
            work.run_in_lanes([[plan]], meter, wait=True)
        for plan in due:
            work.run(plan, meter, wait=True)


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
    lost, learnt = np.full((2, length), np.nan)
    responses: list[Small | None] = [None] * length
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
        boxes[frame], scores[frame], lost[frame], learnt[frame] = box, 1, 0, 0
        on_frame()

    def step(frame: int) -> bool:
        image = image_of(frame)
        began = time.perf_counter()
        said = session.update(image)
        seconds[frame] = time.perf_counter() - began
        boxes[frame], scores[frame], lost[frame] = said.box, _known(said.score), _known(said.lost)
        learnt[frame] = _known(said.learnt)
        responses[frame] = None if said.response is None else small(said.response)
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
    maps = gathered(responses)
    return Trajectory(
        boxes,
        status,
        trial.start,
        None if evaluated.keeps_maps else seconds,  # fetching maps takes time that the tracker does not need
        None if np.isnan(scores[unknown]).all() else scores,
        None if np.isnan(lost[unknown]).all() else lost > 0,
        learnt=None if np.isnan(learnt[unknown]).all() else learnt > 0,
        maps=None if maps is None else functools.partial(there, maps),
    )


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


def _grouped(plans: list[Plan]) -> list[list[Video]]:
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


def _frames(source: FrameSource, protocol: Protocol, trial: Trial) -> Iterator[np.ndarray]:
    """The frames of a trial, as the protocol shows them."""
    source = shown(protocol, source)
    if source.pick is not None:  # then what is before the trial need not be read
        last = trial.end if source.length is None else min(trial.end, source.length)
        return map(source.pick, range(trial.start, last))
    return islice(source, trial.start, trial.end)


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


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)
