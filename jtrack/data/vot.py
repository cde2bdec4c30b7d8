"""Sequences in the layout of the Visual Object Tracking challenge (VOT).

A sequence is a folder with images (beside the annotation or in `color/`) and `groundtruth.txt`: one region a
frame, eight numbers (the corners of a rotated rectangle; any polygon will do) or four (x, y, w, h). VOT's
coordinates are used as they stand. Files such as `occlusion.tag` or `occlusion.label`, one 0 or 1 a frame,
say what happens when.
"""

from pathlib import Path

import numpy as np

from jtrack.data.folder import is_image, natural_key, open_images
from jtrack.data.otb import read_rows
from jtrack.data.sequence import Sequence
from jtrack.errors import JtrackError


def sequences(folder: str | Path) -> list[str]:
    """Lists the sequences under a folder, in alphabetical order."""
    folder = Path(folder)
    if not folder.is_dir():
        raise JtrackError(f"there is no folder {folder}")
    return sorted(path.parent.name for path in folder.glob("*/groundtruth.txt"))


def load(folder: str | Path) -> Sequence:
    """Loads a sequence.

    Returns:
      The sequence: `polygons` [T, P, 2] float64 as annotated (rectangles as their four corners), `boxes`
      [T, 4] their axis-aligned bounding boxes, `events` what the tag files say.

    Raises:
      JtrackError: if the folder, its images or its annotation are missing or do not belong together.
    """
    folder = Path(folder)
    truth = folder / "groundtruth.txt"
    if not truth.is_file():
        raise JtrackError(f"{folder} is not a VOT sequence: it has no groundtruth.txt")
    polygons = read_polygons(truth)
    images = [path for path in (folder / "color").glob("*") if is_image(path)]
    images = images or [path for path in folder.glob("*") if is_image(path)]
    if not images:
        raise JtrackError(f"VOT sequence {folder} has no images, neither in it nor in {folder / 'color'}")
    if len(images) != len(polygons):
        raise JtrackError(
            f"VOT sequence {folder} has {len(images)} images but {len(polygons)} regions in groundtruth.txt:"
            " they must be as many"
        )
    name = folder.resolve().name
    frames = open_images(sorted(images, key=natural_key), name=name)
    return Sequence(
        name,
        bounding_boxes(polygons),
        polygons,
        events=_events(folder, len(images)),
        size=frames.size,
        frames=frames,
    )


def read_polygons(path: str | Path) -> np.ndarray:
    """Reads regions, one a line, all with as many numbers: 4 (x, y, w, h) or an even number of at least 6.

    Returns:
      [T, P, 2] float64 corners x, y.

    Raises:
      JtrackError: if the file cannot be read, or a line holds another kind of region.
    """
    rows = read_rows(path)
    length = len(rows[0][1])
    for number, row in rows:
        if len(row) != length or (length != 4 and (length < 6 or length % 2)):
            raise JtrackError(
                f"line {number} of {path} has {len(row)} numbers and the first {length}: all must have 4"
                " (x, y, w, h), or all the corners of a polygon (8 as a rule)"
            )
    values = np.array([row for _, row in rows])
    if length == 4:
        x, y, w, h = values.T
        values = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)
    return values.reshape(len(values), -1, 2)


def bounding_boxes(polygons: np.ndarray) -> np.ndarray:
    """Axis-aligned bounding boxes [..., 4] (x, y, w, h) of polygons [..., P, 2]."""
    corner = polygons.min(axis=-2)
    return np.concatenate([corner, polygons.max(axis=-2) - corner], axis=-1)


def _events(folder: Path, length: int) -> dict[str, np.ndarray]:
    """What the tag files say; the frames a file leaves out are 0."""
    events = {}
    for path in sorted([*folder.glob("*.tag"), *folder.glob("*.label")]):
        marks = np.array([bool(row[0]) for _, row in read_rows(path)])[:length]
        events[path.stem] = np.pad(marks, (0, length - len(marks)))
    return events
