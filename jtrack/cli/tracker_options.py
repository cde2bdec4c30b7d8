"""Options that say which tracker: declared once, with the choices there are."""

from typing import Annotated

import typer

from jtrack import backbones, trackers


def either(names: list[str] | tuple[str, ...]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def profiles_by_tracker() -> str:
    """The profiles that all trackers have, then what each has beside them."""
    of = {name: trackers.profiles(name) for name in trackers.names()}
    common = [profile for profile in next(iter(of.values())) if all(profile in each for each in of.values())]
    own = {name: [profile for profile in each if profile not in common] for name, each in of.items()}
    others = "; ".join(f"{name} also {', '.join(profiles)}" for name, profiles in own.items() if profiles)
    return f"{either(common)}; {others}"


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
        help=f"Which network: {either(backbones.names())}.", show_default="googlenet if installed, else hog"
    ),
]
Precision = Annotated[str, typer.Option(help=f"{either(backbones.PRECISIONS)}, of the network.")]
Weights = Annotated[
    str | None,
    typer.Option(
        help="What `jtrack train objectness` has made, by name or as a .safetensors file; for "
        f"{either(trackers.names_with('objectness'))}.",
        show_default="the network's own",
    ),
]
