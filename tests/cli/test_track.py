"""`jtrack track`: what it writes, and each wrong input in one sentence."""

import csv
import errno
import json
import os
import resource
import signal
import sys
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from cli_tools import FRAMES, read_video

from jtrack import devices, run
from jtrack.cli import outputs
from jtrack.errors import JtrackError

TINY = ("--backbone", "tiny")


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def hyper(table, *names):
    return np.array([[float(row[name]) for name in names] for row in table])


def leftovers(folder):
    """Files under temporary names."""
    return [path for path in folder.rglob(".*") if "part" in path.name]


def test_boxes_are_those_of_the_library(jtrack, folder, box, tmp_path):
    want = run.track(folder, [float(v) for v in box.split(",")], backbone="tiny")
    out = tmp_path / "boxes.csv"
    result = jtrack("track", folder, "--init", box, *TINY, "--out", out)
    table = rows(out)
    assert list(table[0]) == ["frame", "target", "x", "y", "w", "h", "score", "lost"]
    np.testing.assert_array_equal(hyper(table, "frame", "target"), [[t, 1] for t in range(FRAMES)])
    np.testing.assert_allclose(hyper(table, "x", "y", "w", "h"), want.boxes, rtol=0, atol=6e-7)
    np.testing.assert_allclose(hyper(table, "score")[:, 0], want.scores, rtol=0, atol=6e-7)
    np.testing.assert_array_equal(hyper(table, "lost")[:, 0], want.lost)
    assert (hyper(table[1:], "x", "y") % 1).any()  # nothing is rounded to pixels
    assert f"{FRAMES} frames" in result.stdout and "tiny (float32)" in result.stdout
    assert str(out) in result.stdout and not leftovers(tmp_path)


def test_formats_agree(jtrack, folder, box, tmp_path):
    for suffix in ("csv", "txt", "json"):
        jtrack("track", folder, "--init", box, *TINY, "--out", tmp_path / f"b.{suffix}", "--seed", 3)
    table = hyper(rows(tmp_path / "b.csv"), "x", "y", "w", "h", "score", "lost")
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "b.txt", delimiter=","), table[:, :4])
    document = json.loads((tmp_path / "b.json").read_text())
    (target,) = document["targets"]
    np.testing.assert_array_equal(target["boxes"], table[:, :4])
    np.testing.assert_array_equal(target["scores"], table[:, 4])
    np.testing.assert_array_equal(target["lost"], table[:, 5])
    assert document["label"]["backbone"] == "tiny" and document["label"]["seed"] == 3
    assert document["label"]["digest"] and document["stopped"] is None and document["fps"] > 0


def test_one_based_reads_and_writes_one_more(jtrack, folder, box, tmp_path):
    x, y, w, h = map(int, box.split(","))
    jtrack("track", folder, "--init", box, *TINY, "--out", tmp_path / "zero.txt")
    one = f"{x + 1},{y + 1},{w},{h}"
    jtrack("track", folder, "--init", one, "--one-based", *TINY, "--out", tmp_path / "one.txt")
    zero, one = (np.loadtxt(tmp_path / f"{name}.txt", delimiter=",") for name in ("zero", "one"))
    np.testing.assert_allclose(one - zero, np.tile([1, 1, 0, 0], (FRAMES, 1)), rtol=0, atol=1e-9)
    assert zero[0].tolist() == [x, y, w, h]


def test_several_targets(jtrack, folder, box, tmp_path):
    other = "60,40,30,28"
    for suffix in ("csv", "txt"):
        out = tmp_path / f"both.{suffix}"
        jtrack("track", folder, "--init", box, "--init", other, *TINY, "--out", out)
    jtrack("track", folder, "--init", other, *TINY, "--out", tmp_path / "alone.csv")
    table = rows(tmp_path / "both.csv")
    assert [row["target"] for row in table] == ["1", "2"] * FRAMES
    alone = hyper(rows(tmp_path / "alone.csv"), "x", "y", "w", "h", "score")
    np.testing.assert_allclose(hyper(table[1::2], "x", "y", "w", "h", "score"), alone, rtol=0, atol=1e-2)
    assert not (tmp_path / "both.txt").exists()
    for target in (1, 2):
        text = np.loadtxt(tmp_path / f"both.{target}.txt", delimiter=",")
        np.testing.assert_array_equal(text, hyper(table[target - 1 :: 2], "x", "y", "w", "h"))
    jtrack("track", folder, "--init", box, "--init", other, *TINY, "--out", tmp_path / "both.txt", code=2)


