"""What changes a sequence's digest, and what does not."""

import dataclasses
import os
import shutil

import cv2
import numpy as np
import pytest

from jtrack.data import from_arrays, open_dataset
from jtrack.data.identity import digest
from jtrack.data.sequence import Sequence
from jtrack.errors import JtrackError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data" / "Walk"
    folder.mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(folder / f"{index:04d}.png"), np.full((30, 40, 3), 40 * index, np.uint8))
    (folder / "groundtruth.txt").write_text("1,2,10,12\n2,2,10,12\nnan,nan,nan,nan\n")
    return folder.parent


def of(root):
    return digest(open_dataset("folder", root).sequence("Walk"))


def test_a_copy_has_the_same(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "copy" / "Walk" / "notes.md").write_text("not a frame")
    assert of(root) == of(tmp_path / "copy") and len(of(root)) == 16


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (
            (folder / "0001.png").unlink() or (folder / "groundtruth.txt").write_text("1,2,10,12\n")
        ),
        lambda folder: (folder / "0001.png").rename(folder / "0003.png"),
        lambda folder: (folder / "0001.png").write_bytes((folder / "0001.png").read_bytes() + b"\0"),
        lambda folder: (folder / "groundtruth.txt").write_text("1,2,10,12\n2,2,10,12\n2,2,10,12\n"),
    ],
    ids=["one less", "another name", "another length", "another box"],
)
def test_a_change_gives_another(root, change):
    before = of(root)
    change(root / "Walk")
    assert of(root) != before


def test_a_video_counts_by_its_name_and_length(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "Walk.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (48, 32))
    for index in range(3):
        writer.write(np.full((32, 48, 3), 40 * index, np.uint8))
    writer.release()
    (tmp_path / "Walk.txt").write_text("1,2,10,12\n")
    before = of(tmp_path)
    with (tmp_path / "Walk.avi").open("ab") as file:
        file.write(b"\0" * 7)
    assert of(tmp_path) != before


def test_frames_without_files_count_by_what_is_known():
    def walk(frames=4, x=1.0, **more):
        boxes = np.array([[x, 2, 3, 4]] * frames)
        return Sequence("walk", boxes, frames=from_arrays(np.zeros((frames, 8, 9, 3), np.uint8)), **more)

    polygons = np.zeros((4, 4, 2))
    variants = [
        walk(),
        walk(5),
        walk(x=2.0),
        walk(polygons=polygons),
        walk(events={"absent": np.ones(4, bool)}),
    ]
    packed = dataclasses.replace(walk().frames, encoded=lambda: iter([b"12", b"123", b"1", b"1"]))
    variants.append(dataclasses.replace(walk(), frames=packed))
    assert len({digest(each) for each in variants}) == len(variants)
    assert digest(walk(attributes=("SV",))) == digest(walk())  # which shape no box


def test_a_file_that_is_gone_is_said(root):
    walk = open_dataset("folder", root).sequence("Walk")
    (root / "Walk" / "0002.png").unlink()
    with pytest.raises(JtrackError, match=r"0002\.png, a frame of Walk"):
        digest(walk)
