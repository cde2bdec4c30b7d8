"""Running by protocols: what is run, what is kept, what is never run twice."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import av
import cv2
import jax
import numpy as np
import pytest

from jtrack import trackers
from jtrack.benchmark import adapters, protocol, results, scoring
from jtrack.benchmark.adapters import EvaluatedTracker, Prediction
from jtrack.benchmark.evaluate import evaluate
from jtrack.benchmark.one_trial import run_trial
from jtrack.benchmark.protocol import noisy, trials
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED
from jtrack.data import Dataset, Sequence, from_arrays, open_dataset
from jtrack.errors import JtrackError
from jtrack.run.shared_frames import SharedFrames
from tests.conftest import ROOT
from tests.run import fake

OPE, TRE, SRE, BASELINE = map(protocol.load, ("ope", "tre", "sre", "baseline"))


def sequence(name="walk", frames=30, size=(60, 80), **more):
    """A target that moves by two pixels a frame; every frame shows its number."""
    boxes = np.array([[5.0 + 2 * t, 10, 12, 14] for t in range(frames)])
    images = np.zeros((frames, *size, 3), np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None, None]
    return Sequence(name, boxes, size=size, frames=from_arrays(images, name=name), **more)


def dataset(*sequences, kind="folder", root=ROOT):
    by_name = {each.name: each for each in sequences}

    def get(name):
        if isinstance(by_name[name], Exception):
            raise by_name[name]
        return by_name[name]

    return Dataset(kind, root, None, tuple(by_name), get, get)


class Script:
    """A tracker that follows the truth, but is 1000 px off in some frames; notes what it is asked."""

    def __init__(self, truth, wrong=(), seed=0):
        self.truth, self.wrong, self.calls, self.seed = truth, set(wrong), [], seed

    def prepare(self, image, box):
        self.calls.append(("prepare", int(image[0, 0, 0])))

    def init(self, image, box):
        self.calls.append(("init", int(image[0, 0, 0]), *np.asarray(box).tolist()))

    def update(self, image):
        frame = int(image[0, 0, 0])
        self.calls.append(("update", frame))
        box = self.truth[frame] + (1000 if frame in self.wrong else 0)
        return Prediction(box, score=frame / 100, lost=frame in self.wrong)


def scripted(sequence, wrong=(), name="script", deterministic=True):
    sessions = []

    def start(seed):
        sessions.append(Script(sequence.boxes, wrong, seed))
        return sessions[-1]

    return EvaluatedTracker({"tracker": name, "wrong": sorted(wrong)}, {}, deterministic, start), sessions


def test_one_pass(tmp_path):
    walk = sequence()
    tracker, (sessions) = scripted(walk)
    done = evaluate(tracker, dataset(walk), OPE, tmp_path)
    assert (done.made, done.kept, done.failures) == (1, 0, {})
    (loaded,) = results.load(tmp_path)
    (found,) = loaded.trajectories["walk"]
    np.testing.assert_array_equal(found.boxes, walk.boxes)
    assert found.status.tolist() == [INITIALISED] + [TRACKED] * 29
    np.testing.assert_array_equal(found.scores, [1, *(np.arange(1, 30) / 100)])
    assert not found.lost.any() and (found.seconds > 0).all() and found.learnt is None
    (session,) = sessions
    assert session.calls[:3] == [("prepare", 0), ("init", 0, 5, 10, 12, 14), ("update", 1)]
    assert [call[1] for call in session.calls[2:]] == list(range(1, 30))


def test_what_is_kept_is_not_run_again(tmp_path):
    one, two = sequence("one"), sequence("two")
    tracker, sessions = scripted(one)
    evaluate(tracker, dataset(one), OPE, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("one.*")}
    done = evaluate(tracker, dataset(one, two), OPE, tmp_path)
    assert (done.made, done.kept) == (1, 1) and len(sessions) == 2
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("one.*")}
    done = evaluate(tracker, dataset(one, two), OPE, tmp_path, repeats=2)
    assert (done.made, done.kept) == (2, 2)
    assert [session.seed for session in sessions] == [0, 0, 1, 1]


def test_failures_restart_the_tracker_by_hand():
    """It fails in frames 4 and 12: skipped are the next four of each, and 17 starts anew."""
    walk = sequence(frames=20)
    tracker, sessions = scripted(walk, wrong=[4, 6, 12])
    (trial,) = trials(BASELINE, walk, repeats=1)
    found = run_trial(tracker, walk, BASELINE, trial)
    i, t, f, s = INITIALISED, TRACKED, FAILED, SKIPPED
    assert found.status.tolist() == [i, t, t, t, f, s, s, s, s, i, t, t, f, s, s, s, s, i, t, t]
    given = np.isin(found.status, [i, t])
    np.testing.assert_array_equal(found.boxes[given], walk.boxes[given])
    assert np.isnan(found.boxes[~given]).all()
    assert np.isnan(found.seconds[found.status == SKIPPED]).all()
    assert (found.seconds[found.status != SKIPPED] > 0).all()
    starts = [call for call in sessions[0].calls if call[0] == "init"]
    assert starts == [("init", frame, 5 + 2 * frame, 10, 12, 14) for frame in (0, 9, 17)]


def test_a_failure_at_the_end_has_no_restart():
    walk = sequence(frames=10)
    tracker, _ = scripted(walk, wrong=[7])
    (trial,) = trials(BASELINE, walk, repeats=1)
    status = run_trial(tracker, walk, BASELINE, trial).status
    assert status.tolist() == [INITIALISED, *[TRACKED] * 6, FAILED, SKIPPED, SKIPPED]


def test_a_polygon_that_the_box_misses_is_a_failure():
    """The box covers a corner of the polygon's bounding box, where the polygon is not."""
    triangle = np.array([[10.0, 10], [50, 10], [10, 50]])
    walk = dataclasses.replace(
        sequence(frames=6),
        polygons=np.tile(triangle, (6, 1, 1)),
        boxes=np.tile([10.0, 10, 40, 40], (6, 1)),
    )
    tracker, _ = scripted(walk)
    corner = np.tile([40.0, 40, 10, 10], (6, 1))
    tracker = tracker._replace(start=lambda seed: Script(corner))
    (trial,) = trials(BASELINE, walk, repeats=1)
    assert run_trial(tracker, walk, BASELINE, trial).status.tolist()[:2] == [INITIALISED, FAILED]


