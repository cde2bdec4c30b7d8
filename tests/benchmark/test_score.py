"""Scores of whole results: published figures, pooling by hand, intervals by brute force, what is refused."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from jtrack.benchmark import bootstrap, layouts, metrics, protocol, published, scoring, vot_measures
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory, open_store
from jtrack.benchmark.sources import open_results
from jtrack.data import Annotation
from jtrack.data.dataset import open_dataset
from jtrack.errors import JtrackError

BOX = np.array([10.0, 10, 20, 20])
QUICK = {"resamples": 199}

# AUC and precision at 20 px on cvpr13, tb50 and tb100.
PUBLISHED = {
    "CF2": (0.6047, 0.8907, 0.5130, 0.8026, 0.5618, 0.8371),
    "CNN-SVM": (0.5971, 0.8516, 0.5116, 0.7686, 0.5545, 0.8136),
    "KCF": (0.5138, 0.7400, 0.4030, 0.6106, 0.4771, 0.6957),
    "MEEM": (0.5660, 0.8300, 0.4733, 0.7122, 0.5296, 0.7812),
    "Struck": (0.4737, 0.6561, 0.3840, 0.5412, 0.4625, 0.6404),
}


def truth(frames=10, name="Walk", **more):
    return Annotation(name, np.tile(BOX, (frames, 1)), **more)


def shifted(pixels):
    """Boxes that many pixels to the right, a row each."""
    return BOX + np.outer(pixels, [1, 0, 0, 0])


def results(trajectories, of="ope", **more):
    listed = {name: trials if isinstance(trials, list) else [trials] for name, trials in trajectories.items()}
    return Results("Mine", of, listed, **more)


def trial(pixels, *, start=0, seconds=None):
    return layouts.tracked(shifted(pixels), seconds, start=start)


@pytest.fixture(scope="module")
def otb(data_folder):
    """Annotations of all 100 sequences, and the names of a list."""
    root = data_folder / "otb_benchmark" / "annotations"
    everything = scoring.annotations(open_dataset("otb", root, subset="tb100"))

    def load(subset):
        return {name: everything[name] for name in open_dataset("otb", root, subset=subset).names}

    return load


@pytest.fixture(scope="module")
def raw(data_folder):
    """The published results: tracker -> Results."""
    return {each.tracker: each for each in published.read(data_folder / "otb_benchmark" / "results")}


@pytest.mark.parametrize("tracker", PUBLISHED)
def test_published_figures(otb, raw, tracker):
    figures = []
    for subset in ("cvpr13", "tb50", "tb100"):
        scored = scoring.score(raw[tracker], otb(subset), subset=subset, **QUICK)
        figures += [scored.measures["auc"], scored.measures["precision20"]]
    np.testing.assert_allclose(figures, PUBLISHED[tracker], atol=0.0005, rtol=0)


def test_spatial_robustness_equals_the_stored_curves(data_folder, otb, raw):
    scipy_io = pytest.importorskip("scipy.io")
    scored = scoring.score(raw["CT"], otb("cvpr13"), **QUICK)
    for kind, curve in (("overlap", "success"), ("error", "precision")):
        file = data_folder / "otb_benchmark" / "curves" / f"ugv_aveSuccessRatePlot_29alg_{kind}_SRE.mat"
        content = scipy_io.loadmat(file)
        row = [name.item() for name in content["nameTrkAll"].ravel()].index("CT")
        stored = content["aveSuccessRatePlot"][row].mean(axis=0)
        np.testing.assert_allclose(scored.curves[curve], stored, atol=0.0005)
    assert scored.measures["auc"] == pytest.approx(0.2517, abs=0.0005)
    assert {each.frames for each in scored.sequences.values()} >= {12 * 725}


def test_attributes_of_the_benchmark(otb, raw):
    """HCFT on CVPR13: the toolkit's plots by attribute count 25 sequences of IV, 28 of SV, 4 of LR."""
    scored = scoring.score(raw["CF2"], otb("cvpr13"), **QUICK)
    counts = {name: len(names) for name, names in scored.attributes.items()}
    assert (counts["IV"], counts["SV"], counts["OCC"], counts["LR"]) == (25, 28, 29, 4)
    assert list(counts) == ["IV", "OPR", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OV", "BC", "LR"]
    expected = np.mean([scored.sequences[name].measures["auc"] for name in scored.attributes["LR"]])
    assert scored.by_attribute["LR"]["auc"] == pytest.approx(expected)


def test_one_pass_is_the_mean_over_sequences():
    """One sequence on target in 3 of 4 frames (20 of 21 thresholds), one long one never."""
    found = results({"Walk": trial([0, 0, 0, 500]), "Run": trial([500] * 40)})
    scored = scoring.score(found, {"Walk": truth(4), "Run": truth(40, "Run")}, **QUICK)
    walk, run = scored.sequences["Walk"], scored.sequences["Run"]
    assert (walk.frames, run.frames) == (4, 40)
    assert walk.measures["precision20"] == 0.75
    assert run.measures["precision20"] == 1 / 40  # the first frame is given
    assert scored.measures["precision20"] == pytest.approx((0.75 + 1 / 40) / 2)
    assert walk.measures["auc"] == pytest.approx(0.75 * 20 / 21)
    assert scored.curves["success"].shape == (21,) and scored.curves["precision"].shape == (51,)
    assert scored.measures["auc"] == pytest.approx(np.mean(scored.curves["success"]))


def test_segments_weigh_by_their_frames():
    """TRE of two segments: 40 frames of which 30 succeed, 10 of which 2 do: 32 of 50, not (3/4 + 1/5) / 2."""
    tre = replace(protocol.load("tre"), segments=2)
    trials = [trial([0] * 30 + [500] * 10), trial([0] * 2 + [500] * 8, start=30)]
    starts = [each.start for each in protocol.trials(tre, truth(40))]
    assert len(starts) == 2
    scored = scoring.score(results({"Walk": trials}, "tre"), {"Walk": truth(40)}, protocol=tre, **QUICK)
    assert scored.sequences["Walk"].frames == 50
    assert scored.measures["precision20"] == pytest.approx(32 / 50)
    assert scored.measures["success50"] == pytest.approx(32 / 50)


def test_a_part_of_the_starts_is_refused():
    trials = [trial([0] * 60)] * 11
    with pytest.raises(JtrackError, match="Mine has 11 trials of Walk, sre has 12: finish the run"):
        scoring.score(results({"Walk": trials}, "sre"), {"Walk": truth(60)}, **QUICK)
    scored = scoring.score(
        results({"Walk": [*trials, *trials, *trials[:2]]}, "sre"), {"Walk": truth(60)}, **QUICK
    )
    assert scored.sequences["Walk"].frames == 24 * 60  # two repetitions


def test_repetitions_of_one_pass_count_once_each():
    trials = [trial([0, 0, 0, 0]), trial([0, 500, 500, 500])]
    scored = scoring.score(results({"Walk": trials}), {"Walk": truth(4)}, **QUICK)
    assert scored.measures["precision20"] == pytest.approx((1 + 1 / 4) / 2)


def test_speed_is_frames_over_seconds():
    """The first frame, in which the tracker is made, does not count; a tracker without times has none."""
    found = results(
        {
            "Walk": trial([0] * 5, seconds=np.array([9, 0.1, 0.1, 0.1, 0.1])),
            "Run": trial([0] * 3, seconds=np.array([9, 0.4, np.nan])),
            "Jump": trial([0] * 3),
        }
    )
    frames = {"Walk": 5, "Run": 3, "Jump": 3}
    scored = scoring.score(found, {name: truth(n, name) for name, n in frames.items()}, **QUICK)
    assert scored.sequences["Walk"].fps == pytest.approx(10)
    assert scored.sequences["Run"].fps == pytest.approx(2.5)
    assert scored.sequences["Jump"].fps is None
    assert scored.fps == pytest.approx(5 / 0.8)


def test_got_pools_frames():
    """Overlaps 1 and 1/3 of boxes 0 and 10 px off; invisible frames and the first do not count."""
    visible = np.array([1, 1, 0, 1, 1], bool)
    known = {
        "Walk": truth(5, events={"visible": visible}, size=(200, 200)),
        "Run": truth(3, "Run", size=(200, 200)),
    }
    trials = {"Walk": [trial([0, 0, 90, 10, 10])], "Run": [trial([0, 10, 10]), trial([0, 0, 0])]}
    scored = scoring.score(results(trials, "got10k"), known, **QUICK)
    walk, run = scored.sequences["Walk"], scored.sequences["Run"]
    assert (walk.frames, run.frames) == (3, 4)
    assert walk.measures["ao"] == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert run.measures["ao"] == pytest.approx((1 / 3 + 1 / 3 + 1 + 1) / 4)
    assert scored.measures["ao"] == pytest.approx((3 * 1 + 4 / 3) / 7)
    assert scored.measures["sr50"] == scored.measures["sr75"] == pytest.approx(3 / 7)
    assert scored.curves["success"].shape == (101,)
    assert "mao" not in scored.measures  # of unknown classes


def test_got_averages_over_classes():
    """Two dogs of overlap 1 and 1/3, a cat of 1: (2/3 + 1) / 2."""
    known = {
        name: truth(3, name, size=(200, 200), category=category)
        for name, category in (("Rex", "dog"), ("Bello", "dog"), ("Tom", "cat"))
    }
    trials = {name: [trial([0, off, off])] for name, off in (("Rex", 0), ("Bello", 10), ("Tom", 0))}
    scored = scoring.score(results(trials, "got10k"), known, **QUICK)
    assert scored.measures["mao"] == pytest.approx((2 / 3 + 1) / 2)
    assert scored.measures["msr50"] == scored.measures["msr75"] == pytest.approx((1 / 2 + 1) / 2)
    assert scored.measures["ao"] == pytest.approx((1 + 1 / 3 + 1) / 3)


def supervised(codes, pixels):
    """A run of VOT: I(nitialised), T(racked), F(ailed) or - (skipped), and how far off each box is."""
    status = np.array(
        [dict(zip("ITF-", (INITIALISED, TRACKED, FAILED, SKIPPED), strict=True))[c] for c in codes]
    )
    boxes = np.where(np.isin(status, (INITIALISED, TRACKED))[:, None], shifted(pixels), np.nan)
    return Trajectory(boxes, status.astype(np.uint8))


def test_vot_by_hand():
    """Burn-in of 3: after the start at 0, frames 3 to 5 count; after that at 9, frames 12 and 13.

    Overlaps 1 but for 1/3 at frame 5: accuracy (1 + 1 + 1/3 + 1 + 1) / 5. The second sequence has 8 frames of
    1/3 and no failure.
    """
    rule = replace(protocol.load("baseline"), burn_in=3)
    first = supervised("ITTTTTF--ITTTT", [0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 10, 10, 0, 0])
    second = supervised("ITTTTTTTTTT", [0] + [10] * 10)
    known = {
        "Walk": truth(14, size=(100, 100), events={"occlusion": np.arange(14) >= 9}),
        "Run": truth(11, "Run", size=(100, 100)),
    }
    scored = scoring.score(results({"Walk": first, "Run": second}, "baseline"), known, protocol=rule, **QUICK)
    walk, run = (scored.sequences[name].measures for name in ("Walk", "Run"))
    assert walk["accuracy"] == pytest.approx((4 + 1 / 3) / 5)
    assert (walk["failures"], run["failures"]) == (1, 0)
    assert walk["robustness"] == pytest.approx(np.exp(-30 / 14))
    assert run["accuracy"] == pytest.approx(1 / 3)
    assert scored.measures["accuracy"] == pytest.approx((4 + 1 / 3 + 8 / 3) / 13)  # by frames that count
    assert scored.measures["failures"] == 0.5
    assert scored.measures["robustness"] == pytest.approx(np.exp(-30 * 1 / 25))
    low, high = scored.intervals["robustness"]
    assert 0 <= low <= scored.measures["robustness"] <= high <= 1
    # By frames: those of the attribute are 9 to 13, with a start at 9.
    assert scored.attributes == {"empty": ("Walk", "Run"), "occlusion": ("Walk",)}
    assert scored.by_attribute["occlusion"]["accuracy"] == 1
    assert scored.by_attribute["occlusion"]["failures"] == 0
    assert np.isnan(scored.measures["eao"])  # no stretch is as long as 108 frames
    curve = vot_measures.expected_overlap([(first, known["Walk"]), (second, known["Run"])])
    np.testing.assert_array_equal(scored.curves["expected_overlap"], curve)


def test_vot_of_the_first_frames():
    """One failure in the 14 frames that were run, not in the 100 there are."""
    run = supervised("ITTTTTF--ITTTT", [0] * 14)
    marks = {"occlusion": np.arange(100) >= 50}
    known = {"Walk": truth(100, size=(100, 100), events=marks)}
    found = results({"Walk": run}, "baseline", label={"limit_frames": 14})
    scored = scoring.score(found, known, **QUICK)
    assert scored.measures["robustness"] == pytest.approx(np.exp(-30 / 14))
    assert list(scored.attributes) == ["empty"]


def test_runs_that_were_not_restarted_are_not_of_a_supervised_experiment():
    """Both kinds begin with a start; the one goes on beside the target, the other holds a failure."""
    known = {"Walk": truth(9, size=(99, 99)), "Run": truth(9, "Run", size=(99, 99))}
    held, lost = supervised("I" + "T" * 8, [0] * 9), supervised("I" + "T" * 8, [0] * 4 + [50] * 5)
    unsupervised = {"Walk": held, "Run": lost}
    with pytest.raises(JtrackError, match=r"loses the target of Run at frame 4 and is not restarted"):
        scoring.score(results(unsupervised, "baseline"), known, **QUICK)
    assert scoring.score(results(unsupervised, "unsupervised"), known, **QUICK).measures["ao"] > 0.5
    restarted = {"Walk": held, "Run": supervised("ITTF----I", [0] * 9)}
    with pytest.raises(JtrackError, match=r"was restarted after failures on Run \(code 2\), which no run of"):
        scoring.score(results(restarted, "unsupervised"), known, **QUICK)
    assert scoring.score(results(restarted, "baseline"), known, **QUICK).measures["failures"] > 0


@pytest.mark.parametrize("marks", ["ITTTTTTTT", "ITTTTF---"])
def test_what_may_be_supervised_is_scored_as_it_lies(marks):
    """No failure, or four frames beside the target at most, which may be how a region was rounded."""
    offsets = [0, 0, 0, 0, 0, 50, 50, 50, 50]
    found = results({"Walk": supervised(marks, offsets)}, "baseline")
    assert scoring.score(found, {"Walk": truth(9, size=(99, 99))}, **QUICK).sequences["Walk"].frames == 9


def test_vot_polygons_are_not_their_boxes():
    """A diamond in its bounding box covers half of it."""
    diamond = np.array([[20.0, 10], [30, 20], [20, 30], [10, 20]])
    polygons = np.tile(diamond, (3, 1, 1))
    status = np.array([INITIALISED, TRACKED, TRACKED], np.uint8)
    found = results({"Walk": Trajectory(np.tile(BOX, (3, 1)), status, polygons=polygons)}, "unsupervised")
    boxes = results({"Walk": Trajectory(np.tile(BOX, (3, 1)), status)}, "unsupervised")
    known = {"Walk": Annotation("Walk", np.tile(BOX, (3, 1)), polygons, size=(100, 100))}
    assert scoring.score(found, known, **QUICK).measures["ao"] == 1
    assert scoring.score(boxes, known, **QUICK).measures["ao"] == pytest.approx(0.5, abs=0.1)


def test_unsupervised_weighs_by_frames():
    trials = {"Walk": supervised("ITT", [0, 10, 10]), "Run": supervised("IT" + "T" * 7, [0] * 9)}
    known = {"Walk": truth(3, size=(99, 99)), "Run": truth(9, "Run", size=(99, 99))}
    scored = scoring.score(results(trials, "unsupervised"), known, **QUICK)
    assert scored.sequences["Walk"].measures["ao"] == pytest.approx(1 / 3)
    assert scored.measures["ao"] == pytest.approx((3 * 1 / 3 + 9) / 12)


def many(count=30, of="ope"):
    rng = np.random.default_rng(0)
    lengths = {f"S{i}": int(n) for i, n in enumerate(rng.integers(5, 200, count))}
    trials = {name: trial(rng.uniform(0, 30, n)) for name, n in lengths.items()}
    return results(trials, of), {name: truth(n, name, size=(300, 300)) for name, n in lengths.items()}


def test_intervals_are_those_of_the_mean_over_sequences():
    found, known = many()
    scored = scoring.score(found, known, resamples=999)
    for key in ("auc", "precision20", "mean_error"):
        values = np.array([each.measures[key] for each in scored.sequences.values()])
        expected = bootstrap.mean_interval(values, resamples=999)
        np.testing.assert_allclose(scored.intervals[key], [expected.low, expected.high], rtol=1e-9)


def test_intervals_of_pooled_frames_are_those_of_a_ratio():
    """Against drawing sequences anew and pooling their frames each time."""
    found, known = many(60, "got10k")
    scored = scoring.score(found, known)
    values = np.array([each.measures["ao"] for each in scored.sequences.values()])
    frames = np.array([each.frames for each in scored.sequences.values()])
    drawn = np.random.default_rng(1).integers(0, 60, (20_000, 60))
    pooled = np.sum((values * frames)[drawn], axis=1) / np.sum(frames[drawn], axis=1)
    expected = np.quantile(pooled, [0.025, 0.975])
    width = expected[1] - expected[0]
    np.testing.assert_allclose(scored.intervals["ao"], expected, atol=0.1 * width)
    assert scored.measures["ao"] == pytest.approx(np.sum(values * frames) / frames.sum())


def test_of_one_sequence_there_is_no_interval():
    scored = scoring.score(results({"Walk": trial([0, 1])}), {"Walk": truth(2)}, **QUICK)
    assert np.isnan(scored.intervals["auc"]).all()


def test_a_sequence_without_target_has_no_mean_error():
    """The toolkit's quirk stands in success and precision; the means leave the sequence out."""
    nowhere = Annotation("Run", np.tile([-1.0, -1, 0, 0], (3, 1)))
    found = results({"Walk": trial([0, 6, 6]), "Run": trial([0] * 3)})
    scored = scoring.score(found, {"Walk": truth(3), "Run": nowhere}, **QUICK)
    assert np.isnan(scored.sequences["Run"].measures["mean_error"])
    assert scored.measures["mean_error"] == pytest.approx(4)
    assert scored.measures["precision20"] == 1 and scored.sequences["Run"].measures["success50"] == 0
    assert np.isfinite(scored.intervals["mean_error"]).all()


def test_only_what_is_annotated_as_absent_is():
    """A user's target that crosses the border counts; what the annotation marks does not."""
    boxes = np.tile([-5.0, 10, 20, 20], (4, 1))
    found = results({"Walk": layouts.tracked(boxes)})
    for events, success in (({}, 1), ({"absent": np.array([0, 0, 1, 1], bool)}, 0.5)):
        scored = scoring.score(found, {"Walk": Annotation("Walk", boxes, events=events)}, **QUICK)
        assert scored.measures["success50"] == success


def test_rows_of_nan_are_the_box_before():
    """As the toolkit repairs them, the same as if the box had been repeated."""
    gap, repeated = shifted([0, 5, 9, 9, 30]), shifted([0, 5, 5, 5, 30])
    gap[2:4] = np.nan
    one, other = (
        scoring.score(results({"Walk": layouts.tracked(boxes)}), {"Walk": truth(5)}, **QUICK)
        for boxes in (gap, repeated)
    )
    assert one.measures == other.measures


@pytest.mark.parametrize(
    ("name", "rows", "frames", "first_row", "first_frame"),
    [
        ("Tiger1", 349, 354, 0, 5),
        ("Tiger1", 354, 349, 5, 0),
        ("Tiger1", 349, 349, 0, 0),
        ("Board", 697, 698, 0, 0),
        ("Twinnings", 471, 472, 0, 0),
        ("ClifBar", 329, 472, 0, 0),
    ],
)
def test_known_lengths_of_published_results(name, rows, frames, first_row, first_frame):
    """Rows belong to their own frames: the target moves a step a frame, and the boxes follow it exactly."""
    path = shifted(np.arange(400 if name == "Tiger1" else 700) * 3.0)
    ours = path[first_frame : first_frame + rows] if first_frame >= first_row else path[:rows]
    theirs = path[:frames] if first_frame >= first_row else path[first_row : first_row + frames]
    scored = scoring.score(
        results({name: layouts.tracked(ours, np.ones(rows))}), {name: Annotation(name, theirs)}, **QUICK
    )
    assert scored.sequences[name].measures["mean_error"] == 0
    assert scored.sequences[name].frames == min(rows, frames)


@pytest.mark.parametrize(
    ("rows", "start", "message"),
    [
        (9, 0, r"Mine has 9 boxes of Walk, whose annotation has 10: .* cut short or of another version"),
        (11, 0, r"Mine has 11 boxes of Walk, whose annotation has 10: .* too long or of another version"),
        (9, 4, r"Mine has 9 boxes of Walk from frame 4 on, whose annotation has 6: .* too long"),
        (5, 12, r"Mine has 5 boxes of Walk from frame 12 on"),
        (0, 0, r"Mine has 0 boxes of Walk"),
    ],
)
def test_other_lengths_are_refused(rows, start, message):
    found = Trajectory(np.tile(BOX, (rows, 1)), np.zeros(rows, np.uint8), start)
    with pytest.raises(JtrackError, match=message) as caught:
        scoring.score(results({"Walk": found}), {"Walk": truth(10)}, **QUICK)
    assert "\n" not in str(caught.value)


def test_a_run_of_the_first_frames_is_scored_on_these():
    found = results({"Walk": trial([0] * 4), "Run": trial([0] * 3)}, label={"limit_frames": 4})
    known = {"Walk": truth(10), "Run": truth(3, "Run")}
    scored = scoring.score(found, known, **QUICK)
    assert [each.frames for each in scored.sequences.values()] == [4, 3]
    with pytest.raises(JtrackError, match="Mine has 3 boxes of Run, whose annotation has 9"):
        scoring.score(found, known | {"Run": truth(9, "Run")}, **QUICK)


def test_names_are_written_in_several_ways():
    """The first toolkit's files have small letters, others number targets with a dot."""
    found = results({"jogging.1": trial([0, 0]), "faceocc1": trial([0, 0]), "Human4_2": trial([0, 0])})
    known = {name: truth(2, name) for name in ("Jogging-1", "FaceOcc1", "Human4-2")}
    scored = scoring.score(found, known, **QUICK)
    assert list(scored.sequences) == list(known) == list(scored.results.trajectories)


def test_results_of_another_dataset_are_refused():
    found = results({"bag": trial([0, 0]), "ball1": trial([0, 0])})
    with pytest.raises(
        JtrackError, match=r"results of Mine are of bag, ball1, the annotations of Walk: .*differ"
    ):
        scoring.score(found, {"Walk": truth(2)}, **QUICK)


def test_a_run_that_failed_everywhere_says_so():
    found = results({}, failures={"Walk": "MemoryError: too large"})
    with pytest.raises(JtrackError, match=r"failed on 1 sequences \(Walk: MemoryError: too large\)"):
        scoring.score(found, {"Walk": truth(2)}, **QUICK)


def test_missing_sequences_are_named_with_the_reason():
    found = results({"Walk": trial([0, 0])}, failures={"Run": "MemoryError: too large"})
    known = {name: truth(2, name) for name in ("Walk", "Run", "Jump")}
    with pytest.raises(
        JtrackError,
        match=r"no results of 2 of the 3 sequences: Run, Jump \(Run: MemoryError: too large\)",
    ):
        scoring.score(found, known, **QUICK)
    assert list(scoring.shared(found, known)) == ["Walk"]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(JtrackError, match="unknown protocol 'opee': did you mean 'ope'"):
        scoring.score(results({"Walk": trial([0, 0])}, "opee"), {"Walk": truth(2)}, **QUICK)


def test_read_and_scored_from_text(tmp_path):
    """From a file's numbers, counted from 1, to the figure of `metrics.score` on boxes counted from 0."""
    rng = np.random.default_rng(3)
    boxes = shifted(rng.uniform(0, 25, 30))
    rows = (boxes + np.array([1, 1, 0, 0])).tolist()
    (tmp_path / "Mine_OPE.json").write_text(json.dumps({"Walk": {"type": "rect", "res": rows}}))
    (found,) = published.read(tmp_path / "Mine_OPE.json")
    scored = scoring.score(found, {"Walk": truth(30)}, **QUICK)
    expected = metrics.score(boxes, truth(30).boxes)
    assert scored.measures["auc"] == pytest.approx(expected.auc)
    np.testing.assert_allclose(scored.curves["precision"], expected.precision)


@pytest.mark.parametrize("name", ["ope", "sre", "tre", "baseline", "got10k"])
def test_own_runs_are_opened_and_scored(tmp_path, name):
    """A run as it is stored, opened by its folder and by the one above, beside published results."""
    rule, annotation = protocol.load(name), truth(60, size=(99, 99))
    store = open_store(tmp_path / "runs", {"tracker": "mine", "profile": "default"}, {"root": "here"})
    for each in protocol.trials(rule, annotation, repeats=1):
        boxes = annotation.boxes[each.start : each.end].copy()
        boxes[0] = each.box
        store.write(rule, each, layouts.tracked(boxes, np.full(len(boxes), 0.5), start=each.start))
    for path in (store.folder, tmp_path / "runs"):
        (found,) = open_results(path)
        assert (found.tracker, found.profile, found.protocol) == ("mine", "default", name)
        scored = scoring.score(found, {"Walk": annotation}, **QUICK)
        assert scored.fps == pytest.approx(2)
        (key,) = {"auc", "ao", "accuracy"} & scored.measures.keys()
        assert scored.measures[key] == pytest.approx(20 / 21 if key == "auc" else 1)


def test_a_run_of_a_newer_version_is_refused(tmp_path):
    store = open_store(tmp_path, {"tracker": "mine"}, {})
    path = store.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(JtrackError, match=r"was written by a newer jtrack \(layout 99"):
        open_results(tmp_path)


def test_published_results_are_opened_too(tmp_path):
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine" / "Walk.txt").write_text("1,2,3,4\n")
    for path in (tmp_path, tmp_path / "Mine"):
        assert [each.tracker for each in open_results(path)] == ["Mine"]
    with pytest.raises(JtrackError, match="there are no results"):
        open_results(tmp_path / "nothing")


def test_a_folder_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(JtrackError, match=r"cannot open folder .*: Permission denied"):
        open_results(tmp_path)


def test_a_sequence_is_scored_by_its_own_name_first():
    """Once the last of all that were written alike was scored: the lost `walk` for `Walk`."""
    found = results({"Walk": trial([0] * 4), "walk": trial([500] * 4), "Walk.1": trial([500] * 4)})
    scored = scoring.score(found, {"Walk": truth(4)}, **QUICK)
    assert scored.measures["precision20"] == 1
    assert list(scoring.shared(found, {"Walk": truth(4)})) == ["Walk"]
    both = scoring.score(found, {"walk": truth(4, "walk"), "Walk": truth(4)}, **QUICK)
    assert [both.sequences[name].measures["precision20"] for name in ("Walk", "walk")] == [1, 1 / 4]
    alike = {"Jogging-1": trial([0] * 4), "Jogging_1": trial([500] * 4), "jogging.2": trial([0] * 4)}
    wanted = {name: truth(4, name) for name in ("Jogging-1", "Jogging-2")}
    assert scoring.score(results(alike), wanted, **QUICK).measures["precision20"] == 1


@pytest.mark.parametrize(
    ("given", "annotated", "why"),
    [
        (["WALK", "walk"], ["Walk"], r"Mine's results of 'WALK' and 'walk', for 'Walk', only differ in how"),
        (["Jogging.1", "Jogging_1"], ["Jogging-1"], r"'Jogging\.1' and 'Jogging_1', for 'Jogging-1'"),
        (["Caf\u00e9", "Cafe\u0301"], ["Caf\u00e9"], r"'Caf\\xe9' and 'Cafe\\u0301'"),
        (["walk"], ["Walk", "WALK"], "the annotations 'Walk' and 'WALK' only differ in how"),
    ],
)
def test_names_that_only_differ_in_how_they_are_written_are_refused(given, annotated, why):
    found = results({name: trial([0] * 4) for name in given})
    for attempt in (scoring.shared, scoring.score):
        with pytest.raises(JtrackError, match=why):
            attempt(found, {name: truth(4, name) for name in annotated})


def test_names_are_compared_in_one_unicode_form():
    """A Mac writes the accent after the letter."""
    found = results({"Cafe\u0301": trial([0] * 4)})
    assert scoring.score(found, {"Caf\u00e9": truth(4)}, **QUICK).measures["precision20"] == 1
