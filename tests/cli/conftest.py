"""A small video to track, and the command line run in this process."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from cli_tools import FRAMES
from typer.testing import CliRunner

from jtrack import devices
from jtrack.cli import app
from jtrack.data import synthetic


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """XLA's flags and cache belong to the process of the tests, which has no display and may be slow."""
    monkeypatch.setattr("jtrack.cli.track.announce_compiling", lambda: None)
    monkeypatch.setattr("jtrack.cli.progress.EVERY", 1e9)
    monkeypatch.setattr(devices, "configure_cpu", lambda: devices.CPU_FLAGS)
    monkeypatch.setattr(devices, "enable_compilation_cache", lambda: Path("cache"))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture(scope="session")
def clip():
    return synthetic.clip(frames=FRAMES, size=(96, 128))


@pytest.fixture(scope="session")
def box(clip):
    """The first box, rounded, and as `--init` takes it."""
    return ",".join(f"{value:.0f}" for value in clip.boxes[0])


@pytest.fixture(scope="session")
def pictures(clip):
    """The clip's frames as files in memory."""
    return [cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes() for image in clip.frames]


@pytest.fixture
def folder(pictures, tmp_path):
    """The clip as a folder of images."""
    folder = tmp_path / "walk"
    folder.mkdir()
    for index, data in enumerate(pictures):
        (folder / f"{index:04d}.jpg").write_bytes(data)
    return folder


@pytest.fixture
def jtrack():
    """Runs the command; checks that an expected failure is one line on stderr and nothing else."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, (result.output, result.exception)
        if code == 2:
            assert result.stderr.startswith("jtrack: ") and result.stderr.count("\n") == 1, result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """The environment of a process of its own, with caches of its own."""
    cache = tmp_path_factory.mktemp("cache")
    kept = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "XLA_FLAGS")}
    return kept | {"XDG_CACHE_HOME": str(cache)}


@pytest.fixture
def process(environment):
    """Starts the command in a process of its own."""

    def start(*arguments, **variables):
        command = [sys.executable, "-m", "jtrack.cli", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment | variables)

    return start
