"""`jtrack pack`: a dataset as array records, which TensorFlow Datasets and jtrack read."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from jtrack.cli.options import Kind, Sequences, Subset
from jtrack.cli.progress import Bar
from jtrack.data import open_dataset
from jtrack.data.text import split_names

app = typer.Typer(add_completion=False)


@app.command()
def pack(
    dataset: Kind,
    out: Annotated[Path, typer.Option(help="The folder for the pack.", show_default=False)],
    root: Annotated[Path | None, typer.Option(help="The dataset's folder.", show_default=False)] = None,
    subset: Subset = None,
    sequences: Sequences = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that is there.")] = False,
) -> None:
    """Packs a dataset into array records, read by tfds.builder("jtrack_sot", data_dir=OUT)."""
    source = open_dataset(dataset, root, subset=subset, sequences=split_names(sequences))
    from jtrack.data import tfds  # an extra, which takes a second to import

    with Bar(MofNCompleteColumn(), TimeRemainingColumn(), unit="sequences") as bar:
        task = bar.add_task("packing", total=len(source.names))
        place = tfds.pack(
            source,
            out,
            overwrite=overwrite,
            progress=lambda name: bar.update(task, advance=1, description=f"packed {name}"),
        )
    size = sum(file.stat().st_size for file in place.iterdir()) / 2**20
    typer.echo(f"packed {len(source.names)} sequences, {size:.1f} MiB, into {place}")
    typer.echo(f"read it with: jtrack eval --dataset tfds --root {out}")
