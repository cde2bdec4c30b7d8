"""A run kept in one file: read back to the last bit, gone on with, never taken from a damaged file."""

import gzip
import json

import numpy as np
import pytest

from jtrack.benchmark import ledger, protocol, results
from jtrack.benchmark.protocol import Trial
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.benchmark.sources import open_results
from jtrack.errors import JtrackError

OPE, TRE, BASELINE = map(protocol.load, ("ope", "tre", "baseline"))
LABEL = {"tracker": "hcft", "profile": "default", "backbone": "hog", "seed": 0}
MACHINE = {"processor": "Abacus", "cores": 2}


def trial(name, number=0, start=0, length=5):
    return Trial(name, number, start, start + length, np.array([1.0, 2, 3, 4]), 0)


def tracked(trial, seed=0, kind=np.float32, **more):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(1, 300, (trial.end - trial.start, 4)).astype(kind).astype(np.float64)
    boxes[0] = trial.box
    status = np.full(len(boxes), TRACKED, np.uint8)
    status[0] = INITIALISED
    scores = rng.uniform(size=len(boxes)).astype(kind).astype(np.float64)
    seconds = np.concatenate([[np.nan], np.round(rng.uniform(size=len(boxes) - 1), 4)])
    lost, learnt = rng.uniform(size=(2, len(boxes))) > 0.5
    return Trajectory(boxes, status, trial.start, seconds, scores, lost, learnt=learnt, **more)


@pytest.fixture
def store(tmp_path):
    return results.open_store(tmp_path / "results", LABEL, {"root": "/data"}, {"Walk": "ab"}, MACHINE)


def fill(store):
    store.write(OPE, trial("Walk"), tracked(trial("Walk")))
    store.write(OPE, trial("Jump"), tracked(trial("Jump"), kind=np.float64))
    for number, start in enumerate((0, 3)):
        one = trial("Walk", number, start)
        store.write(TRE, one, tracked(one, number))
    status = np.array([INITIALISED, FAILED, SKIPPED, SKIPPED, INITIALISED], np.uint8)
    boxes = np.where(np.isin(status, [FAILED, SKIPPED])[:, None], np.nan, np.full((5, 4), 1.5))
    boxes[0] = [1, 2, 3, 4]
    store.write(BASELINE, trial("Bag"), Trajectory(boxes, status))


def by_place(found):
    return {
        (each.protocol, name, number): done
        for each in found
        for name, trials in each.trajectories.items()
        for number, done in enumerate(trials)
    }


def same(found, expected):
    found, expected = by_place(found), by_place(expected)
    assert found.keys() == expected.keys() and len(found) >= 5
    for place, one in expected.items():
        for name in ("boxes", "status", "start", "seconds", "scores", "lost", "machine", "learnt"):
            np.testing.assert_array_equal(getattr(found[place], name), getattr(one, name), f"{place} {name}")


def test_a_file_that_is_kept_again_says_which_commit_began_it(store, tmp_path):
    store.write(OPE, trial("Walk"), tracked(trial("Walk")))
    path = ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    store.write(OPE, trial("Jump"), tracked(trial("Jump")))
    assert ledger.keep(store.folder, tmp_path / "runs", commit="def", command="another") == path
    (found,) = ledger.read(path)
    assert set(found.trajectories) == {"Walk", "Jump"}
    assert (found.label["commit"], found.label["command"]) == ("abc", "jtrack eval")
    assert json.loads(gzip.decompress(path.read_bytes()))["commit"] == "abc"


