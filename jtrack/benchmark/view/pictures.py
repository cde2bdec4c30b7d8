"""The pictures of a page: frames and response maps, made small and put into the page itself."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from jtrack.benchmark.report.embedding import data_url
from jtrack.benchmark.response_maps import LARGEST_SIDE, ResponseMaps
from jtrack.data import FrameSource
from jtrack.data.folder import read_image
from jtrack.data.sequence import prefetch
from jtrack.errors import JtrackError
from jtrack.untrusted import listed

QUALITY = 72  # of the JPEG files
LARGEST = 100 << 20  # bytes of all pictures of a page, as text: browsers on a desk open that in seconds
MAPS_HEIGHT = 520  # of response maps: two targets, as `jtrack track --maps` draws them

type Maps = Callable[[int], Path | None]  # the picture's file of a frame, by its number from 0


class Overlay(NamedTuple):
    """A picture to be laid over a part of a frame."""

    image: str  # an address that holds it
    place: list[float]  # x, y, w, h of the part, in the frame's pixels


class Films(NamedTuple):
    """The pictures of F frames, as addresses that hold them; None where there is none."""

    images: list[str | None]
    maps: list[str | None] | None  # None: there are none at all
    size: tuple[int, int] | None  # (height, width) of the frames
    notes: list[str]  # what a reader must know


def embed(name: str, numbers: range, frames: FrameSource | None, maps: Maps | None, *, height: int) -> Films:
    """Makes the pictures of some frames.

    Args:
      name: of the sequence.
      numbers: the frames wanted, from 0, in order.
      frames: of the sequence; None for none. One that cannot be read leaves its place empty.
      maps: of the sequence; None for none.
      height: of the pictures in pixels, at most.

    Raises:
      JtrackError: they would be more than `LARGEST` bytes.
    """
    room = _Room(name, numbers, height, per_frame=1 if maps is None else 2)
    images, notes = list[str | None](), list[str]()
    for image in prefetch(_read(frames, numbers)):
        images.append(room.take(image, height))
    if frames is None:
        notes.append("There are no frames: boxes are on a plain ground.")
    elif missing := images.count(None):
        notes.append(f"{missing} of {len(numbers)} frames could not be read: they have no picture.")
    shown = None if maps is None else [room.take(_map(maps(frame)), MAPS_HEIGHT) for frame in numbers]
    return Films(images, shown, None if frames is None else frames.size, notes)


def overlays(name: str, numbers: range, kept: Sequence[ResponseMaps]) -> list[list[Overlay | None]]:
    """The response maps of some frames, of each trial, as they are laid over pictures of the frames.

    A cell is the more opaque the higher its response.

    Args:
      name: of the sequence.
      numbers: the frames wanted, from 0, in order.
      kept: the maps of all frames, a trial each.

    Raises:
      JtrackError: they would be more than `LARGEST` bytes.
    """
    room = _Room(name, numbers, LARGEST_SIDE, per_frame=len(kept))
    return [
        [
            None
            if np.isnan(maps.places[number]).any()
            else Overlay(room.put(data_url(heat(maps.levels[number]), "png")), maps.places[number].tolist())
            for number in numbers
        ]
        for maps in kept
    ]


def heat(levels: np.ndarray) -> bytes:
    """A response map [M, N] uint8 as a PNG file, from dark to bright; of the lowest nothing shows."""
    levels = levels & 0xF8  # in 32 steps, which nobody tells from 256 and which make half the file
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return cv2.imencode(".png", np.dstack([colours, levels]))[1].tobytes()


def open_maps(folder: Path) -> Maps:
    """The pictures that `jtrack track --maps` has written into a folder, by the number in their name.

    Raises:
      JtrackError: there is none.
    """
    found = {int(path.stem): path for path in listed(folder, "*.png") if path.stem.isdecimal()}
    if not found:
        raise JtrackError(
            f"{folder} holds no response maps: expected 000001.png as `jtrack track --maps` has it"
        )
    return found.get


class _Room:
    """Takes pictures until they are too many for a page."""

    def __init__(self, name: str, numbers: range, height: int, *, per_frame: int) -> None:
        self.name, self.numbers, self.height, self.per_frame = name, numbers, height, per_frame
        self.taken = self.bytes = 0

    def take(self, image: np.ndarray | None, height: int) -> str | None:
        """A picture as an address that holds it.

        Raises:
          JtrackError: it is one too many.
        """
        if image is None:
            return None
        return self.put(data_url(jpeg(image, height), "jpeg"))

    def put(self, address: str) -> str:
        """A picture that is an address already.

        Raises:
          JtrackError: it is one too many.
        """
        self.bytes += len(address)
        if self.bytes > LARGEST:
            raise self._full()
        self.taken += 1
        return address

    def _full(self) -> JtrackError:
        fewer = max(2, -(-len(self.numbers) * self.per_frame // max(1, self.taken)))
        return JtrackError(
            f"the page of {self.name} would have more than {LARGEST >> 20} MiB of pictures, "
            f"{len(self.numbers)} frames at most {self.height} pixels high: give "
            f"--every {fewer * self.numbers.step}, or a smaller --height"
        )


def jpeg(image: np.ndarray, height: int) -> bytes:
    """A picture [H, W, 3] as a JPEG file that is at most so high."""
    scale = min(1.0, height / image.shape[0])
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _read(frames: FrameSource | None, numbers: range) -> Iterator[np.ndarray | None]:
    """The frames wanted, in order; None for one that cannot be read."""
    if frames is None:
        yield from itertools.repeat(None, len(numbers))
        return
    if frames.pick is not None:
        for number in numbers:
            yield _picked(frames.pick, number)
        return
    given = 0
    try:
        for index, image in enumerate(frames):
            if index in numbers:
                given += 1
                yield image
            if index >= numbers[-1]:
                return
    except JtrackError:
        pass  # a damaged video: those before are shown
    yield from itertools.repeat(None, len(numbers) - given)


def _picked(pick: Callable[[int], np.ndarray], number: int) -> np.ndarray | None:
    try:
        return pick(number)
    except (JtrackError, IndexError):
        return None


def _map(path: Path | None) -> np.ndarray | None:
    try:
        return None if path is None else read_image(path)
    except JtrackError:
        return None
