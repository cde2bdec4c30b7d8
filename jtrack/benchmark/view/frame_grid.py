"""Chosen frames with everybody's boxes, as papers of trackers show them: a row a sequence, one legend.

    called = [Called(name, look(number), results) for ...]
    drawn = frame_grid.draw(dataset, called, {"Crossing": [9, 49, 99]})
    frame_grid.save(drawn.figure, folder, "crossing")     # crossing.png and crossing.pdf

Trackers have the colours and dashes that they have in a report; the annotation is white. Frames stand one to
one in the PNG file, boxes are lines of their own in the PDF. It needs the extra `report`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from jtrack.benchmark.report import figures, filmstrip
from jtrack.benchmark.report.looks import Look
from jtrack.benchmark.results import Results
from jtrack.benchmark.view import FIGURE_FORMATS, tracks
from jtrack.data import Dataset
from jtrack.data import Sequence as AnnotatedSequence
from jtrack.errors import JtrackError, printable

EVEN = 5  # frames of a sequence where none are named
ROWS, COLUMNS = 40, 12  # at most: more are not readable on a page
# Dots an inch, a power of two: then sizes in inches are exact, and so is every pixel of a frame.
DPI = 256
WIDTH = 7 * DPI  # pixels, of the figure: that of a page's text
MARGIN, GAP = 52, 10  # pixels: left of a row, for its name, and between pictures
LINE, EDGE = 1.1, 1.7  # points: the width of a box, and of the dark ground beneath it
WHITE, DARK = "#ffffff", "#18181c"
TRUTH = "Ground truth"


class Called(NamedTuple):
    """A run and how it is drawn."""

    name: str
    look: Look
    results: Results


class Drawn(NamedTuple):
    """A figure, and what is not in it."""

    figure: Figure
    notes: list[str]  # a sentence for each run that lacks boxes


class _Panel(NamedTuple):
    """A frame."""

    number: int  # from 0
    image: np.ndarray  # [H, W, 3]
    truth: np.ndarray  # [P, 2] corners; NaN for none
    outlines: list[np.ndarray]  # of each run


def draw(dataset: Dataset, called: Sequence[Called], frames: Mapping[str, Sequence[int]]) -> Drawn:
    """Draws frames of some sequences.

    Args:
      dataset: with images.
      called: the runs, the first one on top; of several trials the first is drawn that has the frame.
      frames: sequence -> the numbers of its frames, from 0; none for `EVEN` ones.

    Raises:
      JtrackError: an unknown sequence or frame, one without an image, more than `ROWS` or `COLUMNS` of them,
        or no box of any run in all of them.
    """
    if not 0 < len(frames) <= ROWS:
        raise JtrackError(f"a figure has 1 to {ROWS} sequences, not {len(frames)}: name those wanted")
    lacking: dict[str, list[str]] = {each.name: [] for each in called}
    rows = {name: _row(dataset.sequence(name), called, numbers, lacking) for name, numbers in frames.items()}
    if not any(np.isfinite(corners).all() for row in rows.values() for p in row for corners in p.outlines):
        raise JtrackError(f"no run has a box in these frames of {', '.join(map(printable, frames))}")
    notes = [f"{name} has no box in {', '.join(where)}" for name, where in lacking.items() if where]
    with mpl.rc_context(figures.STYLE):
        return Drawn(_figure(rows, called), notes)


def save(figure: Figure, folder: Path, stem: str) -> None:
    """Writes a figure as PNG and PDF."""
    with mpl.rc_context({**figures.STYLE, "savefig.dpi": DPI}):
        figures.save(figure, folder, stem, FIGURE_FORMATS, bbox_inches=None)


def evenly_spread(length: int) -> list[int]:
    """At most `EVEN` frames of so many, from 0: none is the first, in which all boxes are given."""
    return sorted({round(frame) for frame in np.linspace(0, length - 1, EVEN + 1)[1:]})


def _row(
    sequence: AnnotatedSequence,
    called: Sequence[Called],
    numbers: Sequence[int],
    lacking: dict[str, list[str]],
) -> list[_Panel]:
    """The frames of a sequence; what a run lacks of them is added to `lacking`, by its name."""
    length, name = len(sequence.boxes), printable(sequence.name)
    numbers = numbers or evenly_spread(length)
    if len(numbers) > COLUMNS:
        raise JtrackError(f"{len(numbers)} frames of {name} are too many for a row: name at most {COLUMNS}")
    if wrong := [number for number in numbers if not 0 <= number < length]:
        raise JtrackError(f"{name} has no frame {wrong[0] + 1}: its frames are 1 to {length}")
    shown = [_outlines(each.results, sequence, numbers) for each in called]
    for each, outlines in zip(called, shown, strict=True):
        none = [n + 1 for n, corners in zip(numbers, outlines, strict=True) if np.isnan(corners).any()]
        if len(none) == len(numbers):
            lacking[each.name].append(f"{name} (all frames)")
        elif none:
            lacking[each.name].append(f"{name} ({', '.join(map(str, none))})")
    read = filmstrip.reader(sequence.frames, sorted(numbers))
    truth = tracks.outlines(sequence.boxes, sequence.polygons)
    panels = []
    for place, number in enumerate(numbers):
        if (image := read(number)) is None:
            raise JtrackError(f"cannot read frame {number + 1} of {name}: get its image again")
        panels.append(_Panel(number, image, truth[number], [outlines[place] for outlines in shown]))
    return panels


def _outlines(results: Results, sequence: AnnotatedSequence, numbers: Sequence[int]) -> list[np.ndarray]:
    """The corners [P, 2] in each of some frames, of the first trial that has any; NaN for none."""
    found = [np.full((4, 2), np.nan)] * len(numbers)
    trials, _ = tracks.fitting(results, sequence)
    for trial in reversed(trials):
        corners = tracks.outlines(trial.boxes, trial.polygons)
        for place, number in enumerate(numbers):
            row = number - trial.start
            if 0 <= row < len(corners) and np.isfinite(corners[row]).all():
                found[place] = corners[row]
    return found


def _figure(rows: Mapping[str, Sequence[_Panel]], called: Sequence[Called]) -> Figure:
    """Places the panels pixel by pixel, from the top, and the legend beneath them."""
    columns = max(map(len, rows.values()))
    width = (WIDTH - MARGIN - (columns - 1) * GAP) // columns
    heights = [round(width * row[0].image.shape[0] / row[0].image.shape[1]) for row in rows.values()]
    figure = Figure(figsize=(WIDTH / DPI, 1), dpi=DPI)
    below = _legend(figure, called)
    whole = sum(heights) + GAP * len(heights) + below
    figure.set_size_inches(WIDTH / DPI, whole / DPI)
    top = whole
    for (name, row), height in zip(rows.items(), heights, strict=True):
        bottom = top - height
        _name(figure, name, (bottom + height / 2) / whole, height)
        for place, panel in enumerate(row):
            left = MARGIN + place * (width + GAP)
            at = (left / WIDTH, bottom / whole, width / WIDTH, height / whole)
            _draw_panel(figure.add_axes(at), panel, called, (width, height))
        top = bottom - GAP
    return figure


def _draw_panel(axes: Any, panel: _Panel, called: Sequence[Called], size: tuple[int, int]) -> None:
    """A frame at a size (width, height) in pixels, its boxes and its number."""
    height, width = panel.image.shape[:2]
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
    image = cv2.resize(panel.image, size, interpolation=method)
    axes.imshow(image, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    text = {"color": WHITE, "fontsize": 6.5, "va": "top", "ha": "left"}
    ground = {"facecolor": DARK, "edgecolor": "none", "pad": 1.2, "alpha": 0.75}
    axes.text(0.02, 0.97, f"#{panel.number + 1}", transform=axes.transAxes, bbox=ground, zorder=4, **text)
    lines = [(panel.truth, _truth())]
    # The first run is drawn last, on top of the others.
    lines += [(c, _line(each.look)) for c, each in zip(panel.outlines, called, strict=True)][::-1]
    for corners, line in lines:
        if np.isfinite(corners).all():
            axes.plot(*np.vstack([corners, corners[:1]]).T, zorder=3, **line)


def _line(look: Look) -> dict[str, Any]:
    """How a run's boxes are drawn."""
    ground = [withStroke(linewidth=EDGE, foreground=DARK)]
    style = {"color": look.colour, "linestyle": figures.line_style(look), "linewidth": LINE}
    return {**style, "path_effects": ground, "solid_joinstyle": "miter"}


