"""Sequences in the layout of the Object Tracking Benchmark (OTB), and its text format of boxes.

A sequence is a folder with the images in `img/` and one box a frame, `x,y,w,h` counted from 1, in
`groundtruth_rect.txt`, or `groundtruth_rect.1.txt`, `.2.txt` ... where several targets are annotated. Boxes
are counted from 0 everywhere else in jtrack.
"""

import os
import re
from pathlib import Path

import numpy as np

from jtrack.data.folder import is_image, natural_key, open_images
from jtrack.data.sequence import Sequence
from jtrack.errors import JtrackError

# Numbers of the first and last image the benchmark runs on, where these are not all of a sequence.
RANGES = {
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
    "Tiger1": (6, 354),
}

# What makes a sequence hard, in the order of the benchmark's attribute files: illumination variation,
# out-of-plane rotation, scale variation, occlusion, deformation, motion blur, fast motion, in-plane rotation,
# out of view, background clutter, low resolution.
ATTRIBUTES = ("IV", "OPR", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OV", "BC", "LR")
ORIGIN = np.array([1.0, 1.0, 0.0, 0.0])  # the benchmark counts pixels from 1


def sequences(folder: str | Path) -> list[str]:
    """Lists the sequences under a folder by their names in the benchmark, in alphabetical order.

    A folder with several targets appears once a target: `Jogging-1`, `Jogging-2`. Each name can be given
    to `load` as `folder / name`.
    """
    folder = Path(folder)
    try:
        children = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError as error:
        raise JtrackError(f"cannot open folder {folder}: {error.strerror}") from error
    return [_name(child.name, target) for child in children for target in _annotations(child)]


def load(folder: str | Path, *, target: int | None = None, attributes: str | Path | None = None) -> Sequence:
    """Loads one target of one sequence, frames matched to their annotation.

    Args:
      folder: the sequence's folder, or its name in the benchmark beside it (`.../Jogging-2`).
      target: which target (from 1) of a folder that has several.
      attributes: the benchmark's attribute file of the sequence (`anno/att/NAME.txt`), which is kept
        apart from its images.

    Returns:
      The sequence, `boxes` [T, 4] float64 with T the number of its frames. Sequences in `RANGES` are cut to
      the frames the benchmark runs on.

    Raises:
      JtrackError: if the folder, its images or its annotation are missing or do not belong together.
    """
    folder = Path(folder)
    named = re.fullmatch(r"(.+)-([0-9]+)", folder.name)
    if target is None and named and not folder.exists():
        folder, target = folder.with_name(named[1]), int(named[2])
    truth = _annotations(folder)
    if not truth:
        raise JtrackError(f"{folder} is not an OTB sequence: it has no groundtruth_rect.txt")
    if target is None and len(truth) > 1:
        raise JtrackError(f"{folder} has the targets {', '.join(map(str, truth))}: give one as `target`")
    if target is not None and target not in truth:
        raise JtrackError(f"{folder} has no target {target}, only {', '.join(map(str, truth))}")
    target = next(iter(truth)) if target is None else target
    name = _name(folder.resolve().name, target)
    boxes = read_boxes(truth[target])

    images = sorted((folder / "img").glob("*"), key=natural_key)
    images = [path for path in images if is_image(path)]
    if folder.resolve().name in RANGES:
        first, last = RANGES[folder.resolve().name]
        images = [path for path in images if first <= _number(path) <= last]
        if len(boxes) != last - first + 1:  # then its first row belongs to image 1, not to image `first`
            boxes = boxes[first - 1 : last]
    if not images:
        raise JtrackError(f"OTB sequence {folder} has no images in {folder / 'img'}")
    if len(images) != len(boxes):
        raise JtrackError(
            f"OTB sequence {folder} has {len(images)} images but {len(boxes)} boxes in {truth[target].name}:"
            " they must be as many"
        )
    marks = () if attributes is None else read_attributes(attributes)
    frames = open_images(images, name=name)
    return Sequence(name, boxes, attributes=marks, size=frames.size, frames=frames)


def read_boxes(path: str | Path) -> np.ndarray:
    """Reads boxes in OTB's text format: four numbers a line, separated by commas, tabs or spaces.

    Returns:
      [T, 4] float64 x, y, w, h counted from 0: 1 is subtracted from x and y. Blank lines are skipped.

    Raises:
      JtrackError: if the file cannot be read, or a line does not hold four numbers.
    """
    rows = read_rows(path)
    for number, row in rows:
        if len(row) != 4:
            raise JtrackError(f"line {number} of {path} has {len(row)} numbers: a box is x, y, w, h")
    return np.array([row for _, row in rows]) - ORIGIN


def read_attributes(path: str | Path) -> tuple[str, ...]:
    """Reads an attribute file, eleven numbers 0 or 1, as those of `ATTRIBUTES` that hold.

    Raises:
      JtrackError: if the file cannot be read or does not hold eleven numbers.
    """
    marks = [mark for _, row in read_rows(path) for mark in row]
    if len(marks) != len(ATTRIBUTES):
        raise JtrackError(f"{path} has {len(marks)} numbers: an attribute file has {len(ATTRIBUTES)}")
    return tuple(name for name, mark in zip(ATTRIBUTES, marks, strict=True) if mark)


def write_boxes(path: str | Path, boxes: np.ndarray) -> None:
    """Writes boxes [T, 4] counted from 0 in OTB's text format (counted from 1), not rounded.

    The file appears whole or not at all, and replaces one of the same name.
    """
    path = Path(path)
    rows = np.asarray(boxes, np.float64) + ORIGIN
    part = path.with_name(path.name + ".part")
    part.write_text("".join(",".join(f"{value:.10g}" for value in row) + "\n" for row in rows))
    os.replace(part, path)


def read_rows(path: str | Path) -> list[tuple[int, list[float]]]:
    """Lines of numbers in a text file, each with its line number; blank lines are skipped.

    Raises:
      JtrackError: if the file cannot be read, has no numbers, or holds something else.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise JtrackError(f"cannot read boxes from {path}: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = re.split(r"[,;\s]+", line.strip().rstrip(",;"))
        try:
            if words != [""]:
                rows.append((number, [float(word) for word in words]))
        except ValueError as error:
            raise JtrackError(f"line {number} of {path} is not a line of numbers: {line[:60]!r}") from error
    if not rows:
        raise JtrackError(f"{path} holds no boxes")
    return rows


def _annotations(folder: Path) -> dict[int, Path]:
    """Files of ground truth by target; 0 is the target of a folder that has only one."""
    found = {}
    for path in sorted(folder.glob("groundtruth_rect*.txt"), key=natural_key):
        match = re.fullmatch(r"groundtruth_rect(?:\.([0-9]+))?\.txt", path.name)
        if match:
            found[int(match[1] or 0)] = path
    return found


def _name(folder: str, target: int) -> str:
    return f"{folder}-{target}" if target else folder


def _number(path: Path) -> int:
    digits = re.sub(r"[^0-9]", "", path.stem)
    return int(digits) if digits else -1
