"""VOT's layout."""

import cv2
import numpy as np
import pytest

from jtrack.data import open_dataset, vot_challenge
from jtrack.errors import JtrackError


def make(folder, count, truth, *, images="."):
    (folder / images).mkdir(parents=True)
    for number in range(1, count + 1):
        image = np.full((8, 8, 3), number, np.uint8)
        cv2.imwrite(str(folder / images / f"{number:08d}.png"), image)
    (folder / "groundtruth.txt").write_text(truth)
    return folder


@pytest.mark.parametrize("images", [".", "color"])
def test_polygons(tmp_path, images):
    square = "10,0,20,10,10,20,0,10\n"  # a square on its corner
    sequence = vot_challenge.load(
        make(tmp_path / "ball", 2, square + "1.5,2,4.5,2,4.5,9,1.5,9\n", images=images)
    )
    assert (sequence.name, sequence.frames.name, sequence.frames.length) == ("ball", "ball", 2)
    np.testing.assert_array_equal(sequence.boxes, [[0, 0, 20, 20], [1.5, 2, 3, 7]])
    np.testing.assert_array_equal(sequence.polygons[0], [[10, 0], [20, 10], [10, 20], [0, 10]])
    assert [int(frame[0, 0, 0]) for frame in sequence.frames] == [1, 2]
    assert vot_challenge.sequences(tmp_path) == ["ball"]


def test_rectangles(tmp_path):
    sequence = vot_challenge.load(make(tmp_path / "ball", 1, "3,4,10,20\n"))
    np.testing.assert_array_equal(sequence.boxes, [[3, 4, 10, 20]])
    np.testing.assert_array_equal(sequence.polygons, [[[3, 4], [13, 4], [13, 24], [3, 24]]])


def test_events(tmp_path):
    folder = make(tmp_path / "ball", 3, "3,4,10,20\n" * 3)
    (folder / "occlusion.tag").write_text("0\n1\n")
    (folder / "size_change.label").write_text("1\n0\n1\n")
    events = vot_challenge.load(folder).events
    assert {name: mark.tolist() for name, mark in events.items()} == {
        "occlusion": [False, True, False],
        "size_change": [True, False, True],
    }


@pytest.mark.parametrize(
    ("count", "truth", "message"),
    [
        (2, "1,2,3,4\n", "has 2 images but 1 regions"),
        (0, "1,2,3,4\n", "has no images"),
        (2, "1,2,3,4\n1,2,3,4,5,6\n", "line 2 of .* has 3 corners and line 1 has 4"),
        (1, "1,2,3,4,5\n", "line 1 of .* has 5 numbers"),
        (1, "m0,0,2,2,3,4\n", "line 1 of .* is not a mask: its runs cover 7 pixels of a window of 2x2"),
        (1, "m0,0,2\n", "line 1 of .* is not a mask"),
        (1, "m0,0,2.5,2,1\n", "line 1 of .* is not a mask"),
        (1, "m0,0,99999999,99999999,1\n", "line 1 of .* is not a mask"),
        (1, "0\n", "holds no region"),
        (1, "1,2,x,4\n", "line 1 of .* is not a line of numbers"),
    ],
)
def test_refusals(tmp_path, count, truth, message):
    with pytest.raises(JtrackError, match=message):
        vot_challenge.load(make(tmp_path / "ball", count, truth))


def test_not_a_sequence(tmp_path):
    with pytest.raises(JtrackError, match=r"no groundtruth\.txt"):
        vot_challenge.load(tmp_path)
    with pytest.raises(JtrackError, match="there is no folder"):
        vot_challenge.sequences(tmp_path / "nothing")


