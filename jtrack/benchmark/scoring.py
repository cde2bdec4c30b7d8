"""Scores of a tracker's results: per sequence, per attribute and overall, pooled as each toolkit pools.

    dataset = jtrack.data.open_dataset("otb", root, subset="cvpr13")
    truth = score.annotations(dataset)
    for results in published.read("results"):
        scored = score.score(results, truth, subset="cvpr13")

Measures by the protocol:
  * OTB: those of `jtrack.benchmark.metrics.Scores`; overall the mean over sequences.
  * GOT: `ao`, `sr50`, `sr75`; overall by frames, as its toolkit pools, and `mao`, `msr50`, `msr75` by classes
    of objects, as its paper and server do, where the classes are known.
  * VOT, restarted: `accuracy`, `failures`, `robustness` and overall `eao`, as VOT2013 (VOT2015) has them.
  * VOT, never restarted: `ao`, the average overlap; overall by frames, as its toolkit pools.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from jtrack.benchmark import bootstrap, got, machine, metrics, vot_measures
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark.protocol import Protocol
from jtrack.benchmark.results import Results, Trajectory
from jtrack.benchmark.run_names import machines
from jtrack.data import Annotation, otb
from jtrack.data.dataset import Dataset
from jtrack.errors import LONGEST_LIST, JtrackError
from jtrack.names import composed
from jtrack.untrusted import warn_left_out

# Some results were published when the annotation had another length: (sequence, rows of the results, rows of
# the annotation) -> rows to leave out at the start of each; both are then cut to what they share. The
# benchmark starts Tiger1 at its sixth image; Board and Twinnings had a row less, and ClifBar ended earlier.
_OTHER_LENGTHS = {
    ("Tiger1", 349, 354): (0, 5),
    ("Tiger1", 354, 349): (5, 0),
    ("Board", 697, 698): (0, 0),
    ("Twinnings", 471, 472): (0, 0),
    ("ClifBar", 329, 472): (0, 0),
}


class SequenceScore(NamedTuple):
    """The scores of one sequence under a protocol, its trials taken together."""

    frames: int  # scored, over all trials
    fps: float | None  # None where nothing was timed, or on several machines
    measures: Mapping[str, float]  # "auc", "precision20", ... or "accuracy", "failures", ...
    curves: Mapping[str, np.ndarray]  # "success" [21], "precision" [51], "normalised_precision" [51]
    weights: Mapping[str, float] = {}  # of measures and curves in the overall mean, where it is not 1

    def __repr__(self) -> str:
        return f"SequenceScore({self.frames} frames: {_brief(self.measures)})"


@dataclass(frozen=True)
class Scored:
    """The scores of one tracker."""

    results: Results  # its trajectories as they were scored, by the names of the annotations
    subset: str  # the list scored: "cvpr13", or "all"
    sequences: Mapping[str, SequenceScore]
    measures: Mapping[str, float]  # overall
    curves: Mapping[str, np.ndarray]  # overall
    intervals: Mapping[str, tuple[float, float]]  # 95 % bootstrap confidence interval of each overall measure
    attributes: Mapping[str, tuple[str, ...]]  # attribute -> the sequences that have it
    speeds: Mapping[str, float] = field(default_factory=dict)  # machine -> frames a second, of those timed
    by_attribute: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # attribute -> measures
    unranked: str = ""  # why it cannot be compared with the others: "first 10 frames"; empty if it can

    @property
    def machines(self) -> tuple[str, ...]:
        """The titles of the machines that made the trials; none if that is not known."""
        return machines(self.results)

    @property
    def fps(self) -> float | None:
        """Frames a second over all timed frames; None where none was timed, or on several machines."""
        return next(iter(self.speeds.values())) if len(self.speeds) == 1 else None

    def __repr__(self) -> str:
        where = f"{self.results.protocol}, {self.subset}, {len(self.sequences)} sequences"
        return f"Scored({self.results.tracker!r}, {where}: {_brief(self.measures)})"


def _brief(measures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in measures.items())


def annotations(dataset: Dataset) -> dict[str, Annotation]:
    """Reads the annotations of a dataset, to score any number of results against.

    One that cannot be read costs its own sequence, and a warning says so.

    Raises:
      JtrackError: none can be read.
    """
    found, refused = dict[str, Annotation](), list[JtrackError]()
    for name in dataset.names:
        try:
            found[name] = dataset.annotation(name)
        except JtrackError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    warn_left_out(refused, dataset.root)
    return found


def shared(results: Results, truth: Mapping[str, Annotation]) -> dict[str, Annotation]:
    """The annotations of the sequences that there are results of.

    Raises:
      JtrackError: if there are none: these are results of another dataset; or names that only differ in how
        they are written, so that it is not known which is meant.
    """
    found = _by_name(results, truth)
    both = {name: annotation for name, annotation in truth.items() if name in found}
    if not both and results.failures and not results.trajectories:
        name, why = next(iter(results.failures.items()))
        raise JtrackError(
            f"{results.tracker} has no results, it failed on {len(results.failures)} sequences "
            f"({name}: {why}): run it again"
        )
    if not both:
        raise JtrackError(
            f"the results of {results.tracker} are of {_listed(results.trajectories) or 'no sequence'}, the "
            f"annotations of {_listed(truth)}: they are of different datasets"
        )
    return both


def fitted(results: Results, truth: Mapping[str, Annotation]) -> dict[str, list[Trajectory]]:
    """The trials of every annotated sequence, by the annotations' names and with a row for each frame.

    Raises:
      JtrackError: a sequence has no results, or results of another length than the annotation.
    """
    found = _by_name(results, truth)
    if missing := [name for name in truth if not found.get(name)]:
        why = next(
            (f" ({name}: {results.failures[name]})" for name in missing if name in results.failures), ""
        )
        of_all = f"{len(missing)} of the {len(truth)} sequences: " if len(truth) > 1 else ""
        raise JtrackError(
            f"{results.tracker} has no results of {of_all}{_listed(missing)}{why}: run it on "
            f"{'them' if len(missing) > 1 else 'it'}, or name others with --sequences"
        )
    return {
        name: [_fit(results, trial, name, len(annotation.boxes)) for trial in found[name]]
        for name, annotation in truth.items()
    }


def score(
    results: Results,
    truth: Mapping[str, Annotation],
    *,
    protocol: Protocol | None = None,
    subset: str = "all",
    resamples: int = bootstrap.RESAMPLES,
) -> Scored:
    """Scores the results of one tracker on every annotated sequence.

    Args:
      results: of the tracker. Where a name is not the annotation's own, it may differ in case and in what
        stands before the number of a target (`jogging.1` for `Jogging-1`).
      truth: sequence -> annotation, those that shall count; see `annotations` and `shared`.
      protocol: the one of `results` if None.
      subset: what the list of sequences is called.
      resamples: of the bootstrap that makes the intervals.

    Raises:
      JtrackError: if a sequence has no results, not all of its trials, or results of another length than
        the annotation; an unknown protocol; runs of VOT that were not restarted under a protocol that does,
        or the other way round.
    """
    protocol = protocol or protocols.load(results.protocol)
    shared(results, truth)
    trials = fitted(results, truth)
    _check_complete(results, trials, truth, protocol)
    if protocol.measures == "vot":  # whose failures count by the length of the sequence
        truth = {name: _until(_end(trials[name]), annotation) for name, annotation in truth.items()}
        _check_supervised(results, trials, truth, protocol)
    sequences = {name: _MEASURES[protocol.measures](trials[name], truth[name], protocol) for name in truth}
    measures, curves, intervals = _overall(list(sequences.values()), resamples)
    if protocol.restart_after is not None:
        runs = [(trial, truth[name]) for name, found in trials.items() for trial in found]
        curves["expected_overlap"] = vot_measures.expected_overlap(runs)
        measures["eao"] = vot_measures.eao(curves["expected_overlap"])
    if protocol.measures == "got" and all(annotation.category for annotation in truth.values()):
        measures |= _by_class(sequences, truth)
    parts = _attributes(sequences, trials, truth, protocol)
    return Scored(
        replace(results, trajectories=trials),
        subset,
        sequences,
        measures,
        curves,
        intervals,
        attributes={attribute: tuple(scores) for attribute, scores in parts.items()},
        speeds=speeds([trial for found in trials.values() for trial in found], results.machines),
        by_attribute={name: _means(list(scores.values()))[0] for name, scores in parts.items()},
    )


def _otb(trials: Sequence[Trajectory], annotation: Annotation, protocol: Protocol) -> SequenceScore:
    absent = annotation.absent
    counts = [
        metrics.count(metrics.measure(trial.boxes, _rows(trial, annotation.boxes), _rows(trial, absent)))
        for trial in trials
    ]
    if protocol.pooling == "frames":
        counts = [metrics.pool(counts)]
    scores = [metrics.rates(counted)._asdict() for counted in counts]
    values = {key: np.mean([each[key] for each in scores], axis=0) for key in scores[0]}
    measures = {key: float(value) for key, value in values.items() if not value.ndim}
    return SequenceScore(
        sum(len(trial.boxes) for trial in trials),
        _speed(trials),
        measures,
        curves={key: value for key, value in values.items() if value.ndim},
        # A sequence whose target is never to be seen has no mean.
        weights={key: 0.0 for key, value in measures.items() if np.isnan(value)},
    )


def _got(trials: Sequence[Trajectory], annotation: Annotation, _: Protocol) -> SequenceScore:
    visible = annotation.events.get("visible")
    overlaps = [
        got.overlaps(
            trial.boxes,
            _rows(trial, annotation.boxes),
            annotation.size,
            None if visible is None else _rows(trial, visible),
        )
        for trial in trials
    ]
    scores = got.score(np.concatenate(overlaps))
    measures = {"ao": scores.ao, "sr50": scores.sr50, "sr75": scores.sr75}
    weights = dict.fromkeys([*measures, "success"], float(scores.frames))
    return SequenceScore(scores.frames, _speed(trials), measures, {"success": scores.success}, weights)


def _by_class(sequences: Mapping[str, SequenceScore], truth: Mapping[str, Annotation]) -> dict[str, float]:
    """GOT-10k's scores averaged over classes; nothing where no frame counts."""
    scores = []
    for each in sequences.values():
        ao, sr50, sr75 = (each.measures[key] for key in ("ao", "sr50", "sr75"))
        scores.append(got.Scores(ao, sr50, sr75, each.curves["success"], each.frames))
    if not any(each.frames for each in scores):
        return {}
    means = got.class_average(scores, [truth[name].category for name in sequences])
    return {"mao": means.ao, "msr50": means.sr50, "msr75": means.sr75}


