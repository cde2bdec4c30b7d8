"""Folders of images, and glob patterns, as videos."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from jtrack.data.sequence import FrameError, FrameSource, check_size
from jtrack.errors import JtrackError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def natural_key(path: str | Path) -> list[str | int]:
    """Sort key that compares runs of digits as numbers: 2.jpg before 10.jpg, whatever the padding."""
    parts = re.split(r"([0-9]+)", str(path).casefold())  # text and digits by turns, text first
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix; hidden files, which some systems scatter about, are not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def folder_name(folder: Path) -> str:
    """The name of a folder as the user sees it: of `.` its own, of a link the link's."""
    return Path(os.path.abspath(folder)).name


def read_image(path: Path) -> np.ndarray:
    """Reads an image file as uint8 [H, W, 3] RGB: grey is repeated, alpha dropped, 16 bits reduced to 8.

    Raises:
      JtrackError: if the file is missing, truncated, or not an image OpenCV can decode.
    """
    return decode_image(_read_bytes(path), f"image {path}")


def decode_image(data: bytes, what: str) -> np.ndarray:
    """Decodes an image file in memory; see `read_image`. `what` names it in errors."""
    if is_truncated(data):
        raise JtrackError(f"{what} is truncated ({len(data)} bytes): copy it again")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise JtrackError(f"{what} is not a readable image ({len(data)} bytes): remove or replace it")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JtrackError(f"cannot read image {path}: {error.strerror}") from error


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG file lacks its end. Decoders fill the missing part with grey and say nothing."""
    if data.startswith(b"\xff\xd8"):
        return data.find(b"\xff\xd9", _scan_start(data)) < 0
    if data.startswith(b"\x89PNG"):
        return b"IEND\xae\x42\x60\x82" not in data
    return False


def _scan_start(data: bytes) -> int:
    """Where the entropy-coded part of a JPEG begins: before it, a thumbnail may hold an end marker."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:  # start of scan
            break
    return position


def open_folder(folder: str | Path, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens a folder of images as a video, in the natural order of their names; other files are ignored.

    Args:
      folder: the folder; a folder called `img` or `color` is named by its parent.
      start: 0-based index of the first frame (0 if None).
      end: 0-based index after the last frame; beyond the last image it is cut, as in a slice.

    Raises:
      JtrackError: if the folder is missing or holds no image, nothing is selected, or the first image is
        unreadable; `FrameError` while iterating if a later one is unreadable or of another size.
    """
    folder = Path(folder)
    try:
        paths = [path for path in folder.iterdir() if is_image(path)]
    except OSError as error:
        raise JtrackError(f"cannot open folder {folder}: {error.strerror}") from error
    if not paths:
        raise JtrackError(f"folder {folder} holds no image (looked for {', '.join(sorted(SUFFIXES))})")
    name = folder_name(folder)
    name = folder_name(folder / "..") if name in ("img", "color") else name
    return open_images(sorted(paths, key=natural_key), name=name, start=start, end=end)


def open_glob(pattern: str, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens the images a glob pattern matches (`**` descends), in natural order; see `open_folder`."""
    paths = [path for match in glob.iglob(pattern, recursive=True) if (path := Path(match)).is_file()]
    images = [path for path in paths if is_image(path)]
    if not images:
        found = f"matches {len(paths)} files but no image" if paths else "matches nothing"
        raise JtrackError(f"pattern {pattern!r} {found}: check it, and quote it from the shell")
    return open_images(
        sorted(images, key=natural_key), name=images[0].resolve().parent.name, start=start, end=end
    )


def open_images(
    paths: list[Path],
    *,
    name: str,
    start: int | None = None,
    end: int | None = None,
    fps: float | None = None,
) -> FrameSource:
    """Opens images in the given order as a video of `fps` frames per second, if known; see `open_folder`."""
    start, end = check_range(name, start, end, len(paths))
    chosen = paths[start:end]
    size = read_image(chosen[0]).shape[:2]

    def read() -> Iterator[np.ndarray]:
        for index, path in enumerate(chosen, start):
            try:
                image = read_image(path)
            except JtrackError as error:
                raise FrameError(f"frame {index} of {name}: {error}", index) from error
            check_size(image, size, f"frame {index} of {name}, {path},", index)
            yield image

    return FrameSource(
        name,
        size,
        len(chosen),
        fps,
        read,
        pick=lambda index: read_image(chosen[index]),
        encoded=lambda: map(_read_bytes, chosen),
        files=tuple(chosen),
    )


def check_range(name: str, start: int | None, end: int | None, length: int | None) -> tuple[int, int | None]:
    """Frames [start, end) of `length` (None: unknown) as a pair, refusing a range that selects nothing."""
    first = 0 if start is None else start
    if first < 0 or (end is not None and end <= first) or (length is not None and first >= length):
        known = "" if length is None else f", which has {length} frames (0 to {length - 1})"
        until = "its end" if end is None else end
        raise JtrackError(f"frames {first} to {until} select nothing of {name}{known}: give 0 <= start < end")
    if length is None or end is None:
        return first, length if end is None else end
    return first, min(end, length)
