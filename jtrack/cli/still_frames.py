"""The figure of `jtrack view --figure`: chosen frames with everybody's boxes."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from jtrack.benchmark import view
from jtrack.benchmark.results import Results
from jtrack.cli import outputs
from jtrack.cli.printing import tell
from jtrack.data import Dataset
from jtrack.errors import LONGEST_MESSAGE, JtrackError, missing_extra, printable


def parse(texts: Sequence[str] | None, figure: Path | None) -> dict[str, tuple[int, ...]]:
    """Reads `--frames`, `NAME:N,N` each: name -> its frames from 0, none where there is a name alone.

    Raises:
      JtrackError: it is something else, names a sequence twice, or there is no figure.
    """
    if texts and figure is None:
        raise JtrackError("--frames are those of a figure: give --figure FILE, too")
    found = dict[str, tuple[int, ...]]()
    for text in texts or ():
        # Frames are of at most nine digits: no sequence is longer.
        if not (match := re.fullmatch(r"([^:]+)(?::([1-9][0-9]{0,8}(?:,[1-9][0-9]{0,8})*))?", text)):
            raise JtrackError(
                f"--frames is {printable(text, 60)}: give a sequence and its frames from 1 on, such as "
                "Crossing:10,50,100"
            )
        if match[1] in found:
            raise JtrackError(f"--frames names {printable(match[1])} twice: give its frames in one")
        found[match[1]] = tuple(int(number) - 1 for number in match[2].split(",")) if match[2] else ()
    return found


def files(figure: Path) -> list[Path]:
    """The files of a figure: the name with a suffix for each format, whichever of these it has."""
    formats = view.FIGURE_FORMATS
    stem = figure.with_suffix("") if figure.suffix.lower().lstrip(".") in formats else figure
    return [stem.with_name(f"{stem.name}.{kind}") for kind in view.FIGURE_FORMATS]


def check(figure: Path, *, overwrite: bool) -> None:
    """Refuses a figure that could not be written, or that is there already without `overwrite`.

    Raises:
      JtrackError: then, or if a package of the extra `report` is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("a figure", "report", error) from None
    for path in files(figure):
        outputs.check_file(path, tuple(f".{kind}" for kind in view.FIGURE_FORMATS), overwrite=overwrite)


def write(
    figure: Path, dataset: Dataset, found: Sequence[Results], frames: Mapping[str, Sequence[int]]
) -> None:
    """Draws the figure and writes its files, each whole or not at all.

    Raises:
      JtrackError: see `view.frame_grid.draw`; or a file cannot be written.
    """
    from jtrack.benchmark.report.looks import look
    from jtrack.benchmark.view import frame_grid

    names = view.called(found)
    called = [
        frame_grid.Called(name, look(number), each)
        for number, (name, each) in enumerate(zip(names, found, strict=True))
    ]
    drawn = frame_grid.draw(dataset, called, frames)
    with tempfile.TemporaryDirectory() as room:
        frame_grid.save(drawn.figure, Path(room), "figure")
        for path in files(figure):
            with outputs.appearing(path) as part:
                part.write_bytes(Path(room, f"figure{path.suffix}").read_bytes())
    for note in drawn.notes:
        tell(note)
    typer.echo(printable(f"wrote {' and '.join(map(str, files(figure)))}", LONGEST_MESSAGE))
