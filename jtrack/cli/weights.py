"""`jtrack weights`: what networks there are, fetched, converted and verified."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import DownloadColumn, TaskID, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table
from rich.text import Text

from jtrack.cli.progress import Bar
from jtrack.errors import LONGEST_MESSAGE, printable
from jtrack.weights import store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List, fetch, convert and verify the weights of the networks.",
)

Name = Annotated[
    str, typer.Argument(help="A network, as `jtrack weights list` names it.", show_default=False)
]


@app.command("list")
def list_networks() -> None:
    """The networks whose weights come from files, and which of them are here."""
    table = Table(Column("network", no_wrap=True), "here", "size", "checksum", "licence")
    found = {}
    for name, entry in store.manifest().items():
        by_pip = [source for source in entry.sources if source.distribution]
        if path := store.locate(name):
            found[name] = path
        if not entry.sources:
            size = f"{path.stat().st_size / 2**20:.1f} MiB" if path else "unknown"
            own = path is not None and path.parent == store.own_folder()
            table.add_row(name, "built in" if own else "yes" if path else "no", size, "", entry.licence)
            continue
        source = next((each for each in by_pip if path and store.installed(each) == path), entry.sources[0])
        size = f"{source.size / 2**20:.0f} MiB" if source.size else "unknown"
        here = ("by pip" if source in by_pip else "yes") if path else ("no, by pip" if by_pip else "no")
        table.add_row(name, here, size, source.checksum[:15], source.licence or entry.licence)
    console = Console()
    console.print(table)
    for name, path in found.items():  # under the table, where a long path stays whole
        lacking = store.network(name).lacking
        without = f" (without {', '.join(lacking)})" if lacking else ""
        # A text, for brackets in a path are no markup.
        line = Text(printable(f"{name}: {path}{without}", LONGEST_MESSAGE))
        console.print(line, highlight=False, soft_wrap=True)


@app.command()
def fetch(name: Name) -> None:
    """Fetches a network from the addresses in the manifest, verifies and stores it."""
    from jtrack.weights.fetch import fetch as fetch_network

    name = store.entry(name).name
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, unit="bytes") as bar:
        tasks: dict[str, TaskID] = {}

        def progress(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file)
            bar.update(tasks[file], completed=done, total=total)

        fetched = fetch_network(name, progress=progress)
    typer.echo(f"{name}: stored as {fetched.path}")
    typer.echo(f"from {fetched.address}, checksum {fetched.checksum}")


@app.command()
def convert(
    file: Annotated[
        Path, typer.Argument(help="A .caffemodel, .mat, .pth, .h5, .ckpt or .npz file.", show_default=False)
    ],
    name: Annotated[str, typer.Option("--as", help="The network it holds.", show_default=False)],
) -> None:
    """Converts a file fetched elsewhere and stores the network."""
    name = store.entry(name).name
    stored = store.convert_file(file, name)
    _, header = store.read(stored, name)
    typer.echo(f"{name}: stored as {stored}")
    typer.echo(f"from {file}, checksum {header['source_checksum']}")


@app.command()
def verify(name: Name) -> None:
    """Reads a network's weights again and compares them with what was stored and published."""
    for line in store.verify(name):
        typer.echo(line)


@app.command()
def path() -> None:
    """The folders searched for weights, in order; the first that can be written receives new ones."""
    for folder in store.folders():
        typer.echo(folder)
