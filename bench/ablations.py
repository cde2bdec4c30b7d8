"""What the parts of a tracker are worth: a one-pass evaluation of its profiles on five short sequences.

    python bench/ablations.py deeptrack --data DATA/otb
    python bench/ablations.py fcnt --profiles default,general,specific --backbone googlenet --data DATA/otb

Runs are kept in OUT, where `jtrack eval --results OUT` keeps them too, and none is made twice, so that an
interrupted command goes on where it was. Prints Markdown: with several seeds the mean over them, and the
standard deviation of the seeds' means.
"""

import argparse
import statistics
import sys
from pathlib import Path

from jtrack import data, trackers
from jtrack.benchmark import adapters, metrics, protocol
from jtrack.benchmark.evaluate import evaluate
from jtrack.benchmark.results import Results, load
from jtrack.cli.track import prepare

SHORT = ("Crossing", "Football1", "MotorRolling", "Skiing", "Subway")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tracker", choices=trackers.names())
    parser.add_argument("--data", type=Path, required=True, help="folder of OTB's sequences")
    parser.add_argument("--sequences", default=",".join(SHORT))
    parser.add_argument("--profiles", help="commas between them; all without it")
    parser.add_argument("--backbone", help="the tracker's own without it")
    parser.add_argument("--repeats", type=int, default=1, help="seeds of each")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="folder of the runs")
    options = parser.parse_args()
    prepare("float32")
    dataset = data.open_dataset("otb", options.data, sequences=options.sequences.split(","))
    net = options.backbone or trackers.default_backbone(options.tracker)
    names = options.profiles.split(",") if options.profiles else trackers.profiles(options.tracker)
    print(f"{options.tracker}, {net}: mean over {', '.join(dataset.names)}; seeds: {options.repeats}.\n")
    print("| Profile | Precision at 20 px | AUC | Frames/s |\n| --- | --: | --: | --: |", flush=True)
    for name in names:
        tracker = adapters.evaluated(trackers.create(options.tracker, profile=name, backbone=net))
        repeats = 1 if tracker.deterministic else options.repeats
        done = evaluate(tracker, dataset, protocol.load("ope"), options.out, repeats=repeats)
        if done.failures:
            sys.exit(f"{name} failed on {', '.join(done.failures)}: see {next(iter(done.failures.values()))}")
        found = next(each for each in load(done.folder) if each.protocol == "ope")
        print(f"| {name} | {' | '.join(row(found, dataset, repeats))} |", flush=True)


def row(found: Results, dataset: data.Dataset, repeats: int) -> list[str]:
    """Precision, AUC and speed as text."""
    scores, rates = [], []
    for sequence in dataset.names:
        tries = found.trajectories[sequence][:repeats]
        truth = dataset.annotation(sequence).boxes
        scores.append([metrics.score(trial.boxes, truth) for trial in tries])
        rates.append(metrics.speed([trial.seconds for trial in tries if trial.seconds is not None]))
    seeds = list(zip(*scores, strict=True))
    precision = [statistics.mean(score.precision20 for score in seed) for seed in seeds]
    auc = [statistics.mean(score.auc for score in seed) for seed in seeds]
    speed = [rate for rate in rates if rate]
    return [spread(precision), spread(auc), f"{statistics.mean(speed):.1f}" if speed else "–"]


def spread(values: list[float]) -> str:
    """The mean, and the standard deviation of several values."""
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()
