"""The OTB toolkit's numbers: against hand counts, brute force and the toolkit's own stored curves."""

import gzip
import json

import numpy as np
import pytest

from jtrack.benchmark import metrics, published
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
    scores = metrics.score(boxes, truth)
    assert scores.precision20 == (1 if absent else 0.75)
    assert scores.success[0] == 0.75


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


def test_struck_equals_the_toolkits_curves(data_folder, toolkit, annotation):
    """51 sequences, every one of the 72 values of each, to the last bit of a fraction of frames."""
    results = published.load(data_folder / "otb_benchmark" / "results", "Struck")
    curves = toolkit("OPE", "Struck")
    assert len(curves) == 51
    for sequence, (success, precision) in curves.items():
        boxes = results[sequence]
        scores = metrics.score(boxes, annotation(sequence, len(boxes)))
        np.testing.assert_allclose(scores.success, success, atol=1e-12, err_msg=sequence)
        np.testing.assert_allclose(scores.precision, precision, atol=1e-12, err_msg=sequence)


def test_ct_equals_the_toolkits_curves(data_folder, toolkit, annotation):
    """Robustness to the start (SRE): the mean of twelve runs a sequence."""
    with gzip.open(data_folder / "otb_benchmark" / "results" / "CT_SRE.json.gz") as file:
        results = json.load(file)
    for sequence, (success, precision) in toolkit("SRE", "CT").items():
        runs = [np.array(run["res"]) - otb.ORIGIN for run in results[sequence]]
        scores = [metrics.score(boxes, annotation(sequence, len(boxes))) for boxes in runs]
        assert len(scores) == 12
        np.testing.assert_allclose(np.mean([score.success for score in scores], axis=0), success, atol=1e-12)
        np.testing.assert_allclose(
            np.mean([score.precision for score in scores], axis=0), precision, atol=1e-12
        )


@pytest.mark.parametrize(
    ("tracker", "precision", "area"),
    [("CF2", 0.891, 0.605), ("CNN-SVM", 0.852, 0.597), ("KCF", 0.740, 0.514)],
)
def test_published_headline_numbers(data_folder, annotation, tracker, precision, area):
    """OTB-2013 as printed in the papers and in the benchmark's table, to all their digits."""
    meta = json.loads((data_folder / "otb_benchmark/annotations/otb100_meta.json").read_text())
    results = published.load(data_folder / "otb_benchmark" / "results", tracker)
    scores = [
        metrics.score(results[name], annotation(name, len(results[name]))) for name in meta["lists"]["cvpr13"]
    ]
    assert round(np.mean([score.precision20 for score in scores]), 3) == precision
    assert round(np.mean([score.auc for score in scores]), 3) == area


def test_published_boxes_fit_the_loaded_sequences(data_folder):
    """Frames, annotation and published boxes agree in length on every sequence there is."""
    results = published.load(data_folder / "otb_benchmark" / "results", "CF2")
    for name in otb.sequences(data_folder / "otb"):
        sequence = otb.load(data_folder / "otb" / name)
        scores = metrics.score(results[name], sequence.boxes)
        assert scores.precision20 > 0.3  # HCFT loses no sequence of these from its first frames
