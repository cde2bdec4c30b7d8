"""Nine trackers are told apart, in colour, by colour-blind eyes and in print."""

import itertools

import numpy as np
import pytest

from jtrack.benchmark.report.looks import COLOURS, look


def test_forty_trackers_look_different_and_nine_without_colour():
    found = [look(number) for number in range(40)]
    assert len({(one.colour, one.dash) for one in found}) == 40
    assert len({one.dash for one in found[:9]}) == len({one.marker for one in found[:9]}) == 9


def linear(colour):
    """Red, green and blue of a colour, as light adds up."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(light):
    """CIELAB of linear RGB [3]."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(light, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency"
# (2009), table 1, severity 1.
SEEN = {
    "by most": [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]],
    "with protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "with deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("kind", SEEN)
def test_colours_differ_to_colour_blind_eyes(kind):
    seen = [lab(np.array(SEEN[kind]) @ linear(colour)) for colour in COLOURS]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 23


def luminance(colour):
    return linear(colour) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize(("ground", "least"), [("#ffffff", 2.5), ("#1b1f24", 3)])
def test_colours_are_seen_on_the_pages_grounds(ground, least):
    """The contrast of WCAG 2; the grounds are --raised of page.css."""
    for colour in COLOURS:
        low, high = sorted([luminance(colour), luminance(ground)])
        assert (high + 0.05) / (low + 0.05) > least, colour
