"""The papers of the trackers as data: every figure they print, and which results may stand beside it.

    paper = papers.load("NAME")             # a name of `papers.names()`
    paper.tables[0].values["Ours"]          # what the paper prints, in the order of the table's columns

A paper is a file `NAME.toml` in this folder. Its `methods` are the rows of its tables: each may be filled by
runs of the paper's `tracker` (a profile, on the first of `networks` that there are results of), by
`published` boxes (a tracker's name) and by the benchmark's stored `curves` (a tracker's name). Its `tables`
have `columns`, a measure on a list of sequences each, or of those with an attribute, or of one sequence; its
`plots` are curves of the same; its `scenes` show frames with boxes, of the sequences that its text names.
`values` are fractions, pixels or frames a second, as the measure is; `nan` stands where the paper prints
nothing or its text cannot be read.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, NamedTuple

from jtrack import trackers
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark.report import sections
from jtrack.benchmark.report.sections import Curve, Measure
from jtrack.data import otb
from jtrack.errors import JtrackError, unknown_name
from jtrack.names import match
from jtrack.untrusted import reading

SPEED = Measure("fps", "fps", "frames a second, of whatever machine", 2)
# What every table has of ours, whatever the paper prints: a figure stands beside the same measure alone.
STANDARD = ("auc", "precision20", "success50", "success60", "mean_error")
MEASURES = {each.key: each for each in (*sections.MEASURES, SPEED) if each.key in (*STANDARD, SPEED.key)}
PIXELS_OR_SPEED = ("mean_error", "fps")  # all others are fractions
CURVES = {curve.key: curve for curve in sections.CURVES if curve.key in ("success", "precision")}


class Run(NamedTuple):
    """A run that may fill a row: of the paper's tracker."""

    profile: str
    networks: tuple[str, ...]  # the best first


class Method(NamedTuple):
    """A row of the paper's tables, and what may stand beside it."""

    name: str
    published: str = ""  # the name of a tracker in published results
    curves: str = ""  # the name of a tracker in the benchmark's stored curves
    runs: tuple[Run, ...] = ()


class Column(NamedTuple):
    """A column of a table: a measure on a list, or on those of it with an attribute, or on one sequence."""

    measure: str  # a key of `MEASURES`
    list: str  # a key of `jtrack.data.otb.lists()`
    attribute: str = ""
    sequence: str = ""
    digits: int = 3  # that the paper prints

    @property
    def is_overall(self) -> bool:
        """Whether it is of a whole list."""
        return not (self.attribute or self.sequence)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The sequences it is of."""
        if self.sequence:
            return (self.sequence,)
        names = otb.lists()[self.list]
        return tuple(name for name in names if not self.attribute or self.attribute in otb.attributes(name))


@dataclass(frozen=True)
class Table:
    """A table of a paper."""

    id: str  # a part of file names
    title: str  # "Table 1"
    caption: str
    protocol: str
    columns: tuple[Column, ...]
    methods: tuple[str, ...]  # its rows
    values: Mapping[str, tuple[float, ...]]  # method -> what the paper prints, NaN for nothing

    @property
    def by_sequence(self) -> bool:
        """Whether its columns are single sequences: then it is better read turned round."""
        return sum(bool(column.sequence) for column in self.columns) > 1


@dataclass(frozen=True)
class Plot:
    """A figure of a paper: curves, of all sequences or one panel an attribute; its legend is a table."""

    table: Table
    curve: Curve
    attributes: tuple[str, ...] = ()
    others: bool = True  # whether the other trackers of the stored curves may stand in it

    @property
    def list(self) -> str:
        """The list of sequences it is of."""
        return self.table.columns[0].list


class Scenes(NamedTuple):
    """A figure of frames with everybody's boxes."""

    id: str  # a part of file names
    title: str
    caption: str
    methods: tuple[str, ...]  # whose boxes, as far as there are any
    sequences: tuple[str, ...] = ()  # of OTB, that the paper's text names; empty for none


@dataclass(frozen=True)
class Paper:
    """A paper, its tables and its figures."""

    name: str  # of the file
    title: str
    authors: str
    venue: str
    tracker: str  # of `jtrack.trackers`
    methods: Mapping[str, Method]
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...]
    scenes: tuple[Scenes, ...]

    @cached_property
    def all_tables(self) -> tuple[Table, ...]:
        """Its tables, and the legends of its figures."""
        return (*self.tables, *(plot.table for plot in self.plots))


def names() -> list[str]:
    """The papers there are."""
    return sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.suffix == ".toml")


def load(name: str) -> Paper:
    """Reads a paper.

    Raises:
      JtrackError: there is none of this name.
    """
    name = match("paper", name, names())
    return parse(name, (_folder() / f"{name}.toml").read_text("utf-8"))


def parse(name: str, text: str) -> Paper:
    """Reads a paper from the text of its file, every name and number in it checked.

    Args:
      name: what to call it.
      text: the TOML.

    Raises:
      JtrackError: a key that is unknown or missing; a tracker, profile, network, measure, list, attribute or
        method that there is not; as many numbers as a table has no columns, or one out of its range.
    """
    with reading(f"paper {name}", fault="cannot be read"):
        content = tomllib.loads(text)
        return _paper(name, content)


