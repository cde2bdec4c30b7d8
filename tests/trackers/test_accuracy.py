"""HCFT on real sequences, whole (marked `accuracy`) and, quickly, a part of one."""

import subprocess
import sys

import pytest

from jtrack.benchmark import adapters, metrics, protocol, results, scoring
from jtrack.benchmark.evaluate import evaluate
from jtrack.data import open_dataset, otb
from jtrack.run import track
from tests.conftest import ROOT


@pytest.fixture
def installed(weights_folder, tmp_path, monkeypatch):
    """The real weights, converted where nothing else is kept."""
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.mark.slow
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
    dataset = open_dataset("otb", data_folder / "otb")
    truth = scoring.annotations(dataset)
    scores = {}
    for profile in ("release2016", "default"):
        tracker = adapters.evaluated("hcft", profile=profile, backbone="googlenet")
        done = evaluate(tracker, dataset, protocol.load("ope"), ROOT / "runs" / "otb")
        assert not done.failures
        (found,) = [each for each in results.load(done.folder) if each.protocol == "ope"]
        scores[profile] = scoring.score(found, truth).measures
    for figure in ("precision20", "auc"):
        assert scores["default"][figure] >= scores["release2016"][figure], scores
