"""Trackers on whole OTB sequences (one-pass evaluation), beside the published boxes of their authors.

    python bench/otb.py [--profiles release2016,default] [--backbones googlenet,hog] [--calibration]

A contestant is a profile on a network. Every run is kept as one file, `OUT/CONTESTANT-DIGEST/SEQUENCE.json`,
and never made twice: the digest covers parameters, weights, versions and the code that shapes a result, so
that a change of any of them starts anew, and an interrupted command goes on where it was. Contestants take
turns sequence by sequence, so that whatever else the machine does meets all of them.

Data: `DATA/otb/SEQUENCE` in OTB's layout, and `DATA/otb_benchmark/results` for published boxes. Weights are
looked for in the folders of JTRACK_WEIGHTS.
"""

import argparse
import ast
import dataclasses
import datetime
import functools
import hashlib
import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress

import jtrack
from jtrack import trackers
from jtrack.benchmark import metrics, published
from jtrack.benchmark.metrics import Scores
from jtrack.cli import outputs
from jtrack.cli.track import prepare
from jtrack.data import otb
from jtrack.errors import JtrackError
from jtrack.run import Track, track
from jtrack.trackers import Built

SEQUENCES = (
    "Couple",
    "Crossing",
    "David",
    "Football1",
    "Girl",
    "Jogging-1",
    "Jogging-2",
    "MotorRolling",
    "MountainBike",
    "Skiing",
    "Subway",
    "Suv",
)
DATA = Path("../shared/data")
OUT = Path("runs/otb")
PUBLISHED = "CF2"  # HCFT by its authors, with VGG-19
# What shapes boxes, scores and rates; the rest of the package only reads, draws and prints.
CODE = ("backbones", "data", "learning", "run", "trackers", "vision")


class Run(NamedTuple):
    """A sequence, tracked."""

    boxes: np.ndarray  # [T, 4] x, y, w, h, 0-based
    scores: np.ndarray  # [T]
    lost: np.ndarray  # [T] bool
    fps: float | None
    label: dict[str, Any]  # of the contestant, and the device and the date of the run


def title(built: Built) -> str:
    """A contestant's name."""
    return f"{built.name} {built.profile} {built.backbone.name}"


