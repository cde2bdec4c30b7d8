"""Which results stand beside a paper's figures: runs, published boxes and stored curves, found and scored.

    material = Material(results, scoring.annotations(dataset), stored_curves.read(folder))
    for row in rows(paper, paper.tables[0], material):
        print(row.source.title, [row.value(column) for column in paper.tables[0].columns])

All may be empty: then there are no rows, and `sources` says what each method needs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jtrack.benchmark import scoring, stored_curves
from jtrack.benchmark.comparison import comparable
from jtrack.benchmark.papers import SPEED, Column, Method, Paper, Plot, Run, Table
from jtrack.benchmark.results import Results
from jtrack.benchmark.scoring import Scored
from jtrack.benchmark.stored_curves import Stored
from jtrack.data import Annotation, otb
from jtrack.errors import JtrackError

type Found = Results | Stored

_RESAMPLES = 2  # of the bootstrap, whose intervals no paper prints


@dataclass(frozen=True)
class Material:
    """What there is to fill the tables with."""

    results: Sequence[Results] = ()  # of runs, and published ones
    truth: Mapping[str, Annotation] = field(default_factory=dict)  # sequence -> annotation
    curves: Sequence[Stored] = ()
    refused: dict[str, None] = field(default_factory=dict)  # filled: why results could not be scored
    _scored: dict[tuple[int, tuple[str, ...], str], Scored | None] = field(default_factory=dict)

    def score(self, found: Found, names: Iterable[str], subset: str) -> Scored | None:
        """Scores results on those of some sequences that they and the annotations have; None for none."""
        key = id(found), tuple(names), subset
        if key not in self._scored:
            self._scored[key] = self._score(found, *key[1:])
        return self._scored[key]

    def _score(self, found: Found, names: tuple[str, ...], subset: str) -> Scored | None:
        if isinstance(found, Stored):
            return stored_curves.score(found, names, subset=subset)
        try:
            truth = self.shared(found, names)
            return scoring.score(found, truth, subset=subset, resamples=_RESAMPLES) if truth else None
        except JtrackError as error:
            self.refused[str(error)] = None
            return None

    def shared(self, found: Results, names: Iterable[str]) -> dict[str, Annotation]:
        """The annotations of those sequences that there are results of."""
        truth = {name: self.truth[name] for name in names if name in self.truth}
        try:
            return scoring.shared(found, truth)
        except JtrackError:  # of others
            return {}

    def count(self, found: Found, names: Iterable[str]) -> int:
        """How many of some sequences can be scored."""
        if isinstance(found, Stored):
            return sum(name in found.success for name in names)
        return len(self.shared(found, names))


class Source(NamedTuple):
    """What may fill a row, and what was found of it."""

    method: str
    need: str  # "published boxes of CF2"
    found: Found | None
    title: str  # what was found: "published boxes of CF2"

    @property
    def is_run(self) -> bool:
        """Whether it is a run of jtrack's own."""
        return isinstance(self.found, Results) and _is_run(self.found)


def _is_run(results: Results) -> bool:
    """Whether results are a run's, which is labelled with its tracker; published ones are not."""
    return "tracker" in results.label


class Row(NamedTuple):
    """A row beside a paper's own."""

    source: Source
    scored: Mapping[str, Scored]  # list -> on those of its sequences that there are
    note: str = ""  # "on the same 17 sequences"

    def value(self, column: Column) -> float:
        """The measure of a column on those of its sequences that there are; NaN for none."""
        scored = self.scored.get(column.list)
        if scored is None or not self.covered(column):
            return np.nan
        if column.measure == SPEED.key:
            return scored.fps or np.nan
        measures = scored.measures
        if column.sequence:
            measures = scored.sequences[column.sequence].measures
        elif column.attribute:
            measures = scored.by_attribute.get(column.attribute, {})
        return float(measures.get(column.measure, np.nan))

    def covered(self, column: Column) -> int:
        """How many of the sequences of a column there are."""
        scored = self.scored.get(column.list)
        return 0 if scored is None else sum(name in scored.sequences for name in column.sequences)


def sources(paper: Paper, method: Method, protocol: str, material: Material) -> list[Source]:
    """What may fill the rows of a method under a protocol, in the order of the table."""
    found = [_run(paper, method.name, run, protocol, material) for run in method.runs]
    if method.published:
        boxes = [
            each
            for each in material.results
            if each.tracker == method.published and each.protocol == protocol and not _is_run(each)
        ]
        need = f"published boxes of {method.published}"
        found.append(Source(method.name, need, boxes[0] if boxes else None, need))
    if method.curves:
        curves = [
            each for each in material.curves if each.tracker == method.curves and each.protocol == protocol
        ]
        need = f"stored curves of {method.curves}"
        found.append(Source(method.name, need, curves[0] if curves else None, need))
    return found


