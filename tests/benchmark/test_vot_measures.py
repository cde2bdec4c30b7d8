"""VOT's measures: by hand, against vot-toolkit on the same boxes, and against VOT2013's printed tables."""

import itertools
import math
import re
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from jtrack.benchmark import vot_measures
from jtrack.benchmark.overlap import pixel_overlap
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.data.sequence import Annotation
from jtrack.errors import JtrackError

LETTERS = {"I": INITIALISED, "T": TRACKED, "F": FAILED, ".": SKIPPED}


def statuses(text):
    return np.array([LETTERS[letter] for letter in text], np.uint8)


def spelt(status):
    return "".join(next(letter for letter, code in LETTERS.items() if code == value) for value in status)


def annotated(frames, size=(100, 100)):
    """A target of 10 x 10 pixels that stands still."""
    return Annotation("still", np.tile([20.0, 20, 10, 10], (frames, 1)), size=size)


def trial(text, shifts=0.0):
    """A run that is as many pixels off to the right as `shifts` says: an overlap of (10 - s) / (10 + s)."""
    status = statuses(text)
    boxes = np.tile([20.0, 20, 10, 10], (len(status), 1))
    boxes[:, 0] += shifts
    boxes[status != TRACKED] = np.nan
    boxes[status == INITIALISED] = [20, 20, 10, 10]
    return Trajectory(boxes, status)


def drifting(annotation, seed, jump=0.03):
    """Boxes of a tracker that wanders, and now and then jumps away."""
    rng = np.random.default_rng(seed)
    boxes = annotation.boxes.copy()
    boxes[:, :2] += np.cumsum(rng.normal(0, 0.7, (len(boxes), 2)), axis=0) / 3 + rng.normal(
        0, 1, (len(boxes), 2)
    )
    boxes[rng.uniform(size=len(boxes)) < jump, :2] += 300
    return boxes


def replayed(boxes, annotation, restart_after=5):
    """The supervised run of a tracker whose boxes are those, wherever it was started."""
    truth = vot_measures.ground_truth(annotation)
    status = vot_measures.supervise(
        len(boxes),
        lambda frame: None,
        lambda frame: vot_measures.failed(boxes[frame], truth[frame], annotation.size),
        restart_after=restart_after,
    )
    kept = np.where((status == TRACKED)[:, None], boxes, np.nan)
    return Trajectory(np.where((status == INITIALISED)[:, None], annotation.boxes, kept), status)


# --- which frame is what


@pytest.mark.parametrize(
    ("frames", "failing", "expected"),
    [
        (8, [], "ITTTTTTT"),
        (10, [3], "ITTF....IT"),  # fails at 3, starts at 3 + 5
        (10, [1], "IF....ITTT"),
        (9, [3], "ITTF....I"),  # the last frame may be a start
        (8, [3], "ITTF...."),  # there is no frame to start on
        (15, [1, 4, 6, 7], "IF....IF....ITT"),  # 4 is skipped and 6 a start: no failure there
        (1, [0], "I"),
    ],
)
def test_frames_of_a_supervised_run(frames, failing, expected):
    started, stepped = [], []

    def step(frame):
        stepped.append(frame)
        return frame in failing

    status = vot_measures.supervise(frames, started.append, step, restart_after=5)
    assert spelt(status) == expected
    assert started == [frame for frame, letter in enumerate(expected) if letter == "I"]
    assert stepped == [frame for frame, letter in enumerate(expected) if letter in "TF"]


def test_an_unsupervised_run_is_never_started_again():
    status = vot_measures.supervise(6, lambda frame: None, lambda frame: True, restart_after=None)
    assert spelt(status) == "ITTTTT"


def test_failure_is_having_no_pixel_in_common():
    target = np.array([20.0, 20, 10, 10])
    assert not vot_measures.failed([29.0, 20, 10, 10], target)
    assert vot_measures.failed([30.0, 20, 10, 10], target)
    assert vot_measures.failed([29.6, 20, 10, 10], target)  # rounded to 30
    assert vot_measures.failed([np.nan] * 4, target)
    assert not vot_measures.failed([300.0, 20, 10, 10], [np.nan] * 4)  # nothing to fail on
    # They meet outside the image only.
    assert vot_measures.failed([95.0, 20, 40, 10], [90.0, 0, 30, 40], (100, 92))
    assert not vot_measures.failed([95.0, 20, 40, 10], [90.0, 0, 30, 40])


