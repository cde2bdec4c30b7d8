"""`jtrack eval`: a tracker over the sequences of a benchmark, by its protocol."""

import shlex
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jtrack import trackers
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import results as store
from jtrack.benchmark import scoring, shards
from jtrack.benchmark.adapters import OPENCV, EvaluatedTracker, evaluated, keeping_maps
from jtrack.benchmark.evaluate import Evaluation, Executor, evaluate_all
from jtrack.benchmark.protocol import Protocol
from jtrack.benchmark.work import Progress as Done
from jtrack.cli.options import (
    Backbone,
    Claims,
    Kind,
    Lanes,
    LimitFrames,
    NumCpus,
    NumGpus,
    On,
    Precision,
    Profile,
    ProtocolToRun,
    Repeats,
    Sequences,
    Settings,
    Shard,
    Subset,
    Weights,
    changes,
    either,
    number_of_lanes,
)
from jtrack.cli.printing import NO_NETWORK, tell
from jtrack.cli.progress import Bar, Rate
from jtrack.cli.track import prepare
from jtrack.data import Dataset, open_dataset
from jtrack.data.text import split_names
from jtrack.errors import LONGEST_LIST, LONGEST_MESSAGE, JtrackError, printable
from jtrack.weights.store import OWN

# The protocol of a dataset's own benchmark; of all others it is OTB's one pass.
DEFAULTS = {"vot": "baseline", "got": "got10k"}
# What the summary shows of a score, the first of which there are.
HEADLINES = {
    "otb": ("auc", "precision20", "success50"),
    "vot": ("accuracy", "robustness", "eao", "ao"),
    "got": ("ao", "sr50", "sr75"),
}

app = typer.Typer(add_completion=False)


@app.command("eval")
def run(
    *,
    dataset: Kind,
    results: Annotated[Path, typer.Option(help="The folder of all results.", show_default=False)],
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder; synthetic needs none.", show_default=False)
    ] = None,
    tracker: Annotated[
        str,
        typer.Option(
            help=f"A tracker of jtrack: {either(trackers.names())}; one of OpenCV: "
            f"{either([f'opencv:{name}' for name in OPENCV])}; or one of your own, whose code is run: "
            "file.py:NAME or module:NAME."
        ),
    ] = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    precision: Precision = "float32",
    weights: Weights = None,
    settings: Settings = None,
    model: Annotated[
        list[Path] | None, typer.Option(help="A model file of OpenCV's tracker; nano needs two.")
    ] = None,
    subset: Subset = None,
    sequences: Sequences = None,
    protocol: ProtocolToRun = None,
    repeats: Repeats = None,
    seed: Annotated[int, typer.Option(help="Of the first trial; the next ones count up.")] = 0,
    limit_frames: LimitFrames = None,
    lanes: Lanes = "1",
    shard: Shard = None,
    claims: Claims = "lock",
    on: On = None,
    num_cpus: NumCpus = None,
    num_gpus: NumGpus = None,
    keep_maps: Annotated[
        bool,
        typer.Option(
            "--keep-maps",
            help="Keep each frame's response map, small, for `jtrack view`: a run of its own, in one lane, "
            "not timed.",
        ),
    ] = False,
) -> None:
    """Runs a tracker over the sequences of a benchmark, and keeps what it does.

    What is there already is not run again: after an interruption the same command goes on. A sequence that
    fails is kept as such, the others go on, and the exit code is 1.
    """
    part = None if shard is None else shards.parse(shard)
    open_videos = partial(
        open_dataset, dataset, absolute(root), subset=subset, sequences=split_names(sequences)
    )
    opened = open_videos()
    rules = protocols.load(protocol or DEFAULTS.get(opened.kind, "ope"))
    make = partial(
        ready,
        precision,
        absolute(tracker),
        profile=profile,
        backbone=backbone,
        weights=absolute(weights),
        changes=changes(settings),
        models=[absolute(each) for each in model or []],
        keep_maps=keep_maps,
    )
    if keep_maps and on is not None:
        raise JtrackError("--keep-maps is for runs in this process: leave out --on, or the maps")
    with (
        progress() as on_progress,
        heeding_interrupts(on_progress) as on_progress,
        executor_of(
            on, make, open_videos, rules, lanes=number_of_lanes(lanes), num_cpus=num_cpus, num_gpus=num_gpus
        ) as (chosen, executor),
    ):
        if chosen[0].label.get("backbone") == OWN and backbone is None and weights is None:
            tell(NO_NETWORK)
        [done] = evaluate_all(
            chosen,
            opened,
            rules,
            results,
            repeats=repeats,
            seed=seed,
            limit=limit_frames,
            lanes=number_of_lanes(lanes),
            shard=part,
            claims=claims,
            on_progress=on_progress,
            executor=executor,
        )
    say(done, opened, rules)
    say_missing(part, done.missing, opened)
    for name, path in done.failures.items():
        tell(f"{name} failed: {reason(path)}")
    if done.failures:
        folder = next(iter(done.failures.values())).parent
        names = opened.names if part is None else part.of(opened.names)
        tell(f"{len(done.failures)} of {len(names)} sequences failed")
        typer.echo(f"        tracebacks are in {folder}/*.error; run again for what is missing", err=True)
        raise typer.Exit(1)


