"""One video, live or from a file, with one target or several: what `jtrack.track` does.

The host decodes, pads and sends frames in another thread; the device runs one jitted `step` a frame with the
state donated, so that a sequence of any length costs no growing memory. Compiled functions are kept by
tracker: a second video of the same canvas, another target or another box compiles nothing.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtrack import data, devices, trackers
from jtrack.backbones import Backbone
from jtrack.data import FrameError, FrameSource
from jtrack.data.folder import check_range
from jtrack.errors import JtrackError
from jtrack.trackers import Built
from jtrack.types import Array, Frame, Key, Output, PyTree, Tracker

# Canvas sides are multiples of this. It wastes 7 % of a 1920 x 1080 frame and puts every size within 127
# pixels on one compilation; only crops are ever read, so that the waste is in sending the frame alone.
CANVAS_STEP = 128

type OnFrame = Callable[[int, np.ndarray, list[Output]], bool | None]
type Source = str | Path | int | FrameSource | data.Sequence | Iterable[np.ndarray]


@dataclass(frozen=True, eq=False)
class Track:
    """What was tracked: T frames of one target, or of N (then every array has a second axis N).

    Row 0 is the first frame: the given box, score 1, not lost.
    """

    boxes: np.ndarray  # [T, 4] or [T, N, 4] float32: x, y, w, h, 0-based
    scores: np.ndarray  # [T] or [T, N] float32 in [0, 1]
    lost: np.ndarray  # [T] or [T, N] bool
    fps: float | None = None  # frames per second, all included but compilation; None under three frames
    stopped: str | None = None  # why tracking ended before the frames did
    label: dict[str, Any] = field(default_factory=dict)  # what identifies the result: profile, digest, ...


def canvas_of(size: tuple[int, int]) -> tuple[int, int]:
    """The canvas (height, width) of frames of a size: each side rounded up to a multiple of `CANVAS_STEP`."""
    height, width = (-(-side // CANVAS_STEP) * CANVAS_STEP for side in size)
    return height, width


def to_frame(image: np.ndarray, canvas: tuple[int, int]) -> Frame:
    """Puts a uint8 [h, w, 3] image in the top-left corner of a canvas (height, width) and on the device."""
    height, width = image.shape[:2]
    if (height, width) == canvas:
        pixels = image
    else:
        pixels = np.zeros((*canvas, 3), np.uint8)
        pixels[:height, :width] = image
    return Frame(jax.device_put(pixels), jax.device_put(np.array([height, width], np.int32)))


def check_boxes(
    boxes: np.ndarray | Sequence[Any], size: tuple[int, int], *, inside: bool, origin: int = 0
) -> np.ndarray:
    """Refuses boxes that cannot be tracked.

    Args:
      boxes: [..., 4] x, y, w, h in pixels, 0-based.
      size: (height, width) of the frame.
      inside: whether boxes must lie inside the frame, up to the one pixel annotators disagree by; otherwise
        they need only overlap it.
      origin: what the user calls the first pixel; boxes are said so in errors.

    Returns:
      The boxes as float32.

    Raises:
      JtrackError: for another shape, for values that are not finite, for a side under two pixels, and for
        boxes outside the frame.
    """
    array = np.asarray(boxes, np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] != 4 or not array.size:
        raise JtrackError(f"a box is four numbers x, y, w, h, or [N, 4] for N targets: got {boxes!r}")
    height, width = size
    for box in array.reshape(-1, 4):
        x, y, w, h = box
        shown = ",".join(f"{value:g}" for value in (x + origin, y + origin, w, h))
        if not np.isfinite(box).all():
            raise JtrackError(f"box {shown} (x,y,w,h) is not finite: give four numbers")
        if min(w, h) < 2:
            raise JtrackError(
                f"box {shown} (x,y,w,h) is too small: width and height must be 2 pixels or more"
            )
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if left >= right or top >= bottom:
            raise JtrackError(
                f"box {shown} (x,y,w,h) lies outside the frame, which is {width}x{height} pixels"
            )
        if inside and (min(x, y) < -1 or x + w > width + 1 or y + h > height + 1):
            raise JtrackError(
                f"box {shown} (x,y,w,h) lies partly outside the frame, which is {width}x{height} pixels: "
                f"the part inside is {left + origin:g},{top + origin:g},{right - left:g},{bottom - top:g}"
            )
    return array.astype(np.float32)


class Executable(NamedTuple):
    """A tracker compiled for one target or for lanes of targets; `learn` is part of `step`."""

    init: Callable[[PyTree, Key, Frame, ArrayLike], PyTree]  # (params, key(s), frame(s), box(es)) -> state(s)
    step: Callable[[PyTree, PyTree, Frame], tuple[PyTree, Output]]  # donates the state


def learn_where_due(
    learn: Callable[[PyTree, PyTree], PyTree] | None, params: PyTree, state: PyTree
) -> PyTree:
    """Applies `learn` to a state, or to lanes of states, where `state.due`.

    A vmapped cond would run `learn` on every lane of every frame. Here it runs only on frames where a lane
    needs it, and a lane that does not is left bitwise unchanged.
    """
    if learn is None:
        return state
    if state.due.ndim == 0:
        return jax.lax.cond(state.due, learn, lambda _, state: state, params, state)

    def learn_lanes(params: PyTree, state: PyTree) -> PyTree:
        return select_lanes(state.due, jax.vmap(learn, (None, 0))(params, state), state)

    return jax.lax.cond(state.due.any(), learn_lanes, lambda _, state: state, params, state)


def select_lanes(mask: Array, new: PyTree, old: PyTree) -> PyTree:
    """Takes, lane by lane (the first axis of every leaf), `new` where the mask holds and `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)


@functools.lru_cache(maxsize=32)
def executable(tracker: Tracker, *, lanes: bool) -> Executable:
    """Jits a tracker for one target, or for several targets (lanes) that share each frame."""
    init = jax.vmap(tracker.init, (None, 0, None, 0)) if lanes else tracker.init
    step = jax.vmap(tracker.step, (None, 0, None)) if lanes else tracker.step

    def step_and_learn(params: PyTree, state: PyTree, frame: Frame) -> tuple[PyTree, Output]:
        state, output = step(params, state, frame)
        return learn_where_due(tracker.learn, params, state), output

    return Executable(jax.jit(init), jax.jit(step_and_learn, donate_argnums=1))


@functools.lru_cache(maxsize=32)
def make_tracker(make: Callable[[Backbone, Any], Tracker], backbone: Backbone, config: Any) -> Tracker:
    """The tracker of a configuration, the same object every time, as `executable` is kept by tracker."""
    return make(backbone, config)


def first_output(box: np.ndarray) -> Output:
    """What is said of the first frame: the given box [4], with certainty."""
    said: tuple[Any, ...] = box, np.float32(1), np.False_, {}
    return Output(*said)


def stream(
    tracker: Tracker | Sequence[Tracker],
    params: PyTree,
    frames: Iterable[np.ndarray],
    boxes: np.ndarray | Sequence[float],
    *,
    key: Key,
    live: bool = False,
) -> Generator[tuple[np.ndarray, list[Output]]]:
    """Tracks one target or several through frames, as an iterator.

    Args:
      tracker: the tracker of every target; or a list with one tracker for each (targets whose tracker is the
        same object run as lanes of one vmapped step).
      params: the trackers' params.
      frames: uint8 [H, W, 3] RGB images of one size; read ahead in another thread.
      boxes: [4] or [N, 4] x, y, w, h in the first frame, 0-based; not checked (see `check_boxes`).
      key: a PRNG key; each of several targets gets its own by `jax.random.split`.
      live: say each frame's boxes before looking at the next frame, as a camera needs. Otherwise the next
        step is already on its way to the device when a frame's boxes are handed out.

    Yields:
      Each frame's image and a NumPy `Output` for each target. The first frame's is the given box.

    Raises:
      FrameError: when a frame cannot be read, after the outputs of the frames before it.
    """
    params = jax.device_put(params)  # once, not with every frame
    boxes = np.asarray(boxes, np.float32)
    targets = boxes.reshape(-1, 4)
    one = boxes.ndim == 1
    each = [tracker] * len(targets) if isinstance(tracker, Tracker) else list(tracker)
    groups = {made: [i for i, other in enumerate(each) if other == made] for made in dict.fromkeys(each)}
    keys = key[None] if one else jax.random.split(key, len(targets))

    failure = None
    waiting: deque[tuple[np.ndarray, list[PyTree]]] = deque()
    states: dict[Tracker, PyTree] = {}
    # Closed here and now: left to the garbage collector, the reading thread would outlive an exception.
    with closing(data.prefetch(_send(frames), depth=1 if live else 4)) as ahead:
        while True:
            try:
                image, frame = next(ahead)
            except StopIteration:
                break
            except FrameError as error:
                failure = error
                break
            if not states:
                for made, index in groups.items():
                    pick: Any = 0 if one else np.array(index)
                    states[made] = executable(made, lanes=not one).init(
                        params, keys[pick], frame, targets[pick]
                    )
                yield image, [first_output(box) for box in targets]
                continue
            outputs = []
            for made in groups:
                states[made], output = executable(made, lanes=not one).step(params, states[made], frame)
                outputs.append(output)
            waiting.append((image, outputs))
            if live or len(waiting) > 1:
                yield _receive(*waiting.popleft(), list(groups.values()), one=one)
    while waiting:
        yield _receive(*waiting.popleft(), list(groups.values()), one=one)
    if failure is not None:
        raise failure


def _send(frames: Iterable[np.ndarray]) -> Generator[tuple[np.ndarray, Frame]]:
    """Each image with its frame on the device, on the canvas of the first image."""
    canvas = None
    for image in frames:
        canvas = canvas or canvas_of((image.shape[0], image.shape[1]))
        yield image, to_frame(image, canvas)


def _receive(
    image: np.ndarray, outputs: list[PyTree], groups: list[list[int]], *, one: bool
) -> tuple[np.ndarray, list[Output]]:
    """Waits for the groups' outputs and puts them in the order of the targets."""
    host = jax.device_get(outputs)
    if one:
        return image, host
    by_target = {
        index: jax.tree.map(lambda leaf, lane=lane: leaf[lane], output)
        for group, output in zip(groups, host, strict=True)
        for lane, index in enumerate(group)
    }
    return image, [by_target[index] for index in range(len(by_target))]


def open_frames(source: Source, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens whatever `track` accepts as a source, from frame `start` to before frame `end`."""
    if isinstance(source, str | Path | int):
        return data.open_source(source, start=start, end=end)
    if isinstance(source, data.Sequence):
        source = source.frames
    frames = source if isinstance(source, FrameSource) else data.from_arrays(source)
    if start is None and end is None:
        return frames
    first, last = check_range(frames.name, start, end, frames.length)
    length = None if last is None else last - first
    return replace(frames, length=length, read=lambda: islice(frames, first, last))


def build(
    tracker: str | Built,
    *,
    profile: str,
    backbone: str | None,
    precision: str,
    weights: str | Path | None = None,
) -> Built:
    """`trackers.create`, in a precision that this machine computes rightly; what is built stays as it is."""
    if isinstance(tracker, Built):
        return tracker
    usable = devices.usable_precision(precision)
    return trackers.create(tracker, profile=profile, backbone=backbone, precision=usable, weights=weights)


def track(
    source: Source,
    box: np.ndarray | Sequence[float] | Sequence[Sequence[float]],
    *,
    tracker: str | Built = "hcft",
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
    weights: str | Path | None = None,
    seed: int = 0,
    start: int | None = None,
    end: int | None = None,
    on_frame: OnFrame | None = None,
) -> Track:
    """Tracks a target, or several at once, through a video.

    Args:
      source: a video file, an image folder, a glob pattern, a camera's index, a `FrameSource`, a `Sequence`,
        or uint8 RGB images [T, H, W, 3] (any iterable of [H, W, 3]).
      box: x, y, w, h of the target in the first frame, in pixels, 0-based; [N, 4] for N targets, which run in
        one vmapped step.
      tracker: one of `jtrack.trackers.names()`; or what `jtrack.trackers.create` built, perhaps with other
        params or another config, and then the next four arguments are not looked at.
      profile: one of `jtrack.trackers.profiles(tracker)`.
      backbone: one of `jtrack.backbones.names()`; None for googlenet where its weights are found, else hog.
      precision: `"float32"` or `"bfloat16"`, of the network's forward passes; see `devices.usable_precision`.
      weights: of gdt, by name or path, as `trackers.create` takes them.
      seed: of the tracker's randomness.
      start: 0-based index of the first frame.
      end: 0-based index after the last frame.
      on_frame: called with every frame's index (0 for the first tracked one), image [H, W, 3] and outputs,
        one a target; tracking ends after the frame for which it returns True.

    Returns:
      The boxes, scores and lost flags of the frames. Where a frame cannot be read, tracking ends before it
      and `stopped` says why.

    Raises:
      JtrackError: for a source that cannot be opened, a box that cannot be tracked, or an unknown name.
    """
    frames = open_frames(source, start=start, end=end)
    boxes = check_boxes(box, frames.size, inside=True)
    built = build(tracker, profile=profile, backbone=backbone, precision=precision, weights=weights)
    made = [
        make_tracker(built.make, built.backbone, built.for_target(target, frames.size))
        for target in boxes.reshape(-1, 4)
    ]
    # Copies of the few numbers of each frame: outputs would keep their maps and device buffers alive.
    found: list[np.ndarray] = []
    scores: list[list[float]] = []
    lost: list[list[bool]] = []
    stopped = None
    began = 0.0
    running = stream(made, built.params, frames, boxes, key=jax.random.key(seed), live=frames.length is None)
    try:
        for index, (image, said) in enumerate(running):
            found.append(np.array([output.box for output in said]))
            scores.append([float(output.score) for output in said])
            lost.append([bool(output.lost) for output in said])
            if index == 1:  # the second frame waited for the compilation of `step`
                began = time.perf_counter()
            if on_frame is not None and on_frame(index, image, said):
                stopped = f"stopped on request after frame {index}"
                break
    except FrameError as error:
        stopped = str(error)
    finally:
        running.close()
    rest = len(found) - 2
    fps = rest / (time.perf_counter() - began) if rest > 0 else None
    shape = len(found), *boxes.shape[:-1]
    return Track(
        boxes=np.array(found).reshape(*shape, 4),
        scores=np.array(scores, np.float32).reshape(shape),
        lost=np.array(lost).reshape(shape),
        fps=fps,
        stopped=stopped,
        label=built.label() | {"seed": seed},
    )
