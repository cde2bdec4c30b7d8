"""Draws the parts of each tracker: docs/figures/NAME.svg.

    python docs/figures/parts.py

From top to bottom what happens in a frame, in the field's four parts; beside it what is learnt, and where it
goes.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FOLDER = Path(__file__).parent
COLOURS = ("#dbe9f6", "#e3f1df", "#fdebd3", "#eee3f3")
UPDATER = "#f6dcdc"
INK = "#222222"
# Of each tracker: motion model, features, observation model, place; and the updater, with the parts that it
# changes (2 is the observation model).
PARTS = {
    "hcft": (
        ("Motion: a search window", "2.8 × the target's side, around the last place"),
        ("Features: three layers", "one forward pass; cosine window; 64 components a layer"),
        ("Observation: three correlation filters", "one response a layer, each over its maximum"),
        ("Place: peak of the weighted sum", "between cells; size from a scale filter"),
        ("Updater", "every frame,\nby its score:\nfilters move a little"),
    ),
    "fcnt": (
        ("Motion: drawn boxes", "around the last box, in place and scale"),
        ("Features: selected maps", "of a deep and a shallower layer, those that matter"),
        ("Observation: GNet and SNet", "two small networks predict heat maps"),
        ("Place: the box with the most heat", "on GNet's map; on SNet's if there is a distractor"),
        ("Updater", "SNet alone: on the\nbest of 20 frames,\nand on distractors"),
    ),
    "cnn_svm": (
        ("Motion: 120 drawn boxes", "around the last place"),
        ("Features: of each box", "a deep layer of a network"),
        ("Observation: an incremental SVM", "scores; its positive weights projected back to pixels"),
        ("Place: a filter on the saliency map", "template of past saliency × where it was expected"),
        ("Updater", "exact: the target +1,\nlow overlap −1;\n200 examples kept"),
    ),
    "deeptrack": (
        ("Motion: drawn boxes", "500 (paper: 1500) around the last one"),
        ("Features: image cues", "contrast, colour, gradient; 32 × 32 pixels a box"),
        ("Observation: a small network a cue", "8 numbers each, fused to one score"),
        ("Place: the best candidates", "their mean, weighed by how likely the step is"),
        ("Updater", "only when the loss\nhas grown: SGD on\ndrawn old patches"),
    ),
    "gdt": (
        ("Motion: places at three scales", "within a search radius"),
        ("Features: network and head", "boxes cut from the region's map; 500 numbers"),
        ("Observation: two Gaussians a number", "target and background; log likelihood ratio"),
        ("Place: the best candidates", "their mean"),
        ("Updater", "Gaussians blended,\nthen one step of the\nhead, if sure"),
    ),
    "correlation": (
        ("Motion: a search window", "2.5 × the target, around the last place"),
        ("Features: gradients or grey values", "cosine window; no network"),
        ("Observation: one correlation filter", "linear, or with a Gaussian kernel"),
        ("Place: peak of the response", "default: between cells, and size from a scale filter"),
        ("Updater", "every frame:\nthe filter moves\na little"),
    ),
}
WIDTH, HEIGHT, GAP = 6.5, 0.92, 0.42  # inches of a box, and between boxes


def main() -> None:
    """Writes the pictures."""
    # The same file from the same text: no date, and names of shapes by a fixed salt.
    mpl.rcParams |= {"svg.hashsalt": "jtrack", "font.family": "DejaVu Sans"}
    for name, parts in PARTS.items():
        figure, axes = plt.subplots(figsize=(9.4, 5.1))
        draw(axes, parts)
        figure.savefig(
            FOLDER / f"{name}.svg", metadata={"Date": None}, facecolor="white", bbox_inches="tight"
        )
        plt.close(figure)


def draw(axes: Axes, parts: tuple[tuple[str, str], ...]) -> None:
    """Draws the parts of one tracker."""
    *steps, (updater, said) = parts
    axes.set(xlim=(-0.05, 9.45), ylim=(-0.05, 4 * (HEIGHT + GAP) - GAP + 0.05))
    axes.set_aspect("equal")
    axes.axis("off")
    bottoms = [(3 - number) * (HEIGHT + GAP) for number in range(4)]
    for (title, text), bottom, colour in zip(steps, bottoms, COLOURS, strict=True):
        box(axes, (0, bottom), (WIDTH, HEIGHT), colour)
        axes.text(0.2, bottom + HEIGHT * 0.66, title, size=14, weight="bold", va="center", color=INK)
        axes.text(0.2, bottom + HEIGHT * 0.26, text, size=11.5, va="center", color=INK)
    for above in bottoms[:-1]:
        arrow(axes, (WIDTH / 2, above), (WIDTH / 2, above - GAP))
    left, low, high = WIDTH + 0.4, bottoms[3], bottoms[2] + HEIGHT
    box(axes, (left, low), (2.5, high - low), UPDATER)
    axes.text(left + 0.15, high - 0.3, updater, size=14, weight="bold", va="center", color=INK)
    axes.text(left + 0.15, high - 0.6, said, size=11.5, va="top", color=INK)
    arrow(axes, (WIDTH, bottoms[3] + HEIGHT / 2), (left, bottoms[3] + HEIGHT / 2))
    arrow(axes, (left, bottoms[2] + HEIGHT / 2), (WIDTH, bottoms[2] + HEIGHT / 2))


def box(axes: Axes, corner: tuple[float, float], size: tuple[float, float], colour: str) -> None:
    """A rounded box."""
    shape = FancyBboxPatch(
        corner, *size, boxstyle="round,pad=0,rounding_size=0.12", facecolor=colour, edgecolor=INK
    )
    axes.add_patch(shape)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=18, color=INK, linewidth=1.5))


if __name__ == "__main__":
    main()
