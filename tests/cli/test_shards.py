"""Shards of an evaluation: in any order, of any number, they make what one process makes."""

import cv2
import numpy as np
import pytest

from jtrack.benchmark import results, shards
from jtrack.errors import JtrackError

# Draws its boxes from the trial's seed, so that another seed, sequence or frame gives other bits.
DRUNKARD = """
import numpy as np

class Drunkard:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
    def init(self, frame, box):
        self.box = np.array(box)
    def update(self, frame):
        self.box[:2] += self.rng.normal(size=2) + frame.mean() / 100
        return self.box
"""
NAMES = [f"walk{number}" for number in range(5)]


@pytest.fixture
def command(tmp_path):
    """`jtrack eval` of a tracker that is random, on five small sequences, without the folder of results."""
    (tmp_path / "drunkard.py").write_text(DRUNKARD)
    root = tmp_path / "videos"
    for number, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for index in range(4):
            cv2.imwrite(str(root / name / f"{index}.png"), np.full((40, 50, 3), 9 * number, np.uint8))
        (root / name / "groundtruth.txt").write_text(f"{5 + number},6,12,14\n" * 4)
    tracker = f"{tmp_path / 'drunkard.py'}:Drunkard"
    return ["eval", "--tracker", tracker, "--dataset", "folder", "--root", root, "--repeats", 2]


def bits(folder):
    """All that a run's trials are, but how long they took."""
    (found,) = results.load(folder)
    assert not found.failures
    return {
        name: [(trial.start, trial.boxes.tobytes(), trial.status.tobytes()) for trial in trials]
        for name, trials in found.trajectories.items()
    }


@pytest.fixture
def whole(jtrack, command, tmp_path):
    """The bits of a run without shards."""
    jtrack(*command, "--results", tmp_path / "whole")
    return bits(tmp_path / "whole")


@pytest.mark.parametrize(
    "order", [("2/3", "0/3", "1/3"), ("1/2", "0/4", "2/4")], ids=["any order", "of two and of four"]
)
def test_they_make_the_whole(jtrack, command, whole, tmp_path, order):
    said = [jtrack(*command, "--results", tmp_path / "out", "--shard", shard).stdout for shard in order]
    assert bits(tmp_path / "out") == whole and len(whole) == 5
    assert len([*(tmp_path / "out").glob("Drunkard-*")]) == 1
    assert "other shards lack nothing" in said[-1] and "over 5 sequences" in said[-1]
    assert all("other shards lack" in each and "over" not in each for each in said[:-1])


def test_the_end_says_what_is_missing(jtrack, command, tmp_path):
    said = jtrack(*command, "--results", tmp_path / "out", "--shard", "1/3").stdout.splitlines()
    assert said[0] == "one-pass evaluation: 4 trials run"
    assert said[-2:] == ["shard 1/3 is 2 of 5 sequences", "other shards lack 3: walk0, walk2, walk3"]


def test_what_another_shard_has_done_is_left(jtrack, command, tmp_path):
    out = tmp_path / "out"
    jtrack(*command, "--results", out, "--shard", "1/2")  # walk1 and walk3
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("walk*.csv")}
    said = jtrack(*command, "--results", out, "--shard", "0/3").stdout  # walk0 and walk3
    assert "2 trials run, 2 were there" in said
    assert stamps.items() <= {path: path.stat().st_mtime_ns for path in out.rglob("walk*.csv")}.items()


def test_a_shard_without_a_sequence_has_nothing_to_do(jtrack, command, tmp_path):
    said = jtrack(*command, "--results", tmp_path / "out", "--shard", "7/9").stdout
    assert "0 trials run" in said and "shard 7/9 is 0 of 5 sequences" in said


def test_a_failure_is_of_the_shard_that_met_it(jtrack, command, tmp_path):
    (tmp_path / "videos" / "walk1" / "groundtruth.txt").write_text("no box\n")
    other = jtrack(*command, "--results", tmp_path / "out", "--shard", "0/2")
    assert not [*(tmp_path / "out").rglob("*.error")]
    assert "other shards lack 2: walk1, walk3" in other.stdout
    own = jtrack(*command, "--results", tmp_path / "out", "--shard", "1/2", code=1)
    assert "1 of 2 sequences failed" in own.stderr and "other shards lack nothing" in own.stdout


@pytest.mark.parametrize("text", ["3/3", "0/0", "-1/3", "1", "1/3/5", "a/3", "0/100001", "1.0/2", "٠/٣"])
def test_what_is_no_shard_is_refused(jtrack, command, tmp_path, text):
    done = jtrack(*command, "--results", tmp_path / "out", "--shard", text, code=2)
    assert "give I/N with I from 0 to N - 1" in done.stderr
    with pytest.raises(JtrackError):
        shards.parse(text)


def test_shards_of_one_number_have_every_name_once():
    names = [f"video{number}" for number in range(23)]
    for count in (1, 2, 7, 23, 30):
        parts = [shards.Shard(index, count).of(reversed(names)) for index in range(count)]
        assert sorted(name for part in parts for name in part) == sorted(names)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.slow
def test_settings_of_a_sweep_are_compared_by_the_last_shard(jtrack, tmp_path):
    sweep = ["sweep", "--dataset", "synthetic", "--sequences", "ladybird-4,ladybird-1", "--limit-frames", 3]
    sweep += ["--backbone", "tiny", "--set", "learning_rate=0.02", "--results", tmp_path / "out"]
    first = jtrack(*sweep, "--shard", "0/2")
    assert "2 trials run" in first.stdout and "other shards lack 1: ladybird-4" in first.stdout
    assert "(base)" not in first.stdout
    last = jtrack(*sweep, "--shard", "1/2")
    assert "2 trials run" in last.stdout and "(base)" in last.stdout
