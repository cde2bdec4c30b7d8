"""SIGKILL at any moment, then the same command again: the bits are those of a run that nobody killed."""

import csv
import shutil
import signal
import subprocess
import time

import cv2
import numpy as np
import pytest
from safetensors import safe_open

from jtrack.benchmark import results
from jtrack.data import scenes, synthetic
from jtrack.weights import checkpoints

KILLS = 12
PATIENCE = 300  # seconds for a run of a few: only a hang takes so long


def moments(seconds, seed):
    """`KILLS` random moments of a run, one in each of as many equal parts of it."""
    return (np.arange(KILLS) + np.random.default_rng(seed).random(KILLS)) / KILLS * seconds


def finished(started):
    """Waits for a run to end well, and says how long that took."""
    begun = time.monotonic()
    _, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, errors
    return time.monotonic() - begun


def killed(started, moment):
    """Kills a run at a moment, unless it has ended before. Whether it was killed."""
    try:
        started.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        started.send_signal(signal.SIGKILL)
    started.communicate(timeout=PATIENCE)
    return started.returncode == -signal.SIGKILL


def survives(start, out, bits, seed):
    """Runs undisturbed, then `KILLS` times killed and resumed; all end with the same bits."""
    finished(start())  # fills the cache of compiled programs
    want = bits(out)
    shutil.rmtree(out)
    seconds = finished(start())
    assert bits(out) == want
    count, halfway = 0, 0
    for moment in moments(seconds, seed):
        shutil.rmtree(out)
        count += killed(start(), moment)
        halfway += out.is_dir()
        out.mkdir(parents=True, exist_ok=True)
        finished(start())
        assert bits(out) == want, f"killed after {moment:.3f} of {seconds:.3f} seconds"
    assert count > KILLS // 2 and halfway > 2, (count, halfway)


@pytest.mark.slow
def test_an_evaluation_survives(process, tmp_path):
    root, out = tmp_path / "videos", tmp_path / "results"
    for number in range(6):
        clip = synthetic.clip(frames=40, size=(96, 128), seed=number)
        folder = root / f"walk{number}"
        folder.mkdir(parents=True)
        for index, image in enumerate(clip.frames):
            cv2.imwrite(str(folder / f"{index:04d}.jpg"), image[:, :, ::-1])
        np.savetxt(folder / "groundtruth.txt", clip.boxes, delimiter=",")
    command = ["eval", "--tracker", "hcft", "--backbone", "hog", "--dataset", "folder", "--root", root]

    def bits(folder):
        (found,) = results.load(folder)
        assert not found.failures
        trials = {
            name: [(t.start, t.boxes.tobytes(), t.status.tobytes()) for t in done]
            for name, done in found.trajectories.items()
        }
        assert sorted(trials) == [f"walk{number}" for number in range(6)]
        return trials

    survives(lambda: process(*command, "--results", out), out, bits, seed=1)


@pytest.mark.slow
def test_a_training_survives(process, tmp_path):
    data, out = tmp_path / "photos", tmp_path / "out"
    data.mkdir()
    for number in range(8):
        image, boxes, _ = scenes.scene(number)
        cv2.imwrite(str(data / f"{number}.png"), image[:, :, ::-1])
        np.savetxt(data / f"{number}.txt", boxes, delimiter=",", fmt="%.6f")
    quick = [
        "--backbone",
        "tiny",
        "--batch",
        8,
        "--head",
        6,
        "--hidden",
        5,
        "--held-out",
        2,
        "--keep-every",
        2,
    ]
    command = ["train", "objectness", "--data", f"folder:{data}", *quick, "--steps", 60, "--out", out]

    def bits(folder):
        path = folder / "tiny_objectness.safetensors"
        checkpoints.load(path)
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key).tobytes() for key in sorted(file.keys())}
            header = file.metadata()
        with (folder / "tiny_objectness" / "log.csv").open(newline="") as log:
            rows = [row[:-1] for row in csv.reader(log)]  # the last column is time
        return arrays, header, rows

    survives(lambda: process(*command), out, bits, seed=2)
