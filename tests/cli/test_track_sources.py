"""`jtrack track` of whatever users have: sequences of benchmarks, patterns, 16 bits, wrong declarations."""

import csv
import struct

import av
import cv2
import numpy as np
import pytest
from cli_tools import FRAMES

TINY = ("--backbone", "tiny")
ONE = np.array([1, 1, 0, 0])  # where OTB counts from


def boxes(path):
    with path.open() as stream:
        return np.array([[float(row[name]) for name in "xywh"] for row in csv.DictReader(stream)])


@pytest.fixture
def tracked(jtrack, tmp_path):
    """The boxes that come of a source and options."""

    def track(source, *options):
        out = tmp_path / "out" / "boxes.csv"  # the folder is made
        result = jtrack("track", source, *options, *TINY, "--out", out, "--overwrite")
        assert not result.stderr
        return boxes(out)

    return track


def write(path, clip, codec="libx264", **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, 30, options={"b": "8M"} | options)
        stream.height, stream.width = clip.frames.size
        stream.pix_fmt = "yuv420p"
        for image in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_sequence_of_otb_with_its_own_file_of_boxes(tracked, folder, box, tmp_path):
    expected = tracked(folder, "--init", box)
    folder.rename(tmp_path / "img")
    sequence = tmp_path / "Walk"
    sequence.mkdir()
    (tmp_path / "img").rename(sequence / "img")
    x, y, w, h = map(float, box.split(","))
    truth = sequence / "groundtruth_rect.txt"
    truth.write_text(f"{x + 1},{y + 1},{w},{h}\n" * FRAMES)
    np.testing.assert_array_equal(tracked(sequence, "--init-file", truth), expected)
    one_based = tracked(sequence, "--init-file", truth, "--one-based")
    np.testing.assert_allclose(one_based, expected + ONE, rtol=0, atol=1e-9)  # the sum is rounded
    other = sequence / "groundtruth.txt"
    other.write_text(f"{x},{y},{w},{h}\n")
    np.testing.assert_array_equal(tracked(sequence, "--init-file", other), expected)
    other.write_text(f"{x + 1},{y + 1},{w},{h}\n")
    np.testing.assert_array_equal(
        tracked(sequence, "--init-file", other, "--one-based")[0] - ONE, expected[0]
    )


def test_motchallenge_s_text_in_and_out(jtrack, folder, box, tmp_path):
    """Two targets, the second absent at first; what comes out goes in again."""
    x, y, w, h = map(float, box.split(","))
    truth = tmp_path / "gt.txt"
    truth.write_text(
        f"1,9,{x + 3},{y + 2},{w},{h},1,1,1\n1,4,{x + 1},{y + 1},{w},{h},1,1,1\n"
        f"2,4,{x + 3},{y + 3},{w},{h},1,1,1\n1,5,1,1,9,9,0,1,1\n"
    )
    options = ("--overwrite", *TINY)
    out = tmp_path / "out.mot.txt"
    jtrack("track", folder, "--init-file", truth, "--out", out, *options)
    rows = np.loadtxt(out, delimiter=",")
    assert rows.shape[1] == 10
    np.testing.assert_array_equal(
        rows[:2, :7], [[1, 1, x + 1, y + 1, w, h, 1], [1, 2, x + 3, y + 2, w, h, 1]]
    )
    np.testing.assert_array_equal(rows[:, 7:], -1)
    table = tmp_path / "out.csv"
    both = ("--init", box, "--init", f"{x + 2},{y + 1},{w},{h}")
    jtrack("track", folder, *both, "--out", table, *options)
    with table.open() as stream:
        kept = [row for row in csv.DictReader(stream) if row["lost"] == "0"]
    expected = [[float(row[name]) for name in ("frame", "target", *"xywh", "score")] for row in kept]
    np.testing.assert_allclose(rows[:, :7] - [1, 0, 1, 1, 0, 0, 0], expected, atol=1e-9)
    jtrack("track", folder, "--init-file", out, "--out", tmp_path / "again.mot.txt", *options)
    assert (tmp_path / "again.mot.txt").read_text() == out.read_text()
    result = jtrack("track", folder, "--init-file", truth, "--start", 3, *options, code=2)
    assert "has no box for frame 4 (it counts from 1), only for some of 1 to 2" in result.stderr


def test_a_box_is_given_once(jtrack, folder, box, tmp_path):
    (tmp_path / "one.txt").write_text(box)
    result = jtrack("track", folder, "--init", box, "--init-file", tmp_path / "one.txt", code=2)
    assert "both give the target's box: leave one out" in result.stderr
    result = jtrack("track", folder, "--init-file", tmp_path / "none.txt", code=2)
    assert "none.txt: No such file" in result.stderr


