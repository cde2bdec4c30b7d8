"""Folders and videos of one's own, with boxes."""

import cv2
import numpy as np
import pytest

from jtrack.data import annotated, open_dataset
from jtrack.errors import JtrackError

ROWS = "1,2,3,4\n5,6,7,8\nnan,nan,nan,nan\n"
BOXES = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [np.nan] * 4])  # from 0, as the file has them


def images(folder, count=3):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 12, 3), 20 * number, np.uint8))
    return folder


def video(path, count=3):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), 60 * number, np.uint8))
    writer.release()
    return path


def test_the_places_of_boxes(tmp_path):
    for name, place in (("a", "."), ("b", "img"), ("c", "color")):
        images(tmp_path / name / place)
        (tmp_path / name / "groundtruth.txt").write_text(ROWS)
    images(tmp_path / "d")
    (tmp_path / "d.csv").write_text(ROWS)
    video(tmp_path / "e10.mp4")
    (tmp_path / "e10.txt").write_text(ROWS.replace(",", "\t"))
    video(tmp_path / "e9.mp4")
    (tmp_path / "e9.csv").write_text(ROWS)
    images(tmp_path / "no_boxes")
    (tmp_path / "notes.txt").write_text("about all this")
    dataset = open_dataset("folder", tmp_path)
    assert dataset.names == ("a", "b", "c", "d", "e9", "e10")
    for name in dataset.names:
        np.testing.assert_array_equal(dataset.annotation(name).boxes, BOXES)
        sequence = dataset.sequence(name)
        np.testing.assert_array_equal(sequence.boxes, BOXES)
        assert sequence.name == name and sequence.polygons is None
        assert len(list(sequence.frames)) == 3


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_one_sequence_as_root(tmp_path, kind, monkeypatch):
    path = images(tmp_path / "walk") if kind == "folder" else video(tmp_path / "walk.mp4")
    (tmp_path / "walk.txt").write_text(ROWS)
    dataset = open_dataset("folder", path)
    assert dataset.names == ("walk",)
    assert len(list(dataset.sequence("walk").frames)) == 3
    assert annotated.load(path).name == "walk"
    if kind == "folder":
        monkeypatch.chdir(path)
        assert open_dataset("folder", ".").names == ("walk",)


def test_polygons_and_a_first_box_alone(tmp_path):
    images(tmp_path / "walk")
    (tmp_path / "walk.txt").write_text("5,0,10,5,5,10,0,5\n" * 3)
    sequence = annotated.load(tmp_path / "walk")
    assert sequence.polygons.shape == (3, 4, 2) and sequence.boxes[2].tolist() == [0, 0, 10, 10]
    (tmp_path / "walk.txt").write_text("1,2,3,4\n")
    assert annotated.load(tmp_path / "walk").boxes.shape == (1, 4)


def test_a_table_as_the_tracker_writes_it(tmp_path):
    images(tmp_path / "walk")
    rows = "".join(f"{t},1,{t}.5,2,3,4,0.9,0\n" for t in range(3))
    (tmp_path / "walk.csv").write_text("frame,target,x,y,w,h,score,lost\n" + rows)
    np.testing.assert_array_equal(
        annotated.load(tmp_path / "walk").boxes, [[t + 0.5, 2, 3, 4] for t in range(3)]
    )
    (tmp_path / "walk.csv").write_text("frame,target,x,y,w,h,score,lost\n" + rows + "0,2,1,2,3,4,1,0\n")
    with pytest.raises(JtrackError, match="holds the boxes of 2 targets: give each a file of its own"):
        annotated.load(tmp_path / "walk")
    (tmp_path / "walk.csv").write_text("x,y,w,h,x\n1,2,3,4,9\n")
    with pytest.raises(JtrackError, match=r"walk\.csv has two columns of one name: 'x,y,w,h,x'"):
        annotated.load(tmp_path / "walk")
    (tmp_path / "walk.csv").write_text("x,y,w,h\n1,2,3\n")
    with pytest.raises(JtrackError, match=r"line 2 of .* has 3 values for 4 columns"):
        annotated.load(tmp_path / "walk")


def test_refusals(tmp_path):
    with pytest.raises(JtrackError, match="holds no images or videos with boxes: expected NAME/"):
        open_dataset("folder", tmp_path)
    with pytest.raises(JtrackError, match=r"walk has no boxes: neither groundtruth\.txt in it nor walk\.txt"):
        annotated.load(images(tmp_path / "walk"))
    (tmp_path / "walk.txt").write_text("1,2,3,4\n" * 2)
    with pytest.raises(JtrackError, match=r"has 3 frames but .*walk\.txt has 2 boxes: they must be as many"):
        annotated.load(tmp_path / "walk")
    with pytest.raises(JtrackError, match="has no list 'cvpr13'"):
        open_dataset("folder", tmp_path, subset="cvpr13")
    video(tmp_path / "walk.mp4")
    with pytest.raises(JtrackError, match=r"two sequences walk, walk and walk\.mp4"):
        open_dataset("folder", tmp_path)
    (tmp_path / "walk" / "groundtruth_rect.txt").write_text(ROWS)
    with pytest.raises(JtrackError, match="is in OTB's layout, whose boxes count from 1"):
        open_dataset("folder", tmp_path)
