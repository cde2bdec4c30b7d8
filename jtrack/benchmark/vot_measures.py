"""The measures of the VOT challenges: accuracy, robustness, expected average overlap, and VOT2013's ranks.

Kristan et al., "The Visual Object Tracking VOT2013 challenge results" (ICCVW 2013) and "... VOT2015 ..."
(ICCVW 2015); the challenge's MATLAB kit of 2013, and vot-toolkit 0.9. Where the two differ, each is named.

A supervised run is a sequence of statuses: INITIALISED where the tracker was given the target, TRACKED where
it followed it, FAILED where its region first had no overlap with the target, SKIPPED from there to the next
start.

    overlaps = np.stack([vot.frame_overlaps(trial, annotation) for trial in trials])   # [repetitions, T]
    vot.supervised(trials, annotation)                                                 # of one sequence
    vot.pooled(sequences), vot.weighted(sequences)                                     # of a benchmark
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jtrack.benchmark.overlap import as_polygons, pixel_overlap
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.data.sequence import Annotation
from jtrack.errors import JtrackError

BURN_IN = 10  # frames from a start on that do not count in accuracy
SENSITIVITY = 30.0  # frames of which robustness is the probability to track them without failing
EAO_LENGTHS = (108, 371)  # VOT2015: from and to which length the expected overlap is averaged
PRESENCE = ("absent", "absence", "visible")  # events that say whether the target is in the frame
_LEAST_SAMPLES = 5  # with fewer the kit takes two trackers for equally accurate


class Supervised(NamedTuple):
    """Measures of a supervised run on one sequence, or on several."""

    accuracy: float  # mean overlap of the frames that count; 0 where none does
    failures: float  # per run: the mean over repetitions
    robustness: float  # exp(-sensitivity * failures / frames), in (0, 1]
    frames: float  # of the sequence; of several, their mean length
    counted: int  # frames that count in accuracy


class Ranking(NamedTuple):
    """Ranks of K trackers on L groups of frames, 1 the best."""

    values: np.ndarray  # [L, K] what was ranked: mean overlaps, or mean numbers of failures
    ranks: np.ndarray  # [L, K] averaged over the trackers that are not told apart from each
    average: np.ndarray  # [K] over the groups


def ground_truth(annotation: Annotation) -> np.ndarray:
    """The regions a benchmark annotates: polygons [T, P, 2], or boxes [T, 4] where its file holds boxes."""
    polygons = annotation.polygons
    if polygons is None or np.array_equal(polygons, as_polygons(annotation.boxes), equal_nan=True):
        return annotation.boxes
    return polygons


def supervise(
    frames: int, start: Callable[[int], None], step: Callable[[int], bool], *, restart_after: int | None
) -> np.ndarray:
    """Runs a tracker under supervision (`supervision`).

    Args:
      frames: T of the sequence.
      start: given a frame, initialises the tracker there from its annotation.
      step: given the next frame, tracks it and says whether that failed (see `failed`).
      restart_after: frames from a failure to the next start; None: failures are not looked at.

    Returns:
      [T] uint8 status of each frame.
    """
    rules = supervision(frames, restart_after=restart_after)
    failure: bool | None = None
    while True:
        try:
            frame, starting = rules.send(failure)
        except StopIteration as end:
            status: np.ndarray = end.value
            return status
        failure = None
        if starting:
            start(frame)
        else:
            failure = step(frame)


def supervision(
    frames: int, *, restart_after: int | None
) -> Generator[tuple[int, bool], bool | None, np.ndarray]:
    """Says which frame is what in a supervised run.

    The tracker starts on frame 0. Where it fails, at frame f, it starts anew on frame f + `restart_after`, if
    there is such a frame; the frames between are skipped.

    Args:
      frames: T of the sequence.
      restart_after: frames from a failure to the next start; None: failures are not looked at.

    Yields:
      The next frame, and whether the tracker starts on it. It is then sent whether it failed there.

    Returns:
      [T] uint8 status of each frame.
    """
    status = np.full(frames, SKIPPED, np.uint8)
    frame, starting = 0, True
    while frame < frames:
        failure = bool((yield frame, starting)) and not starting and restart_after is not None
        status[frame] = INITIALISED if starting else FAILED if failure else TRACKED
        starting = failure
        frame += restart_after if failure and restart_after is not None else 1
    return status


def failed(region: np.ndarray, truth: np.ndarray, size: tuple[int, int] | None = None) -> bool:
    """Whether a region has no pixel in common with the target.

    Args:
      region: box [4] or polygon [P, 2] of the tracker; one that is not finite fails.
      truth: the same of the annotation; where that is not finite nothing fails.
      size: (height, width) of the image, outside of which nothing counts.
    """
    truth = np.asarray(truth, np.float64)
    overlap = pixel_overlap(np.asarray(region)[None], truth[None], size)[0]
    return bool(np.isfinite(truth).all() and not overlap > 0)


def frame_overlaps(
    trial: Trajectory, annotation: Annotation, *, burn_in: int = BURN_IN, frames: np.ndarray | None = None
) -> np.ndarray:
    """Overlap of each frame that counts in accuracy.

    Frames count where the target was tracked and the last start is at least `burn_in` frames away (the
    started frame is the first of them): right after a start, an overlap says more about the start.

    Args:
      trial: one run; frames of the sequence it does not have do not count.
      annotation: of the sequence, T frames.
      burn_in: 10 in all challenges; 1 leaves out the started frame alone.
      frames: [T] bool, the frames of an attribute. As in the kit of 2013, only these are then looked at: a
        start outside them burns in nothing, and burning in goes on over frames in between.

    Returns:
      [T] float64, NaN where a frame does not count.

    Raises:
      JtrackError: if the trial goes beyond the annotation.
    """
    truth = ground_truth(annotation)
    end = trial.start + len(trial.boxes)
    if end > len(truth):
        raise JtrackError(
            f"a trial of {annotation.name} ends at frame {end} but its annotation at {len(truth)}: these are"
            " the results of another sequence"
        )
    overlaps, status = np.full(len(truth), np.nan), np.full(len(truth), SKIPPED, np.uint8)
    status[trial.start : end] = trial.status
    regions = trial.boxes if trial.polygons is None else trial.polygons
    overlaps[trial.start : end] = pixel_overlap(regions, truth[trial.start : end], annotation.size)
    # A box that is not finite covers nothing; where the annotation is not, the frame says nothing.
    known = np.isfinite(truth).all(axis=tuple(range(1, truth.ndim)))
    overlaps[known & np.isnan(overlaps)] = 0

    looked_at = np.arange(len(truth)) if frames is None else np.flatnonzero(frames)
    counts = status[looked_at] == TRACKED
    for place in np.flatnonzero(status[looked_at] == INITIALISED):
        counts[place : place + burn_in] = False
    result = np.full(len(truth), np.nan)
    result[looked_at[counts]] = overlaps[looked_at[counts]]
    return result


def goes_on_lost(trial: Trajectory, annotation: Annotation, restart_after: int) -> int | None:
    """The first of `restart_after` frames in which a run goes on beside the target; None if there are none.

    A supervised run fails in the first such frame. As many in succession leave no room for how a region was
    rounded in its file.
    """
    lost = frame_overlaps(trial, annotation, burn_in=1) == 0
    if len(lost) < restart_after:
        return None
    stretches = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(lost, restart_after).all(axis=1))
    return int(stretches[0]) if len(stretches) else None


def failures(trial: Trajectory, frames: np.ndarray | None = None) -> int:
    """How often a run failed; only on the marked frames [T] of the sequence, if given."""
    places = trial.start + np.flatnonzero(trial.status == FAILED)
    return len(places) if frames is None else int(np.count_nonzero(frames[places]))


def accuracy(overlaps: np.ndarray) -> float:
    """Mean overlap by VOT2013: each frame's mean over the repetitions [R, T], then the mean over the frames.

    vot-toolkit takes the mean over the frames of each repetition first: the same for one repetition. 0 where
    no frame counts (as both have it).
    """
    values = _counting(overlaps)
    return float(np.mean(values)) if len(values) else 0.0


def robustness(failures: float, frames: float, *, sensitivity: float = SENSITIVITY) -> float:
    """Probability exp(-S M / N) to track S frames without failing, after M failures in N frames.

    VOT2013's kit and vot-toolkit take S = 30; VOT2014's and VOT2015's papers plot S = 30 and S = 100.
    """
    return float(np.exp(-sensitivity * failures / frames))


def supervised(
    trials: Sequence[Trajectory],
    annotation: Annotation,
    *,
    burn_in: int = BURN_IN,
    sensitivity: float = SENSITIVITY,
    frames: np.ndarray | None = None,
) -> Supervised:
    """Measures of the repetitions of a sequence, on all its frames or those [T] bool of an attribute."""
    if not trials:
        raise JtrackError(f"there is no trial of {annotation.name} to measure: run it first")
    overlaps = np.stack(
        [frame_overlaps(trial, annotation, burn_in=burn_in, frames=frames) for trial in trials]
    )
    number = float(np.mean([failures(trial, frames) for trial in trials]))
    length = len(annotation.boxes) if frames is None else int(np.count_nonzero(frames))
    return Supervised(
        accuracy(overlaps),
        number,
        robustness(number, max(length, 1), sensitivity=sensitivity),
        float(length),
        len(_counting(overlaps)),
    )


def pooled(sequences: Iterable[Supervised], *, sensitivity: float = SENSITIVITY) -> Supervised:
    """Measures of several sequences as VOT2013 takes them.

    Accuracy is the mean over all frames that count, whatever their sequence; failures are the mean number a
    sequence.
    """
    sequences = list(sequences)
    return _over_sequences(
        sequences, [item.counted for item in sequences], [1.0] * len(sequences), sensitivity
    )


def weighted(sequences: Iterable[Supervised], *, sensitivity: float = SENSITIVITY) -> Supervised:
    """Measures of several sequences as vot-toolkit takes them: both weigh by the length of the sequence."""
    sequences = list(sequences)
    lengths = [item.frames for item in sequences]
    return _over_sequences(sequences, lengths, lengths, sensitivity)


def average_overlap(trials: Sequence[Trajectory], annotation: Annotation, *, burn_in: int = 1) -> float:
    """Mean overlap of an unsupervised run: over its frames, then over its repetitions.

    Args:
      trials: the repetitions.
      annotation: of the sequence.
      burn_in: frames from the start on that do not count. vot-toolkit leaves out 10 if not told otherwise.
    """
    overlaps = [frame_overlaps(trial, annotation, burn_in=burn_in) for trial in trials]
    return float(np.mean([accuracy(trial[None]) for trial in overlaps]))


def marked(annotation: Annotation) -> bool:
    """Whether attributes are annotated frame by frame."""
    return any(name not in PRESENCE for name in annotation.events)


def attributes(annotation: Annotation) -> Mapping[str, np.ndarray]:
    """Frames [T] bool of each attribute annotated frame by frame, and of `empty`, those that have none.

    Whether the target is there at all is no attribute of what makes it hard to track.
    """
    marks = {name: np.asarray(mark, bool) for name, mark in annotation.events.items() if name not in PRESENCE}
    length = len(annotation.boxes)
    return marks | {"empty": ~np.any([np.zeros(length, bool), *marks.values()], axis=0)}


def expected_overlap(runs: Iterable[tuple[Trajectory, Annotation]]) -> np.ndarray:
    """Expected average overlap of a sequence of each length: VOT2015's curve, as vot-toolkit computes it.

    Every stretch from a start to a failure, or to the end, is one sample. After a failure its overlap is 0
    for ever; a stretch the video ended says nothing about longer sequences. The frame of the start does not
    count.

    Args:
      runs: every repetition of every sequence.

    Returns:
      [N] for the lengths 1, 2, ..., N, the longest stretch; 0 for a length of 1, which has no tracked frame.
    """
    samples = [sample for trial, annotation in runs for sample in _stretches(trial, annotation)]
    if not samples:
        raise JtrackError("there is no run to expect an overlap from: give at least one")
    length = max(len(overlaps) for overlaps, _ in samples)
    values, known = np.zeros((len(samples), length)), np.zeros((len(samples), length), bool)
    for row, (overlaps, failure) in enumerate(samples):
        values[row, : len(overlaps)] = overlaps
        known[row, : length if failure else len(overlaps)] = True
    values[:, 0] = 0
    means = np.cumsum(values, axis=1) / np.maximum(np.arange(length), 1)
    return np.sum(means * known, axis=0) / np.maximum(known.sum(axis=0), 1)


def eao(curve: np.ndarray, lengths: tuple[int, int] = EAO_LENGTHS) -> float:
    """Expected average overlap: the mean of its curve between two lengths; NaN if no stretch is so long.

    As vot-toolkit counts them, lengths are the frames after the start, both ends included.
    """
    values = curve[lengths[0] : lengths[1] + 1]
    return float(np.mean(values)) if len(values) else float("nan")


def failure_samples(
    trials: Sequence[Trajectory], *, repetitions: int, frames: np.ndarray | None = None
) -> np.ndarray:
    """Numbers of failures [repetitions] of a sequence, to rank by; a lacking repetition gets their mean.

    So the kit of 2013 does, for trackers that draw no random numbers are run fewer times.
    """
    numbers = np.array([failures(trial, frames) for trial in trials], float)[:repetitions]
    return np.concatenate([numbers, np.full(repetitions - len(numbers), numbers.mean())])


def rank_accuracy(groups: Sequence[np.ndarray], *, alpha: float = 0.05) -> Ranking:
    """Ranks trackers by their overlaps as VOT2013 does.

    Two trackers are taken for equal unless the Wilcoxon signed-rank test tells apart their overlaps on the
    frames that count for both.

    Args:
      groups: of each attribute or sequence, overlaps [K, F] of K trackers on its frames, NaN where one does
        not count: `frame_means`, those of all sequences side by side.
      alpha: the level of the test.

    Returns:
      The ranking; a tracker that has no frame in a group has no rank in it (NaN).
    """
    return _ranking(groups, _differ_in_overlap, alpha, best_first=-1)


def rank_robustness(groups: Sequence[np.ndarray], *, alpha: float = 0.05) -> Ranking:
    """Ranks trackers by their failures as VOT2013 does.

    Two trackers are taken for equal unless the Wilcoxon rank-sum test tells apart their failures.

    Args:
      groups: of each attribute or sequence, failures [K, n] of K trackers in n runs: `failure_samples`, those
        of all sequences side by side. NaN where a tracker was not run.
      alpha: the level of the test.

    Returns:
      The ranking; a tracker that was not run in a group has no rank in it (NaN).
    """
    return _ranking(groups, _differ_in_failures, alpha, best_first=1)


def adapted_ranks(values: np.ndarray, differ: np.ndarray) -> np.ndarray:
    """Ranks K values, the lowest first, then gives each the mean rank of those it does not differ from.

    Args:
      values: [K]; of equal ones the first comes first.
      differ: [K, K] bool, whether two are told apart; never true on its diagonal.
    """
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    equal = ~np.asarray(differ, bool)
    return equal @ ranks / equal.sum(axis=1)


def average_ranks(ranks: np.ndarray) -> np.ndarray:
    """VOT2013's rank [K] by one measure: the mean over the groups [L, K]; NaN for who lacks one."""
    return np.mean(np.asarray(ranks, np.float64), axis=0)