def test_a_run_is_read_back_to_the_last_bit(store, tmp_path):
    fill(store)
    path = ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    assert path.name == store.folder.name + ".run.json.gz"
    found, expected = open_results(path), results.load(store.folder)
    same(found, expected)
    assert (found[0].label["commit"], found[0].label["command"]) == ("abc", "jtrack eval")
    assert found[0].label["digest"] == expected[0].label["digest"]
    assert found[0].machines == expected[0].machines and found[0].machines == [MACHINE]
    before = path.read_bytes()
    ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_a_run_goes_on_where_it_stopped(store, tmp_path):
    fill(store)
    path = ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    folder = ledger.restore(path, tmp_path / "elsewhere")
    same(results.load(folder), results.load(store.folder))
    again = results.open_store(tmp_path / "elsewhere", LABEL, {}, {"Walk": "ab", "Run": "cd"}, MACHINE)
    assert again.folder == folder  # what `jtrack eval` opens
    newer = tracked(trial("Run"), 7)
    again.write(OPE, trial("Run"), newer)
    ledger.restore(path, tmp_path / "elsewhere")
    kept = again.read(OPE, trial("Run"))
    np.testing.assert_array_equal(kept.boxes, newer.boxes)


def test_a_run_of_before_trackers_said_when_they_learnt(store, tmp_path):
    fill(store)
    path = ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert content["trials"]["ope"]["Walk"][0].pop("learnt")
    content["version"] = 2
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    folder = ledger.restore(path, tmp_path / "elsewhere")
    expected = tracked(trial("Walk"))
    for found in (by_place(open_results(path)), by_place(results.load(folder))):
        one = found["ope", "Walk", 0]
        np.testing.assert_array_equal(one.boxes, expected.boxes)
        assert one.learnt is None
        np.testing.assert_array_equal(
            found["ope", "Jump", 0].learnt, tracked(trial("Jump"), kind=np.float64).learnt
        )
    assert results.read_label(folder)["version"] == results.VERSION


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("trials"),
        lambda content: content.pop("digest"),
        lambda content: content.update(trials=[]),
        lambda content: content["trials"].update(nonsense={}),
        lambda content: content["trials"]["ope"].update({"../up": content["trials"]["ope"]["Walk"]}),
        lambda content: content["trials"]["ope"]["Walk"][0].update(status="07111"),
        lambda content: content["trials"]["ope"]["Walk"][0].update(status="1"),
        lambda content: content["trials"]["ope"]["Walk"][0].update(machine="../../etc"),
        lambda content: content["trials"]["ope"]["Walk"][0].update(scores=[1]),
        lambda content: content["trials"]["ope"]["Walk"][0].update(learnt="01"),
        lambda content: content["trials"]["ope"]["Walk"][0].update(dtype="object"),
        lambda content: content["trials"]["ope"]["Walk"][0].update(boxes="what"),
    ],
)
def test_a_damaged_file_is_refused(store, tmp_path, spoil):
    fill(store)
    path = ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    content = json.loads(gzip.decompress(path.read_bytes()))
    spoil(content)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    for attempt in (open_results, lambda path: ledger.restore(path, tmp_path / "new")):
        with pytest.raises(JtrackError, match=r"is not a run of a ledger .*get it again"):
            attempt(path)
    assert not (tmp_path / "new").exists()


def test_a_file_cut_short_is_refused(store, tmp_path):
    fill(store)
    path = ledger.keep(store.folder, tmp_path / "runs", commit="abc", command="jtrack eval")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(JtrackError, match="is not a run of a ledger"):
        ledger.read(path)


def test_a_folder_of_runs_is_read_whole(store, tmp_path):
    fill(store)
    path = ledger.keep(store.folder, tmp_path / "ledger", commit="c", command="x")
    (tmp_path / "ledger" / "plans.toml").write_text("[plan]")
    expected = by_place(results.load(store.folder)).keys()
    assert by_place(open_results(tmp_path / "ledger")).keys() == expected
    (tmp_path / "ledger" / f"other{ledger.SUFFIX}").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=f"left out: .*other{ledger.SUFFIX}"):
        assert by_place(open_results(tmp_path / "ledger")).keys() == expected
    path.unlink()
    with pytest.raises(JtrackError, match="other"):
        open_results(tmp_path / "ledger")
