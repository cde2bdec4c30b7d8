"""How far a score can be taken as the chance of an overlap above 0.5, and the lost flag as no overlap.

    jtrack eval --dataset otb --root DATA/otb --results runs/otb
    python bench/calibration.py runs/otb [--root DATA/otb] [--list cvpr13]

Reads the runs of a results folder and prints Markdown, a table a run.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jtrack.benchmark import metrics, results
from jtrack.benchmark.results import TRACKED, Results
from jtrack.data import Annotation, open_dataset
from jtrack.errors import JtrackError

BINS = 10


def calibration(run: Results, truth: Mapping[str, Annotation]) -> str:
    """The reliability of scores and lost flags over all frames that were tracked."""
    scores, lost, overlaps = (np.concatenate(column) for column in zip(*_frames(run, truth), strict=True))
    hit, gone = overlaps > 0.5, overlaps < 0.2
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows, error = [], 0.0
    for i in range(BINS):
        inside = bins == i
        row = [f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}", str(inside.sum())]
        if inside.any():
            error += inside.mean() * abs(scores[inside].mean() - hit[inside].mean())
            row += [f"{scores[inside].mean():.2f}", f"{hit[inside].mean():.2f}"]
        rows.append(row + ["–"] * (4 - len(row)))
    both = int((lost & gone).sum())
    return "\n".join(
        [
            markdown(["score", "frames", "mean score", "overlap > 0.5"], rows),
            "",
            f"Expected calibration error {error:.3f}. Lost against overlap < 0.2: "
            f"precision {ratio(both, int(lost.sum()))}, recall {ratio(both, int(gone.sum()))}.",
        ]
    )


def _frames(
    run: Results, truth: Mapping[str, Annotation]
) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores, lost flags and overlaps of each trial's frames that were tracked."""
    for name, trials in run.trajectories.items():
        for trial in trials if name in truth else ():
            if trial.scores is None or trial.lost is None:
                raise JtrackError(f"{run.tracker} gives no scores: there is nothing to calibrate")
            boxes = truth[name].boxes[trial.start : trial.start + len(trial.boxes)]
            tracked = trial.status == TRACKED
            overlaps = metrics.overlap(trial.boxes, boxes)
            yield trial.scores[tracked], trial.lost[tracked], overlaps[tracked]


def ratio(part: int, whole: int) -> str:
    """A fraction with its counts."""
    return f"{part / whole:.2f} ({part} of {whole})" if whole else f"– ({part} of {whole})"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="a results folder, or the folder of one run")
    parser.add_argument("--root", type=Path, help="of the dataset; that of the run if left out")
    parser.add_argument("--list", dest="subset", help="one of the dataset's lists")
    options = parser.parse_args(arguments)
    try:
        for run in results.load(options.results):
            root = options.root or run.label["root"]
            dataset = open_dataset(run.label["dataset"], root, subset=options.subset)
            truth = {name: dataset.annotation(name) for name in dataset.names if name in run.trajectories}
            parts = [run.tracker, run.profile, run.label.get("backbone"), run.protocol]
            print(f"{' '.join(filter(None, parts))}, {len(truth)} sequences, digest {run.label['digest']}\n")
            print(f"{calibration(run, truth)}\n")
    except JtrackError as error:
        raise SystemExit(f"bench/calibration.py: {error}") from None


if __name__ == "__main__":
    main()
