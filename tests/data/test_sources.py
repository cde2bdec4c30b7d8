"""Videos, folders, patterns, cameras and arrays as sources of frames."""

import gc
import itertools
import os
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from jtrack.data import FrameError, from_arrays, open_source, prefetch
from jtrack.data.folder import natural_key
from jtrack.data.image_header import is_truncated
from jtrack.errors import JtrackError


def picture(value, *, height=24, width=32):
    """A picture that survives JPEG: smooth, and recognisable by its mean."""
    rows = np.linspace(-20, 20, height)[:, None, None]
    return np.clip(np.full((height, width, 3), value) + rows + [10, 0, -10], 0, 255).astype(np.uint8)


def save(path, rgb, *options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = rgb[:, :, ::-1] if rgb.ndim == 3 and rgb.shape[2] == 3 else rgb
    assert cv2.imwrite(str(path), image, list(options))
    return path


@pytest.fixture
def folder(tmp_path):
    """Ten PNG pictures 1.png .. 10.png of mean 20, 40, ... 200, and files that are none."""
    for index in range(1, 11):
        save(tmp_path / "walk" / f"{index}.png", picture(20 * index))
    (tmp_path / "walk" / "notes.txt").write_text("not an image")
    (tmp_path / "walk" / "._1.png").write_bytes(b"\0\5\x16\7")
    return tmp_path / "walk"


@pytest.fixture
def video(tmp_path):
    """Twelve frames of mean 15, 30, ... 180 at 25 per second."""
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 24))
    for index in range(12):
        writer.write(picture(15 * (index + 1))[:, :, ::-1])
    writer.release()
    return path


def test_folder_is_read_in_natural_order_as_often_as_wanted(folder):
    source = open_source(folder)
    assert (source.name, source.size, source.length, source.fps) == ("walk", (24, 32), 10, None)
    for _ in range(2):
        frames = list(source)
        assert len(frames) == 10
        for index, frame in enumerate(frames, 1):
            np.testing.assert_array_equal(frame, picture(20 * index))
            assert frame.dtype == np.uint8


def test_natural_order():
    names = ["b1.png", "00001.jpg", "10.jpg", "2.jpg", "a10b2.jpg", "a10b10.jpg", "a9.jpg", "0003.JPG"]
    expected = ["00001.jpg", "2.jpg", "0003.JPG", "10.jpg", "a9.jpg", "a10b2.jpg", "a10b10.jpg", "b1.png"]
    assert sorted(names, key=natural_key) == expected


def test_img_folder_is_named_by_the_sequence(tmp_path):
    save(tmp_path / "David" / "img" / "0001.jpg", picture(80))
    assert open_source(tmp_path / "David" / "img").name == "David"


@pytest.mark.parametrize(("start", "end"), [(None, None), (3, None), (None, 4), (2, 5), (7, 99)])
def test_range_is_a_slice(folder, video, start, end):
    for source, step, total in ((folder, 20, 10), (video, 15, 12)):
        opened = open_source(source, start=start, end=end)
        frames = list(opened)
        expected = [step * (index + 1) for index in range(total)][start:end]
        assert opened.expected == len(frames) == len(expected)
        for frame, value in zip(frames, expected, strict=True):
            assert abs(np.mean(frame[:, :, 1].astype(float) - picture(value)[:, :, 1])) < 3


@pytest.mark.parametrize(("start", "end"), [(10, None), (5, 5), (5, 2), (-1, None), (None, 0)])
def test_range_that_selects_nothing_is_refused(folder, video, start, end):
    at_once = "" if start == 10 else r"select nothing of walk\.avi"
    with pytest.raises(JtrackError, match=at_once or "which has 12 frames"):
        open_source(video, start=start and start + 2 * (start == 10), end=end)
    with pytest.raises(JtrackError, match=r"select nothing of walk, which has 10 frames \(0 to 9\)"):
        open_source(folder, start=start, end=end)


def test_glob(folder):
    source = open_source(str(folder / "[12]*.png"))
    assert source.length == 3  # 1, 2, 10
    means = [20, 40, 200]
    for frame, value in zip(source, means, strict=True):
        np.testing.assert_array_equal(frame, picture(value))


def test_glob_without_images(folder):
    with pytest.raises(JtrackError, match="matches nothing"):
        open_source(folder / "*.bmp")
    with pytest.raises(JtrackError, match="matches 1 files but no image"):
        open_source(folder / "*.txt")


