"""Folders of images and videos of one's own, each with a file of boxes.

A sequence is a folder of images (in it, or in its `img/` or `color/`) or a video. Its boxes are in
`groundtruth.txt` or `groundtruth.csv` inside the folder, or beside the folder or video under its name:
`walk/` or `walk.mp4` with `walk.txt` or `walk.csv`. A dataset is a folder of such sequences, or one sequence.

The file has one line a frame, `x,y,w,h` in pixels, **counted from 0**, x and y of the top-left corner; or the
corners of a polygon, `x1,y1,x2,y2,...` (see `jtrack.data.regions`). NaN says that the target is absent. A
single line is the box of the first frame: enough to run, not to score. The file may begin with a line of
names, of which x, y, w and h are read: `jtrack track` writes such files (.csv), to be put right by hand.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.data import otb
from jtrack.data.dataset import Dataset
from jtrack.data.decode import count_frames
from jtrack.data.folder import folder_name, image_folder, natural_key, open_folder
from jtrack.data.regions import read_regions
from jtrack.data.sequence import Annotation, FrameSource, Sequence
from jtrack.data.text import check_name, parse_row, read_lines
from jtrack.data.video import SUFFIXES, open_video
from jtrack.errors import JtrackError
from jtrack.untrusted import MEMORY, listed, regular_file

TRUTH = ("groundtruth.txt", "groundtruth.csv")
OTB_NAME = "groundtruth_rect"  # how the names of OTB's files of boxes begin
COLUMNS = ("x", "y", "w", "h")


class _Found(NamedTuple):
    """A sequence on disk."""

    source: Path  # a folder of images, or a video
    truth: Path


def dataset(root: Path, subset: str | None) -> Dataset:
    """Opens a folder of sequences, or a single one.

    Args:
      root: the folder, or a video.
      subset: None, for there are no lists.

    Raises:
      JtrackError: if there is no sequence with boxes, or two have the same name.
    """
    if subset is not None:
        raise JtrackError(
            f"a folder of one's own has no list {subset!r}: name sequences instead (--sequences)"
        )
    alone = _find(root)
    found = {_name(root): alone} if alone else _sequences(root)
    if not found:
        raise JtrackError(
            f"{root} holds no images or videos with boxes: expected NAME/ with {TRUTH[0]} in it, or NAME/ or "
            "NAME.mp4 with NAME.txt or NAME.csv beside it"
        )

    def annotation(name: str) -> Annotation:
        return _annotation(name, found[name].truth)

    def sequence(name: str) -> Sequence:
        return _load(name, found[name])

    return Dataset("folder", root, None, tuple(found), annotation, sequence)


def load(path: str | Path) -> Sequence:
    """Loads one sequence: a folder of images or a video, its boxes in it or beside it.

    Returns:
      The sequence: `boxes` [T, 4] with T the number of frames, or 1; `polygons` if the file has polygons.

    Raises:
      JtrackError: if frames or boxes are missing, cannot be read, or are not as many.
    """
    path = Path(path)
    found = _find(path)
    if found is None:
        raise JtrackError(
            f"{path} has no boxes: neither {TRUTH[0]} in it nor {_name(path)}.txt or .csv beside it"
        )
    return _load(_name(path), found)


def _load(name: str, found: _Found) -> Sequence:
    known = _annotation(name, found.truth)
    frames = _frames(found.source)
    if frames.length is None and frames.declared != len(known.boxes):
        # What a video declares is an estimate: before its boxes are refused for it, the frames are counted.
        frames = replace(frames, length=count_frames(found.source))
    if len(known.boxes) != 1 and frames.length not in (None, len(known.boxes)):
        raise JtrackError(
            f"{found.source} has {frames.length} frames but {found.truth} has {len(known.boxes)} boxes: they "
            "must be as many, or one box"
        )
    return Sequence(name, known.boxes, known.polygons, size=frames.size, frames=frames)


def _frames(source: Path) -> FrameSource:
    if not source.is_dir():
        return open_video(source)
    return open_folder(source)


def _annotation(name: str, truth: Path) -> Annotation:
    lines = read_lines(truth)
    header = [word.strip().lower() for word in lines[0][1].split(",")] if lines else []
    if set(COLUMNS) <= set(header):
        if len(set(header)) < len(header):
            raise JtrackError(f"{truth} has two columns of one name: {lines[0][1][:60]!r}")
        return Annotation(name, _read_table(truth, header, lines[1:]))
    boxes, polygons, polygonal = read_regions(truth)
    return Annotation(name, boxes, polygons if polygonal else None)


def _read_table(path: Path, header: list[str], lines: list[tuple[int, str]]) -> np.ndarray:
    """Boxes of a table with a line of names, as `jtrack track` writes it for one target."""
    rows = []
    for number, line in lines:
        row = parse_row(line, number, path)
        if len(row) != len(header):
            raise JtrackError(f"line {number} of {path} has {len(row)} values for {len(header)} columns")
        rows.append(row)
    table = dict(zip(header, np.array(rows).T, strict=True)) if rows else {}
    if not table:
        raise JtrackError(f"{path} holds no boxes")
    if "target" in table and len(targets := np.unique(table["target"])) > 1:
        raise JtrackError(f"{path} holds the boxes of {len(targets)} targets: give each a file of its own")
    return np.stack([table[column] for column in COLUMNS], axis=1)


def _sequences(root: Path) -> dict[str, _Found]:
    """The sequences in a folder, by their names in natural order."""
    found: dict[str, _Found] = {}
    for path in sorted(listed(root), key=natural_key):
        if (one := _find(path)) is None:
            continue
        name = check_name(_name(path), root)
        if name in found:
            raise JtrackError(
                f"{root} has two sequences {name}, {found[name].source.name} and {path.name}: rename one"
            )
        found[name] = one
    return found


def _find(path: Path) -> _Found | None:
    """A folder of images or a video, with its boxes; None if either is not there."""
    if path.is_dir():
        if image_folder(path) is None:
            return None
        if listed(path, f"{OTB_NAME}*.txt"):
            raise JtrackError(
                f"{path} is in OTB's layout, whose boxes count from 1: open it as otb (--dataset otb)"
            )
        inside = [path / name for name in TRUTH]
    elif path.suffix.lower() in SUFFIXES:
        inside = []
    else:
        return None
    beside = [path.absolute().with_name(_name(path) + suffix) for suffix in (".txt", ".csv")]
    truth = next((file for file in (*inside, *beside) if file.is_file()), None)
    return None if truth is None else _Found(path, truth)


def _name(path: Path) -> str:
    return folder_name(path) if path.is_dir() else path.stem


def initial_box(path: str | Path, frame: int = 0) -> np.ndarray:
    """Reads the box to start from in a file of boxes, by the convention of its name.

    OTB's `groundtruth_rect.txt` counts pixels from 1, and where the benchmark runs on a part of the images,
    its rows begin with that part. Every other file counts from 0, and its first row belongs to frame 0.

    Args:
      path: a file of one box or more, as this module or OTB has them.
      frame: 0-based index of the frame; a file of a single box is taken for any.

    Returns:
      [4] x, y, w, h in pixels, counted from 0.

    Raises:
      JtrackError: the file cannot be read, or has no box for the frame.
    """
    path = regular_file(path, largest=MEMORY)
    if path.name.startswith(OTB_NAME):
        boxes = otb.read_boxes(path)
        first, last = otb.ranges().get(folder_name(path.parent), (1, 0))
        skipped = first - 1 if len(boxes) == last - first + 1 else 0
    else:
        boxes, skipped = _annotation(path.stem, path).boxes, 0
    row = 0 if len(boxes) == 1 and not skipped else frame - skipped
    if not 0 <= row < len(boxes):
        raise JtrackError(
            f"{path} has no box for frame {frame}, only for {skipped} to {skipped + len(boxes) - 1}: start "
            "at one of these (--start)"
        )
    if not np.isfinite(boxes[row]).all():
        raise JtrackError(
            f"{path} says that the target is absent in frame {frame}: start at another (--start)"
        )
    return boxes[row]
