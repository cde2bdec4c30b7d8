"""The benchmark commands on a little data."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from bench.calibration import calibration, with_odds
from jtrack.benchmark import adapters, protocol
from jtrack.benchmark.evaluate import evaluate
from jtrack.benchmark.results import INITIALISED, TRACKED, Results, Trajectory
from jtrack.data import Annotation, open_dataset, synthetic
from tests.conftest import ROOT
from tests.data import otb_tree

LENGTHS = {"Walk": 6, "Run": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two short sequences in OTB's layout."""
    folder = tmp_path_factory.mktemp("data")
    for name, frames in LENGTHS.items():
        clip = synthetic.clip(frames=frames, size=(96, 128))
        otb_tree.write(folder / "otb", name, clip)
    return folder


def command(script, *arguments, environment=None):
    """Runs a script in a process of its own; its stdout."""
    line = [sys.executable, str(ROOT / "bench" / script), *map(str, arguments)]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, env=os.environ | (environment or {}), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(text):
    """Every Markdown table, as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in b.splitlines()] for b in blocks]


@pytest.mark.slow
def test_calibration_prints_a_table_a_run(data, tmp_path):
    """Of the runs of a results folder, whose scores and overlaps are read from its files."""
    dataset = open_dataset("otb", data / "otb")
    for profile in ("release2016", "default"):
        tracker = adapters.evaluated("hcft", profile=profile, backbone="tiny")
        evaluate(tracker, dataset, protocol.load("ope"), tmp_path)
    text = command("calibration.py", tmp_path)
    found = tables(text)
    # All frames but the given ones are in the tables, which close with the lost flag.
    assert [sum(int(row[1]) for row in table[2:]) for table in found] == [sum(LENGTHS.values()) - 2] * 2
    assert "hcft release2016 tiny ope, 2 sequences" in text
    assert text.count("Lost against overlap < 0.2") == 2
    (default,) = tmp_path.glob("hcft-default-*")
    rows = [np.loadtxt(path, delimiter=",", skiprows=2) for path in sorted(default.glob("ope/*.csv"))]
    scores = np.concatenate(rows)[:, 6]
    assert int(found[0][2 + min(9, int(scores[0] * 10))][1]) >= 1
    assert f"{scores[scores >= 0.9].mean():.2f}" in found[0][11] or not (scores >= 0.9).any()


def test_calibration_by_hand():
    truth = np.tile([0.0, 0.0, 10.0, 10.0], (5, 1))
    boxes = truth + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [20, 0, 0, 0], [20, 0, 0, 0], [4, 0, 0, 0]])
    scores, lost = np.array([1, 0.95, 0.92, 0.05, 0.35]), np.array([0, 0, 0, 1, 1], bool)
    status = np.array([INITIALISED, *[TRACKED] * 4], np.uint8)
    trial = Trajectory(boxes, status, scores=scores, lost=lost)
    text = calibration(Results("one", "ope", {"Walk": [trial]}), {"Walk": Annotation("Walk", truth)})
    rows = {row[0]: row[1:] for row in tables(text)[0][2:]}
    assert rows["0.9-1.0"] == ["2", "0.94", "0.50"]
    assert rows["0.0-0.1"] == ["1", "0.05", "0.00"]
    assert rows["0.3-0.4"] == ["1", "0.35", "0.00"]  # an overlap of 60 / 140
    assert rows["0.5-0.6"] == ["0", "–", "–"]
    # (2 * |0.935 - 0.5| + 0.05 + 0.35) / 4; of two lost frames one is off, and so it is of two that are off.
    assert "error 0.318." in text
    assert "precision 0.50 (1 of 2), recall 0.50 (1 of 2)" in text


def test_a_score_that_is_too_sure_is_recalibrated():
    """Scores whose log odds are twice those of the truth, and one more."""
    rng = np.random.default_rng(0)
    truth = np.tile([0.0, 0.0, 10.0, 10.0], (4000, 1))
    trajectories, annotations = {}, {}
    for name in ("A-1", "A-2", "B", "C"):
        odds = rng.normal(size=len(truth))
        hit = rng.random(len(truth)) < 1 / (1 + np.exp(-odds))
        boxes = truth + np.where(hit, 0, 20)[:, None] * np.array([1, 0, 0, 0])
        status = np.full(len(truth), TRACKED, np.uint8)
        scores = 1 / (1 + np.exp(-(2 * odds + 1)))
        trajectories[name] = [Trajectory(boxes, status, scores=scores, lost=~hit)]
        annotations[name] = Annotation(name, truth)
    text = calibration(Results("one", "ope", trajectories), annotations)
    found = re.search(
        r"Each of 3 videos .* is ([\d.]+) .* ([\d.]+) \(.* a = ([-\d.]+) and b = (-?[0-9]+[.][0-9]+)", text
    )
    before, after, a, b = map(float, found.groups())
    assert before > 0.1 and after < 0.02
    assert (a, b) == (pytest.approx(0.5, abs=0.03), pytest.approx(-0.5, abs=0.05))
    moved = with_odds(Results("one", "ope", trajectories), a, b, lost_below=0.2)
    assert (
        float(re.search(r"Expected calibration error ([\d.]+)\.", calibration(moved, annotations))[1]) < 0.02
    )
    for trial in moved.trajectories["B"]:
        np.testing.assert_array_equal(trial.lost, trial.scores < 0.2)


@pytest.mark.slow
def test_trackers_prints_its_table(data, tmp_path):
    choice = ("--rounds", 1, "--frames", 4, "--contestants", "tiny:float32")
    text = command("trackers.py", *choice, "--sequence", data / "otb" / "Walk")
    ((_, _, row, _),) = tables(text)
    assert row[:2] == ["tiny float32", "random"]
    assert all(float(row[column]) > 0 for column in (2, 4, 5))
    assert "Walk, 128 x 96" in text
    assert float(re.search(r"`import jtrack`: ([\d.]+) s", text)[1]) > 0
