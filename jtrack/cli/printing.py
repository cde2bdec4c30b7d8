"""Tables for a terminal, in which every name stands as it is, and words on stderr."""

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from jtrack.errors import LONGEST_MESSAGE, install, printable


def console() -> Console:
    """Standard output. Brackets and colons of what is printed are no markup and no emoji."""
    return Console(markup=False, emoji=False)


def plain(title: str, *columns: Column | str) -> Table:
    """A table whose lines fit a narrow terminal."""
    return Table(*columns, title=shown(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def shown(name: object) -> Text:
    """A name for a table: brackets in it are no markup, and control characters are escaped."""
    return Text(printable(name))


# For a user who has asked for no network and has none.
NO_NETWORK = f"on compact, jtrack's own small network, as no larger one has weights here: {install('nets')}"


def tell(message: str) -> None:
    """Says something on stderr, whatever the names in it."""
    typer.echo(f"jtrack: {printable(message, LONGEST_MESSAGE)}", err=True)
