"""Text files of numbers: which characters end a line or make a number, and how much is read."""

import os

import numpy as np
import pytest

from jtrack.data import got10k, open_dataset, otb, text, vot_challenge
from jtrack.data.text import read_lines, read_names, read_rows
from jtrack.errors import JtrackError


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_ends_a_line(tmp_path, end):
    path = tmp_path / "a.txt"
    path.write_bytes(f"1,2{end}3\t4 ; 5{end}{end}".encode())
    assert read_rows(path) == [(1, [1, 2]), (2, [3, 4, 5])]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1e"])
def test_what_ends_no_line(tmp_path, end):
    """Python's `splitlines` would make two frames of it."""
    path = tmp_path / "a.txt"
    path.write_text(f"1,2,3,4{end}5,6,7,8\n9,9,9,9\n", "utf-8")
    with pytest.raises(JtrackError, match=r"line 1 of .*a\.txt is not a line of numbers: '1,2,3,4"):
        read_rows(path)
    assert len(read_lines(path)) == 2


@pytest.mark.parametrize(
    "number",
    ["１２", "٣", "१", "1_000", "1\xa0", "\x0c1", "inf", "-Infinity", "1e999", "2e100", "0x10", "", "1-2"],
)
def test_what_is_no_number(tmp_path, number):
    path = tmp_path / "a.txt"
    path.write_text(f"1,{number},3,4\n", "utf-8")
    with pytest.raises(JtrackError, match=r"line 1 of .*a\.txt is not a line of numbers"):
        read_rows(path)
    path.write_text("1,-.5e1,+3,NaN\n")
    np.testing.assert_array_equal(read_rows(path)[0][1], [1, -5, 3, np.nan])


def test_files_that_are_no_files_are_refused(tmp_path):
    """A FIFO would hang and /dev/zero never end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JtrackError, match=r"cannot read .*pipe: it is a pipe, not a file"):
        read_rows(tmp_path / "pipe")
    with pytest.raises(JtrackError, match="cannot read /dev/zero: it is a device, not a file"):
        read_names("/dev/zero")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(JtrackError, match=r"sparse has 1099511627776 bytes: at most 33554432 are read"):
        read_rows(tmp_path / "sparse")


def test_as_much_is_read_as_any_benchmark_has(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MOST_LINES", 3)
    monkeypatch.setattr(text, "LONGEST_LINE", 8)
    path = tmp_path / "a.txt"
    path.write_text("1\n2\n1,2,3,45\n\n")
    assert len(read_rows(path)) == 3
    path.write_text("1\n" * 4)
    with pytest.raises(
        JtrackError, match=r"a\.txt has more than 3 lines: it is not a file of one line a frame"
    ):
        read_rows(path)
    path.write_text("1\n1,2,3,456\n")
    with pytest.raises(JtrackError, match=r"line 2 of .*a\.txt has 9 characters: at most 8 are read"):
        read_rows(path)


def test_names_are_compared_in_one_unicode_form(tmp_path):
    (tmp_path / "list.txt").write_text("Caf\u00e9\nCafe\u0301\n", "utf-8")
    with pytest.raises(JtrackError, match="names Cafe\u0301 twice"):
        read_names(tmp_path / "list.txt")


def scattered(folder, name, content=b"\x00\x05\x16\x07Mac OS X\xff"):
    """What a Mac leaves beside a file on a foreign disk and in an archive."""
    (folder / f"._{name}").write_bytes(content)
    (folder / "__MACOSX" / folder.name).mkdir(parents=True)
    (folder / "__MACOSX" / folder.name / f"._{name}").write_bytes(content)


def test_hidden_files_are_passed_over_in_every_layout(tmp_path):
    bare = tmp_path / "bare" / "anno"
    bare.mkdir(parents=True)
    (bare / "Walk.txt").write_text("1,1,5,5\n")
    scattered(bare, "Walk.txt")
    assert otb.dataset(tmp_path / "bare", None).names == ("Walk",)
    ball = tmp_path / "vot" / "ball"
    ball.mkdir(parents=True)
    (ball / "groundtruth.txt").write_text("1,1,5,5\n1,1,5,5\n")
    (ball / "occlusion.tag").write_text("0\n1\n")
    scattered(ball, "occlusion.tag")
    scattered(ball.parent, "groundtruth.txt")
    (ball.parent / "__MACOSX" / "groundtruth.txt").write_bytes(b"\xff")
    dataset = vot_challenge.dataset(ball.parent, None)
    assert dataset.names == ("ball",)
    events = dataset.annotation("ball").events
    assert {name: marks.tolist() for name, marks in events.items()} == {"occlusion": [False, True]}


def test_a_pipe_in_place_of_what_a_dataset_says_does_not_hang(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("1,1,5,5\n")
    os.mkfifo(tmp_path / "meta_info.ini")
    with pytest.raises(JtrackError, match=r"meta_info\.ini: it is a pipe"):
        got10k.load_annotation(tmp_path)


@pytest.mark.parametrize("fps", ["nan", "-5", "0", "１２", "1e400", "1_0"])
def test_frames_a_second_are_a_positive_number(tmp_path, fps):
    (tmp_path / "groundtruth.txt").write_text("1,1,5,5\n")
    (tmp_path / "sequence").write_text(f"fps={fps}\n", "utf-8")
    with pytest.raises(
        JtrackError, match=r"sequence gives '.*' as frames per second: give a positive number"
    ):
        vot_challenge.load_annotation(tmp_path)


def test_a_root_that_is_a_file_is_said(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"0")
    with pytest.raises(JtrackError, match=r"cannot open folder .*clip\.mp4: Not a directory"):
        open_dataset("folder", tmp_path / "clip.mp4")
