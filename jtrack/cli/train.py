"""`jtrack train`: what is learnt once, before any video."""

import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from jtrack import backbones, trackers
from jtrack.backbones import box_feature
from jtrack.cli import options
from jtrack.cli.printing import tell
from jtrack.cli.progress import Bar
from jtrack.cli.track import interruptible, prepare
from jtrack.data.detection import joined, open_detection
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.train import clips, curves, distillation, feature_learning, numbers, through_tracker
from jtrack.train import objectness as training
from jtrack.train.descent import CAFFE, Descent
from jtrack.train.loop import CHECKPOINT, LOG, DivergedError
from jtrack.untrusted import reading
from jtrack.weights import checkpoints as entries
from jtrack.weights import store

DISTILLED, FOLLOWED = distillation.DEFAULT, through_tracker.DEFAULT
GUESSING = 0.55  # accuracy up to which nothing is believed to be learnt

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Train networks, which become entries of the weights."
)


@app.callback()
def train() -> None:
    """Train networks, which become entries of the weights."""


@app.command()
def objectness(
    *,
    data: Annotated[
        list[str],
        typer.Option(
            help="Images with boxes: tfds:NAME such as tfds:voc/2007 or tfds:coco/2017, prepared as array "
            "records; folder:DIR with NAME.txt, lines x,y,w,h counted from 0, beside NAME.jpg; otb:DIR, "
            "vot:DIR or got:DIR; scenes:COUNT, made up. Repeat it to join several.",
            show_default=False,
        ),
    ],
    backbone: Annotated[
        str, typer.Option(help=f"Which network: {', '.join(box_feature.networks())}.")
    ] = "alexnet",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of weights, or a .safetensors file.", show_default="the user's own weights"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a set of TensorFlow Datasets.")] = "train",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The folder of prepared sets.", show_default="TensorFlow Datasets' own"),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the descent.")] = 100_000,
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 128,
    head: Annotated[int, typer.Option(help="Numbers of fc7, which a tracker models.")] = 500,
    hidden: Annotated[int, typer.Option(help="Numbers of fc6, where the network has no trained one.")] = 512,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Train the head alone and leave the network as it is.")
    ] = False,
    rate: Annotated[
        float, typer.Option(help="The learning rate; new layers have ten times that.")
    ] = CAFFE.rate,
    rate_every: Annotated[
        int, typer.Option(help="Steps after which the rate is divided by ten.")
    ] = CAFFE.rate_every,
    dropout: Annotated[float, typer.Option(help="Share of fc6 and fc7 left out in training.")] = 0.5,
    held_out: Annotated[int, typer.Option(help="Images, at most, that are held out to judge by.")] = 250,
    keep_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the head, the patches and their order.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and replace what is there.")
    ] = False,
) -> None:
    """Trains a network and GDT's head to tell objects from background.

    Ctrl-C stops after the step in work. The same command goes on, also with more steps or another rate.

    A training that diverges stops with the exit code 1 and keeps the last good checkpoint.
    """
    backbone = match("network for objectness", backbone, box_feature.networks())
    path = entry_path(out, backbone)
    folder = path.with_suffix("")
    settings = training.Settings(
        backbone=backbone,
        hidden=hidden,
        out=head,
        batch=batch,
        freeze=freeze,
        dropout=dropout,
        held_out=held_out,
        seed=seed,
        descent=Descent(rate=rate, rate_every=rate_every),
        steps=steps,
        keep_every=keep_every,
    )
    if overwrite:
        for earlier in (folder / training.CHECKPOINT, folder / training.LOG):
            with reading(f"the earlier training's {earlier}", "remove it"):
                earlier.unlink(missing_ok=True)
    elif path.exists() and not (folder / training.CHECKPOINT).exists():
        raise JtrackError(f"{path} exists: give another --out, or --overwrite")
    images = joined([open_detection(one, split=split, root=data_dir) for one in data])
    weights = store.load(backbone)
    prepare("float32")
    with interruptible() as interrupted, progress(steps) as on_step, diverging():
        done = training.train(
            settings, images, weights, folder, on_step=on_step, stop=lambda: bool(interrupted)
        )
    if done.step < steps:
        checkpoint = folder / training.CHECKPOINT
        tell(f"interrupted after {done.step} steps, which are kept in {checkpoint}")
        raise typer.Exit(130)
    training.keep(path, done, command=shlex.join(["jtrack", *sys.argv[1:]]))
    typer.echo(f"{path.stem}: stored as {path}")
    typer.echo(
        f"images held out: {done.held_out.accuracy:.1%} of the patches told right (guessing 50 %, a linear "
        f"classifier on {backbone} before training {done.probe:.1%})"
    )
    if done.held_out.accuracy < GUESSING:
        tell("that is hardly better than guessing: more --steps, or a lower --rate")


