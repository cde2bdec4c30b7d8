"""`jtrack train features`: a network for correlation filters."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from jtrack import backbones
from jtrack.cli import training
from jtrack.cli.printing import tell
from jtrack.cli.track import interruptible, prepare
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.train import clips, distillation, feature_learning, through_tracker
from jtrack.train.loop import LOG
from jtrack.untrusted import reading
from jtrack.weights import store

# Settings by the names of their options, where these are others.
NAMES = {
    "distilling.steps": "--distil-steps",
    "distilling.batch": "--distil-batch",
    "distilling.rate": "--distil-rate",
}
DISTILLED, FOLLOWED = distillation.DEFAULT, through_tracker.DEFAULT


def features(
    *,
    data: Annotated[
        list[str],
        typer.Option(
            help="What to learn from: images:DIR, folder:DIR, voc:DIR, ilsvrc:DIR, coco:DIR, tfds:NAME or "
            "scenes:COUNT, images that are set in motion; otb:DIR, vot:DIR, got:DIR or synthetic:, annotated "
            "videos. Repeat it to join several.",
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
    split: training.Split = "train",
    data_dir: training.DataDir = None,
    views: Annotated[int, typer.Option(help="Still views that the teacher describes.")] = DISTILLED.views,
    distil_steps: Annotated[
        int, typer.Option(help="Steps on the teacher's maps; 0 leaves them out.")
    ] = DISTILLED.steps,
    distil_batch: Annotated[int, typer.Option(help="Views a step.")] = DISTILLED.batch,
    distil_rate: Annotated[float, typer.Option(help="The highest learning rate then.")] = DISTILLED.rate,
    steps: Annotated[
        int,
        typer.Option(
            help="Steps through a tracker's filters; 0 leaves them out: so far they have not made tracking "
            "better."
        ),
    ] = FOLLOWED.steps,
    batch: Annotated[int, typer.Option(help="Clips a step.")] = FOLLOWED.batch,
    length: Annotated[int, typer.Option(help="Frames of a clip.")] = FOLLOWED.length,
    side: Annotated[int, typer.Option(help="Pixels of a clip's frames.")] = FOLLOWED.side,
    rate: Annotated[float, typer.Option(help="The highest learning rate then.")] = FOLLOWED.rate,
    remember: Annotated[
        float, typer.Option(help="How much the teacher's maps count then, beside the clips.")
    ] = feature_learning.Settings.remember,
    keep_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = FOLLOWED.keep_every,
    seed: Annotated[int, typer.Option(help="Of the weights and the clips.")] = 0,
    overwrite: training.Overwrite = False,
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
        remember=remember,
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
    feature_learning.check(settings, NAMES)
    if path.exists() and not overwrite and not feature_learning.begun(folder):
        raise JtrackError(f"{path} exists: give another --out, or --overwrite")
    source, held_out = clips.open_source(data, split=split, root=data_dir)
    if overwrite:
        with reading(f"the earlier training's {folder}", "remove it"):
            feature_learning.forget(folder)
    prepare("float32")
    with interruptible() as interrupted, training.phases() as on_step, training.diverging():
        done = feature_learning.train(
            settings, source, held_out, folder, on_step=on_step, stop=lambda: bool(interrupted)
        )
    if not done.whole:
        again = ", without --overwrite," if overwrite else ""
        tell(f"interrupted; what was done is kept in {folder}, and the same command{again} goes on")
        raise typer.Exit(130)
    feature_learning.keep(path, done, command=shlex.join(["jtrack", *sys.argv[1:]]))
    typer.echo(f"{backbone}: stored as {path}")
    for phase, figures in done.phases.items():
        typer.echo(f"{phase}: " + ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))
    training.draw_curves(folder, {phase: folder / phase / LOG for phase in feature_learning.PHASES})


def network_path(out: Path | None, backbone: str) -> Path:
    """The file of a network that is to be, which the store finds by its name."""
    if out is not None and out.suffix == store.SUFFIX:
        if out.stem != backbone:
            raise JtrackError(
                f"--out {out}: weights of {backbone} are found as {backbone}{store.SUFFIX} alone"
            )
        return out
    return (store.destination() if out is None else out) / (backbone + store.SUFFIX)
