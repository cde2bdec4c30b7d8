"""The page: one HTML file with its scripts, styles, data and pictures, which asks nothing of the network."""

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plotly.offline import get_plotlyjs

from jtrack import __version__
from jtrack.benchmark.bootstrap import caveat
from jtrack.benchmark.report import figures, payload
from jtrack.benchmark.report.embedding import asset, fill, json_text, trusted
from jtrack.benchmark.report.filmstrip import Film
from jtrack.benchmark.report.sections import Entry, Place, Section
from jtrack.benchmark.report.tables import Table, marks, shown, tables

_HERE = "jtrack.benchmark.report"  # where the assets are
LONGEST = 400  # characters shown of a recorded value


def render(
    sections: Sequence[Section],
    *,
    title: str,
    films: Mapping[Place, Film],
    overlaps: payload.Overlaps,
) -> str:
    """Makes the page.

    Args:
      sections: what to show; the first is shown first.
      title: of the page.
      films: of every sequence.
      overlaps: of every sequence, as `filmstrip.overlaps_over_time` has them.
    """
    values = {
        "title": title,
        "lead": _lead(sections),
        "sections": [_view(section, films) for section in sections],
        "version": __version__,
        "date": f"{datetime.date.today():%d %B %Y}".lstrip("0"),
        "css": asset(_HERE, "page.css"),
        "script": asset(_HERE, "page.js"),
        "plotly": trusted(get_plotlyjs()),
        "data": json_text(payload.payload(sections, films, overlaps)),
    }
    return fill(_HERE, "page.html.j2", values)


def _lead(sections: Sequence[Section]) -> str:
    """What was compared, in one line."""
    trackers = {entry.name for section in sections for entry in section.entries}
    sequences = {name for section in sections for name in section.sequences}
    parts = [_count(len(trackers), "tracker"), _count(len(sequences), "sequence")]
    return ", ".join([*parts, *dict.fromkeys(section.about for section in sections)])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _view(section: Section, films: Mapping[Place, Film]) -> dict[str, Any]:
    named = {table.name: table for table in tables(section)}
    first, each = section.measures[0], section.sequence_measures[0]
    overall = _laid_out(named["overall"], section.entries, intervals=True)
    plots = [{"kind": "curve", "curve": curve.key, "title": curve.title} for curve in section.curves]
    points = []
    if figures.accuracy_robustness_points(section):
        points.append({"kind": "robustness", "curve": "", "title": "Accuracy and robustness"})
    if figures.speed_points(section):
        points.append({"kind": "speed", "curve": "", "title": f"Speed and {first.title}"})
    beside, *others = [*points, None]
    plots += filter(None, others)
    by_sequence = _laid_out(named[f"sequences-{each.key}"], [None] * len(section.sequences))
    for row, name in zip(by_sequence["rows"], section.sequences, strict=True):
        row |= {"name": name, "tags": films[section.place(name)].tags}
    return {
        "key": section.key,
        "title": section.title,
        "summary": f"{section.about}, {_count(len(section.sequences), 'sequence')} ({section.subset})",
        "primary": section.attribute_measure.title,
        "sequences": section.sequences,
        "entries": section.entries,
        "measures": section.sequence_measures,
        "attributes": [(name, len(members)) for name, members in section.attributes.items()],
        "filtered": bool(section.attributes and section.has_sequence_curves),
        "overall": overall,
        "glossary": _glossary(named["overall"], section),
        "notes": _notes(section),
        "plots": plots,
        "beside": beside,
        "by_attribute": _laid_out(named["attributes"], section.entries) if "attributes" in named else None,
        "by_sequence": by_sequence["rows"],
        "configurations": [_configuration(entry) for entry in section.entries],
    }


def _laid_out(table: Table, entries: Sequence[Entry | None], *, intervals: bool = False) -> dict[str, Any]:
    """A table as the template reads it."""
    places = marks(table)
    rows = []
    for r, entry in enumerate(entries):
        cells = []
        for c, value in enumerate(table.values[r]):
            which = table.measures[c if table.down else r]
            interval = entry.scored.intervals.get(which.key) if entry and intervals else None
            ends = interval if interval and all(map(math.isfinite, interval)) else ()
            cells.append(
                {
                    "text": shown(value, which),
                    "value": "" if math.isnan(value) else repr(float(value)),
                    "place": places[r][c],
                    "interval": (" to " if min(ends, default=0) < 0 else "–").join(
                        shown(end, which) for end in ends
                    )
                    or None,
                }
            )
        rows.append({"entry": entry, "cells": cells})
    return {"columns": table.columns, "measures": table.measures, "rows": rows}


def _glossary(table: Table, section: Section) -> str:
    words = [f"{m.title}: {m.about}" for m in table.measures if m.about != m.title]
    if any(entry.scored.intervals for entry in section.entries):
        words.append("small figures: 95 % confidence interval, by bootstrap over the sequences")
    return ". ".join(word[0].upper() + word[1:] for word in words) + "."


def _notes(section: Section) -> list[str]:
    """What a reader must know before comparing."""
    intervals = any(entry.scored.intervals for entry in section.entries)
    notes = [*filter(None, [caveat(len(section.sequences))])] if intervals else []
    for entry in section.entries:
        lacking = [name for name in section.sequences if name not in entry.scored.sequences]
        if lacking:
            names = ", ".join(lacking[:6]) + ", ..." * (len(lacking) > 6)
            notes.append(
                f"{entry.name} lacks {len(lacking)} of {len(section.sequences)} sequences ({names})."
            )
        if not entry.ranked:
            notes.append(f"{entry.name}: it is not compared with the others.")
        for sequence, why in entry.scored.results.failures.items():
            last = why.strip().splitlines()[-1] if why.strip() else "no reason recorded"
            notes.append(f"{entry.name} failed on {sequence}: {last[:LONGEST]}")
    return notes


def _configuration(entry: Entry) -> dict[str, Any]:
    results = entry.scored.results
    items = [("tracker", results.tracker), ("profile", results.profile or "")]
    items += [item for item in _flat(results.label) if item[0] not in ("tracker", "profile")]
    shown_items = [
        (key, value if len(value) <= LONGEST else value[:LONGEST] + "…") for key, value in items if value
    ]
    brief = ", ".join(str(results.label[key]) for key in ("backbone", "device") if results.label.get(key))
    return {
        "name": entry.name,
        "look": entry.look,
        "brief": brief[:80],
        "recorded": shown_items,
    }


def _flat(label: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    """Nested mappings as dotted names."""
    for key, value in label.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{before}{key}", ", ".join(map(str, value))
        elif value is not None:
            yield f"{before}{key}", str(value)