def test_restarts_of_region_noise_are_perturbed_anew():
    walk, noise = sequence(frames=20), protocol.load("region_noise")
    tracker, sessions = scripted(walk, wrong=[4])
    trial = trials(noise, walk, repeats=2)[1]
    found = run_trial(tracker, walk, noise, trial)
    first, second = (np.array(call[2:]) for call in sessions[0].calls if call[0] == "init")
    np.testing.assert_array_equal(first, trial.box)
    np.testing.assert_array_equal(second, noisy(noise, trial, 9, walk.boxes[9]))
    np.testing.assert_array_equal(found.boxes[9], second)
    assert np.abs(second - walk.boxes[9]).max() > 0.01


def test_grey_frames_have_three_equal_channels():
    image = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    walk = dataclasses.replace(sequence(frames=2), frames=from_arrays(image))
    seen = []
    tracker, _ = scripted(walk)
    session = Script(walk.boxes)
    session.update = lambda frame: seen.append(frame) or Prediction(walk.boxes[1])
    tracker = tracker._replace(start=lambda seed: session)
    grey = protocol.load("grayscale")
    run_trial(tracker, walk, grey, trials(grey, walk, repeats=1)[0])
    expected = image[1] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(seen[0] - expected[:, :, None]).max() <= 0.51


def test_segments_run_to_the_end_of_the_sequence(tmp_path):
    walk = sequence(frames=60)
    tracker, sessions = scripted(walk)
    evaluate(tracker, dataset(walk), TRE, tmp_path)
    (loaded,) = results.load(tmp_path)
    found = loaded.trajectories["walk"]
    assert len(found) == 20 and found[0].start == 0 and found[-1].start == 40
    for trajectory, session in zip(found, sessions, strict=True):
        np.testing.assert_array_equal(trajectory.boxes, walk.boxes[trajectory.start :])
        assert session.calls[1][1] == trajectory.start


def test_otbs_omitted_parts_are_no_starts(tmp_path):
    """The benchmark leaves out images 8 to 27 of Basketball."""
    frames = {kind: [] for kind in ("otb", "folder")}
    for kind, starts in frames.items():
        walk = sequence("Basketball", frames=60)
        evaluate(scripted(walk)[0], dataset(walk, kind=kind), TRE, tmp_path / kind)
        (loaded,) = results.load(tmp_path / kind)
        starts += [found.start for found in loaded.trajectories["Basketball"]]
    assert not set(frames["otb"]) & set(range(7, 27))
    assert set(frames["folder"]) & set(range(7, 27))


def test_a_start_in_the_middle_reads_no_frame_before_it():
    walk, read = sequence(frames=60), []
    images = list(walk.frames)
    source = dataclasses.replace(walk.frames, pick=lambda index: read.append(index) or images[index])
    walk = dataclasses.replace(walk, frames=source)
    tracker, _ = scripted(walk)
    run_trial(tracker, walk, TRE, trials(TRE, walk)[-1])
    assert read == list(range(40, 60))


def test_repetitions_are_for_what_is_random(tmp_path):
    walk = sequence(frames=3)
    for random, name, expected in [
        (True, "baseline", 15),
        (False, "baseline", 1),
        (False, "region_noise", 15),
    ]:
        tracker, _ = scripted(walk, deterministic=not random, name=f"t{random}{name}")
        assert evaluate(tracker, dataset(walk), protocol.load(name), tmp_path).made == expected
    tracker, sessions = scripted(walk, deterministic=False)
    evaluate(tracker, dataset(walk), protocol.load("got10k"), tmp_path, seed=7)
    assert [session.seed for session in sessions] == [7, 8, 9]