def test_range_of_frames(jtrack, folder, box, tmp_path):
    out = tmp_path / "b.csv"
    jtrack("track", folder, "--init", box, *TINY, "--out", out, "--start", 2, "--end", 5)
    assert [row["frame"] for row in rows(out)] == ["2", "3", "4"]


def test_video_plays_and_shows_the_box(jtrack, folder, box, tmp_path):
    video, out = tmp_path / "v.mp4", tmp_path / "b.csv"
    always = "--set", "lost_below=0"  # a lost target has another colour
    jtrack("track", folder, "--init", box, *TINY, *always, "--video", video, "--out", out)
    frames = read_video(video)
    zoom = 5
    assert frames.shape == (FRAMES, 96 * zoom, 128 * zoom, 3)
    for frame, (x, y, w, h) in zip(frames, hyper(rows(out), "x", "y", "w", "h"), strict=True):
        bottom, middle = int((y + h) * zoom), slice(int((x + w / 4) * zoom), int((x + w * 3 / 4) * zoom))
        red, green, blue = frame[bottom - 2 : bottom + 2, middle].mean(axis=1).T
        # Amber through a lossy codec; the ground is brown and green.
        assert ((red > 180) & (green > 150) & (blue < 120)).any()
    again = tmp_path / "again.csv"
    jtrack("track", video, "--init", "100,100,100,100", *TINY, "--out", again)  # a video file is a source
    assert len(rows(again)) == FRAMES


def test_odd_sides_are_kept(jtrack, box, tmp_path, clip):
    folder = tmp_path / "odd"
    folder.mkdir()
    for index, image in enumerate(clip.frames):
        large = cv2.resize(image, (641, 481))
        cv2.imwrite(str(folder / f"{index}.png"), large[:, :, ::-1])
    jtrack("track", folder, "--init", "200,200,100,100", *TINY, "--video", tmp_path / "v.mp4", "--end", 2)
    assert read_video(tmp_path / "v.mp4").shape == (2, 482, 642, 3)


def test_maps(jtrack, folder, box, tmp_path):
    maps = tmp_path / "maps"
    jtrack("track", folder, "--init", box, *TINY, "--maps", maps, "--start", 1)
    assert sorted(path.name for path in maps.iterdir()) == [f"{t:06d}.png" for t in range(2, FRAMES)]
    assert cv2.imread(str(maps / "000002.png")).std() > 10
    jtrack("track", folder, "--init", box, *TINY, "--maps", maps, code=2)
    jtrack("track", folder, "--init", box, *TINY, "--maps", maps, "--overwrite")
    assert len(list(maps.iterdir())) == FRAMES - 1


def test_pictures_a_tracker_cannot_make_are_refused(jtrack, folder, box, tmp_path):
    out = tmp_path / "out"
    given = ["track", folder, "--init", box]
    assert "deeptrack has none" in jtrack(*given, "--tracker", "deeptrack", "--maps", out, code=2).stderr
    said = jtrack(*given, "--backbone", "hog", "--masks", out, code=2).stderr
    assert "hcft default makes no saliency map" in said
    jtrack("track", folder, "--init", "10,10,0,5", "--maps", out, code=2)
    assert not out.exists()  # nothing half-made is left


def test_window_shows_until_q(jtrack, folder, box, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "destroyWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append("closed"))
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.append(image.shape))
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 3 else -1)
    jtrack("track", folder, "--init", box, *TINY, "--show", "--out", tmp_path / "b.csv")
    assert len(rows(tmp_path / "b.csv")) == 3 and shown[-1] == "closed"


def test_boxes_drawn_with_the_mouse(jtrack, folder, tmp_path, monkeypatch):
    drawn = [(40, 30, 20, 22), (60, 40, 30, 28)]
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("namedWindow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "selectROIs", lambda title, image: np.array(drawn))
    # Drawn boxes count from 0 as pixels of the window do, whatever the files count from.
    jtrack("track", folder, "--one-based", *TINY, "--out", tmp_path / "b.csv", "--end", 2)
    first = hyper(rows(tmp_path / "b.csv"), "x", "y", "w", "h")[:2]
    np.testing.assert_array_equal(first, np.add(drawn, [1, 1, 0, 0]))
    monkeypatch.setattr(cv2, "selectROIs", lambda title, image: ())
    assert "no box was drawn" in jtrack("track", folder, *TINY, code=2).stderr


def refused(jtrack, words, *arguments):
    result = jtrack("track", *arguments, code=2)
    assert words in result.stderr, result.stderr
    return result.stderr


def test_one_based_boxes_are_said_as_they_were_given(jtrack, folder):
    said = refused(jtrack, "box 101,1,40,30 ", folder, "--init", "101,1,40,30", "--one-based")
    assert "the part inside is 101,1,28,30" in said


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("1,2,3", "'1,2,3' is not a box"),
        ("a,b,c,d", "is not a box"),
        ("nan,2,30,30", "not finite"),
        ("10,20,0,30", "too small"),
        ("10,20,30,-5", "too small"),
        ("10,20,1,1", "too small"),
        ("200,20,30,30", "outside the frame"),
        ("110,20,30,30", "partly outside the frame, which is 128x96 pixels: the part inside is 110,20,18,30"),
    ],
)
def test_wrong_boxes(jtrack, folder, init, words):
    refused(jtrack, words, folder, "--init", init, *TINY)


