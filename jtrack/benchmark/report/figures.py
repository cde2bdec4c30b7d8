"""The plots of a report as files for papers: PNG, SVG and PDF."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from jtrack.benchmark.report.looks import Look
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
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 2.6,
    "savefig.dpi": 200,
}
LEGEND = 24  # trackers in one column of a legend
DOT = 5  # points from the middle of a marker to where it is clear
# Where a name may stand beside its point, the best place first: points right and up, and its alignment.
SIDES = (
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
    (5, 5, "left", "bottom"),
    (5, -5, "left", "top"),
    (-5, 5, "right", "bottom"),
    (-5, -5, "right", "top"),
)
WIDE = 3  # the ratio of the ends from which on speeds are logarithmic
DECADES = 2  # beyond which a logarithmic axis has room for powers of ten alone


def write(section: Section, folder: Path) -> None:
    """Writes every figure of a section in every format into a folder."""
    with mpl.rc_context(STYLE):
        for name, figure in figures(section):
            save(figure, folder, f"{section.key}-{name}")


def save(
    figure: Figure,
    folder: Path,
    stem: str,
    formats: Iterable[str] = FORMATS,
    *,
    bbox_inches: Literal["tight"] | None = "tight",
) -> None:
    """Writes a figure, made under `STYLE`, in each format: the same figure, the same file.

    `bbox_inches` is matplotlib's; with None the figure keeps its margins, and every pixel its place.
    """
    for suffix in formats:
        stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
        figure.savefig(folder / f"{stem}.{suffix}", metadata=stamp, bbox_inches=bbox_inches)


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
    _legend(axes)
    return figure


def curves_by_attribute(section: Section, curve: Curve) -> Figure:
    """The same plot for the sequences of each attribute, side by side."""
    across, _ = section.values(curve, section.entries)
    measure = section.score(curve)
    rows = -(-len(section.attributes) // 2)
    figure = Figure(figsize=(10.5, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).flat
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
        _legend(axes)
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
    for label, across in zip(axes.get_xticklabels(), np.sin(angles[:-1]), strict=True):
        label.set_horizontalalignment("center" if abs(across) < 0.1 else "left" if across > 0 else "right")
    axes.tick_params(axis="x", pad=3)
    axes.tick_params(axis="y", labelsize=7)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_rlabel_position(180 / len(section.attributes))  # between two spokes
    axes.set_ylim(bottom=0)
    axes.set_title(f"{first.title} by attribute, {section.title}", pad=18)
    axes.legend(*_handles(axes), loc="center left", bbox_to_anchor=(1.3, 0.5))
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
    """One point a tracker, its name beside it; with a legend where names would cover each other."""
    figure, axes = _empty()
    for entry, x, y in points:
        axes.plot(x, y, entry.look.marker, color=entry.look.colour, markersize=6, label=entry.name)
    axes.margins(0.2)
    axes.set(xlabel=across, ylabel=up, title=f"{up} and {across.lower()}, {section.title}")
    ends = [bound([x for _, x, _ in points]) for bound in (min, max)]
    if log and ends[1] >= WIDE * ends[0]:
        axes.set_xscale("log")
        logarithmic(axes.xaxis, *ends)
    if not name_points(axes, points):
        _legend(axes)
    return figure


def name_points(axes: Any, points: Iterable[tuple[Entry, float, float]]) -> bool:
    """Writes names beside points where they cover no point or name; returns whether all have room."""
    axes.figure.draw_without_rendering()  # which settles the scale
    clear = DOT * axes.figure.dpi / 72
    dots = [axes.transData.transform((x, y)) for _, x, y in points]
    taken = [Bbox([dot - clear, dot + clear]) for dot in dots]
    inside, everywhere = axes.get_window_extent(), True
    for entry, x, y in points:
        for right, up, horizontal, vertical in SIDES:
            name = axes.annotate(
                entry.name,
                (x, y),
                (right, up),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=7.5,
            )
            place = name.get_window_extent()
            if inside.containsx(place.x0) and inside.containsx(place.x1) and not place.count_overlaps(taken):
                taken.append(place)
                break
            name.remove()
        else:
            everywhere = False
    return everywhere


def logarithmic(axis: Any, low: float, high: float) -> None:
    """Plain numbers at 1, 2 and 5 of every decade between two ends; where these are many, at 1 alone."""
    few = high > 10**DECADES * low
    axis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _empty() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.2, 3.3))
    return figure, figure.add_subplot()


def line_style(look: Look) -> Any:
    """The dashes of a look, as matplotlib has them."""
    # It counts dashes in line widths; `Look` has them in pixels of a line two wide.
    return (0, tuple(part / 2 for part in look.dash)) if look.dash else "-"


def _look(entry: Entry) -> dict[str, Any]:
    return {"color": entry.look.colour, "linestyle": line_style(entry.look), "linewidth": 1.6}


def _handles(axes: Any) -> tuple[list[Any], list[str]]:
    """Lines and names for a legend; matplotlib would leave out names that begin with an underscore."""
    lines = axes.get_lines()
    return lines, [line.get_label() for line in lines]


def _legend(axes: Any) -> None:
    """A legend beside the plot, where it covers nothing."""
    lines, labels = _handles(axes)
    columns = 1 + len(lines) // LEGEND
    axes.legend(lines, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), ncols=columns)
