"""`jtrack train`: what is learnt once, before any video."""

import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from jtrack.backbones import box_feature
from jtrack.cli import training as shared
from jtrack.cli.printing import tell
from jtrack.cli.progress import Bar
from jtrack.cli.track import interruptible, prepare
from jtrack.cli.train_features import features
from jtrack.cli.train_tracker import tracker
from jtrack.data.detection import joined, open_detection
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.train import objectness as training
from jtrack.train.descent import CAFFE, Descent
from jtrack.untrusted import reading
from jtrack.weights import checkpoints as entries
from jtrack.weights import store

GUESSING = 0.55  # accuracy up to which nothing is believed to be learnt

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Train networks, which become entries of the weights."
)


@app.callback()
def train() -> None:
    """Train networks, which become entries of the weights."""


app.command()(features)
app.command()(tracker)


@app.command()
def objectness(
    *,
    data: Annotated[
        list[str],
        typer.Option(
            help="Images with boxes: tfds:NAME such as tfds:voc/2007 or tfds:coco/2017, prepared as array "
            "records; voc:DIR, ilsvrc:DIR or coco:DIR, as they are downloaded; folder:DIR with "
            "NAME.txt, lines x,y,w,h counted from 0, beside NAME.jpg; otb:DIR, vot:DIR or got:DIR; "
            "scenes:COUNT, made up. Repeat it to join several.",
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
    split: shared.Split = "train",
    data_dir: shared.DataDir = None,
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
    overwrite: shared.Overwrite = False,
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
    if path.exists() and not overwrite and not (folder / training.CHECKPOINT).exists():
        raise JtrackError(f"{path} exists: give another --out, or --overwrite")
    images = joined([open_detection(one, split=split, root=data_dir) for one in data])
    weights = store.load(backbone)
    if overwrite:
        for earlier in (folder / training.CHECKPOINT, folder / training.LOG):
            with reading(f"the earlier training's {earlier}", "remove it"):
                earlier.unlink(missing_ok=True)
    prepare("float32")
    with interruptible() as interrupted, progress(steps) as on_step, shared.diverging():
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
