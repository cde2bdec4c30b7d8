"""Folders of images, and glob patterns, as videos."""

import contextlib
import glob
import os
import re
from pathlib import Path

import cv2
import numpy as np

from jtrack.data import jpeg
from jtrack.data.image_header import check_header
from jtrack.data.sequence import FrameError, FrameSource, as_rgb, check_size, warn_if_dark
from jtrack.errors import JtrackError
from jtrack.untrusted import MEMORY, listed, read_file

type Levels = tuple[float, float]  # the values that become black and white

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
INSIDE = ("img", "color")  # where OTB and VOT keep a sequence's images
NUMBER = re.compile(r"%0?(\d*)d")  # of an image, in a pattern
MOST_DIGITS = 20  # of that number


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


def read_image(path: Path, levels: Levels | None = None) -> np.ndarray:
    """Reads an image file as uint8 [H, W, 3] RGB: grey is repeated, alpha dropped, 16 bits reduced to 8.

    Args:
      path: the file.
      levels: the values that become 0 and 255; None keeps the upper eight bits of 16.

    Raises:
      JtrackError: if the file is missing, truncated, too large, or not an image OpenCV can decode.
    """
    return decode_image(_read_bytes(path), f"image {path}", levels)


def decode_image(data: bytes, what: str, levels: Levels | None = None) -> np.ndarray:
    """Decodes an image file in memory; see `read_image`. `what` names it in errors."""
    return _to_eight_bits(_decoded(data, what), what, levels)


def _decoded(data: bytes, what: str) -> np.ndarray:
    """An image as the file has it, [H, W, 3] RGB of uint8, uint16 or float32."""
    check_header(data, what)
    grey_too = data[:2] in (b"II", b"MM")  # a TIFF's of floating point, which is not read as colour
    for colour in (cv2.IMREAD_COLOR, cv2.IMREAD_ANYCOLOR)[: 1 + grey_too]:
        with contextlib.suppress(cv2.error):  # a header that contradicts itself
            image = cv2.imdecode(np.frombuffer(data, np.uint8), colour | cv2.IMREAD_ANYDEPTH)
            if image is not None:
                grey = image.ndim == 2
                return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB)
    raise JtrackError(f"{what} is not a readable image ({len(data)} bytes): remove or replace it")


def _to_eight_bits(image: np.ndarray, what: str, levels: Levels | None) -> np.ndarray:
    if levels is not None:
        low, high = levels
        scaled = (image.astype(np.float32) - low) * (255 / (high - low))
        return np.rint(np.nan_to_num(np.clip(scaled, 0, 255))).astype(np.uint8)
    if image.dtype not in (np.uint8, np.uint16):
        raise JtrackError(
            f"{what} holds {image.dtype} values: say which are black and white (--range LOW,HIGH)"
        )
    return as_rgb(image)


def check_levels(levels: Levels | None) -> None:
    """Refuses levels that are not two rising finite numbers."""
    if levels is not None and not (np.isfinite(levels).all() and levels[0] < levels[1]):
        low, high = levels
        raise JtrackError(f"the range {low:g},{high:g} is none: give LOW,HIGH with LOW below HIGH")


def _read_bytes(path: Path) -> bytes:
    return read_file(path, largest=MEMORY)