def _truth() -> dict[str, Any]:
    """How annotations are drawn."""
    ground = [withStroke(linewidth=EDGE, foreground=DARK)]
    return {"color": WHITE, "linewidth": LINE, "path_effects": ground, "solid_joinstyle": "miter"}


def _legend(figure: Figure, called: Sequence[Called]) -> int:
    """A legend at the bottom, in as few lines as its names allow; its height in pixels."""
    handles = [Line2D([], [], **_line(each.look)) for each in called] + [Line2D([], [], **_truth())]
    names = [each.name for each in called] + [TRUTH]
    for columns in range(len(names), 0, -1):
        legend = figure.legend(
            handles, names, loc="lower center", ncols=columns, borderpad=0.2, columnspacing=1.4
        )
        extent = legend.get_window_extent()
        if extent.width <= WIDTH or columns == 1:
            break
        legend.remove()
    return int(np.ceil(extent.height)) + GAP


def _name(figure: Figure, name: str, middle: float, height: int) -> None:
    """A sequence's name beside its row, as small as the row's height in pixels needs."""
    at = MARGIN / 2 / WIDTH
    text = figure.text(at, middle, printable(name), rotation=90, va="center", ha="center", fontsize=8)
    text.set_fontsize(8 * min(1.0, height / text.get_window_extent().height))
