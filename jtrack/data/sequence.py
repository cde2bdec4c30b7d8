"""Frames in order, and frames with ground truth: what every source of this package returns."""

import atexit
import contextlib
import itertools
import queue
import threading
import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtrack.errors import JtrackError


class FrameError(JtrackError):
    """A frame that cannot be read, after `frame` good ones were: stop here and keep what was done so far."""

    def __init__(self, message: str, frame: int):
        super().__init__(message)
        self.frame = frame  # 0-based, counted from the first frame of the source (not from `start`)


@dataclass(frozen=True)
class FrameSource:
    """An iterable of RGB frames, each a uint8 array [H, W, 3] of the same size.

    Files can be iterated any number of times, each time from their first frame; a camera goes on live, and
    frames wrapped from a generator are gone once read.
    """

    name: str  # of the video or folder, to name results by
    size: tuple[int, int]  # (height, width)
    length: int | None  # None: known only at the end (a video, a camera)
    fps: float | None  # None where the source does not say
    read: Callable[[], Iterator[np.ndarray]] = field(repr=False)  # starts reading at the first frame
    # Reads one frame by its number, from 0; None where a frame is only reached through those before it.
    pick: Callable[[int], np.ndarray] | None = field(default=None, repr=False)
    # The same frames as the image files they are kept in (JPEG, PNG, ...); None where they are not.
    encoded: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
    # The files that the frames are read from, in their order; none where they are not kept in any.
    files: tuple[Path, ...] = field(default=(), repr=False)
    # About how many frames there are, as a video's file declares: for progress alone, it may be far off.
    declared: int | None = field(default=None, repr=False)
    live: bool = field(default=False, repr=False)  # whether frames come as time goes by

    @property
    def expected(self) -> int | None:
        """How many frames there are, or about how many; None where nothing says."""
        return self.declared if self.length is None else self.length

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.read()


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is annotated about a sequence, which scoring needs without its frames.

    Row t of every array belongs to frame t.
    """

    name: str  # in its benchmark
    boxes: np.ndarray  # [T, 4] float64: x, y, w, h, 0-based; as the file has them where the target is absent
    polygons: np.ndarray | None = None  # [T, P, 2] float64: corners x, y, 0-based
    attributes: tuple[str, ...] = ()  # of the sequence, as the benchmark abbreviates them ("SV", "OCC")
    events: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> [T] bool: where it happens
    size: tuple[int, int] | None = None  # (height, width) of the frames, where it is known
    category: str = ""  # of the target, as the benchmark calls it ("dog"); empty where it does not say

    def __repr__(self) -> str:
        size = "" if self.size is None else f" of {self.size[1]}x{self.size[0]} pixels"
        return f"Annotation({self.name!r}, {len(self.boxes)} frames{size}{self._about()})"

    def _about(self) -> str:
        """What is annotated beside boxes, without the arrays."""
        parts = [self.category, "" if self.polygons is None else "polygons"]
        for what, names in (("attributes", self.attributes), ("events", self.events)):
            parts.append(f"{what} {' '.join(names)}" if names else "")
        return "".join(f", {part}" for part in parts if part)

    @property
    def absent(self) -> np.ndarray:
        """[T] bool: frames whose target is not to be seen.

        The event "absent" says so, or "visible" that it is not, or a box that is not finite or has no size.
        """
        absent = ~(np.isfinite(self.boxes).all(axis=1) & (self.boxes[:, 2:] > 0).all(axis=1))
        if "absent" in self.events:
            absent |= self.events["absent"]
        if "visible" in self.events:
            absent |= ~np.asarray(self.events["visible"], bool)
        return absent


@dataclass(frozen=True, eq=False, kw_only=True)
class Sequence(Annotation):
    """An annotation with the frames it belongs to: `frames` may be more than the rows."""

    frames: FrameSource

    def __repr__(self) -> str:
        length = "an unknown number of" if self.frames.expected is None else self.frames.expected
        length = f"about {length}" if self.frames.length is None and self.frames.expected else length
        height, width = self.frames.size
        boxes = f", boxes of {len(self.boxes)}"
        return f"Sequence({self.name!r}, {length} frames of {width}x{height} pixels{boxes}{self._about()})"


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Brings an image to the uint8 [H, W, 3] every frame has.

    Args:
      image: [H, W] or [H, W, 1] grey, [H, W, 3] RGB or [H, W, 4] RGBA; uint8, or uint16, of which the upper
        eight bits are kept.

    Returns:
      [H, W, 3] uint8: grey repeated three times, alpha dropped. A uint8 RGB image is returned as it is.

    Raises:
      JtrackError: for another shape or dtype.
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or image.dtype != np.uint8 or not image.size:
        raise JtrackError(
            f"a frame is {image.dtype} of shape {list(image.shape)}; allowed are uint8 and uint16 images"
            " [H, W], [H, W, 1], [H, W, 3] (RGB) and [H, W, 4] (RGBA): convert it"
        )
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]


DARK = 1 << 14  # a quarter of the range of 16 bits


def warn_if_dark(image: np.ndarray, what: str, advice: str) -> None:
    """Warns of a uint16 image that becomes almost black with its upper eight bits: a camera's 12, say."""
    if image.dtype == np.uint16 and image.size and image.max() < DARK:
        warnings.warn(
            f"{what} has 16 bits but no value above {image.max()} of 65535, so that it becomes almost black: "
            f"{advice}",
            stacklevel=3,
        )