def image_folder(folder: Path) -> Path | None:
    """Where the images of a sequence are: in its folder, or in `img/` or `color/` in it."""
    places = (folder, *(folder / name for name in INSIDE))
    return next(filter(images_in, places), None)


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, in the natural order of their names; none where there is no such folder."""
    return sorted(filter(is_image, listed(folder) if folder.is_dir() else ()), key=natural_key)


def open_folder(
    folder: str | Path, *, start: int | None = None, end: int | None = None, levels: Levels | None = None
) -> FrameSource:
    """Opens a folder of images as a video, in the natural order of their names; other files are ignored.

    Args:
      folder: the folder, or one with the images in `img/` or `color/`, by which it is not named.
      start: 0-based index of the first frame (0 if None).
      end: 0-based index after the last frame; beyond the last image it is cut, as in a slice.
      levels: as `read_image` takes them.

    Raises:
      JtrackError: if the folder is missing or holds no image, nothing is selected, or the first image is
        unreadable; `FrameError` while iterating if a later one is unreadable or of another size.
    """
    place = image_folder(Path(folder)) or Path(folder)
    if not place.is_dir():
        raise JtrackError(f"there is no folder {folder}")
    paths = images_in(place)
    if not paths:
        raise JtrackError(f"folder {folder} holds no image (looked for {', '.join(sorted(SUFFIXES))})")
    name = folder_name(place)
    name = folder_name(place / "..") if name in INSIDE else name
    return open_images(paths, name=name, start=start, end=end, levels=levels)


def open_numbered(
    pattern: str | Path, *, start: int | None = None, end: int | None = None, levels: Levels | None = None
) -> FrameSource:
    """Opens images by a pattern with their number, such as `frames/%04d.png`, in the order of the numbers.

    All that fit the pattern are taken, whatever number comes first; frame 0 is the first there is.
    """
    pattern = Path(pattern)
    before, number, after = NUMBER.split(pattern.name, maxsplit=1)
    if int(number or 1) > MOST_DIGITS:
        raise JtrackError(
            f"pattern {str(pattern)!r} asks for {number} digits: at most {MOST_DIGITS} are read"
        )
    digits = rf"\d{{{number or 1},}}"
    fits = re.compile(re.escape(before) + digits + re.escape(after))
    paths = [path for path in images_in(pattern.parent) if fits.fullmatch(path.name)]
    if not paths:
        raise JtrackError(f"pattern {str(pattern)!r} matches no image: check it")
    name = folder_name(pattern.parent)
    return open_images(paths, name=name, start=start, end=end, levels=levels)


def open_glob(
    pattern: str, *, start: int | None = None, end: int | None = None, levels: Levels | None = None
) -> FrameSource:
    """Opens the images a glob pattern matches (`**` descends), in natural order; see `open_folder`."""
    paths = [path for match in glob.iglob(pattern, recursive=True) if (path := Path(match)).is_file()]
    images = [path for path in paths if is_image(path)]
    if not images:
        found = f"matches {len(paths)} files but no image" if paths else "matches nothing"
        raise JtrackError(f"pattern {pattern!r} {found}: check it, and quote it from the shell")
    name = images[0].resolve().parent.name
    return open_images(sorted(images, key=natural_key), name=name, start=start, end=end, levels=levels)


def open_images(
    paths: list[Path],
    *,
    name: str,
    start: int | None = None,
    end: int | None = None,
    fps: float | None = None,
    levels: Levels | None = None,
) -> FrameSource:
    """Opens images in the given order as a video of `fps` frames per second, if known; see `open_folder`."""
    start, end = check_range(name, start, end, len(paths))
    check_levels(levels)
    chosen = paths[start:end]
    data = _read_bytes(chosen[0])
    first = _decoded(data, f"image {chosen[0]}")
    if levels is None:
        high = first.max(initial=0)
        advice = f"give the range of its values (--range 0,{high}; levels=(0, {high}) in Python)"
        warn_if_dark(first, f"image {chosen[0]}", advice)
    size = _to_eight_bits(first, f"image {chosen[0]}", levels).shape[:2]

    faster = jpeg.decoder(data, first) if levels is None else None

    def pick(number: int) -> np.ndarray:
        path, index = chosen[number], start + number
        try:
            data = _read_bytes(path)
            image = None if faster is None else faster(data)
            if image is None:
                image = decode_image(data, f"image {path}", levels)
        except JtrackError as error:
            raise FrameError(f"frame {index} of {name}: {error}", index) from error
        check_size(image, size, f"frame {index} of {name}, {path},", index)
        return image

    return FrameSource(
        name,
        size,
        len(chosen),
        fps,
        lambda: map(pick, range(len(chosen))),
        pick=pick,
        # Of other levels the files are not the same frames.
        encoded=None if levels else lambda: map(_read_bytes, chosen),
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
