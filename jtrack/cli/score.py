"""`jtrack score`: results in, figures out."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Column, Table

from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import scoring
from jtrack.benchmark.bootstrap import caveat
from jtrack.benchmark.comparison import Comparable, comparable, compare
from jtrack.benchmark.report.sections import called
from jtrack.benchmark.results import Results
from jtrack.benchmark.run_names import cut
from jtrack.benchmark.scoring import Scored, SequenceScore
from jtrack.benchmark.sources import open_results
from jtrack.cli import outputs
from jtrack.cli.options import (
    KindOfResults,
    ProtocolOfResults,
    RootOfResults,
    Sequences,
    Subset,
)
from jtrack.cli.printing import console, plain, shown, tell
from jtrack.data.dataset import KINDS, Dataset, open_dataset
from jtrack.data.sequence import Annotation as Truth
from jtrack.data.text import split_names
from jtrack.errors import LONGEST_MESSAGE, JtrackError, printable
from jtrack.names import match

app = typer.Typer(add_completion=False)


class Shown(NamedTuple):
    """A column of the tables."""

    key: str  # of a measure
    title: str
    digits: int = 3


COLUMNS = (
    Shown("auc", "AUC"),
    Shown("precision20", "P@20"),
    Shown("normalised_precision20", "NP@.2"),
    Shown("success50", "SR@.5"),
    Shown("success60", "SR@.6"),
    Shown("mean_error", "CLE px", 1),
    Shown("accuracy", "accuracy"),
    Shown("failures", "failures", 2),
    Shown("robustness", "robustness"),
    Shown("eao", "EAO"),
    Shown("ao", "AO"),
    Shown("sr50", "SR@.5"),
    Shown("sr75", "SR@.75"),
    Shown("mao", "mAO"),
    Shown("msr50", "mSR@.5"),
    Shown("msr75", "mSR@.75"),
)
# What only a comparison of several results has; there is room for one of the two.
BEHIND = Shown("behind", "to the best")
RANKS = (
    Shown("accuracy_rank", "rank A", 2),
    Shown("robustness_rank", "rank R", 2),
    Shown("rank", "rank", 2),
)


@app.command()
def score(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="A run or a results folder of `jtrack eval`, or published boxes: .mat, .json, .json.gz or a "
            "folder of such or of text files.",
            show_default=False,
        ),
    ],
    *,
    root: RootOfResults = None,
    dataset: KindOfResults = None,
    subset: Subset = None,
    sequences: Sequences = None,
    protocol: ProtocolOfResults = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here too; replaced if it is there.")
    ] = None,
) -> None:
    """Scores results against a dataset's annotations.

    Of one result every sequence is shown, of several one line each. Brackets hold the 95 % interval of the
    mean over sequences, by the bootstrap; "to the best" is the mean difference to the first line, paired by
    sequence, so that an interval without 0 tells the two apart. Restarted trackers have VOT2013's ranks.
    """
    if json_file is not None:
        outputs.check_file(json_file, (".json",), overwrite=True)
    found = of_protocol(results, protocol)
    done = score_all(found, dataset=dataset, root=root, subset=subset, sequences=sequences)
    if done.scored:
        show(done)
    if json_file is not None and done.scored:
        write_json(json_file, done.scored)
    done.complain(f"; {len(done.scored)} are scored" if done.scored else "")


class Done(NamedTuple):
    """What could be scored, and what not."""

    scored: list[Scored]
    datasets: list[Dataset]  # of each
    refused: list[JtrackError]

    def complain(self, rest: str) -> None:
        """Says the first error, if there is one, with what became of the rest.

        Raises:
          JtrackError: if nothing could be scored.
          Exit: with 1, if only a part could.
        """
        if not self.refused:
            return
        others = f" (and {len(self.refused) - 1} more such)" if len(self.refused) > 1 else ""
        error = JtrackError(f"{self.refused[0]}{others}{rest}")
        if not self.scored:
            raise error
        tell(str(error))
        raise typer.Exit(1)


type Place = tuple[str, Path, str | None]  # kind, folder and list of a dataset


def score_all(
    found: list[Results],
    *,
    dataset: str | None,
    root: Path | None,
    subset: str | None,
    sequences: str | None,
    stage: Callable[[str], None] = lambda name: None,
) -> Done:
    """Scores each result on its dataset, which is opened once; one that does not fit keeps none from it.

    Without a list or sequences named, the results of one protocol on one dataset are scored on the sequences
    they all have: figures of different sequences could not be compared. One that has few of them, or only
    the first frames of each, is scored on what it has, and not ranked.
    """
    wanted = split_names(sequences)
    name = "selection" if wanted is not None else subset or "all"
    opened: dict[Place, tuple[Dataset, dict[str, Truth]]] = {}
    done = Done([], [], [])
    groups: dict[tuple[str, Place], list[tuple[Results, dict[str, Truth]]]] = {}
    for each in found:
        try:
            place = source(each, dataset, root, subset)
            if place not in opened:
                data = open_dataset(*place[:2], subset=place[2], sequences=wanted)
                opened[place] = data, scoring.annotations(data)
            truth = opened[place][1]
            truth = truth if subset is not None or wanted is not None else shared(each, truth)
            groups.setdefault((each.protocol, place), []).append((each, truth))
        except JtrackError as error:
            done.refused.append(error)
    for (protocol, place), members in groups.items():
        fair = comparable([each for each, _ in members], [truth for _, truth in members])
        tell_shared(protocol, members, fair, len(opened[place][1]))
        ranked, others = [], []
        for (each, truth), why in zip(members, fair.unranked, strict=True):
            stage(each.tracker)
            try:
                if why:
                    tell(f"{title(each)}, {protocol}, is not ranked: {why} only")
                    others.append(replace(scoring.score(each, truth, subset=name), unranked=why))
                else:
                    ranked.append(scoring.score(each, fair.truth, subset=name))
            except JtrackError as error:
                done.refused.append(error)
        if len(ranked) > 1:
            stage(f"{len(ranked)} trackers compared")
        scored = [*compare(ranked, fair.truth), *others]
        done.scored.extend(scored)
        done.datasets.extend([opened[place][0]] * len(scored))
    return done


def tell_shared(
    protocol: str, members: list[tuple[Results, dict[str, Truth]]], fair: Comparable, there: int
) -> None:
    """Says on stderr on how many of the annotated sequences results are scored, if not on all."""
    if there == len(fair.truth):
        return
    ranked = [member for member, why in zip(members, fair.unranked, strict=True) if not why]
    fewest, truth = min(ranked, key=lambda member: len(member[1]))
    who = title(fewest)
    if len(ranked) > 1:
        who = f"all {len(ranked)} results, of which {who} has the fewest, {len(truth)}"
    tell(f"{protocol} is scored on {len(fair.truth)} of {there} sequences, those of {who}")


def write_json(path: Path, scored: list[Scored]) -> None:
    """Writes one object, or a list of as many as there are."""
    tables = [as_json(each) for each in scored]
    with outputs.appearing(path) as part:
        text = json.dumps(tables[0] if len(tables) == 1 else tables, indent=1, allow_nan=False)
        part.write_text(text + "\n", "utf-8")
    typer.echo(printable(f"wrote {path}", LONGEST_MESSAGE))


def of_protocol(paths: list[Path], protocol: str | None) -> list[Results]:
    """Reads all results of one protocol, or of any.

    Raises:
      JtrackError: if there are none, or they cannot be read.
    """
    found = [each for path in paths for each in open_results(path)]
    if protocol is None:
        return found
    wanted = match("protocol of these results", protocol, sorted({each.protocol for each in found}))
    return [each for each in found if each.protocol == wanted]


def source(results: Results, kind: str | None, root: Path | None, subset: str | None) -> Place:
    """Kind, folder and list of the dataset: as given, or else those of the run.

    A list of VOT or GOT-10k is a folder, without which their sequences are not found.

    Raises:
      JtrackError: if the folder is not known.
    """
    folder = root or results.label.get("root")
    if folder is None:
        raise JtrackError(f"it is not known where the annotations of {results.tracker} are: give --root DIR")
    # Measures are called by the kind of dataset they come from.
    kind = match("kind of dataset", kind, KINDS) if kind else None
    kind = kind or results.label.get("dataset") or protocols.load(results.protocol).measures
    if root is None and kind in ("vot", "got"):
        subset = subset or results.label.get("list")
    return kind, Path(folder), subset


def shared(results: Results, truth: dict[str, Truth]) -> dict[str, Truth]:
    """The annotations there are results of; says on stderr what failed, and what is not annotated."""
    both = scoring.shared(results, truth)
    if missing := len(results.trajectories) - len(both):
        who = f"{title(results)}, {results.protocol}"
        tell(f"{who}: left out {missing} sequence{'s' * (missing > 1)} without an annotation")
    for name, why in results.failures.items():
        if name not in both:
            tell(f"{title(results)}, {results.protocol}, failed on {name}: {why}")
    return both


def show(done: Done) -> None:
    """Prints the tables: of one result its sequences, of several one table a protocol and dataset."""
    out = console()
    if len(done.scored) == 1:
        (only,) = done.scored
        out.print(by_sequence(only))
        say_caveat(only)
        if only.by_attribute:
            out.print(by_attribute(only))
        return
    names = dict(zip(map(id, done.scored), called(done.scored, done.datasets), strict=True))
    groups: dict[tuple[str, str, Path], list[Scored]] = {}
    for each, data in zip(done.scored, done.datasets, strict=True):
        groups.setdefault((each.results.protocol, data.kind, data.root), []).append(each)
    for (protocol, kind, _), scored in groups.items():
        out.print(comparison(scored, names, f"{protocol} on {kind}"))
        say_caveat(scored[0])


def say_caveat(scored: Scored) -> None:
    """Says on stderr what a reader of intervals must know, if anything."""
    if scored.intervals and (words := caveat(len(scored.sequences))):
        tell(words[0].lower() + words[1:].rstrip("."))


def comparison(scored: list[Scored], names: dict[int, str], name: str) -> Table:
    """A line a result, the best first; the first measure and how far it is from the best with intervals.

    Results that are not ranked stand below, with the reason. Results have the names that a report gives them.
    """
    columns = shown_of(scored, COLUMNS)[:2] + (shown_of(scored, RANKS) or shown_of(scored, (BEHIND,)))
    numbers = [Column(column.title, justify="right", no_wrap=True) for column in columns]
    scored = sorted(scored, key=lambda each: bool(each.unranked))
    count = len(scored[0].sequences)
    table = plain(
        f"{name}, {scored[0].subset}, {count} sequence{'s' * (count != 1)}",
        Column("tracker", min_width=8, overflow="fold"),
        *numbers,
        Column("fps", justify="right", no_wrap=True),
    )
    for each in sorted(scored, key=lambda each: (bool(each.unranked), -value_of(each, columns[0]))):
        figures = [
            with_interval(each, column)
            if column in (columns[0], BEHIND)
            else figure(each.measures.get(column.key, math.nan), column.digits)
            for column in columns
        ]
        table.add_row(shown(names[id(each)]), *figures, rates(each))
    return table


def value_of(scored: Scored, column: Shown) -> float:
    """An overall figure; less than any where there is none."""
    value = scored.measures.get(column.key, -math.inf)
    return -math.inf if math.isnan(value) else value


def shown_of(scored: list[Scored], columns: tuple[Shown, ...]) -> list[Shown]:
    """Those columns that some result has a measure for."""
    return [column for column in columns if any(column.key in each.measures for each in scored)]


def by_sequence(scored: Scored) -> Table:
    """A line a sequence; below the overall figures and the two ends of their intervals."""
    columns = [column for column in COLUMNS if column.key in scored.measures]
    table = plain(
        f"{title(scored.results)}, {scored.results.protocol}, {scored.subset}",
        Column("sequence", no_wrap=True, footer="overall\n95 % from\n     to"),
        Column("frames", justify="right", footer=str(sum(each.frames for each in scored.sequences.values()))),
        *(Column(c.title, justify="right", no_wrap=True, footer=footer(scored, c)) for c in columns),
        Column("fps", justify="right", footer=rates(scored)),
    )
    table.show_footer = True
    for name, each in scored.sequences.items():
        figures = [figure(each.measures.get(column.key, math.nan), column.digits) for column in columns]
        table.add_row(shown(name), str(each.frames), *figures, rate(each.fps))
    return table


def by_attribute(scored: Scored) -> Table:
    """A line an attribute."""
    some = next(iter(scored.by_attribute.values()))
    columns = [column for column in COLUMNS if column.key in some]
    table = plain(
        "by attribute",
        Column("attribute", no_wrap=True),
        Column("sequences", justify="right"),
        *(Column(column.title, justify="right", no_wrap=True) for column in columns),
    )
    for attribute, measures in scored.by_attribute.items():
        figures = [figure(measures[column.key], column.digits) for column in columns]
        table.add_row(shown(attribute), str(len(scored.attributes[attribute])), *figures)
    return table


def title(results: Results) -> str:
    """A tracker; of a run what it was, network and trained weights included, and its frames, if not all."""
    more = (results.label.get(what) for what in ("changes", "backbone", "trained"))
    parts = (results.tracker, results.profile, *more)
    mark = cut(results)
    return " ".join(str(part) for part in parts if part) + (f" ({mark})" if mark else "")


def with_interval(scored: Scored, column: Shown) -> str:
    """An overall figure and its interval, in one line."""
    value, *ends = footer(scored, column).split("\n")
    return f"{value} [{', '.join(ends)}]" if ends != ["–", "–"] else value


def footer(scored: Scored, column: Shown) -> str:
    """An overall figure and the ends of its interval, in three lines."""
    ends = scored.intervals.get(column.key, (math.nan, math.nan))
    values = scored.measures.get(column.key, math.nan), *ends
    return "\n".join(figure(value, column.digits) for value in values)


def figure(value: float, digits: int) -> str:
    """A number, with as many digits; a dash for none."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def rate(fps: float | None) -> str:
    """Frames a second."""
    return "–" if fps is None else f"{fps:.1f}"


