"""`jtrack view`: results in; a page a sequence out, to go through it frame by frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from jtrack.benchmark import scoring
from jtrack.benchmark import view as views
from jtrack.benchmark.results import Results
from jtrack.benchmark.view.pictures import Maps, open_maps
from jtrack.cli import outputs, still_frames
from jtrack.cli.options import (
    ImagesOfResults,
    KindOfResults,
    ProtocolOfResults,
    RootOfResults,
    Sequences,
    Subset,
)
from jtrack.cli.printing import tell
from jtrack.cli.progress import Bar
from jtrack.cli.score import Place, of_protocol, source
from jtrack.data import Annotation, Dataset, FrameSource, open_dataset
from jtrack.data.text import check_name, split_names
from jtrack.errors import LONGEST_MESSAGE, JtrackError, printable

app = typer.Typer(add_completion=False)


@app.command()
def view(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Runs or results folders of `jtrack eval`, or published boxes (.mat, .json, .json.gz or a "
            "folder of such or of text files), of one dataset.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="The folder for the pages.", show_default="none, with --figure")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write chosen frames with everybody's boxes as a figure, FILE.png and FILE.pdf: a row a "
            "sequence, one legend.",
            show_default="none",
        ),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:N,N",
            help="A row of the figure: a sequence, and its frames counted from 1 as the pages do, such as "
            "Crossing:10,50,100; the name alone for frames evenly spread. Repeat it.",
            show_default="all sequences",
        ),
    ] = None,
    root: RootOfResults = None,
    dataset: KindOfResults = None,
    images: ImagesOfResults = None,
    subset: Subset = None,
    sequences: Sequences = None,
    protocol: ProtocolOfResults = None,
    maps: Annotated[
        Path | None,
        typer.Option(
            help="Response maps to show, a folder of `jtrack track --maps`; of several sequences, a folder "
            "each in it, by name. Their numbers are those of the sequence's frames, from 0.",
            show_default="none",
        ),
    ] = None,
    height: Annotated[
        int, typer.Option(min=32, max=4320, help="Of the pictures in pixels, at most.")
    ] = views.HEIGHT,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Show every Nth frame only.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier pages.")] = False,
) -> None:
    """Shows sequences frame by frame: boxes of all trackers, overlaps, scores and events.

    OUT gets a page a sequence, NAME.html, which needs no other file and no network. A sequence that a tracker
    has no results of is shown without it, and the page says why. --figure makes a figure for a paper of
    frames that were found so, with or without pages.
    """
    views.check()
    wanted = still_frames.parse(frames, figure)
    if out is None and figure is None:
        raise JtrackError("nothing to write: give --out FOLDER for pages, or --figure FILE")
    if out is not None:
        outputs.check_folder(out, overwrite=overwrite, keep=False)
    if figure is not None:
        still_frames.check(figure, overwrite=overwrite)
    found = gather(of_protocol(results, protocol), dataset, root, subset, sequences)
    source_of_frames = found.dataset if images is None else open_dataset(found.dataset.kind, images)
    if figure is not None:
        still_frames.write(figure, source_of_frames, found.results, wanted or dict.fromkeys(found.shown, ()))
    if out is None:
        return
    of_maps = {} if maps is None else maps_of(maps, list(found.shown))
    written, refused = 0, list(found.refused)
    with Bar(MofNCompleteColumn(), TimeRemainingColumn(), unit="sequences") as bar:
        task = bar.add_task("", total=len(found.shown))
        for name, annotation in found.shown.items():
            bar.update(task, description=name)
            try:
                pictures, notes = frames_of(source_of_frames, annotation)
                page = views.page(
                    annotation,
                    found.results,
                    frames=pictures,
                    maps=of_maps.get(name),
                    height=height,
                    every=every,
                    notes=notes,
                )
                write(out / f"{check_name(name, found.dataset.root)}.html", page)
                written += 1
            except outputs.WriteError:
                raise
            except JtrackError as error:
                refused.append(error)
            bar.advance(task)
    conclude(out, written, refused)


class Found(NamedTuple):
    """What can be shown, and what not."""

    results: list[Results]
    dataset: Dataset
    shown: dict[str, Annotation]  # of the sequences that some run has, or failed on
    refused: list[JtrackError]


def gather(
    found: list[Results], kind: str | None, root: Path | None, subset: str | None, sequences: str | None
) -> Found:
    """The annotations of the sequences that results are of.

    Raises:
      JtrackError: the results are of several datasets, or of none of its sequences.
    """
    places = {source(each, kind, root, subset): each for each in found}
    if len(places) > 1:
        raise JtrackError(several(places))
    (place,) = places
    dataset = open_dataset(*place[:2], subset=place[2], sequences=split_names(sequences))
    truth = scoring.annotations(dataset)
    kept, names, refused = list[Results](), set[str](), list[JtrackError]()
    for each in found:
        try:
            names |= scoring.shared(each, truth).keys() | (each.failures.keys() & truth.keys())
            kept.append(each)
        except JtrackError as error:
            refused.append(error)
    if not kept:
        raise refused[0]
    return Found(kept, dataset, {name: truth[name] for name in truth if name in names}, refused)


def several(places: Mapping[Place, Results]) -> str:
    """The sentence that results are of several datasets."""
    (first, one), (second, other) = list(places.items())[:2]
    return (
        f"{one.tracker} is of {first[0]} in {first[1]} and {other.tracker} of {second[0]} in {second[1]}: a "
        "page is of one dataset, give --root and --dataset, or fewer results"
    )


def maps_of(folder: Path, names: list[str]) -> dict[str, Maps]:
    """The response maps of sequences: of the only one in a folder, or of each in its own folder there.

    Raises:
      JtrackError: there are none.
    """
    own = {name: open_maps(folder / name) for name in names if (folder / name).is_dir()}
    if own:
        return own
    if len(names) > 1:
        raise JtrackError(
            f"{folder} has no folder of one of the {len(names)} sequences, such as {names[0]}: make one for "
            "each, or name the one that the maps are of (--sequences)"
        )
    return {names[0]: open_maps(folder)}


def frames_of(dataset: Dataset, annotation: Annotation) -> tuple[FrameSource | None, list[str]]:
    """The frames that belong to an annotation; or none, and why."""
    try:
        found = dataset.sequence(annotation.name)
    except JtrackError as error:
        return None, [str(error)]
    if len(found.boxes) != len(annotation.boxes):
        return None, [f"{dataset.root} has another version of it, of {len(found.boxes)} frames"]
    return found.frames, []


def write(path: Path, page: str) -> None:
    """Writes a page whole or not at all."""
    with outputs.appearing(path) as part:
        # What a name has that is not UTF-8 is shown as Python escapes it.
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def conclude(out: Path, written: int, refused: list[JtrackError]) -> None:
    """Says what was written, and the first reason why something was not.

    Raises:
      JtrackError: nothing was written.
      Exit: with 1, if a part was not.
    """
    others = f" (and {len(refused) - 1} more such)" if len(refused) > 1 else ""
    if not written:
        raise JtrackError(f"{refused[0]}{others}")
    pages = f"{written} page{'s' * (written > 1)}"
    typer.echo(printable(f"wrote {pages} to {out}", LONGEST_MESSAGE))
    if refused:
        tell(f"{refused[0]}{others}; {pages} written")
        raise typer.Exit(1)
