"""Short clips of targets to learn tracking from: of videos, and of still images set in motion.

Every clip is a function of (seed, step, place in the batch) alone: any step can be made again, by any number
of threads, and a training that was interrupted sees what it would have seen.
"""

import functools
import hashlib
import re
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from jtrack.data import detection
from jtrack.data.dataset import Dataset, open_dataset
from jtrack.data.sequence import Sequence as Video
from jtrack.data.stills import VERSION, Clip, animate
from jtrack.errors import JtrackError

VIDEOS = ("otb", "vot", "got", "synthetic")  # kinds whose sequences are clips themselves
SHARE_HELD = 0.05  # of images, or of videos, that are held out to judge by; one at least
MOST_HELD = 200
LONGEST_STEP = 3  # frames of a video from one of a clip to the next, at most
VIEW = (3.0, 7.0)  # sides of a frame over the target's, where it is cut out of a video's
TRIES = 100  # places in videos without a target, in a row
_TRAIN, _HELD = 1, 2  # what random numbers are for: the first of each key, never 0, which would not count


class Clips(NamedTuple):
    """Clips of one size."""

    pixels: np.ndarray  # [N, T, S, S, 3] uint8 RGB
    boxes: np.ndarray  # [N, T, 4] float32 x, y, w, h in pixels; NaN where the target is not to be seen


@dataclass(frozen=True)
class Stills:
    """Images that are set in motion (`data.stills`)."""

    data: detection.DetectionDataset
    indices: np.ndarray  # [n] those of its images that are used

    def draw(self, frames: int, side: int, rng: np.random.Generator) -> Clip:
        """A clip of so many frames of so many pixels a side."""
        first, *others = (self._read(rng) for _ in range(3))
        return animate(first, [other.image for other in others], frames=frames, side=side, rng=rng)

    def _read(self, rng: np.random.Generator) -> detection.Example:
        """An image; another where one cannot be read, which costs that one alone."""
        for _ in range(TRIES):
            index = int(rng.choice(self.indices))
            try:
                return self.data.read(index)
            except JtrackError as error:
                _warn_once(str(error))
        raise JtrackError(f"{TRIES} images in a row of {self.data.name} cannot be read: give others")