def test_a_failing_sequence_is_kept_and_the_others_go_on(tmp_path):
    good, short = sequence("good"), sequence("short")
    short = dataclasses.replace(short, frames=from_arrays(list(short.frames)[:12]))
    broken = sequence("broken")
    tracker, _ = scripted(good)
    steps = {"fail": True}
    start = tracker.start

    def stumbling(seed):
        session = start(seed)
        real = session.update
        session.update = lambda image: real(image) if not steps["fail"] else 1 / 0
        return session

    missing = JtrackError("sequence missing has no images")
    missing.name = "missing"
    data = dataset(broken)
    done = evaluate(tracker._replace(start=stumbling), data, OPE, tmp_path)
    assert list(done.failures) == ["broken"]
    assert "Traceback" in done.failures["broken"].read_text()
    assert "ZeroDivisionError" in done.failures["broken"].read_text().splitlines()[-1]
    done = evaluate(tracker, dataset(missing, short, good), OPE, tmp_path)
    assert list(done.failures) == ["missing", "short"] and done.made == 1
    (loaded,) = results.load(tmp_path)
    assert list(loaded.trajectories) == ["good"]
    assert set(loaded.failures) == {"broken", "missing", "short"}
    assert "short has ended before frame 12" in loaded.failures["short"]
    done = evaluate(tracker, data, OPE, tmp_path)  # mended
    assert not done.failures
    (loaded,) = results.load(tmp_path)
    assert set(loaded.failures) == {"missing", "short"}


def test_progress_counts_what_is_left(tmp_path):
    one, two = sequence("one", frames=10), sequence("two", frames=5)
    tracker, _ = scripted(one)
    evaluate(tracker, dataset(two), OPE, tmp_path)
    seen = []
    evaluate(tracker, dataset(one, two), OPE, tmp_path, repeats=2, on_progress=seen.append)
    assert [done.frames for done in seen] == [*range(1, 21), 20, *range(21, 26), 25]
    assert {done.total for done in seen} == {25}
    assert [done.sequence for done in seen][::24] == ["one", "two"]


def test_results_that_cannot_be_kept_end_the_run(tmp_path, monkeypatch):
    walk = sequence()
    tracker, _ = scripted(walk)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_whole", full)
    with pytest.raises(JtrackError, match=r"cannot write .*No space left"):
        evaluate(tracker, dataset(walk), OPE, tmp_path)


def test_results_of_another_dataset_are_not_taken_for_it(tmp_path):
    tracker, _ = scripted(sequence(frames=31))
    otb = dataset(sequence(frames=30), kind="otb")
    evaluate(tracker, otb, OPE, tmp_path)
    other = dataset(sequence(frames=31), kind="otb")  # of the same name
    assert evaluate(tracker, other, OPE, tmp_path).made == 1
    assert evaluate(tracker, dataset(sequence(frames=31)), OPE, tmp_path).made == 1  # of another kind
    assert len(results.load(tmp_path)) == 3
    moved = dataset(sequence(frames=31), root=ROOT.parent)  # the same, elsewhere
    assert evaluate(tracker, moved, OPE, tmp_path).kept == 1


@pytest.fixture
def on_disk(tmp_path):
    """Two sequences of a folder of one's own; `spoil` changes one."""
    root = tmp_path / "data"
    for name in ("One", "Two"):
        (root / name).mkdir(parents=True)
        for index in range(4):
            cv2.imwrite(str(root / name / f"{index:04d}.png"), np.full((40, 50, 3), 50 * index, np.uint8))
        (root / name / "groundtruth.txt").write_text("5,6,12,14\n" * 4)
    return root


