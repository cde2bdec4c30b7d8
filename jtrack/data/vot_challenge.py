"""Sequences in the layout of the Visual Object Tracking challenge (VOT), 2013 to the later short-term ones.

A sequence is a folder with images (beside the annotation, in `color/`, or where its file `sequence` says:
`channels.color=color/%08d.jpg`) and `groundtruth.txt`: one region a frame, a box, a polygon or a mask (see
`jtrack.data.regions`). VOT's coordinates are used as they stand; where a frame has no region, box and polygon
are NaN. Files such as `occlusion.tag` or `occlusion.label`, one 0 or 1 a frame, say what happens when.

A dataset is a folder of sequences, whose `list.txt`, if there is one, names them and gives their order; or a
folder of such datasets (`vot2013`, `vot2015`), of which the subset names one.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.data.dataset import Dataset
from jtrack.data.folder import folder_name, images_in, natural_key, open_images, read_image
from jtrack.data.regions import read_regions
from jtrack.data.sequence import Annotation, Sequence
from jtrack.data.text import check_name, read_names, read_rows, read_text
from jtrack.errors import JtrackError, unknown_name
from jtrack.untrusted import listed

CHANNELS = ("color", "ir", "depth")  # which a tracker is shown, in this order


def dataset(root: Path, subset: str | None) -> Dataset:
    """Opens a folder of sequences.

    Args:
      root: the folder, or one of several datasets.
      subset: the dataset's folder in it.

    Raises:
      JtrackError: a folder that is missing or has no sequence; a list that cannot be read.
    """
    folder = root if subset is None else root / check_name(subset, "--list")
    inside = [place.name for place in listed(root) if place.is_dir() and _sequences(place)]
    if not folder.is_dir():
        raise unknown_name(f"VOT dataset in {root}", str(subset), inside)
    names = tuple(sequences(folder))
    if not names:
        hint = f": name one of its datasets as the list: {', '.join(inside)}" if inside else ""
        raise JtrackError(f"{folder} holds no VOT sequence (NAME/groundtruth.txt){hint}")
    missing = frozenset(name for name in names if not (folder / name / "groundtruth.txt").is_file())

    def path(name: str) -> Path:
        return folder / check_name(name, folder)

    def annotation(name: str) -> Annotation:
        return load_annotation(path(name))

    return Dataset("vot", root, subset, names, annotation, lambda name: load(path(name)), missing)


def sequences(folder: str | Path) -> list[str]:
    """Names the sequences of a dataset: those of its `list.txt`, else those there are in alphabetical order.

    Raises:
      JtrackError: a missing folder; a list that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise JtrackError(f"there is no folder {folder}")
    if (folder / "list.txt").is_file():
        return list(read_names(folder / "list.txt"))
    return _sequences(folder)


def _sequences(folder: Path) -> list[str]:
    """The names in a folder of sequences."""
    return [path.name for path in listed(folder) if (path / "groundtruth.txt").exists()]


def load(folder: str | Path) -> Sequence:
    """Loads a sequence.

    Returns:
      The sequence: `polygons` [T, P, 2] float64 as annotated (boxes and masks as their four corners), `boxes`
      [T, 4] their axis-aligned bounding boxes, `events` what the tag files say.

    Raises:
      JtrackError: if the folder, its images or its annotation are missing or do not belong together.
    """
    found = _find(Path(folder))
    if not found.images:
        raise JtrackError(
            f"VOT sequence {folder} has no images, neither in it nor in {Path(folder) / 'color'}"
        )
    known = _annotation(found)
    frames = open_images(found.images, name=known.name, fps=found.fps)
    return Sequence(
        known.name, known.boxes, known.polygons, events=known.events, size=frames.size, frames=frames
    )


def load_annotation(folder: str | Path) -> Annotation:
    """Loads what `load` does but for the frames, of which the first is read for its size if there is one."""
    found = _find(Path(folder))
    return _annotation(found, read_image(found.images[0]).shape[:2] if found.images else None)


class _Found(NamedTuple):
    """A sequence on disk."""

    folder: Path
    truth: Path
    images: list[Path]
    fps: float | None


def _find(folder: Path) -> _Found:
    about = _properties(folder / "sequence") if (folder / "sequence").is_file() else {}
    truth = folder / _inside(about.get("groundtruth", "groundtruth.txt"), folder)
    if not truth.is_file():
        raise JtrackError(f"{folder} is not a VOT sequence: it has no {truth.name}")
    pattern = next((about[key] for name in CHANNELS if (key := f"channels.{name}") in about), None)
    if pattern is None:
        images = images_in(folder / "color") or images_in(folder)
    else:
        images = sorted(_matching(folder, _inside(pattern, folder)), key=natural_key)
    return _Found(folder, truth, images, _fps(about, folder / "sequence"))


def _annotation(found: _Found, size: tuple[int, ...] | None = None) -> Annotation:
    boxes, polygons, _ = read_regions(found.truth)
    if found.images and len(found.images) != len(boxes):
        raise JtrackError(
            f"VOT sequence {found.folder} has {len(found.images)} images but {len(boxes)} regions in "
            f"{found.truth.name}: they must be as many"
        )
    height_width = None if size is None else (size[0], size[1])
    return Annotation(
        folder_name(found.folder),
        boxes,
        polygons,
        events=read_events(found.folder, len(boxes)),
        size=height_width,
    )


def _properties(path: Path) -> dict[str, str]:
    """The file `sequence`: `key=value` lines."""
    pairs = [line.partition("=") for line in read_text(path).split("\n")]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _fps(about: dict[str, str], path: Path) -> float | None:
    if "fps" not in about:
        return None
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{0,9})?", about["fps"]) or not float(about["fps"]):
        raise JtrackError(f"{path} gives {about['fps'][:60]!r} as frames per second: give a positive number")
    return float(about["fps"])


def _inside(value: str, folder: Path) -> str:
    """A relative path of the file `sequence`, which must not leave its folder."""
    parts = re.split(r"[/\\]+", value.rstrip("/\\"))
    if value.startswith(("/", "\\")) or ":" in value or ".." in parts or "\0" in value:
        raise JtrackError(f"{folder / 'sequence'} points out of its folder: {value[:60]!r}")
    return "/".join(parts)


def _matching(folder: Path, pattern: str) -> list[Path]:
    """The images of a channel: `color/%08d.jpg`, or a folder alone."""
    place, _, name = pattern.rpartition("/")
    if "%" not in name:
        place, name = pattern, "%08d.jpg"
    text = re.sub(r"%(?:0?[0-9]+)?d", "\0", name)
    number = re.compile(r"[0-9]+".join(map(re.escape, text.split("\0"))))
    return [path for path in listed(folder / place) if number.fullmatch(path.name)]


def read_events(folder: Path, length: int) -> dict[str, np.ndarray]:
    """What the tag files of a folder say, by name, each [T] bool; the frames a file leaves out are False."""
    events = {}
    for path in sorted([*listed(folder, "*.tag"), *listed(folder, "*.label")]):
        marks = np.array([bool(row[0]) for _, row in read_rows(path)])[:length]
        events[path.stem] = np.pad(marks, (0, length - len(marks)))
    return events
