"""What the settings of a sweep come to: the figures of each, and how far each is from the base.

The base is the profile as it is. A difference is paired by sequence, and its 95 % interval is the
bootstrap's: one without 0 tells a setting from the base. Of many settings some look better by chance alone.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack import settings
from jtrack.benchmark import bootstrap, scoring
from jtrack.benchmark.comparison import PRIMARY
from jtrack.benchmark.report.sections import measure
from jtrack.benchmark.results import Results
from jtrack.benchmark.scoring import Scored, linearised
from jtrack.checks import there
from jtrack.data import Annotation
from jtrack.errors import JtrackError
from jtrack.trackers import BoundTracker
from jtrack.types import Profile
from jtrack.whole import replacing

# What settings are compared by, where there is such a figure: those that are means over sequences.
FIGURES = ("auc", "precision20", "ao", "sr50", "accuracy", "failures")
FEW = 5  # sequences under which an interval says little
WORST = 2  # sequences that are named


class Difference(NamedTuple):
    """How much more a setting has than the base, and the 95 % interval of that; NaN where it is not known."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        ends = f" [{self.low:+.3f}, {self.high:+.3f}]" if math.isfinite(self.low) else ""
        return f"{self.mean:+.3f}{ends}"


@dataclass(frozen=True)
class Outcome:
    """One setting of a sweep."""

    changes: str  # what it changes in the profile; "" of the base
    values: Mapping[str, str]  # of the fields that are swept -> as text; "" of a field of a part it has not
    folder: Path  # of the run
    scored: Scored | None = None  # on the sequences of the base
    differences: Mapping[str, Difference] = field(default_factory=dict)  # by figure; none of the base
    losses: Sequence[tuple[str, float]] = ()  # sequences it loses most on, and the difference in each
    why: str = ""  # it could not be compared

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.changes or "(base)"


def values_of(bound: BoundTracker, names: Sequence[str]) -> dict[str, str]:
    """The values of some fields of a tracker, as text; "" of a field of a part that it has not."""
    described = settings.describe(Profile(bound.config, bound.params["tracker"]))
    return {name: described[name][0] if name in described else "" for name in names}


def compare_to_base(
    outcomes: Sequence[Outcome],
    found: Sequence[Results | None],
    truth: Mapping[str, Annotation],
    *,
    resamples: int = bootstrap.RESAMPLES,
) -> list[Outcome]:
    """Scores the settings of a sweep on the sequences of the base, which comes first.

    Args:
      outcomes: the settings.
      found: the results of each; None where there are none.
      truth: sequence -> annotation.
      resamples: of the bootstrap.

    Returns:
      The settings with their figures. One that lacks a sequence of the base is not compared.

    Raises:
      JtrackError: the base cannot be scored.
    """
    if found[0] is None:
        raise JtrackError("the base has no results, and nothing can be compared with it: run it again")
    shared = scoring.shared(found[0], truth)
    base = scoring.score(found[0], shared, resamples=resamples)
    first, *others = outcomes
    compared = [replace(first, scored=base)]
    for outcome, results in zip(others, found[1:], strict=True):
        try:
            compared.append(_against(outcome, _scored(results, shared, resamples), base, resamples))
        except JtrackError as error:
            compared.append(replace(outcome, why=str(error)))
    return compared


def primary(base: Scored) -> str:
    """The figure that settings are compared by first."""
    return next(key for key in PRIMARY if key in base.measures)


def figures(base: Scored) -> list[str]:
    """What settings are compared by: the figures that the base has."""
    return [key for key in FIGURES if math.isfinite(base.measures.get(key, math.nan))]


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Says in one sentence whether a setting is better than the base: where its interval is above 0 alone."""
    if len(outcomes) == 1:
        return "there is no setting but the base"
    key = primary(there(outcomes[0].scored))
    name = measure(key).title
    compared = [each for each in outcomes[1:] if key in each.differences]
    if not compared:
        return "no setting could be compared with the base"
    better = [each for each in compared if each.differences[key].low > 0]
    best = max(better or compared, key=lambda each: each.differences[key].mean)
    difference = str(best.differences[key])
    if not better:
        few = "the one setting is not" if len(compared) == 1 else f"none of {len(compared)} settings is"
        return f"{few} shown to be better than the base in {name}: the highest, {best.title}, by {difference}"
    others = f"; {len(better) - 1} more of {len(compared)} are, too" if len(better) > 1 else ""
    return f"{best.title} is better than the base in {name} by {difference}{others}"


def cautions(outcomes: Sequence[Outcome]) -> list[str]:
    """What to bear in mind of a verdict, a sentence each."""
    sequences = len(there(outcomes[0].scored).sequences)
    compared = sum(bool(each.differences) for each in outcomes)
    said = []
    if sequences < FEW:
        said.append(f"the number of sequences is {sequences}: intervals of fewer than {FEW} say little")
    if compared > 1:
        said.append(
            f"{compared} settings were compared: of those that are no better than the base, one in forty "
            "looks better by chance; confirm the best on other sequences"
        )
    return said


def write_csv(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes a line a setting, the base first; an empty field is a number that is not known.

    The columns: the setting, each field that is swept, the number of sequences; each figure with its
    difference to the base and that one's 95 % interval; the sequences it loses most on; the run's folder; and
    why the setting could not be compared.

    Raises:
      OSError: it cannot be written.
    """
    base = there(outcomes[0].scored)
    keys = figures(base)
    parts = ("", "_difference", "_low", "_high")
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        titles = [f"{key}{part}" for key in keys for part in parts]
        writer.writerow(
            ["setting", *outcomes[0].values, "sequences", *titles, "loses_most_on", "run", "not_compared"]
        )
        for each in outcomes:
            numbers = [value for key in keys for value in _numbers(each, key)]
            count = "" if each.scored is None else len(each.scored.sequences)
            losses = " ".join(f"{name}:{loss:.4f}" for name, loss in each.losses)
            row = [each.changes, *each.values.values(), count, *numbers, losses, each.folder.name, each.why]
            writer.writerow(row)


def _numbers(outcome: Outcome, key: str) -> list[str]:
    value = math.nan if outcome.scored is None else outcome.scored.measures[key]
    known = outcome.differences.get(key, Difference(*[math.nan] * 3))
    return [f"{number:.6g}" if math.isfinite(number) else "" for number in (value, *known)]


def _scored(results: Results | None, truth: Mapping[str, Annotation], resamples: int) -> Scored:
    """The scores on all of these sequences.

    Raises:
      JtrackError: some have no results.
    """
    own = {} if results is None else scoring.shared(results, truth)
    if results is None or len(own) < len(truth):
        raise JtrackError(f"{len(own)} of {len(truth)} sequences")
    return scoring.score(results, truth, resamples=resamples)


def _against(outcome: Outcome, scored: Scored, base: Scored, resamples: int) -> Outcome:
    differences = {}
    for key in figures(base):
        own, others = (
            linearised([each.sequences[name] for name in base.sequences], key, each.measures[key])
            for each in (scored, base)
        )
        if np.isfinite(own).all() and np.isfinite(others).all():
            interval = bootstrap.difference_interval(own, others, resamples=resamples)
            differences[key] = Difference(*map(float, interval))
    key = primary(base)
    lost = {
        name: each.measures[key] - base.sequences[name].measures[key]
        for name, each in scored.sequences.items()
    }
    worst = sorted((name for name in lost if lost[name] < 0), key=lambda name: lost[name])[:WORST]
    losses = [(name, lost[name]) for name in worst]
    return replace(outcome, scored=scored, differences=differences, losses=losses)
