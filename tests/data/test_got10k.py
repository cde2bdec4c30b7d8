"""GOT-10k's layout."""

import cv2
import numpy as np
import pytest

from jtrack.data import open_dataset
from jtrack.errors import JtrackError

META = """[METAINFO]
url: https://youtu.be/b0ZnfLI8YPw
begin: 00:00:29
anno_fps: 10Hz
object_class: JetLev-Flyer
motion_class: kite
resolution: (12, 8)
"""


def make(folder, count, truth, *, cover="8\n0\n3\n", absence="0\n1\n0\n"):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / f"{number:08d}.jpg"), np.full((8, 12, 3), 20 * number, np.uint8))
    (folder / "groundtruth.txt").write_text(truth)
    (folder / "meta_info.ini").write_text(META)
    (folder / "cover.label").write_text(cover)
    (folder / "absence.label").write_text(absence)


@pytest.fixture
def root(tmp_path):
    """A root with two splits; the list has its own order."""
    for name in ("GOT-10k_Val_000001", "GOT-10k_Val_000002"):
        make(tmp_path / "val" / name, 3, "1.0000,2.0000,3.0000,4.0000\n" * 3)
    (tmp_path / "val" / "list.txt").write_text("GOT-10k_Val_000002\nGOT-10k_Val_000001\n")
    make(tmp_path / "test" / "GOT-10k_Test_000001", 3, "1,2,3,4\n")
    (tmp_path / "test" / "list.txt").write_text("GOT-10k_Test_000001\n")
    return tmp_path


def test_a_split(root):
    dataset = open_dataset("got", root, subset="val")
    assert dataset.names == ("GOT-10k_Val_000002", "GOT-10k_Val_000001")
    sequence = dataset.sequence("GOT-10k_Val_000001")
    np.testing.assert_array_equal(sequence.boxes, [[1, 2, 3, 4]] * 3)  # as they stand
    assert (sequence.frames.length, sequence.frames.fps, sequence.size) == (3, 10.0, (8, 12))
    assert sequence.category == dataset.annotation("GOT-10k_Val_000001").category == "JetLev-Flyer"
    assert [round(int(frame.mean()), -1) for frame in sequence.frames] == [20, 40, 60]
    events = {name: mark.tolist() for name, mark in dataset.annotation("GOT-10k_Val_000001").events.items()}
    assert events == {"absence": [False, True, False], "visible": [True, False, True]}
    assert dataset.annotation("GOT-10k_Val_000001").size == (8, 12)


def test_the_test_split_has_the_first_box_only(root):
    sequence = open_dataset("got", root, subset="test").sequence("GOT-10k_Test_000001")
    assert sequence.boxes.shape == (1, 4) and sequence.frames.length == 3
    assert sequence.events == {}


def test_a_split_by_itself(root):
    assert len(open_dataset("got", root / "val").names) == 2
    assert len(open_dataset("got", root / "val", subset="val").names) == 2


def test_refusals(root):
    with pytest.raises(JtrackError, match=r"has the splits val, test: name one \(--list val\)"):
        open_dataset("got", root)
    with pytest.raises(JtrackError, match="unknown split of GOT-10k 'valid': did you mean 'val'"):
        open_dataset("got", root, subset="valid")
    with pytest.raises(JtrackError, match=r"is not GOT-10k: it has no train/list\.txt"):
        open_dataset("got", root, subset="train")
    with pytest.raises(JtrackError, match=r"is not GOT-10k: it has no test/list\.txt"):
        open_dataset("got", root / "val", subset="test")
    make(root / "val" / "short", 3, "1,2,3,4\n" * 2, cover="1\n", absence="0\n0\n")
    (root / "val" / "list.txt").write_text("short\nlost\n")
    with pytest.raises(JtrackError, match="lacks 1 of the 2 sequences wanted of val: lost: get"):
        open_dataset("got", root, subset="val")
    dataset = open_dataset("got", root, subset="val", sequences=["short"])
    with pytest.raises(JtrackError, match=r"cover\.label has 1 lines for 2 boxes"):
        dataset.sequence("short")
    (root / "val" / "short" / "cover.label").unlink()
    with pytest.raises(JtrackError, match=r"has 3 images but 2 boxes in groundtruth\.txt"):
        dataset.sequence("short")
    (root / "val" / "short" / "groundtruth.txt").write_text("1,2,3\n")
    with pytest.raises(JtrackError, match=r"line 1 of .* has 3 numbers: a box is"):
        dataset.annotation("short")
    (root / "val" / "short" / "meta_info.ini").write_text("anno_fps: 10Hz\n")
    (root / "val" / "short" / "groundtruth.txt").write_text("1,2,3,4\n")
    with pytest.raises(JtrackError, match=r"cannot read .*meta_info\.ini: File contains no section headers"):
        dataset.annotation("short")