def combined_ranks(accuracy_ranks: np.ndarray, robustness_ranks: np.ndarray) -> np.ndarray:
    """VOT2013's rank [K] in an experiment: half by accuracy, half by robustness."""
    return (np.asarray(accuracy_ranks, np.float64) + np.asarray(robustness_ranks, np.float64)) / 2


def overall_ranks(experiments: np.ndarray) -> np.ndarray:
    """VOT2013's final rank [K]: the mean over experiments [E, K]; who lacks one (NaN) is last in it (K)."""
    ranks = np.asarray(experiments, np.float64)
    return np.mean(np.where(np.isnan(ranks), ranks.shape[1], ranks), axis=0)


def frame_means(overlaps: np.ndarray) -> np.ndarray:
    """Mean overlap [T] of each frame over the repetitions [R, T] in which it counts; NaN where in none."""
    known = np.isfinite(overlaps)
    total = np.sum(np.where(known, overlaps, 0), axis=0)
    number = known.sum(axis=0)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def _counting(overlaps: np.ndarray) -> np.ndarray:
    """Mean overlaps of the frames that count in at least one repetition."""
    means = frame_means(overlaps)
    return means[np.isfinite(means)]


def _over_sequences(
    sequences: Sequence[Supervised],
    counts: Sequence[float],
    lengths: Sequence[float],
    sensitivity: float,
) -> Supervised:
    """Mean of measures, accuracy weighing by `counts` and failures by `lengths`."""
    if not sequences:
        raise JtrackError("there is no sequence to average over: give at least one")
    number = float(np.average([item.failures for item in sequences], weights=lengths))
    frames = float(np.mean([item.frames for item in sequences]))
    return Supervised(
        float(np.average([item.accuracy for item in sequences], weights=counts)) if any(counts) else 0.0,
        number,
        robustness(number, frames, sensitivity=sensitivity),
        frames,
        sum(item.counted for item in sequences),
    )


