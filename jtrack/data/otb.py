"""Sequences in the layout of the Object Tracking Benchmark (OTB), and its text format of boxes.

A sequence is a folder with the images in `img/` and one box a frame, `x,y,w,h` counted from 1, in
`groundtruth_rect.txt`, or `groundtruth_rect.1.txt`, `.2.txt` ... where several targets are annotated. Boxes
are counted from 0 everywhere else in jtrack. A dataset is a folder of such folders, or of annotations alone
as the toolkit keeps them: `anno/NAME.txt`, and `anno/att/NAME.txt` or `att/NAME.txt`.

An annotation keeps the numbers of its file. A frame with one that is not positive, or NaN, is a frame without
a target to the toolkit: the event "absent" marks them.

What the benchmark says besides (its lists, and of each sequence the range, the attributes and where no
segment of TRE may start) is data in `otb.toml`.
"""

import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtrack.data.dataset import Dataset
from jtrack.data.folder import folder_name, images_in, natural_key, open_images
from jtrack.data.sequence import Annotation, Sequence
from jtrack.data.text import check_name, read_rows
from jtrack.errors import JtrackError, unknown_name
from jtrack.untrusted import listed
from jtrack.whole import write_whole

# What makes a sequence hard, in the order of the benchmark's attribute files: illumination variation,
# out-of-plane rotation, scale variation, occlusion, deformation, motion blur, fast motion, in-plane rotation,
# out of view, background clutter, low resolution.
ATTRIBUTES = ("IV", "OPR", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OV", "BC", "LR")
ORIGIN = np.array([1.0, 1.0, 0.0, 0.0])  # the benchmark counts pixels from 1


@cache
def _data() -> dict[str, dict[str, Any]]:
    return tomllib.loads((resources.files("jtrack.data") / "otb.toml").read_text("utf-8"))


def lists() -> dict[str, tuple[str, ...]]:
    """The benchmark's lists of targets by name: cvpr13 (51, "OTB-2013"), tb50 and tb100 ("OTB-100")."""
    return {name: tuple(targets) for name, targets in _data()["lists"].items()}


def ranges() -> dict[str, tuple[int, int]]:
    """Numbers of the first and last image the benchmark runs on, of sequences where these are not all."""
    return {name: (first, last) for name, (first, last) in _data()["ranges"].items()}


def attributes(name: str) -> tuple[str, ...]:
    """What makes a sequence of the benchmark hard, of `ATTRIBUTES`; nothing for a name it does not have."""
    return tuple(_data()["attributes"].get(name, ()))


def omitted(name: str) -> list[tuple[int, int]]:
    """Where no segment of TRE may start, since the target is covered or out of view.

    The toolkit's files (`initOmit`) have numbers of images. Tiger1's first part, images 1 to 5, is before the
    range that is run on and so left out here.

    Args:
      name: of a sequence of the benchmark; any other omits nothing.

    Returns:
      First and last frame (inclusive, from 0, of the sequence as `load` cuts it) of each part.
    """
    first, last = ranges().get(name, (1, 10**9))
    parts = [(max(low, first), min(high, last)) for low, high in _data()["omitted"].get(name, ())]
    return [(low - first, high - first) for low, high in parts if low <= high]


def dataset(root: Path, subset: str | None) -> Dataset:
    """Opens a folder of sequences, or of annotations alone; then `sequence` says that there are no images.

    Args:
      root: the folder.
      subset: one of `lists()`; None for all there are.

    Raises:
      JtrackError: an unknown list, or a folder that holds no sequence.
    """
    if subset is not None and subset not in lists():
        raise unknown_name("list of OTB", subset, lists())
    found = sequences(root)
    bare = not found
    found = found or _bare_sequences(root)
    if not found:
        raise JtrackError(
            f"{root} holds no OTB sequence: expected {root / 'NAME' / 'groundtruth_rect.txt'} or "
            f"{root / 'anno' / 'NAME.txt'}"
        )
    names = tuple(found) if subset is None else lists()[subset]

    def sequence(name: str) -> Sequence:
        if bare:
            raise JtrackError(f"{root} holds the annotation of {name} alone, no images to run on")
        return load(root / check_name(name, root))

    def annotation(name: str) -> Annotation:
        check_name(name, root)
        return _load_bare(root, name) if bare else load_annotation(root / name)

    return Dataset("otb", root, subset, names, annotation, sequence, frozenset(names) - set(found))


def sequences(folder: str | Path) -> list[str]:
    """Lists the sequences under a folder by their names in the benchmark, in alphabetical order.

    A folder with several targets appears once a target: `Jogging-1`, `Jogging-2`. Each name can be given
    to `load` as `folder / name`.
    """
    folder = Path(folder)
    if not folder.exists():
        raise JtrackError(f"cannot open folder {folder}: there is none")
    children = [child for child in listed(folder) if child.is_dir()]
    return [_name(child.name, target) for child in children for target in _annotations(child)]


def load(folder: str | Path, *, target: int | None = None, attributes: str | Path | None = None) -> Sequence:
    """Loads one target of one sequence, frames matched to their annotation.

    Args:
      folder: the sequence's folder, or its name in the benchmark beside it (`.../Jogging-2`).
      target: which target (from 1) of a folder that has several.
      attributes: the benchmark's attribute file of the sequence (`anno/att/NAME.txt`), which is kept
        apart from its images; None for what the benchmark says of a sequence of this name.

    Returns:
      The sequence, `boxes` [T, 4] float64 with T the number of its frames. Sequences in `ranges()` are cut to
      the frames the benchmark runs on.

    Raises:
      JtrackError: if the folder, its images or its annotation are missing or do not belong together.
    """
    found = _find(Path(folder), target)
    images = _images(found)
    if not images:
        raise JtrackError(f"OTB sequence {found.folder} has no images in {found.folder / 'img'}")
    boxes = _matched(found, images)
    frames = open_images(images, name=found.name)
    marks = _attributes(found.name, None if attributes is None else Path(attributes))
    return Sequence(
        found.name, boxes, attributes=marks, events=_events(boxes), size=frames.size, frames=frames
    )


def load_annotation(folder: str | Path, *, target: int | None = None) -> Annotation:
    """Loads what `load` does but for the frames: images are counted, if there are any, but not read."""
    found = _find(Path(folder), target)
    images = _images(found)
    boxes = _matched(found, images) if images else _cut(found.name, read_boxes(found.truth), found.truth)
    return Annotation(found.name, boxes, attributes=_attributes(found.name, None), events=_events(boxes))


class _Found(NamedTuple):
    """A target of a sequence on disk."""

    name: str  # in the benchmark
    folder: Path
    truth: Path


def _find(folder: Path, target: int | None) -> _Found:
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
    return _Found(_name(folder_name(folder), target), folder, truth[target])


def _images(found: _Found) -> list[Path]:
    """The images the benchmark runs on, in order."""
    images = images_in(found.folder / "img")
    first, last = ranges().get(found.name, (0, None))
    return images if last is None else [path for path in images if first <= _number(path) <= last]


def _matched(found: _Found, images: list[Path]) -> np.ndarray:
    """The boxes of a sequence that has images: as many."""
    boxes = _cut(found.name, read_boxes(found.truth), found.truth)
    if len(images) != len(boxes):
        raise JtrackError(
            f"OTB sequence {found.folder} has {len(images)} images but {len(boxes)} boxes in "
            f"{found.truth.name}: they must be as many"
        )
    return boxes


def _cut(name: str, boxes: np.ndarray, path: Path) -> np.ndarray:
    """The boxes of the frames the benchmark runs on, of a file that has these alone or all from image 1."""
    if name not in ranges():
        return boxes
    first, last = ranges()[name]
    if len(boxes) == last - first + 1:
        return boxes
    if len(boxes) < last:
        raise JtrackError(
            f"{path} has {len(boxes)} boxes, but the benchmark runs on images {first} to {last} of {name}: "
            f"it should have {last - first + 1}, or all from image 1"
        )
    return boxes[first - 1 : last]


def _bare_sequences(root: Path) -> list[str]:
    """The names in a folder of annotations."""
    return [path.stem for path in listed(root / "anno", "*.txt")]


def _load_bare(root: Path, name: str) -> Annotation:
    """An annotation of the toolkit's folder `anno`."""
    path = root / "anno" / f"{name}.txt"
    places = [folder / "att" / f"{name}.txt" for folder in (root, root / "anno")]
    marks = _attributes(name, next((place for place in places if place.is_file()), None))
    boxes = _cut(name, read_boxes(path), path)
    return Annotation(name, boxes, attributes=marks, events=_events(boxes))


def absent(boxes: np.ndarray) -> np.ndarray:
    """[T] bool: where the toolkit takes the target of annotated boxes [T, 4], counted from 0, for absent.

    There one of the file's own numbers, which count from 1, is not positive, or NaN.
    """
    return ~(np.asarray(boxes) + ORIGIN > 0).all(axis=1)


def _events(boxes: np.ndarray) -> dict[str, np.ndarray]:
    marks = absent(boxes)
    return {"absent": marks} if marks.any() else {}


def _attributes(name: str, file: Path | None) -> tuple[str, ...]:
    return attributes(name) if file is None else read_attributes(file)


def read_boxes(path: str | Path) -> np.ndarray:
    """Reads boxes in OTB's text format: four numbers a line, separated by commas, tabs or spaces.

    Returns:
      [T, 4] float64 x, y, w, h counted from 0: 1 is subtracted from x and y. NaN stays NaN.

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
    rows = np.asarray(boxes, np.float64) + ORIGIN
    write_whole(Path(path), "".join(",".join(f"{value:.10g}" for value in row) + "\n" for row in rows))


def _annotations(folder: Path) -> dict[int, Path]:
    """Files of ground truth by target; 0 is the target of a folder that has only one."""
    found = {}
    for path in sorted(listed(folder, "groundtruth_rect*.txt"), key=natural_key):
        match = re.fullmatch(r"groundtruth_rect(?:\.([0-9]+))?\.txt", path.name)
        if match:
            found[int(match[1] or 0)] = path
    return found


def _name(folder: str, target: int) -> str:
    return f"{folder}-{target}" if target else folder


def _number(path: Path) -> int:
    digits = re.sub(r"[^0-9]", "", path.stem)
    return int(digits) if digits else -1
