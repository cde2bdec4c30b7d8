"""The other commands, help and version."""

import re

import cv2
import numpy as np
import pytest
from cli_tools import read_video

import jtrack as package
from jtrack.benchmark import metrics
from jtrack.cli import COMMANDS, doctor
from jtrack.data import synthetic


def test_version_and_help(jtrack):
    assert jtrack("--version").stdout.strip() == f"jtrack {package.__version__}"
    help_text = jtrack("--help").stdout
    assert all(name in help_text for name in COMMANDS)
    for name in COMMANDS:
        assert "Usage" in jtrack(name, "--help").stdout


def test_unknown_command_is_a_usage_error(process):
    running = process("trakc")
    _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    assert said.startswith("jtrack: unknown command 'trakc': did you mean 'track'?") and said.count("\n") == 1


def test_demo(jtrack, tmp_path):
    out = tmp_path / "demo"
    result = jtrack("demo", "--out", out, "--backbone", "hog")
    assert sorted(path.name for path in out.iterdir()) == ["boxes.csv", "response_maps.png", "tracked.mp4"]
    truth = synthetic.clip().boxes
    assert read_video(out / "tracked.mp4").shape == (len(truth), 480, 640, 3)
    boxes = np.loadtxt(out / "boxes.csv", delimiter=",", skiprows=1)[:, 2:6]
    printed = re.search(r"overlap ([\d.]+), precision at 20 px ([\d.]+), .* curve ([\d.]+)", result.stdout)
    scores = metrics.score(boxes, truth)
    want = metrics.overlap(boxes, truth).mean(), scores.precision20, scores.auc
    np.testing.assert_allclose([float(value) for value in printed.groups()], want, rtol=0, atol=6e-4)
    assert cv2.imread(str(out / "response_maps.png")).std() > 10
    assert "not empty" in jtrack("demo", "--out", out, code=2).stderr


def test_doctor_passes_with_the_flags_it_sets(process):
    running = process("doctor")
    printed, said = running.communicate(timeout=120)
    assert running.returncode == 0, printed + said
    assert printed.count("PASS") == len(doctor.CHECKS) and "FAIL" not in printed
    for words in ("jaxlib", "devices", "XLA_FLAGS", "weights"):
        assert words in printed


@pytest.mark.parametrize("check", [lambda: False, lambda: 1 / 0, lambda: float("x")])
def test_doctor_fails_when_a_check_does(jtrack, monkeypatch, check):
    monkeypatch.setattr(doctor, "CHECKS", {"good": lambda: True, "bad": check})
    result = jtrack("doctor", code=1)
    assert re.search(r"PASS +good", result.stdout) and re.search(r"FAIL +bad", result.stdout)