# --- accuracy and robustness by hand


def test_ten_frames_burn_in_after_each_start():
    """Overlaps of 1 but 9 / 11 where they count: frames 10, 11 and, after a start at 18, 28 and 29."""
    run = trial(
        "I" + "T" * 12 + "F...." + "I" + "T" * 11, shifts=np.where(np.isin(np.arange(30), [12, 29]), 1, 0)
    )
    overlaps = vot_measures.frame_overlaps(run, annotated(30))
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), [10, 11, 12, 28, 29])
    measures = vot_measures.supervised([run], annotated(30))
    assert measures.accuracy == pytest.approx((3 + 2 * 9 / 11) / 5)
    assert (measures.failures, measures.frames, measures.counted) == (1, 30, 5)
    assert measures.robustness == pytest.approx(math.exp(-30 / 30))


def test_burning_in_ends_with_a_failure_or_not():
    """A start whose run fails within ten frames leaves nothing; the next start burns in for itself."""
    overlaps = vot_measures.frame_overlaps(trial("ITTTF....ITTTTTTTTTT"), annotated(20))
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), [19])
    overlaps = vot_measures.frame_overlaps(trial("ITTTF....ITTTTTTTTTT"), annotated(20), burn_in=1)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), [1, 2, 3, *range(10, 20)])


def test_accuracy_averages_each_frame_over_repetitions_first():
    """Frame 10 counts in two repetitions and frame 11 in one: (0.5 + 1) / 2, not (1/3 + ...)."""
    overlaps = np.array([[0.4, np.nan], [0.6, 1.0]])
    assert vot_measures.accuracy(overlaps) == pytest.approx(0.75)
    np.testing.assert_allclose(vot_measures.frame_means(overlaps), [0.5, 1])
    assert vot_measures.accuracy(np.full((2, 3), np.nan)) == 0


def test_sequences_are_pooled_by_frames_or_weighed_by_length():
    first = vot_measures.Supervised(0.8, 2.0, 0, 100.0, 50)
    second = vot_measures.Supervised(0.5, 0.0, 0, 300.0, 250)
    pooled = vot_measures.pooled([first, second])
    assert pooled.accuracy == pytest.approx((0.8 * 50 + 0.5 * 250) / 300)
    assert (pooled.failures, pooled.frames, pooled.counted) == (1, 200, 300)
    assert pooled.robustness == pytest.approx(math.exp(-30 / 200))
    weighted = vot_measures.weighted([first, second], sensitivity=100)
    assert weighted.accuracy == pytest.approx((0.8 * 100 + 0.5 * 300) / 400)
    assert weighted.failures == pytest.approx(0.5)
    assert weighted.robustness == pytest.approx(math.exp(-100 * 0.5 / 200))


def test_robustness_over_repetitions():
    runs = [trial("ITTF....IT"), trial("ITTTTTTTTT"), trial("IF....ITTF")]
    measures = vot_measures.supervised(runs, annotated(10), sensitivity=100)
    assert measures.failures == 1 and measures.robustness == pytest.approx(math.exp(-10))
    np.testing.assert_array_equal(vot_measures.failure_samples(runs[:2], repetitions=4), [1, 0, 0.5, 0.5])


def test_frames_of_an_attribute():
    """Only its frames are looked at: frame 2 starts outside them and burns in nothing; failures likewise."""
    run, marked = trial("ITTF....ITTT"), np.zeros(12, bool)
    marked[[1, 2, 3, 10, 11]] = True
    overlaps = vot_measures.frame_overlaps(run, annotated(12), burn_in=2, frames=marked)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), [1, 2, 10, 11])
    marked[8] = True  # now the start is one of them, and burns in 8 and 10
    overlaps = vot_measures.frame_overlaps(run, annotated(12), burn_in=2, frames=marked)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), [1, 2, 11])
    assert vot_measures.failures(run, marked) == 1 and vot_measures.failures(run, ~marked) == 0
    measures = vot_measures.supervised([run], annotated(12), burn_in=2, frames=marked)
    assert (measures.frames, measures.counted, measures.failures) == (6, 3, 1)


