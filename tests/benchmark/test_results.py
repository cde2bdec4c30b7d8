"""The store of results: what is written is read back, and nothing else is taken for it."""

import json
import multiprocessing
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from jtrack import whole
from jtrack.benchmark import layouts, protocol, results
from jtrack.benchmark.protocol import Trial
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.benchmark.sources import open_results
from jtrack.data.otb import read_boxes
from jtrack.errors import JtrackError

LABEL = {"tracker": "hcft", "profile": "default", "backbone": "hog", "seed": 0}
OPE, TRE, GOT, BASELINE = map(protocol.load, ("ope", "tre", "got10k", "baseline"))


@pytest.fixture
def store(tmp_path):
    return results.open_store(tmp_path / "out", LABEL, {"device": "abacus"})


def trial(length=6, *, sequence="Walk", number=0, start=2):
    return Trial(sequence, number, start, start + length, np.array([10.5, 20.25, 30, 40]), 0)


def tracked(trial, seed=0):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(1, 300, (trial.end - trial.start, 4)).astype(np.float32).astype(np.float64)
    boxes[0] = trial.box
    status = np.full(len(boxes), TRACKED, np.uint8)
    status[0] = INITIALISED
    seconds = np.concatenate([[np.nan], rng.uniform(size=len(boxes) - 1)])
    scores = rng.uniform(size=len(boxes)).astype(np.float32).astype(np.float64)
    lost, learnt = rng.uniform(size=(2, len(boxes))) > 0.5
    return Trajectory(boxes, status, trial.start, seconds, scores, lost, learnt=learnt)


def failing(trial):
    """Fails in the third row, and starts again five later."""
    status = np.array(
        [INITIALISED, TRACKED, FAILED, SKIPPED, SKIPPED, SKIPPED, SKIPPED, INITIALISED, TRACKED]
    )
    done = tracked(trial)
    boxes = np.where(np.isin(status, [FAILED, SKIPPED])[:, None], np.nan, done.boxes)
    return Trajectory(boxes, status.astype(np.uint8), trial.start, done.seconds, done.scores)


