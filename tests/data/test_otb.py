"""OTB's layout and text format."""

import json
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest

from jtrack.data import open_dataset, otb
from jtrack.errors import JtrackError
from tests.conftest import ROOT


def make(folder, hyper, truth):
    """A sequence whose image n is grey of value n mod 256; `truth` by file name."""
    (folder / "img").mkdir(parents=True)
    for number in hyper:
        image = np.full((8, 8, 3), number % 256, np.uint8)
        cv2.imwrite(str(folder / "img" / f"{number:04d}.png"), image)
    for name, rows in truth.items():
        (folder / name).write_text("".join(f"{row},20,5,6\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "1,2,30,40\n5.5,6,7,8.25\n",
        "1\t2\t30\t40\r\n5.5\t6\t7\t8.25",
        "  1 2  30 40\n5.5 6 7 8.25  \n\n",
        "\ufeff1, 2, 30, 40,\n5.5 , 6 , 7 , 8.25\n",
    ],
)
def test_separators(tmp_path, text):
    (tmp_path / "boxes.txt").write_text(text, encoding="utf-8")
    expected = [[0, 1, 30, 40], [4.5, 5, 7, 8.25]]
    np.testing.assert_array_equal(otb.read_boxes(tmp_path / "boxes.txt"), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n1,2,3\n", "line 2 of .* has 3 numbers"),
        ("1,2,3,4\n\n5,2,3,4\n", r"line 2 of .*boxes\.txt is empty"),
        ("1,2,3,4\nx,2,3,4\n", "line 2 of .* is not a line of numbers: 'x,2,3,4'"),
        ("1,,3,4\n", "line 1 of .* is not a line of numbers: '1,,3,4'"),
        ("1,2,inf,4\n", "line 1 of .* is not a line of numbers"),
        ("1,2,3,1_0\n", "line 1 of .* is not a line of numbers"),
        ("\n\n", r"boxes\.txt is empty"),
        ("", r"boxes\.txt is empty"),
        (b"\xff\xfe1", "is not a text file"),
        (None, r"cannot read .*boxes\.txt: No such file"),
    ],
)
def test_bad_text(tmp_path, text, message):
    if text is not None:
        (tmp_path / "boxes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(JtrackError, match=message):
        otb.read_boxes(tmp_path / "boxes.txt")


def test_boxes_survive_writing(tmp_path):
    boxes = np.random.default_rng(0).uniform(-50, 2000, (40, 4))
    otb.write_boxes(tmp_path / "out.txt", boxes)
    np.testing.assert_allclose(otb.read_boxes(tmp_path / "out.txt"), boxes, atol=1e-5)
    otb.write_boxes(tmp_path / "out.txt", np.array([[116, 67.5, 122, 125]], np.float32))
    assert (tmp_path / "out.txt").read_text() == "117,68.5,122,125\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_plain_sequence(tmp_path):
    sequence = otb.load(make(tmp_path / "Walk", range(1, 13), {"groundtruth_rect.txt": range(1, 13)}))
    assert (sequence.name, sequence.frames.name, sequence.frames.length) == ("Walk", "Walk", 12)
    assert [int(frame[0, 0, 0]) for frame in sequence.frames] == list(range(1, 13))
    np.testing.assert_array_equal(sequence.boxes[:, 0], np.arange(12))
    np.testing.assert_array_equal(sequence.boxes[0], [0, 19, 5, 6])


@pytest.mark.parametrize(
    ("name", "images", "rows", "frames"),
    [
        ("David", (1, 770), range(300, 771), range(300, 771)),  # all images, annotation of the range
        ("David", (300, 770), range(300, 771), range(300, 771)),  # images of the range alone
        ("Football1", (1, 81), range(1, 75), range(1, 75)),
        ("Freeman3", (1, 465), range(1, 461), range(1, 461)),
        ("Tiger1", (1, 354), range(1, 355), range(6, 355)),  # annotation of all images
        ("Tiger1", (1, 354), range(6, 355), range(6, 355)),
    ],
)
def test_ranges_of_the_benchmark(tmp_path, name, images, rows, frames):
    """Row t of the annotation is that of the t-th frame: here both carry the number of the image."""
    hyper = range(images[0], images[1] + 1)
    sequence = otb.load(make(tmp_path / name, hyper, {"groundtruth_rect.txt": rows}))
    assert sequence.frames.length == len(sequence.boxes) == len(frames)
    np.testing.assert_array_equal(sequence.boxes[:, 0] + 1, list(frames))
    assert [int(frame[0, 0, 0]) for frame in sequence.frames] == [number % 256 for number in frames]


def test_targets(tmp_path):
    truth = {"groundtruth_rect.1.txt": range(1, 4), "groundtruth_rect.2.txt": range(11, 14)}
    make(tmp_path / "Jogging", range(1, 4), truth)
    make(tmp_path / "Crossing", range(1, 4), {"groundtruth_rect.txt": range(1, 4)})
    (tmp_path / "empty").mkdir()
    assert otb.sequences(tmp_path) == ["Crossing", "Jogging-1", "Jogging-2"]
    for name, x in (("Jogging-1", 0), ("Jogging-2", 10), ("Crossing", 0)):
        sequence = otb.load(tmp_path / name)
        assert (sequence.name, sequence.boxes[0, 0]) == (name, x)
    assert otb.load(tmp_path / "Jogging", target=2).name == "Jogging-2"
    with pytest.raises(JtrackError, match="has the targets 1, 2"):
        otb.load(tmp_path / "Jogging")
    with pytest.raises(JtrackError, match="no target 3, only 1, 2"):
        otb.load(tmp_path / "Jogging-3")


def test_refusals(tmp_path):
    with pytest.raises(JtrackError, match="is not an OTB sequence"):
        otb.load(tmp_path / "nothing")
    with pytest.raises(JtrackError, match="cannot open folder"):
        otb.sequences(tmp_path / "nothing")
    make(tmp_path / "Walk", range(1, 6), {"groundtruth_rect.txt": range(1, 4)})
    with pytest.raises(JtrackError, match=r"has 5 images but 3 boxes in groundtruth_rect\.txt"):
        otb.load(tmp_path / "Walk")
    make(tmp_path / "Bare", [], {"groundtruth_rect.txt": range(1, 4)})
    with pytest.raises(JtrackError, match="has no images in"):
        otb.load(tmp_path / "Bare")


def test_real_sequences(data_folder):
    """Every sequence there is, against the benchmark's own annotations and lengths."""
    meta = json.loads((data_folder / "otb_benchmark/annotations/otb100_meta.json").read_text())["sequences"]
    names = otb.sequences(data_folder / "otb")
    assert set(names) <= set(meta)
    assert {"David", "Football1", "Jogging-1", "Jogging-2"} <= set(names)
    for name in names:
        sequence = otb.load(data_folder / "otb" / name)
        assert sequence.name == name
        assert sequence.frames.length == meta[name]["n_gt"]
        np.testing.assert_array_equal(sequence.boxes[0] + [1, 1, 0, 0], meta[name]["init_rect"])
        annotation = np.loadtxt(data_folder / f"otb_benchmark/annotations/anno/{name}.txt", delimiter=",")
        np.testing.assert_array_equal(sequence.boxes, annotation - np.array([1, 1, 0, 0]))


def test_attributes(tmp_path):
    make(tmp_path / "Walk", range(1, 3), {"groundtruth_rect.txt": range(1, 3)})
    (tmp_path / "Walk.txt").write_text("1,0,0,1,0,0,0,0,0,0,1\n")
    assert otb.load(tmp_path / "Walk", attributes=tmp_path / "Walk.txt").attributes == ("IV", "OCC", "LR")
    (tmp_path / "Walk.txt").write_text("1,0,0\n")
    with pytest.raises(JtrackError, match="has 3 numbers: an attribute file has 11"):
        otb.read_attributes(tmp_path / "Walk.txt")


def test_real_attributes(data_folder):
    folder = data_folder / "otb_benchmark" / "annotations"
    meta = json.loads((folder / "otb100_meta.json").read_text())
    assert list(otb.ATTRIBUTES) == meta["attribute_order"]
    for name, entry in meta["sequences"].items():
        assert list(otb.read_attributes(folder / "att" / f"{name}.txt")) == entry["attributes"]


def test_real_frames_are_whole(data_folder):
    frames = list(otb.load(data_folder / "otb" / "Football1").frames)
    assert len(frames) == 74
    assert {frame.shape for frame in frames} == {(288, 352, 3)}


def test_absent_targets_stay_as_the_file_has_them(tmp_path):
    (tmp_path / "boxes.txt").write_text("NaN NaN NaN NaN\n0,0,0,0\n-3,2,5,6\n")
    expected = [[np.nan] * 4, [-1, -1, 0, 0], [-4, 1, 5, 6]]
    boxes = otb.read_boxes(tmp_path / "boxes.txt")
    np.testing.assert_array_equal(boxes, expected)
    np.testing.assert_array_equal(otb.absent(boxes), [True, True, True])
    np.testing.assert_array_equal(otb.absent(np.add(boxes, [4, 0, 0, 0])), [True, True, False])


def test_frames_without_a_target_are_marked(tmp_path):
    (tmp_path / "anno").mkdir()
    (tmp_path / "anno" / "Some.txt").write_text("5,5,9,9\n-3,2,5,6\n1,1,5,6\n")
    (tmp_path / "anno" / "Whole.txt").write_text("5,5,9,9\n")
    dataset = otb.dataset(tmp_path, None)
    np.testing.assert_array_equal(dataset.annotation("Some").absent, [False, True, False])
    assert list(dataset.annotation("Some").events) == ["absent"]
    assert not dataset.annotation("Whole").events


def test_the_package_knows_what_the_benchmark_says(data_folder):
    """Lists, attributes, omitted parts and ranges against the benchmark's own files."""
    folder = data_folder / "otb_benchmark" / "annotations"
    meta = json.loads((folder / "otb100_meta.json").read_text())
    assert otb.lists() == {name: tuple(targets) for name, targets in meta["lists"].items()}
    assert {name: len(targets) for name, targets in otb.lists().items()} == {
        "cvpr13": 51,
        "tb50": 50,
        "tb100": 100,
    }
    for name in otb.lists()["tb100"]:
        entry = meta["sequences"][name]
        assert list(otb.attributes(name)) == entry["attributes"]
        # Of Tiger1 the toolkit omits the first five images as a start: nothing is ever run on them.
        start, end = 6 if name == "Tiger1" else entry["start_frame"], entry["end_frame"]
        assert otb.ranges().get(name, (1, end)) == (start, end)
        raw = folder / "initOmit" / f"{name}.txt"
        hyper = np.loadtxt(raw, dtype=int, ndmin=2) if raw.is_file() else np.empty((0, 2), int)
        covered = np.zeros(1000 + hyper.max(initial=end), bool)
        for first, last in hyper:
            covered[first : last + 1] = True
        found = np.zeros(end - start + 1, bool)
        for first, last in otb.omitted(name):
            found[first : last + 1] = True
        np.testing.assert_array_equal(found, covered[start : end + 1])
    assert otb.omitted("Tiger1")[0] == (3, 9) and otb.omitted("Tiger1")[-1] == (326, 348)
    assert otb.omitted("Freeman4")[-1] == (267, 282)
    assert otb.omitted("mine") == [] and otb.attributes("mine") == ()


def test_a_wheel_carries_it(tmp_path):
    line = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*line, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("jtrack_jax-*.whl")
    packed = zipfile.ZipFile(wheel).read("jtrack/data/otb.toml")
    assert packed == (ROOT / "jtrack" / "data" / "otb.toml").read_bytes()


def test_every_annotation_of_the_benchmark(data_folder):
    """The 100 annotations alone: as many rows as frames are run on, and the same as beside the images."""
    folder = data_folder / "otb_benchmark" / "annotations"
    bare = open_dataset("otb", folder, subset="tb100")
    meta = json.loads((folder / "otb100_meta.json").read_text())["sequences"]
    for name in bare.names:
        known = bare.annotation(name)
        assert known.name == name
        assert len(known.boxes) == (349 if name == "Tiger1" else meta[name]["n_gt"])
        assert list(known.attributes) == meta[name]["attributes"]
    with pytest.raises(JtrackError, match="holds the annotation of David alone, no images to run on"):
        bare.sequence("David")
    whole = open_dataset("otb", data_folder / "otb")
    assert len(whole.names) == 12
    for name in whole.names:
        np.testing.assert_array_equal(whole.annotation(name).boxes, bare.annotation(name).boxes)
        assert whole.annotation(name).attributes == bare.annotation(name).attributes


def test_a_dataset_of_folders(tmp_path):
    truth = {"groundtruth_rect.1.txt": range(1, 4), "groundtruth_rect.2.txt": range(11, 14)}
    make(tmp_path / "Jogging", range(1, 4), truth)
    make(tmp_path / "Human4", range(1, 4), {"groundtruth_rect.2.txt": range(1, 4)})
    make(tmp_path / "Tiger1", range(1, 355), {"groundtruth_rect.txt": range(1, 355)})
    found = open_dataset("otb", tmp_path)
    assert found.names == ("Human4-2", "Jogging-1", "Jogging-2", "Tiger1")
    assert {name: found.sequence(name).boxes[0, 0] for name in found.names} == {
        "Human4-2": 0,
        "Jogging-1": 0,
        "Jogging-2": 10,
        "Tiger1": 5,
    }
    assert set(found.sequence("Jogging-2").attributes) == {"OCC", "DEF", "OPR"}
    for image in (tmp_path / "Jogging" / "img").iterdir():
        image.write_bytes(b"not an image")
    assert len(found.annotation("Jogging-1").boxes) == 3  # no image was read
    with pytest.raises(JtrackError, match="is not a readable image"):
        found.sequence("Jogging-1")
    (tmp_path / "Jogging" / "img" / "0003.png").unlink()
    with pytest.raises(JtrackError, match=r"has 2 images but 3 boxes in groundtruth_rect\.1\.txt"):
        found.annotation("Jogging-1")


def test_a_link_to_a_sequence_keeps_its_name(tmp_path):
    make(tmp_path / "elsewhere" / "david_770", range(1, 771), {"groundtruth_rect.txt": range(300, 771)})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "David").symlink_to(tmp_path / "elsewhere" / "david_770")
    sequence = open_dataset("otb", tmp_path / "data").sequence("David")
    assert (sequence.name, sequence.frames.length) == ("David", 471)