@app.command()
def features(
    *,
    data: Annotated[
        list[str],
        typer.Option(
            help="What to learn from: images:DIR, folder:DIR, tfds:NAME or scenes:COUNT, images that are set "
            "in motion; otb:DIR, vot:DIR, got:DIR or synthetic:, annotated videos. Repeat it to join "
            "several.",
            show_default=False,
        ),
    ],
    backbone: Annotated[str, typer.Option(help="Which network.")] = "compact",
    teacher: Annotated[
        str, typer.Option(help="The network whose maps are learnt first.")
    ] = "vgg16_torchvision",
    weights: Annotated[
        str, typer.Option(help="To begin with: `random`, or `stored`, those that are installed.")
    ] = feature_learning.RANDOM,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of weights, or a .safetensors file.", show_default="the user's own weights"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a set of TensorFlow Datasets.")] = "train",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The folder of prepared sets.", show_default="TensorFlow Datasets' own"),
    ] = None,
    views: Annotated[int, typer.Option(help="Still views that the teacher describes.")] = DISTILLED.views,
    distil_steps: Annotated[
        int, typer.Option(help="Steps on the teacher's maps; 0 leaves them out.")
    ] = DISTILLED.steps,
    distil_batch: Annotated[int, typer.Option(help="Views a step.")] = DISTILLED.batch,
    distil_rate: Annotated[float, typer.Option(help="The highest learning rate then.")] = DISTILLED.rate,
    steps: Annotated[
        int, typer.Option(help="Steps through correlation filters; 0 leaves them out.")
    ] = FOLLOWED.steps,
    batch: Annotated[int, typer.Option(help="Clips a step.")] = FOLLOWED.batch,
    length: Annotated[int, typer.Option(help="Frames of a clip.")] = FOLLOWED.length,
    side: Annotated[int, typer.Option(help="Pixels of a clip's frames.")] = FOLLOWED.side,
    rate: Annotated[float, typer.Option(help="The highest learning rate then.")] = FOLLOWED.rate,
    keep_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = FOLLOWED.keep_every,
    seed: Annotated[int, typer.Option(help="Of the weights and the clips.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and replace what is there.")
    ] = False,
) -> None:
    """Trains a network for correlation filters: on a larger network's maps, then through HCFT's filters.

    Ctrl-C stops after the step in work, and the same command goes on. `JTRACK_WEIGHTS=OUT` makes trackers use
    what was trained.

    A training that diverges stops with the exit code 1 and keeps the last good checkpoint.
    """
    backbone = match("backbone", backbone, backbones.names())
    settings = feature_learning.Settings(
        backbone=backbone,
        teacher=match("backbone", teacher, backbones.names()),
        weights=match("weights", weights, (feature_learning.RANDOM, "stored")),
        seed=seed,
        distilling=replace(
            DISTILLED,
            views=views,
            steps=distil_steps,
            batch=distil_batch,
            rate=distil_rate,
            keep_every=keep_every,
        ),
        following=replace(
            FOLLOWED,
            steps=steps,
            batch=batch,
            length=length,
            side=side,
            rate=rate,
            keep_every=keep_every,
        ),
    )
    path = network_path(out, backbone)
    folder = path.with_suffix("")
    if overwrite:
        with reading(f"the earlier training's {folder}", "remove it"):
            feature_learning.forget(folder)
    elif path.exists():
        raise JtrackError(f"{path} exists: give another --out, or --overwrite")
    source, held_out = clips.open_source(data, split=split, root=data_dir)
    prepare("float32")
    with interruptible() as interrupted, phases() as on_step, diverging():
        done = feature_learning.train(
            settings, source, held_out, folder, on_step=on_step, stop=lambda: bool(interrupted)
        )
    if not done.whole:
        tell(f"interrupted; what was done is kept in {folder}, and the same command goes on")
        raise typer.Exit(130)
    draw_curves(folder, {phase: folder / phase / LOG for phase in ("distillation", "filters")})
    feature_learning.keep(path, done, command=shlex.join(["jtrack", *sys.argv[1:]]))
    typer.echo(f"{backbone}: stored as {path}")
    for phase, figures in done.phases.items():
        typer.echo(f"{phase}: " + ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))


