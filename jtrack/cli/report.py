"""`jtrack report`: results in; a page, figures and tables out."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jtrack.benchmark import report as reports
from jtrack.cli.options import (
    ImagesOfResults,
    KindOfResults,
    ProtocolOfResults,
    RootOfResults,
    Sequences,
    Subset,
)
from jtrack.cli.printing import shown
from jtrack.cli.score import of_protocol, score_all
from jtrack.data import open_dataset
from jtrack.errors import LONGEST_MESSAGE, printable

app = typer.Typer(add_completion=False)


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Runs or results folders of `jtrack eval`, or published boxes (.mat, .json, .json.gz or a "
            "folder of such or of text files); of several protocols, if you like.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The folder for the report.", show_default=False)],
    root: RootOfResults = None,
    dataset: KindOfResults = None,
    images: ImagesOfResults = None,
    subset: Subset = None,
    sequences: Sequences = None,
    protocol: ProtocolOfResults = None,
    title: Annotated[str | None, typer.Option(help="Of the page.", show_default="the dataset")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report.")] = False,
) -> None:
    """Compares results: an interactive page, and figures and tables ready for a paper.

    OUT/report.html needs no other file and no network. OUT/figures holds its plots as PNG, SVG and PDF,
    OUT/tables its tables as CSV and LaTeX.
    """
    reports.check(out, overwrite=overwrite)
    console = Console(stderr=True)
    with console.status("reading results") as status:
        done = score_all(
            of_protocol(results, protocol),
            dataset=dataset,
            root=root,
            subset=subset,
            sequences=sequences,
            stage=lambda name: status.update(shown(f"scoring {name}")),
        )
        if not done.scored:
            done.complain("")
        frames = None if images is None else open_dataset(done.datasets[0].kind, images)
        page = reports.write(
            done.scored,
            out,
            dataset=done.datasets,
            images=frames,
            title=title,
            overwrite=overwrite,
            stage=lambda name: status.update(shown(f"writing {name}")),
        )
    wrote = f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB), {out}/figures and {out}/tables"
    typer.echo(printable(wrote, LONGEST_MESSAGE))
    done.complain(f": the report has the other {len(done.scored)}")
