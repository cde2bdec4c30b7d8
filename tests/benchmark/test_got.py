"""GOT-10k's scores: by hand, and against the formulas of the got10k package."""

from types import SimpleNamespace

import numpy as np
import pytest

from jtrack.benchmark import got
from jtrack.errors import JtrackError

SIZE = (60, 90)  # height, width


@pytest.fixture
def toolkit():
    """The package's metrics and experiment, where it is installed and can be imported."""
    metrics = pytest.importorskip("got10k.utils.metrics", exc_type=Exception)
    experiment = pytest.importorskip("got10k.experiments.got10k", exc_type=Exception)
    return SimpleNamespace(rect_iou=metrics.rect_iou, evaluate=experiment.ExperimentGOT10k._evaluate)


def sequence(seed, frames=80):
    """Boxes and annotation, many beyond the image, and which frames show the target."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([rng.uniform(-15, 80, (frames, 2)), rng.uniform(1, 40, (frames, 2))], axis=1)
    boxes = truth + rng.normal(0, 4, truth.shape)
    boxes[:, 2:] = np.abs(boxes[:, 2:])
    return boxes, truth, rng.integers(0, 9, frames)


@pytest.mark.parametrize("seed", range(3))
def test_the_formulas_of_the_package(toolkit, seed):
    """As its report computes a sequence: without the first frame, cut at the image, visible frames."""
    boxes, truth, cover = sequence(seed)
    ious = toolkit.rect_iou(boxes[1:].copy(), truth[1:].copy(), bound=(SIZE[1], SIZE[0]))[cover[1:] > 0]
    ours = got.overlaps(boxes, truth, SIZE, cover > 0)
    np.testing.assert_allclose(ours, ious, atol=1e-12)
    ao, sr, _, curve = toolkit.evaluate(None, ious, [])
    scores = got.score(ours)
    assert scores.ao == pytest.approx(ao, abs=1e-12) and scores.sr50 == sr
    np.testing.assert_array_equal(scores.success, curve)
    assert scores.sr75 == np.mean(ious > 0.75) and scores.frames == np.count_nonzero(cover[1:])


def test_scores_by_hand():
    scores = got.score([0.0, 0.5, 0.6, 0.75, 0.9])
    assert scores.ao == pytest.approx(2.75 / 5)
    assert (scores.sr50, scores.sr75, scores.frames) == (0.6, 0.2, 5)
    assert scores.success.shape == (101,)
    assert scores.success[0] == 0.8 and scores.success[50] == 0.6 and scores.success[100] == 0


def test_frames_that_count():
    """The first never does, nor one in which nothing is seen; a box that is none overlaps nothing."""
    truth = np.tile([10.0, 10, 20, 20], (5, 1))
    boxes = truth.copy()
    boxes[0], boxes[3], boxes[4] = [70, 40, 5, 5], [10, 20, 20, 20], np.nan
    np.testing.assert_allclose(got.overlaps(boxes, truth), [1, 1, 1 / 3, 0])
    np.testing.assert_allclose(got.overlaps(boxes, truth, visible=[1, 1, 0, 1, 1]), [1, 1 / 3, 0])
    assert np.isnan(got.score(got.overlaps(boxes[:1], truth[:1])).ao)


def test_boxes_are_cut_as_the_package_cuts_them():
    """Beyond the right they get smaller; beyond the left they are moved in and keep their size."""
    cut = got.cut(np.array([[80.0, 50, 20, 20], [-10, -5, 20, 20], [100, 5, 7, 7]]), SIZE)
    np.testing.assert_array_equal(cut, [[80, 50, 10, 10], [0, 0, 20, 20], [90, 5, 0, 7]])


def test_averages_over_classes():
    """Two sequences of one class weigh as much together as the one of the other; frames do not matter."""
    scores = [got.score([0.2] * 50), got.score([0.6]), got.score([1.0] * 3), got.score([])]
    average = got.class_average(scores, ["boat", "boat", "dog", "cat"])
    assert average.ao == pytest.approx((0.4 + 1) / 2)
    assert average.sr50 == pytest.approx((0.5 + 1) / 2) and average.frames == 54
    assert average.success[30] == pytest.approx(0.75)
    with pytest.raises(JtrackError, match="no sequence"):
        got.class_average(scores[3:], ["cat"])


def test_boxes_and_annotations_are_as_many():
    with pytest.raises(JtrackError, match=r"boxes have the shape \[5, 4\] and annotations \[6, 4\]"):
        got.overlaps(np.ones((5, 4)), np.ones((6, 4)))