def test_image_kinds(tmp_path):
    """Grey, alpha, 16 bits and mixed suffixes all become uint8 RGB."""
    grey = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)
    colour = picture(90)
    alpha = np.dstack([colour[:, :, ::-1], np.full((24, 32), 7, np.uint8)])
    save(tmp_path / "1.png", grey)
    save(tmp_path / "2.png", alpha)
    save(tmp_path / "3.png", colour.astype(np.uint16) * 256 + 99)
    save(tmp_path / "4.bmp", colour)
    save(tmp_path / "5.TIF", colour)
    frames = list(open_source(tmp_path))
    np.testing.assert_array_equal(frames[0], np.stack([grey] * 3, axis=2))
    for frame in frames[1:]:
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, colour)


def test_video(video):
    source = open_source(str(video))
    assert (source.name, source.size, source.fps) == ("walk", (24, 32), 25.0)
    assert (source.length, source.declared) == (None, 12)
    for _ in range(2):
        frames = list(source)
        assert len(frames) == 12
        for index, frame in enumerate(frames, 1):
            assert np.abs(frame.astype(float) - picture(15 * index)).mean() < 4  # RGB, in order


def test_mp4(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (64, 48))
    for value in range(60, 180, 20):
        writer.write(picture(value, height=48, width=64)[:, :, ::-1])
    writer.release()
    source = open_source(path, start=2)
    assert (source.size, source.declared, source.fps) == ((48, 64), 4, 30.0)
    for frame, value in zip(source, range(100, 180, 20), strict=True):
        assert np.abs(frame.astype(float) - picture(value, height=48, width=64)).mean() < 4


def test_video_that_ends_early_ends(tmp_path):
    """Its header still declares thirty frames."""
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(30):
        writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    source = open_source(path)
    with pytest.warns(UserWarning, match=r"cut\.avi is damaged: 1 part of it could not be decoded"):
        frames = list(source)
    assert 5 < len(frames) < 25


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.mp4", b"\0" * 5000, "not a video that can be decoded"),
        ("empty.avi", b"", "is empty"),
        ("list.txt", b"hello", "not a video that can be decoded"),
        ("1.png", b"", "is one image"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JtrackError, match=message) as caught:
        open_source(tmp_path / name)
    assert name in str(caught.value)


def test_video_without_frames(tmp_path):
    path = tmp_path / "none.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 24)).release()
    with pytest.raises(JtrackError, match=r"none\.avi has no frame that can be decoded"):
        open_source(path)