def test_a_pattern_with_the_number(tracked, folder, box):
    np.testing.assert_array_equal(tracked(folder / "%04d.jpg", "--init", box), tracked(folder, "--init", box))


def test_sixteen_bits_by_their_range_are_the_same_frames(tracked, jtrack, clip, box, tmp_path):
    for name, factor in (("eight", 1), ("sixteen", 16)):
        (tmp_path / name).mkdir()
        for index, image in enumerate(clip.frames):
            values = image[:, :, ::-1].astype(np.uint16) * factor
            cv2.imwrite(f"{tmp_path / name}/{index}.png", values.astype(np.uint8) if factor == 1 else values)
    ranged = tracked(tmp_path / "sixteen", "--init", box, "--range", "0,4080")
    np.testing.assert_array_equal(ranged, tracked(tmp_path / "eight", "--init", box))
    with pytest.warns(UserWarning, match=r"no value above \d+ of 65535, so that it becomes almost black"):
        jtrack("track", tmp_path / "sixteen", "--init", box, *TINY)


def test_options_that_do_not_fit_the_source(jtrack, clip, folder, box, tmp_path):
    video = write(tmp_path / "a.mp4", clip)
    for source, option, words in (
        (video, ("--range", "0,9"), "a.mp4 is no folder of images"),
        (video, ("--live",), "is not live"),
        (folder, ("--live",), "is not live"),
        (folder, ("--range", "9,0"), "the range 9,0 is none"),
    ):
        assert words in jtrack("track", source, "--init", box, *option, code=2).stderr


@pytest.mark.parametrize("declared", [3, 500])
def test_all_frames_are_tracked_whatever_is_declared(tracked, jtrack, clip, box, tmp_path, declared):
    path = write(tmp_path / "a.avi", clip, "mpeg4")
    data = bytearray(path.read_bytes())
    for mark, at in ((b"avih", 24), (b"strh", 40)):
        struct.pack_into("<I", data, data.index(mark) + at, declared)
    path.write_bytes(data)
    assert len(tracked(path, "--init", box)) == FRAMES
    assert len(tracked(path, "--init", box, "--start", 5)) == FRAMES - 5
    made = sorted(tmp_path.rglob("*"))
    outputs = ("--out", tmp_path / "x" / "b.csv", "--video", tmp_path / "v.mp4", "--maps", tmp_path / "maps")
    result = jtrack("track", path, "--init", box, *TINY, "--start", 20, *outputs, code=2)
    assert f"frames 20 to its end select nothing of a.avi, which has {FRAMES} frames" in result.stderr
    assert not [left for left in tmp_path.rglob("*") if left not in made and left.name != "maps"]


def test_that_nothing_is_kept_is_said_at_the_start(jtrack, folder, box):
    result = jtrack("track", folder, "--init", box, *TINY)
    assert (
        result.stderr
        == "jtrack: nothing is kept of this run: give --out boxes.csv, --video out.mp4 or --show\n"
    )


def test_a_rate_that_is_not_known_is_said(jtrack, folder, box, clip, tmp_path):
    video = tmp_path / "v.mp4"
    result = jtrack("track", folder, "--init", box, *TINY, "--video", video)
    assert f"wrote {video} (30 frames a second: the source says none)" in result.stdout
    result = jtrack(
        "track", write(tmp_path / "a.mp4", clip), "--init", box, *TINY, "--video", video, "--overwrite"
    )
    assert "frames a second:" not in result.stdout


@pytest.mark.parametrize("declared", [5, FRAMES, 500])
def test_evaluation_runs_the_frames_that_decode(jtrack, clip, box, tmp_path, declared):
    (tmp_path / "own").mkdir()
    path = write(tmp_path / "own" / "walk.avi", clip, "mpeg4")
    data = bytearray(path.read_bytes())
    for mark, at in ((b"avih", 24), (b"strh", 40)):
        struct.pack_into("<I", data, data.index(mark) + at, declared)
    path.write_bytes(data)
    path.with_suffix(".txt").write_text((box + "\n") * FRAMES)
    own = ("--dataset", "folder", "--root", path.parent, "--results", tmp_path / "r")
    result = jtrack("eval", *own, "--tracker", "hcft", *TINY, "--protocol", "ope")
    assert "1 trial run" in result.stdout
    (trial,) = (tmp_path / "r").rglob("walk*.txt")
    assert len(trial.read_text().splitlines()) == FRAMES