def same(one, other):
    for name in ("boxes", "status", "start", "seconds", "scores", "lost", "learnt"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_a_trial_is_read_back_to_the_last_bit(store):
    done = tracked(trial())
    store.write(OPE, trial(), done)
    same(store.read(OPE, trial()), done)
    (loaded,) = results.load(store.folder)
    assert (loaded.tracker, loaded.profile, loaded.protocol) == ("hcft", "default", "ope")
    assert loaded.label["device"] == "abacus" and loaded.label["seed"] == 0 and not loaded.failures
    (only,) = loaded.trajectories["Walk"]
    same(only, done)
    bare = Trajectory(done.boxes, done.status, done.start)
    store.write(OPE, trial(sequence="Bare"), bare)
    found = store.read(OPE, trial(sequence="Bare"))
    assert found.seconds is None and found.scores is None and found.lost is None and found.learnt is None


@pytest.mark.parametrize(("layout", "columns"), [(1, 9), (2, 10)])
def test_a_trial_of_an_earlier_layout_is_read_and_its_run_goes_on(store, layout, columns):
    done = tracked(trial())
    store.write(OPE, trial(), done)
    path, about = store.folder / "ope" / "Walk.csv", store.folder / "run.json"
    lines = [",".join(line.split(",")[:columns]) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{line}\n" for line in lines))
    about.write_text(json.dumps(json.loads(about.read_text()) | {"version": layout}))
    same(store.read(OPE, trial()), replace(done, learnt=None))
    again = results.open_store(store.folder.parent, LABEL, {})
    assert again.folder == store.folder and results.read_label(again.folder)["version"] == results.VERSION
    same(again.read(OPE, trial()), replace(done, learnt=None))
    again.write(OPE, trial(sequence="Run"), done)
    same(again.read(OPE, trial(sequence="Run")), done)


def test_otbs_file_is_counted_from_one_and_not_rounded(store):
    done = tracked(trial())
    store.write(OPE, trial(), done)
    path = store.folder / "ope" / "Walk.txt"
    first = path.read_text().splitlines()[0]
    assert first == "11.5,21.25,30,40"
    np.testing.assert_array_equal(read_boxes(path), done.boxes)


def test_several_trials_are_numbered(store):
    runs = [tracked(trial(number=number), number) for number in range(12)]
    for number, done in enumerate(runs):
        store.write(TRE, trial(number=number), done)
    assert (store.folder / "tre" / "Walk" / "Walk_012.txt").is_file()
    (loaded,) = results.load(store.folder.parent)
    for one, other in zip(loaded.trajectories["Walk"], runs, strict=True):
        same(one, other)
    for number in range(3):  # repetitions of the one start: the first is the kit's
        store.write(OPE, trial(number=number), runs[number])
    assert len(list((store.folder / "ope").glob("*.txt"))) == 1
    ope, tre = results.load(store.folder.parent)
    for one, other in zip(ope.trajectories["Walk"], runs[:3], strict=True):
        same(one, other)
    assert len(tre.trajectories["Walk"]) == 12


def test_vots_file_says_what_every_frame_is(store):
    one = trial(9, sequence="bag", start=0)
    store.write(BASELINE, one, failing(one))
    lines = (store.folder / "baseline" / "bag" / "bag_001.txt").read_text().splitlines()
    assert [lines[t] for t in (0, 2, 3, 4, 5, 6, 7)] == ["1", "2", "0", "0", "0", "0", "1"]
    region = [float(number) for number in lines[1].split(",")]
    np.testing.assert_array_equal(region, failing(one).boxes[1])  # counted from 0
    values = (store.folder / "baseline" / "bag" / "bag_001_confidence.value").read_text().splitlines()
    np.testing.assert_array_equal(np.float32(values), np.float32(failing(one).scores))
    same(store.read(BASELINE, one), failing(one))


def test_times_are_a_column_a_repetition(store):
    runs = [tracked(trial(number=number), number) for number in range(3)]
    for number, done in enumerate(runs):
        store.write(GOT, trial(number=number), done)
    times = np.loadtxt(store.folder / "got10k" / "Walk" / "Walk_time.txt", delimiter=",")
    np.testing.assert_allclose(times, np.stack([done.seconds for done in runs], axis=1), rtol=1e-5)
    boxes = np.loadtxt(store.folder / "got10k" / "Walk" / "Walk_002.txt", delimiter=",")
    np.testing.assert_array_equal(boxes, runs[1].boxes)


def test_the_reader_of_the_kits_folders_reads_the_same(store):
    """The files of the kits' forms hold the boxes of our own, by a reader that knows only those forms."""
    one = trial(9, sequence="bag", start=0)
    store.write(BASELINE, one, failing(one))
    store.write(OPE, one, tracked(one))
    (vot,) = layouts.read(store.folder)
    (otb,) = layouts.read(store.folder / "ope")
    np.testing.assert_array_equal(vot.trajectories["bag"][0].status, failing(one).status)
    np.testing.assert_array_equal(vot.trajectories["bag"][0].boxes[[1, 8]], failing(one).boxes[[1, 8]])
    np.testing.assert_array_equal(otb.trajectories["bag"][0].boxes, tracked(one).boxes)


def test_names_with_dots_keep_them(store):
    for name in ("a.b", "a.c", "a"):
        store.write(OPE, trial(sequence=name), tracked(trial()))
        store.fail(OPE, name + ".d", "no")
    (loaded,) = results.load(store.folder)
    assert set(loaded.trajectories) == {"a.b", "a.c", "a"}
    assert set(loaded.failures) == {"a.b.d", "a.c.d", "a.d"}


def test_another_configuration_is_another_folder(tmp_path):
    folders = {
        results.open_store(tmp_path, LABEL | changed, {}).folder
        for changed in ({}, {"seed": 1}, {"weights": "ab"}, {"version": "5"}, {"tracker": "../x y"})
    }
    assert len(folders) == 5
    assert all(folder.parent == tmp_path for folder in folders)
    data = [{"Walk": "a"}, {"Walk": "b"}, {"Walk": "a", "Run": "c"}, {"Run": "d"}, {"Walk": "b", "Run": "d"}]
    one, two, *rest = (results.open_store(tmp_path / "data", LABEL, {}, each).folder for each in data)
    assert one != two and rest == [one, two, two]  # what a run does not know is added to it
    assert all(results.read_label(folder)["version"] == results.VERSION for folder in folders)
    again = results.open_store(tmp_path, dict(reversed(LABEL.items())), {"device": "another"})
    assert again.folder in folders
    assert results.read_label(again.folder).get("device") is None  # as the first run wrote it


def test_a_failure_is_kept_until_it_is_mended(store):
    store.fail(OPE, "Walk", "Traceback ...\n  File ...\nValueError: no such thing")
    (loaded,) = results.load(store.folder)
    assert loaded.failures == {"Walk": "ValueError: no such thing"} and not loaded.trajectories
    store.write(OPE, trial(), tracked(trial()))
    (loaded,) = results.load(store.folder)
    assert not loaded.failures and list(loaded.trajectories) == ["Walk"]


def test_a_sequence_of_the_same_name_is_told_apart(store):
    store.write(OPE, trial(), tracked(trial()))
    assert store.read(OPE, trial(sequence="Run")) is None
    for other in (trial(7), trial(start=3), trial()._replace(box=np.array([1.0, 2, 3, 4]))):
        with pytest.raises(JtrackError, match=r"another sequence that is called Walk: it has 6 frames from"):
            store.read(OPE, other)


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", "..", "", ".hidden", "a\nb", "C:x"])
def test_names_that_are_paths_are_refused(store, name):
    bad = trial(sequence=name)
    for attempt in (
        lambda: store.write(OPE, bad, tracked(bad)),
        lambda: store.read(OPE, bad),
        lambda: store.fail(OPE, name, "x"),
        lambda: store.lock(OPE, name, wait=False).__enter__(),
    ):
        with pytest.raises(JtrackError, match="plain name of a folder"):
            attempt()


def test_a_newer_folder_is_refused(store):
    path = store.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": results.VERSION + 1}))
    for attempt in (
        lambda: results.load(store.folder.parent),
        lambda: results.open_store(store.folder.parent, LABEL, {}),
    ):
        with pytest.raises(JtrackError, match="written by a newer jtrack"):
            attempt()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"version": "1"}', '{"version": 1', "\ufeff", "[" * 10**5),
        *('{"version": 1, "root": 5}', '{"version": 1, "limit_frames": "9"}', '{"version": 1, "list": []}'),
    ],
)
def test_a_damaged_run_is_refused(store, text):
    (store.folder / "run.json").write_text(text)
    with pytest.raises(JtrackError, match="does not say what was run"):
        results.load(store.folder)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [],
        lambda lines: lines[:1],
        lambda lines: lines[1:],
        lambda lines: [*lines[:3], lines[3][:7]],
        lambda lines: [*lines[:3], *lines[4:]],
        lambda lines: [*lines[:3], "4,7" + lines[3][3:]],
        lambda lines: [*lines[:3], "x" + lines[3]],
        lambda lines: [lines[0], *(f"{10**12 + t},0,1,2,3,4,5,6,7" for t in range(6))],
    ],
)
def test_a_damaged_trial_is_refused(store, spoil):
    store.write(OPE, trial(), tracked(trial()))
    path = store.folder / "ope" / "Walk.csv"
    path.write_text("".join(line + "\n" for line in spoil(path.read_text().splitlines())))
    store.write(OPE, trial(sequence="Run"), tracked(trial()))
    (loaded,) = results.load(store.folder)
    assert list(loaded.trajectories) == ["Run"]
    assert re.search(r"Walk\.csv is not a trial's file .*remove it", loaded.failures["Walk"])
    with pytest.raises(JtrackError, match=r"Walk\.csv is not a trial's file .*remove it"):
        store.read(OPE, trial())