def test_frames_without_an_attribute_are_empty():
    marks = {"occlusion": np.array([1, 0, 0]), "size": np.array([1, 1, 0])}
    annotation = Annotation("s", np.ones((3, 4)), events=marks)
    np.testing.assert_array_equal(vot_measures.attributes(annotation)["empty"], [False, False, True])
    assert list(vot_measures.attributes(annotation)) == ["occlusion", "size", "empty"]
    np.testing.assert_array_equal(vot_measures.attributes(annotated(2))["empty"], [True, True])


def test_a_part_of_a_sequence():
    """A run that starts at frame 4 belongs to the frames from there."""
    run = Trajectory(trial("ITTT").boxes, statuses("ITTT"), start=4)
    overlaps = vot_measures.frame_overlaps(run, annotated(9), burn_in=1)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), [5, 6, 7])
    with pytest.raises(JtrackError, match="ends at frame 8 but its annotation at 7"):
        vot_measures.frame_overlaps(run, annotated(7))


def test_unknown_boxes_and_unknown_annotations():
    run, annotation = trial("ITTT"), annotated(4)
    run.boxes[1] = np.nan  # a box that is none: nothing is covered
    annotation.boxes[2] = np.nan  # a frame that says nothing
    np.testing.assert_array_equal(
        vot_measures.frame_overlaps(run, annotation, burn_in=1), [np.nan, 0, np.nan, 1]
    )
    assert vot_measures.average_overlap([run], annotation) == 0.5


def test_polygons_are_the_truth_where_the_file_has_them():
    boxes = np.array([[2.0, 2, 4, 4]])
    corners = np.array([[[2.0, 2], [6, 2], [6, 6], [2, 6]]])
    rotated = np.array([[[4.0, 1], [7, 4], [4, 7], [1, 4]]])
    assert vot_measures.ground_truth(Annotation("s", boxes)) is boxes
    assert vot_measures.ground_truth(Annotation("s", boxes, corners)) is boxes  # corners of a file of boxes
    assert vot_measures.ground_truth(Annotation("s", boxes, rotated)) is rotated


# --- expected overlap by hand


def test_expected_overlap_by_hand():
    """Stretches of overlap 1: three tracked frames and a failure, and two tracked frames to the end."""
    curve = vot_measures.expected_overlap([(trial("ITTTF....ITT"), annotated(12))])
    # length 2, 3: both 1. Length 4: the second has ended. There are no longer stretches.
    np.testing.assert_allclose(curve, [0, 1, 1, 1])
    curve = vot_measures.expected_overlap([(trial("ITF....ITT"), annotated(10))])
    # length 3: the failed stretch has overlaps 1, 0, the other 1, 1.
    np.testing.assert_allclose(curve, [0, 1, 0.75])
    assert vot_measures.eao(np.array([0, 0.9, 0.8, 0.7, 0.6]), (2, 3)) == pytest.approx(0.75)
    assert math.isnan(vot_measures.eao(curve))
    with pytest.raises(JtrackError, match="no run"):
        vot_measures.expected_overlap([])


# --- vot-toolkit on the same boxes


@pytest.fixture(scope="module")
def toolkit():
    """The package, where it is installed and can be imported."""
    for name in ("vot.experiment.multirun", "vot.analysis.supervised", "vot.analysis.accuracy"):
        pytest.importorskip(name, exc_type=Exception)
    import vot as package
    from vot.analysis import accuracy, supervised
    from vot.experiment.multirun import SupervisedExperiment
    from vot.region import Special
    from vot.region.shapes import Polygon, Rectangle
    from vot.tracker import OnlineTrackerRuntime, Trajectory

    return SimpleNamespace(
        package=package,
        accuracy=accuracy,
        supervised=supervised,
        Experiment=SupervisedExperiment,
        Special=Special,
        Polygon=Polygon,
        Rectangle=Rectangle,
        Runtime=OnlineTrackerRuntime,
        Trajectory=Trajectory,
    )


