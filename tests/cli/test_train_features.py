"""The commands `jtrack train features` and `jtrack train tracker`, as a user runs them."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from jtrack import trackers
from jtrack.data import scenes
from jtrack.weights import store

SMALL = ["--batch", 2, "--length", 2, "--side", 64, "--keep-every", 2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of images without boxes."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), scenes.scene(number).image[:, :, ::-1])
    return folder


@pytest.mark.slow
def test_a_network_is_trained_that_trackers_then_use(jtrack, photos, tmp_path, monkeypatch, optax_promotes):
    options = ["train", "features", "--data", f"images:{photos}", "--data", "scenes:5", "--teacher", "tiny"]
    options += [
        "--views",
        8,
        "--distil-steps",
        2,
        "--distil-batch",
        4,
        "--steps",
        2,
        *SMALL,
        "--out",
        tmp_path,
    ]
    done = jtrack(*options)
    path, folder = tmp_path / "compact.safetensors", tmp_path / "compact"
    assert f"compact: stored as {path}" in done.stdout
    assert "lessons: 8 of 200 views" in done.stderr
    assert "step 2 of 2: distillation loss" in done.stderr and "step 2 of 2: filters beside" in done.stderr
    assert "distillation: steps 2" in done.stdout and "overlap" in done.stdout
    with (folder / "filters" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "2"] and float(rows[1]["held_out_loss"]) > 0
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")

    layers, header = store.read(path, "compact")
    assert header["trained_for"] == "features" and header["data"] == f"images:{photos} + scenes:5"
    assert json.loads(header["settings"])["teacher"] == "tiny"
    assert json.loads(header["phases"])["filters"]["steps"] == 2
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path))
    bound = trackers.create("hcft", backbone="compact")
    np.testing.assert_array_equal(bound.params["backbone"]["conv6"]["kernel"], layers["conv6"]["kernel"])

    before = path.read_bytes()
    assert "step 1" not in jtrack(*options).stderr  # nothing is left to do
    assert store.read(path, "compact")[1]["params_sha256"] == header["params_sha256"]
    other = jtrack(*options, "--seed", 1, code=2)
    assert "is of another teacher, data, seed or size: give the same, another --out" in other.stderr
    shutil.rmtree(folder)
    again = jtrack(*options, code=2)
    assert f"{path} exists: give another --out, or --overwrite" in again.stderr
    assert len(path.read_bytes()) == len(before)


@pytest.mark.slow
def test_numbers_are_learnt_and_said_as_set_takes_them(jtrack, tmp_path, optax_promotes):
    options = ["train", "tracker", "--data", "scenes:8", "--backbone", "tiny", "--learn", "label_width"]
    done = jtrack(*options, "--steps", 2, "--rate", 0.5, *SMALL, "--out", tmp_path)
    said = done.stdout.splitlines()[0]
    assert said.startswith("--set label_width=0.")
    assert "clips held out: loss" in done.stdout
    assert (tmp_path / "curves.png").is_file() and (tmp_path / "log.csv").is_file()
    again = jtrack(*options, "--steps", 2, "--rate", 0.1, *SMALL, "--out", tmp_path, code=2)
    assert "with other rate (0.5, now 0.1)" in again.stderr


def test_wrong_words_are_refused_at_once(jtrack, tmp_path):
    for options, sentence in (
        (["features", "--data", "scenes:9", "--backbone", "hog"], "hog has no weights to train"),
        (["features", "--data", "scenes:9", "--steps", 5, "--length", 1], "a clip has two frames at least"),
        (["features", "--data", "scenes:9", "--batch", 0], "batch is 0: give a number above 0"),
        (
            ["features", "--data", "scenes:9", "--weights", "other"],
            "unknown weights 'other': known: random, stored",
        ),
        (["features", "--data", "scenes:9", "--seed", -1], "seed is -1"),
        (["features", "--data", "scenes:9", "--distil-steps", 0], "both phases have no steps"),
        (
            ["features", "--data", "scenes:9", "--distil-batch", 300],
            "--distil-batch is 300: give 192 at most",
        ),
        (["features", "--data", "scenes:9", "--teacher", "none"], "none has no maps to learn"),
        (
            ["features", "--data", "scenes:9", "--teacher", "alexnet"],
            "compact cannot learn the maps of alexnet",
        ),
        (["features", "--data", "scenes:9", "--backbone", "tiny"], "tiny has no weights to train"),
        (["tracker", "--data", "scenes:9", "--backbone", "tiny", "--batch", 0], "batch is 0"),
        (["tracker", "--data", "scenes:9", "--backbone", "tiny", "--steps", 0], "steps is 0"),
        (["tracker", "--data", "scenes:9", "--backbone", "tiny", "--keep-every", 0], "keep_every is 0"),
        (["features", "--data", "photos"], "data 'photos' is not understood"),
        (
            ["tracker", "--data", "scenes:9", "--backbone", "tiny", "--learn", "learning_rat"],
            "learning_rate",
        ),
    ):
        done = jtrack("train", *options, "--out", tmp_path, code=2)
        assert sentence in done.stderr.replace("\n", " ")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["objectness", "--backbone", "tiny", "--out"], "tiny_objectness/checkpoint.safetensors"),
        (["features", "--out"], "compact/distillation/checkpoint.safetensors"),
        (["tracker", "--backbone", "tiny", "--out"], "checkpoint.safetensors"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_slip_of_the_keyboard_deletes_no_training(jtrack, tmp_path, command, kept):
    """--overwrite beside data that are not there."""
    path = tmp_path / kept
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"hours")
    data = f"folder:{tmp_path / 'absent'}"
    done = jtrack("train", *command, tmp_path, "--data", data, "--overwrite", code=2)
    assert "there is no folder" in done.stderr
    assert path.read_bytes() == b"hours"
