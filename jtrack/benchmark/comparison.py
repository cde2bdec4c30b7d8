"""What comparing trackers says beyond their figures: how far each is behind the best, and VOT2013's ranks.

    scored = comparison.compare([score.score(...), ...], truth)     # of one protocol on the same sequences

Only what was measured on the same frames is compared: `comparable` says which results are, and why others are
not, of some frames of each trial or of few sequences.

Both join the measures of each tracker:
  * `behind`: its first measure (AUC, average overlap or accuracy) less the best tracker's. Its interval is of
    the paired difference, so one that does not hold 0 tells the two apart where the intervals of the measures
    themselves may overlap.
  * `accuracy_rank`, `robustness_rank` and `rank`, where trackers were restarted: VOT2013's, over
    the attributes of frames, or over sequences where no frame has one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from jtrack.benchmark import bootstrap, protocol, vot_measures
from jtrack.benchmark.results import Results, Trajectory
from jtrack.benchmark.scoring import Scored, linearised
from jtrack.data import Annotation

PRIMARY = ("auc", "ao", "accuracy")  # what trackers are compared by, the first that there is


class Comparable(NamedTuple):
    """What can be compared."""

    truth: dict[str, Annotation]  # the annotations of the sequences on which
    unranked: list[str]  # of each of the results why it cannot, as `Scored.unranked` says it


def comparable(found: Sequence[Results], truths: Sequence[Mapping[str, Annotation]]) -> Comparable:
    """Finds which results of one protocol can be compared, on the sequences that all these have.

    Results of whole trials are, if there are any, else those of the same number of frames that are the most.
    Of these as many are as leave the most to compare, results times sequences: so one that was hardly begun
    does not shrink the comparison of all others, and one that failed on a sequence does not leave it.

    Args:
      found: the results, one at least.
      truths: of each the annotations of the sequences that it has.
    """
    limits = [_limit(each, truth) for each, truth in zip(found, truths, strict=True)]
    chosen = None if None in limits else max(Counter(limits).items(), key=lambda item: (item[1], item[0]))[0]
    whole = [place for place, limit in enumerate(limits) if limit == chosen]
    fullest = sorted(whole, key=lambda place: -len(truths[place]))
    shared = [set(truths[fullest[0]])]
    for place in fullest[1:]:
        shared.append(shared[-1] & truths[place].keys())
    most = max(range(len(fullest)), key=lambda last: ((last + 1) * len(shared[last]), last))
    common = {name: truth for name, truth in truths[fullest[0]].items() if name in shared[most]}
    unranked = []
    for truth, limit in zip(truths, limits, strict=True):
        lacking = common.keys() - truth.keys()
        some = f"{len(common) - len(lacking)} of {len(common)} sequences" if lacking else ""
        unranked.append(some if limit == chosen else f"first {limit} frames")
    return Comparable(common, unranked)


def _limit(results: Results, truth: Mapping[str, Annotation]) -> int | None:
    """How many frames of a trial were run; None if all were."""
    limit = results.label.get("limit_frames")
    return limit if limit and any(limit < len(annotation.boxes) for annotation in truth.values()) else None


def compare(scored: Sequence[Scored], truth: Mapping[str, Annotation]) -> list[Scored]:
    """Adds to the measures of trackers what only their comparison says; of one alone, nothing.

    Args:
      scored: the trackers, of one protocol and on the same sequences.
      truth: the annotations of these.
    """
    if len(scored) < 2:
        return list(scored)
    compared = behind(scored)
    found = protocol.load(scored[0].results.protocol)
    return compared if found.restart_after is None else ranked(compared, truth, burn_in=found.burn_in)


def behind(scored: Sequence[Scored], *, resamples: int = bootstrap.RESAMPLES) -> list[Scored]:
    """Adds `behind`, never positive, and its 95 % interval, which the best has not.

    Where one of them has no figure, none is compared.
    """
    key = next((key for key in PRIMARY if all(key in each.measures for each in scored)), None)
    if key is None:
        return list(scored)
    best = max(range(len(scored)), key=lambda k: np.nan_to_num(scored[k].measures[key], nan=-np.inf))
    names = list(scored[best].sequences)
    values = np.array(
        [linearised([each.sequences[name] for name in names], key, each.measures[key]) for each in scored]
    )
    if not np.isfinite(values).all():
        return list(scored)
    interval = bootstrap.difference_interval(values.T, values[best][:, None], resamples=resamples)
    compared = []
    for place, each in enumerate(scored):
        ends = (
            (np.nan, np.nan) if place == best else (float(interval.low[place]), float(interval.high[place]))
        )
        measures = {**each.measures, "behind": float(interval.mean[place])}
        compared.append(replace(each, measures=measures, intervals={**each.intervals, "behind": ends}))
    return compared


def ranked(scored: Sequence[Scored], truth: Mapping[str, Annotation], *, burn_in: int) -> list[Scored]:
    """Adds VOT2013's ranks: by accuracy, by failures, and half of each."""
    groups = _groups(truth)
    trials = [each.results.trajectories for each in scored]
    accuracy = vot_measures.rank_accuracy(
        [np.stack([_side_by_side(own, truth, group, burn_in) for own in trials]) for group in groups]
    )
    robustness = vot_measures.rank_robustness([_failures(trials, group) for group in groups])
    both = vot_measures.combined_ranks(accuracy.average, robustness.average)
    ranks = np.stack([accuracy.average, robustness.average, both], axis=1).tolist()
    names = ("accuracy_rank", "robustness_rank", "rank")
    return [
        replace(each, measures={**each.measures, **dict(zip(names, row, strict=True))})
        for each, row in zip(scored, ranks, strict=True)
    ]


type _Group = dict[str, np.ndarray]  # sequence -> [T] bool, the frames of an attribute


def _groups(truth: Mapping[str, Annotation]) -> list[_Group]:
    """The attributes of frames with the sequences that have them, or each sequence whole."""
    if not any(vot_measures.marked(annotation) for annotation in truth.values()):
        return [{name: np.ones(len(annotation.boxes), bool)} for name, annotation in truth.items()]
    groups: dict[str, _Group] = {}
    for name, annotation in truth.items():
        for attribute, frames in vot_measures.attributes(annotation).items():
            if frames.any():
                groups.setdefault(attribute, {})[name] = frames
    return list(groups.values())


def _side_by_side(
    trials: Mapping[str, Sequence[Trajectory]], truth: Mapping[str, Annotation], group: _Group, burn_in: int
) -> np.ndarray:
    """Overlaps of a tracker on all frames of a group, NaN where one does not count."""
    found = []
    for name, frames in group.items():
        overlaps = [
            vot_measures.frame_overlaps(trial, truth[name], burn_in=burn_in, frames=frames)
            for trial in trials[name]
        ]
        found.append(vot_measures.frame_means(np.stack(overlaps)))
    return np.concatenate(found)


def _failures(trials: Sequence[Mapping[str, Sequence[Trajectory]]], group: _Group) -> np.ndarray:
    """Failures [K, n] of K trackers in the runs of a group's sequences."""
    runs = {name: max(len(own[name]) for own in trials) for name in group}
    return np.stack(
        [
            np.concatenate(
                [
                    vot_measures.failure_samples(own[name], repetitions=runs[name], frames=frames)
                    for name, frames in group.items()
                ]
            )
            for own in trials
        ]
    )
