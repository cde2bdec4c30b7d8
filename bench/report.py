"""How long a report takes, once everything is scored: 10 trackers on 100 sequences shall stay below 20 s.

    python bench/report.py [--trackers 10] [--data ../shared/data] [--out DIR]

The published trackers of the data on all 100 sequences of OTB, those beyond them with boxes that are shaken
copies of theirs. Every sequence has pictures: those without images borrow the frames of another.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np

from jtrack.benchmark import published, report, scoring
from jtrack.benchmark.results import Results
from jtrack.data import Annotation, Dataset, FrameSource, Sequence, open_dataset

DATA = Path("../shared/data")
WANTED = 20.0  # seconds, for 10 trackers


def shaken(results: Results, number: int) -> Results:
    """Another tracker, whose boxes lie a few pixels beside."""
    rng = np.random.default_rng(number)
    trajectories = {
        name: [
            replace(trial, boxes=trial.boxes + rng.normal(0, number, trial.boxes.shape)) for trial in trials
        ]
        for name, trials in results.trajectories.items()
    }
    return replace(results, tracker=f"{results.tracker}-{number}", trajectories=trajectories)


def illustrated(dataset: Dataset, images: Dataset) -> Dataset:
    """A dataset of annotations with the frames of another one, over and over."""
    sources = [images.sequence(name).frames for name in images.names]
    lent = dict(zip(dataset.names, cycle(sources), strict=False))

    def frames(annotation: Annotation) -> FrameSource:
        source = lent[annotation.name]
        assert source.pick and source.length
        pick, length = source.pick, source.length
        return replace(source, length=len(annotation.boxes), pick=lambda frame: pick(frame % length))

    def sequence(name: str) -> Sequence:
        found = dataset.annotation(name)
        return Sequence(name, found.boxes, attributes=found.attributes, frames=frames(found))

    return replace(dataset, sequence=sequence)


def main() -> None:
    """Prints seconds and megabytes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trackers", type=int, default=10)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data")
    parser.add_argument("--out", type=Path, help="keep the report here")
    options = parser.parse_args()
    benchmark = options.data / "otb_benchmark"
    bare = open_dataset("otb", benchmark / "annotations", subset="tb100")
    dataset = illustrated(bare, open_dataset("otb", options.data / "otb"))
    found = [each for each in published.read(benchmark / "results") if each.protocol == "ope"]
    more = zip(cycle(found), range(1, options.trackers), strict=False)
    trackers = [*found, *(shaken(*pair) for pair in more)][: options.trackers]
    truth = scoring.annotations(dataset)
    began = time.perf_counter()
    scored = [scoring.score(each, truth, subset="tb100") for each in trackers]
    ready = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        page = report.write(scored, options.out or Path(folder, "report"), dataset=dataset)
        took, size = time.perf_counter() - ready, page.stat().st_size / 1e6
    print("| Trackers | Sequences | Scoring, s | Report, s | Page, MB |\n| --: | --: | --: | --: | --: |")
    print(f"| {len(trackers)} | {len(truth)} | {ready - began:.1f} | {took:.1f} | {size:.1f} |")
    print(f"\nWanted for 10 trackers: a report under {WANTED:.0f} s.")


if __name__ == "__main__":
    main()