def scenes():
    """Annotations of boxes and of polygons, some leaving the image, with boxes of two repetitions each."""
    rng = np.random.default_rng(0)
    for number, frames in enumerate([60, 90, 140, 45]):
        x, y = np.cumsum(rng.normal(0, 1.5, (2, frames)), axis=1) + np.array([[30], [25]])
        boxes = np.stack([x, y, np.full(frames, 17.5), np.full(frames, 11.2)], axis=1)
        polygons = None
        if number % 2:
            skew = rng.uniform(-4, 4, (frames, 4, 2))
            polygons = np.stack([x, y, x + 17, y, x + 17, y + 11, x, y + 11], axis=1).reshape(-1, 4, 2) + skew
        annotation = Annotation(f"scene{number}", boxes, polygons, size=(48, 64))
        yield annotation, [drifting(annotation, 10 * number + repeat) for repeat in range(2)]


def toolkit_sequence(toolkit, annotation):
    truth = [
        toolkit.Rectangle(*row) if row.ndim == 1 else toolkit.Polygon(row.tolist())
        for row in vot_measures.ground_truth(annotation)
    ]

    class Sequence:
        name, size = annotation.name, (annotation.size[1], annotation.size[0])

        def __len__(self):
            return len(truth)

        def groundtruth(self, index=None):
            return truth if index is None else truth[index]

        def frame(self, index):
            return index

        def objects(self):
            return ["target"]

    return Sequence()


def toolkit_run(toolkit, boxes, sequence, monkeypatch):
    """The toolkit's own supervised loop over a tracker whose boxes are given: its trajectory."""
    written = []

    class Replay(toolkit.Runtime):
        def __init__(self):
            pass

        def initialize(self, frame, new=None, properties=None):
            return None, 0.0

        def update(self, frame, new=None, properties=None):
            return SimpleNamespace(region=toolkit.Rectangle(*boxes[frame]), properties={}), 0.0

        def stop(self):
            pass

        def restart(self):
            pass

    monkeypatch.setattr(toolkit.Trajectory, "exists", classmethod(lambda *args: False))
    monkeypatch.setattr(toolkit.Trajectory, "write", lambda self, *args: written.append(self))
    experiment = SimpleNamespace(
        results=lambda *args: None,
        _get_runtime=lambda *args: nullcontext(Replay()),
        _can_stop=lambda *args: False,
        _get_initialization=lambda *args: None,
        repetitions=1,
        skip_initialize=5,
        skip_tags=[],
        failure_overlap=0,
    )
    toolkit.Experiment.execute(experiment, None, sequence)
    return written[0]


