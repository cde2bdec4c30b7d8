"""`jtrack paper`: a paper's tables and figures, with ours beside them."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jtrack.benchmark import ledger, papers, scoring, shards, stored_curves
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import report as reports
from jtrack.benchmark.adapters import evaluated
from jtrack.benchmark.evaluate import evaluate
from jtrack.benchmark.papers import Paper, writing
from jtrack.benchmark.papers.jobs import jobs
from jtrack.benchmark.papers.matching import Material, Source, sources
from jtrack.benchmark.results import Results, is_run
from jtrack.benchmark.sources import open_results
from jtrack.cli.eval import heeding_interrupts, progress, reason
from jtrack.cli.listing import show
from jtrack.cli.options import Shard, either
from jtrack.cli.printing import tell
from jtrack.cli.track import prepare
from jtrack.data import Annotation, open_dataset, otb
from jtrack.errors import LONGEST_MESSAGE, JtrackError, printable
from jtrack.untrusted import listed
from jtrack.weights import store

LEDGER = Path("docs", "runs")
PRECISION = "float32"

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
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Run what is missing on the sequences there are images of, and keep it in this results "
            "folder. The same command goes on with what is there.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of OTB for --run and for frames with boxes, if --root has annotations alone.",
            show_default="root",
        ),
    ] = None,
    shard: Shard = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier page.")] = False,
) -> None:
    """Makes a paper's tables and figures from results, the paper's own figures beside them.

    OUT/report.html needs no other file and no network. OUT/figures holds its plots, and frames with boxes
    where there are images, as PNG and PDF, OUT/tables its tables as CSV and LaTeX. Without any results it has
    the paper's figures, and says what is missing.
    """
    part = None if shard is None else shards.parse(shard)
    if part is not None and run is None:
        raise JtrackError(f"--shard {part} is of what is run: give --run FOLDER, too")
    chosen = papers.load(name)
    out = out or Path(f"paper-{chosen.name}")
    if not listing:
        reports.check(out, overwrite=overwrite)
    frames = None if (folder := images or root) is None else open_dataset("otb", folder)
    paths = [path for path in (usual_results() if results is None else results) if path != run]
    with Console(stderr=True).status("reading results"):
        material = gather([*paths, *_runs(run)], root, curves)
    if listing:
        show(("table", "method", "what it needs", "what there is"), inventory(chosen, material))
        return
    if run is not None:
        run_missing(chosen, material, images or root, run, shard=part)
        if part is not None:  # the page is made once the last shard has ended
            typer.echo(f"shard {part} is done: the same command without --shard makes the page")
            return
        material = gather([*paths, *_runs(run)], root, curves)
    with Console(stderr=True).status("writing"):
        written = writing.write(chosen, material, out, images=frames, top=top, overwrite=overwrite)
    for said in written.agreement:
        typer.echo(printable(said))
    for why in material.refused:
        tell(f"left out: {why}")
    if written.missing:
        rows = several(written.missing, "row")
        tell(f"{rows} could not be filled: the page, and --list, say what is needed")
    size = written.page.stat().st_size / 1e6
    wrote = f"wrote {written.page} ({size:.1f} MB), {out}/figures and {out}/tables"
    typer.echo(printable(wrote, LONGEST_MESSAGE))


def usual_results() -> list[Path]:
    """Where results usually are, as far as they are there."""
    found = [LEDGER] if LEDGER.is_dir() and listed(LEDGER, "*" + ledger.SUFFIX) else []
    benchmark = _benchmark()
    published = None if benchmark is None else _there(benchmark / "results")
    return found if published is None else [*found, published]


def gather(results: list[Path], root: Path | None, curves: Path | None) -> Material:
    """Reads what there is; annotations and curves that are not named, where they usually are.

    Raises:
      JtrackError: what was named is not there, or cannot be read.
    """
    if (benchmark := _benchmark()) is not None:
        root = root or _there(benchmark / "annotations")
        curves = curves or _there(benchmark / "curves")
    found = [each for path in results for each in open_results(path)]
    stored = [] if curves is None else stored_curves.read(curves)
    return Material(found, _annotations(found, root), stored)


def _benchmark() -> Path | None:
    """The benchmark's own files: results, annotations and curves."""
    data = os.environ.get("JTRACK_DATA")
    return Path(data) / "otb_benchmark" if data else None


def _runs(folder: Path | None) -> list[Path]:
    """A results folder, if there is a run in it."""
    there = folder is not None and folder.is_dir() and any(map(is_run, listed(folder)))
    return [folder] if folder is not None and there else []


def _there(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _annotations(found: list[Results], root: Path | None) -> dict[str, Annotation]:
    """The annotations of a dataset, or of those that runs of OTB were made on."""
    of = dict.fromkeys(str(each.label.get("root")) for each in found if each.label.get("dataset") == "otb")
    roots = [root] if root else [path for path in map(Path, of) if path.is_dir()]
    truth = dict[str, Annotation]()
    for folder in roots:
        truth |= scoring.annotations(open_dataset("otb", folder))
    return truth


def run_missing(
    paper: Paper, material: Material, root: Path | None, into: Path, *, shard: shards.Shard | None = None
) -> None:
    """Runs what rows lack, after an estimate of the time.

    Raises:
      JtrackError: no folder of images, or one without any.
    """
    if root is None:
        raise JtrackError("--run needs sequences: give --images DIR, a folder of OTB")
    dataset = open_dataset("otb", root)
    dataset.sequence(dataset.names[0])  # annotations alone cannot be run on
    todo = jobs(paper, material, dataset, store.available())
    for job in todo:
        called = f"{paper.tracker} {job.profile} on {job.network}, {job.protocol}"
        time = "" if job.seconds is None else f", {_hours(job.seconds)} by the speed of an earlier run"
        tell(f"to run: {called}: {several(len(job.sequences), 'sequence')}, {job.frames} frames{time}")
    known = [job.seconds for job in todo if job.seconds is not None]
    rest = f" for {len(known)} of {len(todo)} runs" if len(known) < len(todo) else ""
    if known:
        tell(f"in all {_hours(sum(known))}{rest}, on a machine such as made the earlier runs; Ctrl-C stops")
    prepare(PRECISION)
    for job in todo:
        tracker = evaluated(paper.tracker, profile=job.profile, backbone=job.network, precision=PRECISION)
        part = open_dataset("otb", root, sequences=job.sequences)
        with progress() as on_progress, heeding_interrupts(on_progress) as on_progress:
            rules = protocols.load(job.protocol)
            done = evaluate(tracker, part, rules, into, shard=shard, on_progress=on_progress)
        for name, path in done.failures.items():
            tell(f"{name} failed: {reason(path)}")


def several(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}" + "s" * (number != 1)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"


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