def test_lists_name_what_is_missing(tmp_path):
    make(tmp_path / "Subway", range(1, 4), {"groundtruth_rect.txt": range(1, 4)})
    with pytest.raises(
        JtrackError, match=r"lacks 50 of the 51 sequences wanted of cvpr13: Basketball, .*, \.\.\.: get"
    ):
        open_dataset("otb", tmp_path, subset="cvpr13")
    assert open_dataset("otb", tmp_path, subset="cvpr13", sequences=["Subway"]).names == ("Subway",)
    with pytest.raises(JtrackError, match="lacks 1 of the 2 sequences wanted of cvpr13: Woman: get"):
        open_dataset("otb", tmp_path, subset="cvpr13", sequences=["Woman", "Subway"])
    with pytest.raises(JtrackError, match="unknown list of OTB 'cvpr2013': did you mean 'cvpr13'"):
        open_dataset("otb", tmp_path, subset="cvpr2013")


def test_annotations_alone(tmp_path):
    (tmp_path / "anno" / "att").mkdir(parents=True)
    (tmp_path / "anno" / "Mine.txt").write_text("1,2,3,4\n")
    (tmp_path / "anno" / "att" / "Mine.txt").write_text("1,0,0,1,0,0,0,0,0,0,1\n")
    (tmp_path / "anno" / "David.txt").write_text("1,2,3,4\n" * 470)
    found = open_dataset("otb", tmp_path)
    assert found.annotation("Mine").attributes == ("IV", "OCC", "LR")
    with pytest.raises(
        JtrackError, match=r"David\.txt has 470 boxes, but the benchmark runs on images 300 to 770"
    ):
        found.annotation("David")
