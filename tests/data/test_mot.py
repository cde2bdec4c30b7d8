"""MOTChallenge's text."""

import numpy as np
import pytest

from jtrack.data import mot
from jtrack.errors import JtrackError


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "gt.txt"
        path.write_text(text)
        return path

    return write


def test_boxes_of_a_frame_are_in_the_order_of_ids(written):
    path = written("1,7,11,21,5,6,1,1,.5\n2,3,1,1,2,2,1,1,1\n1,2,31,41,7,8,1,1,1\n1,9,0,0,3,3,0,1,1\n")
    assert mot.is_mot(path)
    np.testing.assert_array_equal(mot.boxes_of_frame(path, 0), [[30, 40, 7, 8], [10, 20, 5, 6]])
    np.testing.assert_array_equal(mot.boxes_of_frame(path, 1), [[0, 0, 2, 2]])


def test_detections_have_no_ids_and_keep_their_order(written):
    path = written("1,-1,11,21,5,6,33.5,-1,-1,-1\n1,-1,1,1,2,2,-2.1,-1,-1,-1\n")
    np.testing.assert_array_equal(mot.boxes_of_frame(path, 0), [[10, 20, 5, 6], [0, 0, 2, 2]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3,4,5,6,1,1,1\n1,2,3,4,5,6,1,1,1\n", "has target 2 twice in frame 1"),
        ("2,2,3,4,5,6,1,1,1\n", "no box for frame 1 .* only for some of 2 to 2"),
        ("1,2,3,4,5,6,1,1,1\n1,2,3,4\n", "line 2 .* is not MOTChallenge's"),
        ("1,2,nan,4,5,6,1,1,1\n", "line 1 .* is not MOTChallenge's"),
    ],
)
def test_what_is_not_of_this_form_is_refused(written, text, said):
    with pytest.raises(JtrackError, match=said):
        mot.boxes_of_frame(written(text), 0)


@pytest.mark.parametrize("text", ["1,2,3,4\n", "1,2,3,4,5,6,7,8\n", ""])
def test_other_boxes_are_not_taken_for_it(written, text):
    assert not mot.is_mot(written(text))


def test_a_line_counts_from_one():
    assert (
        mot.line(4, 2, (10.5, 20, 5, 6), 0.25)
        == "5,2,11.500000,21.000000,5.000000,6.000000,0.250000,-1,-1,-1\n"
    )
