"""A sequence at a glance: a few of its frames with everybody's boxes, and the overlap over time."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from jtrack.benchmark import metrics
from jtrack.benchmark.report.sections import Place, Section
from jtrack.benchmark.results import FAILED, SKIPPED, Trajectory
from jtrack.data import Annotation, FrameSource
from jtrack.errors import JtrackError

EVEN, WORST = 5, 3  # frames shown: spread evenly, and those with the least overlap
QUALITY = 70  # of the JPEG files
LONGEST = 1000  # points of an overlap curve; longer sequences are averaged


class Film(NamedTuple):
    """F frames of a sequence."""

    annotation: Annotation
    size: tuple[int, int]  # (height, width) the boxes refer to
    corner: tuple[float, float]  # x, y of the top-left corner of what is shown
    frames: tuple[int, ...]  # their numbers, from 0
    worst: tuple[bool, ...]  # whether it was chosen for its little overlap
    images: tuple[bytes | None, ...]  # JPEG files; None without images

    @property
    def tags(self) -> str:
        """The attributes of the sequence."""
        return " ".join(self.annotation.attributes or self.annotation.events)


def overlaps_over_time(sections: Iterable[Section]) -> dict[Place, dict[tuple[str, str], np.ndarray]]:
    """`overlaps` of every sequence, by section and tracker: {place: {(section, tracker): [T]}}."""
    found: dict[Place, dict[tuple[str, str], np.ndarray]] = {}
    for section in sections:
        for name in section.sequences:
            truth = section.dataset.annotation(name).boxes
            curves = found.setdefault(section.place(name), {})
            for entry in section.entries:
                trials = entry.scored.results.trajectories.get(name)
                if trials and name in entry.scored.sequences:
                    curves[section.key, entry.name] = overlaps(trials, truth)
    return found


def overlaps(trials: Iterable[Trajectory], truth: np.ndarray) -> np.ndarray:
    """Overlap with the annotation [T, 4] in each of its frames, averaged over the trials that have it.

    Returns:
      [T] in [0, 1]; 0 where a tracker failed; NaN where it was not run, has no box or the target is absent.
    """
    total, count = np.zeros(len(truth)), np.zeros(len(truth))
    for trial in trials:
        rows = slice(trial.start, trial.start + len(trial.boxes))
        length = len(truth[rows])
        values = metrics.overlap(trial.boxes[:length], truth[rows])
        values[trial.status[:length] == FAILED] = 0
        values[(trial.status[:length] == SKIPPED) | ~present(truth[rows])] = np.nan
        known = np.isfinite(values)
        total[rows] += np.where(known, values, 0)
        count[rows] += known
    return np.divide(total, count, out=np.full(len(truth), np.nan), where=count > 0)


def present(truth: np.ndarray) -> np.ndarray:
    """Frames [T] bool in which an annotation [T, 4] has a box."""
    return np.isfinite(truth).all(axis=1) & (truth[:, 2:] > 0).all(axis=1)


def thinned(values: np.ndarray) -> tuple[np.ndarray, int]:
    """At most `LONGEST` values, each the mean of so many frames as is returned with them."""
    step = -(-len(values) // LONGEST)
    if step == 1:
        return values, 1
    rows = np.pad(values, (0, -len(values) % step), constant_values=np.nan).reshape(-1, step)
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    total = np.where(known, rows, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(rows), np.nan), where=count > 0), step


def choose(curves: Sequence[np.ndarray]) -> tuple[list[int], list[int]]:
    """Frames to show of a sequence, given everybody's overlaps [T]: evenly spread ones, and the worst.

    The worst are those with the lowest mean overlap, each a twelfth of the sequence from all others shown.
    """
    length = len(curves[0])
    even = sorted({round(frame) for frame in np.linspace(0, length - 1, EVEN)})
    known = np.isfinite(curves)
    total = np.where(known, curves, 0).sum(axis=0)
    mean = np.divide(total, known.sum(axis=0), out=np.full(length, np.inf), where=known.any(axis=0))
    worst: list[int] = []
    frames = np.arange(length)
    for _ in range(WORST):
        for frame in (*even, *worst):
            mean[np.abs(frames - frame) < max(1, length / 12)] = np.inf
        frame = int(np.argmin(mean))
        if not mean[frame] < 1:
            break
        worst.append(frame)
    return even, worst


def film(annotation: Annotation, curves: Sequence[np.ndarray], images: FrameSource | None, side: int) -> Film:
    """Makes the film of a sequence.

    Args:
      annotation: of the sequence.
      curves: overlaps [T] of each tracker, by which frames are chosen.
      images: its frames; None if there are none. What cannot be read is left out.
      side: the longer side of the pictures in pixels.
    """
    even, worst = choose(curves)
    frames = sorted([*even, *worst])
    size, corner = annotation.size or (images.size if images else None), (0.0, 0.0)
    if size is None:
        size, corner = _ground(annotation.boxes)
    read = reader(images, frames)
    return Film(
        annotation,
        size,
        corner,
        tuple(frames),
        tuple(frame in worst for frame in frames),
        tuple(_jpeg(read(frame), side) for frame in frames),
    )


def box_at(trials: Iterable[Trajectory], frame: int) -> np.ndarray | None:
    """The box [4] of the first trial that has one in a frame."""
    for trial in trials:
        row = frame - trial.start
        if 0 <= row < len(trial.boxes) and np.isfinite(trial.boxes[row]).all():
            return trial.boxes[row]
    return None


def picture_side(pictures: int, budget: int) -> int:
    """The longer side, in pixels, at which so many pictures take about so many bytes."""
    pixels = budget / max(1, pictures) / 0.17  # bytes a pixel at `QUALITY`, measured on OTB
    return int(np.clip(np.sqrt(pixels * 4 / 3), 96, 320))


def _ground(boxes: np.ndarray) -> tuple[tuple[int, int], tuple[float, float]]:
    """Size (height, width) and corner of the part of the image plane that a target visits, with a margin."""
    boxes = boxes[present(boxes)] if present(boxes).any() else np.array([[0.0, 0, 1, 1]])
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    margin = np.maximum(boxes[:, 2:].mean(axis=0), 0.1 * (high - low))
    low, high = np.maximum(np.floor(low - margin), np.minimum(0, low)), np.ceil(high + margin)
    width, height = high - low
    return (max(1, int(height)), max(1, int(width))), (float(low[0]), float(low[1]))


def reader(images: FrameSource | None, frames: list[int]) -> Callable[[int], np.ndarray | None]:
    """A function from a frame's number to its image; None where it cannot be read."""
    if images is None:
        return lambda frame: None
    pick = images.pick
    if pick is not None:

        def read(frame: int) -> np.ndarray | None:
            try:
                return pick(frame)
            except (JtrackError, IndexError):
                return None

        return read
    found = {}
    try:
        for index, image in enumerate(images):
            if index in frames:
                found[index] = image
            if index >= frames[-1]:
                break
    except JtrackError:
        pass  # a damaged video: those before are shown
    return found.get


def _jpeg(image: np.ndarray | None, side: int) -> bytes | None:
    if image is None:
        return None
    scale = min(1.0, side / max(image.shape[:2]))
    size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
