"""How well boxes agree with ground truth, by the conventions of the OTB toolkit to the letter.

Wu, Lim and Yang, "Online Object Tracking: A Benchmark" (CVPR 2013), and the toolkit's code. Curves belong to
one sequence; a benchmark's figure is their mean over sequences, not over frames.
"""

from typing import NamedTuple

import numpy as np

from jtrack.errors import JtrackError

# 0:0.05:1 as MATLAB computes it, from both ends: an overlap equal to a threshold falls as it does there.
OVERLAP_THRESHOLDS = np.concatenate([np.arange(11) * 0.05, 1 - np.arange(9, -1, -1) * 0.05])
ERROR_THRESHOLDS = np.arange(51)  # pixels


class Scores(NamedTuple):
    """The scores of one sequence, all in [0, 1]."""

    precision20: float  # fraction of frames with a centre error of at most 20 px
    auc: float  # area under the success curve: the mean of its 21 values
    success50: float  # fraction of frames with an overlap above 0.5
    precision: np.ndarray  # [51] at 0, 1, ..., 50 px
    success: np.ndarray  # [21] at overlaps 0, 0.05, ..., 1


def overlap(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [..., 4] (x, y, w, h) in [0, 1], broadcast; 0 where both are empty."""
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    low = np.maximum(boxes[..., :2], truth[..., :2])
    high = np.minimum(boxes[..., :2] + boxes[..., 2:], truth[..., :2] + truth[..., 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(boxes[..., 2:], axis=-1) + np.prod(truth[..., 2:], axis=-1) - intersection
    ratio = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return np.minimum(ratio, 1)  # rounding may exceed 1 where boxes are not whole numbers


def centre_error(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance in pixels between the centres of boxes [..., 4] (x, y, w, h), broadcast."""
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    offset = (boxes[..., :2] + boxes[..., 2:] / 2) - (truth[..., :2] + truth[..., 2:] / 2)
    return np.sqrt(np.sum(offset**2, axis=-1))


def success_curve(overlaps: np.ndarray) -> np.ndarray:
    """Fraction of overlaps [T] strictly above each of the 21 thresholds 0, 0.05, ..., 1."""
    return np.mean(np.asarray(overlaps)[:, None] > OVERLAP_THRESHOLDS, axis=0)


def precision_curve(errors: np.ndarray) -> np.ndarray:
    """Fraction of centre errors [T] of at most 0, 1, ..., 50 pixels."""
    return np.mean(np.asarray(errors)[:, None] <= ERROR_THRESHOLDS, axis=0)


def auc(success: np.ndarray) -> float:
    """Area under a success curve [21]: the mean of its values."""
    return float(np.mean(success))


def score(boxes: np.ndarray, truth: np.ndarray) -> Scores:
    """Scores the boxes of one sequence as the OTB toolkit does.

    A box that is not finite, or whose width or height is not positive, is replaced by the one before it; then
    the first box by the annotation, with which the tracker was started. Frames whose annotation has an
    entry that is not positive in the file's own numbers (counted from 1) get an overlap and an error of -1:
    the target is absent, and such a frame fails in success but passes in precision.

    Args:
      boxes: [T, 4] x, y, w, h counted from 0, of the tracker.
      truth: [T, 4] the annotation.

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

    absent = ~(truth > [-1, -1, 0, 0]).all(axis=1)
    success = success_curve(np.where(absent, -1, overlap(boxes, truth)))
    precision = precision_curve(np.where(absent, -1, centre_error(boxes, truth)))
    return Scores(float(precision[20]), auc(success), float(success[10]), precision, success)