def test_supervised_runs_are_those_of_the_toolkit(toolkit, monkeypatch):
    """Frame by frame the same statuses; then the same accuracy, failures, and expected overlap."""
    ours, theirs, ours_runs = [], [], []
    stretches, successes = [], []
    for annotation, repetitions in scenes():
        sequence = toolkit_sequence(toolkit, annotation)
        runs = [replayed(boxes, annotation) for boxes in repetitions]
        official = [toolkit_run(toolkit, boxes, sequence, monkeypatch).regions() for boxes in repetitions]
        accuracies, hyper = [], []
        for run, regions in zip(runs, official, strict=True):
            codes = {0: ".", 1: "I", 2: "F"}
            letters = [codes[item.code] if isinstance(item, toolkit.Special) else "T" for item in regions]
            assert spelt(run.status) == "".join(letters)
            accuracy, counted = toolkit.supervised.compute_accuracy(regions, sequence)
            mine = vot_measures.supervised([run], annotation)
            assert mine.accuracy == pytest.approx(accuracy, abs=1e-12) and mine.counted == counted
            assert mine.failures == toolkit.supervised.count_failures(regions)[0]
            gathered, frames = toolkit.accuracy.gather_overlaps(
                regions, sequence.groundtruth(), burnin=10, bounds=sequence.size
            )
            overlaps = vot_measures.frame_overlaps(run, annotation)
            np.testing.assert_array_equal(np.flatnonzero(np.isfinite(overlaps)), frames)
            np.testing.assert_array_equal(overlaps[frames], gathered)
            accuracies.append(accuracy)
            hyper.append(mine.failures)

            fails, starts = toolkit.supervised.locate_failures_inits(regions)
            overlaps = toolkit.supervised.calculate_overlaps(regions, sequence.groundtruth(), sequence.size)
            for start, fail in itertools.zip_longest(starts, fails):
                stretches.append(overlaps[start:fail])
                successes.append(fail is None)
        # The toolkit's accuracy of a sequence is the mean of its repetitions'; one at a time they are equal.
        measures = vot_measures.supervised(runs, annotation)._replace(accuracy=float(np.mean(accuracies)))
        assert measures.failures == np.mean(hyper)
        ours.append(measures)
        length = len(sequence)
        theirs.append((np.mean(accuracies), np.mean(hyper), None, length))
        ours_runs += [(run, annotation) for run in runs]
    assert sum(item.failures for item in ours) >= 5

    analysis = SimpleNamespace(analysis=SimpleNamespace(sensitivity=30))
    aggregate = toolkit.supervised.AverageAccuracyRobustness.aggregate(analysis, None, None, theirs)
    weighted = vot_measures.weighted(ours)
    assert weighted.accuracy == pytest.approx(aggregate[0], abs=1e-12)
    assert weighted.failures == pytest.approx(aggregate[1], abs=1e-12)
    assert weighted.robustness == pytest.approx(aggregate[2][0], abs=1e-12)
    assert weighted.frames == aggregate[3]

    curve = toolkit.supervised.compute_eao_curve(stretches, [1] * len(stretches), successes)
    ours_curve = vot_measures.expected_overlap(ours_runs)
    np.testing.assert_allclose(ours_curve[1:], curve[1:], atol=1e-5)  # theirs is in single precision
    assert vot_measures.eao(ours_curve, (10, 40)) == pytest.approx(float(np.mean(curve[10:41])), abs=1e-5)


def test_overlaps_of_a_run_are_those_of_its_boxes():
    """Without the package: statuses leave the overlaps alone."""
    for annotation, repetitions in scenes():
        run = replayed(repetitions[0], annotation)
        overlaps = vot_measures.frame_overlaps(run, annotation, burn_in=1)
        plain = pixel_overlap(repetitions[0], vot_measures.ground_truth(annotation), annotation.size)
        counted = run.status == TRACKED
        np.testing.assert_array_equal(overlaps[counted], plain[counted])
        assert (plain[run.status == FAILED] == 0).all() and (plain[counted] > 0).all()


# --- ranks


def test_ranks_are_averaged_over_equals():
    """A and B are not told apart, nor B and C, but A and C are: B gets the mean of all three."""
    differ = np.zeros((4, 4), bool)
    differ[0, 2] = differ[2, 0] = True
    differ[3, :3] = differ[:3, 3] = True
    np.testing.assert_array_equal(vot_measures.adapted_ranks([0.1, 0.2, 0.3, 0.9], differ), [1.5, 2, 2.5, 4])
    np.testing.assert_array_equal(vot_measures.adapted_ranks([3.0, 1, 2], ~np.eye(3, dtype=bool)), [3, 1, 2])
    np.testing.assert_array_equal(vot_measures.adapted_ranks([0.0, 0, 0], np.zeros((3, 3))), [2, 2, 2])


