"""Sequences in the layout of GOT-10k: Huang, Zhao and Huang, "GOT-10k" (PAMI 2019).

A split is a folder (`train`, `val`, `test`) with `list.txt` and a folder a sequence: images `00000001.jpg`
..., `groundtruth.txt` with one box a frame (`x,y,w,h`, used as they stand), `meta_info.ini`, and one number a
frame in `absence.label`, `cut_by_image.label` and `cover.label` (how much of the target is to be seen, from 0
to 8). The test split has the box of the first frame only.

The labels become events: "absence" and "cut_by_image" as they are, and "visible" where the cover is not 0:
the frames the benchmark's own evaluation counts. The `object_class` of `meta_info.ini` is the category.
"""

import configparser
import re
from pathlib import Path

import numpy as np

from jtrack.data.dataset import Dataset
from jtrack.data.folder import folder_name, images_in, open_images
from jtrack.data.sequence import Annotation, Sequence
from jtrack.data.text import check_name, read_names, read_rows, read_text
from jtrack.errors import JtrackError, unknown_name

SPLITS = ("train", "val", "test")


def dataset(root: Path, subset: str | None) -> Dataset:
    """Opens a split.

    Args:
      root: the folder of the splits, or of one.
      subset: which; None if `root` is a split itself or has only one.

    Raises:
      JtrackError: an unknown split, or one whose `list.txt` is missing or cannot be read.
    """
    if subset not in (None, *SPLITS):
        raise unknown_name("split of GOT-10k", str(subset), SPLITS)
    folder = _split(root, subset)
    names = read_names(folder / "list.txt")
    missing = frozenset(name for name in names if not (folder / name / "groundtruth.txt").is_file())

    def path(name: str) -> Path:
        return folder / check_name(name, folder)

    def annotation(name: str) -> Annotation:
        return load_annotation(path(name))

    return Dataset("got", root, subset, names, annotation, lambda name: load(path(name)), missing)


def _split(root: Path, subset: str | None) -> Path:
    """The folder of a split."""
    here = [name for name in SPLITS if (root / name / "list.txt").is_file()]
    if subset in here:
        return root / str(subset)
    if (root / "list.txt").is_file() and subset in (None, folder_name(root)):
        return root
    if subset is None and len(here) == 1:
        return root / here[0]
    if subset is None and here:
        raise JtrackError(f"{root} has the splits {', '.join(here)}: name one (--list val)")
    raise JtrackError(f"{root} is not GOT-10k: it has no {Path(subset or 'val') / 'list.txt'}")


def load(folder: str | Path) -> Sequence:
    """Loads a sequence.

    Returns:
      The sequence: `boxes` [T, 4], or [1, 4] where only the first is given; `events` as said above.

    Raises:
      JtrackError: if the folder, its images or its annotation are missing or do not belong together.
    """
    folder = Path(folder)
    images = images_in(folder)
    if not images:
        raise JtrackError(f"GOT-10k sequence {folder} has no images")
    known = load_annotation(folder)
    if len(known.boxes) not in (1, len(images)):
        raise JtrackError(
            f"GOT-10k sequence {folder} has {len(images)} images but {len(known.boxes)} boxes in "
            "groundtruth.txt: they must be as many, or one"
        )
    frames = open_images(images, name=known.name, fps=_fps(folder))
    return Sequence(
        known.name,
        known.boxes,
        events=known.events,
        size=frames.size,
        category=known.category,
        frames=frames,
    )


def load_annotation(folder: str | Path) -> Annotation:
    """Loads what `load` does but for the images, which are not looked at."""
    folder = Path(folder)
    truth = folder / "groundtruth.txt"
    if not truth.is_file():
        raise JtrackError(f"{folder} is not a GOT-10k sequence: it has no groundtruth.txt")
    rows = read_rows(truth)
    for number, row in rows:
        if len(row) != 4:
            raise JtrackError(f"line {number} of {truth} has {len(row)} numbers: a box is x, y, w, h")
    boxes = np.array([row for _, row in rows])
    about = _about(folder)
    size = re.fullmatch(r"\(\s*([0-9]{1,6}),\s*([0-9]{1,6})\s*\)", about.get("resolution", ""))
    height_width = (int(size[2]), int(size[1])) if size else None
    return Annotation(
        folder_name(folder),
        boxes,
        events=_events(folder, len(boxes)),
        size=height_width,
        category=about.get("object_class", ""),
    )


def _events(folder: Path, length: int) -> dict[str, np.ndarray]:
    events = {}
    for label, event in (("absence", "absence"), ("cut_by_image", "cut_by_image"), ("cover", "visible")):
        path = folder / f"{label}.label"
        if length > 1 and path.is_file():
            marks = np.array([row[0] > 0 for _, row in read_rows(path)])
            if len(marks) != length:
                raise JtrackError(f"{path} has {len(marks)} lines for {length} boxes: they must be as many")
            events[event] = marks
    return events


def _about(folder: Path) -> dict[str, str]:
    """What `meta_info.ini` says, if it is there."""
    reader = configparser.ConfigParser(interpolation=None, delimiters=(":",), strict=False)
    path = folder / "meta_info.ini"
    if path.exists():
        try:
            reader.read_string(read_text(path))
        except configparser.Error as error:
            raise JtrackError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    return {key: value for section in reader.sections() for key, value in reader[section].items()}


def _fps(folder: Path) -> float | None:
    """Frames per second: `anno_fps: 10Hz`."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)?", _about(folder).get("anno_fps", ""))
    return float(match[0]) if match else None
