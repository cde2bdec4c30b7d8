"""Accuracy against speed: the picture and the table of docs/trackers/index.md.

    python bench/accuracy_speed.py            # writes both anew
    python bench/accuracy_speed.py --check    # exits with 1 if the table is not what the ledger gives

Accuracy is that of runs of the ledger (docs/runs), of all their sequences in `JTRACK_DATA` (by default
../shared/data). Speeds are those of quiet machines, typed from the page that is named beside each; a run's
own times are of a machine with other work, and stand only where there is nothing better, as a lower bound.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from bench.ledger import ROOT, data_folder
from bench.parting import kept
from bench.tables import Scores, scores
from jtrack import data
from jtrack.benchmark import metrics

PAGE = ROOT / "docs" / "trackers" / "index.md"
PICTURE = ROOT / "docs" / "figures" / "accuracy-speed.svg"
BLOCK = re.compile(r"(<!-- table: accuracy-speed -->\n).*?(<!-- end of table -->)", re.DOTALL)
# Dark enough for text on white.
COLOURS = {
    "HCFT": "#1f5fa8",
    "FCNT": "#b3541e",
    "CNN-SVM": "#2c7a3f",
    "GDT": "#7a3fa0",
    "DeepTrack": "#a02c4a",
}


class Point(NamedTuple):
    """One tracker on one network."""

    tracker: str
    network: str
    run: str  # of docs/runs
    fps: float | None  # on two quiet CPU cores; None: not measured on this network
    source: str  # the page that has it
    label: str = "right"  # where its name stands: right, left or below


MANUAL, CHOOSING, EARLIER, BENCH = (
    "docs/manual/measured.md",
    "docs/choosing.md",
    "docs/earlier.md",
    "bench/README.md",
)
SHORT = {MANUAL: "manual", CHOOSING: "choosing", EARLIER: "earlier", BENCH: "bench"}
POINTS = (
    Point("HCFT", "HOG", "hcft-default-hog-d857974c609f", 299.5, EARLIER, "left"),
    Point("HCFT", "compact", "hcft-default-compact-cf6f5376780a", 91, MANUAL),
    Point("HCFT", "AlexNet", "hcft-default-alexnet_torchvision-aef9ffb679eb", 55.5, CHOOSING),
    Point("HCFT", "GoogLeNet", "hcft-default-googlenet-d3ce1e2b2b9f", 28.2, CHOOSING),
    Point("HCFT", "VGG-16, bfloat16", "hcft-default-vgg16_torchvision-42ddef08ec7b", 9.2, CHOOSING),
    Point("FCNT", "GoogLeNet", "fcnt-default-googlenet-0b5da7a87949", 38.1, EARLIER, "left"),
    Point("FCNT", "AlexNet", "fcnt-default-alexnet_torchvision-b37a8a9b1ec8", 27.8, BENCH),
    Point("FCNT", "VGG-16, bfloat16", "fcnt-default-vgg16_torchvision-efa0d1226202", 9.2, BENCH),
    Point("GDT", "GoogLeNet", "gdt-default-googlenet-7545d9fe8215", 10.0, EARLIER),
    Point("CNN-SVM", "GoogLeNet", "cnn_svm-default-googlenet-c7a2da3743f3", None, "", "below"),
    Point("DeepTrack", "none", "deeptrack-default-none-64edd39bb3a3", 4.5, EARLIER),
)
# Where a name stands: its distance in points, and which side of it the mark is at.
LABELS = {
    "right": ((9, 0), "left", "center"),
    "left": ((-9, 0), "right", "center"),
    "below": ((-8, -10), "left", "top"),
}
SETS = {"otb": "twelve visible", "otb_validation": "five of validation"}


class Row(NamedTuple):
    """A point as it is drawn."""

    point: Point
    fps: float
    bound: bool  # whether the machine had other work
    means: dict[str, tuple[float, float]]  # of each set: precision at 20 px, AUC
    auc: float  # the mean over all sequences


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the table is right")
    parser.add_argument("--data", type=Path, default=data_folder())
    options = parser.parse_args()
    found = rows(options.data)
    before = PAGE.read_text("utf-8")
    after = BLOCK.sub(lambda block: f"{block[1]}{table(found)}\n{block[2]}", before)
    if options.check:
        sys.exit(f"{PAGE} has another table: run bench/accuracy_speed.py" if before != after else 0)
    PAGE.write_text(after, "utf-8")
    draw(found)


def rows(root: Path) -> list[Row]:
    """Accuracy and speed of every point."""
    truths = {}
    for folder in SETS:
        dataset = data.open_dataset("otb", root / folder)
        truths[folder] = {name: dataset.annotation(name) for name in dataset.names}
    made = []
    for point in POINTS:
        run = kept(point.run)
        scored = {folder: scores(run, truth) for folder, truth in truths.items()}
        every = [seeds[0][1] for found in scored.values() for seeds in found.values()]
        trials = [trial for trials in run.trajectories.values() for trial in trials]
        busy = metrics.speed(trial.seconds for trial in trials if trial.seconds is not None)
        fps = point.fps or busy
        assert fps is not None, point.run
        means = {folder: mean(found) for folder, found in scored.items()}
        made.append(Row(point, fps, point.fps is None, means, statistics.mean(every)))
    return made


def mean(found: Scores) -> tuple[float, float]:
    """Precision and AUC, over sequences."""
    precision, auc = zip(*(seeds[0] for seeds in found.values()), strict=True)
    return statistics.mean(precision), statistics.mean(auc)


def table(found: list[Row]) -> str:
    """Markdown."""
    head = ["Tracker", "Network", *(f"{name.capitalize()}" for name in SETS.values()), "AUC of all"]
    lines = [[*head, "Frames a second", "Speed from"]]
    lines += [["---"] * len(lines[0])]
    for row in found:
        of_sets = [f"{precision:.3f} / {auc:.3f}" for precision, auc in row.means.values()]
        speed = f"above {row.fps:.1f}" if row.bound else f"{row.fps:g}"
        page = row.point.source
        source = "its own run" if row.bound else f"[{SHORT[page]}](../../{page})"
        lines.append([row.point.tracker, row.point.network, *of_sets, f"{row.auc:.3f}", speed, source])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(found: list[Row]) -> None:
    """The picture."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "jtrack", "font.family": "DejaVu Sans", "font.size": 13}
    figure, axes = plt.subplots(figsize=(8, 5.6), layout="constrained")
    for row in found:
        colour = COLOURS[row.point.tracker]
        face = "white" if row.bound else colour
        axes.plot(row.fps, row.auc, "o", markersize=10, color=colour, markerfacecolor=face)
        name = row.point.tracker + ("" if row.point.network == "none" else f", {row.point.network}")
        shift, across, along = LABELS[row.point.label]
        axes.annotate(
            name,
            (row.fps, row.auc),
            shift,
            textcoords="offset points",
            ha=across,
            va=along,
            color=colour,
            size=11.5,
        )
    axes.set_xscale("log")
    axes.set(xlim=(2, 500), xlabel="Frames a second on two CPU cores", ylabel="AUC, mean over 17 sequences")
    axes.set_xticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    main()