def _vot(
    trials: Sequence[Trajectory],
    annotation: Annotation,
    protocol: Protocol,
    frames: np.ndarray | None = None,
) -> SequenceScore:
    counted = sum(len(trial.boxes) for trial in trials)
    if protocol.restart_after is None:
        value = vot_measures.average_overlap(trials, annotation)
        return SequenceScore(counted, _speed(trials), {"ao": value}, {}, {"ao": float(len(annotation.boxes))})
    found = vot_measures.supervised(trials, annotation, burn_in=protocol.burn_in, frames=frames)
    measures = {
        "accuracy": found.accuracy if found.counted else np.nan,  # it failed before a frame counted
        "failures": found.failures,
        "failure_rate": found.failures / found.frames,
        "robustness": found.robustness,
    }
    weights = {"accuracy": float(found.counted), "failure_rate": found.frames}
    return SequenceScore(counted, _speed(trials), measures, {}, weights)


_MEASURES: dict[str, Callable[[Sequence[Trajectory], Annotation, Protocol], SequenceScore]] = {
    "otb": _otb,
    "got": _got,
    "vot": _vot,
}


def _overall(
    scores: Sequence[SequenceScore], resamples: int
) -> tuple[dict[str, float], dict[str, np.ndarray], dict[str, tuple[float, float]]]:
    """Weighted means over sequences, and the intervals of the measures."""
    measures, curves = _means(scores)
    columns = np.array([linearised(scores, key, measures[key]) for key in scores[0].measures]).T
    interval = bootstrap.mean_interval(np.nan_to_num(columns), resamples=resamples)
    ends = zip(interval.low.tolist(), interval.high.tolist(), strict=True)
    intervals = dict(zip(scores[0].measures, ends, strict=True))
    if "robustness" in measures:
        low, high = intervals["failure_rate"]
        intervals["robustness"] = vot_measures.robustness(high, 1), vot_measures.robustness(low, 1)
    return measures, curves, intervals


