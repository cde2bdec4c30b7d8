"""The data in the page, which its script draws: numbers as text where there are few, else as base64."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jtrack.benchmark.report import figures, filmstrip
from jtrack.benchmark.report.embedding import base64_text, data_url, levels, number
from jtrack.benchmark.report.filmstrip import Film
from jtrack.benchmark.report.sections import Curve, Entry, Place, Section, best, measure

Overlaps = Mapping[Place, Mapping[tuple[str, str], np.ndarray]]  # see `filmstrip.overlaps_over_time`


def payload(sections: Sequence[Section], films: Mapping[Place, Film], overlaps: Overlaps) -> dict[str, Any]:
    """Everything the script shows, as JSON has it. Trackers are numbers, `Entry.number`."""
    entries = {entry.number: entry for section in sections for entry in section.entries}
    return {
        "trackers": [{"name": entry.name, **_look(entry)} for _, entry in sorted(entries.items())],
        "sections": [_section(section, list(films), films, overlaps) for section in sections],
        "films": [_film(film) for film in films.values()],
    }


def _look(entry: Entry) -> dict[str, Any]:
    return {"colour": entry.look.colour, "dash": entry.look.dash, "symbol": entry.look.symbol}


def _section(
    section: Section,
    places: list[Place],
    films: Mapping[Place, Film],
    overlaps: Overlaps,
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
        "ranked": [entry.ranked for entry in section.entries],
        "sequences": section.sequences,
        "lengths": lengths,
        "tags": [film.tags for film in found],
        "trials": [max(map(len, row)) for row in trials],
        "values": {m.key: _values(section, m.key) for m in section.sequence_measures},
        "attributes": [
            {"name": name, "sequences": [place[member] for member in members]}
            for name, members in section.attributes.items()
        ],
        "radar": [
            [number(entry.by_attribute(by.key, name)) for name in section.attributes]
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
            [
                None if curve is None else levels(filmstrip.thinned(curve)[0])
                for entry in section.entries
                for curve in [overlaps[section.place(name)].get((section.key, entry.name))]
            ]
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
    ranked = [entry.ranked for entry in section.entries]
    rivals = [np.where(ranked, row, np.nan).tolist() for row in rows]
    alone = sum(ranked) < 2
    places = [[0] * len(row) if alone else best(row, low=which.low, digits=which.digits) for row in rivals]
    values = [[number(value) for value in row] for row in rows]
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
        "x": [number(value) for value in across],
        "overall": [[number(value) for value in row] if np.isfinite(row).any() else None for row in rows],
        "values": [number(entry.overall(section.score(curve))) for entry in section.entries],
        # Without curves of the sequences, those of attributes cannot be made from them.
        "sequences": base64_text(every.tobytes()) if np.isfinite(every).any() else None,
    }


def _scatter(
    points: list[tuple[Entry, float, float]], across: str, up: str, *, log: bool, unit: str
) -> dict[str, Any]:
    return {
        "across": across,
        "up": up,
        "points": [[entry.number, number(x), number(y)] for entry, x, y in points],
        "log": log,
        "unit": unit,
    }


def _film(film: Film) -> dict[str, Any]:
    known = filmstrip.present(film.annotation.boxes)
    boxes = film.annotation.boxes[known]
    path = (boxes[:, :2] + boxes[:, 2:] / 2)[:: max(1, len(boxes) // 100)]
    return {
        "view": [*film.corner, film.size[1], film.size[0]],
        "frames": film.frames,
        "worst": film.worst,
        "images": [image and data_url(image, "jpeg") for image in film.images],
        "truth": [_box(film.annotation.boxes[frame]) if known[frame] else None for frame in film.frames],
        "path": [] if any(film.images) else path.round(1).tolist(),
    }


def _box(box: np.ndarray | None) -> list[float] | None:
    return None if box is None else [round(float(value), 1) for value in box]