def test_links_are_not_followed(store, tmp_path):
    store.write(OPE, trial(), tracked(trial()))
    outside = tmp_path / "outside.csv"
    outside.write_text("secret\n")
    (store.folder / "ope" / "Link.csv").symlink_to(outside)
    (store.folder / "elsewhere").symlink_to(tmp_path)
    (loaded,) = results.load(store.folder)
    assert list(loaded.trajectories) == ["Walk"]


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JtrackError, match=r"cannot write .*file"):
        results.open_store(tmp_path / "file", LABEL, {})
    with pytest.raises(JtrackError, match="cannot write /proc"):
        results.open_store("/proc/jtrack", LABEL, {})
    with pytest.raises(JtrackError, match="holds no results"):
        results.load(tmp_path)
    with pytest.raises(JtrackError, match="cannot open results"):
        results.load(tmp_path / "none")


def test_a_write_that_fails_leaves_no_trial(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(JtrackError, match=r"cannot write .*No space left"):
            store.write(OPE, trial(), tracked(trial()))
    assert store.read(OPE, trial()) is None
    assert results.load(store.folder) == []
    store.write(OPE, trial(), tracked(trial()))
    assert not list(store.folder.rglob("*.part"))


def fail_often(folder, started):
    started.wait(30)
    for _ in range(300):
        results.Store(folder).fail(OPE, "Walk", "lost")


def test_two_processes_may_say_at_once_why_a_sequence_failed(store):
    """Failures to plan a sequence are kept without its lock."""
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(2)
    processes = [context.Process(target=fail_often, args=(store.folder, started)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert store.fail(OPE, "Walk", "lost").read_text() == "lost\n"


def hold(folder, ready):
    with results.Store(folder).lock(OPE, "Walk", wait=True):
        ready.set()
        multiprocessing.Event().wait(60)


def test_a_lock_ends_with_its_process(store):
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    other = spawn.Process(target=hold, args=(store.folder, ready))
    other.start()
    try:
        assert ready.wait(60)
        with store.lock(OPE, "Walk", wait=False) as mine:
            assert not mine
        with store.lock(OPE, "Run", wait=False) as mine:
            assert mine
        other.kill()
        with store.lock(OPE, "Walk", wait=True) as mine:
            assert mine
    finally:
        other.kill()
        other.join()


def test_two_files_of_one_trial_cost_their_sequence(store):
    for name in ("Walk", "Run"):
        store.write(OPE, trial(sequence=name), tracked(trial()))
    (store.folder / "ope" / "Walk").mkdir()
    again = store.folder / "ope" / "Walk" / "Walk_001.csv"
    again.write_text((store.folder / "ope" / "Walk.csv").read_text())
    (loaded,) = results.load(store.folder)
    assert list(loaded.trajectories) == ["Run"]
    assert re.search(r"Walk\.csv and .*Walk_001\.csv both hold Walk's first trial", loaded.failures["Walk"])


def test_files_that_are_no_trials_are_passed_over(store):
    store.write(TRE, trial(), tracked(trial()))
    kept = store.folder / "tre" / "Walk" / "Walk_001.csv"
    for name in ("Walk_001 (copy).csv", "._Walk_001.csv", ".Walk_002.csv", "notes.csv"):
        kept.with_name(name).write_text(kept.read_text())
    os.mkfifo(kept.with_name("Walk_002.csv"))
    os.mkfifo(store.folder / "tre" / "Run.error")
    (store.folder / "__MACOSX").mkdir()
    (loaded,) = results.load(store.folder)
    assert len(loaded.trajectories["Walk"]) == 1 and not loaded.failures


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        (2, "inf", "has a box of inf pixels in row 3"),
        (4, "-1e300", r"has a box of -1e\+300 pixels in row 3"),
        (8, "-0.5", r"has a frame that took -0\.5 seconds"),
        (8, "inf", "has a frame that took inf seconds"),
        (3, "１", "is not a trial's file"),
        (3, "1_0", "is not a trial's file"),
    ],
)
def test_impossible_numbers_are_refused(store, column, value, why):
    store.write(OPE, trial(), tracked(trial()))
    path = store.folder / "ope" / "Walk.csv"
    rows = [line.split(",") for line in path.read_text().split("\n")]
    rows[3][column] = value
    path.write_text("\n".join(map(",".join, rows)), "utf-8")
    with pytest.raises(JtrackError, match=rf"Walk\.csv {why}"):
        store.read(OPE, trial())
    with pytest.raises(JtrackError, match=why):
        raise JtrackError(results.load(store.folder)[0].failures["Walk"])


def test_names_in_a_run_that_cannot_be_written_again_are_refused(store):
    path = store.folder / "run.json"
    label = json.loads(path.read_text())
    path.write_text(json.dumps(label | {"root": "/data/caf\udce9"}))  # a folder's name need not be UTF-8
    assert results.read_label(store.folder)["root"] == "/data/caf\udce9"
    path.write_text(json.dumps(label | {"tracker": "\ud800"}))
    with pytest.raises(JtrackError, match=r"run\.json does not say what was run .*surrogates not allowed"):
        results.load(store.folder)


def outside(tmp_path):
    """A folder that is none of jtrack's, and what is in it."""
    folder = tmp_path / "outside"
    (folder / "bag").mkdir(parents=True)
    (folder / "mine.txt").write_text("mine\n")
    return folder


def attempts(store, protocol=BASELINE):
    one = trial(9, sequence="bag", start=0)
    return (
        lambda: store.write(protocol, one, failing(one)),
        lambda: store.fail(protocol, "bag", "why"),
    )


@pytest.mark.parametrize("linked", ["baseline", "baseline/bag", "."])
def test_nothing_is_written_through_a_linked_folder(store, tmp_path, linked):
    folder = outside(tmp_path)
    place = store.folder / linked
    if linked == ".":
        place.rename(tmp_path / "moved")
        place.symlink_to(tmp_path / "moved")
        folder = tmp_path / "moved"
    else:
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(folder)
    before = sorted(folder.rglob("*"))
    for attempt in attempts(store)[: 2 if linked != "baseline/bag" else 1]:
        with pytest.raises(JtrackError, match="is a link, through which no results are kept: remove it"):
            attempt()
    assert sorted(folder.rglob("*")) == before


def test_a_link_under_a_temporary_name_is_not_followed(store, tmp_path):
    """Names of parts were known before: a link there led the results elsewhere."""
    folder = outside(tmp_path)
    (store.folder / "ope").mkdir()
    for name in ("Walk.csv", "Walk.txt"):
        (store.folder / "ope" / f".{name}.{os.getpid()}.part").symlink_to(folder / "mine.txt")
    store.write(OPE, trial(), tracked(trial()))
    assert (folder / "mine.txt").read_text() == "mine\n"


def test_what_a_dead_process_left_is_removed(tmp_path):
    store = results.open_store(tmp_path, LABEL, {})
    store.write(BASELINE, trial(9, sequence="bag", start=0), failing(trial(9, sequence="bag", start=0)))
    dead = multiprocessing.get_context("spawn").Process(target=int)
    dead.start()
    dead.join()
    places = [store.folder, store.folder / "baseline", store.folder / "baseline" / "bag"]
    for place in places:
        for number, name in enumerate((f"{whole._HOST}-{dead.pid}-ab", "elsewhere-1-ab", "Walk.csv.123")):
            (place / f".{name}.part").touch()
            if number:  # of another machine, or an earlier version: given up long ago
                os.utime(place / f".{name}.part", (0, 0))
        (place / f".{whole._HOST}-{os.getpid()}-ab.part").touch()
        (place / ".elsewhere-2-ab.part").touch()
    results.open_store(tmp_path, LABEL, {})
    for place in places:
        assert sorted(path.name for path in place.glob(".*.part")) == sorted(
            [f".{whole._HOST}-{os.getpid()}-ab.part", ".elsewhere-2-ab.part"]
        )


def test_a_run_that_was_removed_is_not_begun_again_halfway(store):
    shutil.rmtree(store.folder)
    for attempt in (*attempts(store), lambda: store.lock(OPE, "Walk", wait=False).__enter__()):
        with pytest.raises(JtrackError, match="was removed while it was in use: run again"):
            attempt()
    assert not store.folder.exists()


def test_a_long_name_is_kept(store):
    name = "x" * 240
    store.write(OPE, trial(sequence=name), tracked(trial()))
    assert store.read(OPE, trial(sequence=name)) is not None


def test_a_damaged_run_among_others_costs_itself(tmp_path):
    stores = [results.open_store(tmp_path, LABEL | {"seed": seed}, {}) for seed in (0, 1)]
    for store in stores:
        store.write(OPE, trial(), tracked(trial()))
    (stores[0].folder / "run.json").write_text("{")
    (tmp_path / "KCF").mkdir()
    with pytest.warns(UserWarning) as said:
        (loaded,) = open_results(tmp_path)
    assert loaded.label["seed"] == 1
    told = [str(each.message) for each in said]
    assert re.search("left out of .*: KCF: no run of jtrack, give it alone", told[0])
    assert re.search(r"left out: .*run\.json does not say what was run", told[1])