def test_real_sequences(data_folder):
    folder = data_folder / "vot" / "vot2015"
    for name in vot_challenge.sequences(folder):
        sequence = vot_challenge.load(folder / name)
        raw = np.loadtxt(folder / name / "groundtruth.txt", delimiter=",")
        assert sequence.frames.length == len(raw)
        x, y, w, h = sequence.boxes.T
        np.testing.assert_array_equal(x, raw[:, 0::2].min(axis=1))
        np.testing.assert_array_equal(y, raw[:, 1::2].min(axis=1))
        np.testing.assert_allclose(x + w, raw[:, 0::2].max(axis=1), rtol=1e-12)
        np.testing.assert_allclose(y + h, raw[:, 1::2].max(axis=1), rtol=1e-12)
        assert next(iter(sequence.frames)).shape == (*sequence.frames.size, 3)
    assert vot_challenge.sequences(folder) == ["vot2015_bag", "vot2015_ball1"]


def test_the_layout_of_later_years(tmp_path):
    """A file `sequence` says where the images are, a list the order, a mask the region."""
    for name in ("zebra", "ant"):
        folder = make(tmp_path / name, 2, "m3,4,2,2,1,2,1\nm3,4,2,2,0,4\n", images="visible")
        about = "channels.color=visible/%08d.png\nfps=25\nname=whatever\n"
        (folder / "sequence").write_text(about)
        (folder / "visible" / "thumbnail.png").write_bytes(b"not a frame")
        (folder / "camera_motion.tag").write_text("0\n1\n")
    (tmp_path / "list.txt").write_text("zebra\nant\n")
    dataset = open_dataset("vot", tmp_path)
    assert dataset.names == ("zebra", "ant")
    sequence = dataset.sequence("zebra")
    assert (sequence.frames.length, sequence.frames.fps) == (2, 25.0)
    np.testing.assert_array_equal(sequence.boxes, [[3, 4, 2, 2], [3, 4, 2, 2]])
    assert sequence.events["camera_motion"].tolist() == [False, True]
    known = dataset.annotation("zebra")
    np.testing.assert_array_equal(known.boxes, sequence.boxes)
    assert known.size == (8, 8)


def test_a_channel_that_is_a_folder(tmp_path):
    folder = make(tmp_path / "ball", 2, "1,2,3,4\n" * 2, images="ir")
    (folder / "sequence").write_text("channels.ir=ir/\n")
    with pytest.raises(JtrackError, match="has no images"):
        vot_challenge.load(folder)  # the pattern is then %08d.jpg
    for path in (folder / "ir").iterdir():
        path.rename(path.with_suffix(".jpg"))
    assert vot_challenge.load(folder).frames.length == 2


@pytest.mark.parametrize(
    "line",
    ["channels.color=../../secret/%08d.jpg", "channels.color=/etc/%08d.jpg", "groundtruth=../truth.txt"],
)
def test_a_sequence_file_points_inside(tmp_path, line):
    folder = make(tmp_path / "ball", 1, "1,2,3,4\n")
    (folder / "sequence").write_text(line + "\n")
    with pytest.raises(JtrackError, match=r"ball/sequence points out of its folder"):
        vot_challenge.load(folder)


def test_a_dataset_among_others(tmp_path):
    make(tmp_path / "vot2013" / "ball", 1, "1,2,3,4\n")
    make(tmp_path / "vot2015" / "bag", 1, "1,2,3,4\n")
    assert open_dataset("vot", tmp_path, subset="vot2015").names == ("bag",)
    with pytest.raises(JtrackError, match=r"holds no VOT sequence .*: name one .* list: vot2013, vot2015"):
        open_dataset("vot", tmp_path)
    with pytest.raises(JtrackError, match=r"unknown VOT dataset in .* 'vot2016': did you mean"):
        open_dataset("vot", tmp_path, subset="vot2016")
    with pytest.raises(JtrackError, match="is not the plain name of a folder"):
        open_dataset("vot", tmp_path, subset="../vot2015")


def test_a_list_that_names_what_is_not_there(tmp_path):
    make(tmp_path / "ball", 1, "1,2,3,4\n")
    (tmp_path / "list.txt").write_text("ball\nbag\n")
    with pytest.raises(JtrackError, match="lacks 1 of the 2 sequences wanted of its list: bag: get"):
        open_dataset("vot", tmp_path)
    assert open_dataset("vot", tmp_path, sequences=["ball"]).names == ("ball",)
