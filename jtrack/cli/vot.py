"""`jtrack vot`: jtrack's trackers inside the VOT toolkit."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from jtrack import trackers
from jtrack.backbones import PRECISIONS
from jtrack.benchmark.adapters import EvaluatedTracker, evaluated
from jtrack.cli.options import Backbone, Precision, Profile, Settings, Weights, changes, either, parse_size
from jtrack.cli.track import prepare
from jtrack.data import open_dataset
from jtrack.errors import JtrackError
from jtrack.integrations import vot_toolkit
from jtrack.names import match
from jtrack.weights.store import SUFFIX

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Run jtrack's trackers inside the VOT toolkit."
)

PROTOCOLS = ("trax", "python")

Tracker = Annotated[
    str, typer.Option(help=f"{either(trackers.names())}; or another that `jtrack eval` takes.")
]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="WxH", help="A size of frames to compile for beforehand; repeat it."),
]


@app.command("entry")
def print_entry(
    *,
    tracker: Tracker = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    precision: Precision = "float32",
    weights: Weights = None,
    settings: Settings = None,
    protocol: Annotated[
        str,
        typer.Option(
            help=f"How the toolkit talks to it: {either(PROTOCOLS)}. `trax` is a process of its own and any "
            "tracker; `python` is called by the toolkit, and its targets run as lanes of one step."
        ),
    ] = "trax",
    size: Sizes = None,
    root: Annotated[
        Path | None, typer.Option(help="A folder of VOT sequences, to compile for their sizes.")
    ] = None,
) -> None:
    """Prints the tracker's entry for the toolkit's `trackers.ini`."""
    by = match("protocol", protocol, PROTOCOLS)
    if by == "python" and (size or root):
        raise JtrackError(
            "--size and --root are for --protocol trax: by python it compiles in the first frame"
        )
    sizes = [parse_size(text) for text in size or []]
    if root is not None:
        dataset = open_dataset("vot", root)
        sizes += [found for name in dataset.names if (found := dataset.annotation(name).size)]
    chosen, options = find(tracker, profile, backbone, precision, weights, settings)
    if by == "python":
        typer.echo(vot_toolkit.python_entry(chosen, options), nl=False)
    else:
        typer.echo(vot_toolkit.entry(chosen, options, sizes), nl=False)


@app.command()
def serve(
    *,
    tracker: Tracker = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    precision: Precision = "float32",
    weights: Weights = None,
    settings: Settings = None,
    size: Sizes = None,
) -> None:
    """Answers the toolkit by TraX; it is the toolkit that starts this."""
    sizes = [parse_size(text) for text in size or []]
    with redirect_stdout(sys.stderr):  # what the toolkit reads is the protocol's alone
        prepare(precision)
        chosen, _ = find(tracker, profile, backbone, precision, weights, settings)
        vot_toolkit.warm_up(chosen, sizes)
        vot_toolkit.serve(chosen)


def find(
    tracker: str,
    profile: str,
    backbone: str | None,
    precision: str,
    weights: str | None,
    settings: list[str] | None,
) -> tuple[EvaluatedTracker, dict[str, str]]:
    """A tracker, and the options that say which it is."""
    chosen = evaluated(
        tracker,
        profile=profile,
        backbone=backbone,
        precision=precision,
        weights=weights,
        changes=changes(settings),
    )
    options = {"tracker": tracker}
    if (bound := chosen.bound) is not None:
        options = {"tracker": bound.name, "profile": bound.profile, "backbone": bound.backbone.name}
        options["precision"] = match("precision", precision, PRECISIONS)
    if weights is not None:  # the toolkit starts trackers in a folder of its own
        options["weights"] = str(Path(weights).resolve()) if weights.endswith(SUFFIX) else weights
    return chosen, options
