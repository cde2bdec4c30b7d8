"""Many targets through many videos: jobs wait for lanes, lanes for nobody.

The host decodes the frames of the next dispatch while the devices work on the last one. Which lane has which
frame is known beforehand, so that nothing waits for a box; only the end of a video of unknown length shows
when it is reached.
"""

import functools
import math
import operator
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jtrack.errors import JtrackError
from jtrack.run.inputs import canvas_of
from jtrack.run.lanes import Lanes, Seen, Target
from jtrack.run.mesh import mesh_of
from jtrack.run.schedule import Job, Running, Schedule
from jtrack.run.shared_frames import End, SharedFrames, Wanted, store_of
from jtrack.types import PyTree, Tracker

AT_ONCE = 8  # frames of a lane in one dispatch: few lanes then wait long for its end
# Canvases (height, width) that the sizes of videos are brought to; beyond, each side is a multiple of 128.
CANVASES = ((288, 384), (576, 768), (1152, 2048))


class Followed(NamedTuple):
    """A job that has ended: T frames from its first on."""

    job: Job
    boxes: np.ndarray  # [T, 4] float32; NaN in frames between a failure and the next beginning
    scores: np.ndarray  # [T] float32; 1 where the target began
    lost: np.ndarray  # [T] bool
    stopped: str | None  # why it ended before its frames did
    learnt: np.ndarray | None  # [T] bool: whether it learnt after the frame; None where that is not known


@dataclass
class Usage:
    """What a run of the engine has used."""

    steps: int = 0  # frames that the lanes could have taken
    taken: int = 0  # frames that they took
    decoded: int = 0  # frames, counting again what was read again
    sent: int = 0  # frames to devices


@dataclass
class _Record:
    """What a job in a lane has come to."""

    running: Running
    parts: list[tuple[int, Seen]] = field(default_factory=list)  # the first frame of each
    expected: int = 0  # parts that are on their way
    stopped: str | None = None

    def begin(self) -> None:
        """Notes that the target begins in the frame that the lane is at."""
        box = np.asarray(self.running.box, np.float32)[None]
        self.parts.append((self.running.at, Seen(box, np.ones(1, np.float32), np.zeros(1, bool))))

    def followed(self) -> Followed:
        """The whole."""
        start = self.running.job.start
        length = max((at + len(part.box) - start for at, part in self.parts), default=0)
        boxes, scores = np.full((length, 4), np.nan, np.float32), np.full(length, np.nan, np.float32)
        lost, learnt = np.zeros((2, length), bool)
        for at, part in self.parts:
            rows = slice(at - start, at - start + len(part.box))
            boxes[rows], scores[rows], lost[rows] = part.box, part.score, part.lost
            learnt[rows] = False if part.learnt is None else part.learnt
        known = any(part.learnt is not None for _, part in self.parts)
        return Followed(self.running.job, boxes, scores, lost, self.stopped, learnt if known else None)


class _Turn(NamedTuple):
    """What one dispatch is to do."""

    targets: list[Target]  # that begin before it
    slots: np.ndarray  # [K, L] int32
    active: np.ndarray  # [K, L] bool
    records: list[tuple[_Record, int]]  # that have frames in it, and the first


def shared_canvas(size: tuple[int, int]) -> tuple[int, int]:
    """The canvas (height, width) of frames of a size: one of a few, so that few programs are compiled."""
    fitting = [canvas for canvas in CANVASES if size[0] <= canvas[0] and size[1] <= canvas[1]]
    return fitting[0] if fitting else canvas_of(size)


