"""The tables of a report as CSV for programs and as LaTeX for papers."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.benchmark.report.sections import Measure, Section, best


class Table(NamedTuple):
    """Values [rows, columns] with the measure each is of; NaN where there is none."""

    name: str  # a part of file names
    caption: str
    corner: str  # the title of the column of row names
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray
    measures: Sequence[Measure]  # of each column if `down`, else of each row
    down: bool  # whether the best is looked for down a column, else along a row
    # Of each row if `down`, else of each column: whether it can be the best; None: all can.
    ranked: Sequence[bool] | None = None


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def tables(section: Section) -> list[Table]:
    """The tables of a section: overall, by attribute, and by sequence for its first two measures."""
    names = [entry.name for entry in section.entries]
    ranked = [entry.ranked for entry in section.entries]
    measures = section.measures
    overall = np.array(
        [
            [entry.overall(m.key) for m in measures] + [entry.scored.fps or np.nan]
            for entry in section.entries
        ],
        np.float64,
    )
    columns = [*measures, Measure("fps", "fps", "frames a second", 1)]
    kept = [n for n in range(len(columns)) if np.isfinite(overall[:, n]).any()]
    titles = [columns[n].title for n in kept]
    about = f"{section.title}, {len(section.sequences)} sequences"
    found = [
        Table(
            "overall",
            f"Overall scores on {len(section.sequences)} sequences ({section.subset}): {section.about}.",
            "Tracker",
            names,
            titles,
            overall[:, kept],
            [columns[n] for n in kept],
            True,
            ranked,
        )
    ]
    if section.attributes:
        first = section.attribute_measure
        values = [[e.by_attribute(first.key, name) for name in section.attributes] for e in section.entries]
        titles = [f"{attribute} ({len(s)})" for attribute, s in section.attributes.items()]
        caption = f"{first.title} by attribute ({about}); in brackets, the number of sequences."
        every = [first] * len(titles)
        found.append(
            Table("attributes", caption, "Tracker", names, titles, np.array(values), every, True, ranked)
        )
    for m in section.sequence_measures[:2]:
        rows = np.array(
            [[entry.value(m.key, name) for entry in section.entries] for name in section.sequences]
        )
        found.append(
            Table(
                f"sequences-{m.key}",
                f"{m.title} by sequence ({section.title}).",
                "Sequence",
                section.sequences,
                names,
                rows.reshape(len(section.sequences), len(names)),
                [m] * len(section.sequences),
                False,
                ranked,
            )
        )
    return found


def write(section: Section, folder: Path) -> None:
    """Writes the tables of a section, and its curves, into a folder."""
    for table in tables(section):
        stem = f"{section.key}-{table.name}"
        (folder / f"{stem}.tex").write_text(latex(table, label=f"tab:{stem}"), "utf-8")
        write_csv(
            folder / f"{stem}.csv",
            [table.corner, *table.columns],
            ([row, *plain(values)] for row, values in zip(table.rows, table.values, strict=True)),
        )
    write_csv(
        folder / f"{section.key}-intervals.csv",
        ["Tracker", "Measure", "Value", "Low (95 %)", "High (95 %)"],
        (
            [entry.name, key, *plain([entry.overall(key), *interval])]
            for entry in section.entries
            for key, interval in entry.scored.intervals.items()
        ),
    )
    for curve in section.curves:
        having = [entry for entry, _ in section.ranked(curve)]
        across, values = section.values(curve, having)
        write_csv(
            folder / f"{section.key}-{curve.key}.csv",
            [curve.across, *(entry.name for entry in having)],
            (plain([x, *row]) for x, row in zip(across, values.T, strict=True)),
        )


def latex(table: Table, *, label: str) -> str:
    r"""A table for a paper, with booktabs: the best bold, the second best underlined.

    It needs `\usepackage{booktabs}`, and `longtable` if it has more than forty rows.
    """
    places = marks(table)
    lines = []
    for r, (name, values) in enumerate(zip(table.rows, table.values, strict=True)):
        cells = []
        for c, value in enumerate(values):
            text = shown(value, table.measures[c if table.down else r]).replace("–", "--")
            cells.append({0: text, 1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}[places[r][c]])
        lines.append(" & ".join([escaped(name), *cells]) + r" \\")
    head = " & ".join(map(escaped, [table.corner, *table.columns])) + r" \\"
    spec = "l" + "r" * len(table.columns)
    title = rf"\caption{{{escaped(table.caption)}}}\label{{{label}}}"
    if len(lines) > 40:
        body = [
            rf"\begin{{longtable}}{{{spec}}}",
            title + r" \\",
            r"\toprule",
            head,
            r"\midrule",
            r"\endhead",
        ]
        body += [*lines, r"\bottomrule", r"\end{longtable}"]
    else:
        body = [r"\begin{table}", r"\centering", title, rf"\begin{{tabular}}{{{spec}}}", r"\toprule", head]
        body += [r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(body) + "\n"


def marks(table: Table) -> list[list[int]]:
    """For each value 1 if it is the best, 2 if the second best, else 0; one that has no rival is neither."""
    ranked = table.ranked or [True] * len(table.rows if table.down else table.columns)
    if sum(ranked) < 2:
        return [[0] * len(table.columns) for _ in table.rows]
    lines = np.where(ranked, table.values.T if table.down else table.values, np.nan)
    places = [best(line, low=m.low, digits=m.digits) for line, m in zip(lines, table.measures, strict=True)]
    return [list(row) for row in zip(*places, strict=True)] if table.down else places


def shown(value: float, measure: Measure) -> str:
    """A value as tables have it."""
    return f"{value:.{measure.digits}f}" if np.isfinite(value) else "–"


def escaped(text: str) -> str:
    """Text as LaTeX shows it; characters it cannot typeset are left out."""
    return "".join(_LATEX.get(character, character) for character in text if character.isprintable())


def plain(values: Iterable[float]) -> list[str]:
    """Numbers as CSV has them, to six digits; NaN is empty."""
    return ["" if not np.isfinite(value) else f"{value:.6g}" for value in values]


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table for programs; a name that a spreadsheet would run as a formula is made harmless."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        writer.writerows([_harmless(cell) for cell in row] for row in [head, *rows])


_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


def _harmless(cell: str) -> str:
    """A name that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay.

    Spreadsheets pass over white space and line breaks before a formula, and some know it by full-width signs.
    """
    first = unicodedata.normalize("NFKC", cell).lstrip()[:1]
    formula = first in ("=", "+", "-", "@") or cell[:1] in ("\t", "\r", "\n")
    return "'" + cell if formula and not _NUMBER.fullmatch(cell) else cell
