"""Where two runs of the ledger part: sequences whose AUC differs by a tenth, and from which frame on.

    python bench/parting.py RUN OTHER                        # names in docs/runs; prints the table
    python bench/parting.py RUN OTHER --pictures FOLDER      # and draws the frames around each parting

bench/tables.py puts such tables into docs/results.md.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from bench.ledger import LEDGER, data_folder
from jtrack import data, draw
from jtrack.benchmark import ledger, metrics
from jtrack.benchmark.results import Results
from jtrack.data import Annotation
from jtrack.errors import JtrackError

APART = 0.1  # of AUC
OVERLAP = 0.3  # by which the boxes' overlaps with the truth differ where runs part
FRAMES = 10  # for so long


class Parting(NamedTuple):
    """A sequence in which two runs differ."""

    sequence: str
    auc: tuple[float, float]
    frame: int | None  # from which one of them overlaps the target less for `FRAMES` frames; None: never
    overlaps: tuple[float, float]  # means over those frames


def partings(first: Results, second: Results, truth: Mapping[str, Annotation]) -> list[Parting]:
    """The sequences that both have and differ in, those that differ most first."""
    found = []
    for name in [name for name in truth if name in first.trajectories and name in second.trajectories]:
        measured = [
            metrics.measure(run.trajectories[name][0].boxes, truth[name].boxes) for run in (first, second)
        ]
        one, other = (metrics.rates(metrics.count(each)).auc for each in measured)
        if abs(one - other) >= APART:
            overlaps = [each.overlap for each in measured]
            frame = parting(*overlaps)
            rows = slice(frame, None if frame is None else frame + FRAMES)
            means = float(overlaps[0][rows].mean()), float(overlaps[1][rows].mean())
            found.append(Parting(name, (one, other), frame, means))
    return sorted(found, key=lambda each: -abs(each.auc[0] - each.auc[1]))


def parting(first: np.ndarray, second: np.ndarray) -> int | None:
    """The first frame from which overlaps [T] differ by `OVERLAP`, the same way, for `FRAMES` frames."""
    if len(first) < FRAMES:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(first - second, FRAMES)
    frames = np.flatnonzero((windows > OVERLAP).all(axis=1) | (windows < -OVERLAP).all(axis=1))
    return int(frames[0]) if len(frames) else None


def table(found: list[Parting], titles: tuple[str, str]) -> str:
    """Markdown: a row a sequence."""
    lines = [
        f"|  | AUC {titles[0]} | AUC {titles[1]} | part at frame | overlap there |",
        "| --- |" + " --- |" * 4,
    ]
    for each in found:
        frame = "–" if each.frame is None else str(each.frame)
        overlaps = "{:.2f} / {:.2f}".format(*each.overlaps)
        lines.append(f"| {each.sequence} | {each.auc[0]:.3f} | {each.auc[1]:.3f} | {frame} | {overlaps} |")
    return "\n".join(lines)


def pictures(
    found: list[Parting],
    runs: tuple[Results, Results],
    titles: tuple[str, str],
    dataset: data.Dataset,
    out: Path,
) -> None:
    """Draws, for each parting, the frames before, at and after it, with both boxes and the truth."""
    out.mkdir(parents=True, exist_ok=True)
    key = dict(zip(titles, draw.COLOURS, strict=False))
    for each in found:
        if each.frame is None:
            continue
        sequence, drawn = dataset.sequence(each.sequence), []
        wanted = [each.frame + shift for shift in (-10, -3, 0, 5, 15)]
        for number, image in enumerate(sequence.frames):
            if number in wanted:
                boxes = np.stack([run.trajectories[each.sequence][0].boxes[number] for run in runs])
                caption = f"{each.sequence}, frame {number}"
                truth = sequence.boxes[number][None]
                drawn.append(draw.annotate(image, boxes, truth=truth, caption=caption, key=key))
        cv2.imwrite(str(out / f"{each.sequence}.jpg"), np.hstack(drawn)[:, :, ::-1])


def kept(name: str, protocol: str = "ope") -> Results:
    """A run of the ledger under a protocol."""
    path = LEDGER / (name + ledger.SUFFIX)
    if not path.is_file():
        raise JtrackError(f"there is no {path}: run its plan (bench/ledger.py), or correct its name")
    return next(found for found in ledger.read(path) if found.protocol == protocol)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs=2, metavar="RUN")
    parser.add_argument("--data", type=Path, nargs="*", help="folders of OTB's sequences")
    parser.add_argument("--pictures", type=Path, help="folder")
    options = parser.parse_args()
    try:
        runs = kept(options.runs[0]), kept(options.runs[1])
        titles = options.runs[0], options.runs[1]
        for root in options.data or [data_folder() / name for name in ("otb", "otb_validation")]:
            dataset = data.open_dataset("otb", root)
            found = partings(*runs, {name: dataset.annotation(name) for name in dataset.names})
            print(table(found, titles))
            if options.pictures:
                pictures(found, runs, titles, dataset, options.pictures)
    except JtrackError as error:
        sys.exit(f"parting: {error}")


if __name__ == "__main__":
    main()
