"""Patches: overlaps as promised, the same ones every time, and nothing held in memory."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from shapely.geometry import box as polygon

from jtrack.data import scenes
from jtrack.data.detection import DetectionDataset, Example, joined, open_detection
from jtrack.errors import JtrackError
from jtrack.learning.fc_head import BACKGROUND, OBJECT
from jtrack.train import patches


def iou(a, b):
    a, b = (polygon(x, y, x + w, y + h) for x, y, w, h in (a, b))
    return a.intersection(b).area / a.union(b).area


def test_windows_overlap_as_they_should():
    rng = np.random.default_rng(0)
    seen = 0
    for number in range(60):
        picture = scenes.scene(number)
        windows = patches.draw(picture, rng)
        if windows is None:
            continue
        seen += 1
        best = [max(iou(window, box) for box in picture.boxes) for window in windows]
        assert min(best[:2]) >= patches.NEAR - 1e-9 and max(best[2:]) < patches.FAR
        assert (windows[2:, 2:] >= patches.SMALLEST).all()
        extent = polygon(0, 0, picture.image.shape[1], picture.image.shape[0])
        for x, y, w, h in windows[2:]:
            assert polygon(x, y, x + w, y + h).intersection(extent).area >= 0.5 * w * h - 1e-6
    assert seen >= 55


def test_images_that_give_nothing():
    """No box, a box too small, or nothing but object."""
    rng = np.random.default_rng(0)
    image = np.zeros((100, 120, 3), np.uint8)
    for boxes in (np.empty((0, 4)), [[5, 5, 10, 60]], [[-300, 5, 310, 60]]):
        assert patches.draw(Example(image, np.array(boxes, float)), rng) is None
    whole = patches.draw(Example(image, np.array([[0.0, 0, 120, 100]])), rng)
    assert whole is not None  # a small part of a large object is background to it
    assert all(iou(window, (0, 0, 120, 100)) < patches.FAR for window in whole[2:])


def test_a_crowd_is_neither_object_nor_background():
    rng = np.random.default_rng(0)
    image = np.zeros((200, 300, 3), np.uint8)
    crowd = (100.0, 0.0, 200.0, 200.0)
    picture = Example(image, np.array([[60.0, 80, 30, 40]]), np.array([crowd]))
    blind = reached = 0
    for _ in range(40):
        for window in patches.draw(picture, rng)[2:]:
            x, y, w, h = window
            reached += polygon(x, y, x + w, y + h).intersection(polygon(100, 0, 300, 200)).area >= 0.3 * w * h
        for x, y, w, h in patches.draw(Example(*picture[:2]), rng)[2:]:
            blind += polygon(x, y, x + w, y + h).intersection(polygon(100, 0, 300, 200)).area >= 0.3 * w * h
    assert reached == 0 and blind > 10
    # Nothing but crowd around the object: no background to be had.
    assert patches.draw(Example(image, picture.boxes, np.array([[0.0, 0, 300, 200]])), rng) is None


def test_a_patch_is_its_window():
    """The middle of what is kept is the window: an image of coordinates tells where each pixel came from."""
    y, x = np.mgrid[:200, :256]
    image = np.dstack([x, y, 0 * x]).astype(np.uint8)
    for window in ([60, 40, 112, 112], [100, 90, 56, 56], [20, 10, 150, 170]):
        part = patches._part(patches._cut(image, np.array(window, float), (112, 112)), (112, 112)).astype(
            float
        )
        at = (np.arange(112) + 0.5) / 112
        np.testing.assert_allclose(part[:, :, 0].mean(axis=0), window[0] + at * window[2] - 0.5, atol=1.01)
        np.testing.assert_allclose(part[:, :, 1].mean(axis=1), window[1] + at * window[3] - 0.5, atol=1.01)
    outside = patches._cut(image, np.array([-20.0, -20, 60, 60]), (48, 48))
    assert (outside[0, :10, 0] == 0).all()  # the border is repeated
    assert outside.shape == (54, 54, 3)


def test_what_is_shown_is_a_part_at_random_and_mirrored_half_the_time():
    large = np.zeros((54, 54, 3), np.uint8)
    large[:, :, 0], large[:, :, 1] = np.mgrid[:54, :54]
    rng = np.random.default_rng(0)
    corners, mirrored = set(), 0
    for _ in range(400):
        part = patches._part(large, (48, 48), rng)
        mirrored += part[0, 0, 1] > part[0, -1, 1]
        corners.add((int(part[0, 0, 0]), int(part[0].min(axis=0)[1])))
    assert corners == {(i, j) for i in range(7) for j in range(7)}
    assert 160 < mirrored < 240
    assert patches._part(large, (48, 48))[0, 0].tolist() == [3, 3, 0]


def taken(shown, start, stop, threads=1):
    return list(patches.stream(shown, 16, start=start, stop=stop, threads=threads))


def test_a_step_has_the_same_patches_whenever_it_is_made():
    shown, _ = patches.split(open_detection("scenes:20"), (48, 48), held=5, seed=3)
    all_at_once = taken(shown, 0, 6)
    later = taken(shown, 4, 6, threads=3)
    assert [step for step, _ in later] == [4, 5]
    for (_, one), (_, other) in zip(all_at_once[4:], later, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    first, last = all_at_once[0][1], all_at_once[-1][1]
    assert first.images.shape == (16, 48, 48, 3) and first.images.dtype == np.uint8
    assert not np.array_equal(first.images, last.images)
    assert Counter(first.labels.tolist()) == {OBJECT: 8, BACKGROUND: 8}
    other_seed = patches.split(open_detection("scenes:20"), (48, 48), held=5, seed=4)[0]
    assert not np.array_equal(taken(other_seed, 0, 1)[0][1].images, first.images)


def counting(length, box=(10, 10, 30, 30)):
    """A set that remembers which images were read."""
    reads = []
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)

    def read(index):
        reads.append(index)
        return Example(image, np.array([box], float) if box else np.empty((0, 4)))

    return DetectionDataset("counted", length, read, ""), reads


def test_images_are_streamed_each_once_an_epoch_and_never_those_held_out():
    data, reads = counting(100)
    shown, held = patches.split(data, (32, 32), held=20, seed=0)
    assert (len(shown.indices), len(held.indices)) == (80, 20)
    assert set(shown.indices) | set(held.indices) == set(range(100))
    batches = patches.stream(shown, 40, start=0, stop=1000, threads=1)
    next(batches)
    assert len(reads) == 10  # ten images for forty patches, and no more before they are asked for
    for _ in range(15):
        next(batches)
    assert Counter(reads) == dict.fromkeys(shown.indices.tolist(), 2)
    assert reads[:80] != reads[80:]
    reads.clear()
    assert sum(len(batch.labels) for batch in patches.in_order(held, 24)) == 80
    assert reads == held.indices.tolist()


def test_a_video_is_held_out_whole():
    """Ten photographs and three videos of ten frames."""
    photos, _ = counting(10)
    videos = dataclasses.replace(counting(30)[0], kin=lambda index: index // 10)
    data = joined([photos, videos])
    seen = set()
    for seed in range(30):
        shown, held = patches.split(data, (32, 32), held=8, seed=seed)
        assert len(held.indices) == 8 and not set(shown.indices) & set(held.indices)
        for first in (10, 20, 30):
            frames = set(range(first, first + 10))
            assert not frames & set(held.indices) or not frames & set(shown.indices)
            seen.add((first, bool(frames & set(shown.indices))))
    assert len(seen) == 6
    with pytest.raises(JtrackError, match="has 1 images or videos"):
        patches.split(dataclasses.replace(photos, kin=lambda _: 0), (32, 32), held=2, seed=0)


def test_no_usable_box_is_said():
    for box in (None, (1, 1, 8, 8)):
        shown, _ = patches.split(counting(10, box)[0], (32, 32), held=2, seed=0)
        with pytest.raises(JtrackError, match=r"100 images in a row of counted have no box"):
            taken(shown, 0, 1)
    with pytest.raises(JtrackError, match="counted has 1 images or videos: two at least"):
        patches.split(counting(1)[0], (32, 32), held=2, seed=0)


def test_images_without_boxes_are_passed_over():
    """Half of the images show no object: the batch is whole all the same."""
    data, _ = counting(40)
    empty = data.read
    mixed = DetectionDataset("mixed", 40, lambda i: empty(i)._replace(boxes=empty(i).boxes[: i % 2]), "")
    shown, _ = patches.split(mixed, (32, 32), held=4, seed=0)
    ((_, batch),) = taken(shown, 0, 1)
    assert batch.labels.sum() == 8


def test_shrinking_does_not_alias():
    """Stripes finer than a patch's pixels become their mean."""
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, ::2] = 200
    small = patches._cut(image, np.array([50.0, 50, 300, 300]), (48, 48))
    assert np.ptp(small[:, 2:-2].astype(int)) < 40 and abs(int(small.mean()) - 100) < 3
