"""Many sequences at once, as lanes of one compiled step: for evaluation, on an accelerator above all."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jtrack import data, trackers
from jtrack.data import FrameSource
from jtrack.errors import JtrackError
from jtrack.run import engine
from jtrack.run.inputs import Source, check_boxes, open_frames
from jtrack.run.schedule import Job
from jtrack.run.stream import Track, build, make_tracker
from jtrack.trackers import BoundTracker


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

    A target that has ended makes room for the next at once. Sequences of nearly one size share what is
    compiled; pairs of one and the same source object (not only of one path) share its frames, too. Lanes are
    shared out over all local devices.

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
    opened: dict[int, FrameSource] = {}  # by the identity of the source
    groups: dict[tuple[int, int], list[Job]] = defaultdict(list)  # by canvas
    for index, (source, given) in enumerate(pairs):
        if id(source) not in opened:
            opened[id(source)] = open_frames(source)
        frames = opened[id(source)]
        box = check_boxes(given, frames.size, inside=False)
        if box.ndim != 1:
            raise JtrackError(
                f"sequence {index} has {len(box)} boxes: track_batch tracks one target in each sequence; "
                "repeat the pair with every box, or use track"
            )
        job = Job(frames, box, end=frames.length, seed=seed, name=index)
        groups[engine.canvas_for(frames.size)].append(job)

    params = jax.device_put(bound.params)
    label = bound.label() | {"seed": seed}
    tracks: dict[int, Track] = {}
    for canvas, jobs in groups.items():
        config = bound.for_lanes(
            np.stack([job.box for job in jobs]), np.array([job.frames.size for job in jobs])
        )
        made = make_tracker(bound.factory, bound.backbone, config)
        for done in engine.follow(made, params, _by_video(jobs), canvas, lanes=lanes):
            tracks[done.job.name] = Track(done.boxes, done.scores, done.lost, None, done.stopped, label)
    return [tracks[index] for index in range(len(pairs))]


def _by_video(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each video, the longest videos first: the last ones then fill the gaps."""
    videos: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        videos[id(job.frames)].append(job)
    return sorted(videos.values(), key=lambda jobs: -(jobs[0].frames.expected or 0))


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