def follow(
    tracker: Tracker,
    params: PyTree,
    parcels: Iterable[Sequence[Job]],
    canvas: tuple[int, int],
    *,
    lanes: int,
    mesh: Mesh | None = None,
    at_once: int = AT_ONCE,
    store: int | None = None,
    most: int | None = None,
    on_frames: Callable[[int], object] = lambda _: None,
    usage: Usage | None = None,
) -> Iterator[Followed]:
    """Follows targets, each in a lane of its own.

    Args:
      tracker: the functions, the same for all.
      params: {"backbone": weights, "tracker": hyper-parameters of jobs that have none of their own}.
      parcels: of jobs; each holds all jobs of one video. The next is fetched when a lane is free for it.
      canvas: (height, width) that all frames fit on.
      lanes: how many; rounded up to a multiple of the devices.
      mesh: the devices, of one axis; None for all local ones.
      at_once: frames of a lane in one dispatch; 1 where jobs ask after every frame (`Job.after`).
      store: bytes of frames that are kept on each device, and a dispatch's worth at least; None for a quarter
        of the device's memory.
      most: how many frames all videos have, where that is known: no more are kept.
      on_frames: called with the number of frames that were tracked since.
      usage: is added to.

    Yields:
      Jobs, as they end.

    Raises:
      JtrackError: a device has too little memory for so many lanes.
    """
    mesh = mesh_of() if mesh is None else mesh
    usage = Usage() if usage is None else usage
    a_device = -(-lanes // mesh.size)
    bytes_ = math.prod(canvas) * 3
    store = store_of(mesh.devices.flat[0]) if store is None else store
    at_once = max(1, min(at_once, store // (2 * a_device * bytes_)))
    kept = store // bytes_ if most is None else min(store // bytes_, 1 << max(0, most - 1).bit_length())
    capacity = max(a_device * (at_once + 1), kept)
    pool = Lanes(tracker, params, mesh, a_device * mesh.size)
    schedule = Schedule.of(parcels, pool.count)
    records: dict[Running, _Record] = {}
    flying: deque[tuple[Seen, _Turn]] = deque()
    with _enough_memory(pool.count), SharedFrames(mesh, canvas, capacity) as frames:
        while True:
            begun = schedule.fill()
            if not schedule.running and not flying:
                break
            records |= {running: _Record(running) for running in begun}
            turn = _plan(frames, schedule, records, pool, at_once)
            on_frames(len(turn.targets))
            frames.forget(schedule.needs())
            if turn.targets:
                pool.admit(frames.pixels, turn.targets)
            if turn.active.any():
                flying.append((pool.advance(frames.pixels, turn.slots, turn.active), turn))
            usage.steps += turn.active.size * bool(turn.active.any())
            usage.taken += int(turn.active.sum())
            # One dispatch is left flying, so that the devices work while the host decodes for the next, but
            # not where a frame decides what the next one is.
            asked = any(running.job.after is not None for running in schedule.running.values())
            while len(flying) > (turn.active.any() and not asked):
                on_frames(_land(*flying.popleft()))
            for running in [each for each, record in records.items() if each.done and not record.expected]:
                yield records.pop(running).followed()
        usage.decoded, usage.sent = usage.decoded + frames.decoded, usage.sent + frames.sent


@contextmanager
def _enough_memory(lanes: int) -> Generator[None]:
    """Says in a sentence that a device's memory is used up."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise JtrackError(f"{lanes} lanes need more memory than there is: give fewer") from error


def _plan(
    frames: SharedFrames, schedule: Schedule, records: dict[Running, _Record], pool: Lanes, at_once: int
) -> _Turn:
    """Brings the next frames of every lane to its device, and says which lane has which."""
    mine = [records[running] for running in schedule.running.values()]
    ahead = {id(each): each.running.ahead(at_once + (each.running.box is not None)) for each in mine}
    wanted = [
        Wanted(each.running.lane // pool.a_device, each.running.job.frames, number)
        for each in mine
        for number in ahead[id(each)]
    ]
    found = frames.bring(wanted, schedule.needs())
    turn = _Turn([], np.zeros((at_once, pool.count), np.int32), np.zeros((at_once, pool.count), bool), [])
    for each in mine:
        running, job = each.running, each.running.job
        if job.after is not None and at_once > 1:
            raise ValueError("jobs that are asked after every frame (Job.after) need at_once=1")
        places: list[int] = []
        for number in ahead[id(each)]:
            place = found[running.lane // pool.a_device, id(job.frames), number]
            if isinstance(place, End):
                each.stopped = place.reason
                break
            places.append(place)
        ended, first = len(places) < len(ahead[id(each)]), running.at
        if places and running.box is not None:
            each.begin()
            turn.targets.append(_target(running, places.pop(0), pool))
            first += 1
        if places:
            turn.slots[: len(places), running.lane] = places
            turn.active[: len(places), running.lane] = True
            turn.records.append((each, first))
            each.expected += 1
        running.move(first + len(places))
        running.done |= ended
    return turn


@functools.lru_cache(maxsize=1024)
def key_data(seed: int) -> np.ndarray:
    """The data of `jax.random.key(seed)`."""
    return np.asarray(jax.random.key_data(jax.random.key(seed)))


def _target(running: Running, slot: int, pool: Lanes) -> Target:
    job = running.job
    box = np.asarray(running.box, np.float32)
    hyper = pool.params["tracker"] if job.hyper is None else job.hyper
    hyper = jax.tree.map(np.asarray, hyper)
    size = np.asarray(job.frames.size, np.int32)
    return Target(np.int32(running.lane), np.int32(slot), size, box, key_data(job.seed), hyper)


def _land(seen: Seen, turn: _Turn) -> int:
    """Waits for what a dispatch has seen and gives it to its jobs; says how many frames it is of."""
    seen = jax.device_get(seen)
    for record, first in turn.records:
        running = record.running
        count = int(turn.active[:, running.lane].sum())
        part = jax.tree.map(operator.itemgetter((slice(count), running.lane)), seen)
        record.parts.append((first, part))
        record.expected -= 1
        if running.job.after is not None:
            try:
                again = running.job.after(first, part.box[0])
            except Exception as error:  # it ends this job, and no other
                record.stopped, running.done = f"{type(error).__name__}: {error}", True
                continue
            if again is not None:
                running.move(again.frame, again.box)
    return int(turn.active.sum())