def _paper(name: str, content: dict[str, Any]) -> Paper:
    _known(
        content, ("title", "authors", "venue", "tracker", "networks", "methods", "tables", "plots", "scenes")
    )
    tracker = _one_of("tracker", content["tracker"], trackers.names())
    methods = {
        method: _method(method, table, tracker, content["networks"])
        for method, table in content["methods"].items()
    }
    tables = tuple(_table(each, methods) for each in content.get("tables", ()))
    plots = tuple(_plot(each, methods) for each in content.get("plots", ()))
    shown = plots[0].table.methods if plots else tuple(methods)
    scenes = tuple(_scenes(each, methods) for each in content.get("scenes", ())) or (
        Scenes("frames", "Frames", "Boxes of several trackers", shown),
    )
    ids = [table.id for table in (*tables, *(plot.table for plot in plots))]
    ids += [each.id for each in scenes]
    if len(set(ids)) < len(ids):
        raise JtrackError(f"two tables, plots or scenes have the same id: {', '.join(ids)}")
    title, authors, venue = (str(content[key]) for key in ("title", "authors", "venue"))
    return Paper(name, title, authors, venue, tracker, methods, tables, plots, scenes)


def _method(name: str, table: dict[str, Any], tracker: str, networks: list[str]) -> Method:
    _known(table, ("published", "curves", "runs"))
    runs = []
    for run in table.get("runs", ()):
        _known(run, ("profile", "networks"))
        profile = _one_of(f"profile of {tracker}", run["profile"], trackers.profiles(tracker))
        chosen = run.get("networks", networks)
        known = trackers.networks(tracker)
        runs.append(Run(profile, tuple(_one_of("network", network, known) for network in chosen)))
    return Method(name, table.get("published", ""), table.get("curves", ""), tuple(runs))


_TABLE = ("id", "title", "caption", "protocol", "measure", "list", "digits", "methods", "values")


def _table(table: dict[str, Any], methods: Mapping[str, Method]) -> Table:
    _known(table, (*_TABLE, "columns", "by_sequence"))
    columns = table.get("columns", ())
    if table.get("by_sequence"):
        columns = [{"sequence": name} for name in otb.lists()[table["list"]]] + [{}]
    defaults: dict[str, Any] = {key: table[key] for key in ("measure", "list", "digits") if key in table}
    return _checked(table, tuple(_column({**defaults, **column}) for column in columns), methods)


def _plot(plot: dict[str, Any], methods: Mapping[str, Method]) -> Plot:
    """A plot; its legend is a table of the measure that ranks its curves."""
    _known(plot, (*_TABLE, "curve", "attributes", "others"))
    curve = CURVES[_one_of("curve", plot["curve"], CURVES)]
    attributes = tuple(plot.get("attributes", ()))
    common: dict[str, Any] = {
        "measure": curve.scores[0],
        "list": plot["list"],
        "digits": plot.get("digits", 3),
    }
    columns = tuple(_column({**common, "attribute": attribute}) for attribute in attributes or ("",))
    return Plot(_checked(plot, columns, methods), curve, attributes, plot.get("others", True))


def _scenes(scenes: dict[str, Any], methods: Mapping[str, Method]) -> Scenes:
    _known(scenes, Scenes._fields)
    for method in scenes["methods"]:
        _one_of("method", method, methods)
    sequences = tuple(scenes.get("sequences", ()))
    for sequence in sequences:
        _one_of("sequence of OTB", sequence, otb.lists()["tb100"])
    return Scenes(**{**scenes, "methods": tuple(scenes["methods"]), "sequences": sequences})


def _column(column: dict[str, Any]) -> Column:
    _known(column, Column._fields)
    measure = _one_of("measure", column["measure"], MEASURES)
    digits = min(MEASURES[measure].digits, column.get("digits", 3))
    found = Column(**{**column, "digits": digits})
    _one_of("list of OTB", found.list, otb.lists())
    if found.attribute:
        _one_of("attribute", found.attribute, otb.ATTRIBUTES)
    if found.sequence:
        _one_of(f"sequence of {found.list}", found.sequence, otb.lists()[found.list])
    return found


def _checked(table: dict[str, Any], columns: tuple[Column, ...], methods: Mapping[str, Method]) -> Table:
    values = {method: tuple(map(float, row)) for method, row in table.get("values", {}).items()}
    rows = tuple(table.get("methods", values or methods))
    for method in (*rows, *values):
        _one_of("method", method, methods)
    for method, row in values.items():
        if len(row) != len(columns):
            raise JtrackError(f"{table['id']}: {method} has {len(row)} numbers in {len(columns)} columns")
        for value, column in zip(row, columns, strict=True):
            largest = math.inf if column.measure in PIXELS_OR_SPEED else 1
            if not (math.isnan(value) or 0 <= value <= largest):
                raise JtrackError(f"{table['id']}: {method} has {value} for {column.measure}")
    protocol = protocols.load(table.get("protocol", "ope")).name
    return Table(table["id"], table["title"], table["caption"], protocol, columns, rows, values)


def _known(table: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in table:
        _one_of("key", key, keys)


def _one_of(kind: str, name: str, known: Iterable[str]) -> str:
    """A name as it stands: what is data is written as it is meant."""
    if name not in (choices := list(known)):
        raise unknown_name(kind, name, choices)
    return name


def _folder() -> Any:
    return resources.files(__package__)
