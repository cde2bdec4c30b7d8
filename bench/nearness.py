"""How near a run stays to published boxes at first: centres within a cell of the search window's grid.

    python bench/nearness.py RUN PUBLISHED     # a run of docs/runs, a file of otb_benchmark/results, as CF2

Once two trackers have parted they follow different things, and their scores say little about what is
computed otherwise. The first frames say more: whoever computes the same finds the same cell. The cell is that
of a window and grid by the released rule, which hold for the whole of a sequence: the window's side in pixels
over the grid's. bench/tables.py puts such tables into docs/results.md.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench import parting
from bench.ledger import data_folder
from jtrack import data
from jtrack.benchmark import published
from jtrack.benchmark.results import Results
from jtrack.components.search_window import ReleasedWindow, grid_size
from jtrack.data import Dataset
from jtrack.errors import JtrackError

FRAMES = 30  # after the first, whose box is given
ROUNDING = 1e-3  # pixels: steps are whole cells, and one cell shall count as within one


def cell(box: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    """The size (w, h) [2] in pixels of a cell of the released window.

    Args:
      box: [4] x, y, w, h of the target in the first frame.
      frame_size: (height, width) of the frames.
    """
    window = np.asarray(ReleasedWindow().size(box[2:], np.asarray(frame_size)), np.float64)
    return window / np.asarray(grid_size(window))[::-1]


def share(boxes: np.ndarray, others: np.ndarray, size: np.ndarray) -> float:
    """The share of the first `FRAMES` frames after the first in which two centres are a cell apart at most.

    Args:
      boxes: [T, 4] x, y, w, h.
      others: [T, 4] of the same frames.
      size: [2] (w, h) of a cell; both directions count by themselves.
    """
    first, second = boxes[1 : FRAMES + 1], others[1 : FRAMES + 1]
    apart = np.abs((first[:, :2] + first[:, 2:] / 2) - (second[:, :2] + second[:, 2:] / 2))
    return float((apart <= size + ROUNDING).all(axis=1).mean())


def shares(run: Results, theirs: Results, dataset: Dataset) -> dict[str, float]:
    """Of each sequence that both have.

    Raises:
      JtrackError: a sequence whose boxes are not of as many frames.
    """
    found = {}
    for name in [name for name in dataset.names if name in run.trajectories and name in theirs.trajectories]:
        boxes, others = (each.trajectories[name][0].boxes for each in (run, theirs))
        if len(boxes) != len(others):
            raise JtrackError(
                f"{name}: {len(boxes)} boxes of {run.tracker}, {len(others)} of {theirs.tracker}"
            )
        found[name] = share(boxes, others, cell_of(dataset, name))
    return found


def cell_of(dataset: Dataset, name: str) -> np.ndarray:
    """The cell [2] (w, h) of a sequence's target."""
    sequence = dataset.sequence(name)
    return cell(sequence.boxes[0], sequence.frames.size)


def rows(runs: Mapping[str, Results], theirs: Results, dataset: Dataset) -> list[list[str]]:
    """A row a sequence: its cell, and the share of each run; then the means over the sequences."""
    columns = {title: shares(run, theirs, dataset) for title, run in runs.items()}
    table = [["", "cell, px", *columns]]
    for name in dataset.names:
        width, height = cell_of(dataset, name)
        figures = [f"{found[name]:.2f}" if name in found else "–" for found in columns.values()]
        table.append([name, f"{width:.2f} x {height:.2f}", *figures])
    means = [f"{np.mean([*found.values()]):.2f}" if found else "–" for found in columns.values()]
    return [*table, ["**mean**", "", *means]]


def of_file(name: str, root: Path) -> Results:
    """Published boxes by the name of their file in `otb_benchmark/results`."""
    return published.read(root / "otb_benchmark" / "results" / f"{name}_OPE.json.gz")[0]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("published", metavar="PUBLISHED")
    parser.add_argument("--data", type=Path, default=data_folder())
    options = parser.parse_args()
    try:
        run, theirs = parting.kept(options.run), of_file(options.published, options.data)
        for folder in ("otb", "otb_validation"):
            dataset = data.open_dataset("otb", options.data / folder)
            for row in rows({options.run: run}, theirs, dataset):
                print(f"| {' | '.join(row)} |")
    except JtrackError as error:
        sys.exit(f"nearness: {error}")


if __name__ == "__main__":
    main()
