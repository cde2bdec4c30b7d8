"""`jtrack list`: what there is to choose from.

On a terminal it is a table. Otherwise there is one line each and no heading, with tabs between the columns
and the name first, for `cut -f1` and scripts.
"""

import sys
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from jtrack.names import match

# Where the frames and boxes of each kind of `jtrack.data.dataset.KINDS` lie under the folder it is given.
LAYOUTS = {
    "otb": "Basketball/img/*.jpg and Basketball/groundtruth_rect.txt; to score, anno/Basketball.txt alone",
    "vot": "bag/*.jpg or bag/color/*.jpg, and bag/groundtruth.txt; perhaps list.txt",
    "got": "val/GOT-10k_Val_000001/*.jpg and val/GOT-10k_Val_000001/groundtruth.txt",
    "folder": "your own: NAME/ with images or NAME.mp4, and boxes x,y,w,h from 0 in NAME.txt",
    "tfds": "array records made by `jtrack pack`, which TensorFlow Datasets reads",
    "synthetic": "no folder: four made-up clips",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List trackers, profiles, settings, networks, datasets and protocols: a table on a terminal, in a "
    "pipe lines with tabs between the columns.",
)


@app.command("trackers")
def list_trackers() -> None:
    """The trackers, for --tracker."""
    from jtrack import trackers

    show(("tracker", "what it is"), [(name, trackers.describe(name)) for name in trackers.names()])


@app.command("profiles")
def list_profiles(
    tracker: Annotated[
        str | None, typer.Argument(help="One of `jtrack list trackers`.", show_default="all")
    ] = None,
) -> None:
    """The profiles of a tracker, or of all, for --profile."""
    from jtrack import trackers

    chosen = trackers.names() if tracker is None else [match("tracker", tracker, trackers.names())]
    show(
        ("profile", "tracker", "what it is"),
        [
            (profile, name, about)
            for name in chosen
            for profile, about in trackers.describe_profiles(name).items()
        ],
    )


@app.command("settings")
def list_settings(
    tracker: Annotated[str, typer.Argument(help="One of `jtrack list trackers`.")],
    *,
    profile: Annotated[str, typer.Option(help="One of `jtrack list profiles TRACKER`.")] = "default",
    backbone: Annotated[
        str | None,
        typer.Option(help="One of `jtrack list backbones`.", show_default="the first whose weights are here"),
    ] = None,
) -> None:
    """What --set can change in a profile: what it is there, and what it takes."""
    from jtrack import settings, trackers

    chosen = trackers.profile(tracker, profile, backbone or trackers.default_backbone(tracker))
    rows: list[tuple[str, ...]] = [(name, *about) for name, about in settings.describe(chosen).items()]
    show(("setting", "value", "what it takes"), rows)


@app.command("backbones")
def list_backbones() -> None:
    """The networks, for --backbone: whether their weights are here, and which trackers take them."""
    from jtrack import backbones, trackers
    from jtrack.weights import store

    def weights(name: str) -> str:
        if name not in store.manifest():
            return "needs none"
        return "here" if store.locate(name) else "not here"

    show(
        ("network", "weights", "trackers", "what it is"),
        [
            (
                name,
                weights(name),
                " ".join(tracker for tracker in trackers.names() if name in trackers.networks(tracker)),
                backbones.describe(name),
            )
            for name in backbones.names()
        ],
    )


@app.command("datasets")
def list_datasets() -> None:
    """The kinds of datasets, for --dataset, and what their folder --root holds."""
    show(("dataset", "files under --root"), list(LAYOUTS.items()))


@app.command("protocols")
def list_protocols() -> None:
    """The protocols of evaluation, for --protocol."""
    from jtrack.benchmark import protocol as protocols

    show(("protocol", "what it is"), [(name, protocols.load(name).title) for name in protocols.names()])


def show(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Prints a table for people, or lines for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    first, *others = titles
    table = Table(Column(first, no_wrap=True), *others, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
