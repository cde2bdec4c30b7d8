"""How far a score can be taken as the chance of an overlap above 0.5, and the lost flag as no overlap.

    jtrack eval --dataset otb --root DATA/otb --results runs/otb
    python bench/calibration.py runs/otb [--root DATA/otb] [--list cvpr13] [--odds A B --lost-below L]

Reads the runs of a results folder and prints Markdown, a table a run, and the logistic curve of the score's
log odds that is the chance of such an overlap: fitted on all videos but one, and judged on that one, each in
turn. With log odds a x + b in place of x, the slope of a tracker's `confidence` is to be multiplied by a; its
middle by exp(-b / (a slope)) where the curve is one of a ratio (HCFT, FCNT), else lowered by b / (a slope).
`--odds` says what such a curve would make of scores and lost flags, without running anything again.
"""

import argparse
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import optimize, special

from jtrack.benchmark import metrics, results
from jtrack.benchmark.results import TRACKED, Results, Trajectory
from jtrack.data import Annotation, open_dataset
from jtrack.errors import JtrackError

BINS = 10
SURE = 1e-6  # how far from 0 and 1 a score counts at most


def calibration(run: Results, truth: Mapping[str, Annotation]) -> str:
    """The reliability of scores and lost flags over all frames that were tracked."""
    frames = list(_frames(run, truth))
    scores, lost, overlaps = (np.concatenate(column) for column in zip(*frames, strict=True))
    hit, gone = overlaps > 0.5, overlaps < 0.2
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows = []
    for i in range(BINS):
        inside = bins == i
        row = [f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}", str(inside.sum())]
        if inside.any():
            row += [f"{scores[inside].mean():.2f}", f"{hit[inside].mean():.2f}"]
        rows.append(row + ["–"] * (4 - len(row)))
    both = int((lost & gone).sum())
    return "\n".join(
        [
            markdown(["score", "frames", "mean score", "overlap > 0.5"], rows),
            "",
            f"Expected calibration error {error(scores, hit):.3f}. Lost against overlap < 0.2: "
            f"precision {ratio(both, int(lost.sum()))}, recall {ratio(both, int(gone.sum()))}.",
            *recalibrated(run, truth),
        ]
    )


def with_odds(run: Results, a: float, b: float, lost_below: float) -> Results:
    """A run as it would be with log odds a x + b in place of x, and lost below a score."""

    def moved(trial: Trajectory) -> Trajectory:
        if trial.scores is None:
            return trial
        odds = special.logit(np.clip(trial.scores, SURE, 1 - SURE))
        scores = special.expit(a * odds + b)
        return dataclasses.replace(trial, scores=scores, lost=scores < lost_below)

    trajectories = {name: [moved(trial) for trial in trials] for name, trials in run.trajectories.items()}
    return dataclasses.replace(run, trajectories=trajectories)


def error(scores: np.ndarray, hit: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The expected calibration error: how far the mean score of a bin is from its share of hits."""
    weights = np.full(len(scores), 1 / len(scores)) if weights is None else weights
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, weights * (scores - hit), BINS)).sum())


def recalibrated(run: Results, truth: Mapping[str, Annotation]) -> list[str]:
    """What a curve fitted on the other videos would make of the score, in a sentence."""
    videos: dict[str, list[np.ndarray]] = {}
    for name in run.trajectories:
        alone = dataclasses.replace(run, trajectories={name: run.trajectories[name]})
        for scores, _, overlaps in _frames(alone, truth):
            odds = special.logit(np.clip(scores, SURE, 1 - SURE))
            frames = np.stack([odds, overlaps > 0.5, np.ones(len(odds))], axis=1)
            videos.setdefault(re.sub(r"-\d+$", "", name), []).append(frames)
    if len(videos) < 2:
        return []
    samples = [np.concatenate(frames) for frames in videos.values()]
    for frames in samples:
        frames[:, 2] /= len(frames) * len(samples)
    fitted = [_curve([*samples[:i], *samples[i + 1 :]]) for i in range(len(samples))]
    every = np.concatenate(samples)
    moved = np.concatenate([a * x[:, 0] + b for (a, b), x in zip(fitted, samples, strict=True)])
    odds, hit, weights = every.T
    told = [
        f"{error(special.expit(x), hit, weights):.3f} (log loss {_loss(x, hit, weights):.3f})"
        for x in (odds, moved)
    ]
    a, b = _curve(samples)
    return [
        "",
        f"Each of {len(samples)} videos counting alike, the error is {told[0]}; with log odds fitted on the "
        f"other videos {told[1]}. On all of them a = {a:.3f} and b = {b:.3f}.",
    ]


def _curve(samples: Sequence[np.ndarray]) -> tuple[float, float]:
    """The a and b with which a x + b are the log odds of a hit, of [N, 3] x, hit and weight a video."""
    odds, hit, weights = np.concatenate(samples).T
    found = optimize.minimize(lambda ab: _loss(ab[0] * odds + ab[1], hit, weights), (1.0, 0.0))
    a, b = found.x
    return float(a), float(b)


def _loss(odds: np.ndarray, hit: np.ndarray, weights: np.ndarray) -> float:
    """The log loss of log odds; larger odds than `SURE` says count as that."""
    odds = np.clip(odds, special.logit(SURE), -special.logit(SURE))
    return float(np.sum(weights * np.logaddexp(0, np.where(hit > 0, -odds, odds))))


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
    parser.add_argument(
        "--odds", type=float, nargs=2, metavar=("A", "B"), help="log odds A x + B instead of x"
    )
    parser.add_argument("--lost-below", type=float, default=0.1, help="the score, with --odds")
    options = parser.parse_args(arguments)
    try:
        for kept in results.load(options.results):
            run = with_odds(kept, *options.odds, options.lost_below) if options.odds else kept
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
