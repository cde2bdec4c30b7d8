"""Frames on the devices, each decoded and sent once for all lanes that look at it.

Each device has a store of so many frames of one canvas. A frame is read when a lane is about to need it, and
stays until no job needs it any more. Where the store is full, the frame that is needed last makes room, and
is read again later.
"""

import functools
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jtrack.data import FrameSource
from jtrack.errors import JtrackError
from jtrack.run.mesh import AXIS, placed, spec
from jtrack.types import Array

ALIGNMENT = 64  # bytes
STORE = 256 << 20  # bytes of frames that a CPU keeps; other devices a quarter of their memory
SENT_AT_ONCE = (8, 1)  # frames a device: constants, so that sending compiles twice


# By the identity of a video: the frames that jobs in work, or waiting, have still to see.
type Needs = Mapping[int, list[range]]


class Wanted(NamedTuple):
    """A frame that a device is to have."""

    device: int  # of the mesh
    source: FrameSource
    number: int


class End(NamedTuple):
    """What is there in place of a frame."""

    reason: str | None  # why it cannot be read; None: the video has ended


@dataclass
class Reader:
    """The frames of a video by their numbers."""

    source: FrameSource
    _images: Iterator[np.ndarray] | None = None
    _next: int = 0  # the number of the next of `_images`
    _end: tuple[int, End] | None = None  # of a video that is read in order: the first number without a frame

    def read(
        self, numbers: Iterable[int], keep: Callable[[int], bool] = lambda _: False
    ) -> dict[int, np.ndarray | End]:
        """Reads frames.

        Args:
          numbers: which.
          keep: whether a frame is wanted, too, that is passed on the way where a video is read in order.
        """
        wanted = sorted(numbers)
        if self.source.pick is not None:
            return {number: self._picked(number) for number in wanted}
        if self._images is not None and wanted and wanted[0] < self._next:
            if self.source.live:
                return {number: End(f"{self.source.name} can be read once only") for number in wanted}
            self._images = None
        found: dict[int, np.ndarray | End] = {}
        for number in wanted:
            image = self._through(number, found, keep)
            found[number] = image
        return found

    def _picked(self, number: int) -> np.ndarray | End:
        assert self.source.pick is not None
        if self.source.length is not None and number >= self.source.length:
            return End(None)
        try:
            return self._checked(self.source.pick(number), number)
        except Exception as error:
            return End(_reason(error))

    def _through(
        self, number: int, found: dict[int, np.ndarray | End], keep: Callable[[int], bool]
    ) -> np.ndarray | End:
        """Reads on to a frame."""
        if self._end is not None and number >= self._end[0]:
            return self._end[1]
        if self._images is None:
            self._images, self._next = iter(self.source), 0
        while True:
            at = self._next
            try:
                image = self._checked(next(self._images), at)
            except StopIteration:
                self._end = at, End(None)
                return self._end[1]
            except Exception as error:
                self._end = at, End(_reason(error))
                return self._end[1]
            self._next += 1
            if at == number:
                return image
            if keep(at):
                found[at] = image

    def _checked(self, image: np.ndarray, number: int) -> np.ndarray:
        """Refuses what is no frame of the size that the source says."""
        if image.shape != (*self.source.size, 3):
            height, width = self.source.size
            shape = "x".join(map(str, image.shape))
            raise JtrackError(
                f"frame {number} of {self.source.name} is {shape}: needed is {height}x{width}x3, as the first"
            )
        return image