def _stretches(trial: Trajectory, annotation: Annotation) -> list[tuple[np.ndarray, bool]]:
    """Overlaps of a run from each start to its failure (not included) or the end, and whether it failed."""
    overlaps = np.nan_to_num(frame_overlaps(trial, annotation, burn_in=1))
    overlaps = overlaps[trial.start : trial.start + len(trial.status)]
    starts = np.flatnonzero(trial.status == INITIALISED)
    ends = np.flatnonzero(trial.status == FAILED)
    stretches = []
    for start in starts:
        later = ends[ends > start]
        stretches.append((overlaps[start : later[0] if len(later) else None], bool(len(later))))
    return stretches


def _ranking(
    groups: Sequence[np.ndarray],
    differ: Callable[[np.ndarray, np.ndarray, float], bool],
    alpha: float,
    *,
    best_first: int,
) -> Ranking:
    if not groups:
        raise JtrackError("there is no group of frames to rank trackers on: give at least one")
    values = np.full((len(groups), len(groups[0])), np.nan)
    ranks = values.copy()
    for row, group in enumerate(groups):
        run = np.flatnonzero(np.isfinite(group).any(axis=1))
        told_apart = np.zeros((len(run), len(run)), bool)
        for i in range(len(run)):
            for j in range(i):
                told_apart[i, j] = told_apart[j, i] = differ(group[run[i]], group[run[j]], alpha)
        values[row, run] = [np.nanmean(group[tracker]) for tracker in run]
        ranks[row, run] = adapted_ranks(best_first * values[row, run], told_apart)
    return Ranking(values, ranks, average_ranks(ranks))


def _differ_in_overlap(first: np.ndarray, second: np.ndarray, alpha: float) -> bool:
    from scipy import stats

    difference = first - second
    difference = difference[np.isfinite(difference)]
    number = np.count_nonzero(difference)
    if len(difference) < _LEAST_SAMPLES or not number:
        return False
    # As MATLAB's signrank: all signs are tried for up to 15 differences, else their sum is taken for normal.
    every = stats.PermutationMethod(n_resamples=1 << 15)
    method = every if number <= 15 else "asymptotic"
    return bool(stats.wilcoxon(difference[difference != 0], method=method).pvalue <= alpha)


def _differ_in_failures(first: np.ndarray, second: np.ndarray, alpha: float) -> bool:
    from scipy import stats

    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if np.ptp(np.concatenate([first, second])) == 0:
        return False
    # As MATLAB's ranksum: all ways to share out few samples are tried, the sum of more is taken for normal.
    every = stats.PermutationMethod(n_resamples=1 << 17)
    few = min(len(first), len(second)) < 10 and len(first) + len(second) < 20
    return bool(stats.mannwhitneyu(first, second, method=every if few else "asymptotic").pvalue <= alpha)
