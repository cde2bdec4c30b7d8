"""Still images in motion: the boxes are those of what is drawn; every clip is a function of its numbers."""

import cv2
import numpy as np
import pytest

from jtrack.data import detection, scenes, stills
from jtrack.errors import JtrackError

NOTHING = np.empty((0, 4))


def pictures(count, size=(180, 220)):
    return [scenes.scene(number, size).image for number in range(count)]


@pytest.fixture
def plain(monkeypatch):
    """No light, blur or grain, nothing beside or before the target, which does not bend."""

    def only(*, pasted):
        monkeypatch.setattr(stills, "_filmed", lambda canvas, rng: np.rint(canvas).astype(np.uint8))
        for share in ("BESIDE", "HIDDEN", "GREY", "BEND"):
            monkeypatch.setattr(stills, share, 0.0)
        monkeypatch.setattr(stills, "ANGLE", 0.05)
        monkeypatch.setattr(stills, "PASTED", float(pasted))

    return only


@pytest.mark.parametrize("pasted", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_box_holds_what_is_drawn(plain, pasted, seed):
    """A red part of a blue picture: its pixels in every frame give centre and size."""
    plain(pasted=pasted)
    image = np.zeros((200, 240, 3), np.uint8)
    image[:, :, 2] = 255
    box = np.array([60.0, 70.0, 64.0, 44.0])
    image[70:114, 60:124] = (255, 0, 0)
    example = detection.Example(image, box[None])
    ground = [np.full((150, 150, 3), (0, 0, 255), np.uint8)] * 2
    rng = np.random.default_rng(seed)
    clip = stills.animate(example, ground, frames=4, side=160, rng=rng)
    assert clip.pixels.shape == (4, 160, 160, 3) and clip.pixels.dtype == np.uint8
    looked_at = 0
    for pixels, (x, y, w, h) in zip(clip.pixels, clip.boxes, strict=True):
        # With mirrored borders the picture may be there more than once: the part around the box counts.
        red = pixels[:, :, 0] > 127
        near = np.zeros_like(red)
        rows, columns = (
            slice(max(0, int(start - 0.6 * length)), int(start + 1.6 * length))
            for start, length in ((y, h), (x, w))
        )
        near[rows, columns] = True
        found = np.argwhere(red & near)[:, ::-1] + 0.5
        inside = (x > 0) & (y > 0) & (x + w < 160) & (y + h < 160)
        if not inside:
            continue
        looked_at += 1
        np.testing.assert_allclose(found.mean(axis=0), [x + w / 2, y + h / 2], atol=1.5)
        # A rotation by some degrees enlarges what is upright around it.
        np.testing.assert_allclose(np.ptp(found, axis=0) + 1, [w, h], rtol=0.3, atol=3)
    assert looked_at >= 1


def test_the_first_frame_shows_the_box_upright(plain):
    """Nothing is rotated or stretched yet: edges lie where the box says, within a pixel."""
    plain(pasted=False)
    image = np.zeros((200, 200, 3), np.uint8)
    image[60:120, 80:130] = 255
    example = detection.Example(image, np.array([[80.0, 60.0, 50.0, 60.0]]))
    for seed in range(5):
        clip = stills.animate(example, [image, image], frames=2, side=200, rng=np.random.default_rng(seed))
        x, y, w, h = clip.boxes[0]
        white = np.argwhere(clip.pixels[0][:, :, 0] > 127)[:, ::-1]
        low, high = white.min(axis=0), white.max(axis=0) + 1
        np.testing.assert_allclose([*low, *high], [x, y, x + w, y + h], atol=1.01)


def test_the_same_numbers_give_the_same_clip():
    first, *others = pictures(3)
    clips = [
        stills.animate(
            detection.Example(first, NOTHING), others, frames=3, side=96, rng=np.random.default_rng(seed)
        )
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(clips[0].pixels, clips[1].pixels)
    np.testing.assert_array_equal(clips[0].boxes, clips[1].boxes)
    assert not np.array_equal(clips[0].boxes, clips[2].boxes)


def test_targets_stay_in_the_frame_and_move():
    first, *others = pictures(3)
    moved = []
    for seed in range(30):
        clip = stills.animate(
            detection.Example(first, NOTHING), others, frames=5, side=128, rng=np.random.default_rng(seed)
        )
        centres = clip.boxes[:, :2] + clip.boxes[:, 2:] / 2
        assert (centres > 0).all() and (centres < 128).all()
        assert (clip.boxes[:, 2:] > 4).all()
        moved.append(np.abs(np.diff(centres, axis=0)).max() / np.sqrt(clip.boxes[0, 2:].prod()))
    assert 0.05 < np.median(moved) < 0.5 and max(moved) < 1.4  # within the search window


def test_a_box_of_the_picture_is_the_target():
    """Where there are boxes, one of them; not one of a few pixels."""
    image = pictures(1)[0]
    known = np.array([[30.0, 40.0, 50.0, 40.0], [5.0, 5.0, 3.0, 3.0]])
    for seed in range(10):
        box = stills._chosen(detection.Example(image, known), np.random.default_rng(seed))
        np.testing.assert_array_equal(box, known[0])


def test_images_of_a_folder_need_no_boxes(tmp_path):
    for number, image in enumerate(pictures(3)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image[:, :, ::-1])
    (tmp_path / "notes.txt").write_text("no image")
    data = detection.open_detection(f"images:{tmp_path}")
    assert data.length == 3
    picture = data.read(1)
    np.testing.assert_array_equal(picture.image, pictures(3)[1])
    assert picture.boxes.shape == (0, 4)
    before = data.digest
    cv2.imwrite(str(tmp_path / "3.png"), pictures(1)[0])
    assert detection.open_detection(f"images:{tmp_path}").digest != before
    with pytest.raises(JtrackError, match="holds no images: name one with photographs"):
        (tmp_path / "empty").mkdir()
        detection.open_detection(f"images:{tmp_path / 'empty'}")
    with pytest.raises(JtrackError, match="there is no folder"):
        detection.open_detection(f"images:{tmp_path / 'absent'}")


def test_a_target_is_neither_all_of_a_frame_nor_a_few_pixels():
    """Boxes that fill their picture, or are a speck of it, are shown over another one."""
    image = pictures(1, (384, 512))[0]
    for box in ([20.0, 20.0, 400.0, 300.0], [100.0, 100.0, 16.0, 16.0]):
        example = detection.Example(image, np.array([box]))
        for seed in range(10):
            clip = stills.animate(example, pictures(2), frames=2, side=192, rng=np.random.default_rng(seed))
            side = np.sqrt(clip.boxes[0, 2:].prod()) / 192
            assert 0.99 * stills.SIDES[0] <= side <= 1.01 * stills.SIDES[1]
