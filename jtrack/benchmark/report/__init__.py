"""A report on scored trackers: a page to look at, and figures and tables for a paper.

    report.write(scored, "report", dataset=dataset)

The folder holds `report.html`, which needs no other file and no network; `figures/` as PNG, SVG and PDF; and
`tables/` as CSV and LaTeX. It needs the extra `report`.
"""

import errno
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jtrack.benchmark.scoring import Scored
from jtrack.data import Annotation, Dataset, FrameSource
from jtrack.errors import JtrackError, missing_extra

PAGE, FIGURES, TABLES = "report.html", "figures", "tables"
PICTURES = 6 << 20  # bytes of all pictures of a page, about


def write(
    scored: Sequence[Scored],
    out: str | Path,
    *,
    dataset: Dataset | Sequence[Dataset],
    images: Dataset | None = None,
    title: str | None = None,
    overwrite: bool = False,
    stage: Callable[[str], None] = lambda name: None,
) -> Path:
    """Writes a report.

    Args:
      scored: the trackers, of one protocol or several; those of a protocol are compared with each other.
      out: the folder to be, which appears whole or not at all.
      dataset: what they were scored on, all of them or each: annotations, and frames where it has any.
      images: another dataset to take frames from, for one that has none. Sequences it lacks have no pictures.
      title: of the page.
      overwrite: replace an earlier report.
      stage: is told what is being made.

    Returns:
      The page, `out/report.html`.

    Raises:
      JtrackError: nothing to report, packages of the extra `report` that are missing, a folder that is not
        empty or cannot be written.
    """
    try:
        import matplotlib  # noqa: F401
        import plotly  # noqa: F401

        from jtrack.benchmark.report import figures, filmstrip, page, sections, tables
    except ImportError as error:
        raise missing_extra("a report", "report", error) from None
    out = Path(out)
    check(out, overwrite=overwrite)
    datasets = [dataset] * len(scored) if isinstance(dataset, Dataset) else dataset
    arranged = sections.arrange(scored, datasets)
    overlaps = filmstrip.overlaps_over_time(arranged)
    side = filmstrip.picture_side(len(overlaps) * (filmstrip.EVEN + filmstrip.WORST), PICTURES)
    homes = {section.place(name): section.dataset for section in arranged for name in section.sequences}

    def film(place: sections.Place) -> filmstrip.Film:
        annotation = homes[place].annotation(place.sequence)
        frames = _frames(images or homes[place], annotation)
        return filmstrip.film(annotation, list(overlaps[place].values()), frames, side)

    with appearing(out) as part, ThreadPoolExecutor() as pool:
        films = pool.map(film, overlaps)  # decoding and encoding go on beside the figures
        for folder, kind in ((FIGURES, figures), (TABLES, tables)):
            (part / folder).mkdir()
            for section in arranged:
                stage(f"{folder} of {section.title}")
                kind.write(section, part / folder)
        stage("pictures")
        made = dict(zip(overlaps, films, strict=True))
        stage("page")
        html = page.render(arranged, title=title or _title(datasets), films=made, overlaps=overlaps)
        # What a path has that is not UTF-8 is shown as Python escapes it.
        (part / PAGE).write_text(html, encoding="utf-8", errors="backslashreplace")
    return out / PAGE


def check(out: Path, *, overwrite: bool) -> None:
    """Refuses a folder that is not empty, or, with `overwrite`, one that holds anything but a report.

    Raises:
      JtrackError: then, or if it is a file, or the folder it shall be in is missing.
    """
    if out.exists() and not out.is_dir():
        raise JtrackError(f"cannot write the report {out}: it is a file, give a folder")
    if not out.resolve().parent.is_dir():
        raise JtrackError(
            f"cannot write the report {out}: there is no folder {out.resolve().parent}: make it first"
        )
    try:
        found = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise JtrackError(f"cannot write the report {out}: {error.strerror}") from None
    if found and not overwrite:
        raise JtrackError(f"folder {out} is not empty: give another, or --overwrite for an earlier report")
    if foreign := sorted(found - {PAGE, FIGURES, TABLES}):
        raise JtrackError(f"folder {out} holds {foreign[0]!r}, which is of no report: give another folder")


@contextmanager
def appearing(out: Path) -> Generator[Path]:
    """A folder beside `out` that takes its place if all went well.

    Raises:
      JtrackError: for any `OSError` inside: no permission, a full disk.
    """
    out = out.resolve()
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".part", dir=out.parent) as room:
            part = Path(room, "new")
            part.mkdir()
            yield part
            before = Path(room, "before")
            if out.exists():
                out.rename(before)
            try:
                part.rename(out)
            except OSError:
                if before.exists():
                    before.rename(out)
                raise
    except OSError as error:
        hint = ": make room and run again" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        raise JtrackError(f"cannot write the report {out}: {error.strerror or error}{hint}") from None


def _frames(dataset: Dataset, annotation: Annotation) -> FrameSource | None:
    """The frames that belong to an annotation; None where they are not at hand."""
    if annotation.name not in dataset.names:
        return None
    try:
        sequence = dataset.sequence(annotation.name)
    except JtrackError:
        return None
    return sequence.frames if len(sequence.boxes) == len(annotation.boxes) else None


def _title(datasets: Sequence[Dataset]) -> str:
    """The kinds and lists of the datasets."""
    names = [
        " ".join(filter(None, (data.kind.upper(), data.subset and data.subset.upper()))) for data in datasets
    ]
    return f"Trackers on {', '.join(dict.fromkeys(names))}"
