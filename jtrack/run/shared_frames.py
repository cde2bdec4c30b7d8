"""Frames on the devices, each decoded and sent once for all lanes that look at it.

Each device has a store of so many frames of one canvas. A frame is read when a lane is about to need it, and
stays until no job needs it any more. Where the store is full, the frame that is needed last makes room, and
is read again later.
"""

import functools
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
STORE = 512 << 20  # bytes of frames that a CPU keeps; other devices a quarter of their memory
SENT_AT_ONCE = 8  # frames a device; a constant, so that sending compiles once


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
    _end: tuple[int, End] | None = None  # the first number without a frame

    def read(self, numbers: Iterable[int]) -> dict[int, np.ndarray | End]:
        """Reads frames; of a video that is read in order, those between the last and these come, too."""
        found: dict[int, np.ndarray | End] = {}
        for number in sorted(numbers):
            if self._end is not None and number >= self._end[0]:
                found[number] = self._end[1]
            elif number not in found:
                found |= self._one(number) if self.source.pick is not None else self._through(number)
                if number not in found and self._end is not None:
                    found[number] = self._end[1]
        return found

    def _one(self, number: int) -> dict[int, np.ndarray | End]:
        assert self.source.pick is not None
        if self.source.length is not None and number >= self.source.length:
            return {number: self._ended(number, None)}
        try:
            image = self.source.pick(number)
        except JtrackError as error:
            return {number: self._ended(number, str(error))}
        return {number: image}

    def _through(self, number: int) -> dict[int, np.ndarray | End]:
        if self._images is None or number < self._next:
            self._images, self._next = iter(self.source), 0
        found: dict[int, np.ndarray | End] = {}
        while self._next <= number:
            try:
                found[self._next] = next(self._images)
            except StopIteration:
                self._ended(self._next, None)
                break
            except JtrackError as error:
                self._ended(self._next, str(error))
                break
            self._next += 1
        return found

    def _ended(self, number: int, reason: str | None) -> End:
        if self._end is None or number < self._end[0]:
            self._end = number, End(reason)
        return End(reason)


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
    _slots: list[dict[tuple[int, int], int]] = field(init=False)  # a device: (video, number) -> slot
    _free: list[list[int]] = field(init=False)
    _lent: deque[tuple[np.ndarray, Any]] = field(default_factory=deque)  # to the devices, until it is ready

    def __post_init__(self) -> None:
        self._slots = [{} for _ in range(self.mesh.size)]
        self._free = [list(range(self.capacity)) for _ in range(self.mesh.size)]
        shape = (self.mesh.size * (self.capacity + 1), *self.canvas, 3)
        self.pixels = jnp.empty(shape, jnp.uint8, device=placed(self.mesh, AXIS))
        self._threads = ThreadPoolExecutor(max(2, min(16, os.cpu_count() or 2)), "jtrack-decode")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def forget(self, needs: Mapping[int, list[range]]) -> None:
        """Drops the frames that none of these spans, by the identity of a video, holds."""
        for slots, free in zip(self._slots, self._free, strict=True):
            for key in [key for key in slots if not _needed(needs, key)]:
                free.append(slots.pop(key))
        for video in [video for video in self._readers if video not in needs]:
            del self._readers[video]

    def bring(
        self, wanted: list[Wanted], needs: Mapping[int, list[range]]
    ) -> dict[tuple[int, int, int], int | End]:
        """Sees to it that frames are on their devices.

        Args:
          wanted: the frames; at most `capacity` a device.
          needs: what is worth keeping besides, as `forget` takes it.

        Returns:
          By device, identity of the video and number: the frame's slot, or why there is none.
        """
        found: dict[tuple[int, int, int], int | End] = {}
        missing: dict[int, set[int]] = {}
        sources = {id(each.source): each.source for each in wanted}
        for each in wanted:
            if (id(each.source), each.number) not in self._slots[each.device]:
                missing.setdefault(id(each.source), set()).add(each.number)
        images = self._read({video: (sources[video], numbers) for video, numbers in missing.items()})
        asked = {(each.device, id(each.source), each.number) for each in wanted}
        batch: list[tuple[int, int, np.ndarray]] = []
        for (video, number), image in images.items():
            for device in {device for device, other, _ in asked if other == video}:
                if isinstance(image, End):
                    found[device, video, number] = image
                elif (video, number) not in self._slots[device] and (
                    (device, video, number) in asked or self._worth_keeping(device, video, number, needs)
                ):
                    batch.append((device, self._slot(device, video, number, asked, needs), image))
        self._send(batch)
        for device, video, number in asked:
            slot = self._slots[device].get((video, number))
            if slot is not None:
                found[device, video, number] = slot
        return found

    def _read(
        self, missing: Mapping[int, tuple[FrameSource, set[int]]]
    ) -> dict[tuple[int, int], np.ndarray | End]:
        """Decodes in threads: a task for each frame that can be picked, else one for each video."""
        tasks = []
        for video, (source, numbers) in missing.items():
            reader = self._readers.setdefault(video, Reader(source))
            parts = [[number] for number in numbers] if source.pick is not None else [sorted(numbers)]
            tasks += [(video, self._threads.submit(reader.read, part)) for part in parts]
        found = {(video, number): image for video, task in tasks for number, image in task.result().items()}
        self.decoded += sum(not isinstance(image, End) for image in found.values())
        return found

    def _worth_keeping(self, device: int, video: int, number: int, needs: Mapping[int, list[range]]) -> bool:
        """Whether a frame that was passed on the way is needed later, and has room."""
        return bool(self._free[device]) and _needed(needs, (video, number))

    def _slot(
        self,
        device: int,
        video: int,
        number: int,
        asked: set[tuple[int, int, int]],
        needs: Mapping[int, list[range]],
    ) -> int:
        """A slot for a frame: a free one, or that of the frame which is needed last."""
        slots = self._slots[device]
        if not self._free[device]:
            spare = [key for key in slots if (device, *key) not in asked]
            last = max(spare, key=lambda key: _distance(needs, key))
            self._free[device].append(slots.pop(last))
        slots[video, number] = self._free[device].pop()
        return slots[video, number]

    def _send(self, batch: list[tuple[int, int, np.ndarray]]) -> None:
        """Copies images into slots of their devices."""
        queues = [[each for each in batch if each[0] == device] for device in range(self.mesh.size)]
        for first in range(0, max(map(len, queues)), SENT_AT_ONCE):
            images = self._staging()
            slots = np.full((self.mesh.size, SENT_AT_ONCE), self.capacity, np.int32)  # a slot of nobody's
            copies = []
            for device, queue in enumerate(queues):
                for place, (_, slot, image) in enumerate(queue[first : first + SENT_AT_ONCE]):
                    slots[device, place] = slot
                    copies.append(self._threads.submit(_copy, images[device, place], image))
            for copy in copies:
                copy.result()
            sent = jax.device_put((images, slots), placed(self.mesh, AXIS))
            self.pixels, done = _putting(self.mesh)(self.pixels, *sent)
            self._lent.append((images, done))
        self.sent += len(batch)

    def _staging(self) -> np.ndarray:
        """A buffer [D, n, H, W, 3] for images on their way: one that came through before, or a new one.

        Memory that is asked for anew costs as much as the copy into it. It is aligned as the CPU's backend
        needs it, which then reads it where it is.
        """
        if self._lent and self._lent[0][1].is_ready():
            return self._lent.popleft()[0]
        shape = (self.mesh.size, SENT_AT_ONCE, *self.canvas, 3)
        memory = np.empty(math.prod(shape) + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        return memory[start : start + math.prod(shape)].reshape(shape)


def store_of(device: jax.Device) -> int:
    """Bytes of frames that are kept on a device."""
    memory = (device.memory_stats() or {}).get("bytes_limit")
    return STORE if memory is None else int(memory) // 4


def _copy(place: np.ndarray, image: np.ndarray) -> None:
    """Puts an image into the top-left corner of its place; the rest is never looked at."""
    place[: image.shape[0], : image.shape[1]] = image


@functools.lru_cache(maxsize=8)
def _putting(mesh: Mesh) -> Callable[[Array, ArrayLike, ArrayLike], tuple[Array, Array]]:
    """Writes images [D, n, H, W, 3] into slots [D, n] of a store, and says when that is done."""

    def put(store: Array, images: Array, slots: Array) -> tuple[Array, Array]:
        for place in range(SENT_AT_ONCE):
            at = slots[0, place], 0, 0, 0
            store = jax.lax.dynamic_update_slice(store, images[0, place][None], at)
        return store, slots + 1

    lanes = spec(AXIS)
    mapped = jax.shard_map(put, mesh=mesh, in_specs=lanes, out_specs=lanes, check_vma=False)
    return jax.jit(mapped, donate_argnums=0)


def _needed(needs: Mapping[int, list[range]], key: tuple[int, int]) -> bool:
    return any(key[1] in span for span in needs.get(key[0], ()))


def _distance(needs: Mapping[int, list[range]], key: tuple[int, int]) -> float:
    """In how many frames a frame is needed next."""
    return min((key[1] - span.start for span in needs.get(key[0], ()) if key[1] in span), default=np.inf)
