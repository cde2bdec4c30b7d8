"""The command `jtrack train objectness`."""

import csv
import json
import signal
import time

import cv2
import jax
import numpy as np
import pytest
from safetensors import safe_open

from jtrack import trackers
from jtrack.data import scenes
from jtrack.train import checkpoint
from jtrack.weights import checkpoints as entries
from tests.data import boxed_trees

QUICK = ["--backbone", "tiny", "--batch", 8, "--head", 6, "--hidden", 5, "--held-out", 2, "--keep-every", 2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Some scenes as a folder of images with boxes."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        image, boxes, _ = scenes.scene(number)
        cv2.imwrite(str(folder / f"{number}.png"), image[:, :, ::-1])
        np.savetxt(folder / f"{number}.txt", boxes, delimiter=",", fmt="%.6f")
    return folder


def test_a_smoke_run_makes_an_entry_that_gdt_begins_with(jtrack, photos, tmp_path, monkeypatch):
    options = ["train", "objectness", "--data", f"folder:{photos}", "--data", "scenes:5", *QUICK]
    done = jtrack(*options, "--steps", 4, "--out", tmp_path)
    path = tmp_path / "tiny_objectness.safetensors"
    assert f"tiny_objectness: stored as {path}" in done.stdout
    assert (
        "of the patches told right (guessing 50 %, a linear classifier on tiny before training" in done.stdout
    )
    assert "step 2 of 4: loss" in done.stderr and "held out" in done.stderr
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path))
    entry = entries.load("tiny_objectness")
    assert entry.head["fc7"]["kernel"].shape == (5, 6)
    bound = trackers.create("gdt", backbone="tiny")
    np.testing.assert_array_equal(bound.params["backbone"]["head/fc7"]["kernel"], entry.head["fc7"]["kernel"])
    assert entry.header["data"] == f"folder:{photos} + scenes:5"
    assert json.loads(entry.header["settings"])["steps"] == 4
    with (tmp_path / "tiny_objectness" / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "2", "4"]

    more = jtrack(*options, "--steps", 6, "--out", tmp_path)  # goes on
    assert "step 6 of 6" in more.stderr and "step 2 of 6" not in more.stderr
    assert entries.load("tiny_objectness").header["steps"] == "6"
    wrong = jtrack(*options, "--seed", 1, "--out", tmp_path, code=2)
    assert (
        "with other seed (0, now 1): give the same, another --out, or --overwrite to begin anew"
        in wrong.stderr
    )
    jtrack(*options, "--seed", 1, "--steps", 1, "--out", tmp_path, "--overwrite")
    assert entries.load("tiny_objectness").header["steps"] == "1"
    checkpoint_file = tmp_path / "tiny_objectness" / "checkpoint.safetensors"
    checkpoint_file.unlink()
    there = jtrack(*options, "--steps", 1, "--out", path, code=2)
    assert f"{path} exists: give another --out, or --overwrite" in there.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["voc", "ilsvrc", "coco"])
def test_one_command_trains_on_boxes_as_people_have_them(jtrack, tmp_path, kind):
    tree = getattr(boxed_trees, kind)(tmp_path / "tree", list(range(8)))
    options = ["--data", f"{kind}:{tree}", *QUICK, "--steps", 2, "--out", tmp_path]
    jtrack("train", "objectness", *options)
    assert entries.load(tmp_path / "tiny_objectness.safetensors").header["data"].startswith(f"{kind}:{tree}")


@pytest.mark.parametrize(("told", "hint"), [(0.0, False), (1.01, True)])
def test_a_training_that_learnt_nothing_is_said(jtrack, photos, tmp_path, monkeypatch, told, hint):
    """As measured by where guessing is drawn: the accuracy of so short a run says little."""
    monkeypatch.setattr("jtrack.cli.train.GUESSING", told)
    done = jtrack(
        "train", "objectness", "--data", f"folder:{photos}", *QUICK, "--out", tmp_path, "--steps", 1
    )
    assert ("hardly better than guessing: more --steps, or a lower --rate" in done.stderr) == hint


