"""A paper's tables and figures with ours beside them, as one page and as files.

    writing.write(papers.load("NAME"), material, "paper-NAME")

The folder is one of a report: `report.html`, which needs no other file and no network; `tables/` as CSV and
LaTeX; `figures/` as PNG and PDF. It needs the extra `report`.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jtrack import __version__, trackers
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import report
from jtrack.benchmark.papers import Paper, Plot
from jtrack.benchmark.papers.layout import PAPER, Layout, agreement, lay_out
from jtrack.benchmark.papers.layout import write as write_table
from jtrack.benchmark.papers.matching import Material, entrants, rows, selections, sources
from jtrack.benchmark.report.sections import Entry, Section
from jtrack.data import Dataset, otb
from jtrack.errors import JtrackError, missing_extra

if TYPE_CHECKING:
    from jtrack.benchmark.papers.scene_figures import Shown

FORMATS = ("png", "pdf")
TOP = 9  # other trackers in a plot: ten in all, as most papers have them


class Written(NamedTuple):
    """What was written, and what of it was said."""

    page: Path
    agreement: list[str]  # of the paper's own: "Table 1, Ours, published boxes: 12 of 12 figures as printed"
    missing: int  # rows that could not be filled


def write(
    paper: Paper,
    material: Material,
    out: str | Path,
    *,
    images: Dataset | None = None,
    top: int = TOP,
    overwrite: bool = False,
) -> Written:
    """Writes the page, the tables and the figures of a paper.

    Args:
      paper: see `jtrack.benchmark.papers.load`.
      material: what there is to stand beside its figures; nothing at all is allowed.
      out: the folder to be, which appears whole or not at all.
      images: OTB's sequences, to take frames from; None for none, of which the page speaks.
      top: how many trackers stand in a plot beside the paper's own, the best ones.
      overwrite: replace an earlier one.

    Raises:
      JtrackError: packages of the extra `report` that are missing, a folder that is not empty or cannot be
        written.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("a page of a paper", "report", error) from None
    from jtrack.benchmark.papers import scene_figures

    out = Path(out)
    report.check(out, overwrite=overwrite)
    layouts = [lay_out(table, rows(paper, table, material)) for table in paper.all_tables]
    with report.appearing(out) as part:
        for folder in (report.FIGURES, report.TABLES):
            (part / folder).mkdir()
        for layout in layouts:
            write_table(layout, part / report.TABLES)
        looks = dict[str, int]()  # the same in every figure
        plots = draw(paper, material, part / report.FIGURES, looks, top=top)
        frames = scene_figures.draw(paper, material, images, part / report.FIGURES, looks)
        page = render(paper, material, layouts, plots, frames)
        (part / report.PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")
    said = [
        f"{layout.table.title}, {line.name}: {same} of {compared} figures as printed"
        for layout in layouts
        for line, same, compared in agreement(layout)
        if paper.methods[line.method].runs
    ]
    return Written(out / report.PAGE, said, len(missing(paper, material)))


def missing(paper: Paper, material: Material) -> list[tuple[str, str, str]]:
    """(method, protocol, what it needs) of every row that cannot be filled."""
    found = dict[tuple[str, str, str], None]()
    for table in paper.all_tables:
        for method in table.methods:
            for source in sources(paper, paper.methods[method], table.protocol, material):
                if source.found is None:
                    found[method, table.protocol, source.need] = None
    return list(found)


class Image(NamedTuple):
    """A figure that was drawn."""

    title: str
    png: bytes


def draw(
    paper: Paper, material: Material, folder: Path, looks: dict[str, int], *, top: int
) -> dict[str, list[Image]]:
    """Writes the plots that there is something for: id of a plot -> what was drawn.

    `looks` has the number of the look of each tracker by its name; new ones are added.
    """
    import matplotlib as mpl

    from jtrack.benchmark.report import figures

    found = dict[str, list[Image]]()
    with mpl.rc_context(figures.STYLE):
        for plot in paper.plots:
            for names in selections(paper, plot, material):
                section = _section(paper, plot, names, material, top, looks)
                if section is None:
                    continue
                draw_one = figures.curves_by_attribute if plot.attributes else figures.curves
                stem = plot.table.id + ("" if len(names) == len(otb.lists()[plot.list]) else "-shared")
                figures.save(draw_one(section, plot.curve), folder, stem, FORMATS)
                png = (folder / f"{stem}.png").read_bytes()
                found.setdefault(plot.table.id, []).append(Image(section.about, png))
    return found


def _section(
    paper: Paper,
    plot: Plot,
    names: Sequence[str],
    material: Material,
    top: int,
    looks: dict[str, int],
) -> Section | None:
    """What a plot shows, as the report's figures take it; None for nothing."""
    drawn = entrants(paper, plot, names, material, top=top)
    if not drawn:
        return None
    every = otb.lists()[plot.list]
    count = (
        f"{len(names)} sequences" if len(names) == len(every) else f"{len(names)} of {len(every)} sequences"
    )
    marked = {
        attribute: tuple(name for name in names if attribute in otb.attributes(name))
        for attribute in plot.attributes
    }
    return Section(
        key=plot.table.id,
        title=f"{plot.table.protocol.upper()}, {count}",
        about=f"{protocols.load(plot.table.protocol).title}, {count} of {plot.list}",
        subset=plot.list,
        dataset=_without_files(plot.list),
        entries=tuple(Entry(name, looks.setdefault(name, len(looks)), scored) for name, scored in drawn),
        sequences=tuple(names),
        attributes={attribute: members for attribute, members in marked.items() if members},
    )


def _without_files(name: str) -> Dataset:
    """A list of the benchmark as a dataset of which only names are known."""

    def nothing(sequence: str) -> Any:
        raise JtrackError(f"there are no files of {sequence}")

    return Dataset("otb", Path(), name, otb.lists()[name], nothing, nothing)


def render(
    paper: Paper,
    material: Material,
    layouts: Sequence[Layout],
    images: dict[str, list[Image]],
    frames: "Sequence[Shown]",
) -> str:
    """Makes the page."""
    from jtrack.benchmark.report import embedding

    shown = [_view(layout, images.get(layout.table.id, [])) for layout in layouts]
    plots = {plot.table.id for plot in paper.plots}
    values = {
        "paper": paper,
        "tables": [view for view in shown if view["id"] not in plots],
        "plots": [view for view in shown if view["id"] in plots],
        "frames": frames,
        "profiles": _profiles(paper),
        "missing": missing(paper, material),
        "refused": list(material.refused),
        "version": __version__,
        "css": embedding.asset("jtrack.benchmark.report", "page.css"),
    }
    return embedding.fill("jtrack.benchmark.papers", "paper.html.j2", values)


def _profiles(paper: Paper) -> dict[str, str]:
    """What the profiles of its runs are: an ablation of another profile than `paper` is not the paper's."""
    about = trackers.describe_profiles(paper.tracker)
    return {run.profile: about[run.profile] for method in paper.methods.values() for run in method.runs}


def _view(layout: Layout, images: Sequence[Image]) -> dict[str, Any]:
    """A table as the template reads it."""
    compared = agreement(layout)
    return {
        "id": layout.table.id,
        "title": layout.table.title,
        "caption": layout.table.caption,
        "panels": any(column.attribute for column in layout.columns),
        "turned": layout.table.by_sequence,
        "titles": layout.titles,
        "lines": layout.lines,
        "paper": PAPER,
        "same": sum(same for _, same, _ in compared),
        "compared": sum(number for *_, number in compared),
        "empty": not any(line.cells for line in layout.lines),
        "images": [
            {"title": image.title, "data": f"data:image/png;base64,{base64.b64encode(image.png).decode()}"}
            for image in images
        ],
    }
