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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jtrack import data, devices, trackers
from jtrack.backbones import Backbone
from jtrack.data import FrameError
from jtrack.errors import JtrackError
from jtrack.run.inputs import Source, canvas_of, check_boxes, open_frames, to_frame
from jtrack.run.together import Together
from jtrack.trackers import BoundTracker
from jtrack.types import Frame, Key, Output, PyTree, Tracker

type OnFrame = Callable[[int, np.ndarray, list[Output]], bool | None]


@dataclass(frozen=True, eq=False)
class Track:
    """What was tracked: T frames of one target, or of N (then every array has a second axis N).

    Row 0 is the first frame: the given box, score 1, not lost.
    """

    boxes: np.ndarray  # [T, 4] or [T, N, 4] float32: x, y, w, h, 0-based
    scores: np.ndarray  # [T] or [T, N] float32 in [0, 1]
    lost: np.ndarray  # [T] or [T, N] bool
    # Frames per second of reading and tracking, without compilation and `on_frame`; None under three frames.
    fps: float | None = None
    stopped: str | None = None  # why tracking ended before the frames did
    label: dict[str, Any] = field(default_factory=dict)  # what identifies the result: profile, digest, ...

    def __repr__(self) -> str:
        targets = "" if self.boxes.ndim == 2 else f" of {self.boxes.shape[1]} targets"
        lost = int(self.lost.reshape(len(self.lost), -1).any(axis=1).sum())
        parts = [f"{len(self.boxes)} frames{targets}", f"lost in {lost}"]
        if {"tracker", "profile", "backbone"} <= self.label.keys():
            parts.append("{tracker} {profile} on {backbone}".format_map(self.label))
        if self.fps is not None:
            parts.append(f"{self.fps:.1f} frames a second")
        if self.stopped is not None:
            parts.append(f"stopped: {self.stopped}")
        return f"Track({', '.join(parts)})"


@functools.lru_cache(maxsize=32)
def make_tracker(make: Callable[[Backbone, Any], Tracker], backbone: Backbone, config: Any) -> Tracker:
    """The tracker of a configuration, the same object every time, as `executable` is kept by tracker."""
    return make(backbone, config)


def first_output(box: np.ndarray) -> Output:
    """The output of the first frame: the given box [4], with certainty."""
    certain: tuple[Any, ...] = box, np.float32(1), np.False_, {}
    return Output(*certain)


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
    each = [tracker] * len(targets) if isinstance(tracker, Tracker) else list(tracker)

    failure = None
    waiting: deque[tuple[np.ndarray, list[PyTree]]] = deque()
    together: Together | None = None
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
            if together is None:
                together = Together(each, params, key, frame, boxes)
                yield image, [first_output(box) for box in targets]
                continue
            waiting.append((image, together.step(frame)))
            if live or len(waiting) > 1:
                image, outputs = waiting.popleft()
                yield image, together.receive(outputs)
    for image, outputs in waiting:
        assert together is not None
        yield image, together.receive(outputs)
    if failure is not None:
        raise failure


def _send(frames: Iterable[np.ndarray]) -> Generator[tuple[np.ndarray, Frame]]:
    """Each image with its frame on the device, on the canvas of the first image."""
    canvas = None
    for image in frames:
        canvas = canvas or canvas_of((image.shape[0], image.shape[1]))
        yield image, to_frame(image, canvas)


def build(
    tracker: str | BoundTracker,
    *,
    profile: str,
    backbone: str | None,
    precision: str,
    weights: str | Path | None = None,
    changes: trackers.Changes | None = None,
) -> BoundTracker:
    """`trackers.create`, in a precision that this machine computes rightly; what is built stays as it is."""
    if isinstance(tracker, BoundTracker):
        return tracker
    if isinstance(tracker, Tracker):
        raise JtrackError(
            "a Tracker alone has no weights and numbers: give a tracker's name, or what "
            "jtrack.trackers.create built"
        )
    usable = devices.usable_precision(precision)
    return trackers.create(
        tracker, profile=profile, backbone=backbone, precision=usable, weights=weights, changes=changes
    )


def track(
    source: Source,
    box: np.ndarray | Sequence[float] | Sequence[Sequence[float]],
    *,
    tracker: str | BoundTracker = trackers.DEFAULT,
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
      source: a video file, an image folder, a pattern of images, a stream's address, a camera's index (see
        `jtrack.data.open_source`), a `FrameSource`, a `Sequence`, or uint8 RGB images [T, H, W, 3] (any
        iterable of [H, W, 3]).
      box: x, y, w, h of the target in the first frame, in pixels, 0-based; [N, 4] for N targets, which run in
        one vmapped step.
      tracker: one of `jtrack.trackers.names()`; or what `jtrack.trackers.create` returned, perhaps with other
        params or another config, and then the next four arguments are not looked at.
      profile: one of `jtrack.trackers.profiles(tracker)`.
      backbone: one of `jtrack.backbones.names()`; None for googlenet where its weights are found, else hog.
      precision: `"float32"`, `"tf32"` or `"bfloat16"`, of the network's forward passes; see
        `devices.usable_precision`.
      weights: a network trained for objectness, by name or path, as `trackers.create` takes it.
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

    Example:
      >>> import jtrack
      >>> from jtrack.data import synthetic
      >>> clip = synthetic.clip(frames=3, size=(96, 128))
      >>> track = jtrack.track(clip, clip.boxes[0], tracker="hcft", backbone="tiny")
      >>> track.boxes.shape, track.scores.shape
      ((3, 4), (3,))
    """
    frames = open_frames(source, start=start, end=end)
    boxes = check_boxes(box, frames.size, inside=True)
    bound = build(tracker, profile=profile, backbone=backbone, precision=precision, weights=weights)
    made = [
        make_tracker(bound.factory, bound.backbone, bound.for_target(target, frames.size))
        for target in boxes.reshape(-1, 4)
    ]
    # Copies of the few numbers of each frame: outputs would keep their maps and device buffers alive.
    found: list[np.ndarray] = []
    scores: list[list[float]] = []
    lost: list[list[bool]] = []
    stopped = None
    began = outside = 0.0  # seconds: when counting began, and what was spent in `on_frame` since
    running = stream(made, bound.params, frames, boxes, key=jax.random.key(seed), live=frames.live)
    try:
        for index, (image, outputs) in enumerate(running):
            found.append(np.array([output.box for output in outputs]))
            scores.append([float(output.score) for output in outputs])
            lost.append([bool(output.lost) for output in outputs])
            if index == 1:  # the second frame waited for the compilation of `step`
                began = time.perf_counter()
            called = time.perf_counter()
            if on_frame is not None and on_frame(index, image, outputs):
                stopped = f"stopped on request after frame {index}"
                break
            outside += time.perf_counter() - called if index else 0.0
    except FrameError as error:
        if not found:
            raise
        stopped = str(error)
    finally:
        running.close()
    if not found:
        raise JtrackError(f"{frames.name} has no frame from {start or 0} on: give a range that it has")
    rest = len(found) - 2
    fps = rest / (time.perf_counter() - began - outside) if rest > 0 else None
    shape = len(found), *boxes.shape[:-1]
    return Track(
        boxes=np.array(found).reshape(*shape, 4),
        scores=np.array(scores, np.float32).reshape(shape),
        lost=np.array(lost).reshape(shape),
        fps=fps,
        stopped=stopped,
        label=bound.label() | {"seed": seed},
    )
