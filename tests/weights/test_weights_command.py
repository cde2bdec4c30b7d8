"""`jtrack weights`: thin, so only what it prints and where things end up."""

import numpy as np
import pytest
from typer.testing import CliRunner

from jtrack.cli.weights import app
from jtrack.errors import JtrackError
from jtrack.weights import store


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3)}
    shapes |= {"conv4": (384, 192, 3, 3), "conv5": (256, 192, 3, 3)}
    arrays = {f"{name}_W": rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    arrays |= {f"{name}_b": np.zeros(shape[0], np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def test_list_and_path(user_folder, monkeypatch, tmp_path, source):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path / "first"))
    assert run("path").output.split() == [str(tmp_path / "first"), str(user_folder)]
    run("convert", source, "--as", "caffenet_conv")
    listed = run("list").output
    assert all(name in listed for name in store.manifest())
    assert str(tmp_path / "first" / "caffenet_conv.safetensors") in listed
    assert "sha256:7be5be79" in listed


def test_a_path_is_shown_as_it_is(user_folder, monkeypatch, tmp_path, source):
    place = tmp_path / "net[red]s [b" / "x]"
    monkeypatch.setenv("JTRACK_WEIGHTS", str(place))
    run("convert", source, "--as", "caffenet_conv")
    assert f"{place}/caffenet_conv.safetensors" in run("list").output


def test_convert_says_that_the_file_is_not_the_published_one(user_folder, source):
    result = run("convert", source, "--as", "caffenet_conv")
    assert result.exit_code == 0
    assert f"stored as {user_folder / 'caffenet_conv.safetensors'}" in result.output
    assert "checksum differs: sha256" in result.output


def test_errors_reach_the_main_command(user_folder, source):
    for arguments in (
        ("convert", source, "--as", "squeezenet"),
        ("verify", "vgg19"),
        ("fetch", "vgg19_slim"),
    ):
        assert isinstance(run(*arguments).exception, JtrackError)


def test_verify_the_real_net(user_folder, weights_folder, monkeypatch):
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    result = run("verify", "squeezenet")
    assert result.exit_code == 0
    assert "verified: sha256" in result.output
