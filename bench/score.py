"""How long scoring takes, once everything is read: 100 sequences of 29 trackers is what shall stay below 5 s.

    python bench/score.py [--trackers 29] [--rounds 3] [--data ../shared/data]

The published trackers of the data are scored on all 100 sequences of OTB, over and over until there are as
many as wanted; without the data, made-up boxes on sequences of the same number and length in all. Each round
is timed with every interval, curve and attribute, as `jtrack score` and the report need them.
"""

import argparse
import statistics
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from jtrack.benchmark import comparison, layouts, published, scoring
from jtrack.benchmark.results import Results
from jtrack.data import Annotation, otb
from jtrack.data.dataset import open_dataset

DATA = Path("../shared/data")
FRAMES = 59_035  # of all 100 sequences
WANTED = 5.0  # seconds, for 29 trackers


def real(data: Path) -> tuple[list[Results], dict[str, Annotation]]:
    """The published one-pass results, and the annotations of all sequences."""
    folder = data / "otb_benchmark"
    truth = scoring.annotations(open_dataset("otb", folder / "annotations", subset="tb100"))
    found = [each for each in published.read(folder / "results") if each.protocol == "ope"]
    return found, truth


def made_up(sequences: int = 100) -> tuple[list[Results], dict[str, Annotation]]:
    """One tracker that wanders about targets that do."""
    rng = np.random.default_rng(0)
    truth, trajectories = {}, {}
    for number in range(sequences):
        path = rng.normal(0, 3, (FRAMES // sequences, 2)).cumsum(axis=0) + 200
        boxes = np.concatenate([path, np.full_like(path, 40)], axis=1)
        marks = tuple(name for name in otb.ATTRIBUTES if rng.random() < 0.4)
        truth[f"S{number}"] = Annotation(f"S{number}", boxes, attributes=marks)
        wander = np.pad(rng.normal(0, 10, path.shape), ((0, 0), (0, 2)))
        trajectories[f"S{number}"] = [layouts.tracked(boxes + wander)]
    return [Results("made up", "ope", trajectories)], truth


def main() -> None:
    """Prints seconds for all trackers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trackers", type=int, default=29)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data")
    options = parser.parse_args()
    began = time.perf_counter()
    is_real = (options.data / "otb_benchmark").is_dir()
    found, truth = real(options.data) if is_real else made_up()
    what = f"{len(found)} published" if is_real else "made-up"
    frames = sum(len(annotation.boxes) for annotation in truth.values())
    seconds = time.perf_counter() - began
    print(f"{len(truth)} sequences, {frames} frames, {what} trackers: read in {seconds:.2f} s")
    rounds = []
    for _ in range(options.rounds):
        began = time.perf_counter()
        scored = [
            scoring.score(results, truth, subset="tb100")
            for results in islice(cycle(found), options.trackers)
        ]
        comparison.compare(scored, truth)
        rounds.append(time.perf_counter() - began)
    median = statistics.median(rounds)
    print(
        f"scoring and comparing {options.trackers} trackers: {median:.2f} s "
        f"(from {min(rounds):.2f} to {max(rounds):.2f}), {median / options.trackers * 1000:.0f} ms each; "
        f"wanted: {WANTED:g} s for 29"
    )


if __name__ == "__main__":
    main()
