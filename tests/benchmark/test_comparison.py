"""Trackers compared: paired differences against the plain ones, VOT2013's ranks by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from jtrack.benchmark import comparison, layouts, protocol, scoring
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory
from jtrack.data import Annotation

BOX = np.array([20.0, 20, 20, 20])
LENGTH = 40


def truths(count, **more):
    return {f"S{n}": Annotation(f"S{n}", moved(0), size=(99, 99), **more) for n in range(count)}


def moved(pixels):
    """The box in every frame, so many pixels to the right."""
    return np.tile(np.add(BOX, [pixels, 0, 0, 0]), (LENGTH, 1))


def one_pass(name, shifts):
    """A tracker whose boxes are so many pixels off, the same in all frames of a sequence."""
    trials = {f"S{n}": [layouts.tracked(moved(shift))] for n, shift in enumerate(shifts)}
    return Results(name, "ope", trials)


def restarted(name, shift, failure, count, repetitions=6):
    """A tracker that is so many pixels off, and fails at a frame of each run if one is given."""
    status = np.full(LENGTH, TRACKED, np.uint8)
    status[0] = INITIALISED
    if failure is not None:
        status[failure : failure + 6] = [FAILED, *[SKIPPED] * 4, INITIALISED]
    boxes = moved(shift)
    boxes[np.isin(status, (FAILED, SKIPPED))] = np.nan
    return Results(
        name, "baseline", {f"S{n}": [Trajectory(boxes, status)] * repetitions for n in range(count)}
    )


def test_how_far_behind_the_best():
    """Of forty sequences; the interval against SciPy's for the mean of the differences."""
    rng = np.random.default_rng(0)
    shifts = rng.uniform(0, 12, 40)
    known = truths(40)
    scored = [
        scoring.score(each, known, resamples=199)
        for each in (one_pass("worse", shifts + rng.uniform(0, 4, 40)), one_pass("best", shifts))
    ]
    worse, best = comparison.compare(scored, known)
    areas = np.array([[each.sequences[n].measures["auc"] for n in known] for each in scored])
    difference = areas[0] - areas[1]
    assert worse.measures["behind"] == pytest.approx(difference.mean())
    expected = stats.bootstrap((difference,), np.mean, n_resamples=9999, rng=0).confidence_interval
    np.testing.assert_allclose(worse.intervals["behind"], expected, atol=0.1 * (expected.high - expected.low))
    assert worse.intervals["behind"][1] < 0  # told apart, though the intervals of their AUC overlap:
    assert worse.intervals["auc"][1] > best.intervals["auc"][0]
    assert best.measures["behind"] == 0 and np.isnan(best.intervals["behind"]).all()
    assert {**worse.measures, "behind": None} == {**scored[0].measures, "behind": None}


def test_one_alone_is_not_compared():
    known = truths(3)
    alone = [scoring.score(one_pass("one", [0, 1, 2]), known, resamples=199)]
    assert comparison.compare(alone, known) == alone


def test_vot_ranks_by_hand():
    """Two that cover all share first place by accuracy; two that never fail share it by robustness."""
    known = truths(3)
    runs = [
        restarted("exact", 0, None, 3),
        restarted("off", 10, None, 3),
        restarted("failing", 0, 12, 3),
    ]
    scored = [scoring.score(run, known, resamples=199) for run in runs]
    ranks = {
        each.results.tracker: [each.measures[key] for key in ("accuracy_rank", "robustness_rank", "rank")]
        for each in comparison.compare(scored, known)
    }
    assert ranks == {"exact": [1.5, 1.5, 1.5], "off": [3, 1.5, 2.25], "failing": [1.5, 3, 2.25]}


def test_vot_ranks_are_over_attributes_of_frames_where_there_are_any():
    """The one is exact under occlusion and half off elsewhere, the other the reverse: they share ranks."""
    marks = np.arange(LENGTH) >= 15
    known = truths(2, events={"occlusion": marks})
    boxes = np.tile(BOX, (LENGTH, 1))
    status = np.array([INITIALISED, *[TRACKED] * (LENGTH - 1)], np.uint8)

    def run(name, off):
        off_boxes = boxes + np.outer(10 * off, [1, 0, 0, 0])
        trials = {sequence: [Trajectory(off_boxes, status)] for sequence in known}
        return scoring.score(Results(name, "baseline", trials), known, resamples=199)

    first, second = comparison.compare([run("first", ~marks), run("second", marks)], known)
    assert first.measures["accuracy_rank"] == second.measures["accuracy_rank"] == 1.5
    whole = {name: replace(each, events={}) for name, each in known.items()}
    # Frames 10 to 14 count beside 15 to 29: over sequences the first is exact on more of them.
    first, second = comparison.ranked(
        [run("first", ~marks), run("second", marks)], whole, burn_in=protocol.load("baseline").burn_in
    )
    assert (first.measures["accuracy_rank"], second.measures["accuracy_rank"]) == (1, 2)


def test_whether_the_target_is_there_is_no_attribute():
    """OTB's absent frames do not turn a ranking over sequences into one over attributes."""
    known = truths(3)
    gone = {name: replace(each, events={"absent": np.arange(LENGTH) > 35}) for name, each in known.items()}
    runs = [restarted("exact", 0, None, 3), restarted("off", 10, None, 3)]
    scored = [scoring.score(run, gone, resamples=199) for run in runs]
    assert not scored[0].attributes
    ranks = [each.measures["accuracy_rank"] for each in comparison.compare(scored, gone)]
    assert ranks == [1, 2]


def listed(*counts, limits=None):
    """Results of the first so many of ten sequences of 20 frames, and the annotations of each."""
    truths = [{f"s{n}": Annotation(f"s{n}", np.tile(BOX, (20, 1))) for n in range(count)} for count in counts]
    limits = limits or [None] * len(counts)
    return [Results("a", "ope", {}, label={"limit_frames": limit}) for limit in limits], truths


@pytest.mark.parametrize(
    ("counts", "limits", "sequences", "unranked"),
    [
        ((10,), None, 10, [""]),
        ((10, 10, 1), None, 10, ["", "", "1 of 10 sequences"]),
        ((1, 10, 10), None, 10, ["1 of 10 sequences", "", ""]),
        ((10, 9), None, 9, ["", ""]),  # it failed on one
        ((10, 5), None, 5, ["", ""]),  # as much as alone: rather a comparison
        ((10, 4), None, 10, ["", "4 of 10 sequences"]),
        ((10, 10, 9, 2, 2), None, 9, ["", "", "", "2 of 9 sequences", "2 of 9 sequences"]),
        ((5, 5), (None, 7), 5, ["", "first 7 frames"]),
        ((5, 5, 5), (7, 7, 9), 5, ["", "", "first 9 frames"]),
        ((5, 5), (7, 9), 5, ["first 7 frames", ""]),
        ((5, 5), (None, 20), 5, ["", ""]),  # which cuts nothing
        ((5, 5), (20, 25), 5, ["", ""]),
        ((3, 10), (None, 7), 3, ["", "first 7 frames"]),
    ],
)
def test_what_can_be_compared(counts, limits, sequences, unranked):
    found = comparison.comparable(*listed(*counts, limits=limits))
    assert (len(found.truth), found.unranked) == (sequences, unranked)


def test_results_without_a_sequence_in_common_are_not_compared():
    found, truths = listed(3, 2)
    found = comparison.comparable(found, [truths[0], {"other": truths[1]["s0"]}])
    assert list(found.truth) == ["s0", "s1", "s2"] and found.unranked == ["", "0 of 3 sequences"]