@functools.cache
def code_digest() -> str:
    """Eight hexadecimal digits for the code that shapes a result, whatever its comments and docstrings."""
    root = Path(jtrack.__file__).parent
    total = hashlib.sha256()
    for path in sorted(path for part in CODE for path in (root / part).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                del node.body[0]
        total.update(ast.dump(tree).encode())
    return total.hexdigest()[:8]


def folder_of(out: Path, built: Built) -> Path:
    """Where the runs of a contestant are kept."""
    digest = f"{built.label()['digest']}-{code_digest()}"
    return out / f"{title(built).replace(' ', '-')}-{digest}"


def load(data: Path, name: str) -> tuple[Any, np.ndarray]:
    """The frames of a sequence and its annotation [T, 4]."""
    sequence = otb.load(data / "otb" / name)
    return sequence.frames, sequence.boxes


def read_run(path: Path) -> Run:
    """Reads what `compete` has kept of a sequence."""
    kept = json.loads(path.read_text())
    (target,) = kept["targets"]
    boxes, scores, lost = (np.array(target[what]) for what in ("boxes", "scores", "lost"))
    return Run(boxes, scores, lost, kept["fps"], kept["label"])


def compete(contestants: Sequence[Built], names: Iterable[str], *, data: Path, out: Path) -> list[list[Run]]:
    """Tracks what is not tracked yet.

    Args:
      contestants: the trackers.
      names: the sequences.
      data: the folder of the data.
      out: the folder of the runs.

    Returns:
      The runs, a row a sequence with a run of each contestant.

    Raises:
      JtrackError: a sequence that cannot be read or tracked to its end, a file that cannot be written.
    """
    folders = [folder_of(out, built) for built in contestants]
    paths = {name: [folder / f"{name}.json" for folder in folders] for name in names}
    waiting = {name: missing for name, row in paths.items() if (missing := sum(not p.exists() for p in row))}
    loaded = {name: load(data, name) for name in waiting}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(
            "", total=sum(missing * len(loaded[name][1]) for name, missing in waiting.items())
        )
        for name, (frames, truth) in loaded.items():
            for built, path in zip(contestants, paths[name], strict=True):
                if path.exists():
                    continue
                bar.update(task, description=f"{name}, {title(built)}")
                done = track(frames, truth[0], tracker=built, on_frame=lambda *_: bar.advance(task))
                if done.stopped:
                    raise JtrackError(f"{name} was not tracked to its end: {done.stopped}")
                keep(path, done)
                rate = f" at {done.fps:.1f} frames a second" if done.fps else ""
                console.print(f"{name}, {title(built)}: {len(done.boxes)} frames{rate}", highlight=False)
    return [[read_run(path) for path in row] for row in paths.values()]


def keep(path: Path, done: Track) -> None:
    """Writes a run, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JtrackError(f"cannot make folder {path.parent}: {error.strerror}") from None
    made = {"device": jax.devices()[0].device_kind, "date": datetime.date.today().isoformat()}
    outputs.write_boxes(path, dataclasses.replace(done, label=done.label | made))


def published_scores(data: Path, tracker: str, truths: dict[str, np.ndarray]) -> list[Scores | None]:
    """The scores of published boxes; None where there are none for just the annotated frames."""
    folder = data / "otb_benchmark" / "results"
    boxes = published.load(folder, tracker) if folder.is_dir() else {}
    return [
        metrics.score(boxes[name], truth) if name in boxes and len(boxes[name]) == len(truth) else None
        for name, truth in truths.items()
    ]


def mean(column: Sequence[Scores | None]) -> tuple[float, float] | None:
    """Precision at 20 px and AUC as means over sequences; None where any is missing."""
    there = [scores for scores in column if scores is not None]
    if len(there) < len(column):
        return None
    return statistics.fmean(s.precision20 for s in there), statistics.fmean(s.auc for s in there)


def accuracy_table(columns: dict[str, list[Scores | None]], names: Sequence[str], rates: list[str]) -> str:
    """The table in Markdown, a row a sequence and a column a contestant: precision at 20 px / AUC."""
    pairs = {head: [s and (s.precision20, s.auc) for s in column] for head, column in columns.items()}
    rows = [[name, *(pair_cell(pairs[head][row]) for head in columns)] for row, name in enumerate(names)]
    rows.append(["**mean**", *(pair_cell(mean(column)) for column in columns.values())])
    rows.append(["frames a second", *rates, *["–"] * (len(columns) - len(rates))])
    return markdown(["precision at 20 px / AUC", *columns], rows)


def pair_cell(pair: tuple[float, float] | None) -> str:
    """Two figures in a cell."""
    return "–" if pair is None else f"{pair[0]:.3f} / {pair[1]:.3f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def calibration(runs: Sequence[Run], truths: Sequence[np.ndarray]) -> str:
    """How far a score can be taken as the chance of an overlap above 0.5, and the lost flag as no overlap.

    The first frame of each sequence, which is given, does not count.
    """
    scores, lost = (np.concatenate([getattr(run, what)[1:] for run in runs]) for what in ("scores", "lost"))
    pairs = zip(runs, truths, strict=True)
    overlaps = np.concatenate([metrics.overlap(run.boxes, truth)[1:] for run, truth in pairs])
    hit, gone = overlaps > 0.5, overlaps < 0.2
    bins = np.minimum((scores * 10).astype(int), 9)
    rows, error = [], 0.0
    for i in range(10):
        inside = bins == i
        row = [f"{i / 10:.1f}-{(i + 1) / 10:.1f}", str(inside.sum())]
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


def ratio(part: int, whole: int) -> str:
    """A fraction with its counts."""
    return f"{part / whole:.2f} ({part} of {whole})" if whole else f"– ({part} of {whole})"


def header(contestants: Sequence[Built], runs: list[list[Run]]) -> str:
    """What identifies the runs."""
    labels = [run.label for row in runs for run in row]
    facts = [" and ".join(sorted({label[what] for label in labels})) for what in ("jax", "device", "date")]
    lines = ["jtrack {}, jax {}, on {}, {}; code {}".format(jtrack.__version__, *facts, code_digest())]
    for built in contestants:
        label = built.label()
        lines.append(
            f"- {title(built)}: {label['precision']}, weights {label['weights'][:16]}, "
            f"digest {label['digest']}"
        )
    return "\n".join(lines)


def names_of(text: str) -> list[str]:
    """A list of names with commas between them."""
    return [name for name in text.split(",") if name]


def main(arguments: Sequence[str] | None = None) -> None:
    """Tracks what is missing and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracker", default="hcft")
    parser.add_argument("--profiles", type=names_of, default=["release2016", "default"])
    parser.add_argument("--backbones", type=names_of, default=["googlenet", "hog"])
    parser.add_argument("--sequences", type=names_of, default=SEQUENCES)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the runs")
    parser.add_argument("--published", default=PUBLISHED, help="whose published boxes to compare with")
    parser.add_argument("--calibration", action="store_true", help="say how reliable the scores are")
    options = parser.parse_args(arguments)
    print(f"`{shlex.join(['python', 'bench/otb.py', *(sys.argv[1:] if arguments is None else arguments)])}`")
    try:
        report(options)
    except JtrackError as error:
        raise SystemExit(f"bench/otb.py: {error}") from None


def report(options: argparse.Namespace) -> None:
    """Prints what `main` was asked for."""
    prepare("float32")
    contestants = [
        trackers.create(options.tracker, profile=profile, backbone=backbone)
        for backbone in options.backbones
        for profile in options.profiles
    ]
    runs = compete(contestants, options.sequences, data=options.data, out=options.out)
    truths = {name: load(options.data, name)[1] for name in options.sequences}
    columns: dict[str, list[Scores | None]] = {
        title(built): [
            metrics.score(run.boxes, truth) for run, truth in zip(column, truths.values(), strict=True)
        ]
        for built, *column in zip(contestants, *runs, strict=True)
    }
    rates = [
        f"{statistics.median(known):.1f}" if (known := [run.fps for run in column if run.fps]) else "–"
        for column in zip(*runs, strict=True)
    ]
    columns[f"{options.published} (published)"] = published_scores(options.data, options.published, truths)
    print(f"{header(contestants, runs)}\n\n{accuracy_table(columns, options.sequences, rates)}")
    if options.calibration:
        for built, *column in zip(contestants, *runs, strict=True):
            print(f"\n{title(built)}\n\n{calibration(column, list(truths.values()))}")


if __name__ == "__main__":
    main()
