"""Frames on the device: each decoded and sent once, kept as long as they are needed."""

import dataclasses

import numpy as np
import pytest

from jtrack.data import FrameError, FrameSource
from jtrack.run.mesh import mesh_of
from jtrack.run.shared_frames import SENT_AT_ONCE, End, SharedFrames, Wanted

SIZE, CANVAS = (5, 7), (8, 16)
EVER = range(2**40)


class Video:
    """A video that notes which frames were read."""

    def __init__(self, length, *, picked, broken=None):
        self.read, self.length, self.broken = [], length, broken
        self.source = FrameSource(
            "video", SIZE, length if picked else None, None, self._all, self._one if picked else None
        )

    def _one(self, number):
        if number == self.broken:
            raise FrameError(f"frame {number} is broken", number)
        self.read.append(number)
        return np.full((*SIZE, 3), number % 256, np.uint8)

    def _all(self):
        yield from map(self._one, range(self.length))


def shared(capacity):
    return SharedFrames(mesh_of(), CANVAS, capacity)


def bring(frames, video, numbers, needs=None):
    wanted = [Wanted(0, video.source, number) for number in numbers]
    found = frames.bring(wanted, {id(video.source): [EVER]} if needs is None else needs)
    return [found[0, id(video.source), number] for number in numbers]


@pytest.mark.parametrize("picked", [True, False])
def test_frames_are_read_once_and_lie_where_it_says(picked):
    video = Video(40, picked=picked)
    with shared(64) as frames:
        for numbers in ([0, 1, 2], [2, 3, 4, 5], [20, 1, 21, 22], [3, 4, 19, 38, 39]):
            slots = bring(frames, video, numbers)
            pixels = np.asarray(frames.pixels)[slots]
            for image, number in zip(pixels, numbers, strict=True):
                assert (image[: SIZE[0], : SIZE[1]] == number).all()
        assert len(video.read) == len(set(video.read)) == frames.decoded == frames.sent
        assert set(video.read) == ({0, 1, 2, 3, 4, 5, 19, 20, 21, 22, 38, 39} if picked else set(range(40)))


@pytest.mark.parametrize("picked", [True, False])
def test_a_broken_frame_and_the_end(picked):
    video = Video(9, picked=picked, broken=6)
    with shared(16) as frames:
        found = bring(frames, video, [4, 5, 6])
        assert all(isinstance(slot, int) for slot in found[:2]) and found[2] == End("frame 6 is broken")
    short = Video(9, picked=picked)
    with shared(16) as frames:
        assert bring(frames, short, [7, 8, 9, 12])[2:] == [End(None), End(None)]


def test_a_broken_frame_that_is_picked_is_the_only_one_that_is_missing():
    video = Video(9, picked=True, broken=3)
    with shared(16) as frames:
        found = bring(frames, video, [2, 3, 4])
        assert found[1] == End("frame 3 is broken") and isinstance(found[2], int)


def test_what_can_be_read_once_only_is_not_begun_anew():
    video = Video(20, picked=False)
    video.source = dataclasses.replace(video.source, live=True)
    with shared(4) as frames:
        bring(frames, video, [3])
        frames.forget({id(video.source): [range(10, 20)]})
        (found,) = bring(frames, video, [1], {id(video.source): [range(10, 20)]})
        assert found == End("video can be read once only")


def test_an_image_of_another_size_is_no_frame():
    video = Video(4, picked=True)
    source = dataclasses.replace(video.source, pick=lambda number: np.zeros((9, 9, 3), np.uint8))
    video.source = source
    with shared(4) as frames:
        (found,) = bring(frames, video, [0])
        assert found == End("frame 0 of video is 9x9x3: needed is 5x7x3, as the first")


def test_what_is_passed_on_the_way_is_kept_only_where_it_is_needed():
    video = Video(400, picked=False)
    needs = {id(video.source): [range(395, 400)]}
    with shared(8) as frames:
        bring(frames, video, [399], needs)
        assert frames.sent == 5 and frames.decoded == 5
        bring(frames, video, [395, 396, 397, 398, 399], needs)
        assert frames.sent == 5


def test_what_nobody_needs_makes_room():
    video = Video(30, picked=True)
    with shared(8) as frames:
        bring(frames, video, range(8))
        frames.forget({id(video.source): [range(5, 30)]})
        bring(frames, video, range(8, 13))
        assert frames.decoded == 13
        bring(frames, video, range(5, 13))
        assert frames.decoded == 13


def test_where_the_store_is_full_the_frame_that_is_needed_last_makes_room():
    video = Video(30, picked=True)
    needs = {id(video.source): [range(10, 30), range(2, 4)]}
    with shared(4) as frames:
        bring(frames, video, [2, 3, 12, 20], needs)
        slots = bring(frames, video, [11], needs)
        assert np.asarray(frames.pixels)[slots[0], 0, 0, 0] == 11
        bring(frames, video, [2, 3, 11, 12], needs)
        assert frames.decoded == 5
        bring(frames, video, [20], needs)
        assert frames.decoded == 6


def test_sending_in_parts_keeps_what_is_there():
    first, second = Video(20, picked=True), Video(20, picked=True)
    count = SENT_AT_ONCE[0] + 2
    needs = {id(video.source): [EVER] for video in (first, second)}
    with shared(64) as frames:
        slots = bring(frames, first, range(count), needs)
        bring(frames, second, range(count), needs)
        np.testing.assert_array_equal(np.asarray(frames.pixels)[slots][:, 0, 0, 0], np.arange(count))
        assert frames.sent == 2 * count