@dataclass(frozen=True)
class Videos:
    """Parts of annotated videos, around the target."""

    data: Dataset
    names: tuple[str, ...]  # those of its sequences that are used

    def draw(self, frames: int, side: int, rng: np.random.Generator) -> Clip:
        """As of `Stills`; a target may leave the frame."""
        for _ in range(TRIES):
            video = _opened(self.data, str(rng.choice(self.names)))
            seen = ~video.absent
            length = min(len(seen), video.frames.length or 0)
            step = min(int(rng.integers(1, LONGEST_STEP + 1)), max(1, (length - 1) // max(1, frames - 1)))
            last = length - step * (frames - 1)
            if last > 0 and seen[start := int(rng.integers(last))]:
                return _cut(video, start + step * np.arange(frames), side, rng)
        raise JtrackError(
            f"{TRIES} places in a row of {self.data.root} show no target in {frames} frames: give videos "
            "with longer annotation"
        )


@functools.lru_cache(maxsize=1024)
def _warn_once(message: str) -> None:
    warnings.warn(f"left out: {message}", stacklevel=2)


@functools.lru_cache(maxsize=64)
def _opened(data: Dataset, name: str) -> Video:
    return data.sequence(name)


def _cut(video: Video, rows: np.ndarray, side: int, rng: np.random.Generator) -> Clip:
    """Frames of a video around the target's place in the first of them."""
    boxes = np.where(video.absent[rows, None], np.nan, video.boxes[rows])
    extent = np.sqrt(boxes[0, 2:].prod()) * rng.uniform(*VIEW)
    low = boxes[0, :2] + boxes[0, 2:] / 2 - extent * rng.uniform(0.35, 0.65, 2)
    scale = side / extent
    warp = np.array(
        [[scale, 0, 0.5 * scale - 0.5 - scale * low[0]], [0, scale, 0.5 * scale - 0.5 - scale * low[1]]]
    )
    pick = video.frames.pick
    assert pick is not None
    blur = max(0.0, 0.4 / scale - 0.4)
    pixels = []
    for row in rows:
        image = pick(int(row))
        image = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.1 else image
        pixels.append(cv2.warpAffine(image, warp, (side, side), borderMode=cv2.BORDER_REPLICATE))
    boxes = np.concatenate([(boxes[:, :2] - low) * scale, boxes[:, 2:] * scale], axis=1)
    return Clip(np.stack(pixels), boxes)


@dataclass(frozen=True)
class Source:
    """Where clips come from: all stills together and each set of videos, drawn alike often."""

    parts: tuple[Stills | Videos, ...]
    name: str
    digest: str  # of what it consists of
    part: int = _TRAIN  # of the keys: those held out are other clips than those of training

    def clip(self, seed: int, step: int, slot: int, frames: int, side: int) -> Clip:
        """One clip: always the same for these numbers."""
        rng = np.random.default_rng([self.part, seed, step, slot])
        return self.parts[int(rng.integers(len(self.parts)))].draw(frames, side, rng)

    def batch(
        self, pool: ThreadPoolExecutor, seed: int, step: int, size: int, frames: int, side: int
    ) -> Clips:
        """The clips of a step."""
        clips = list(pool.map(lambda slot: self.clip(seed, step, slot, frames, side), range(size)))
        pixels, boxes = (np.stack(leaves) for leaves in zip(*clips, strict=True))
        return Clips(pixels, boxes.astype(np.float32))


def open_source(
    specs: Sequence[str], *, split: str = "train", root: str | Path | None = None
) -> tuple[Source, Source]:
    """Opens data and parts it into what is learnt from and what is held out.

    Args:
      specs: "KIND:WHERE" as `data.detection` has them, and `synthetic:`. Sequences (`VIDEOS`) are clips;
        images of the other kinds are set in motion.
      split: of a set that is parted, as `data.detection` has it.
      root: the folder of prepared sets.

    Returns:
      The source of training, and that of what is held out: other images, other videos.

    Raises:
      JtrackError: data that are not there, or too few.
    """
    stills, videos = [], []
    for spec in specs:
        kind, _, where = spec.partition(":")
        kind = kind.casefold()
        if kind == "synthetic" or (kind in VIDEOS and where):
            videos.append(open_dataset(kind, Path(where).expanduser()))
        else:
            stills.append(detection.open_detection(spec, split=split, root=root))
    learnt: list[Stills | Videos] = []
    held: list[Stills | Videos] = []
    digests = [str(VERSION), *(each.digest for each in stills)]
    if stills:
        data = detection.joined(stills)
        for into, indices in zip(
            (learnt, held), _parted(list(map(data.kin, range(data.length))), data.name), strict=True
        ):
            into.append(Stills(data, indices))
    for dataset in videos:
        _check_pickable(dataset)
        for into, indices in zip((learnt, held), _parted(_kin(dataset), str(dataset.root)), strict=True):
            into.append(Videos(dataset, tuple(dataset.names[index] for index in indices)))
        marks = [dataset.annotation(name) for name in dataset.names]
        digests += [repr((each.name, each.boxes.tobytes(), each.absent.tobytes())) for each in marks]
    name = " + ".join(specs)
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]
    return Source(tuple(learnt), name, digest), Source(tuple(held), name, digest, _HELD)


def _check_pickable(dataset: Dataset) -> None:
    """Refuses videos whose frames are not read by number."""
    if dataset.names and dataset.sequence(dataset.names[0]).frames.pick is None:
        raise JtrackError(f"videos of {dataset.root} are not kept as images, which alone are read by number")


def _kin(dataset: Dataset) -> list[str]:
    """What is equal of sequences that are of the same video, as OTB's `Jogging-1` and `Jogging-2`."""
    return [re.sub(r"-[0-9]+$", "", name) if dataset.kind == "otb" else name for name in dataset.names]


def _parted(kin: Sequence[Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers to learn from and those held out, evenly spread; what is of one video is not torn apart.

    Args:
      kin: of each image or video what is equal for those that resemble each other.
      name: of the data.
    """
    groups = list(dict.fromkeys(kin))
    if len(groups) < 2:
        raise JtrackError(f"{name} has {len(groups)} images or videos: two at least, one is held out")
    count = max(1, min(MOST_HELD, int(SHARE_HELD * len(groups))))
    out = {groups[index] for index in np.linspace(0, len(groups) - 1, count).astype(int)}
    is_out = np.array([each in out for each in kin])
    return np.flatnonzero(~is_out), np.flatnonzero(is_out)


def stream(
    source: Source, seed: int, batch: int, frames: int, side: int, *, start: int, stop: int, threads: int = 2
) -> Generator[tuple[int, Clips]]:
    """Batches: for each step in [start, stop) its number and its clips."""
    with ThreadPoolExecutor(threads, thread_name_prefix="jtrack-clips") as pool:
        for step in range(start, stop):
            yield step, source.batch(pool, seed, step, batch, frames, side)


def held_out(source: Source, count: int, frames: int, side: int) -> Clips:
    """So many clips to judge by: always the same."""
    with ThreadPoolExecutor(2) as pool:
        return source.batch(pool, 0, 0, count, frames, side)
