"""`jtrack paper`: a paper's tables and figures, with ours beside them."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jtrack.benchmark import papers, scoring, stored_curves
from jtrack.benchmark import report as reports
from jtrack.benchmark.papers import Paper, writing
from jtrack.benchmark.papers.matching import Material, Source, sources
from jtrack.benchmark.results import Results
from jtrack.benchmark.sources import open_results
from jtrack.cli.listing import show
from jtrack.cli.options import either
from jtrack.cli.printing import tell
from jtrack.data import Annotation, open_dataset, otb
from jtrack.errors import LONGEST_MESSAGE, printable

LEDGER = Path("docs", "runs")

app = typer.Typer(add_completion=False)


@app.command()
def paper(
    name: Annotated[str, typer.Argument(help=f"Which paper: {either(papers.names())}.", show_default=False)],
    *,
    out: Annotated[
        Path | None, typer.Option(help="The folder for the page.", show_default="paper-NAME")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            help="Runs or results folders of `jtrack eval`, a ledger of runs, or published boxes; repeat it.",
            show_default="docs/runs and JTRACK_DATA/otb_benchmark/results, if they are there",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of OTB, or of its annotations alone.",
            show_default="JTRACK_DATA/otb_benchmark/annotations, else of the runs",
        ),
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the OTB toolkit's stored curves of 29 trackers.",
            show_default="JTRACK_DATA/otb_benchmark/curves",
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            min=0, max=40, help="How many trackers stand in a plot beside the paper's own, the best ones."
        ),
    ] = writing.TOP,
    listing: Annotated[
        bool, typer.Option("--list", help="Say what each table and figure needs and has; write nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier page.")] = False,
) -> None:
    """Makes a paper's tables and figures from results, the paper's own figures beside them.

    OUT/report.html needs no other file and no network. OUT/figures holds its plots as PNG and PDF, OUT/tables
    its tables as CSV and LaTeX. Without any results it has the paper's figures, and says what is missing.
    """
    chosen = papers.load(name)
    out = out or Path(f"paper-{chosen.name}")
    if not listing:
        reports.check(out, overwrite=overwrite)
    with Console(stderr=True).status("reading results"):
        material = gather(results, root, curves)
        if listing:
            show(("table", "method", "what it needs", "what there is"), inventory(chosen, material))
            return
        written = writing.write(chosen, material, out, top=top, overwrite=overwrite)
    for said in written.agreement:
        typer.echo(printable(said))
    for why in material.refused:
        tell(f"left out: {why}")
    if written.missing:
        tell(f"{written.missing} rows could not be filled: the page, and --list, say what they need")
    size = written.page.stat().st_size / 1e6
    wrote = f"wrote {written.page} ({size:.1f} MB), {out}/figures and {out}/tables"
    typer.echo(printable(wrote, LONGEST_MESSAGE))


def gather(results: list[Path] | None, root: Path | None, curves: Path | None) -> Material:
    """Reads all there is: what was named, or else what is where it usually is.

    Raises:
      JtrackError: what was named is not there, or cannot be read.
    """
    data = os.environ.get("JTRACK_DATA")
    benchmark = Path(data) / "otb_benchmark" if data else None
    if results is None:
        usual = [LEDGER, *([benchmark / "results"] if benchmark else [])]
        results = [path for path in usual if path.is_dir()]
    if benchmark is not None:
        root = root or _there(benchmark / "annotations")
        curves = curves or _there(benchmark / "curves")
    found = [each for path in results for each in open_results(path)]
    stored = [] if curves is None else stored_curves.read(curves)
    return Material(found, _annotations(found, root), stored)


def _there(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _annotations(found: list[Results], root: Path | None) -> dict[str, Annotation]:
    """The annotations of a dataset, or of those that runs of OTB were made on."""
    of = (str(each.label["root"]) for each in found if each.label.get("dataset") == "otb")
    roots = [root] if root else [path for path in map(Path, dict.fromkeys(of)) if path.is_dir()]
    truth = dict[str, Annotation]()
    for folder in roots:
        truth |= scoring.annotations(open_dataset("otb", folder))
    return truth


def inventory(paper: Paper, material: Material) -> list[tuple[str, ...]]:
    """A line for each source of each row: table, method, what it needs, what there is."""
    return [
        (table.title, method, f"{source.need}, {table.protocol}", _has(source, lists, material))
        for table in paper.all_tables
        for lists in [list(dict.fromkeys(column.list for column in table.columns))]
        for method in table.methods
        for source in sources(paper, paper.methods[method], table.protocol, material)
    ]


def _has(source: Source, lists: list[str], material: Material) -> str:
    if source.found is None:
        return "nothing"
    parts = []
    for name in lists:
        names = otb.lists()[name]
        parts.append(f"{material.count(source.found, names)} of {len(names)} of {name}")
    return f"{source.title}: {', '.join(parts)}"
