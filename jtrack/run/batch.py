"""Many sequences at once, as lanes of one vmapped step: for evaluation, on an accelerator above all.

Sequences of one canvas (and one grid, where the grid follows the target) run together. A lane whose sequence
has ended is frozen until the longest has: sequences are sorted by length, so that little is computed in vain.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtrack import data, trackers
from jtrack.data import FrameError, FrameSource
from jtrack.errors import JtrackError
from jtrack.run.advance import advance_lanes
from jtrack.run.inputs import Source, canvas_of, check_boxes, open_frames
from jtrack.run.stream import Track, build, make_tracker
from jtrack.trackers import BoundTracker
from jtrack.types import Array, Frame, Key, Output, PyTree, Tracker


class Job(NamedTuple):
    """One sequence to track."""

    frames: FrameSource
    box: np.ndarray  # [4]
    tracker: Tracker


def track_batch(
    sequences: Sequence[tuple[Source, np.ndarray | Sequence[float]]],
    *,
    tracker: str | BoundTracker = trackers.DEFAULT,
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
    weights: str | Path | None = None,
    seed: int = 0,
    lanes: int = 8,
) -> list[Track]:
    """Tracks one target in each of many sequences.

    Args:
      sequences: pairs of a source and the box in its first frame, each as `track` takes them, except that a
        box may lie partly outside the frame, as annotations do.
      tracker: as in `track`, and so `profile`, `backbone`, `precision` and `weights`.
      profile: see `track`.
      backbone: see `track`.
      precision: see `track`.
      weights: see `track`.
      seed: of every lane's randomness.
      lanes: how many sequences run together at most; memory grows with it.

    Returns:
      One `Track` a sequence, in their order, equal to what `track` gives (without `fps`, which a lane has
      not).

    Raises:
      JtrackError: for anything but pairs, a source that cannot be opened, a box that cannot be tracked, or an
        unknown name.
    """
    pairs = _checked(sequences)
    if lanes < 1:
        raise JtrackError(f"the number of lanes is {lanes}: give 1 or more")
    bound = build(tracker, profile=profile, backbone=backbone, precision=precision, weights=weights)
    groups: dict[tuple[Tracker, tuple[int, int]], list[int]] = defaultdict(list)
    jobs = []
    for index, (source, given) in enumerate(pairs):
        frames = open_frames(source)
        box = check_boxes(given, frames.size, inside=False)
        if box.ndim != 1:
            raise JtrackError(
                f"sequence {index} has {len(box)} boxes: track_batch tracks one target in each sequence; "
                "repeat the pair with every box, or use track"
            )
        made = make_tracker(bound.factory, bound.backbone, bound.for_target(box, frames.size))
        jobs.append(Job(frames, box, made))
        groups[made, canvas_of(frames.size)].append(index)

    params = jax.device_put(bound.params)
    label = bound.label() | {"seed": seed}
    tracks: dict[int, Track] = {}
    for (_, canvas), members in groups.items():
        members.sort(key=lambda index: jobs[index].frames.expected or 0)
        for first in range(0, len(members), lanes):
            chosen = members[first : first + lanes]
            done = _track_lanes([jobs[index] for index in chosen], params, canvas, seed, label)
            tracks.update(zip(chosen, done, strict=True))
    return [tracks[index] for index in range(len(jobs))]


def _checked(sequences: Any) -> list[tuple[Source, Any]]:
    """Refuses what is not a list of pairs; the rest of the work would say it less clearly."""
    need = 'give a list of pairs (source, box), such as [("a.mp4", (x, y, w, h)), ("b.mp4", (x, y, w, h))]'
    single = isinstance(sequences, str | Path | FrameSource | data.Sequence | np.ndarray)
    if single or not isinstance(sequences, Iterable):
        raise JtrackError(f"track_batch got a {type(sequences).__name__} for its sequences: {need}")
    pairs = list(sequences)
    if not pairs:
        raise JtrackError(f"track_batch got no sequences: {need}")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            what = repr(pair) if isinstance(pair, str | Path | tuple) else f"a {type(pair).__name__}"
            raise JtrackError(f"sequence {index} is {what:.80}, which is no pair: {need}")
    return pairs


class LaneExecutable(NamedTuple):
    """A tracker compiled for lanes that each have their own frame."""

    init: Callable[[PyTree, Key, Frame, ArrayLike], PyTree]
    step: Callable[
        [PyTree, PyTree, Frame, ArrayLike], tuple[PyTree, Output]
    ]  # (params, state, frame, active)


@functools.lru_cache(maxsize=32)
def lane_executable(tracker: Tracker) -> LaneExecutable:
    """Jits a tracker for lanes of sequences; lanes that are not active keep their state bitwise."""

    def step(params: PyTree, state: PyTree, frame: Frame, active: Array) -> tuple[PyTree, Output]:
        return advance_lanes(tracker, params, state, frame, active)

    return LaneExecutable(jax.jit(jax.vmap(tracker.init, (None, 0, 0, 0))), jax.jit(step, donate_argnums=1))


def _track_lanes(
    jobs: list[Job], params: PyTree, canvas: tuple[int, int], seed: int, label: dict[str, Any]
) -> list[Track]:
    run = lane_executable(jobs[0].tracker)
    count = len(jobs)
    boxes = np.stack([job.box for job in jobs])
    keys = jnp.broadcast_to(jax.random.key(seed), (count,))
    rows = [(boxes, np.ones(count, np.float32), np.zeros(count, bool))]  # of each frame: boxes, scores, lost
    lengths = np.zeros(count, int)
    reasons: list[str | None] = [None] * count
    state, output = None, None
    for frame, active in data.prefetch(_lockstep([job.frames for job in jobs], canvas, reasons), depth=2):
        lengths += active
        if state is None:
            state = run.init(params, keys, frame, boxes)
            continue
        before = output
        state, output = run.step(params, state, frame, active)
        if before is not None:  # one step behind, so that the device never waits for the host
            rows.append(_receive(before))
    if output is not None:
        rows.append(_receive(output))
    tracked, scores, lost = (np.stack(column) for column in zip(*rows, strict=True))  # [T, L, ...]
    return [
        Track(tracked[:length, lane], scores[:length, lane], lost[:length, lane], None, reasons[lane], label)
        for lane, length in enumerate(lengths)
    ]


def _receive(output: Output) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and lost flags of one frame, copied so that no device buffer is kept alive."""
    return np.array(output.box), np.array(output.score), np.array(output.lost)


def _lockstep(
    sources: list[FrameSource], canvas: tuple[int, int], reasons: list[str | None]
) -> Generator[tuple[Frame, np.ndarray]]:
    """The next frame of every lane on the device, and which lanes have one; says in `reasons` why not."""
    readers = [data.prefetch(source, depth=2) for source in sources]
    active = np.ones(len(sources), bool)
    pixels = np.zeros((len(sources), *canvas, 3), np.uint8)
    size = np.array([source.size for source in sources], np.int32)
    while True:
        for lane in np.flatnonzero(active):
            try:
                image = next(readers[lane])
                pixels[lane, : image.shape[0], : image.shape[1]] = image
            except StopIteration:
                active[lane] = False
            except FrameError as error:
                active[lane], reasons[lane] = False, str(error)
        if not active.any():
            return
        # Copies: an array on the host may be lent to the device, which reads it later.
        yield Frame(jax.device_put(pixels.copy()), jax.device_put(size)), active.copy()
