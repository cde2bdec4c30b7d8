"""Wrong shapes of what is to be tracked, each refused in one sentence that says what to give."""

from pathlib import Path

import fake
import numpy as np
import pytest

from jtrack import data
from jtrack.data import from_arrays
from jtrack.errors import JtrackError
from jtrack.run import track, track_batch

IMAGES = fake.video(np.ones((3, 2)))
BOX = (10, 20, 8, 9)
PAIR = (IMAGES, BOX)


def refused(message, call, *arguments, **options):
    with pytest.raises(JtrackError, match=message) as caught:
        call(*arguments, tracker=options.pop("tracker", fake.build()), **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (["a.mp4"], "sequence 0 is 'a.mp4', which is no pair: give a list of pairs"),
        ([PAIR, Path("a.mp4")], r"sequence 1 is PosixPath\('a.mp4'\), which is no pair"),
        ("a.mp4", "got a str for its sequences: give a list of pairs"),
        (("a.mp4", BOX), "sequence 0 is 'a.mp4', which is no pair"),
        (PAIR, "sequence 0 is a ndarray, which is no pair"),
        ([("a.mp4",)], r"sequence 0 is \('a.mp4',\), which is no pair"),
        ([(IMAGES, (1, 2, 3))], r"a box is four numbers x, y, w, h.*: got \(1, 2, 3\)"),
        ([(IMAGES, "10,20,8,9")], "a box is four numbers.*: got '10,20,8,9'"),
        ([(IMAGES, [BOX, BOX])], "sequence 0 has 2 boxes: track_batch tracks one target in each sequence"),
        ([], "got no sequences: give a list of pairs"),
        (from_arrays(IMAGES), "got a FrameSource for its sequences"),
        (IMAGES, "got a ndarray for its sequences"),
        (None, "got a NoneType for its sequences"),
        ([("nowhere.mp4", BOX)], "there is no nowhere.mp4"),
    ],
)
def test_a_batch_that_is_no_list_of_pairs(sequences, message):
    refused(message, track_batch, sequences)


def test_lanes_are_at_least_one():
    refused("the number of lanes is 0: give 1 or more", track_batch, [PAIR], lanes=0)


def test_pairs_may_come_from_a_generator():
    (done,) = track_batch((pair for pair in [PAIR]), tracker=fake.build())
    assert len(done.boxes) == 3


@pytest.mark.parametrize(
    ("source", "box", "message"),
    [
        (["a.mp4"], BOX, "a list of paths is no source of frames"),
        (IMAGES[0], BOX, r"an array of shape \[60, 90, 3\] is one image, not a video"),
        (IMAGES[0, :, :, 0], BOX, r"an array of shape \[60, 90\] is one image, not a video"),
        (None, BOX, "a NoneType is no source of frames: give a video file"),
        (2.5, BOX, "a float is no source of frames"),
        ([], BOX, "has no frames"),
        (data.open_dataset("synthetic"), BOX, "give one of its sequences, dataset.sequence"),
        (BOX, "a.mp4", "a frame is int64"),
        (IMAGES, "10,20,8,9", "a box is four numbers.*: got '10,20,8,9'"),
        (IMAGES, None, "a box is four numbers.*: got None"),
        (IMAGES, [(1, 2), (3,)], "a box is four numbers"),
        (IMAGES, np.zeros((2, 2, 4)), r"a box is four numbers.*: got an array of shape \[2, 2, 4\]"),
    ],
)
def test_a_source_or_box_of_another_kind(source, box, message):
    refused(message, track, source, box)


def test_a_tracker_of_another_kind():
    refused("a Tracker alone has no weights", track, IMAGES, BOX, tracker=fake.fake(None, fake.Config()))
    refused("a tracker is given by its name, not as 5", track, IMAGES, BOX, tracker=5)


def test_grey_images_in_one_array_are_a_video():
    assert len(track(IMAGES[:, :, :, 0], BOX, tracker=fake.build()).boxes) == 3
