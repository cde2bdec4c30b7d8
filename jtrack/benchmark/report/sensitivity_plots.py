"""The plots of a sweep: each figure against each number that was swept, as PNG and PDF.

A bar is the 95 % interval of the difference to the base, drawn from the base's own figure: one that misses
the base's line tells the setting from it. Settings that differ in this number alone are joined.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from jtrack.benchmark.report.figures import STYLE, line_style, logarithmic
from jtrack.benchmark.report.looks import COLOURS, look
from jtrack.benchmark.report.sections import measure
from jtrack.benchmark.sensitivity import Outcome, figures
from jtrack.checks import there
from jtrack.whole import replacing

FORMATS = ("png", "pdf")
LINES = 6  # at most; more are points without a legend
APART = 4  # points between the bars of two lines
WIDE = 8  # the ratio of the ends from which on an axis is logarithmic


def write(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Writes a plot for each number that was swept, and of each figure a panel.

    Args:
      outcomes: the settings that were compared, the base first.
      folder: the folder.

    Returns:
      The files; none where no number was swept.

    Raises:
      OSError: one cannot be written.
    """
    written = []
    with mpl.rc_context(STYLE):
        for name in numbers(outcomes):
            figure = plot(outcomes, name)
            for suffix in FORMATS:
                path = folder / f"sweep-{name}.{suffix}"
                stamp = {"CreationDate": None} if suffix == "pdf" else None
                with replacing(path) as part:
                    figure.savefig(part, format=suffix, metadata=stamp, bbox_inches="tight")
                written.append(path)
    return written


def numbers(outcomes: Sequence[Outcome]) -> list[str]:
    """The fields that are one number in every setting, and not the same one in all."""
    return [
        name
        for name in outcomes[0].values
        if all(math.isfinite(_number(each.values[name])) for each in outcomes)
        and len({each.values[name] for each in outcomes}) > 1
    ]


def plot(outcomes: Sequence[Outcome], name: str) -> Figure:
    """Each figure against one number."""
    base = outcomes[0]
    keys = figures(there(base.scored))
    sheet = Figure(figsize=(4.2 * len(keys), 3.3), layout="constrained")
    panels = list(sheet.subplots(1, len(keys), squeeze=False).flat)
    lines = joined(outcomes, name)
    colours = _colours(sheet, panels, outcomes, lines, name)
    for axes, key in zip(panels, keys, strict=True):
        level = there(base.scored).measures[key]
        axes.axhline(level, color="0.5", linestyle="--", linewidth=1, zorder=1)
        for number, ((title, line), colour) in enumerate(zip(lines.items(), colours, strict=True)):
            aside = APART * (number - (len(lines) - 1) / 2) if len(lines) <= LINES else 0
            place = axes.transData + ScaledTranslation(aside / 72, 0, sheet.dpi_scale_trans)
            drawn = look(number if len(lines) <= LINES else 0)
            style = {"linestyle": line_style(drawn), "marker": drawn.marker, "label": title or None}
            _line(axes, line, name, key, level, style, color=colour, transform=place)
        x = _number(base.values[name])
        axes.plot(x, level, "*", color="black", markersize=11, label="base", zorder=3)
        axes.set(xlabel=name, ylabel=measure(key).title)
        _scale(axes, [_number(each.values[name]) for each in outcomes])
    if len(lines) <= LINES:
        sheet.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")  # covers nothing
    return sheet


def joined(outcomes: Sequence[Outcome], name: str) -> dict[str, list[Outcome]]:
    """Settings that differ in one number alone, by the values of all other fields that were swept.

    The base is left out where no other is like it.
    """
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        others = " ".join(f"{field}={text}" for field, text in each.values.items() if field != name and text)
        groups.setdefault(others, []).append(each)
    return {
        title: sorted(line, key=lambda each: _number(each.values[name]))
        for title, line in groups.items()
        if line != [outcomes[0]]
    }


def _colours(
    sheet: Figure, panels: list[Any], outcomes: Sequence[Outcome], lines: dict[str, list[Outcome]], name: str
) -> list[Any]:
    """Of each line: its own; where these are too many for a legend, by the other number, or one for all."""
    if len(lines) <= LINES:
        return list(COLOURS[: len(lines)])
    others = [field for field in outcomes[0].values if field != name]
    if others != [field for field in numbers(outcomes) if field != name] or len(others) != 1:
        return [COLOURS[0]] * len(lines)
    of_lines = [_number(line[0].values[others[0]]) for line in lines.values()]
    norm = (LogNorm if _spread(of_lines) else Normalize)(min(of_lines), max(of_lines))
    scale = ScalarMappable(norm, "viridis")
    bar = sheet.colorbar(scale, ax=panels, label=others[0])
    if _spread(of_lines):
        logarithmic(bar.ax.yaxis, min(of_lines), max(of_lines))
    return list(scale.to_rgba(np.array(of_lines)))


def _line(
    axes: Any,
    line: Sequence[Outcome],
    name: str,
    key: str,
    level: float,
    style: dict[str, Any],
    **common: Any,
) -> None:
    known = [each for each in line if each.scored is not None and math.isfinite(each.scored.measures[key])]
    across = [_number(each.values[name]) for each in known]
    up = [there(each.scored).measures[key] for each in known]
    axes.plot(across, up, markersize=4, linewidth=1.4, zorder=2, **style, **common)
    shown = list(zip(across, up, strict=True))
    for x, each in zip(across, known, strict=True):
        if key in each.differences:
            ends = [level + end for end in each.differences[key][1:]]
            axes.vlines(x, *ends, alpha=0.5, linewidth=1.2, **common)
            shown += [(x, end) for end in ends if math.isfinite(end)]
    if shown:
        axes.update_datalim(shown)  # which is not done for what is moved aside


def _spread(values: Sequence[float]) -> bool:
    """Whether numbers are better seen by their logarithm."""
    return min(values) > 0 and max(values) >= WIDE * min(values)


def _scale(axes: Any, values: Sequence[float]) -> None:
    if _spread(values):
        axes.set_xscale("log")
        logarithmic(axes.xaxis, min(values), max(values))
    axes.autoscale_view()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
