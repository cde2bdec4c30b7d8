"""`jtrack sweep`: many settings of a tracker over the sequences of a benchmark, as lanes of one program."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import typer
from rich.table import Column, Table

from jtrack import trackers
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import results as store
from jtrack.benchmark import scoring, search_space, sensitivity, shards
from jtrack.benchmark.adapters import EvaluatedTracker, in_settings
from jtrack.benchmark.evaluate import Evaluation, evaluate_all
from jtrack.benchmark.protocol import Protocol
from jtrack.benchmark.report.sections import measure
from jtrack.benchmark.sensitivity import Outcome
from jtrack.checks import there
from jtrack.cli import outputs
from jtrack.cli.eval import (
    DEFAULTS,
    absolute,
    executor_of,
    heeding_interrupts,
    progress,
    reason,
    say_missing,
)
from jtrack.cli.options import (
    Backbone,
    Claims,
    Kind,
    LimitFrames,
    NumCpus,
    NumGpus,
    On,
    Precision,
    Profile,
    ProtocolToRun,
    Repeats,
    Sequences,
    Shard,
    Subset,
    Tracker,
    Weights,
    number_of_lanes,
)
from jtrack.cli.printing import NO_NETWORK, console, plain, shown, tell
from jtrack.cli.score import figure
from jtrack.cli.track import prepare
from jtrack.data import Dataset, open_dataset
from jtrack.data.text import split_names
from jtrack.errors import LONGEST_MESSAGE, JtrackError, missing_extra, printable
from jtrack.weights.store import OWN

# Trials at once on a CPU: more only share its cores.
LANES_OF_CPU = 8
WIDEST = 22  # characters of a setting that are kept in one line

app = typer.Typer(add_completion=False)


@app.command()
def sweep(
    *,
    dataset: Kind,
    results: Annotated[
        Path, typer.Option(help="The folder of all results, as of `jtrack eval`.", show_default=False)
    ],
    values: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUES",
            help="What to try: values with commas between, learning_rate=0.005,0.01; with ; between where "
            "they have commas themselves, 'layer_weights=1,0.5,0.2;1,1,1'; or with --draws a range, "
            "learning_rate=0.001..0.1, drawn from evenly in the logarithm if both ends are positive, else "
            "evenly. Repeat it for every combination. `jtrack list settings TRACKER` lists the names.",
            show_default=False,
        ),
    ],
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder; synthetic needs none.", show_default=False)
    ] = None,
    tracker: Tracker = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    precision: Precision = "float32",
    weights: Weights = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Only so many random settings of these.", show_default="every combination"),
    ] = None,
    subset: Subset = None,
    sequences: Sequences = None,
    protocol: ProtocolToRun = None,
    repeats: Repeats = None,
    seed: Annotated[int, typer.Option(help="Of the draws, and of the first trial as in `jtrack eval`.")] = 0,
    limit_frames: LimitFrames = None,
    lanes: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Trials run at once, shared out over all GPUs. auto: as many as fit their memory, "
            f"{LANES_OF_CPU} on a CPU; with --on, 1 on a CPU. 1: one after another, and timed.",
        ),
    ] = "auto",
    shard: Shard = None,
    claims: Claims = "lock",
    on: On = None,
    num_cpus: NumCpus = None,
    num_gpus: NumGpus = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder for sweep.csv and the plots (extra report); earlier ones are replaced.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Tries settings of a tracker on a benchmark, and says how far each is from the profile as it is.

    Each setting is a run as `jtrack eval --set ...` makes it, in the same folder: both go on with what the
    other has begun, and so does the same command after an interruption. Settings that differ in
    hyper-parameters alone share one compiled program; others run one after another. Exit codes are those of
    `jtrack eval`.
    """
    if out is not None:
        check_out(out)
    part = None if shard is None else shards.parse(shard)
    open_videos = partial(
        open_dataset, dataset, absolute(root), subset=subset, sequences=split_names(sequences)
    )
    opened = open_videos()
    rules = protocols.load(protocol or DEFAULTS.get(opened.kind, "ope"))
    if on is not None:  # what is made here only says what was changed: GPUs are the workers'
        jax.config.update("jax_platforms", "cpu")
    prepare(precision)
    trials_at_once = lanes_of(lanes) if on is None else number_of_lanes(lanes)
    options: dict[str, Any] = {"profile": profile, "backbone": backbone, "precision": precision}
    options["weights"] = absolute(weights)
    chosen, names = settings_of(tracker, values, draws, seed, **options)
    base = there(chosen[0].bound)
    if backbone is None and weights is None and base.backbone.name == OWN:
        tell(NO_NETWORK)
    make = partial(ready_settings, tracker, values, draws, seed, **options) if on else lambda: chosen
    with (
        progress() as on_progress,
        heeding_interrupts(on_progress) as on_progress,
        executor_of(
            on, make, open_videos, rules, lanes=trials_at_once, num_cpus=num_cpus, num_gpus=num_gpus
        ) as (made, executor),
    ):
        done = evaluate_all(
            made,
            opened,
            rules,
            results,
            repeats=repeats,
            seed=seed,
            limit=limit_frames,
            lanes=trials_at_once,
            shard=part,
            claims=claims,
            on_progress=on_progress,
            executor=executor,
        )
    say_done(done, rules)
    outcomes = [
        Outcome(there(each.bound).changes, sensitivity.values_of(there(each.bound), names), ran.folder)
        for each, ran in zip(chosen, done, strict=True)
    ]
    missing = sorted({name for each in done for name in each.missing})
    say_missing(part, missing, opened)
    # Settings are compared once the last shard has ended.
    if not missing and (compared := compare(outcomes, opened, rules)):
        say(compared, rules)
        if out is not None:
            write(compared, out)
    complain(outcomes, done)


