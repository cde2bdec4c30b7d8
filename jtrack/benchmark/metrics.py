"""How well boxes agree with ground truth, by the conventions of the OTB toolkit to the letter.

Wu, Lim and Yang, "Online Object Tracking: A Benchmark" (CVPR 2013), and the toolkit's code. What the toolkit
lacks is named where it is defined: normalised precision and the means.

    counted = metrics.count(metrics.measure(boxes, truth))          # once for each trial of a sequence
    scores = metrics.rates(counted)                                 # OPE: then the mean over sequences
    scores = metrics.rates(metrics.pool([counted, another, ...]))   # TRE, SRE: all trials of a sequence first

Curves belong to one sequence; a benchmark's figure is their mean over sequences, not over frames.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jtrack.data import regions
from jtrack.errors import JtrackError

# 0:0.05:1 as MATLAB computes it, from both ends: an overlap equal to a threshold falls as it does there.
OVERLAP_THRESHOLDS = np.concatenate([np.arange(11) * 0.05, 1 - np.arange(9, -1, -1) * 0.05])
ERROR_THRESHOLDS = np.arange(51)  # pixels
NORMALISED_THRESHOLDS = np.arange(51) / 100  # parts of the target's size
overlap = regions.overlap
ABSENT = -1.0  # what the toolkit writes for a frame without a target


class Agreement(NamedTuple):
    """How well each frame's box agrees with its annotation; -1 in all three where the target is absent."""

    overlap: np.ndarray  # [T] intersection over union
    error: np.ndarray  # [T] pixels between the centres
    normalised_error: np.ndarray  # [T] the same with x in target widths and y in target heights


class Counts(NamedTuple):
    """Numbers of frames, which add up over the trials of a sequence."""

    frames: int
    present: int  # frames with a target
    success: np.ndarray  # [21] frames with an overlap above 0, 0.05, ..., 1
    precision: np.ndarray  # [51] frames with a centre error of at most 0, 1, ..., 50 px
    normalised_precision: np.ndarray  # [51] frames with a normalised error of at most 0, 0.01, ..., 0.5
    overlap: float  # the sum over the frames with a target
    error: float  # the sum over the frames with a target, pixels


class Scores(NamedTuple):
    """The scores of one sequence: fractions in [0, 1], but for `mean_error`."""

    precision20: float  # fraction of frames with a centre error of at most 20 px
    auc: float  # area under the success curve: the mean of its 21 values
    success50: float  # fraction of frames with an overlap above 0.5
    success60: float  # fraction of frames with an overlap above 0.6
    normalised_precision20: float  # fraction of frames with a normalised error of at most 0.2
    normalised_precision_auc: float  # the mean of the 51 values of that curve
    mean_overlap: float  # over the frames with a target; NaN where there is none
    mean_error: float  # pixels, over the frames with a target; NaN where there is none
    precision: np.ndarray  # [51] at 0, 1, ..., 50 px
    success: np.ndarray  # [21] at overlaps 0, 0.05, ..., 1
    normalised_precision: np.ndarray  # [51] at 0, 0.01, ..., 0.5


def centre_error(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance in pixels between the centres of boxes [..., 4] (x, y, w, h), broadcast."""
    return np.sqrt(np.sum(_offset(boxes, truth) ** 2, axis=-1))


def normalised_centre_error(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance between centres, horizontally in widths and vertically in heights of the true box.

    Müller et al., "TrackingNet" (ECCV 2018), eq. 1, as its development kit computes it: each offset is
    divided by the size of the ground truth (the equation's letter would multiply).

    Args:
      boxes: [..., 4] x, y, w, h.
      truth: [..., 4], of positive width and height.
    """
    return np.sqrt(np.sum((_offset(boxes, truth) / np.asarray(truth, np.float64)[..., 2:]) ** 2, axis=-1))


def success_curve(overlaps: np.ndarray) -> np.ndarray:
    """Fraction of overlaps [T] strictly above each of the 21 thresholds 0, 0.05, ..., 1."""
    return _above(np.asarray(overlaps, np.float64), OVERLAP_THRESHOLDS) / len(overlaps)


def precision_curve(errors: np.ndarray) -> np.ndarray:
    """Fraction of centre errors [T] of at most 0, 1, ..., 50 pixels."""
    return _up_to(np.asarray(errors, np.float64), ERROR_THRESHOLDS) / len(errors)


def normalised_precision_curve(errors: np.ndarray) -> np.ndarray:
    """Fraction of normalised centre errors [T] of at most 0, 0.01, ..., 0.5.

    The thresholds are those of pytracking and pysot, whose figure is the value at 0.2. TrackingNet's own
    figure is an area, by the trapezoidal rule over 0, 0.025, ..., 0.5: the mean of the values here is the
    same but for the step.
    """
    return _up_to(np.asarray(errors, np.float64), NORMALISED_THRESHOLDS) / len(errors)


def auc(success: np.ndarray) -> float:
    """Area under a success curve [21]: the mean of its values."""
    return float(np.mean(success))


def measure(boxes: np.ndarray, truth: np.ndarray, absent: np.ndarray | None = None) -> Agreement:
    """Compares the boxes of one trial with its annotation, frame by frame, as the OTB toolkit does.

    A box that is not finite, or whose width or height is not positive, is replaced by the one before it; then
    the first box by the annotation, with which the tracker was started. Frames without a target get an
    overlap and an error of -1: such a frame fails in success but passes in precision.

    Args:
      boxes: [T, 4] x, y, w, h counted from 0, of the tracker.
      truth: [T, 4] the annotation.
      absent: [T] bool, frames without a target (`Annotation.absent`; the toolkit's own rule, which is on the
        numbers of OTB's files, is `jtrack.data.otb.absent`). None: where the annotation is not finite or has
        no size, which count as absent in any case.

    Raises:
      JtrackError: if there are not as many boxes as annotations, or none.
    """
    boxes, truth = np.array(boxes, np.float64), np.asarray(truth, np.float64)
    for what, rows in (("boxes", boxes), ("annotations", truth)):
        if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows):
            raise JtrackError(f"{what} have the shape {list(rows.shape)}: needed is [T, 4], one box a frame")
    if len(boxes) != len(truth):
        raise JtrackError(
            f"there are {len(boxes)} boxes for {len(truth)} annotations: cut both to the frames they share"
        )
    valid = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    boxes = boxes[np.maximum.accumulate(np.where(valid, np.arange(len(boxes)), 0))]
    boxes[0] = truth[0]

    empty = ~(np.isfinite(truth).all(axis=1) & (truth[:, 2:] > 0).all(axis=1))
    absent = empty if absent is None else empty | absent
    seen = np.where(absent[:, None], 1.0, truth)  # a box without size has no normalised error
    values = overlap(boxes, seen), centre_error(boxes, seen), normalised_centre_error(boxes, seen)
    return Agreement(*(np.where(absent, ABSENT, value) for value in values))


