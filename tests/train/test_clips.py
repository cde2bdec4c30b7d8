"""Clips to learn from: parts that share nothing, the same for every number of threads, boxes that fit."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from jtrack.data import Dataset, synthetic
from jtrack.data.sequence import Sequence, from_arrays
from jtrack.errors import JtrackError
from jtrack.train import clips


def test_what_is_held_out_is_not_learnt_from():
    learnt, held = clips.open_source(["scenes:60"])
    used, kept = learnt.parts[0].indices, held.parts[0].indices
    assert len(kept) == 3 and not set(used) & set(kept)
    assert sorted([*used, *kept]) == list(range(60))
    # Two targets of one video stay together.
    out = clips._parted(clips._kin(Dataset("otb", "x", None, ("A", "J-1", "J-2", "B"), None, None)), "x")
    assert sorted(map(len, out)) in ([1, 3], [2, 2])
    assert all(({1, 2} <= set(part)) or not ({1, 2} & set(part)) for part in out)
    learnt, held = clips.open_source(["synthetic:"])
    assert set(learnt.parts[0].names) | set(held.parts[0].names) == set(synthetic.CLIPS)
    assert not set(learnt.parts[0].names) & set(held.parts[0].names)


def test_a_batch_does_not_depend_on_threads():
    source, held = clips.open_source(["scenes:8", "synthetic:"])
    found = []
    for threads in (1, 3):
        with ThreadPoolExecutor(threads) as pool:
            found.append(source.batch(pool, 0, 4, 4, 3, 64))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0].pixels.shape == (4, 3, 64, 64, 3) and found[0].boxes.shape == (4, 3, 4)
    assert found[0].boxes.dtype == np.float32
    stream = clips.stream(source, 0, 4, 3, 64, start=4, stop=6)
    number, batch = next(stream)
    assert number == 4
    np.testing.assert_array_equal(batch.pixels, found[0].pixels)
    assert next(stream)[0] == 5 and next(stream, None) is None
    with ThreadPoolExecutor(1) as pool:
        same_numbers = held.batch(pool, 0, 4, 4, 3, 64)
    assert not np.array_equal(same_numbers.pixels, found[0].pixels)


def marked(frames, boxes):
    """A video whose target is white on black."""
    images = []
    for x, y, w, h in boxes:
        image = np.zeros((240, 320, 3), np.uint8)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w) - 1, int(y + h) - 1), (255, 255, 255), -1)
        images.append(image)
    return Sequence(name="marked", boxes=np.array(boxes, np.float64), frames=from_arrays(images))


def test_a_part_of_a_video_keeps_its_boxes():
    boxes = [[100 + 3 * t, 80 + 2 * t, 40, 30] for t in range(12)]
    video = marked(12, boxes)
    data = Dataset("otb", "videos", None, ("marked",), lambda _: video, lambda _: video)
    clips._opened.cache_clear()
    for seed in range(8):
        clip = clips.Videos(data, ("marked",)).draw(3, 128, np.random.default_rng(seed))
        for pixels, (x, y, w, h) in zip(clip.pixels, clip.boxes, strict=True):
            white = np.argwhere(pixels[:, :, 0] > 127)[:, ::-1]
            low, high = white.min(axis=0), white.max(axis=0) + 1
            np.testing.assert_allclose([*low, *high], [x, y, x + w, y + h], atol=1.5)


def test_frames_without_a_target_have_no_box():
    boxes = np.array([[100.0, 80, 40, 30]] * 6)
    video = marked(6, boxes)
    video.events["absent"] = np.array([False, True, False, True, False, True])
    data = Dataset("otb", "videos", None, ("marked",), lambda _: video, lambda _: video)
    clips._opened.cache_clear()
    steps = set()
    for seed in range(20):
        clip = clips.Videos(data, ("marked",)).draw(2, 64, np.random.default_rng(seed))
        assert np.isfinite(clip.boxes[0]).all()
        steps.add(bool(np.isnan(clip.boxes[1]).all()))
        assert np.isnan(clip.boxes[1]).all() or np.isfinite(clip.boxes[1]).all()
    assert steps == {True, False}  # every second frame has none
    video.events["absent"][:] = True
    with pytest.raises(JtrackError, match="show no target in 2 frames"):
        clips.Videos(data, ("marked",)).draw(2, 64, np.random.default_rng(0))


def test_an_image_that_cannot_be_read_costs_itself_alone(tmp_path):
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((60, 60, 3), 40 * number, np.uint8))
    (tmp_path / "2.png").write_bytes(b"no image")
    source, _ = clips.open_source([f"images:{tmp_path}"])
    with pytest.warns(UserWarning, match="left out"), ThreadPoolExecutor(1) as pool:
        batch = source.batch(pool, 0, 0, 6, 2, 32)
        again = source.batch(pool, 0, 0, 6, 2, 32)
    np.testing.assert_array_equal(batch.pixels, again.pixels)


def test_data_that_are_too_few_are_refused():
    with pytest.raises(JtrackError, match="scenes:1 has 1 images or videos: two at least, one is held out"):
        clips.open_source(["scenes:1"])
    with pytest.raises(JtrackError, match="is not understood"):
        clips.open_source(["photographs"])
    with pytest.raises(JtrackError, match="is not understood"):
        clips.open_source(["otb"])
