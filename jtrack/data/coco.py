"""Boxes in the JSON of COCO, of whatever size: read once, an element at a time, in little memory.

    coco/annotations/instances_train2017.json   coco/train2017/000000000009.jpg
    photos/annotations.json                     photos/a.jpg, or where `file_name` says

`bbox` is x, y, w, h in pixels, 0-based and continuous, as boxes are here. What is marked `iscrowd` are many
objects together. Of instances_train2017.json, 450 MB, all boxes of 118,000 images are kept, in 50 MB.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from jtrack.data.detection import DetectionDataset, Example, digest_of
from jtrack.data.folder import read_image
from jtrack.data.text import FARTHEST, check_name
from jtrack.errors import JtrackError, unknown_name
from jtrack.untrusted import listed, reading, true_file, warn_left_out

LARGEST = 1 << 33  # bytes of a file
MOST_IMAGES, MOST_BOXES = 1 << 21, 1 << 23
LONGEST_NAME = 255  # characters of `file_name`
_CHUNK, _LONGEST = 1 << 16, 1 << 22  # characters read at a time, and of one element
_PREFIX = "instances_"


def coco(where: Path, split: str) -> DetectionDataset:
    """The images of a file of COCO's instances that are in a folder.

    Args:
      where: the folder of `annotations/instances_SPLIT*.json`, or such a file itself.
      split: "train", or "train2017" where there are several; a file is taken whole.

    Raises:
      JtrackError: the file or the images are not there, the file is damaged, or there are no boxes in it.
    """
    if not where.is_dir() and split != "train":
        raise JtrackError(f"coco:{where} is one file, which has no split {split!r}: name the folder")
    path = _file(where, split) if where.is_dir() else where
    names, starts, boxes, crowd = _read(path)
    folder = _folder(path, names[0])

    def read(index: int) -> Example:
        mine = slice(starts[index], starts[index + 1])
        placed, many = boxes[mine], crowd[mine]
        return Example(read_image(folder / names[index]), placed[~many], placed[many])

    arrays = (hashlib.sha256(each.tobytes()).hexdigest() for each in (starts, boxes, crowd))
    return DetectionDataset(f"coco:{path}", len(names), read, digest_of([*names, *arrays]))


def _file(root: Path, split: str) -> Path:
    found = {
        path.stem.removeprefix(_PREFIX): path for path in listed(root / "annotations", f"{_PREFIX}*.json")
    }
    if not found:
        raise JtrackError(
            f"coco:{root} has no annotations/{_PREFIX}*.json: name the folder of annotations and images, or "
            "the file itself"
        )
    # Of `train` the year is known where there is but one.
    fits = [split] if split in found else [name for name in found if name.rstrip("0123456789") == split]
    if not fits:
        raise unknown_name(f"split of coco:{root}", split, found)
    if len(fits) > 1:
        raise JtrackError(f"coco:{root} has several of {split}: name one of {', '.join(fits)}")
    return found[fits[0]]


def _folder(path: Path, first: str) -> Path:
    """Where the images of a file are: the first place that has the first of them."""
    root, split = path.parent.parent, path.stem.removeprefix(_PREFIX)
    places = (root / split, root / "images" / split, root / "images", path.parent, root)
    for place in places:
        if (place / first).is_file():
            return place
    raise JtrackError(
        f"the images of {path} are not found: {first} is in none of {', '.join(map(str, places))}"
    )


def _read(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of images [n], where the boxes of each begin [n + 1], boxes [b, 4], and whether of crowds [b]."""
    images: dict[int, str] = {}
    owners, boxes, crowd = array("q"), array("d"), array("b")
    empty = 0
    with reading(f"annotations {path}", "fetch the file again"):
        true_file(path, largest=LARGEST)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for key, value in _elements(stream):
                if key == "images":
                    if (number := int(value["id"])) in images:
                        raise ValueError(f"image {number} is twice in it")
                    images[number] = _name(value, path)
                elif key == "annotations":
                    box = _box(value)
                    if min(box[2:]) <= 0:
                        empty += 1
                        continue
                    owners.append(int(value["image_id"]))
                    boxes.extend(box)
                    crowd.append(bool(value.get("iscrowd")))
                if len(images) > MOST_IMAGES or len(owners) > MOST_BOXES:
                    raise ValueError(f"it has more than {MOST_IMAGES} images or {MOST_BOXES} boxes")
        numbers, of = np.array(sorted(images), np.int64), np.array(owners, np.int64)
        if not len(numbers) or not len(of):
            raise ValueError("it has no images, or no annotations with an area")
        if not np.isin(of, numbers).all():
            raise ValueError("an annotation is of an image that is not in it")
    if empty:
        warn_left_out([JtrackError(f"{empty} annotations of {path} whose bbox has no area")], path)
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], numbers)
    return (
        [images[number] for number in numbers.tolist()],
        np.append(starts, len(of)),
        np.array(boxes).reshape(-1, 4)[order],
        np.array(crowd, bool)[order],
    )


def _box(annotation: dict[str, Any]) -> list[float]:
    box = [float(side) for side in annotation["bbox"]]
    if len(box) != 4 or not all(abs(side) <= FARTHEST for side in box):
        raise ValueError(f"annotation {annotation.get('id')} has the bbox {annotation['bbox']}")
    return box


def _name(image: dict[str, Any], path: Path) -> str:
    """A path of plain names: it stays within the folder of images."""
    name = image["file_name"]
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise ValueError(f"the file_name of an image is {name!r:.60}")
    for part in name.split("/"):
        check_name(part, path)
    return name


# --- JSON, an element at a time ---------------------------------------------------------------------------


def _elements(stream: TextIO) -> Iterator[tuple[str, Any]]:
    """Of the object that a JSON file is: its keys, each with its value, or with each element of its list.

    Raises:
      ValueError: it is no JSON, or an element takes more than `_LONGEST` characters.
    """
    text = _Text(stream)
    for _ in text.items("{", "}"):
        key = text.value()
        text.expect(":")
        if text.peek() != "[":
            yield key, text.value()
        else:
            for _ in text.items("[", "]"):
                yield key, text.value()
    if text.peek():
        raise ValueError("something follows its end")


class _Text:
    """JSON of which a window is held: what has been read leaves it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.at = stream, "", 0
        self.decoder = json.JSONDecoder()

    def items(self, first: str, last: str) -> Iterator[None]:
        """Stands before each element between two brackets in turn; the caller reads it."""
        self.expect(first)
        if self.peek() == last:
            self.expect(last)
            return
        yield
        while self.peek() == ",":
            self.expect(",")
            yield
        self.expect(last)

    def value(self) -> Any:
        """The value that stands here."""
        self.peek()
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError:
                if not self._grow():
                    raise
                continue
            if end < len(self.text) or not self._grow():  # else a number might go on
                self.at = end
                return found

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text) or not self._grow():
                return self.text[self.at : self.at + 1]

    def expect(self, mark: str) -> None:
        if (found := self.peek()) != mark:
            raise ValueError(f"it has {found!r} where {mark!r} is expected")
        self.at += 1

    def _grow(self) -> bool:
        """Reads on, twice as much each time, so that what is decoded again is little; False at the end."""
        kept = self.text[self.at :]
        if len(kept) > _LONGEST:
            raise ValueError(f"it is no JSON, or an element of it has more than {_LONGEST} characters")
        more = self.stream.read(max(_CHUNK, len(kept)))
        self.text, self.at = kept + more, 0
        return bool(more)