@app.command()
def tracker(
    *,
    data: Annotated[
        list[str],
        typer.Option(help="What to learn from, as of `jtrack train features`.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The folder of what is kept.", show_default=False)],
    name: Annotated[
        str, typer.Option("--tracker", help=f"Which tracker: {', '.join(trackers.names())}.")
    ] = trackers.DEFAULT,
    backbone: options.Backbone = None,
    learn: Annotated[
        list[str] | None,
        typer.Option(help="A hyper-parameter. Repeat it for several.", show_default="all that are positive"),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a set of TensorFlow Datasets.")] = "train",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The folder of prepared sets.", show_default="TensorFlow Datasets' own"),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the descent.")] = numbers.FOLLOWED.steps,
    batch: Annotated[int, typer.Option(help="Clips a step.")] = numbers.FOLLOWED.batch,
    length: Annotated[int, typer.Option(help="Frames of a clip.")] = numbers.FOLLOWED.length,
    side: Annotated[int, typer.Option(help="Pixels of a clip's frames.")] = numbers.FOLLOWED.side,
    rate: Annotated[
        float, typer.Option(help="The highest learning rate: a step changes a number by about this share.")
    ] = numbers.FOLLOWED.rate,
    keep_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = numbers.FOLLOWED.keep_every,
    seed: Annotated[int, typer.Option(help="Of the clips.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and replace what is there.")
    ] = False,
) -> None:
    """Learns a tracker's hyper-parameters by gradient, through clips that its profile differentiable follows.

    At the end it says them as `--set` takes them. Ctrl-C stops after the step in work, and the same command
    goes on.

    A training that diverges stops with the exit code 1 and keeps the last good checkpoint.
    """
    if overwrite:
        with reading(f"the earlier training's {out}", "remove it"):
            for earlier in (out / CHECKPOINT, out / LOG):
                earlier.unlink(missing_ok=True)
    prepare("float32")
    bound = trackers.create(name, profile="differentiable", backbone=backbone)
    settings = numbers.Settings(
        tuple(learn or ()),
        seed,
        replace(
            numbers.FOLLOWED,
            steps=steps,
            batch=batch,
            length=length,
            side=side,
            rate=rate,
            keep_every=keep_every,
        ),
    )
    source, held_out = clips.open_source(data, split=split, root=data_dir)
    with interruptible() as interrupted, phases() as show, diverging():
        learnt, done = numbers.train(
            bound,
            settings,
            source,
            held_out,
            out,
            on_step=lambda at: show(feature_learning.Progress(bound.name, at.step, steps, at)),
            stop=lambda: bool(interrupted),
        )
    if done.step < steps:
        tell(f"interrupted after {done.step} steps, which are kept in {out}; the same command goes on")
        raise typer.Exit(130)
    draw_curves(out, {bound.name: out / LOG})
    texts = [
        f"{key}={','.join(f'{one:.4g}' for one in np.atleast_1d(value))}" for key, value in learnt.items()
    ]
    typer.echo(" ".join(f"--set {text}" for text in texts))
    typer.echo(f"clips held out: {', '.join(f'{key} {value:.4f}' for key, value in done.held_out.items())}")


def draw_curves(folder: Path, logs: dict[str, Path]) -> None:
    """Draws curves.png of logs, where that can be done."""
    found = {phase: curves.read(path) for phase, path in logs.items() if path.is_file()}
    try:
        curves.draw(folder / "curves.png", found)
    except JtrackError as error:
        tell(f"no picture of the curves, which are in log.csv: {error}")


def network_path(out: Path | None, backbone: str) -> Path:
    """The file of a network that is to be, which the store finds by its name."""
    if out is not None and out.suffix == store.SUFFIX:
        return out
    return (store.destination() if out is None else out) / (backbone + store.SUFFIX)


@contextmanager
def diverging() -> Generator[None]:
    """Turns a training that diverges into the exit code 1."""
    try:
        yield
    except DivergedError as error:
        tell(str(error))
        raise typer.Exit(1) from None


@contextmanager
def phases() -> Generator[Callable[[feature_learning.Progress], None]]:
    """How far each phase of a training is; without a terminal, also a line a checkpoint."""
    with Bar(MofNCompleteColumn(), TimeRemainingColumn(), unit="steps") as bar:
        tasks: dict[str, Any] = {}

        def show(at: feature_learning.Progress) -> None:
            if at.phase not in tasks:
                tasks[at.phase] = bar.add_task(at.phase, total=at.steps)
            said = at.phase
            if at.at is not None:
                said += "".join(f" {name} {value:.3f}" for name, value in at.at.figures.items())
                if at.at.held_out is not None:
                    held = "".join(f" {name} {value:.3f}" for name, value in at.at.held_out.items())
                    if bar.disable:
                        typer.echo(f"step {at.step} of {at.steps}: {said}, held out{held}", err=True)
            elif bar.disable:
                typer.echo(f"{at.phase}: {at.step} of {at.steps} views", err=True)
            bar.update(tasks[at.phase], completed=at.step, description=said)

        yield show


def entry_path(out: Path | None, backbone: str) -> Path:
    """The file of the entry that is to be."""
    if out is not None and out.suffix == store.SUFFIX:
        return out
    return (store.destination() if out is None else out) / (entries.name_for(backbone) + store.SUFFIX)


@contextmanager
def progress(steps: int) -> Generator[Callable[[training.Progress], None]]:
    """How far the training is; without a terminal, also a line a checkpoint."""
    with Bar(MofNCompleteColumn(), TimeRemainingColumn(), unit="steps") as bar:
        task = bar.add_task("", total=steps)
        held_out = ""

        def show(at: training.Progress) -> None:
            nonlocal held_out
            said = f"loss {at.loss:.3f} accuracy {at.accuracy:.1%}"
            if at.held_out is not None:
                held_out = f", held out {at.held_out.loss:.3f} {at.held_out.accuracy:.1%}"
                if bar.disable:
                    typer.echo(f"step {at.step} of {steps}: {said}{held_out}", err=True)
            bar.update(task, completed=at.step, description=said + held_out)

        yield show
