"""simplejpeg takes OpenCV's place only where both give the same pixels."""

import cv2
import numpy as np
import pytest

from jtrack import data
from jtrack.data import FrameError, jpeg

simplejpeg = pytest.importorskip("simplejpeg")
RNG = np.random.default_rng(2)


def picture(size=(40, 56)):
    small = RNG.integers(0, 255, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def encoded(image, *options):
    return cv2.imencode(".jpg", image[:, :, ::-1], options)[1].tobytes()


def by_opencv(file):
    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def turned(file):
    """The same file with an Exif part that turns the picture by a quarter."""
    entry = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    part = b"Exif\0\0" + entry
    return file[:2] + b"\xff\xe1" + (len(part) + 2).to_bytes(2, "big") + part + file[2:]


@pytest.mark.parametrize(
    "options",
    [
        (),
        (cv2.IMWRITE_JPEG_QUALITY, 40),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    ],
)
def test_the_same_pixels(options):
    first, second = encoded(picture(), *options), encoded(picture(), *options)
    decode = jpeg.decoder(first, by_opencv(first))
    assert decode is not None
    np.testing.assert_array_equal(decode(second), by_opencv(second))


def test_what_differs_from_opencv_is_left_to_it():
    file = encoded(picture())
    assert jpeg.decoder(file, by_opencv(file) ^ 1) is None
    grey = cv2.imencode(".jpg", picture()[:, :, 0])[1].tobytes()
    assert jpeg.decoder(grey, by_opencv(grey)) is None
    png = cv2.imencode(".png", picture())[1].tobytes()
    assert jpeg.decoder(png, picture()) is None


def test_a_file_that_is_not_like_the_first_is_left_to_opencv():
    file = encoded(picture())
    decode = jpeg.decoder(file, by_opencv(file))
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    for other in (
        turned(file),
        encoded(picture((48, 56))),
        encoded(picture(), *sampling),
        file[: len(file) // 2],
        b"no image",
        b"",
    ):
        assert decode(other) is None


def test_a_folder_has_the_frames_that_opencv_gives(tmp_path):
    files = [encoded(picture()) for _ in range(4)]
    files[2] = encoded(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    for number, file in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(file)
    source = data.open_source(tmp_path)
    for number, (image, file) in enumerate(zip(source, files, strict=True)):
        np.testing.assert_array_equal(image, by_opencv(file))
        np.testing.assert_array_equal(source.pick(number), image)


def test_a_picked_frame_that_is_damaged_or_of_another_size_is_named(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(picture()))
    source = data.open_source(tmp_path)
    (tmp_path / "1.jpg").write_bytes(b"nothing")
    (tmp_path / "2.jpg").write_bytes(encoded(picture((48, 56))))
    with pytest.raises(FrameError, match=r"frame 1 of .* is not a readable image"):
        source.pick(1)
    with pytest.raises(FrameError, match=r"frame 2 of .* is 56x48"):
        source.pick(2)
