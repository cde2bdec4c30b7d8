"""The other commands, help and version."""

import re
import subprocess
import sys

import cv2
import jax
import numpy as np
import pytest
from cli_tools import read_video

import jtrack as package
from jtrack import backbones, devices, trackers
from jtrack.backbones import box_feature
from jtrack.benchmark import metrics, protocol
from jtrack.benchmark.adapters import OPENCV
from jtrack.cli import COMMANDS, demo, doctor
from jtrack.data import synthetic
from jtrack.data.dataset import KINDS


def test_version_and_help(jtrack):
    assert jtrack("--version").stdout.strip() == f"jtrack {package.__version__}"
    help_text = jtrack("--help").stdout
    assert all(name in help_text for name in COMMANDS)
    for name in COMMANDS:
        assert "Usage" in jtrack(name, "--help").stdout


def test_h_is_help_of_every_command(jtrack):
    assert jtrack("-h").stdout == jtrack("--help").stdout
    for name in COMMANDS:
        assert "Usage" in jtrack(name, "-h").stdout
    for names in (("train", "objectness"), ("vot", "serve"), ("weights", "fetch"), ("list", "profiles")):
        assert "Usage" in jtrack(*names, "-h").stdout


def test_help_comes_without_waiting_for_jax():
    code = "import sys; from jtrack.cli import app; app(['-h'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    loaded = done.stdout.splitlines()[-1].split()
    assert "jtrack.cli" in loaded and not {"jax", "cv2", "numpy"} & set(loaded)


def choices(jtrack, *command):
    """The words of each option's help, by the option."""
    text = re.sub("[│╭╮╰╯─]", " ", jtrack(*command, "-h").stdout)
    parts = re.split(r"\n[ *]+(--[a-z-]+) ", text)
    return {
        option: set(re.findall(r"[\w:-]+", words))
        for option, words in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize(
    "command",
    [("track",), ("demo",), ("eval",), ("sweep",), ("export",), ("vot", "serve"), ("vot", "entry")],
    ids=" ".join,
)
def test_help_shows_the_trackers_profiles_and_networks(jtrack, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "200")
    shown = choices(jtrack, *command)
    assert set(trackers.names()) <= shown["--tracker"]
    assert {profile for name in trackers.names() for profile in trackers.profiles(name)} <= shown["--profile"]
    assert set(backbones.names()) <= shown["--backbone"]
    if command != ("demo",):
        assert set(backbones.PRECISIONS) <= shown["--precision"]
    if command == ("eval",):
        assert {f"opencv:{name}" for name in OPENCV} <= shown["--tracker"]


@pytest.mark.parametrize("command", ["eval", "sweep", "score", "report", "pack"])
def test_help_shows_the_datasets_and_protocols(jtrack, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "200")
    shown = choices(jtrack, command)
    assert set(KINDS) <= shown["--dataset"]
    if command != "pack":
        assert set(protocol.names()) <= shown["--protocol"]


def test_help_of_training_shows_its_networks(jtrack, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert set(box_feature.networks()) <= choices(jtrack, "train", "objectness")["--backbone"]


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


def test_the_demo_says_where_the_target_was_lost():
    overlap = np.array([0.9, 0.8, 0.3, 0.05, 0.0, 0.4])
    lost = np.array([False, False, False, False, True, True])
    events = {"occlusion": np.array([0, 0, 1, 1, 0, 0], bool), "scale": np.array([0, 0, 0, 0, 1, 1], bool)}
    assert demo.account(overlap, lost, events) == (
        "the target is missed in 2 frames, first in frame 3, which begins during occlusion; "
        "the tracker called itself lost in 1 of them"
    )
    assert demo.account(overlap[:3], lost[:3], events) == "the target is followed to the end"
    followed = demo.account(np.ones(6), lost, events)
    assert followed == "the target is followed to the end; it called itself lost in 2 frames"


def test_doctor_passes_with_the_flags_it_sets(process):
    running = process("doctor")
    printed, said = running.communicate(timeout=120)
    assert running.returncode == 0, printed + said
    assert printed.count("PASS") == len(doctor.CHECKS) and "FAIL" not in printed
    for words in ("jaxlib", "devices", "XLA_FLAGS", "weights"):
        assert words in printed


def test_doctor_says_that_a_gpu_is_there_and_unused(jtrack, monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", {})
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(devices, "nvidia_gpu", lambda: None)
    assert "GPU" not in jtrack("doctor").stdout
    monkeypatch.setattr(devices, "nvidia_gpu", lambda: "/dev/nvidia0")
    monkeypatch.setattr(devices, "has_cuda", lambda: False)
    assert (
        "an NVIDIA GPU is here (/dev/nvidia0) and not used, as this jaxlib is for CPUs alone: run `python -m "
        "pip install -e '.[cuda]'` in jtrack's checkout, or `python -m pip install 'jax[cuda13]'`"
    ) in jtrack("doctor").stdout
    monkeypatch.setattr(devices, "has_cuda", lambda: True)
    assert "not used: JAX could not start its plugin for CUDA; `python -c" in jtrack("doctor").stdout
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "not used: JAX_PLATFORMS=cpu leaves it out" in jtrack("doctor").stdout
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "not used" not in jtrack("doctor").stdout


@pytest.mark.parametrize("check", [lambda: False, lambda: 1 / 0, lambda: float("x")])
def test_doctor_fails_when_a_check_does(jtrack, monkeypatch, check):
    monkeypatch.setattr(doctor, "CHECKS", {"good": lambda: True, "bad": check})
    result = jtrack("doctor", code=1)
    assert re.search(r"PASS +good", result.stdout) and re.search(r"FAIL +bad", result.stdout)
