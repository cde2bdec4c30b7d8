"""What every kind of dataset has in common."""

import numpy as np
import pytest

from jtrack.data import open_dataset, otb, synthetic
from jtrack.data.text import check_name, read_names, read_text, split_names
from jtrack.errors import JtrackError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "anno").mkdir()
    for name in ("Walk", "Run"):
        (tmp_path / "anno" / f"{name}.txt").write_text("1,2,3,4\n" * 3)
    return tmp_path


def test_sequences_are_chosen_in_the_order_given(root):
    assert open_dataset("otb", root).names == ("Run", "Walk")
    assert open_dataset("otb", str(root), sequences=["Walk", "Run", "Walk"]).names == ("Walk", "Run")


def test_refusals(root):
    with pytest.raises(JtrackError, match="unknown kind of dataset 'otb100': did you mean 'otb'"):
        open_dataset("otb100", root)
    with pytest.raises(JtrackError, match=r"there is no folder .*nothing to open"):
        open_dataset("otb", root / "nothing")
    with pytest.raises(JtrackError, match="'otb' needs its folder"):
        open_dataset("otb")
    with pytest.raises(JtrackError, match=r"holds no OTB sequence: expected .*groundtruth_rect\.txt"):
        open_dataset("otb", root / "anno")
    with pytest.raises(JtrackError, match=r"unknown sequence of .* 'Wlk': did you mean 'Walk'"):
        open_dataset("otb", root, sequences=["Wlk"])
    with pytest.raises(JtrackError, match="name at least one"):
        open_dataset("otb", root, sequences=[])


@pytest.mark.parametrize("name", ["../Walk", "/etc/passwd", "anno/Walk", "..", "", "C:\\Walk"])
def test_no_name_leaves_the_folder(root, name):
    dataset = open_dataset("otb", root)
    for read in (dataset.annotation, dataset.sequence):
        with pytest.raises(JtrackError, match="unknown sequence of"):
            read(name)
    with pytest.raises(JtrackError, match="unknown sequence of"):
        open_dataset("otb", root, sequences=[name])
    with pytest.raises(JtrackError, match="is not the plain name of a folder"):
        check_name(name, "list.txt")
    with pytest.raises(JtrackError, match="is not the plain name of a folder"):
        otb.dataset(root, None).annotation(name)


def test_a_name_that_no_folder_can_have():
    assert check_name("é" * 127, "list.txt") == "é" * 127
    with pytest.raises(JtrackError, match=r"list\.txt names 'ééé.*, which has 256 bytes"):
        check_name("é" * 128, "list.txt")


def test_made_up_clips_lie_in_no_folder():
    with pytest.raises(JtrackError, match="unknown sequence of the made-up clips 'ladybird-'"):
        open_dataset("synthetic", sequences=["ladybird-"])


def test_a_chosen_part_hides_the_rest(root):
    dataset = open_dataset("otb", root, sequences=["Walk"])
    with pytest.raises(JtrackError, match=r"unknown sequence of .* 'Run'"):
        dataset.annotation("Run")


@pytest.mark.parametrize("kind", ["vot", "got"])
@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/b", ".hidden", "a\\b", "a\x00b"])
def test_a_list_names_no_path(tmp_path, kind, name):
    (tmp_path / "list.txt").write_text(f"good\n{name}\n")
    with pytest.raises(JtrackError, match=r"list\.txt names .*, which is not the plain name of a folder"):
        open_dataset(kind, tmp_path)


def test_lists_of_names(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("b\r\na\r\n\r\n")
    assert read_names(path) == ("b", "a")
    path.write_text("b\na\nb\n")
    with pytest.raises(JtrackError, match=r"list\.txt names b twice"):
        read_names(path)
    path.write_text("\n")
    with pytest.raises(JtrackError, match=r"list\.txt is empty"):
        read_names(path)
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a hole: it takes no room on the disk
    with pytest.raises(JtrackError, match="has 1073741824 bytes: at most"):
        read_text(path)


def test_names_of_a_command_line():
    assert split_names(None) is None
    assert split_names("Coke, Deer,,Jogging-1 ") == ["Coke", "Deer", "Jogging-1"]
    assert split_names(",") == []


def test_the_synthetic_dataset_needs_no_files():
    dataset = open_dataset("synthetic")
    assert dataset.names == tuple(synthetic.CLIPS)
    sequence = dataset.sequence("ladybird-4")
    assert (sequence.name, sequence.frames.name, sequence.size) == ("ladybird-4",) * 2 + ((120, 160),)
    assert len(sequence.boxes) == sequence.frames.length == 120
    np.testing.assert_array_equal(dataset.annotation("ladybird-4").boxes, sequence.boxes)
    first, second = sequence.frames, dataset.sequence("ladybird-4").frames
    np.testing.assert_array_equal(next(iter(first)), next(iter(second)))
    for index, frame in enumerate(first):
        if index in (1, 60):
            np.testing.assert_array_equal(first.pick(index), frame)
    with pytest.raises(JtrackError, match="has no list 'cvpr13'"):
        open_dataset("synthetic", subset="cvpr13")


def test_a_sequence_is_found_in_any_unicode_form(tmp_path):
    """The names of a folder from a Mac, and what a user types, differ in how accents are written."""
    (tmp_path / "anno").mkdir()
    (tmp_path / "anno" / "Cafe\u0301.txt").write_text("1,1,5,5\n")
    dataset = open_dataset("otb", tmp_path, sequences=["Caf\u00e9"])
    assert dataset.names == ("Cafe\u0301",)
    assert len(dataset.annotation("Caf\u00e9").boxes) == 1