def count(agreement: Agreement) -> Counts:
    """Counts the frames of one trial that succeed at each threshold."""
    present = agreement.overlap != ABSENT
    return Counts(
        frames=len(present),
        present=int(present.sum()),
        success=_above(agreement.overlap, OVERLAP_THRESHOLDS),
        precision=_up_to(agreement.error, ERROR_THRESHOLDS),
        normalised_precision=_up_to(agreement.normalised_error, NORMALISED_THRESHOLDS),
        overlap=float(agreement.overlap[present].sum()),
        error=float(agreement.error[present].sum()),
    )


def pool(counts: Iterable[Counts]) -> Counts:
    """Adds up the trials of a sequence: each then weighs by its frames, as in the toolkit's TRE and SRE.

    Raises:
      JtrackError: if there is none.
    """
    counts = list(counts)
    if not counts:
        raise JtrackError("there is no trial to pool: give at least one")
    return Counts(*(sum(values[1:], start=values[0]) for values in zip(*counts, strict=True)))


def rates(counts: Counts) -> Scores:
    """Turns counts into the scores of a sequence."""
    success = counts.success / counts.frames
    precision = counts.precision / counts.frames
    normalised = counts.normalised_precision / counts.frames
    return Scores(
        precision20=float(precision[20]),
        auc=auc(success),
        success50=float(success[10]),
        success60=float(success[12]),
        normalised_precision20=float(normalised[20]),
        normalised_precision_auc=auc(normalised),
        mean_overlap=counts.overlap / counts.present if counts.present else np.nan,
        mean_error=counts.error / counts.present if counts.present else np.nan,
        precision=precision,
        success=success,
        normalised_precision=normalised,
    )


def score(boxes: np.ndarray, truth: np.ndarray, absent: np.ndarray | None = None) -> Scores:
    """Scores the boxes of one sequence as the OTB toolkit does; see `measure`, which says what is refused.

    Args:
      boxes: [T, 4] x, y, w, h counted from 0, of the tracker.
      truth: [T, 4] the annotation.
      absent: [T] bool, frames without a target; see `measure`.
    """
    return rates(count(measure(boxes, truth, absent)))


def speed(trials: Iterable[np.ndarray]) -> float | None:
    """Frames per second: the frames that were timed over the seconds they took, all trials together.

    The first frame of a trial initialises the tracker, and compiles: it does not count.

    Args:
      trials: seconds [T] a frame took; NaN or not positive where it was not timed (skipped, lost).

    Returns:
      None where nothing was timed.
    """
    seconds = np.concatenate([np.zeros(0), *(np.asarray(trial, np.float64)[1:] for trial in trials)])
    seconds = seconds[np.isfinite(seconds) & (seconds > 0)]
    return float(len(seconds) / seconds.sum()) if len(seconds) else None


def _offset(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """From the centres of `truth` to those of `boxes`, [..., 2]."""
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    return (boxes[..., :2] + boxes[..., 2:] / 2) - (truth[..., :2] + truth[..., 2:] / 2)


def _above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many values are strictly above each of the ascending thresholds; NaN is above none."""
    passed = np.searchsorted(thresholds, values[~np.isnan(values)], side="left")  # thresholds below a value
    return np.cumsum(np.bincount(passed, minlength=len(thresholds) + 1)[::-1])[-2::-1]


def _up_to(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many values are at most each of the ascending thresholds; NaN is at none."""
    first = np.searchsorted(thresholds, values, side="left")  # the first threshold a value does not exceed
    return np.cumsum(np.bincount(first, minlength=len(thresholds) + 1))[:-1]