def test_divergence_stops_with_1_and_keeps_the_checkpoint(jtrack, photos, tmp_path):
    options = ["train", "objectness", "--data", f"folder:{photos}", *QUICK, "--out", tmp_path, "--steps", 40]
    done = jtrack(*options, "--rate", 1e7, code=1)
    assert "jtrack: training diverged at step" in done.stderr and done.stderr.count("\n") == 1
    kept = tmp_path / "tiny_objectness" / "checkpoint.safetensors"
    assert str(kept) in done.stderr and "go on with a lower rate than 1e+07" in done.stderr
    assert checkpoint.about(kept)["step"] == 0
    with safe_open(kept, framework="numpy") as file:
        assert all(np.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118
    assert not (tmp_path / "tiny_objectness.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "tfds:voc/2007"], "tfds:voc/2007 is not prepared in {tmp_path}: "),
        (["--data", "folder:{tmp_path}"], "folder {tmp_path} holds 0 images but no boxes: expected NAME.txt"),
        (["--data", "voc"], "data 'voc' is not understood: give tfds:voc/2007"),
        (["--data", "voc:{tmp_path}"], "voc:{tmp_path} has no folder Annotations: expected VOC's layout"),
        (["--data", "scenes:1"], "scenes:1 has 1 images or videos: two at least"),
        (
            ["--data", "scenes:9", "--backbone", "tinny"],
            "unknown network for objectness 'tinny': did you mean",
        ),
        (["--data", "scenes:9", "--batch", "7"], "batch is 7: give a multiple of 4"),
        (["--data", "scenes:9", "--backbone", "vgg16"], "no weights of vgg16 in"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(jtrack, tmp_path, monkeypatch, options, said):
    if "tfds" in options[1]:
        pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path))
    options = [option.format(tmp_path=tmp_path) for option in options]
    out = ["--data-dir", tmp_path, "--out", tmp_path / "out"]
    failed = jtrack("train", "objectness", *QUICK, *options, *out, code=2)
    assert said.format(tmp_path=tmp_path) in failed.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_in_the_place_of_a_checkpoint(jtrack, photos, tmp_path):
    place = tmp_path / "tiny_objectness" / "checkpoint.safetensors"
    place.mkdir(parents=True)
    options = ["train", "objectness", "--data", f"folder:{photos}", *QUICK, "--steps", 1, "--out", tmp_path]
    assert f"cannot read {place}: it is a folder, not a file" in jtrack(*options, code=2).stderr
    said = jtrack(*options, "--overwrite", code=2).stderr
    assert f"the earlier training's {place} cannot be read" in said and "remove it" in said
    assert place.is_dir() and not (tmp_path / "tiny_objectness.safetensors").exists()


def test_data_without_boxes(jtrack, photos, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((photos / f"{number}.png").read_bytes())
        (tmp_path / f"{number}.txt").write_text("")
    options = ["--data", f"folder:{tmp_path}", *QUICK, "--out", tmp_path / "out"]
    failed = jtrack("train", "objectness", *options, code=2)
    assert (
        "images in a row of folder:" in failed.stderr
        and "give data with boxes around objects" in failed.stderr
    )


@pytest.mark.slow
def test_ctrl_c_keeps_what_there_is_and_the_same_command_goes_on(process, jtrack, photos, tmp_path):
    options = ["train", "objectness", "--data", f"folder:{photos}", *QUICK, "--out", tmp_path / "stopped"]
    # The same bits need the same code: the process that is interrupted compiles as this one does.
    quickly = str(jax.config.read("jax_disable_most_optimizations"))
    running = process(*options, "--steps", 100_000, JAX_DISABLE_MOST_OPTIMIZATIONS=quickly)
    kept = tmp_path / "stopped" / "tiny_objectness" / "checkpoint.safetensors"
    for _ in range(600):
        if kept.is_file() and checkpoint.about(kept)["step"] >= 2:
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    step = checkpoint.about(kept)["step"]
    assert f"jtrack: interrupted after {step} steps, which are kept in {kept}" in errors
    jtrack(*options, "--steps", step + 3)
    jtrack(*options[:-1], tmp_path / "straight", "--steps", step + 3)
    files = [tmp_path / name / "tiny_objectness.safetensors" for name in ("stopped", "straight")]
    assert entries.load(files[0]).header["params_sha256"] == entries.load(files[1]).header["params_sha256"]