def rates(scored: Scored) -> str:
    """Frames a second; of a run that several machines made, each one's."""
    if len(scored.speeds) < 2:
        return rate(scored.fps)
    return "\n".join(
        f"{speed:.1f} ({printable(called or 'unknown')})" for called, speed in scored.speeds.items()
    )


def as_json(scored: Scored) -> dict[str, Any]:
    """Everything but the curves of each sequence, in the form of JSON; null where there is no number.

    `tracker`, `profile`, `protocol`, `list`, `unranked` (why it is not compared with the others; null if it
    is), every measure by its name (`auc`, `precision20`, ...), `fps`
    (null if several machines made the run) and `speeds` {machine: fps}; of a run its `backbone`, `changes` of
    the profile, `digest` and `limit_frames`; `intervals` {measure: [low, high]}, `attributes` {attribute:
    measures and number of `sequences`}, `curves`, and `sequences` {name: measures, `frames` and `fps`}.
    """
    results = scored.results
    return {
        "tracker": results.tracker,
        "profile": results.profile,
        "protocol": results.protocol,
        "list": scored.subset,
        "unranked": scored.unranked or None,
        **numbers(scored.measures),
        "fps": scored.fps,
        "speeds": dict(scored.speeds),
        **{key: results.label.get(key) for key in ("backbone", "changes", "digest", "limit_frames")},
        "intervals": {key: [finite(low), finite(high)] for key, (low, high) in scored.intervals.items()},
        "attributes": {
            name: {"sequences": len(scored.attributes[name]), **numbers(measures)}
            for name, measures in scored.by_attribute.items()
        },
        "curves": {key: [finite(value) for value in curve] for key, curve in scored.curves.items()},
        "sequences": {name: sequence_json(each) for name, each in scored.sequences.items()},
    }


def sequence_json(score: SequenceScore) -> dict[str, Any]:
    """The figures of one sequence."""
    return {**numbers(score.measures), "frames": score.frames, "fps": score.fps}


def numbers(measures: Any) -> dict[str, float | None]:
    """Measures as JSON has numbers."""
    return {key: finite(value) for key, value in measures.items()}


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return float(value) if math.isfinite(value) else None
