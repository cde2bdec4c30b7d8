"""Options that say which sequences: declared once, with the choices there are."""

from pathlib import Path
from typing import Annotated

import typer

from jtrack.benchmark import protocol as protocols
from jtrack.data.dataset import KINDS
from jtrack.data.got10k import SPLITS
from jtrack.data.otb import lists

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
