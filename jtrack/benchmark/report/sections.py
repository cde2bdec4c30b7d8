"""What a report shows: scored trackers sorted into one section a protocol, with names, order and looks.

Tables, figures and the page are three renderings of these sections.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jtrack.benchmark.protocol import load, names
from jtrack.benchmark.report.looks import Look, look
from jtrack.benchmark.run_names import cut, numbered, told_apart
from jtrack.benchmark.scoring import Scored
from jtrack.data import Dataset
from jtrack.errors import JtrackError, printable

Group = tuple[str, str, str, str]  # protocol, kind and folder of the dataset, list


class Place(NamedTuple):
    """What tells a sequence from those of other datasets."""

    kind: str
    root: str
    sequence: str


class Measure(NamedTuple):
    """A column of a table."""

    key: str  # in `Scored.measures`
    title: str
    about: str
    digits: int = 3
    low: bool = False  # whether less is better


class Curve(NamedTuple):
    """A plot against evenly spaced values from 0 on."""

    key: str  # in `Scored.curves`
    title: str
    across: str
    up: str
    end: float | None  # the last value; None: they count up by one
    scores: tuple[str, ...]  # the measure that ranks its legend is the first of these that there is
    at: float | None = None  # where that measure is read off; None: it is the mean of the curve


# In the order of the tables; the first that the trackers have ranks them.
MEASURES = (
    Measure("auc", "AUC", "area under the success curve"),
    Measure("precision20", "P@20", "frames with a centre error of at most 20 px"),
    Measure("normalised_precision20", "NP@0.2", "frames with a normalised centre error of at most 0.2"),
    Measure("success50", "SR@0.5", "frames with an overlap above 0.5"),
    Measure("success60", "SR@0.6", "frames with an overlap above 0.6"),
    Measure("normalised_precision_auc", "NP AUC", "area under the normalised precision curve"),
    Measure("mean_overlap", "Overlap", "mean overlap"),
    Measure("mean_error", "Error", "mean centre error in pixels", 1, True),
    Measure("ao", "AO", "average overlap"),
    Measure("sr50", "SR@0.5", "frames with an overlap above 0.5"),
    Measure("sr75", "SR@0.75", "frames with an overlap above 0.75"),
    Measure("eao", "EAO", "expected average overlap"),
    Measure("accuracy", "Accuracy", "mean overlap of the frames that count"),
    Measure("robustness", "Robustness", "probability to track 30 frames without failing"),
    Measure("failures", "Failures", "mean number of failures a sequence", 2, True),
    Measure("mao", "mAO", "average overlap, averaged over classes of objects"),
    Measure("msr50", "mSR@0.5", "SR@0.5, averaged over classes of objects"),
    Measure("msr75", "mSR@0.75", "SR@0.75, averaged over classes of objects"),
    Measure("behind", "To the best", "the first measure less that of the best tracker, paired by sequence"),
    Measure("accuracy_rank", "Rank A", "VOT2013's rank by accuracy", 2, True),
    Measure("robustness_rank", "Rank R", "VOT2013's rank by failures", 2, True),
    Measure("rank", "Rank", "VOT2013's rank: half by accuracy, half by failures", 2, True),
)

INTERNAL = ("failure_rate",)

CURVES = (
    Curve("success", "Success", "Overlap threshold", "Success rate", 1.0, ("auc", "ao")),
    Curve("precision", "Precision", "Centre error threshold (px)", "Precision", 50.0, ("precision20",), 20.0),
    Curve(
        "normalised_precision",
        "Normalised precision",
        "Normalised centre error threshold",
        "Precision",
        0.5,
        ("normalised_precision20",),
        0.2,
    ),
    Curve("expected_overlap", "Expected overlap", "Frames", "Expected average overlap", None, ("eao",)),
)


@dataclass(frozen=True)
class Entry:
    """A tracker in a section."""

    name: str  # unique in the report
    number: int  # the same in every section: its look
    scored: Scored

    @property
    def look(self) -> Look:
        """How it is drawn."""
        return look(self.number)

    @property
    def ranked(self) -> bool:
        """Whether it can be compared with the others."""
        return not self.scored.unranked

    def value(self, key: str, sequence: str) -> float:
        """A measure of a sequence; NaN where there is none."""
        score = self.scored.sequences.get(sequence)
        return float(score.measures.get(key, np.nan)) if score else np.nan

    def mean_curve(self, key: str, sequences: Iterable[str]) -> np.ndarray | None:
        """The mean of a curve over those of some sequences that have it."""
        scores = [self.scored.sequences[name] for name in sequences if name in self.scored.sequences]
        curves = [score.curves[key] for score in scores if key in score.curves]
        return np.mean(curves, axis=0) if curves else None

    def overall(self, key: str) -> float:
        """A measure of all sequences; NaN where there is none."""
        return float(self.scored.measures.get(key, np.nan))

    def by_attribute(self, key: str, attribute: str) -> float:
        """A measure of the sequences, or frames, that have an attribute; NaN where there is none."""
        return float(self.scored.by_attribute.get(attribute, {}).get(key, np.nan))


@dataclass(frozen=True)
class Section:
    """The trackers of one protocol on one list of sequences, best first."""

    key: str  # a part of file names
    title: str  # "OPE"
    about: str  # "one-pass evaluation"
    subset: str
    dataset: Dataset
    entries: tuple[Entry, ...]
    sequences: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]  # attribute -> its sequences

    def place(self, sequence: str) -> Place:
        """The place of a sequence."""
        return Place(self.dataset.kind, str(self.dataset.root), sequence)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What the overall table shows, in order."""
        return measures_of(entry.scored.measures for entry in self.entries)

    @property
    def sequence_measures(self) -> tuple[Measure, ...]:
        """What is measured of each sequence."""
        return measures_of(s.measures for entry in self.entries for s in entry.scored.sequences.values())

    @property
    def attribute_measure(self) -> Measure:
        """What attributes are compared by."""
        found = (part for entry in self.entries for part in entry.scored.by_attribute.values())
        return (measures_of(found) or self.measures)[0]

    @property
    def curves(self) -> tuple[Curve, ...]:
        """What can be plotted."""
        return tuple(c for c in CURVES if any(c.key in entry.scored.curves for entry in self.entries))

    @property
    def has_sequence_curves(self) -> bool:
        """Whether there are curves of single sequences, and so of any selection of them."""
        return any(score.curves for entry in self.entries for score in entry.scored.sequences.values())

    def ranked(self, curve: Curve) -> list[tuple[Entry, float]]:
        """The trackers that have a curve, with the measure of its legend, best first, unranked ones last."""
        pairs = [(entry, entry.overall(self.score(curve))) for entry in self.entries]
        having = [pair for pair in pairs if curve.key in pair[0].scored.curves]
        return sorted(having, key=lambda pair: (not pair[0].ranked, -np.nan_to_num(pair[1])))

    def values(self, curve: Curve, entries: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
        """A curve of some trackers: where it is known, [K], and its values [trackers, K], NaN for none."""
        rows = [entry.scored.curves.get(curve.key, np.zeros(0)) for entry in entries]
        length = max(map(len, rows))
        values = np.stack([np.pad(row, (0, length - len(row)), constant_values=np.nan) for row in rows])
        return np.linspace(0, length - 1 if curve.end is None else curve.end, length), values

    def score(self, curve: Curve) -> str:
        """The measure that ranks the legend of a curve."""
        keys = {m.key for m in self.measures}
        return next((key for key in curve.scores if key in keys), curve.scores[0])


def measure(key: str) -> Measure:
    """A measure by its key; one that is not known is called by it."""
    return next((known for known in MEASURES if known.key == key), Measure(key, key, key))


def measures_of(found: Iterable[Mapping[str, float]]) -> tuple[Measure, ...]:
    """All measures of some scores, known ones first; what is only there to compute others by is left out."""
    keys = dict.fromkeys(
        key for measures in found for key in measures if key not in INTERNAL and np.isfinite(measures[key])
    )
    known = [m for m in MEASURES if m.key in keys]
    return tuple(known + [measure(key) for key in keys if measure(key) not in known])


def best(values: Sequence[float], *, low: bool, digits: int) -> list[int]:
    """The place of each value: 1 the best, 2 the second best, 0 any other; equal to `digits` is equal."""
    rounded = [round(-value if low else value, digits) for value in values]
    places = sorted({value for value in rounded if np.isfinite(value)}, reverse=True)[:2]
    return [places.index(value) + 1 if value in places else 0 for value in rounded]


def arrange(scored: Sequence[Scored], datasets: Sequence[Dataset]) -> list[Section]:
    """Sorts scored trackers into sections, one a protocol, dataset and list, in the order they come in.

    Args:
      scored: the trackers.
      datasets: what each was scored on.

    Raises:
      JtrackError: if there is none.
    """
    if not scored:
        raise JtrackError("there are no results to report: give at least one")
    groups: dict[Group, list[tuple[str, Scored]]] = {}
    found = [_group(*pair) for pair in zip(scored, datasets, strict=True)]
    for name, group, one in zip(called(scored, datasets), found, scored, strict=True):
        groups.setdefault(group, []).append((name, one))
    of = dict(zip(found, datasets, strict=True))
    numbers: dict[str, int] = {}
    titles = [printable(_title(protocol)) for protocol, *_ in groups]
    for place in (3, 1, 2):  # the list, the kind, the folder: as much as tells the sections apart
        parts = [group[place] for group in groups]
        titles = [
            f"{title} · {printable(part)}" if titles.count(title) > 1 and len(set(parts)) > 1 else title
            for title, part in zip(titles, parts, strict=True)
        ]
    keys = _unique(re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower() for title in titles)
    return [
        _section(key, title, of[group], members, numbers)
        for key, title, (group, members) in zip(keys, titles, groups.items(), strict=True)
    ]


def _section(
    key: str, title: str, dataset: Dataset, members: list[tuple[str, Scored]], numbers: dict[str, int]
) -> Section:
    primary = measures_of(one.measures for _, one in members)[0]

    def rank(member: tuple[str, Scored]) -> tuple[bool, float]:
        value = member[1].measures.get(primary.key, np.nan)
        return bool(member[1].unranked), np.inf if np.isnan(value) else value if primary.low else -value

    members = sorted(members, key=rank)
    attributes: dict[str, dict[str, None]] = {}
    for _, one in members:
        for attribute, sequences in one.attributes.items():
            attributes.setdefault(attribute, {}).update(dict.fromkeys(sequences))
    protocol = members[0][1].results.protocol
    return Section(
        key=key,
        title=title,
        about=load(protocol).title if protocol in names() else protocol,
        subset=members[0][1].subset,
        dataset=dataset,
        entries=tuple(Entry(name, numbers.setdefault(name, len(numbers)), one) for name, one in members),
        sequences=tuple(sorted({name for _, one in members for name in one.sequences}, key=str.lower)),
        attributes={attribute: tuple(sequences) for attribute, sequences in attributes.items()},
    )


def _title(protocol: str) -> str:
    """Abbreviations of three letters are capitals."""
    return protocol.upper() if len(protocol) == 3 else protocol.replace("_", " ").capitalize()


def called(scored: Sequence[Scored], datasets: Sequence[Dataset]) -> list[str]:
    """What each is called: its tracker's name, and as much more as tells it from its rivals in a section."""
    marks = [f"not ranked: {one.unranked}" if one.unranked else cut(one.results) for one in scored]
    groups = [_group(*pair) for pair in zip(scored, datasets, strict=True)]
    return told_apart([one.results for one in scored], groups, marks)


def _group(one: Scored, dataset: Dataset) -> Group:
    return one.results.protocol, dataset.kind, str(dataset.root), one.subset


def _unique(keys: Iterable[str]) -> list[str]:
    return [name.replace(" #", "-") for name in numbered((key or "results", None) for key in keys)]
