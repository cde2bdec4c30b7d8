"""A paper's table with ours beside it, line by line: what the page, CSV and LaTeX show."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.benchmark.papers import MEASURES, SPEED, STANDARD, Column, Table
from jtrack.benchmark.papers.matching import Row
from jtrack.benchmark.report import tables
from jtrack.data import otb

PAPER = "the paper"


class Cell(NamedTuple):
    """A figure."""

    value: float  # NaN for none
    text: str
    part: str = ""  # "2/4": of how many of the column's sequences it is; empty for all
    same: bool = False  # what the paper prints, to its last digit


class Line(NamedTuple):
    """What one source says of one method."""

    method: str
    source: str  # `PAPER`, or what was found
    coverage: str  # "17 of 51 sequences"
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Its name where there is one column for it."""
        return f"{self.method}: {self.source}" + (f", {self.coverage}" if self.coverage else "")


class Layout(NamedTuple):
    """A table."""

    table: Table
    columns: tuple[Column, ...]  # the paper's, then `STANDARD` of each list as far as they are not among them
    lines: tuple[Line, ...]

    @property
    def titles(self) -> list[str]:
        """Of the columns."""
        several = len({column.list for column in self.columns}) > 1
        return [_title(column, several=several) for column in self.columns]


def lay_out(table: Table, rows: Sequence[Row]) -> Layout:
    """Puts ours beside the paper's figures: of each method its own line first, then ours."""
    columns = (*table.columns, *([] if table.by_sequence else _added(table)))
    lines = []
    for method in table.methods:
        printed = [*table.values.get(method, ()), *[np.nan] * len(columns)][: len(columns)]
        if method in table.values:
            cells = (
                Cell(value, _text(value, column)) for value, column in zip(printed, columns, strict=True)
            )
            lines.append(Line(method, PAPER, "", tuple(cells)))
        for row in rows:
            if row.source.method == method:
                found = tuple(
                    _cell(row, column, value) for column, value in zip(columns, printed, strict=True)
                )
                source = f"{row.source.title} {row.note}".rstrip()
                lines.append(Line(method, source, _coverage(row, columns), found))
    return Layout(table, columns, tuple(lines))


def agreement(layout: Layout) -> list[tuple[Line, int, int]]:
    """Lines of ours on all sequences, with how many of the paper's figures they give to the last digit.

    Speeds are not compared: they are of other machines.
    """
    printed = {line.method: line for line in layout.lines if line.source == PAPER}
    found = []
    for line in layout.lines:
        if line.source == PAPER or line.method not in printed:
            continue
        compared = [
            own.same
            for own, theirs, column in zip(
                line.cells, printed[line.method].cells, layout.columns, strict=True
            )
            if np.isfinite([own.value, theirs.value]).all() and not own.part and column.measure != SPEED.key
        ]
        if compared:
            found.append((line, sum(compared), len(compared)))
    return found


def write(layout: Layout, folder: Path) -> None:
    """Writes a table as CSV and LaTeX, sequences down where it is by sequence."""
    stem = folder / layout.table.id
    table = _for_papers(layout)
    label = f"tab:{layout.table.id}"
    stem.with_suffix(".tex").write_text(tables.latex(table, label=label), "utf-8")
    if layout.table.by_sequence:
        rows = [[name, *tables.plain(row)] for name, row in zip(table.rows, table.values, strict=True)]
        tables.write_csv(stem.with_suffix(".csv"), [table.corner, *table.columns], rows)
        return
    tables.write_csv(
        stem.with_suffix(".csv"),
        ["Method", "Source", "Sequences", *layout.titles],
        (
            [line.method, line.source, line.coverage, *tables.plain(cell.value for cell in line.cells)]
            for line in layout.lines
        ),
    )


def _for_papers(layout: Layout) -> tables.Table:
    names = [line.name for line in layout.lines]
    values = np.array([[cell.value for cell in line.cells] for line in layout.lines])
    values = values.reshape(len(names), len(layout.columns))
    measures = [MEASURES[column.measure]._replace(digits=column.digits) for column in layout.columns]
    caption = f"{layout.table.title}: {layout.table.caption}."
    # None is marked as the best: a paper's figure and ours are no rivals, and few are of the same sequences.
    unranked = [False] * len(names)
    if layout.table.by_sequence:
        return tables.Table(
            "", caption, "Sequence", layout.titles, names, values.T, measures, False, unranked
        )
    return tables.Table("", caption, "Method", names, layout.titles, values, measures, True, unranked)


def _added(table: Table) -> Iterable[Column]:
    """What every table has of ours, as far as the paper has it not."""
    there = {(column.measure, column.list) for column in table.columns if column.is_overall}
    for name in dict.fromkeys(column.list for column in table.columns):
        for measure in STANDARD:
            if (measure, name) not in there:
                yield Column(measure, name, digits=MEASURES[measure].digits)


def _title(column: Column, *, several: bool) -> str:
    if column.sequence:
        return column.sequence
    title = MEASURES[column.measure].title
    if column.attribute:
        title = f"{column.attribute} ({len(column.sequences)})"
    return f"{title} {column.list}" if several else title


def _cell(row: Row, column: Column, printed: float) -> Cell:
    value = row.value(column)
    have, all_of_them = row.covered(column), len(column.sequences)
    part = f"{have}/{all_of_them}" if np.isfinite(value) and have < all_of_them else ""
    same = not part and np.isfinite([value, printed]).all()
    text = _text(value, column)
    return Cell(value, text, part, bool(same and text == _text(printed, column)))


def _coverage(row: Row, columns: Sequence[Column]) -> str:
    parts = []
    lists = dict.fromkeys(column.list for column in columns)
    for name in lists:
        have = len(row.scored[name].sequences) if name in row.scored else 0
        parts.append(f"{have} of {len(otb.lists()[name])}" + (f" of {name}" if len(lists) > 1 else ""))
    return ", ".join(parts)


def _text(value: float, column: Column) -> str:
    if column.measure == SPEED.key and np.isfinite(value):
        return f"{value:.3g}"
    return tables.shown(value, MEASURES[column.measure]._replace(digits=column.digits))