def test_wrong_names(jtrack, folder, box):
    init = (folder, "--init", box)
    assert "'hcft'" in refused(jtrack, "unknown tracker 'hctf'", *init, "--tracker", "hctf")
    assert "'default'" in refused(jtrack, "'defualt'", *init, *TINY, "--profile", "defualt")
    assert "'googlenet'" in refused(jtrack, "'goglenet'", *init, "--backbone", "goglenet")
    assert "'bfloat16'" in refused(jtrack, "'bfloat'", *init, *TINY, "--precision", "bfloat")


def test_wrong_sources(jtrack, tmp_path, box):
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    for source, words in (
        (tmp_path / "none.mp4", "there is no"),
        (empty, "holds no image"),
        (text, "not a video"),
        (tmp_path / "*.jpg", "matches nothing"),
    ):
        refused(jtrack, words, source, "--init", box, *TINY)


def test_wrong_outputs_are_refused_before_any_work(jtrack, folder, box, tmp_path, monkeypatch):
    def work(*_, **__):
        raise AssertionError("work began")

    monkeypatch.setattr("jtrack.trackers.create", work)
    monkeypatch.setattr("jtrack.cli.track.open_source", work)
    full = tmp_path / "full"
    full.mkdir()
    (full / "a.txt").write_text("kept")
    taken = {suffix: tmp_path / f"taken{suffix}" for suffix in (".csv", ".mp4")}
    for path in taken.values():
        path.write_text("kept")
    init = (folder, "--init", box)
    refused(jtrack, "exists: give another name, or --overwrite", *init, "--out", taken[".csv"])
    refused(jtrack, "exists", *init, "--video", taken[".mp4"])
    refused(jtrack, "not empty", *init, "--maps", full)
    refused(jtrack, "must end in .csv or .txt or .json", *init, "--out", tmp_path / "b.xls")
    refused(jtrack, "must end in .mp4", *init, "--video", tmp_path / "v.gif")
    refused(jtrack, "taken.csv is not a folder", *init, "--out", taken[".csv"] / "b.csv")
    refused(jtrack, "--range '1' is no range", *init, "--range", "1")
    refused(jtrack, "cannot write into folder", *init, "--maps", taken[".csv"])
    refused(jtrack, "there is no display", *init, "--show")
    refused(jtrack, "there is no display: give the target's box as --init", folder)
    assert all(path.read_text() == "kept" for path in taken.values())
    assert not leftovers(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_folder_without_permission(jtrack, folder, box):
    refused(jtrack, "cannot write /proc/b.csv", folder, "--init", box, "--out", "/proc/b.csv")


def test_overwriting_replaces(jtrack, folder, box, tmp_path):
    out = tmp_path / "b.csv"
    out.write_text("old")
    jtrack("track", folder, "--init", box, *TINY, "--out", out, "--overwrite")
    assert len(rows(out)) == FRAMES


@pytest.mark.parametrize("option", [("--out", "b.csv"), ("--video", "v.mp4"), ("--maps", "maps")])
def test_full_disk_leaves_nothing_half_written(jtrack, folder, box, tmp_path, option):
    name, path = option[0], tmp_path / option[1]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        result = jtrack("track", folder, "--init", box, *TINY, name, path, code=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write" in result.stderr
    assert not path.is_file() and not leftovers(tmp_path)
    assert not path.is_dir() or not list(path.iterdir())


@pytest.mark.parametrize("option", [("--video", "v.mp4"), ("--maps", "maps")])
@pytest.mark.parametrize("late", [True, False])
def test_boxes_are_kept_when_a_picture_cannot_be_written(
    jtrack, folder, box, tmp_path, monkeypatch, option, late
):
    """Whether the disk is full at once, or only when the encoder lets go of its frames."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def encoding(*_):
        yield (lambda image: None) if late else full
        full()

    out, other = tmp_path / "b.csv", tmp_path / option[1]
    monkeypatch.setattr(outputs.cv2, "imencode", full)
    monkeypatch.setattr(outputs.encode, "encoding", encoding)
    result = jtrack("track", folder, "--init", box, *TINY, "--out", out, option[0], other, code=2)
    kept = len(rows(out))
    assert kept == (2 if option[0] == "--maps" else FRAMES if late else 1)
    assert (
        f"cannot write {other}" in result.stderr and f"the boxes of {kept} frames are kept" in result.stderr
    )
    assert not other.is_file() and not leftovers(tmp_path)


def test_a_video_that_was_cut_off_is_said(jtrack, box, tmp_path, clip):
    whole, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    height, width = clip.frames.size
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for image in clip.frames:
        writer.write(image[:, :, ::-1])
    writer.release()
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    out = tmp_path / "b.csv"
    assert not jtrack("track", whole, "--init", box, *TINY, "--out", tmp_path / "a.csv").stderr
    with pytest.warns(UserWarning, match=r"cut\.avi is damaged: 1 part of it could not be decoded"):
        jtrack("track", cut, "--init", box, *TINY, "--out", out)
    assert 2 <= len(rows(out)) < FRAMES


def test_a_decoder_is_silent(process, box, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    said = process("track", tmp_path / "empty.mp4", "--init", box, *TINY)
    _, stderr = said.communicate(timeout=120)
    assert said.returncode == 2 and stderr.startswith("jtrack: ") and stderr.count("\n") == 1, stderr


def test_a_cache_that_cannot_be_made_is_done_without(jtrack, folder, box, tmp_path, monkeypatch):
    def refuse():
        raise JtrackError("the compilation cache X cannot be made (why): name another folder")

    monkeypatch.setattr(devices, "enable_compilation_cache", refuse)
    result = jtrack("track", folder, "--init", box, *TINY, "--end", 2, "--out", tmp_path / "b.csv")
    assert result.stderr.startswith("jtrack: the compilation cache X") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["truncated", "another size"])
def test_bad_frame_keeps_what_was_tracked(jtrack, folder, box, tmp_path, kind):
    jtrack("track", folder, "--init", box, *TINY, "--out", tmp_path / "whole.csv")
    bad = folder / "0005.jpg"
    good = bad.read_bytes()
    small = cv2.imencode(".jpg", np.zeros((50, 60, 3), np.uint8))[1].tobytes()
    bad.write_bytes(good[: len(good) // 2] if kind == "truncated" else small)
    out, video = tmp_path / "cut.csv", tmp_path / "cut.mp4"
    result = jtrack("track", folder, "--init", box, *TINY, "--out", out, "--video", video, code=2)
    assert "frame 5 of walk" in result.stderr and "the 5 frames before it" in result.stderr
    assert rows(out) == rows(tmp_path / "whole.csv")[:5]
    assert len(read_video(video)) == 5


def test_interrupt_keeps_what_was_tracked(process, folder, box, tmp_path):
    many = 20_000
    for index in range(FRAMES, many):
        os.link(folder / f"{index % FRAMES:04d}.jpg", folder / f"{index:05d}.jpg")
    out, video = tmp_path / "b.csv", tmp_path / "v.mp4"
    running = process("track", folder, "--init", box, *TINY, "--out", out, "--video", video)
    deadline = time.monotonic() + 120
    # The video's temporary file grows once frames are tracked.
    while not any(path.stat().st_size > 0 for path in tmp_path.glob(".*.part")):
        assert running.poll() is None and time.monotonic() < deadline, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    printed, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    tracked = len(rows(out))
    assert 1 <= tracked < many and len(read_video(video)) == tracked
    assert f"interrupted after {tracked} frames" in said and "Traceback" not in said
    assert f"{tracked} frames" in printed and not leftovers(tmp_path)


def test_process_of_its_own(process, folder, box, tmp_path):
    """The real entry: cache enabled, exit codes, nothing on stderr but what is meant."""
    running = process("track", folder, "--init", box, *TINY, "--out", tmp_path / "b.csv")
    printed, said = running.communicate(timeout=120)
    assert running.returncode == 0 and said == "" and f"{FRAMES} frames" in printed
    running = process("track", folder, "--init", box, *TINY, "--out", tmp_path / "b.csv")
    printed, said = running.communicate(timeout=120)
    assert running.returncode == 2 and printed == "" and said.count("\n") == 1 and "exists" in said