@dataclass
class _Store:
    """Which frame lies in which slot of a device."""

    free: list[int]
    slots: dict[int, dict[int, int]] = field(default_factory=dict)  # identity of a video -> number -> slot

    def forget(self, needs: Needs) -> None:
        """Frees the slots of frames that lie before, or after, all that is needed of their video."""
        for video, slots in list(self.slots.items()):
            spans = needs.get(video, [])
            first = min((span.start for span in spans), default=0)
            last = max((span.stop for span in spans), default=0)
            for number in [number for number in slots if not first <= number < last]:
                self.free.append(slots.pop(number))
            if not slots:
                del self.slots[video]

    def make_room(self, count: int, asked: Mapping[int, set[int]], needs: Needs) -> None:
        """Frees as many slots as are short of a count, but none that is asked for: those needed last."""
        short = count - len(self.free)
        if short <= 0:
            return
        spare = [
            (_distance(needs.get(video, []), number), video, number)
            for video, slots in self.slots.items()
            for number in slots
            if number not in asked.get(video, ())
        ]
        for _, video, number in sorted(spare, reverse=True)[:short]:
            self.free.append(self.slots[video].pop(number))

    def take(self, video: int, number: int) -> int:
        """A free slot, for this frame from now on."""
        slot = self.free.pop()
        self.slots.setdefault(video, {})[number] = slot
        return slot


def _distance(spans: list[range], number: int) -> float:
    """In how many frames a frame is needed next."""
    return min((number - span.start for span in spans if number in span), default=np.inf)


def _wanted_later(spans: list[range], kept: Iterator[int], room: int, number: int) -> bool:
    """Whether a frame that is passed on the way is needed later, and has room."""
    return any(number in span for span in spans) and next(kept) < room


