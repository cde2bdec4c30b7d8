"""Videos, streams and cameras, and `open_source`, the one door to every kind of source."""

import re
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from jtrack.data import decode
from jtrack.data.folder import NUMBER, Levels, check_range, is_image, open_folder, open_glob, open_numbered
from jtrack.data.sequence import FrameError, FrameSource, check_size, prefetch
from jtrack.errors import JtrackError

# What is taken for a video where a folder is listed. A file that is named is opened whatever its suffix.
SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
_ADDRESS = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)


def open_source(
    source: str | Path | int,
    *,
    start: int | None = None,
    end: int | None = None,
    levels: Levels | None = None,
    live: bool = False,
) -> FrameSource:
    """Opens a video file, an image folder, a pattern of images, a stream or a camera.

    Args:
      source: a path; a pattern with `*`, `?` or `[`, or with the image's number as in `frames/%04d.png`; an
        address that begins with `rtsp://`, `rtsps://`, `http://` or `https://`; or a camera's index, as an
        integer or as digits (a file or folder called `0` is `./0`).
      start: 0-based index of the first frame, the first if None.
      end: 0-based index after the last frame (exclusive), to the end if None or larger than there are frames.
      levels: the values of images of 16 bits that become black and white; None keeps the upper eight bits.
      live: of a camera or a stream, drop the frames that come while the one before is in work. Streams of
        rtsp do so in any case.

    Returns:
      The frames. At least the first was readable.

    Raises:
      JtrackError: if the source is missing, empty or unreadable, [start, end) selects nothing, or an option
        does not fit the source.
    """
    text = str(source)
    if isinstance(source, int) or text.isdecimal():
        _check_levels(text, levels)
        return open_camera(int(text), start=start, end=end, live=live)
    if isinstance(source, str) and _ADDRESS.match(text):
        _check_levels(text, levels)
        return open_stream(text, start=start, end=end, live=live)
    if live:
        raise JtrackError(f"{source} is not live, all its frames are tracked: leave out live (--live)")
    path = Path(text).expanduser()
    if path.is_dir():
        return open_folder(path, start=start, end=end, levels=levels)
    if path.exists():
        _check_levels(text, levels)
        return open_video(path, start=start, end=end)
    if NUMBER.search(path.name):
        return open_numbered(path, start=start, end=end, levels=levels)
    if any(character in text for character in "*?["):
        return open_glob(str(path), start=start, end=end, levels=levels)
    raise JtrackError(
        f"there is no {source}: give a video file, a folder of images, a pattern like 'img/*.jpg' or"
        " 'img/%04d.jpg', an address (rtsp://, http://) or a camera's number"
    )


def _check_levels(source: str, levels: Levels | None) -> None:
    if levels is not None:
        raise JtrackError(
            f"{decode.shown(source)} is no folder of images, which alone take a range (--range)"
        )


def open_video(path: str | Path, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens a video file.

    `length` is None: what a file declares is an estimate (`declared`), and only the decoder finds the end.
    `fps` is what the time stamps say. Frames before `start` are decoded and dropped, since seeking is inexact
    in many formats.

    Args:
      path: any file FFmpeg decodes.
      start: 0-based index of the first frame.
      end: 0-based index after the last frame.

    Raises:
      JtrackError: if the file cannot be decoded, has no frames, or nothing is selected.
    """
    path = Path(path)
    if is_image(path):
        raise JtrackError(f"{path} is one image: give its folder, or a pattern like {path.parent / '*'}")
    known = decode.probe(path)
    first, last = check_range(path.name, start, end, None)

    def read() -> Iterator[np.ndarray]:
        return _selected(decode.pictures(path), path.name, known.size, first, last)

    if first and first >= (known.declared or 0):  # the file does not say that there are as many
        with closing(_selected(decode.pictures(path), path.name, known.size, first, last)) as trial:
            next(trial)
    declared = known.declared if last is None or known.declared is None else min(last, known.declared)
    declared = None if declared is None or declared <= first else declared - first
    return FrameSource(path.stem, known.size, None, known.fps, read, files=(path,), declared=declared)


def open_stream(
    address: str, *, start: int | None = None, end: int | None = None, live: bool = False
) -> FrameSource:
    """Opens a stream by its address.

    Args:
      address: begins with `rtsp://`, `rtsps://`, `http://` or `https://`.
      start: how many frames to drop first.
      end: number of frames after which to stop, counted before dropping.
      live: drop the frames that come while the one before is in work; a stream of rtsp does so in any case.

    Raises:
      JtrackError: if the server cannot be reached, or sends no video that can be decoded.
    """
    known = decode.probe(address)
    parts = urlsplit(address)
    name = Path(parts.path).stem or parts.hostname or "stream"
    first, last = check_range(name, start, end, None)
    live = live or parts.scheme.lower().startswith("rtsp")

    def read() -> Iterator[np.ndarray]:
        shown = decode.shown(address)
        frames = _selected(decode.pictures(address, live=live), shown, known.size, first, last)
        return prefetch(frames, newest=True) if live else frames

    return FrameSource(name, known.size, None, known.fps, read, live=live)


def open_camera(
    index: int, *, start: int | None = None, end: int | None = None, live: bool = False
) -> FrameSource:
    """Opens a camera by its index; `length` is None, and iterating goes on until the consumer stops.

    Args:
      index: 0 for the first camera.
      start: how many frames to drop first, as a camera may need some to adapt.
      end: number of frames after which to stop, counted before dropping.
      live: drop the frames that come while the one before is in work.

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
        frames = _selected(_captured(_open(index)), name, size, first, last)
        return prefetch(frames, newest=True) if live else frames

    return FrameSource(name, size, None, fps if fps > 0 else None, read, live=True)


def _open(camera: int) -> cv2.VideoCapture:
    """Opens a camera without OpenCV's warnings: the caller says what is wrong, in one sentence."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(camera)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _captured(capture: cv2.VideoCapture) -> Generator[np.ndarray]:
    """A camera's frames, RGB; it is released at the end."""
    try:
        while (read := capture.read())[0]:
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _selected(
    frames: Generator[np.ndarray], name: str, size: tuple[int, int], first: int, last: int | None
) -> Generator[np.ndarray]:
    """Frames [first, last), each of the size of the first; what goes wrong says at which frame."""
    with closing(frames):
        for index in count():
            if index == last:
                return
            try:
                image = next(frames)
            except StopIteration:
                break
            except JtrackError as error:
                raise FrameError(f"frame {index} of {name}: {error}", index) from error
            if index >= first:
                check_size(image, size, f"frame {index} of {name}", index)
                yield image
    if index <= first:
        raise FrameError(
            f"frames {first} to {'its end' if last is None else last} select nothing of {name}, which has "
            f"{index} frames (0 to {index - 1}): give 0 <= start < end",
            index,
        )