def _means(scores: Sequence[SequenceScore]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    measures = {key: float(_mean(scores, key, "measures")) for key in scores[0].measures}
    if "robustness" in measures:  # of all sequences as if they were one
        measures["robustness"] = vot_measures.robustness(measures["failure_rate"], 1)
    return measures, {key: _mean(scores, key, "curves") for key in scores[0].curves}


def _mean(scores: Sequence[SequenceScore], key: str, kind: str) -> np.ndarray:
    weights = _weights(scores, key)
    values = np.array([getattr(score, kind)[key] for score in scores])[weights > 0]
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    mean: np.ndarray = np.average(values, axis=0, weights=weights[weights > 0])
    return mean


def _weights(scores: Sequence[SequenceScore], key: str) -> np.ndarray:
    return np.array([score.weights.get(key, 1.0) for score in scores])


def linearised(scores: Sequence[SequenceScore], key: str, mean: float) -> np.ndarray:
    """Values [n] whose plain mean is the weighted one, and varies with the sequences drawn as that does.

    To first order a ratio of sums changes with each of its terms by w (v - mean) / sum(w); without weights
    these are the values themselves.
    """
    weights = _weights(scores, key)
    values = np.array([score.measures[key] for score in scores])
    if not weights.any():
        return np.full(len(values), mean)
    return mean + len(values) * weights * np.where(weights > 0, values - mean, 0) / weights.sum()


def _attributes(
    sequences: Mapping[str, SequenceScore],
    trials: Mapping[str, Sequence[Trajectory]],
    truth: Mapping[str, Annotation],
    protocol: Protocol,
) -> dict[str, dict[str, SequenceScore]]:
    """Attribute -> the scores of the sequences that have it; VOT's on the frames alone that have it."""
    parts: dict[str, dict[str, SequenceScore]] = {}
    if protocol.measures == "vot":
        marked = any(vot_measures.marked(annotation) for annotation in truth.values())
        for name, annotation in truth.items() if marked and protocol.restart_after is not None else ():
            for attribute, frames in vot_measures.attributes(annotation).items():
                if frames.any():
                    part = _vot(trials[name], annotation, protocol, frames)
                    parts.setdefault(attribute, {})[name] = part
    else:
        for name, annotation in truth.items():
            for attribute in annotation.attributes:
                parts.setdefault(attribute, {})[name] = sequences[name]
    order = {attribute: place for place, attribute in enumerate(otb.ATTRIBUTES)}
    return dict(sorted(parts.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _speed(trials: Sequence[Trajectory]) -> float | None:
    """Frames a second; None where nothing was timed, or on several machines: those have no common speed."""
    if len({trial.machine for trial in trials}) > 1:
        return None
    return metrics.speed([trial.seconds for trial in trials if trial.seconds is not None])


def speeds(trials: Sequence[Trajectory], machines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Frames a second on each machine that made some of the trials: title -> speed; "" if it is not known."""
    seconds: dict[str, list[np.ndarray]] = {}
    for trial in trials:
        called = "" if trial.machine is None else machine.called(machines, trial.machine)
        if trial.seconds is not None:
            seconds.setdefault(called, []).append(trial.seconds)
    found = {called: metrics.speed(part) for called, part in seconds.items()}
    return {called: speed for called, speed in found.items() if speed is not None}


def _rows(trial: Trajectory, rows: np.ndarray) -> np.ndarray:
    """The rows of an annotation that a trial is of."""
    return rows[trial.start : trial.start + len(trial.boxes)]


def _end(trials: Iterable[Trajectory]) -> int:
    return max(trial.start + len(trial.boxes) for trial in trials)


def _until(end: int, annotation: Annotation) -> Annotation:
    """The first frames of an annotation."""
    if end == len(annotation.boxes):
        return annotation
    return replace(
        annotation,
        boxes=annotation.boxes[:end],
        polygons=None if annotation.polygons is None else annotation.polygons[:end],
        events={name: marks[:end] for name, marks in annotation.events.items()},
    )


def _check_complete(
    results: Results,
    trials: Mapping[str, Sequence[Trajectory]],
    truth: Mapping[str, Annotation],
    protocol: Protocol,
) -> None:
    """Refuses sequences with a part of their starts, which a run in progress has."""
    one_start = replace(protocol, repetitions=1)
    if protocol.segments == 1 and not (protocol.shifts or protocol.corners or protocol.scales):
        return
    for name, found in trials.items():
        starts = len(protocols.trials(one_start, truth[name], omitted=otb.omitted(name)))
        if len(found) % starts:
            raise JtrackError(
                f"{results.tracker} has {len(found)} trials of {name}, {protocol.name} has {starts}: finish "
                "the run, or name the others with --sequences"
            )


def _check_supervised(
    results: Results,
    trials: Mapping[str, Sequence[Trajectory]],
    truth: Mapping[str, Annotation],
    protocol: Protocol,
) -> None:
    """Refuses runs of VOT that show that they are not of the experiment whose name their folder has.

    A run without a failure may be of either kind, unless it goes on when the target is lost.
    """
    runs = [(name, trial) for name, found in trials.items() for trial in found]
    failed = next((name for name, trial in runs if vot_measures.failures(trial)), None)
    if protocol.restart_after is None:
        if failed is not None:
            raise JtrackError(
                f"{results.tracker} was restarted after failures on {failed} (code 2), which no run of "
                f"{protocol.name} is: keep its files in a folder of their own experiment, such as baseline"
            )
        return
    for name, trial in runs if failed is None else ():
        frame = vot_measures.goes_on_lost(trial, truth[name], protocol.restart_after)
        if frame is not None:
            raise JtrackError(
                f"{results.tracker} loses the target of {name} at frame {frame} and is not restarted, and "
                f"none of its runs has a failure (code 2): they are not of {protocol.name}: keep their files "
                "in a folder named unsupervised"
            )


def _fit(results: Results, trial: Trajectory, name: str, frames: int) -> Trajectory:
    rows, wanted = len(trial.boxes), frames - trial.start
    if 0 < rows == min(wanted, results.label.get("limit_frames") or frames):
        return trial
    if trial.start == 0 and (name, rows, frames) in _OTHER_LENGTHS:
        first, start = _OTHER_LENGTHS[name, rows, frames]
        return _part(trial, slice(first, first + frames - start), start)
    where = f" from frame {trial.start} on" if trial.start else ""
    raise JtrackError(
        f"{results.tracker} has {rows} boxes of {name}{where}, whose annotation has {wanted}: there must be "
        f"one a frame, these are {'cut short' if rows < wanted else 'too long'} or of another version of it"
    )


def _part(trial: Trajectory, rows: slice, start: int) -> Trajectory:
    arrays = ("boxes", "status", "seconds", "scores", "lost", "polygons")
    cut = {name: array[rows] for name in arrays if (array := getattr(trial, name)) is not None}
    return replace(trial, start=start, **cut)


def _by_name(results: Results, truth: Iterable[str]) -> dict[str, Sequence[Trajectory]]:
    """The trials of annotated sequences by the annotations' names: of the same name, or else one like it."""
    exact = _grouped(results.trajectories, composed)
    names = {name: exact[form] for name in truth if (form := composed(name)) in exact}
    taken = {each for same in names.values() for each in same}
    others = _grouped((name for name in results.trajectories if name not in taken), _key)
    alike = _grouped((name for name in truth if name not in names), _key)
    for key, wanted in alike.items():
        if key in others:
            _check_one(wanted, f"the annotations {' and '.join(map(ascii, wanted))}")
            names[wanted[0]] = others[key]
    for name, same in names.items():
        _check_one(same, f"{results.tracker}'s results of {' and '.join(map(ascii, same))}, for {name!r},")
    return {name: results.trajectories[same[0]] for name, same in names.items()}


def _check_one(names: Sequence[str], which: str) -> None:
    if len(names) > 1:
        raise JtrackError(f"{which} only differ in how their names are written: rename or remove one")


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def _key(name: str) -> str:
    """What the ways to write the name of a sequence have in common."""
    return re.sub(r"[._](?=[0-9]$)", "-", composed(name.casefold()))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:LONGEST_LIST]) + (", ..." if len(names) > LONGEST_LIST else "")
