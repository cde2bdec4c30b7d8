"""Video files and cameras, and `open_source`, the one door to every kind of source."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from jtrack.data.folder import check_range, is_image, open_folder, open_glob
from jtrack.data.sequence import FrameSource, check_size
from jtrack.errors import JtrackError


def open_source(source: str | Path | int, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens a video file, an image folder, a glob pattern or a camera.

    Args:
      source: a path; a pattern with `*`, `?` or `[`; or a camera's index, as an integer or as digits (a file
        or folder called `0` is `./0`).
      start: 0-based index of the first frame, the first if None.
      end: 0-based index after the last frame (exclusive), to the end if None or larger than there are frames.

    Returns:
      The frames. At least the first was readable.

    Raises:
      JtrackError: if the source is missing, empty or unreadable, or [start, end) selects nothing.
    """
    text = str(source)
    if isinstance(source, int) or text.isdecimal():
        return open_camera(int(text), start=start, end=end)
    path = Path(text).expanduser()
    if path.is_dir():
        return open_folder(path, start=start, end=end)
    if path.exists():
        return open_video(path, start=start, end=end)
    if any(character in text for character in "*?["):
        return open_glob(str(path), start=start, end=end)
    raise JtrackError(
        f"there is no {source}: give a video file, a folder of images, a pattern like 'img/*.jpg' or a"
        " camera's number"
    )


def open_video(path: str | Path, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens a video file.

    `length` and `fps` are what the file declares. A video whose data end earlier than declared simply ends
    there. Frames before `start` are decoded and dropped, since seeking is inexact in many formats.

    Args:
      path: any file OpenCV decodes.
      start: 0-based index of the first frame.
      end: 0-based index after the last frame.

    Raises:
      JtrackError: if the file cannot be decoded, has no frames, or nothing is selected.
    """
    path = Path(path)
    if is_image(path):
        raise JtrackError(f"{path} is one image: give its folder, or a pattern like {path.parent / '*'}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise JtrackError(f"cannot read video {path}: {error.strerror}") from error
    capture = _open(str(path))
    ok, image = capture.read()
    declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if not ok:
        raise JtrackError(f"{path} is not a video that can be decoded, or has no frames: convert it first")
    size = image.shape[:2]
    first, last = check_range(path.name, start, end, declared if declared > 0 else None)

    def read() -> Iterator[np.ndarray]:
        yield from _read(_open(str(path)), path.name, size, first, last)

    length = None if last is None else last - first
    return FrameSource(path.stem, size, length, fps if fps > 0 else None, read, files=(path,))


def open_camera(index: int, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens a camera by its index; `length` is None, and iterating goes on until the consumer stops.

    Args:
      index: 0 for the first camera.
      start: how many frames to drop first, as a camera may need some to adapt.
      end: number of frames after which to stop, counted before dropping.

    Raises:
      JtrackError: if the camera cannot be opened or gives no frame.
    """
    if index < 0:
        raise JtrackError(f"there is no camera {index}: cameras are numbered from 0")
    capture = _open(index)
    ok, image = capture.read()
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    name = f"camera {index}"
    if not ok:
        raise JtrackError(f"{name} cannot be opened or gives no frame: check that it is connected and free")
    size = image.shape[:2]
    first, last = check_range(name, start, end, None)

    def read() -> Iterator[np.ndarray]:
        yield from _read(_open(index), name, size, first, last)

    return FrameSource(name, size, None, fps if fps > 0 else None, read)


def _open(target: str | int) -> cv2.VideoCapture:
    """Opens a capture without OpenCV's warnings: the caller says what is wrong, in one sentence."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(target)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _read(
    capture: cv2.VideoCapture, name: str, size: tuple[int, int], first: int, last: int | None
) -> Iterator[np.ndarray]:
    """Frames [first, last) of a capture, released at the end."""
    try:
        for index in count():
            if index == last or not capture.grab():
                return
            if index >= first:
                ok, image = capture.retrieve()
                if not ok:
                    return
                check_size(image, size, f"frame {index} of {name}", index)
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