def check_out(out: Path) -> None:
    """Refuses a folder that cannot be written, or plots that cannot be drawn, before the work begins."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("a sweep's plots", "report", error) from None
    outputs.check_folder(out, overwrite=True, keep=False)


def settings_of(
    tracker: str, values: Sequence[str], draws: int | None, seed: int, **options: Any
) -> tuple[list[EvaluatedTracker], list[str]]:
    """The tracker as it is and in every setting that is asked for, and the names of what is changed.

    Raises:
      JtrackError: values that a field does not take, or a setting that the tracker cannot work with.
    """
    [base] = in_settings(tracker, [], **options)
    bound = there(base.bound)
    own = trackers.profile(bound.row, bound.profile, bound.backbone)
    space = search_space.parse(own, values)
    settings = search_space.grid(space) if draws is None else search_space.draws(space, draws, seed=seed)
    return in_settings(tracker, settings, **options), [field.name for field in space]


def ready_settings(*arguments: Any, precision: str, **options: Any) -> list[EvaluatedTracker]:
    """Makes what `settings_of` says, in the process that runs it."""
    prepare(precision)
    return settings_of(*arguments, precision=precision, **options)[0]


def lanes_of(text: str) -> int | Literal["auto"]:
    """Reads `--lanes`. On a CPU auto is a few: with one, each setting would decode all videos anew."""
    wanted = number_of_lanes(text)
    return LANES_OF_CPU if wanted == "auto" and jax.devices()[0].platform == "cpu" else wanted


def compare(outcomes: Sequence[Outcome], dataset: Dataset, protocol: Protocol) -> list[Outcome]:
    """The settings with their figures; none, and a word why, where they cannot be compared."""
    truth = {name: each for name, each in scoring.annotations(dataset).items() if len(each.boxes) > 1}
    if not truth:
        tell("there is no ground truth here that settings could be compared by")
        return []
    loaded = [store.load(each.folder) for each in outcomes]
    found = [next((each for each in runs if each.protocol == protocol.name), None) for runs in loaded]
    try:
        return sensitivity.compare_to_base(outcomes, found, truth)
    except JtrackError as error:
        tell(str(error))
        return []


def say_done(done: Sequence[Evaluation], protocol: Protocol) -> None:
    """Prints how much was run."""
    made, kept = sum(each.made for each in done), sum(each.kept for each in done)
    there = f", {kept} were there" if kept else ""
    settings = f"{len(done)} setting{'s' * (len(done) != 1)}"
    typer.echo(f"{protocol.title}, {settings}: {made} trial{'s' * (made != 1)} run{there}")
    if frames := sum(each.frames for each in done):
        rate, lanes = frames / done[0].seconds, done[0].lanes
        typer.echo(f"{rate:.1f} frames a second in {lanes} lanes, compilation and reading included")


def say(outcomes: Sequence[Outcome], protocol: Protocol) -> None:
    """Prints the table, what it shows, and what to bear in mind."""
    console().print(table(outcomes, protocol.name))
    typer.echo(printable(sensitivity.verdict(outcomes), LONGEST_MESSAGE))
    for caution in sensitivity.cautions(outcomes):
        tell(caution)


def write(outcomes: Sequence[Outcome], out: Path) -> None:
    """Writes the table as a file, and the plots.

    Raises:
      JtrackError: one cannot be written.
    """
    from jtrack.benchmark.report import sensitivity_plots

    with outputs.saying(out):
        sensitivity.write_csv(out / "sweep.csv", outcomes)
        plots = sensitivity_plots.write(outcomes, out)
    count = len(plots) // len(sensitivity_plots.FORMATS)
    and_plots = f" and the plots of {count} number{'s' * (count > 1)}" if count else ""
    typer.echo(printable(f"wrote {out / 'sweep.csv'}{and_plots}", LONGEST_MESSAGE))


def table(outcomes: Sequence[Outcome], name: str) -> Table:
    """A line a setting, the best first; settings that could not be compared stand below, with the reason."""
    base = there(outcomes[0].scored)
    keys, first, count = sensitivity.figures(base), sensitivity.primary(base), len(base.sequences)
    longest = max(len(word) for each in outcomes for word in each.title.split())
    made = plain(
        f"{name}, {count} sequence{'s' * (count != 1)}",
        Column("setting", min_width=min(longest, WIDEST), overflow="fold"),
        *(Column(measure(key).title, justify="right", no_wrap=True) for key in keys),
        Column("to the base", justify="right", no_wrap=True),
        Column("loses most on", overflow="fold"),
    )
    for each in sorted(outcomes, key=lambda each: -value(each, first)):
        figures = [figure(value(each, key, math.nan), measure(key).digits) for key in keys]
        why = f" (not compared: {each.why})" if each.why else ""
        losses = ", ".join(f"{name} {loss:+.3f}" for name, loss in each.losses)
        difference = str(each.differences.get(first, "–"))
        made.add_row(shown(f"{each.title}{why}"), *figures, difference, shown(losses))
    return made


def value(outcome: Outcome, key: str, missing: float = -math.inf) -> float:
    """A figure of a setting, if it has that."""
    found = math.nan if outcome.scored is None else outcome.scored.measures[key]
    return missing if math.isnan(found) else found


def complain(outcomes: Sequence[Outcome], done: Sequence[Evaluation]) -> None:
    """Says what failed, each reason once.

    Raises:
      Exit: with 1, if something did.
    """
    settings: dict[tuple[str, str], list[str]] = {}
    for outcome, ran in zip(outcomes, done, strict=True):
        for name, path in ran.failures.items():
            settings.setdefault((name, reason(path)), []).append(outcome.title)
    for (name, why), titles in settings.items():
        where = titles[0] if len(titles) == 1 else f"{len(titles)} of {len(done)} settings"
        tell(f"{name} failed in {where}: {why}")
    if settings:
        some = next(path for ran in done for path in ran.failures.values())
        typer.echo(f"        tracebacks are in *.error, as {some}; run again for what is missing", err=True)
        raise typer.Exit(1)