def test_accuracy_ranks():
    """Of three trackers one is clearly best; the others differ by chance. A fourth was not run."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.6, 200)
    group = np.stack([base, base + 0.2, base + rng.normal(0, 0.1, 200), np.full(200, np.nan)])
    group[1, :20] = np.nan
    ranking = vot_measures.rank_accuracy([group, group[[1, 0, 2, 3]]])
    np.testing.assert_array_equal(ranking.ranks[:, :3], [[2.5, 1, 2.5], [1, 2.5, 2.5]])
    np.testing.assert_array_equal(ranking.average[:3], [1.75, 1.75, 2.5])
    assert np.isnan(ranking.ranks[:, 3]).all() and np.isnan(ranking.values[0, 3])
    np.testing.assert_allclose(ranking.values[0, 1], np.nanmean(group[1]))


def test_robustness_ranks():
    """Two never fail; two fail as often as each other, in other runs."""
    often = np.random.default_rng(1).poisson(3, 45)
    group = np.stack([often, np.zeros(45), often[::-1], np.zeros(45)]).astype(float)
    ranking = vot_measures.rank_robustness([group])
    np.testing.assert_array_equal(ranking.ranks, [[3.5, 1.5, 3.5, 1.5]])
    np.testing.assert_allclose(ranking.values[0], group.mean(axis=1))


def test_signed_ranks_of_few_and_of_many_frames():
    """Against trying all signs (ties and zeros included), and against the normal approximation by hand."""
    rng = np.random.default_rng(2)
    verdicts = []
    for _ in range(30):
        difference = rng.integers(-3, 7, 8).astype(float)
        nonzero = difference[difference != 0]
        ranks = stats.rankdata(np.abs(nonzero))
        signs = np.array(list(itertools.product([0, 1], repeat=len(nonzero))))
        sums, seen = signs @ ranks, np.sum(ranks[nonzero > 0])
        p = min(1, 2 * min(np.mean(sums <= seen), np.mean(sums >= seen)))
        group = np.stack([difference, np.zeros(8)])
        verdict = vot_measures.rank_accuracy([group]).ranks[0, 0] != 1.5
        assert verdict == (p <= 0.05)
        verdicts.append(verdict)
    assert 3 < sum(verdicts) < 27
    # Fewer than five frames never tell apart.
    np.testing.assert_array_equal(
        vot_measures.rank_accuracy([np.array([[1.0] * 4, [0.0] * 4])]).ranks, [[1.5, 1.5]]
    )

    for shift in (0.02, 0.1):
        difference = np.round(rng.normal(shift, 0.3, 60), 1)
        nonzero = difference[difference != 0]
        ranks, n = stats.rankdata(np.abs(nonzero)), len(nonzero)
        ties = np.unique(np.abs(nonzero), return_counts=True)[1]
        variance = n * (n + 1) * (2 * n + 1) / 24 - np.sum(ties**3 - ties) / 48
        z = (np.sum(ranks[nonzero > 0]) - n * (n + 1) / 4) / math.sqrt(variance)
        group = np.stack([difference, np.zeros(60)])
        assert (vot_measures.rank_accuracy([group]).ranks[0, 0] != 1.5) == (abs(z) >= 1.959964)


def test_rank_sums_of_few_runs():
    """Against enumerating all ways to share the failures out, ties included."""
    rng = np.random.default_rng(3)
    verdicts = []
    for _ in range(20):
        first, second = rng.poisson(1, 5), rng.poisson(4, 5)
        ranks = stats.rankdata(np.concatenate([first, second]))
        sums = np.array([np.sum(ranks[list(chosen)]) for chosen in itertools.combinations(range(10), 5)])
        seen = np.sum(ranks[:5])
        p = min(1, 2 * min(np.mean(sums <= seen + 1e-9), np.mean(sums >= seen - 1e-9)))
        verdict = vot_measures.rank_robustness([np.stack([first, second]).astype(float)]).ranks[0, 0] != 1.5
        assert verdict == (p <= 0.05)
        verdicts.append(verdict)
    assert 2 < sum(verdicts) < 18


# --- the official tables of VOT2013

EXPERIMENTS = ("baseline", "region_noise", "grayscale")


def tables(text):
    """The tables of a page, in order: {tracker: {row: cell}}; rows without a name are called `rank`."""
    found = []
    for table in re.findall(r"<table>(.*?)</table>", text, re.DOTALL):
        rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
        rows = [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in rows]
        names = rows[0][1:] if rows[0][0] == "&nbsp;" else rows[0]
        columns = {name: {} for name in names}
        for row in rows[1:]:
            label, cells = (row[0], row[1:]) if len(row) > len(names) else ("rank", row)
            for name, cell in zip(names, cells, strict=True):
                columns[name][label] = cell
        found.append(columns)
    return found


def printed(value):
    """MATLAB's %1.3g."""
    return f"{value:.3g}"


