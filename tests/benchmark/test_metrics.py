"""The OTB toolkit's numbers: against hand counts, brute force and the toolkit's own stored curves."""

import gzip
import json

import numpy as np
import pytest

from jtrack.benchmark import metrics
from jtrack.data import otb
from jtrack.errors import JtrackError


def test_overlap_by_counting_pixels():
    """Integer boxes, counted on a raster."""
    rng = np.random.default_rng(0)
    boxes = rng.integers([0, 0, 1, 1], [20, 20, 15, 15], (2, 200, 4))
    expected = []
    for first, second in zip(*boxes, strict=True):
        masks = np.zeros((2, 40, 40), bool)
        for mask, (x, y, w, h) in zip(masks, (first, second), strict=True):
            mask[y : y + h, x : x + w] = True
        expected.append((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
    np.testing.assert_allclose(metrics.overlap(boxes[0], boxes[1]), expected, rtol=1e-14)
    assert min(expected) == 0 < max(expected)


def test_overlap_of_empty_boxes_is_zero():
    assert metrics.overlap([3, 3, 0, 0], [3, 3, 0, 0]) == 0
    assert metrics.overlap([3, 3, 0, 5], [0, 0, 9, 9]) == 0


def test_centre_error_is_that_of_the_toolkit():
    """Its centres are x + (w - 1) / 2 counted from 1: another origin, the same distance."""
    rng = np.random.default_rng(1)
    boxes, truth = rng.uniform(1, 100, (2, 50, 4))
    centre = boxes[:, :2] + (boxes[:, 2:] - 1) / 2 - truth[:, :2] - (truth[:, 2:] - 1) / 2
    np.testing.assert_allclose(metrics.centre_error(boxes, truth), np.linalg.norm(centre, axis=1), rtol=1e-13)
    assert metrics.centre_error([0, 0, 10, 10], [3, 4, 10, 10]) == 5


def test_curves_at_their_thresholds():
    """Overlaps count strictly above a threshold, errors up to and including it."""
    success = metrics.success_curve([0.0, 0.5, 0.51, 1.0])
    assert success.shape == (21,)
    assert success[0] == 0.75 and success[9] == 0.75 and success[10] == 0.5 and success[20] == 0
    precision = metrics.precision_curve([0, 20, 20.001, 60])
    assert precision.shape == (51,)
    assert precision[0] == 0.25 and precision[19] == 0.25 and precision[20] == 0.5 and precision[50] == 0.75
    assert metrics.auc(np.arange(21) / 20) == pytest.approx(0.5)


def test_normalised_error_is_that_of_the_toolkits():
    """TrackingNet's development kit and pytracking divide each offset by the true size; by hand."""
    truth = np.array([[10.0, 10, 40, 20], [10, 10, 40, 20]])
    boxes = np.array([[14.0, 10, 40, 20], [14, 16, 40, 20]])  # 4 px of 40, and 6 px of 20 besides
    expected = [0.1, np.hypot(0.1, 0.3)]
    np.testing.assert_allclose(metrics.normalised_centre_error(boxes, truth), expected, rtol=1e-14)
    curve = metrics.normalised_precision_curve([0.1, 0.2, 0.201, 0.9])
    assert curve.shape == (51,)
    assert curve[9] == 0 and curve[10] == 0.25 and curve[20] == 0.5 and curve[21] == 0.75 == curve[50]


def test_normalised_precision_of_one_sequence():
    """Half a target's width off in one frame of four: counted at 0.5 alone."""
    truth = np.tile([10.0, 10, 20, 30], (4, 1))
    boxes = truth + np.array([[0, 0, 0, 0], [4, 0, 0, 0], [0, 6, 0, 0], [10, 0, 0, 0]])
    scores = metrics.score(boxes, truth)
    np.testing.assert_array_equal(scores.normalised_precision, [0.25] * 20 + [0.75] * 30 + [1])
    assert scores.normalised_precision20 == 0.75
    assert scores.normalised_precision_auc == pytest.approx((20 * 0.25 + 30 * 0.75 + 1) / 51)


@pytest.mark.parametrize("kind", ["overlap", "error", "normalised"])
def test_counting_equals_comparing_with_every_threshold(kind):
    """The fast counts against the definition, on values many of which lie on a threshold; NaN fails."""
    rng = np.random.default_rng(3)
    if kind == "overlap":
        values = np.concatenate([metrics.OVERLAP_THRESHOLDS, rng.uniform(0, 1, 200), [-1, np.nan]])
        expected = (values[:, None] > metrics.OVERLAP_THRESHOLDS).mean(axis=0)
        np.testing.assert_array_equal(metrics.success_curve(values), expected)
    elif kind == "error":
        values = np.concatenate([np.arange(60), rng.uniform(0, 60, 200), [-1, np.nan, np.inf]])
        expected = (values[:, None] <= np.arange(51)).mean(axis=0)
        np.testing.assert_array_equal(metrics.precision_curve(values), expected)
    else:
        values = np.concatenate([np.arange(60) / 100, rng.uniform(0, 0.6, 200), [-1, np.nan, np.inf]])
        expected = (values[:, None] <= np.arange(51) / 100).mean(axis=0)
        np.testing.assert_array_equal(metrics.normalised_precision_curve(values), expected)


def test_means_are_over_the_frames_with_a_target():
    truth = np.tile([10.0, 10, 20, 20], (4, 1))
    truth[2] = [-1, -1, 0, 0]
    boxes = np.tile([10.0, 10, 20, 20], (4, 1)) + np.outer([0, 0, 0, 1], [3, 4, 0, 0])
    scores = metrics.score(boxes, truth)
    assert scores.mean_error == pytest.approx(5 / 3)
    assert scores.mean_overlap == pytest.approx((2 + 17 * 16 / (800 - 17 * 16)) / 3)
    nothing = metrics.rates(metrics.count(metrics.Agreement(*np.full((3, 5), metrics.ABSENT))))
    assert np.isnan(nothing.mean_overlap) and np.isnan(nothing.mean_error) and nothing.auc == 0


def test_success_at_a_half_and_at_three_fifths():
    """An overlap of exactly 0.6 is not above it."""
    counts = metrics.count(metrics.Agreement(np.array([0.5, 0.55, 0.6, 0.61]), *np.zeros((2, 4))))
    scores = metrics.rates(counts)
    assert (scores.success50, scores.success60) == (0.75, 0.25)


def test_trials_are_pooled_by_their_frames():
    """A segment of 3 frames, all hit, and one of 1, missed: TRE says 3 of 4, not the mean of 1 and 0."""
    hit = metrics.count(metrics.Agreement(np.full(3, 0.9), np.full(3, 2.0), np.full(3, 0.1)))
    missed = metrics.count(metrics.Agreement(np.zeros(1), np.full(1, 90.0), np.full(1, 4.0)))
    scores = metrics.rates(metrics.pool([hit, missed]))
    assert scores.success50 == scores.precision20 == scores.normalised_precision20 == 0.75
    assert scores.mean_error == (3 * 2 + 90) / 4
    assert metrics.pool([hit, missed]).frames == 4
    with pytest.raises(JtrackError, match="no trial"):
        metrics.pool([])


def test_speed():
    """Frames over seconds, without first frames and without what was not timed."""
    first, second = [9.0, 0.1, 0.1, np.nan, 0.2], [5.0, 0.1]
    assert metrics.speed([first]) == pytest.approx(3 / 0.4)
    assert metrics.speed([first, second]) == pytest.approx(4 / 0.5)
    assert metrics.speed([[3.0], [], [1.0, np.nan, 0.0]]) is None
    assert metrics.speed([]) is None


def test_perfect_boxes():
    truth = np.random.default_rng(2).uniform(1, 100, (30, 4))
    scores = metrics.score(truth, truth)
    assert (scores.precision20, scores.success50) == (1, 1)
    assert scores.auc == pytest.approx(20 / 21)  # nothing is above an overlap of 1
    np.testing.assert_array_equal(scores.success, [1] * 20 + [0])


def test_first_box_is_replaced_by_the_annotation():
    truth = np.tile([10.0, 10, 20, 20], (4, 1))
    boxes = truth.copy()
    boxes[0] = [500, 500, 20, 20]
    assert metrics.score(boxes, truth).success50 == 1
    assert boxes[0, 0] == 500  # the argument is left alone


@pytest.mark.parametrize("bad", [[10, 10, 0, 20], [10, 10, 20, -1], [np.nan] * 4, [10, np.inf, 20, 20]])
def test_invalid_boxes_are_replaced_by_the_last_valid_one(bad):
    truth = np.tile([10.0, 10, 20, 20], (5, 1))
    boxes = truth + np.outer([0, 1, 2, 3, 30], [1, 1, 0, 0])
    boxes[2] = boxes[3] = bad
    same = boxes.copy()
    same[2] = same[3] = boxes[1]
    given, expected = metrics.score(boxes, truth), metrics.score(same, truth)
    np.testing.assert_array_equal(given.success, expected.success)
    np.testing.assert_array_equal(given.precision, expected.precision)
    assert given.success50 == 0.8


@pytest.mark.parametrize(
    ("annotation", "absent"),
    [
        ([-1.0, 5, 20, 20], True),  # 0 in the file
        ([-0.5, 5, 20, 20], False),
        ([5, -1, 20, 20], True),
        ([0, 0, 0, 20], True),
        ([0, 0, 20, 0], True),
        ([np.nan] * 4, True),
    ],
)
def test_frames_without_annotation_fail_in_success_and_pass_in_precision(annotation, absent):
    truth = np.tile([10.0, 10, 20, 20], (4, 1))
    truth[2] = annotation
    boxes = truth.copy()
    boxes[2] = [200, 200, 20, 20]
    scores = metrics.score(boxes, truth, otb.absent(truth))
    assert scores.precision20 == (1 if absent else 0.75)
    assert scores.success[0] == 0.75


def test_a_target_across_the_border_is_absent_by_otbs_rule_alone():
    truth = np.array([[10.0, 10, 20, 20], [-8, 10, 20, 20], [-30, -30, 20, 20]])
    boxes = np.add(truth, [[0, 0, 0, 0], [4, 0, 0, 0], [100, 0, 0, 0]])
    agreement = metrics.measure(boxes, truth)
    np.testing.assert_allclose(agreement.overlap, [1, 16 / 24, 0])
    np.testing.assert_allclose(agreement.error, [0, 4, 100])
    np.testing.assert_array_equal(metrics.measure(boxes, truth, otb.absent(truth)).overlap, [1, -1, -1])


@pytest.mark.parametrize(
    ("boxes", "truth", "message"),
    [
        ((5, 4), (6, 4), "there are 5 boxes for 6 annotations"),
        ((5, 3), (5, 3), r"boxes have the shape \[5, 3\]"),
        ((0, 4), (0, 4), r"boxes have the shape \[0, 4\]"),
        ((5, 4), (4,), r"annotations have the shape \[4\]"),
    ],
)
def test_lengths_and_shapes(boxes, truth, message):
    with pytest.raises(JtrackError, match=message):
        metrics.score(np.ones(boxes), np.ones(truth))


@pytest.fixture(scope="module")
def toolkit(data_folder):
    """The toolkit's stored curves: (protocol, tracker) -> {sequence: (success, precision)}."""
    scipy_io = pytest.importorskip("scipy.io")
    folder = data_folder / "otb_benchmark" / "curves"
    names = json.loads((folder / "ugv_29alg_sequence_order.json").read_text())

    def load(protocol, tracker):
        curves = []
        for kind in ("overlap", "error"):
            file = scipy_io.loadmat(folder / f"ugv_aveSuccessRatePlot_29alg_{kind}_{protocol}.mat")
            row = [name.item() for name in file["nameTrkAll"].ravel()].index(tracker)
            curves.append(file["aveSuccessRatePlot"][row])
        return dict(zip(names, zip(*curves, strict=True), strict=True))

    return load


@pytest.fixture(scope="module")
def annotation(data_folder):
    def load(sequence, length):
        """Tiger1 was run from image 6: its results belong to the last rows."""
        boxes = otb.read_boxes(data_folder / "otb_benchmark" / "annotations" / "anno" / f"{sequence}.txt")
        return boxes[-length:]

    return load


def published(data_folder, tracker):
    """Boxes of a tracker by sequence, counted from 0."""
    with gzip.open(data_folder / "otb_benchmark" / "results" / f"{tracker}_OPE.json.gz") as file:
        return {name: np.array(run["res"], float) - [1, 1, 0, 0] for name, run in json.load(file).items()}


def test_struck_equals_the_toolkits_curves(data_folder, toolkit, annotation):
    """51 sequences, every one of the 72 values of each, to the last bit of a fraction of frames."""
    results = published(data_folder, "Struck")
    curves = toolkit("OPE", "Struck")
    assert len(curves) == 51
    for sequence, (success, precision) in curves.items():
        boxes = results[sequence]
        truth = annotation(sequence, len(boxes))
        scores = metrics.score(boxes, truth, otb.absent(truth))
        np.testing.assert_allclose(scores.success, success, atol=1e-12, err_msg=sequence)
        np.testing.assert_allclose(scores.precision, precision, atol=1e-12, err_msg=sequence)


def test_ct_equals_the_toolkits_curves(data_folder, toolkit, annotation):
    """Robustness to the start (SRE): twelve runs a sequence, pooled; AUC .2517 over 51 sequences."""
    with gzip.open(data_folder / "otb_benchmark" / "results" / "CT_SRE.json.gz") as file:
        results = json.load(file)
    areas = []
    for sequence, (success, precision) in toolkit("SRE", "CT").items():
        runs = [np.array(run["res"]) - [1, 1, 0, 0] for run in results[sequence]]
        assert len(runs) == 12
        truth = annotation(sequence, len(runs[0]))
        trials = [metrics.count(metrics.measure(boxes, truth, otb.absent(truth))) for boxes in runs]
        scores = metrics.rates(metrics.pool(trials))
        np.testing.assert_allclose(scores.success, success, atol=1e-12, err_msg=sequence)
        np.testing.assert_allclose(scores.precision, precision, atol=1e-12, err_msg=sequence)
        areas.append(scores.auc)
    assert round(np.mean(areas), 4) == 0.2517


@pytest.mark.parametrize(("tracker", "area"), [("SCM", 0.499), ("Struck", 0.474), ("TLD", 0.437)])
def test_stored_curves_give_the_published_areas(toolkit, tracker, area):
    """The mean over sequences of the mean over thresholds, as Wu et al. print it."""
    curves = toolkit("OPE", tracker)
    assert round(np.mean([metrics.auc(success) for success, _ in curves.values()]), 3) == area


@pytest.mark.parametrize(
    ("tracker", "precision", "area"),
    [("CF2", 0.891, 0.605), ("CNN-SVM", 0.852, 0.597), ("KCF", 0.740, 0.514)],
)
def test_published_headline_numbers(data_folder, annotation, tracker, precision, area):
    """OTB-2013 as printed in the papers and in the benchmark's table, to all their digits."""
    meta = json.loads((data_folder / "otb_benchmark/annotations/otb100_meta.json").read_text())
    results = published(data_folder, tracker)
    truths = {name: annotation(name, len(results[name])) for name in meta["lists"]["cvpr13"]}
    scores = [metrics.score(results[name], truth, otb.absent(truth)) for name, truth in truths.items()]
    assert round(np.mean([score.precision20 for score in scores]), 3) == precision
    assert round(np.mean([score.auc for score in scores]), 3) == area


def test_published_boxes_fit_the_loaded_sequences(data_folder):
    """Frames, annotation and published boxes agree in length on every sequence there is."""
    results = published(data_folder, "CF2")
    for name in otb.sequences(data_folder / "otb"):
        sequence = otb.load(data_folder / "otb" / name)
        scores = metrics.score(results[name], sequence.boxes)
        assert scores.precision20 > 0.3  # HCFT loses no sequence of these from its first frames
