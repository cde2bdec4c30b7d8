"""HCFT on real sequences, whole (marked `accuracy`) and, quickly, a part of one."""

import subprocess
import sys

import numpy as np
import pytest

from bench import otb as bench
from jtrack import trackers
from jtrack.benchmark import metrics
from jtrack.data import otb
from jtrack.run import track
from tests.conftest import ROOT


@pytest.fixture
def installed(weights_folder, tmp_path, monkeypatch):
    """The real weights, converted where nothing else is kept."""
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.mark.parametrize("backbone", ["hog", "googlenet"])
def test_default_follows_the_pedestrian(data_folder, installed, backbone):
    sequence = otb.load(data_folder / "otb" / "Crossing")
    found = track(sequence, sequence.boxes[0], backbone=backbone, end=40)
    assert metrics.overlap(found.boxes[1:], sequence.boxes[1:40]).mean() > 0.5
    assert not found.lost.any()


@pytest.mark.accuracy
def test_release2016_follows_motorrolling(data_folder, installed, tmp_path):
    """The authors' own run with VGG-19 has a precision of 0.945."""
    folder = data_folder / "otb" / "MotorRolling"
    out = tmp_path / "boxes.txt"
    where = [str(folder / "img"), "--init", "117,68,122,125", "--one-based", "--out", str(out)]
    which = ["--backbone", "googlenet", "--profile", "release2016"]
    command = [sys.executable, "-m", "jtrack.cli", "track", *where, *which]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = metrics.score(otb.read_boxes(out), otb.load(folder).boxes)
    assert scores.precision20 >= 0.92


@pytest.mark.accuracy
def test_default_is_at_least_as_good_as_release2016(data_folder, installed):
    contestants = [
        trackers.create(profile=profile, backbone="googlenet") for profile in ("release2016", "default")
    ]
    runs = bench.compete(contestants, bench.SEQUENCES, data=data_folder, out=ROOT / bench.OUT)
    truths = [bench.load(data_folder, name)[1] for name in bench.SEQUENCES]
    columns = [
        [metrics.score(run.boxes, truth) for run, truth in zip(column, truths, strict=True)]
        for column in zip(*runs, strict=True)
    ]
    released, default = map(bench.mean, columns)
    assert np.all(np.array(default) >= released), (default, released)
