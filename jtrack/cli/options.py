"""Options of the commands, each declared once, with the choices there are."""

import functools
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from jtrack import backbones, settings, trackers
from jtrack.benchmark import protocol as protocols
from jtrack.data.dataset import KINDS
from jtrack.data.got10k import SPLITS
from jtrack.data.otb import lists
from jtrack.errors import JtrackError, printable


def either(names: list[str] | tuple[str, ...]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def changes(texts: list[str] | None) -> trackers.Changes | None:
    """What `--set` changes, as `trackers.create` takes it."""
    return functools.partial(settings.apply, settings=texts) if texts else None


def profiles_by_tracker() -> str:
    """The profiles that all trackers have, then what each has beside them."""
    of = {name: trackers.profiles(name) for name in trackers.names()}
    common = [profile for profile in next(iter(of.values())) if all(profile in each for each in of.values())]
    own = {name: [profile for profile in each if profile not in common] for name, each in of.items()}
    others = "; ".join(f"{name} also {', '.join(profiles)}" for name, profiles in own.items() if profiles)
    return f"{either(common)}; {others}"


ImagesOfResults = Annotated[
    Path | None,
    typer.Option(
        "--images", help="Folder to take frames from, if --root has annotations alone.", show_default="root"
    ),
]
Tracker = Annotated[str, typer.Option(help=f"Which tracker: {either(trackers.names())}.")]
Profile = Annotated[
    str,
    typer.Option(
        help=f"Which of its profiles: {profiles_by_tracker()}. `jtrack list profiles` says what they are."
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help=f"Which network: {either(backbones.names())}.", show_default="the best installed, else compact"
    ),
]
Precision = Annotated[
    str, typer.Option(help=f"{either(list(backbones.PRECISIONS))}, of the network; tf32 is for GPUs.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="What `jtrack train objectness` has made, by name or as a .safetensors file; for "
        f"{either(trackers.names_with('objectness'))}.",
        show_default="the network's own",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change the profile: a hyper-parameter or a field of its config, such as learning_rate=0.02, "
        "layer_weights=1,0.5,0.2, localisation=cell, scale=none; of a part, window.padding=3; repeat it. "
        "`jtrack list settings TRACKER` lists them.",
        show_default="nothing",
    ),
]

Kind = Annotated[str, typer.Option(help=f"Kind of dataset: {', '.join(KINDS)}.", show_default=False)]
# Of results, which say themselves what they are of.
KindOfResults = Annotated[
    str | None,
    typer.Option(help=f"Its kind: {', '.join(KINDS)}.", show_default="by the protocol"),
]
RootOfResults = Annotated[
    Path | None,
    typer.Option(help="Folder of the dataset, or of its annotations alone.", show_default="of the run"),
]
ProtocolOfResults = Annotated[
    str | None,
    typer.Option(help=f"Only results of one protocol: {', '.join(protocols.names())}.", show_default="all"),
]
Subset = Annotated[
    str | None,
    typer.Option(
        "--list",
        help=f"One of its lists or splits: {', '.join(lists())} of otb; {', '.join(SPLITS)} of got.",
        show_default="all there are",
    ),
]
Sequences = Annotated[
    str | None, typer.Option(metavar="A,B", help="Only these sequences.", show_default="all")
]
ProtocolToRun = Annotated[
    str | None,
    typer.Option(
        help=f"One of {', '.join(protocols.names())}.", show_default="ope; vot: baseline; got: got10k"
    ),
]
Repeats = Annotated[
    int | None,
    typer.Option(help="Trials of every start.", show_default="the protocol's; 1 if nothing is random"),
]
LimitFrames = Annotated[
    int | None, typer.Option(help="Only so many frames of each trial.", show_default="all")
]
Lanes = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        help="Trials run at once, shared out over all GPUs; above 1 they are not timed. auto: as many as fit "
        "their memory, 1 on a CPU.",
    ),
]

Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Only every Nth sequence by name, from the Ith on, counted from 0. 0/3, 1/3 and 2/3 make the "
        "whole, in any order and on any machines.",
        show_default="all",
    ),
]

Claims = Annotated[
    str,
    typer.Option(
        metavar="lock|lease",
        help="How processes that share --results agree who runs what: by the system's locks, or by files "
        "that they touch, for a network disk whose locks do not hold between machines. All say the same.",
    ),
]

On = Annotated[
    str | None,
    typer.Option(
        metavar="ray|ray://HOST:PORT",
        help="Run on workers of a Ray cluster: of the one at an address, or of the one that this machine is "
        "part of, or else on as many as this machine has room for (extra cluster). Workers read the dataset "
        "themselves and send what they do here.",
        show_default="in this process",
    ),
]
NumCpus = Annotated[float | None, typer.Option(help="With --on: processors for a worker.", show_default="1")]
NumGpus = Annotated[
    float | None,
    typer.Option(
        help="With --on: GPUs for a worker, such as 0.5 for two workers a GPU.",
        show_default="1, where there are GPUs",
    ),
]


def number_of_lanes(text: str) -> int | Literal["auto"]:
    """Reads `--lanes`.

    Raises:
      JtrackError: neither a whole number from 1 on nor auto.
    """
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdigit() and int(text)):
        raise JtrackError(f"--lanes is {printable(text, 20)}: give 1 or more, or auto")
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Reads `--size`, `WxH`, as (height, width).

    Raises:
      JtrackError: it is not that.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if not match:
        raise JtrackError(f"--size {text!r} is not a size: give WIDTHxHEIGHT, such as 640x480")
    return int(match[2]), int(match[1])
