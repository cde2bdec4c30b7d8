"""`jtrack pack`."""

import sys

import pytest

from jtrack.data import open_dataset, otb

pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")


@pytest.fixture
def data(clip, pictures, tmp_path):
    """The clip twice, in OTB's layout."""
    for name in ("Walk", "Run"):
        images = tmp_path / "data" / name / "img"
        images.mkdir(parents=True)
        for index, picture in enumerate(pictures, start=1):
            (images / f"{index:04d}.jpg").write_bytes(picture)
        otb.write_boxes(images.parent / "groundtruth_rect.txt", clip.boxes)
    return tmp_path / "data"


def test_it_packs(jtrack, data, tmp_path):
    choice = ("--dataset", "otb", "--root", data, "--out", tmp_path / "packed")
    said = jtrack("pack", *choice, "--sequences", "Walk, Run").stdout
    assert said.startswith("packed 2 sequences, 0.") and "jtrack eval --dataset tfds" in said
    packed = open_dataset("tfds", tmp_path / "packed")
    assert packed.names == ("Walk", "Run")
    assert "exists: give another folder, or --overwrite" in jtrack("pack", *choice, code=2).stderr
    jtrack("pack", *choice, "--sequences", "Run", "--overwrite")
    assert open_dataset("tfds", tmp_path / "packed").names == ("Run",)


def test_refusals(jtrack, data, tmp_path):
    choice = ("--root", data, "--out", tmp_path / "packed")
    assert "unknown kind of dataset 'otb50'" in jtrack("pack", "--dataset", "otb50", *choice, code=2).stderr
    said = jtrack("pack", "--dataset", "otb", *choice, "--sequences", "../Walk", code=2).stderr
    assert "unknown sequence of" in said
    said = jtrack("pack", "--dataset", "otb", *choice, "--list", "cvpr13", code=2).stderr
    assert "lacks 51 of the 51 sequences wanted of cvpr13" in said
    assert "needs its folder" in jtrack("pack", "--dataset", "otb", "--out", tmp_path / "p", code=2).stderr
    (tmp_path / "file").write_text("")
    said = jtrack("pack", "--dataset", "otb", "--root", data, "--out", tmp_path / "file", code=2).stderr
    assert "cannot write the pack" in said
    assert not (tmp_path / "packed").exists()


def test_the_extra_is_named(jtrack, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delitem(sys.modules, "jtrack.data.tfds", raising=False)
    monkeypatch.delattr("jtrack.data.tfds", raising=False)
    said = jtrack("pack", "--dataset", "otb", "--root", data, "--out", tmp_path / "packed", code=2).stderr
    assert "a packed dataset needs tensorflow-datasets, array-record and" in said and "-e '.[tfds]'" in said
