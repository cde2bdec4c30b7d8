"""The plots of a report as files for papers: PNG, SVG and PDF."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from jtrack.benchmark.report.sections import Curve, Entry, Section

FORMATS = ("png", "svg", "pdf")
# Names are text, not mathematics; fonts are embedded as publishers want them; the same input, the same file.
STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "jtrack",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 7.5,
    "legend.handlelength": 2.6,
    "savefig.dpi": 200,
}
LEGEND = 24  # trackers in one column of a legend
INSIDE = 6  # the most trackers whose legend stands in a plot: a longer one would cover the curves


def write(section: Section, folder: Path) -> None:
    """Writes every figure of a section in every format into a folder."""
    with mpl.rc_context(STYLE):
        for name, figure in figures(section):
            save(figure, folder, f"{section.key}-{name}")


def save(figure: Figure, folder: Path, stem: str, formats: Iterable[str] = FORMATS) -> None:
    """Writes a figure, made under `STYLE`, in each format: the same figure, the same file."""
    for suffix in formats:
        stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
        figure.savefig(folder / f"{stem}.{suffix}", metadata=stamp, bbox_inches="tight")


def figures(section: Section) -> Iterator[tuple[str, Figure]]:
    """The figures that a section has data for, each with its name."""
    for curve in section.curves:
        yield curve.key.replace("_", "-"), curves(section, curve)
    if len(section.attributes) > 2:
        yield "attributes", radar(section)
    if section.attributes and section.curves and section.has_sequence_curves:
        main = section.curves[0]
        yield f"{main.key}-by-attribute", curves_by_attribute(section, main)
    if accuracy_robustness_points(section):
        yield "accuracy-robustness", scatter(section, *AR_AXES, accuracy_robustness_points(section))
    if points := speed_points(section):
        first = section.measures[0]
        yield "speed", scatter(section, "Frames a second", first.title, points, log=True)


AR_AXES = ("Robustness", "Accuracy")


def curves(section: Section, curve: Curve) -> Figure:
    """Success or precision against thresholds, ranked in the legend as papers have it."""
    figure, axes = _empty()
    ranked = section.ranked(curve)
    across, rows = section.values(curve, [entry for entry, _ in ranked])
    for (entry, value), row in zip(ranked, rows, strict=True):
        axes.plot(across, row, label=f"{entry.name} [{value:.3f}]", **_look(entry))
    axes.set(xlim=(0, across[-1]), ylim=(0, 1), xlabel=curve.across, ylabel=curve.up)
    axes.set_title(f"{curve.title} plots of {section.title}")
    _legend(axes, "lower right" if curve.at else "lower left" if curve.end else "upper right")
    return figure


def curves_by_attribute(section: Section, curve: Curve) -> Figure:
    """The same plot for the sequences of each attribute, side by side."""
    across, _ = section.values(curve, section.entries)
    measure = section.score(curve)
    columns = 3 if len(section.entries) <= INSIDE else 2
    rows = -(-len(section.attributes) // columns)
    figure = Figure(figsize=(10.5, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.set_visible(False)
    for axes, (attribute, names) in zip(figure.axes, section.attributes.items(), strict=False):
        axes.set_visible(True)
        ranked = [
            (entry, entry.by_attribute(measure, attribute), mean)
            for entry in section.entries
            if (mean := entry.mean_curve(curve.key, names)) is not None
        ]
        for entry, value, row in sorted(
            ranked, key=lambda item: (not item[0].ranked, -np.nan_to_num(item[1]))
        ):
            axes.plot(across, row, label=f"{entry.name} [{value:.3f}]", **_look(entry))
        axes.set(xlim=(0, across[-1]), ylim=(0, 1), xlabel=curve.across, ylabel=curve.up)
        axes.set_title(f"{attribute} ({len(names)})")
        _legend(axes, "lower left" if curve.at is None else "lower right")
    return figure


def radar(section: Section) -> Figure:
    """The first measure by attribute, on spokes."""
    first = section.attribute_measure
    figure = Figure(figsize=(4.8, 4.2))
    axes: Any = figure.add_subplot(projection="polar")
    angles = np.arange(len(section.attributes) + 1) * 2 * np.pi / len(section.attributes)
    for entry in section.entries:
        values = np.array([entry.by_attribute(first.key, name) for name in section.attributes])
        known = np.flatnonzero(np.isfinite(values))  # spokes without a value are passed over
        closed = [*known, *known[:1]]
        axes.plot(angles[closed], values[closed], label=entry.name, **_look(entry))
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_xticks(angles[:-1], [f"{name} ({len(s)})" for name, s in section.attributes.items()])
    axes.tick_params(axis="x", pad=9)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_rlabel_position(180 / len(section.attributes))  # between two spokes
    axes.set_ylim(bottom=0)
    axes.set_title(f"{first.title} by attribute, {section.title}", pad=18)
    axes.legend(*_handles(axes), loc="center left", bbox_to_anchor=(1.2, 0.5))
    return figure


def speed_points(section: Section) -> list[tuple[Entry, float, float]]:
    """(tracker, frames a second, first measure) of those that were timed."""
    first = section.measures[0]
    points = [(e, e.scored.fps or np.nan, e.overall(first.key)) for e in section.entries]
    return [point for point in points if np.isfinite(point[1:]).all()]


def accuracy_robustness_points(section: Section) -> list[tuple[Entry, float, float]]:
    """(tracker, robustness, accuracy) of those that have both."""
    points = [(e, e.overall("robustness"), e.overall("accuracy")) for e in section.entries]
    return [point for point in points if np.isfinite(point[1:]).all()]


def scatter(
    section: Section, across: str, up: str, points: list[tuple[Entry, float, float]], *, log: bool = False
) -> Figure:
    """One point a tracker."""
    figure, axes = _empty()
    for entry, x, y in points:
        axes.plot(x, y, entry.look.marker, color=entry.look.colour, markersize=6, label=entry.name)
    axes.legend(*_handles(axes), loc="upper left", bbox_to_anchor=(1.02, 1.0))
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.2)
    axes.set(xlabel=across, ylabel=up, title=f"{up} and {across.lower()}, {section.title}")
    return figure


def _empty() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.2, 3.3))
    return figure, figure.add_subplot()


def _look(entry: Entry) -> dict[str, Any]:
    # matplotlib counts dashes in line widths; `Look` has them in pixels of a line two wide.
    dash = entry.look.dash
    style: Any = (0, tuple(part / 2 for part in dash)) if dash else "-"
    return {"color": entry.look.colour, "linestyle": style, "linewidth": 1.6}


def _handles(axes: Any) -> tuple[list[Any], list[str]]:
    """Lines and names for a legend; matplotlib would leave out names that begin with an underscore."""
    lines = axes.get_lines()
    return lines, [line.get_label() for line in lines]


def _legend(axes: Any, place: str) -> None:
    """A legend in the plot, or, a long one, beside it."""
    lines, labels = _handles(axes)
    columns = 1 + len(lines) // LEGEND
    if len(lines) > INSIDE:
        axes.legend(lines, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), ncols=columns)
        return
    legend = axes.legend(lines, labels, loc=place)
    legend.set_in_layout(False)  # a long name shall not squeeze the plot