def _run(paper: Paper, method: str, run: Run, protocol: str, material: Material) -> Source:
    """The run on the first network that there is one on; of several, of the most sequences, the latest."""
    profile = f"{paper.tracker} {run.profile}"
    need = f"{profile} on {' or '.join(run.networks)}"
    for network in run.networks:
        runs = [
            each
            for each in material.results
            if (each.label.get("tracker"), each.profile, each.label.get("backbone"))
            == (paper.tracker, run.profile, network)
            and each.protocol == protocol
            and not each.label.get("changes")
            and not each.label.get("limit_frames")
        ]
        if runs:
            best = max(runs, key=lambda each: (len(each.trajectories), str(each.label.get("date", ""))))
            return Source(method, need, best, profile if network == "none" else f"{profile} on {network}")
    return Source(method, need, None, "")


def rows(paper: Paper, table: Table, material: Material) -> list[Row]:
    """All rows that can be filled, method by method."""
    return [row for method in table.methods for row in _rows(paper, table, method, material)]


def _rows(paper: Paper, table: Table, method: str, material: Material) -> Iterator[Row]:
    """The rows of a method; published boxes again on the sequences of each run that has not all."""
    lists = dict.fromkeys(column.list for column in table.columns)
    found = sources(paper, paper.methods[method], table.protocol, material)
    parts = dict[tuple[str, ...], None]()
    for source in found:
        if row := _row(source, {name: otb.lists()[name] for name in lists}, material):
            yield row
            lacking = any(len(each.sequences) < len(otb.lists()[name]) for name, each in row.scored.items())
            if source.is_run and lacking:
                parts[tuple(name for each in row.scored.values() for name in each.sequences)] = None
    for names in parts:
        for source in found:
            if isinstance(source.found, Results) and not source.is_run:
                same = {each: tuple(n for n in otb.lists()[each] if n in names) for each in lists}
                if row := _row(source, same, material, "on the sequences of the run"):
                    yield row


def _row(
    source: Source, lists: Mapping[str, Sequence[str]], material: Material, note: str = ""
) -> Row | None:
    if source.found is None:
        return None
    scored = {name: material.score(source.found, members, name) for name, members in lists.items()}
    there = {name: each for name, each in scored.items() if each is not None}
    return Row(source, there, note) if there else None


class Entrant(NamedTuple):
    """A tracker in a plot."""

    name: str
    scored: Scored


def entrants(
    paper: Paper, plot: Plot, names: Sequence[str], material: Material, *, top: int
) -> list[Entrant]:
    """The trackers of a plot that have all of some sequences: the paper's own, and the best `top` others."""
    own, others, taken = list[Entrant](), list[Entrant](), set[str]()
    for method in plot.table.methods:
        found = sources(paper, paper.methods[method], plot.table.protocol, material)
        drawn = [source for source in found if source.is_run]
        drawn += [source for source in found if source.found is not None and not source.is_run][:1]
        taken.add(paper.methods[method].curves)
        for source in drawn:
            assert source.found is not None
            scored = _whole(source.found, names, plot.list, material)
            if scored is not None:
                ours = bool(paper.methods[method].runs)
                (own if ours else others).append(Entrant(_called(source, ours=ours), scored))
    for stored in material.curves if plot.others else ():
        if stored.protocol == plot.table.protocol and stored.tracker not in taken:
            scored = _whole(stored, names, plot.list, material)
            if scored is not None:
                others.append(Entrant(stored.tracker, scored))
    score = plot.curve.scores[0]
    return own + sorted(others, key=lambda other: -other.scored.measures[score])[:top]


def boxes_of(paper: Paper, methods: Iterable[str], material: Material) -> list[tuple[str, Results]]:
    """(what a legend calls it, boxes) of every run and of published boxes of some methods, under OPE."""
    return [
        (_called(source, ours=bool(paper.methods[method].runs)), source.found)
        for method in methods
        for source in sources(paper, paper.methods[method], "ope", material)
        if isinstance(source.found, Results)
    ]


def _called(source: Source, *, ours: bool) -> str:
    """What a legend calls a method: as the paper does, but for runs, and what its authors call theirs."""
    if source.is_run:
        return source.title
    return source.title if ours else source.method


def _whole(found: Found, names: Sequence[str], subset: str, material: Material) -> Scored | None:
    scored = material.score(found, names, subset)
    return scored if scored is not None and len(scored.sequences) == len(names) else None


def selections(paper: Paper, plot: Plot, material: Material) -> list[tuple[str, ...]]:
    """The sequences on which a plot is drawn: the whole list, and those that its runs share if some lack.

    Without a run, those that there are stored curves of.
    """
    whole, protocol = otb.lists()[plot.list], plot.table.protocol
    runs = [
        source.found
        for method in plot.table.methods
        for source in sources(paper, paper.methods[method], protocol, material)
        if source.is_run and isinstance(source.found, Results)
    ]
    pairs = [(run, truth) for run in runs if (truth := material.shared(run, whole))]
    if pairs:
        shared = set(comparable([run for run, _ in pairs], [truth for _, truth in pairs]).truth)
    else:
        shared = {name for each in material.curves if each.protocol == protocol for name in each.success}
    part = tuple(name for name in whole if name in shared)
    return [whole, part] if part and part != whole else [whole]