def test_missing_and_empty(tmp_path):
    with pytest.raises(JtrackError, match=r"there is no .*nowhere"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(JtrackError, match="holds no image"):
        open_source(tmp_path)


@pytest.mark.parametrize("camera", [-1, 987, "987"])
def test_bad_camera(camera):
    with pytest.raises(JtrackError, match=f"camera {camera}"):
        open_source(camera)


def test_differing_size_names_file_and_both_sizes(folder):
    save(folder / "7.png", picture(50, height=20, width=40))
    frames = []
    with pytest.raises(FrameError, match=r"7\.png, is 40x20 but the first is 32x24") as caught:
        for frame in open_source(folder):
            frames.append(frame)
    assert len(frames) == caught.value.frame == 6


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("keep", [0.0, 0.6, 0.97])
def test_truncated_image_stops_after_the_frames_before_it(tmp_path, suffix, keep):
    rng = np.random.default_rng(3)
    for index in range(5):
        noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
        path = save(tmp_path / f"{index}{suffix}", noise)
        if index == 3:
            path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    frames = []
    with pytest.raises(FrameError, match=rf"frame 3 of .*3\{suffix}") as caught:
        for frame in open_source(tmp_path, start=1):
            frames.append(frame)
    assert len(frames) == 2
    assert caught.value.frame == 3


def test_truncated_first_image_is_refused_at_once(tmp_path):
    path = save(tmp_path / "0.jpg", picture(100))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(JtrackError, match=r"0\.jpg is truncated") as caught:
        open_source(tmp_path)
    assert not isinstance(caught.value, FrameError)


@pytest.mark.parametrize("progressive", [0, 1])
def test_truncation_of_jpeg_is_seen_at_every_length(progressive):
    """Also behind a thumbnail with its own end, and not by what follows the end."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    thumbnail = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    whole = data[:2] + thumbnail + data[2:]
    assert not is_truncated(data)
    assert not is_truncated(whole)
    assert not is_truncated(whole + b"\0" * 9)
    assert all(is_truncated(whole[:length]) for length in range(2, len(whole)))


def test_unreadable_permissions(folder):
    if os.geteuid() == 0:
        pytest.skip("the superuser reads everything")
    (folder / "1.png").chmod(0)
    with pytest.raises(JtrackError, match=r"cannot read .*1\.png: Permission denied"):
        open_source(folder)


def test_arrays():
    stack = np.stack([picture(40), picture(80)])
    source = from_arrays(stack, name="two", fps=30.0)
    assert (source.name, source.size, source.length, source.fps) == ("two", (24, 32), 2, 30.0)
    for _ in range(2):
        np.testing.assert_array_equal(list(source), stack)


def test_arrays_of_other_kinds():
    grey = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    with pytest.warns(UserWarning, match="no value above 3300"):
        (frame,) = from_arrays([grey])
    np.testing.assert_array_equal(frame, np.stack([(grey // 256).astype(np.uint8)] * 3, axis=2))
    rgba = np.zeros((3, 4, 4), np.uint8) + np.array([1, 2, 3, 4], np.uint8)
    (frame,) = from_arrays([rgba])
    np.testing.assert_array_equal(frame, rgba[:, :, :3])
    (frame,) = from_arrays([rgba[:, :, :1]])
    np.testing.assert_array_equal(frame, np.ones((3, 4, 3), np.uint8))


def test_generator_is_read_once_and_not_ahead():
    made = []

    def camera():
        for index in itertools.count():
            made.append(index)
            yield picture(index % 200)

    source = from_arrays(camera())
    assert source.length is None
    frames = list(itertools.islice(source, 3))
    assert len(made) == 3
    np.testing.assert_array_equal(frames[2], picture(2))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([np.zeros((4, 4, 3))], "float64 of shape"),
        ([np.zeros((4, 4, 2), np.uint8)], r"uint8 of shape \[4, 4, 2\]"),
        ([np.zeros((0, 4, 3), np.uint8)], r"uint8 of shape \[0, 4, 3\]"),
    ],
)
def test_arrays_that_are_no_frames(frames, message):
    with pytest.raises(JtrackError, match=message):
        from_arrays(frames)


def test_arrays_of_differing_size():
    with pytest.raises(FrameError, match="frame 1 of frames is 6x5 but the first is 4x3") as caught:
        list(from_arrays([np.zeros((3, 4), np.uint8), np.zeros((5, 6), np.uint8)]))
    assert caught.value.frame == 1


def test_prefetch_keeps_order():
    assert list(prefetch(range(1000))) == list(range(1000))
    assert list(prefetch([])) == []


def test_prefetch_delivers_an_exception_in_order():
    def failing():
        yield 1
        yield 2
        raise FrameError("frame 2 is broken", 2)

    seen = []
    with pytest.raises(FrameError, match="frame 2 is broken"):
        for item in prefetch(failing()):
            seen.append(item)
    assert seen == [1, 2]
    with pytest.raises(TypeError):
        list(prefetch(3))


def test_prefetch_reads_no_further_than_its_depth():
    read = []

    def counted():
        for index in range(100):
            read.append(index)
            yield index

    frames = prefetch(counted(), depth=3)
    next(frames)
    until(lambda: len(read) >= 4)
    time.sleep(0.05)  # time in which a reader without bound would run on
    assert len(read) == 4  # one delivered, three waiting
    frames.close()


@pytest.mark.parametrize("end", ["close", "drop", "error"])
def test_prefetch_thread_ends_with_the_consumer(end):
    closed = threading.Event()

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    def consume():
        frames = prefetch(endless())
        for item in frames:
            if item == 5:
                if end == "error":
                    raise RuntimeError
                break
        if end == "close":
            frames.close()

    if end == "error":
        with pytest.raises(RuntimeError):
            consume()
    else:
        consume()
    gc.collect()
    assert closed.wait(10)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "jtrack-prefetch"])


def until(condition, seconds=10.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.002)


READING = """
import sys, cv2, numpy as np
from jtrack.data.sequence import prefetch
code = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))[1]
ahead = prefetch(cv2.imdecode(code, 1) for _ in range(10**9))
next(ahead)
sys.exit(130)
"""


def test_a_process_ends_while_frames_are_read_ahead():
    """A thread that is inside OpenCV then would abort it."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", READING], check=False, capture_output=True, text=True)
        assert done.returncode == 130 and not done.stderr, done.stderr
