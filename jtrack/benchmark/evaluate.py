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
import time
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from typing import Protocol as Protocols

from jtrack.benchmark import machine
from jtrack.benchmark.adapters import EvaluatedTracker
from jtrack.benchmark.protocol import Protocol
from jtrack.benchmark.results import open_store
from jtrack.benchmark.shards import Shard
from jtrack.benchmark.work import Lanes, Meter, OnProgress, Plan, Run, Work, described, grouped
from jtrack.data import Dataset
from jtrack.errors import JtrackError
from jtrack.run.mesh import mesh_of


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

    def run(self, work: Work, plans: Several[Plan], meter: Meter) -> None:
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

    def run(self, work: Work, plans: Several[Plan], meter: Meter) -> None:
        """As of `Executor`."""
        lanes = work.lanes
        due = [plan for plan in plans if plan.missing]
        in_lanes = [plan for plan in due if lanes != 1 and not plan.outsized]
        due = [plan for plan in due if lanes == 1 or plan.outsized]
        waiting = [
            plan for group in grouped(in_lanes) for plan in work.run_in_lanes(group, meter, wait=False)
        ]
        due = [plan for plan in due if not work.run(plan, meter, wait=False)]
        # Then what others had in work: one at a time, so that none is held while another is waited for.
        for plan in waiting:
            work.run_in_lanes([[plan]], meter, wait=True)
        for plan in due:
            work.run(plan, meter, wait=True)