def ready(precision: str, tracker: str, *, keep_maps: bool = False, **options: Any) -> list[EvaluatedTracker]:
    """Makes the tracker, in the process that runs it."""
    prepare(precision)
    found = evaluated(tracker, precision=precision, **options)
    return [keeping_maps(found) if keep_maps else found]


def absolute[Given: (str, Path, str | None, Path | None)](given: Given) -> Given:
    """A path as other processes find it, whatever folder they work in; any other text as it is."""
    if isinstance(given, Path):
        return given.absolute()
    if given is not None and Path(given.rpartition(":")[0] or given).is_file():
        return str(Path(given).absolute())
    return given


@contextmanager
def executor_of(
    on: str | None,
    make: Callable[[], list[EvaluatedTracker]],
    open_videos: Callable[[], Dataset],
    rules: Protocol,
    *,
    lanes: int | Literal["auto"],
    num_cpus: float | None,
    num_gpus: float | None,
) -> Generator[tuple[list[EvaluatedTracker], Executor | None]]:
    """The trackers, and what runs them: this process or, with `--on`, the workers of a cluster."""
    if on is None:
        if num_cpus is not None or num_gpus is not None:
            raise JtrackError("--num-cpus and --num-gpus are for workers: give --on ray as well")
        yield make(), None
        return
    from jtrack.benchmark import cluster

    cpus = 1 if num_cpus is None else num_cpus
    with (
        redirect_stdout(sys.stderr),  # where Ray prints what it has to say of workers that die
        cluster.workers(on, make, open_videos, rules, lanes=lanes, num_cpus=cpus, num_gpus=num_gpus) as crew,
    ):
        tell(f"{len(crew.hired)} worker{'s' * (len(crew.hired) != 1)}")
        yield crew.trackers, crew


def reason(path: Path) -> str:
    """Why a sequence failed: the last line of its traceback."""
    last = path.read_text("utf-8").rstrip().rpartition("\n")[2]
    return last.removeprefix("jtrack.errors.JtrackError: ")


def say(done: Evaluation, dataset: Dataset, protocol: Protocol) -> None:
    """Prints what came of it, and what to do next."""
    there = f", {done.kept} were there" if done.kept else ""
    typer.echo(f"{protocol.title}: {done.made} trial{'s' * (done.made != 1)} run{there}")
    if not done.missing and (figures := headline(done, dataset, protocol)):
        typer.echo(figures)
    if done.lanes > 1 and done.rate is not None:
        typer.echo(f"{done.rate:.1f} frames a second in {done.lanes} lanes, compilation and reading included")
    typer.echo(f"results are in {done.folder}")
    if done.made + done.kept:
        run = shlex.join([str(done.folder), *([] if dataset.subset is None else ["--list", dataset.subset])])
        typer.echo(f"next: jtrack score {run}")
        typer.echo(f"      jtrack report {run} --out report")


def say_missing(part: shards.Shard | None, missing: Sequence[str], dataset: Dataset) -> None:
    """Prints what other shards have still to do; nothing where there are no shards."""
    if part is None:
        return
    own = len(part.of(dataset.names))
    typer.echo(f"shard {part} is {own} of {len(dataset.names)} sequences")
    more = ", ..." if len(missing) > LONGEST_LIST else ""
    some = f"{len(missing)}: {', '.join(missing[:LONGEST_LIST])}{more}" if missing else "nothing"
    typer.echo(printable(f"other shards lack {some}", LONGEST_MESSAGE))


def headline(done: Evaluation, dataset: Dataset, protocol: Protocol) -> str | None:
    """One line of mean figures; None where there is no ground truth to compare with."""
    found = [each for each in store.load(done.folder) if each.protocol == protocol.name]
    there = [name for name in dataset.names if name not in done.failures]
    annotations = {name: dataset.annotation(name) for name in there}
    truth = {name: annotation for name, annotation in annotations.items() if len(annotation.boxes) > 1}
    if not found or not truth:
        return None
    scored = scoring.score(found[0], truth, resamples=100)
    keys = [key for key in HEADLINES[protocol.measures] if np.isfinite(scored.measures.get(key, np.nan))]
    figures = [f"{key} {scored.measures[key]:.4f}" for key in keys]
    if scored.fps:
        figures.append(f"{scored.fps:.1f} frames a second")
    return f"over {len(truth)} sequences: {', '.join(figures)}"


@contextmanager
def heeding_interrupts(on_progress: Callable[[Done], None]) -> Generator[Callable[[Done], None]]:
    """Ctrl-C interrupts, at the latest after the frame in work.

    Raised inside a callback of JAX, a `KeyboardInterrupt` is printed and forgotten.
    """
    caught: list[int] = []

    def catch(number: int, _: Any) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    def heeding(done: Done) -> None:
        if caught:
            raise KeyboardInterrupt
        on_progress(done)

    previous = signal.signal(signal.SIGINT, catch)
    try:
        yield heeding
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def progress() -> Generator[Callable[[Done], None]]:
    """How far the evaluation is."""
    columns = (
        TextColumn("{task.completed}/{task.total} frames"),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns) as bar:
        task = bar.add_task("", total=None)
        yield lambda done: bar.update(
            task, description=done.sequence, completed=done.frames, total=done.total
        )
