"""Sequences run together equal sequences run alone."""

import fake
import numpy as np
import pytest

from jtrack.data import FrameError, FrameSource
from jtrack.errors import JtrackError
from jtrack.run import track, track_batch

RNG = np.random.default_rng(1)


def job(length, size, box):
    return fake.video(RNG.integers(0, 5, (length, 2)), size), np.float32(box)


JOBS = [
    job(7, (60, 90), (10, 20, 8, 9)),
    job(3, (60, 90), (3, 4, 10, 12)),
    job(5, (60, 190), (40, 5, 6, 7)),  # another canvas
    job(1, (50, 70), (4, 5, 6, 7)),
    job(4, (100, 128), (4, 5, 7, 7)),
]


@pytest.mark.parametrize("lanes", [2, 8])
@pytest.mark.parametrize("grid", [1, None])
def test_equal_to_single_runs(lanes, grid):
    build = fake.build(fake.Config(grid))
    for got, (frames, box) in zip(track_batch(JOBS, tracker=build, lanes=lanes), JOBS, strict=True):
        alone = track(frames, box, tracker=build)
        np.testing.assert_array_equal(got.boxes, alone.boxes)
        np.testing.assert_array_equal(got.scores, alone.scores)
        np.testing.assert_array_equal(got.lost, alone.lost)
        assert got.stopped is None and got.label == alone.label and len(got.boxes) == len(frames)


def test_pairs_of_one_source_share_its_frames():
    read = []

    def frames():
        for image in JOBS[0][0]:
            read.append(len(read))
            yield image

    source = FrameSource("shared", (60, 90), 7, None, frames)
    boxes = [(10, 20, 8, 9), (3, 4, 10, 12), (20, 5, 9, 9)]
    done = track_batch([(source, box) for box in boxes], tracker=fake.build(), lanes=2)
    assert len(read) == 7
    for got, box in zip(done, boxes, strict=True):
        np.testing.assert_array_equal(got.boxes, track(JOBS[0][0], box, tracker=fake.build()).boxes)


def test_unreadable_frame_ends_one_lane_only():
    frames, box = JOBS[0]

    def read():
        yield from frames[:2]
        raise FrameError("frame 2 is broken", 2)

    source = FrameSource("broken", (60, 90), 7, None, read)
    cut, whole = track_batch([(source, box), (frames, box)], tracker=fake.build())
    np.testing.assert_array_equal(cut.boxes, whole.boxes[:2])
    assert cut.stopped == "frame 2 is broken" and whole.stopped is None
    (alone,) = track_batch([(source, box)], tracker=fake.build())
    assert alone.stopped == "frame 2 is broken"


def test_second_batch_compiles_nothing(compilations):
    track_batch(JOBS[:2], tracker=fake.build(), lanes=2)
    with compilations() as seen:
        track_batch([JOBS[4], JOBS[0]], tracker=fake.build(rate=3), lanes=2)
    assert not seen


def test_box_partly_outside_is_taken_but_not_one_wholly_outside():
    frames, _ = JOBS[0]
    (got,) = track_batch([(frames, (80, 50, 30, 30))], tracker=fake.build())
    assert got.boxes[0].tolist() == [80, 50, 30, 30]
    with pytest.raises(JtrackError, match="outside the frame"):
        track_batch([(frames, (95, 50, 30, 30))], tracker=fake.build())
