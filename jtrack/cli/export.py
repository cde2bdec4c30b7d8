"""`jtrack export`: a tracker as programs that run without jtrack."""

from pathlib import Path
from typing import Annotated

import typer

from jtrack import trackers
from jtrack.cli import outputs
from jtrack.cli.options import (
    Backbone,
    Precision,
    Profile,
    Settings,
    Tracker,
    Weights,
    changes,
    either,
    parse_size,
)
from jtrack.cli.printing import NO_NETWORK, tell
from jtrack.cli.track import parse_box
from jtrack.data.text import split_names
from jtrack.integrations import stablehlo
from jtrack.weights import store

app = typer.Typer(add_completion=False)


@app.command()
def export(
    *,
    tracker: Tracker = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    precision: Precision = "float32",
    weights: Weights = None,
    settings: Settings = None,
    init: Annotated[
        str,
        typer.Option(
            metavar="X,Y,W,H",
            help="A target's box in the first frame: some profiles take their shapes from it.",
            show_default=False,
        ),
    ],
    size: Annotated[
        str,
        typer.Option(metavar="WxH", help="Size of the frames, or the largest.", show_default=False),
    ],
    platforms: Annotated[
        str, typer.Option(metavar="A,B", help=f"What it shall run on: {either(stablehlo.PLATFORMS)}.")
    ] = ",".join(stablehlo.PLATFORMS),
    out: Annotated[Path, typer.Option(help="The folder for the export.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Exports a tracker's functions as StableHLO, which runs without jtrack on a CPU, GPU or TPU."""
    outputs.check_folder(out, overwrite=overwrite, keep=False)
    frame_size, box = parse_size(size), parse_box(init)
    bound = trackers.create(
        tracker,
        profile=profile,
        backbone=backbone,
        precision=precision,
        weights=weights,
        changes=changes(settings),
    )
    if backbone is None and weights is None and bound.backbone.name == store.OWN:
        tell(NO_NETWORK)
    exported = stablehlo.export(bound, box, frame_size, split_names(platforms) or ())
    stablehlo.write(exported, out)
    follows = exported.manifest["target"] != "any"
    serves = f"targets of {box[2]:g}x{box[3]:g} pixels" if follows else "any target"
    typer.echo(
        f"exported {', '.join(exported.programs)} of {bound.called} on {bound.backbone.name} into {out}: for "
        f"{serves} in frames of up to {size}, on {either(exported.manifest['platforms'])}"
    )