def from_arrays(
    frames: Iterable[np.ndarray], *, name: str = "frames", fps: float | None = None
) -> FrameSource:
    """Wraps images in memory, or any iterable of them, as a source of frames.

    Args:
      frames: an array [T, H, W, 3], a list of images, or an iterator of them (read once, `length` None); each
        image as `as_rgb` takes it.
      name: what results are named by.
      fps: frames per second, if known.

    Raises:
      JtrackError: if there is no frame, or the first is not an image; `FrameError` while iterating if a later
        one is not an image, or of another size.
    """
    first, again = _peek(frames)
    if first is None:
        raise JtrackError(f"{name} has no frames: give at least one image")
    warn_if_dark(np.asarray(first), f"the first image of {name}", "scale it to 8 bits")
    first = as_rgb(np.asarray(first))
    size = first.shape[:2]
    length = len(frames) if isinstance(frames, Sized) else None

    def checked(index: int, frame: np.ndarray) -> np.ndarray:
        try:
            image = as_rgb(np.asarray(frame))
        except JtrackError as error:
            raise FrameError(f"frame {index} of {name}: {error}", index) from error
        check_size(image, size, f"frame {index} of {name}", index)
        return image

    def read() -> Iterator[np.ndarray]:
        return itertools.starmap(checked, enumerate(again))

    images: Any = frames

    def pick(index: int) -> np.ndarray:
        return checked(index, images[index])

    at_hand = isinstance(frames, np.ndarray | list | tuple)
    return FrameSource(name, size, length, fps, read, pick if at_hand else None, live=length is None)


def _peek(frames: Iterable[np.ndarray]) -> tuple[np.ndarray | None, Iterable[np.ndarray]]:
    """The first element, and an iterable that still starts with it."""
    iterator = iter(frames)
    first = next(iterator, None)
    if iterator is not frames or first is None:  # a container, which can be iterated again
        return first, frames
    return first, chain([first], iterator)


def check_size(image: np.ndarray, size: tuple[int, int], what: str, index: int) -> None:
    """Refuses a frame whose height and width are not `size`, naming both."""
    if image.shape[:2] != size:
        height, width = image.shape[:2]
        raise FrameError(
            f"{what} is {width}x{height} but the first is {size[1]}x{size[0]} (width x height): all frames"
            " must have one size",
            index,
        )


# What ends the threads that read ahead. One that is inside OpenCV when Python ends aborts the process.
_ends: weakref.WeakSet[Callable[[], None]] = weakref.WeakSet()
PATIENCE = 2.0  # seconds to wait for an element at the end


@atexit.register
def _end_reading() -> None:
    for end in list(_ends):
        end()


def prefetch[T](frames: Iterable[T], *, depth: int = 4, newest: bool = False) -> Generator[T]:
    """Reads ahead in another thread, so that decoding overlaps with what the consumer does.

    Args:
      frames: any iterable; it is read in the other thread only.
      depth: how many elements may wait, which bounds the memory.
      newest: read on without waiting, and drop what has not been taken when the next element comes. The last
        one is kept.

    Yields:
      The same elements in the same order. An exception of `frames` is raised here after the elements before
      it. Closing the generator (or dropping it) ends the thread after the element it is reading.
    """
    ready: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    free = threading.Semaphore(depth)
    stop = threading.Event()

    def produce() -> None:
        _ends.add(end)  # and keeps it for as long as it runs
        try:
            iterator = iter(frames)
            while (newest or free.acquire()) and not stop.is_set():
                item = next(iterator)
                if newest:
                    _empty(ready)
                ready.put(item)
            # A generator holds a decoder open: it is freed by the thread that used it.
            getattr(iterator, "close", lambda: None)()
        except StopIteration:
            ready.put(_End(None))
        except BaseException as error:
            ready.put(_End(error))

    thread = threading.Thread(target=produce, name="jtrack-prefetch", daemon=True)

    def end() -> None:
        stop.set()
        free.release()
        thread.join(PATIENCE)

    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            free.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        free.release()


def _empty(waiting: queue.SimpleQueue[Any]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            waiting.get_nowait()


class _End(NamedTuple):
    """The last thing a reading thread says."""

    error: BaseException | None
