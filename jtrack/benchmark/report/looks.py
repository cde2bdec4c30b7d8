"""How trackers look: a colour, a dash and a marker, so that each is told apart in grey and in print too."""

from typing import NamedTuple

# Found by search near Okabe and Ito's hues: as far apart as they get to all eyes (CIELAB, 23 at least with
# protanopia or deuteranopia), with a contrast of 2.5 on white and 3 on the pages' dark ground.
COLOURS = ("#117bc3", "#bf4e15", "#00b983", "#a15e84", "#e58b04", "#35aec9", "#665cf0", "#9b5d41")
# Pixels on, off, ... of a line two pixels wide; nine, so that a colour comes again with another dash.
DASHES = (
    (),
    (6, 3),
    (2, 2),
    (9, 2, 2, 2),
    (14, 4),
    (8, 2, 2, 2, 2, 2),
    (2, 5),
    (14, 3, 5, 3),
    (5, 6),
)
# As matplotlib and Plotly call the same shape; nine too.
MARKERS = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("*", "star"),
    ("p", "pentagon"),
)


class Look(NamedTuple):
    """How one tracker is drawn, wherever it is."""

    colour: str
    dash: tuple[int, ...]  # of its curves and boxes
    marker: str  # of its points, by matplotlib's name
    symbol: str  # the same by Plotly's


def look(number: int) -> Look:
    """The look of a tracker by its number, from 0."""
    return Look(COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)], *MARKERS[number % len(MARKERS)])