@dataclass
class SharedFrames(AbstractContextManager["SharedFrames"]):
    """The frames that are on the devices of a mesh."""

    mesh: Mesh
    canvas: tuple[int, int]
    capacity: int  # frames on each device
    pixels: Array = field(init=False)  # [D * (capacity + 1), H, W, 3] uint8, a part on each device
    decoded: int = 0  # frames, counting again what was read again
    sent: int = 0  # frames, counting each device
    _readers: dict[int, Reader] = field(default_factory=dict)  # by the identity of the source
    _stores: list[_Store] = field(init=False)  # of each device
    # Buffers by the number of images they hold, lent to the devices until something is ready.
    _lent: dict[int, deque[tuple[np.ndarray, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stores = [_Store(list(range(self.capacity))) for _ in range(self.mesh.size)]
        shape = (self.mesh.size * (self.capacity + 1), *self.canvas, 3)
        self.pixels = jnp.empty(shape, jnp.uint8, device=placed(self.mesh, AXIS))
        self._threads = ThreadPoolExecutor(max(2, min(16, os.cpu_count() or 2)), "jtrack-decode")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def forget(self, needs: Needs) -> None:
        """Drops the frames that nobody needs any more."""
        for store in self._stores:
            store.forget(needs)
        for video in [video for video in self._readers if video not in needs]:
            del self._readers[video]

    def bring(self, wanted: list[Wanted], needs: Needs) -> dict[tuple[int, int, int], int | End]:
        """Sees to it that frames are on their devices.

        Args:
          wanted: the frames; at most `capacity` a device.
          needs: what is worth keeping besides.

        Returns:
          By device, identity of the video and number: the frame's slot, or why there is none.
        """
        sources = {id(each.source): each.source for each in wanted}
        asked: list[dict[int, set[int]]] = [{} for _ in self._stores]  # of each device: numbers by video
        missing: dict[int, set[int]] = {}
        for each in wanted:
            video = id(each.source)
            asked[each.device].setdefault(video, set()).add(each.number)
            if each.number not in self._stores[each.device].slots.get(video, ()):
                missing.setdefault(video, set()).add(each.number)
        images = self._read({video: (sources[video], numbers) for video, numbers in missing.items()}, needs)
        found: dict[tuple[int, int, int], int | End] = {}
        batches = []
        for device, store in enumerate(self._stores):
            mine = asked[device]
            new = {
                (video, number): image
                for (video, number), image in images.items()
                if video in mine and number not in store.slots.get(video, ())
            }
            ended = {key: image for key, image in new.items() if isinstance(image, End)}
            found |= {(device, *key): image for key, image in ended.items()}
            must = [key for key in new if key not in ended and key[1] in mine[key[0]]]
            store.make_room(len(must), mine, needs)
            may = [key for key in new if key not in ended and key[1] not in mine[key[0]]]
            taken = must + may[: len(store.free) - len(must)]
            batches.append([(store.take(*key), new[key]) for key in taken])
            for video, numbers in mine.items():
                slots = store.slots.get(video, {})
                found |= {(device, video, number): slots[number] for number in numbers if number in slots}
        self._send(batches)
        return found

    def _read(
        self, missing: Mapping[int, tuple[FrameSource, set[int]]], needs: Needs
    ) -> dict[tuple[int, int], np.ndarray | End]:
        """Decodes in threads: a task for each frame that can be picked, else one for each video."""
        tasks = []
        room = max(len(store.free) for store in self._stores)  # for frames that are passed on the way
        for video, (source, numbers) in missing.items():
            # It holds the source, so that no other takes its identity while its frames are here.
            reader = self._readers.setdefault(video, Reader(source))
            parts = [[number] for number in numbers] if source.pick is not None else [sorted(numbers)]
            keep = functools.partial(_wanted_later, needs.get(video, []), itertools.count(), room)
            tasks += [(video, self._threads.submit(reader.read, part, keep)) for part in parts]
        found = {(video, number): image for video, task in tasks for number, image in task.result().items()}
        self.decoded += sum(not isinstance(image, End) for image in found.values())
        return found

    def _send(self, batches: list[list[tuple[int, Any]]]) -> None:
        """Copies images into slots, a batch of (slot, image) for each device."""
        first, most = 0, max(map(len, batches))
        while first < most:
            size = next(size for size in SENT_AT_ONCE if most - first >= size // 2)
            images = self._staging(size)
            slots = np.full((self.mesh.size, size), self.capacity, np.int32)  # a slot of nobody's
            copies = []
            for device, batch in enumerate(batches):
                for place, (slot, image) in enumerate(batch[first : first + size]):
                    slots[device, place] = slot
                    copies.append(self._threads.submit(_copy, images[device, place], image))
            for copy in copies:
                copy.result()
            sent = jax.device_put((images, slots), placed(self.mesh, AXIS))
            self.pixels, done = _putting(self.mesh, size)(self.pixels, *sent)
            self._lent.setdefault(size, deque()).append((images, done))
            first += size
        self.sent += sum(map(len, batches))

    def _staging(self, size: int) -> np.ndarray:
        """A buffer [D, size, H, W, 3] for images on their way: one that came through before, or a new one.

        Memory that is asked for anew costs as much as the copy into it. It is aligned as the CPU's backend
        needs it, which then reads it where it is.
        """
        lent = self._lent.get(size)
        if lent and lent[0][1].is_ready():
            return lent.popleft()[0]
        shape = (self.mesh.size, size, *self.canvas, 3)
        memory = np.empty(math.prod(shape) + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        return memory[start : start + math.prod(shape)].reshape(shape)


def _reason(error: Exception) -> str:
    """Why a frame cannot be read: it ends the jobs of its video, and no others."""
    return str(error) if isinstance(error, JtrackError) else f"{type(error).__name__}: {error}"


def store_of(device: jax.Device) -> int:
    """Bytes of frames that are kept on a device."""
    memory = (device.memory_stats() or {}).get("bytes_limit")
    return STORE if memory is None else int(memory) // 4


def _copy(place: np.ndarray, image: np.ndarray) -> None:
    """Puts an image into the top-left corner of its place; the rest is never looked at."""
    place[: image.shape[0], : image.shape[1]] = image


@functools.lru_cache(maxsize=16)
def _putting(mesh: Mesh, size: int) -> Callable[[Array, ArrayLike, ArrayLike], tuple[Array, Array]]:
    """Writes images [D, n, H, W, 3] into slots [D, n] of a store, and says when that is done."""

    def put(store: Array, images: Array, slots: Array) -> tuple[Array, Array]:
        for place in range(size):
            at = slots[0, place], 0, 0, 0
            store = jax.lax.dynamic_update_slice(store, images[0, place][None], at)
        return store, slots + 1

    lanes = spec(AXIS)
    mapped = jax.shard_map(put, mesh=mesh, in_specs=lanes, out_specs=lanes, check_vma=False)
    return jax.jit(mapped, donate_argnums=0)