@pytest.fixture(scope="module")
def official(data_folder):
    """Of each experiment its tables of ranks by accuracy and by robustness, and its column of final ranks."""
    folder = data_folder / "otb_benchmark" / "published" / "vot2013" / "results"
    final = tables((folder / "ranking.md").read_text())
    pages = {name: tables((folder / f"ranking-{name}.md").read_text()) for name in EXPERIMENTS}
    ranks = {name: (page[1], page[3]) for name, page in pages.items()}
    return ranks, dict(zip([*EXPERIMENTS, "averaged"], final, strict=True))


LABELS = ("camera_motion", "illum_change", "occlusion", "size", "motion", "empty")


def column(table, trackers):
    """Ranks [labels, trackers] of a table as printed, and their printed averages [trackers]."""
    ranks = np.array([[float(table[name][label]) for name in trackers] for label in LABELS])
    return ranks, [table[name]["Average"] for name in trackers]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("kind", [0, 1])
def test_average_ranks_of_vot2013(official, experiment, kind):
    """The printed average of every tracker is that of its printed ranks, to what rounding leaves open."""
    table = official[0][experiment][kind]
    trackers = list(table)
    assert len(trackers) >= 24
    ranks, averages = column(table, trackers)
    recomputed = vot_measures.average_ranks(ranks)
    # Ranks of 10 and more are printed to 0.1, and so are their averages.
    np.testing.assert_allclose(recomputed, np.array(averages, float), atol=0.06)
    exact = sum(printed(value) == average for value, average in zip(recomputed, averages, strict=True))
    assert exact >= 0.7 * len(trackers)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_combined_ranks_of_vot2013(official, experiment):
    """Half by accuracy, half by robustness: the order and the figures of the page of all experiments."""
    ranks, final = official
    trackers = [name for name, cells in final[experiment].items() if cells["rank"] != "NaN"]
    averages = [vot_measures.average_ranks(column(table, trackers)[0]) for table in ranks[experiment]]
    combined = vot_measures.combined_ranks(*averages)
    expected = [float(final[experiment][name]["rank"]) for name in trackers]
    np.testing.assert_allclose(combined, expected, atol=0.06)
    assert set(trackers) == set(ranks[experiment][0])


def test_final_ranks_of_vot2013(official):
    """The mean over the three experiments; a tracker that lacks one is the 27th in it."""
    final = official[1]
    trackers = list(final["averaged"])
    assert len(trackers) == 27
    experiments = [[float(final[name][tracker]["rank"]) for tracker in trackers] for name in EXPERIMENTS]
    assert np.isnan(experiments).sum() == 4  # ASAM twice, MORP and SwATrack once
    overall = vot_measures.overall_ranks(experiments)
    expected = [float(final["averaged"][tracker]["rank"]) for tracker in trackers]
    np.testing.assert_allclose(overall, expected, atol=0.07)
    assert printed(overall[trackers.index("PLT")]) == "4.48"
    assert printed(overall[trackers.index("ASAM")]) == "22.4"


def test_ranks_of_equals_in_vot2013(official):
    """Seventeen trackers never fail in unlabelled frames; DFT does once in 75 runs, which tells nothing.

    So the seventeen are 9.5th, the mean of 1 to 18, as printed.
    """
    table = official[0]["baseline"][1]
    assert sum(cells["empty"] == "9.5" for cells in table.values()) == 17
    failures = np.zeros((27, 75))
    failures[17, 0] = 1
    failures[18:] = np.random.default_rng(0).poisson(1, (9, 75))
    np.testing.assert_array_equal(vot_measures.rank_robustness([failures]).ranks[0, :18], 9.5)