def recompressed(root):
    image = cv2.imread(str(root / "Two" / "0002.png"))
    cv2.imwrite(str(root / "Two" / "0002.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])


def renamed(root):
    (root / "Two" / "0003.png").rename(root / "Two" / "0004.png")


def annotated_anew(root):
    (root / "Two" / "groundtruth.txt").write_text("5,6,12,14\n" * 3 + "5,6,12,15\n")


@pytest.mark.parametrize("change", [recompressed, renamed, annotated_anew])
def test_other_frames_or_annotations_never_meet_old_results(tmp_path, on_disk, change):
    tracker, _ = scripted(sequence(frames=4))
    tracker = tracker._replace(start=lambda seed: Still())

    def run(**names):
        return evaluate(tracker, open_dataset("folder", on_disk, **names), OPE, tmp_path / "results")

    before = run()
    assert before.made == 2
    for path in on_disk.rglob("*"):
        os.utime(path, (1, 1))  # a copy has other times
    assert run() == dataclasses.replace(before, made=0, kept=2)
    change(on_disk)
    assert run(sequences=["One"]) == dataclasses.replace(before, made=0, kept=1)  # which is as it was
    after = run()
    assert (after.made, after.kept) == (2, 0) and after.folder != before.folder
    assert run().kept == 2


class Still:
    """Stays where it was put."""

    def prepare(self, image, box):
        pass

    def init(self, image, box):
        self.box = np.asarray(box)

    def update(self, image):
        return Prediction(self.box)


def test_sequences_are_added_to_a_run(tmp_path, on_disk):
    tracker, _ = scripted(sequence(frames=4))
    tracker = tracker._replace(start=lambda seed: Still())
    made = [
        evaluate(tracker, open_dataset("folder", on_disk, sequences=names), OPE, tmp_path / "results")
        for names in (["One"], ["Two"], ["One", "Two"])
    ]
    assert [(done.made, done.kept) for done in made] == [(1, 0), (1, 0), (0, 2)]
    assert len({done.folder for done in made}) == 1
    assert set(results.read_label(made[0].folder)["sequences"]) == {"One", "Two"}


def test_the_machine_is_told_beside_a_run_and_identifies_nothing(tmp_path, monkeypatch):
    one, two = sequence("one"), sequence("two")
    tracker, _ = scripted(one)
    before = evaluate(tracker, dataset(one), OPE, tmp_path)
    monkeypatch.setattr("jtrack.benchmark.machine._processor", lambda: "Abacus")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    after = evaluate(tracker, dataset(one, two), OPE, tmp_path)
    assert (after.folder, after.made, after.kept) == (before.folder, 1, 1)
    (loaded,) = results.load(tmp_path)
    made_on = {name: trials[0].machine for name, trials in loaded.trajectories.items()}
    assert made_on["one"] != made_on["two"]
    facts = loaded.machines[made_on["two"]]
    assert (facts["processor"], facts["limits"]) == ("Abacus", {"OMP_NUM_THREADS": "1"})
    scored = scoring.score(loaded, {each.name: each for each in (one, two)}, resamples=10)
    assert scored.fps is None and len(scored.speeds) == len(scored.machines) == 2
    assert any(
        called.startswith("Abacus") and called.endswith("OMP_NUM_THREADS=1") for called in scored.speeds
    )


def test_changed_configurations_never_share_results(tmp_path):
    """Every change that shapes what comes out has a folder of its own."""
    bound = trackers.create(backbone="tiny")
    hyper = bound.params["tracker"]
    variants = {
        "itself": bound,
        "number": bound._replace(
            params=bound.params | {"tracker": hyper._replace(learning_rate=np.float32(0.5))}
        ),
        "weights": bound._replace(
            params=bound.params | {"backbone": jax.tree.map(lambda x: x * 2, bound.params["backbone"])}
        ),
        "profile": trackers.create(profile="release2016", backbone="tiny"),
        "structure": bound._replace(config=dataclasses.replace(bound.config, input_size=(96, 96))),
    }
    labels = {name: adapters.ours(variant).label for name, variant in variants.items()}
    folders = {name: results.open_store(tmp_path, label, {}).folder for name, label in labels.items()}
    assert len(set(folders.values())) == len(variants)
    again = adapters.ours(trackers.create(backbone="tiny")).label
    assert results.open_store(tmp_path, again, {}).folder == folders["itself"]
    walk = sequence(frames=4)
    tracker, _ = scripted(walk)
    for options in ({}, {"seed": 1}, {"limit": 3}):
        assert evaluate(tracker, dataset(walk), OPE, tmp_path, **options).kept == 0
    assert evaluate(tracker, dataset(walk), OPE, tmp_path).kept == 1


def test_the_code_is_part_of_it(tmp_path, monkeypatch):
    folder = tmp_path / "trackers"
    folder.mkdir()
    monkeypatch.setattr(adapters.jtrack, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(adapters.trackers, "names", lambda: ["one", "two"])
    digests = []
    for one, two in (('"""Doc."""\nx = 1\n', "y = 1"), ("x = 1  # why\n", "y = 2"), ("x = 2\n", "y = 2")):
        (folder / "one.py").write_text(one)
        (folder / "two.py").write_text(two)
        digests.append(adapters.code_digest.__wrapped__("one"))
    assert digests[0] == digests[1] != digests[2]  # neither comments nor another tracker's code
    (folder / "one.py").write_text("from jtrack.trackers import two\n")
    importing = adapters.code_digest.__wrapped__("one")
    (folder / "two.py").write_text("y = 3")
    assert adapters.code_digest.__wrapped__("one") != importing  # but for one that it imports


@pytest.mark.parametrize(
    "path, ours_alone",
    [
        ("data/folder.py", False),
        ("data/otb.toml", False),
        ("benchmark/protocols/baseline.toml", False),
        ("benchmark/evaluate.py", False),
        ("benchmark/work.py", False),
        ("benchmark/one_trial.py", False),
        ("benchmark/trials_in_lanes.py", False),
        ("benchmark/overlap.py", False),
        ("benchmark/vot_measures.py", False),
        ("learning/ridge.py", True),
        ("devices.py", True),
        ("types.py", True),
        ("a_new_room/a_new_part.py", True),
    ],
)
def test_what_runs_a_tracker_is_part_of_it(tmp_path, monkeypatch, path, ours_alone):
    """The protocol and the rule for failures shape every tracker's boxes; ours are shaped by more."""
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(adapters.jtrack, "__file__", str(tmp_path / "__init__.py"))
    digests = []
    for text in ("x = 1", "x = 1  # why", "x = 2"):
        file.write_text(text)
        digests.append([adapters.code_digest.__wrapped__(name) for name in ("hcft", None)])
    assert digests[0] == digests[1]
    assert [one != other for one, other in zip(digests[0], digests[2], strict=True)] == [True, not ours_alone]


@pytest.mark.parametrize(
    "path", ["cli/track.py", "benchmark/report/page.py", "benchmark/scoring.py", "draw.py", "whole.py"]
)
def test_what_draws_and_scores_is_not(tmp_path, monkeypatch, path):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(adapters.jtrack, "__file__", str(tmp_path / "__init__.py"))
    digests = set()
    for text in ("x = 1", "x = 2"):
        file.write_text(text)
        digests |= {adapters.code_digest.__wrapped__("hcft")}
    assert len(digests) == 1


@pytest.mark.parametrize("change", ["opencv", "flags", "precision"])
def test_what_computes_is_part_of_it(tmp_path, monkeypatch, change):
    def folder():
        return evaluate(adapters.ours(fake.build()), dataset(moving("a", 3)), OPE, tmp_path).folder

    before = folder()
    if change == "opencv":
        monkeypatch.setattr(cv2, "__version__", "0.0.1")
    elif change == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    with jax.default_matmul_precision("bfloat16" if change == "precision" else None):
        assert folder() != before


def images_and_a_video(root, images, video):
    """A folder with two of the sequences of `moving`, each in its form."""
    clips = {name: moving(name, 3) for name in (images, video)}
    (root / images).mkdir(parents=True)
    for index, image in enumerate(clips[images].frames):
        cv2.imwrite(str(root / images / f"{index}.png"), image)
    with av.open(str(root / f"{video}.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", 10)
        stream.height, stream.width = clips[video].frames.size
        for image in clips[video].frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    for name, clip in clips.items():
        np.savetxt(root / f"{name}.txt", clip.boxes, delimiter=",")


def test_pyav_is_part_of_it_where_a_sequence_is_a_video(tmp_path, monkeypatch):
    """Runs on images keep their identity whatever decodes videos."""
    images_and_a_video(tmp_path / "data", "walk", "run")

    def label(name):
        tracker, _ = scripted(moving(name, 3))
        done = evaluate(tracker, open_dataset("folder", tmp_path / "data", sequences=[name]), OPE, tmp_path)
        assert done.made + done.kept == 1
        return done.folder.name, results.read_label(done.folder)

    before = {name: label(name) for name in ("walk", "run")}
    assert before["run"][1]["av"] == av.__version__ and "av" not in before["walk"][1]
    monkeypatch.setattr(av, "__version__", "0.0.1")
    after = {name: label(name) for name in ("walk", "run")}
    assert after["walk"][0] == before["walk"][0] and after["run"][0] != before["run"][0]


def test_how_parallel_it_computes_is_not(tmp_path, monkeypatch):
    done = []
    for flags in ("", "--xla_force_host_platform_device_count=8 --xla_cpu_multi_thread_eigen=false"):
        monkeypatch.setenv("XLA_FLAGS", flags)
        done.append(evaluate(adapters.ours(fake.build()), dataset(moving("a", 3)), OPE, tmp_path))
    assert done[0].folder == done[1].folder and done[1].kept == 1
    (loaded,) = results.load(tmp_path)
    assert "device_count=8" in str(loaded.machines[-1]["limits"])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two of the synthetic clips as files, cut and small."""
    from jtrack.data import synthetic

    root = tmp_path_factory.mktemp("small")
    for name, (frames, seed) in {"Walk": (24, 0), "Run": (22, 1), "Stroll": (23, 2)}.items():
        clip = synthetic.clip(frames=frames, size=(96, 128), seed=seed)
        (root / name).mkdir()
        for index, image in enumerate(clip.frames):
            cv2.imwrite(str(root / name / f"{index:04d}.png"), image[:, :, ::-1])
        np.savetxt(root / name / "groundtruth.txt", clip.boxes, delimiter=",")
    return root


@pytest.fixture(scope="module")
def hog():
    return adapters.evaluated("hcft", backbone="hog")


@pytest.mark.slow
def test_ours_gives_what_track_gives(small, hog, tmp_path):
    from jtrack.run import track

    data = open_dataset("folder", small)
    evaluate(hog, data, OPE, tmp_path)
    (loaded,) = results.load(tmp_path)
    assert (loaded.tracker, loaded.profile) == ("hcft", "default")
    for name in data.names:
        expected = track(data.sequence(name), data.sequence(name).boxes[0], tracker=hog.bound)
        (found,) = loaded.trajectories[name]
        np.testing.assert_array_equal(found.boxes[1:], expected.boxes[1:])
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.lost, expected.lost)
        assert (found.seconds > 0).all()


def test_restarts_compile_nothing(small, hog):
    walk = open_dataset("folder", small).sequence("Walk")
    shifted = dataclasses.replace(walk, boxes=walk.boxes * [1, 1, 1.1, 0.9])
    compiled = []

    def listen(event, duration, **_):
        compiled.extend([event] * (event == "/jax/core/compile/backend_compile_duration"))

    run_trial(hog, walk, BASELINE, trials(BASELINE, walk, repeats=1)[0])
    jax.monitoring.register_event_duration_secs_listener(listen)
    broken = dataclasses.replace(shifted, polygons=np.full((len(walk.boxes), 4, 2), -500.0))  # fails at once
    found = run_trial(hog, broken, BASELINE, trials(BASELINE, broken, repeats=1)[0])
    assert (found.status == INITIALISED).sum() == 4
    assert not compiled


def moving(name, frames, size=(60, 90)):
    """A sequence for the fake tracker, which moves as the first pixel of each frame says."""
    moves = np.random.default_rng(frames).integers(0, 3, (frames, 2))
    boxes = fake.path([10.0, 12, 20, 16], moves).astype(np.float64)
    return Sequence(name, boxes, size=size, frames=from_arrays(fake.video(moves, size), name=name))


@pytest.mark.parametrize(("name", "trials_of_all"), [("ope", 4), ("sre", 48), ("tre", 77)])
def test_lanes_give_what_one_lane_gives(tmp_path, name, trials_of_all):
    # 30 frames have only eleven to start from, of which TRE takes 17, some twice.
    sizes = {"a": (30, (60, 90)), "b": (41, (60, 90)), "c": (33, (60, 200)), "d": (35, (60, 90))}
    data = dataset(*(moving(name, *about) for name, about in sizes.items()))
    tracker, rules = adapters.ours(fake.build()), protocol.load(name)
    one = evaluate(tracker, data, rules, tmp_path / "one")
    many = evaluate(tracker, data, rules, tmp_path / "many", lanes=3)
    assert one.made == many.made == trials_of_all and one.folder.name == many.folder.name
    (one,), (many,) = results.load(one.folder), results.load(many.folder)
    assert [facts["lanes"] for facts in many.machines] == [3]
    for sequence_name, expected in one.trajectories.items():
        for found, want in zip(many.trajectories[sequence_name], expected, strict=True):
            np.testing.assert_array_equal(found.boxes, want.boxes)
            np.testing.assert_array_equal(found.status, want.status)
            assert found.seconds is None and found.start == want.start
            for each in (found, want):
                np.testing.assert_array_equal(each.learnt, due(each))
                assert each.learnt.any()
            if name != "sre":
                np.testing.assert_array_equal(found.boxes, data.sequence(sequence_name).boxes[found.start :])
    assert evaluate(tracker, data, rules, tmp_path / "many", lanes=3).made == 0


def due(trial):
    """When the fake tracker learns, by hand: every few frames after its last start."""
    learns, since, period = [], 0, 0
    for status, box in zip(trial.status, trial.boxes, strict=True):
        if status == INITIALISED:
            since, period = 0, 2 + int(np.float32(box[2])) % 3
        elif status != SKIPPED:
            since += 1
        learns.append(status != SKIPPED and since > 0 and since % period == 0)
    return learns


@pytest.mark.parametrize("lanes", [1, 3])
def test_when_a_tracker_learns_within_its_steps_is_not_known(tmp_path, lanes):
    tracker = adapters.ours(fake.build(fake.Config(learns=False)))
    evaluate(tracker, dataset(moving("a", 9), moving("b", 7)), OPE, tmp_path, lanes=lanes)
    (loaded,) = results.load(tmp_path)
    assert [trial.learnt for trials in loaded.trajectories.values() for trial in trials] == [None, None]


def test_response_maps_are_kept_beside_the_boxes(small, tmp_path):
    from jtrack.run import track

    plain = adapters.evaluated("hcft", backbone="tiny")
    keeping = adapters.keeping_maps(plain)
    data = open_dataset("folder", small, sequences=["Walk"])
    done = evaluate(keeping, data, OPE, tmp_path, limit=6)
    assert done.made == 1 and keeping.label["configuration"] != plain.label["configuration"]
    (loaded,) = results.load(tmp_path)
    (trial,) = loaded.trajectories["Walk"]
    assert trial.seconds is None  # what is kept takes time
    kept, walk, seen = trial.maps(), data.sequence("Walk"), []
    track(
        walk,
        walk.boxes[0],
        tracker=keeping.bound,
        end=6,
        on_frame=lambda index, image, outputs: seen.append(outputs[0].info),
    )
    assert len(kept.levels) == len(seen) == 6 and np.isnan(kept.places[0]).all()
    for levels, place, info in zip(kept.levels[1:], kept.places[1:], seen[1:], strict=True):
        response, window = np.asarray(info["response"]), np.asarray(info["window"])
        assert max(response.shape) <= 64  # then no cell is lost
        share = (response - response.min()) / np.ptp(response)
        np.testing.assert_allclose(levels, 255 * share, rtol=0, atol=0.51)
        rows, columns = response.shape
        middle = place[:2] + place[2:] * (np.array([columns // 2, rows // 2]) + 0.5) / [columns, rows]
        np.testing.assert_allclose(middle, window[:2] + window[2:] / 2, rtol=1e-5)
    assert evaluate(keeping, data, OPE, tmp_path, limit=6).kept == 1
    with pytest.raises(JtrackError, match="one lane only: leave out --lanes"):
        evaluate(keeping, data, OPE, tmp_path, lanes=2)


def test_response_maps_are_of_trackers_that_have_some():
    other, _ = scripted(sequence())
    for tracker in (other, adapters.ours(fake.build())):
        with pytest.raises(JtrackError, match="has none, leave out --keep-maps or use hcft"):
            adapters.keeping_maps(tracker)


def test_one_bad_sequence_does_not_take_its_lanes_along(tmp_path):
    good, bad = moving("good", 9), moving("bad", 8)
    bad = dataclasses.replace(bad, frames=from_arrays(list(bad.frames)[:5]))
    done = evaluate(adapters.ours(fake.build()), dataset(good, bad), OPE, tmp_path, lanes=4)
    assert list(done.failures) == ["bad"] and done.made == 1
    assert "bad was not tracked to its end: its frames end after 5" in done.failures["bad"].read_text()


def test_lanes_restart_as_one_lane_does(tmp_path):
    data = dataset(*(wandering(name, frames) for name, frames in (("a", 40), ("b", 31), ("c", 17))))
    tracker, rules = adapters.ours(fake.build()), protocol.load("region_noise")
    one = evaluate(tracker, data, rules, tmp_path / "one")
    many = evaluate(tracker, data, rules, tmp_path / "many", lanes=4)
    (one,), (many,) = results.load(one.folder), results.load(many.folder)
    restarts = 0
    for name, expected in one.trajectories.items():
        assert len(expected) == rules.repetitions
        for found, want in zip(many.trajectories[name], expected, strict=True):
            np.testing.assert_array_equal(found.status, want.status)
            np.testing.assert_array_equal(found.boxes, want.boxes)
            np.testing.assert_array_equal(found.scores, want.scores)
            np.testing.assert_array_equal(found.learnt, due(found))
            np.testing.assert_array_equal(want.learnt, due(want))
            restarts += (want.status == FAILED).sum()
    assert restarts > 40


def wandering(name, frames):
    """A sequence whose target stays while the fake tracker leaves it."""
    moving_away = moving(name, frames)
    return dataclasses.replace(moving_away, boxes=np.tile(moving_away.boxes[:1], (frames, 1)))


def test_a_trial_that_fails_in_lanes_leaves_the_others_of_its_sequence(tmp_path):
    bad = moving("bad", 60)
    bad = dataclasses.replace(bad, frames=from_arrays(list(bad.frames)[:50]))
    rules = dataclasses.replace(protocol.load("tre"), segments=4)
    done = evaluate(adapters.ours(fake.build()), dataset(bad), rules, tmp_path, lanes=3, limit=20)
    assert done.made == 3 and list(done.failures) == ["bad"]
    assert "its frames end after 50" in done.failures["bad"].read_text()
    again = evaluate(adapters.ours(fake.build()), dataset(bad), rules, tmp_path, lanes=3, limit=20)
    assert (again.made, again.kept) == (0, 3) and list(again.failures) == ["bad"]


def test_lanes_are_for_jtracks_trackers(tmp_path):
    walk = sequence()
    tracker, _ = scripted(walk)
    with pytest.raises(JtrackError, match="script is not a tracker of jtrack"):
        evaluate(tracker, dataset(walk), OPE, tmp_path, lanes=2)


@pytest.mark.parametrize("option", ["lanes", "repeats", "limit"])
def test_numbers_are_positive(tmp_path, option):
    with pytest.raises(JtrackError, match="is 0: give 1 or more"):
        evaluate(scripted(sequence())[0], dataset(sequence()), OPE, tmp_path, **{option: 0})
    assert not list(tmp_path.iterdir())


SLOW = """
import sys, time, pathlib
import numpy as np

class Slow:
    deterministic = True
    def init(self, frame, box):
        self.box = box
        with open(pathlib.Path(__file__).with_name("log"), "a") as log:
            log.write(f"{frame.shape[1]}\\n")
    def update(self, frame):
        time.sleep(0.02)
        return self.box
"""


@pytest.fixture
def slow(tmp_path):
    """A slow tracker on eight sequences of their own width, and how to start it in a process of its own."""
    root = tmp_path / "data"
    for index in range(8):
        folder = root / f"s{index}"
        folder.mkdir(parents=True)
        for frame in range(10):
            cv2.imwrite(str(folder / f"{frame}.png"), np.zeros((60, 80 + index, 3), np.uint8))
        (folder / "groundtruth.txt").write_text("10,10,20,20\n" * 10)
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "jtrack.cli", "eval", "--tracker", f"{tmp_path / 'slow.py'}:Slow"]
    command += ["--dataset", "folder", "--root", str(root), "--results", str(tmp_path / "out")]

    def start():
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
        )

    def begun():
        log = tmp_path / "log"
        return [int(line) - 80 for line in log.read_text().splitlines()] if log.exists() else []

    return start, begun, tmp_path / "out"


def whole(out):
    (loaded,) = results.load(out)
    assert sorted(loaded.trajectories) == [f"s{index}" for index in range(8)]
    assert all(len(found.boxes) == 10 for (found,) in loaded.trajectories.values())
    assert not loaded.failures and not list(out.rglob("*.part"))


@pytest.mark.slow
def test_killed_it_loses_at_most_the_sequence_in_flight(slow):
    start, begun, out = slow
    process = start()
    while len(begun()) < 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = begun()
    kept = {path.stem for path in out.rglob("*.csv")}
    assert kept >= {f"s{index}" for index in before[:-1]}  # all that were begun, but the last
    assert len(results.load(out)) == 1  # what is there is whole
    _, errors = (process := start()).communicate(timeout=60)
    assert process.returncode == 0, errors
    assert sorted(begun()[len(before) :]) == sorted(set(range(8)) - {int(name[1:]) for name in kept})
    whole(out)


@pytest.mark.slow
def test_two_at_once_share_the_work(slow):
    start, begun, out = slow
    processes = [start(), start()]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert sorted(begun()) == list(range(8))  # each sequence once
    whole(out)


@pytest.mark.slow
def test_interrupted_it_keeps_what_is_done(slow):
    start, begun, out = slow
    process = start()
    while len(begun()) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors, errors
    (loaded,) = results.load(out)
    assert len(loaded.trajectories) >= 2 and not loaded.failures


def test_a_run_that_is_removed_in_mid_run_is_a_failure_that_says_so(tmp_path):
    walk = sequence()
    tracker, _ = scripted(walk)

    def remove(_):
        for run in tmp_path.glob("script-*"):
            shutil.rmtree(run)

    with pytest.raises(JtrackError, match=r"script-.* was removed while it was in use: run again"):
        evaluate(tracker, dataset(walk), OPE, tmp_path, on_progress=remove)
    assert not list(tmp_path.glob("script-*"))


def test_a_damaged_trial_costs_its_sequence_alone(tmp_path):
    one, two = sequence("one"), sequence("two")
    tracker, _ = scripted(one)
    done = evaluate(tracker, dataset(one), OPE, tmp_path)
    (done.folder / "ope" / "one.csv").write_text("nonsense")
    done = evaluate(tracker, dataset(one, two), OPE, tmp_path)
    assert (done.made, list(done.failures)) == (1, ["one"])
    assert "one.csv is not a trial's file" in done.failures["one"].read_text()


def test_the_seed_has_a_range(tmp_path):
    tracker, _ = scripted(sequence())
    for seed in (-1, 2**31):
        with pytest.raises(JtrackError, match=f"the seed is {seed}: give 0 to 2147483647"):
            evaluate(tracker, dataset(sequence()), OPE, tmp_path, seed=seed)


def test_lanes_wait_for_what_another_process_runs_and_hold_nothing_meanwhile(tmp_path):
    data = dataset(moving("a", 20), moving("b", 12), moving("c", 9))
    tracker = adapters.ours(fake.build())
    run = evaluate(tracker, data, OPE, tmp_path, lanes=2, limit=2)  # the folder of another run: its label
    whole = evaluate(tracker, data, OPE, tmp_path / "whole", lanes=2)
    shutil.rmtree(whole.folder / "ope")
    other = results.Store(whole.folder)
    seen = []

    def elsewhere(held):
        with other.lock(OPE, "a", wait=True):
            held.set()
            while not (whole.folder / "ope" / "c.csv").exists():
                time.sleep(0.02)
            for name in "bc":  # free while `a` is waited for
                with other.lock(OPE, name, wait=False) as free:
                    seen.append(free)

    held = threading.Event()
    thread = threading.Thread(target=elsewhere, args=(held,))
    thread.start()
    held.wait()
    done = evaluate(tracker, data, OPE, tmp_path / "whole", lanes=2)
    thread.join()
    assert done.made == 3 and not done.failures and run.made == 3
    assert seen[1:] == [True]  # c has ended; b may be ending


def test_a_sequence_that_does_not_fit_the_protocol_fails_alone_in_lanes(tmp_path):
    good, bad = wandering("good", 30), moving("bad", 25)
    bad = dataclasses.replace(bad, boxes=bad.boxes[:1])  # as in a test set
    rules = dataclasses.replace(protocol.load("region_noise"), repetitions=2)
    done = evaluate(adapters.ours(fake.build()), dataset(good, bad), rules, tmp_path, lanes=3)
    assert list(done.failures) == ["bad"] and done.made == 2
    assert "IndexError" in done.failures["bad"].read_text()


def test_a_box_of_another_order_of_size_runs_by_itself(tmp_path, monkeypatch):
    normal, huge = moving("normal", 9), moving("huge", 9)
    huge.boxes[0] = (-3000, -3000, 60000, 60000)
    asked = []
    build = fake.build(fake.Config(None))
    monkeypatch.setattr(
        fake.Config, "for_lanes", lambda self, boxes, sizes: asked.append(boxes) or fake.Config(40)
    )
    done = evaluate(adapters.ours(build), dataset(normal, huge), OPE, tmp_path, lanes=2)
    assert done.made == 2 and not done.failures
    assert max(boxes[:, 2].max() for boxes in asked) < 100


def test_frames_count_in_lanes_whatever_the_annotation_says_of_their_size(tmp_path):
    walk = moving("walk", 9, size=(300, 400))
    wrong = dataclasses.replace(walk, size=(60, 90))
    data = dataset(walk)
    data = dataclasses.replace(data, annotation=lambda name: wrong)
    done = evaluate(adapters.ours(fake.build()), data, OPE, tmp_path, lanes=2)
    assert done.made == 1 and not done.failures


@pytest.mark.parametrize(("name", "starts"), [("sre", 12), ("tre", 20)])
def test_in_lanes_all_starts_of_a_video_share_its_frames(tmp_path, monkeypatch, name, starts):
    read, sent = [], []
    walk = moving("walk", 60)
    source = dataclasses.replace(
        walk.frames, pick=lambda number: read.append(number) or walk.frames.pick(number)
    )
    real = SharedFrames._send
    monkeypatch.setattr(
        SharedFrames, "_send", lambda self, batches: sent.extend(map(len, batches)) or real(self, batches)
    )
    data = dataset(dataclasses.replace(walk, frames=source))
    done = evaluate(adapters.ours(fake.build()), data, protocol.load(name), tmp_path, lanes=8)
    assert done.made == starts and not done.failures
    assert sorted(read) == list(range(60)) and sum(sent) == 60
    assert done.frames >= (10 if name == "sre" else 8) * sum(sent)  # TRE's later starts are shorter
