"""`jtrack train tracker`: hyper-parameters by gradient."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from jtrack import trackers
from jtrack.cli import options, training
from jtrack.cli.printing import tell
from jtrack.cli.track import interruptible, prepare
from jtrack.train import clips, feature_learning, numbers
from jtrack.train.loop import CHECKPOINT, LOG
from jtrack.untrusted import reading


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
    split: training.Split = "train",
    data_dir: training.DataDir = None,
    steps: Annotated[int, typer.Option(help="Steps of the descent.")] = numbers.FOLLOWED.steps,
    batch: Annotated[int, typer.Option(help="Clips a step.")] = numbers.FOLLOWED.batch,
    length: Annotated[int, typer.Option(help="Frames of a clip.")] = numbers.FOLLOWED.length,
    side: Annotated[int, typer.Option(help="Pixels of a clip's frames.")] = numbers.FOLLOWED.side,
    rate: Annotated[
        float, typer.Option(help="The highest learning rate: a step changes a number by about this share.")
    ] = numbers.FOLLOWED.rate,
    keep_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = numbers.FOLLOWED.keep_every,
    seed: Annotated[int, typer.Option(help="Of the clips.")] = 0,
    overwrite: training.Overwrite = False,
) -> None:
    """Learns a tracker's hyper-parameters by gradient, through clips that its profile differentiable follows.

    At the end it says them as `--set` takes them. Ctrl-C stops after the step in work, and the same command
    goes on.

    A training that diverges stops with the exit code 1 and keeps the last good checkpoint.
    """
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
    numbers.check(bound, settings)
    source, held_out = clips.open_source(data, split=split, root=data_dir)
    if overwrite:
        with reading(f"the earlier training's {out}", "remove it"):
            for earlier in (out / CHECKPOINT, out / LOG):
                earlier.unlink(missing_ok=True)
    with interruptible() as interrupted, training.phases() as show, training.diverging():
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
        again = ", without --overwrite," if overwrite else ""
        tell(f"interrupted after {done.step} steps, kept in {out}; the same command{again} goes on")
        raise typer.Exit(130)
    texts = [
        f"{key}={','.join(f'{one:.4g}' for one in np.atleast_1d(value))}" for key, value in learnt.items()
    ]
    typer.echo(" ".join(f"--set {text}" for text in texts))
    typer.echo(f"clips held out: {', '.join(f'{key} {value:.4f}' for key, value in done.held_out.items())}")
    training.draw_curves(out, {bound.name: out / LOG})
