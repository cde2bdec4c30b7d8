"""The page: one HTML file with its scripts, styles, data and pictures, which asks nothing of the network."""

import base64
import datetime
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from jtrack import __version__
from jtrack.benchmark.report import figures, filmstrip
from jtrack.benchmark.report.filmstrip import Film
from jtrack.benchmark.report.sections import Curve, Entry, Place, Section, best, measure
from jtrack.benchmark.report.tables import Table, marks, shown, tables

LONGEST = 400  # characters shown of a recorded value


def render(
    sections: Sequence[Section],
    *,
    title: str,
    films: Mapping[Place, Film],
    overlaps: Mapping[tuple[str, str, str], np.ndarray],
) -> str:
    """Makes the page.

    Args:
      sections: what to show; the first is shown first.
      title: of the page.
      films: of every sequence.
      overlaps: [T] by (section, tracker, sequence).
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset("page.html.j2")).render(
        title=title,
        lead=_lead(sections),
        sections=[_view(section, films) for section in sections],
        version=__version__,
        date=f"{datetime.date.today():%d %B %Y}".lstrip("0"),
        css=_trusted(_asset("page.css")),
        script=_trusted(_asset("page.js")),
        plotly=_trusted(get_plotlyjs()),
        data=_json(_data(sections, films, overlaps)),
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _json(data: Any) -> Markup:
    """JSON that may stand in a script element, whatever the names in it."""
    return _trusted(json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _trusted(text: str) -> Markup:
    """Text that stands in the page as it is. All else is escaped."""
    return Markup(text)  # noqa: S704


def _lead(sections: Sequence[Section]) -> str:
    """What was compared, in one line."""
    trackers = {entry.name for section in sections for entry in section.entries}
    sequences = {name for section in sections for name in section.sequences}
    parts = [_count(len(trackers), "tracker"), _count(len(sequences), "sequence")]
    return ", ".join([*parts, *dict.fromkeys(section.about for section in sections)])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


# ---- what the template lays out


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
        row |= {"name": name, "tags": _tags(films[section.place(name)])}
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
                    "interval": "–".join(shown(end, which) for end in ends) or None,
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
    notes = []
    for entry in section.entries:
        lacking = [name for name in section.sequences if name not in entry.scored.sequences]
        if lacking:
            names = ", ".join(lacking[:6]) + ", ..." * (len(lacking) > 6)
            notes.append(
                f"{entry.name} lacks {len(lacking)} of {len(section.sequences)} sequences ({names})."
            )
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
        "colour": entry.colour,
        "dash": entry.dash,
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


# ---- what the script reads


def _data(
    sections: Sequence[Section],
    films: Mapping[Place, Film],
    overlaps: Mapping[tuple[str, str, str], np.ndarray],
) -> dict[str, Any]:
    entries = {entry.number: entry for section in sections for entry in section.entries}
    return {
        "trackers": [
            {"name": entry.name, "colour": entry.colour, "dash": entry.dash}
            for _, entry in sorted(entries.items())
        ],
        "sections": [_section(section, list(films), films, overlaps) for section in sections],
        "films": [_film(film) for film in films.values()],
    }


def _tags(film: Film) -> str:
    return " ".join(film.annotation.attributes or film.annotation.events)


def _section(
    section: Section,
    places: list[Place],
    films: Mapping[Place, Film],
    overlaps: Mapping[tuple[str, str, str], np.ndarray],
) -> dict[str, Any]:
    place = {name: index for index, name in enumerate(section.sequences)}
    first, by = section.measures[0], section.attribute_measure
    found = [films[section.place(name)] for name in section.sequences]
    lengths = [len(film.annotation.boxes) for film in found]
    trials = [
        [entry.scored.results.trajectories.get(name, []) for entry in section.entries]
        for name in section.sequences
    ]
    return {
        "key": section.key,
        "title": section.title,
        "measures": [{"key": m.key, "title": m.title} for m in section.sequence_measures],
        "films": [places.index(section.place(name)) for name in section.sequences],
        "entries": [entry.number for entry in section.entries],
        "sequences": section.sequences,
        "lengths": lengths,
        "tags": [_tags(film) for film in found],
        "trials": [max(map(len, row)) for row in trials],
        "values": {m.key: _values(section, m.key) for m in section.sequence_measures},
        "attributes": [
            {"name": name, "sequences": [place[member] for member in members]}
            for name, members in section.attributes.items()
        ],
        "radar": [
            [_number(entry.by_attribute(by.key, name)) for name in section.attributes]
            for entry in section.entries
        ],
        "curves": [_curve(section, curve) for curve in section.curves],
        "scatter": {
            "speed": _scatter(
                figures.speed_points(section), "Frames a second", first.title, log=True, unit="fps"
            ),
            "robustness": _scatter(
                figures.accuracy_robustness_points(section), *figures.AR_AXES, log=False, unit="robustness"
            ),
        },
        "steps": [-(-length // filmstrip.LONGEST) for length in lengths],
        "overlaps": [
            [_levels(overlaps.get((section.key, entry.name, name))) for entry in section.entries]
            for name in section.sequences
        ],
        "boxes": [
            [[_box(filmstrip.box_at(rows, frame)) for frame in film.frames] for rows in row]
            for film, row in zip(found, trials, strict=True)
        ],
    }


def _values(section: Section, key: str) -> dict[str, Any]:
    which = measure(key)
    rows = [[entry.value(key, name) for entry in section.entries] for name in section.sequences]
    alone = len(section.entries) < 2
    places = [[0] if alone else best(row, low=which.low, digits=which.digits) for row in rows]
    values = [[_number(value) for value in row] for row in rows]
    return {"digits": which.digits, "values": values, "places": places}


def _curve(section: Section, curve: Curve) -> dict[str, Any]:
    across, rows = section.values(curve, section.entries)
    every = np.full((len(section.entries), len(section.sequences), len(across)), np.nan, "<f4")
    for e, entry in enumerate(section.entries):
        for s, name in enumerate(section.sequences):
            score = entry.scored.sequences.get(name)
            if score and curve.key in score.curves:
                every[e, s] = score.curves[curve.key]
    return {
        **curve._asdict(),
        "x": [_number(value) for value in across],
        "overall": [[_number(value) for value in row] if np.isfinite(row).any() else None for row in rows],
        "values": [_number(entry.overall(section.score(curve))) for entry in section.entries],
        # Without curves of the sequences, those of attributes cannot be made from them.
        "sequences": _base64(every.tobytes()) if np.isfinite(every).any() else None,
    }


def _scatter(points: list[tuple[Entry, float, float]], across: str, up: str, **more: Any) -> dict[str, Any]:
    return {
        "across": across,
        "up": up,
        "points": [[entry.number, _number(x), _number(y)] for entry, x, y in points],
        **more,
    }


def _film(film: Film) -> dict[str, Any]:
    known = filmstrip.present(film.annotation.boxes)
    boxes = film.annotation.boxes[known]
    path = (boxes[:, :2] + boxes[:, 2:] / 2)[:: max(1, len(boxes) // 100)]
    return {
        "view": [*film.corner, film.size[1], film.size[0]],
        "frames": film.frames,
        "worst": film.worst,
        "images": [image and f"data:image/jpeg;base64,{_base64(image)}" for image in film.images],
        "truth": [_box(film.annotation.boxes[frame]) if known[frame] else None for frame in film.frames],
        "path": [] if any(film.images) else path.round(1).tolist(),
    }


def _levels(values: np.ndarray | None) -> str | None:
    """Overlaps as bytes, 0 to 250, and 255 for none."""
    if values is None:
        return None
    short, _ = filmstrip.thinned(values)
    return _base64(
        np.where(np.isfinite(short), np.rint(np.nan_to_num(short) * 250), 255).astype(np.uint8).tobytes()
    )


def _box(box: np.ndarray | None) -> list[float] | None:
    return None if box is None else [round(float(value), 1) for value in box]


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
