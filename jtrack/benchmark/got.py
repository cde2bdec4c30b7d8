"""GOT-10k's measures: average overlap and success rates, by the formulas of its toolkit.

Huang, Zhao and Huang, "GOT-10k: A Large High-Diversity Benchmark for Generic Object Tracking in the Wild"
(TPAMI 2021), and the package got10k 0.1.3. The first frame, which is given, and frames in which the target is
not visible do not count. Boxes are cut at the image first, by the toolkit's rule.

    overlaps = np.concatenate([got.overlaps(trial, truth, size, visible) for trial in trials])
    got.score(overlaps)                                 # of a sequence
    got.score(np.concatenate(of_all_sequences))         # overall, as the toolkit pools: by frames
    got.class_average(scores, classes)                  # overall, as the paper and its server do: by classes
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from jtrack.benchmark import metrics
from jtrack.errors import JtrackError

THRESHOLDS = np.linspace(0, 1, 101)


class Scores(NamedTuple):
    """GOT-10k's scores, all in [0, 1]; NaN where no frame counts."""

    ao: float  # average overlap
    sr50: float  # fraction of frames with an overlap above 0.5
    sr75: float  # fraction of frames with an overlap above 0.75
    success: np.ndarray  # [101] fraction of frames with an overlap above 0, 0.01, ..., 1
    frames: int  # that count


def overlaps(
    boxes: np.ndarray,
    truth: np.ndarray,
    size: tuple[int, int] | None = None,
    visible: np.ndarray | None = None,
) -> np.ndarray:
    """Overlaps of the frames that count.

    Args:
      boxes: [T, 4] x, y, w, h of the tracker, counted from 0; one that is not finite overlaps nothing.
      truth: [T, 4] the annotation.
      size: (height, width) of the image; None: boxes are not cut.
      visible: [T] whether anything of the target is seen (GOT-10k's `cover` above 0); None: always.

    Returns:
      [N] overlaps of the visible frames after the first.

    Raises:
      JtrackError: if there are not as many boxes as annotations.
    """
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    if boxes.shape != truth.shape or truth.ndim != 2 or truth.shape[1] != 4:
        raise JtrackError(
            f"boxes have the shape {list(boxes.shape)} and annotations {list(truth.shape)}: both must be"
            " [T, 4], one box a frame"
        )
    counts = np.ones(len(truth), bool) if visible is None else np.asarray(visible) > 0
    counts[:1] = False
    values = metrics.overlap(cut(boxes[counts], size), cut(truth[counts], size))
    return np.where(np.isfinite(boxes[counts]).all(axis=1), values, 0.0)


def cut(boxes: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Cuts boxes [T, 4] at the image as the toolkit does; None leaves them.

    The corner is moved into the image, and the size is cut to what is left from there: a box beyond the left
    or upper border is moved in whole, not made smaller.
    """
    if size is None:
        return boxes
    limit = np.array([size[1], size[0]], np.float64)
    corner = np.clip(boxes[:, :2], 0, limit)
    return np.concatenate([corner, np.clip(boxes[:, 2:], 0, limit - corner)], axis=1)


def score(overlaps: np.ndarray) -> Scores:
    """Scores the overlaps [N] of the frames that count: of a sequence, or of all of them together."""
    values = np.asarray(overlaps, np.float64)
    if not len(values):
        return Scores(np.nan, np.nan, np.nan, np.full(len(THRESHOLDS), np.nan), 0)
    success = np.mean(values[:, None] > THRESHOLDS, axis=0)
    return Scores(
        float(values.mean()),
        float(np.mean(values > 0.5)),
        float(np.mean(values > 0.75)),
        success,
        len(values),
    )


def class_average(scores: Sequence[Scores], classes: Sequence[Hashable]) -> Scores:
    """Averages sequences within each class of objects, then over the classes, as the paper does (mAO, mSR).

    Args:
      scores: of each sequence; those in which no frame counts are left out.
      classes: of each sequence; all different: the plain mean over sequences.
    """
    groups: dict[Hashable, list[Scores]] = {}
    for item, name in zip(scores, classes, strict=True):
        if item.frames:
            groups.setdefault(name, []).append(item)
    if not groups:
        raise JtrackError("there is no sequence with a frame that counts to average over")
    means = [
        [np.mean([getattr(item, name) for item in group], axis=0) for name in Scores._fields[:-1]]
        for group in groups.values()
    ]
    ao, sr50, sr75, success = (np.mean(values, axis=0) for values in zip(*means, strict=True))
    return Scores(float(ao), float(sr50), float(sr75), success, sum(item.frames for item in scores))
