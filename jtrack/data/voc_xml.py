"""Boxes in the XML of PASCAL VOC, and the two layouts of folders that have it: VOC's and ILSVRC-DET's.

    VOC2007/Annotations/000005.xml              VOC2007/JPEGImages/000005.jpg
    VOC2007/ImageSets/Main/train.txt            the names of a split, one a line
    ILSVRC/Annotations/DET/train/.../NAME.xml   ILSVRC/Data/DET/train/.../NAME.JPEG

A box is that of the first and of the last pixel of an object, both included. VOC counts pixels from 1;
ILSVRC is taken to count from 0, of which its readme says nothing: `xmin` 1 to `xmax` 10 is x 0 and w 10 in
VOC, x 1 and w 10 in ILSVRC. VOC's own measure neither rewards nor punishes what finds an object marked
`difficult`: such a box is among the crowds here, which are neither objects nor background.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from jtrack.data.detection import DetectionDataset, Example, digest_of, images_of
from jtrack.data.folder import read_image
from jtrack.data.text import FARTHEST, check_name, read_lines
from jtrack.errors import JtrackError, unknown_name
from jtrack.untrusted import listed, read_file, reading, warn_left_out

LARGEST = 1 << 20  # bytes of a file: an object takes some 300
SIDES = ("xmin", "ymin", "xmax", "ymax")


def voc(root: Path, split: str) -> DetectionDataset:
    """The images of a split of VOC that have boxes; all of them, as `train`, where there are no splits.

    Args:
      root: the folder of `Annotations`, `JPEGImages` and `ImageSets`.
      split: "train", "val", "trainval".

    Raises:
      JtrackError: a folder or the split is not there, or no image of it has boxes.
    """
    annotations = root / "Annotations"
    if not annotations.is_dir():
        years = [path.name for path in listed(root) if (path / "Annotations").is_dir()]
        hint = f"it has {', '.join(years)}, of which one is to be named" if years else "expected VOC's layout"
        raise JtrackError(f"voc:{root} has no folder Annotations: {hint}")
    lists = {path.stem: path for path in listed(root / "ImageSets" / "Main", "*.txt")}
    if not lists and split == "train":
        return _annotated(f"voc:{root}", annotations, root / "JPEGImages", None, first=1)
    if split not in lists:  # aeroplane_train and the like are of one class
        raise unknown_name(f"split of voc:{root}", split, [name for name in lists if "_" not in name])
    names = {check_name(line.split()[0], lists[split]) for _, line in read_lines(lists[split])}
    return _annotated(f"voc:{root} [{split}]", annotations, root / "JPEGImages", names, first=1)


def ilsvrc(root: Path, split: str) -> DetectionDataset:
    """The images of a split of ILSVRC-DET that have a file of boxes; the negative ones have none.

    Args:
      root: the folder of `Annotations/DET` and `Data/DET`.
      split: "train" or "val".

    Raises:
      JtrackError: a folder or the split is not there, or no image of it has boxes.
    """
    parts = [path.name for path in listed(root / "Annotations" / "DET") if path.is_dir()]
    if not parts:
        raise JtrackError(f"ilsvrc:{root} has no folder Annotations/DET: expected ILSVRC-DET's layout")
    if split not in parts:
        raise unknown_name(f"split of ilsvrc:{root}", split, parts)
    annotations, images = (root / kind / "DET" / split for kind in ("Annotations", "Data"))
    return _annotated(f"ilsvrc:{root} [{split}]", annotations, images, None, first=0)


def read_boxes(path: Path, *, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of objects [n, 4] and of difficult ones [m, 4] of a file; x, y, w, h in pixels, 0-based.

    Boxes without area are left out, with a warning.

    Args:
      path: the file.
      first: the number of the first pixel.

    Raises:
      JtrackError: it is no such file, has a DOCTYPE, or a box is none of finite numbers.
    """
    data = read_file(path, largest=LARGEST)
    found: dict[bool, list[list[float]]] = {False: [], True: []}
    empty = []
    with reading(f"annotation {path}", "remove or replace it"):
        for number, thing in enumerate(_parsed(data).findall("object"), start=1):
            left, top, right, bottom = corners = [_number(thing, side, number) for side in SIDES]
            if right < left or bottom < top:
                said = ", ".join(f"{value:g}" for value in corners)
                empty.append(JtrackError(f"object {number} of {path} has no area: {', '.join(SIDES)} {said}"))
                continue
            box = [left - first, top - first, right - left + 1, bottom - top + 1]
            found[(thing.findtext("difficult") or "").strip() == "1"].append(box)
    warn_left_out(empty, path)
    objects, difficult = (np.array(boxes, np.float64).reshape(-1, 4) for boxes in found.values())
    return objects, difficult


class _Plain(ET.TreeBuilder):
    """Refuses a document's type, before any of it is read: entities that it declares grow without limit."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which no annotation needs")


def _parsed(data: bytes) -> ET.Element:
    parser = ET.XMLParser(target=_Plain())  # noqa: S314 - see `_Plain`
    parser.feed(data)
    tree = parser.close()
    if tree.tag != "annotation":
        raise ValueError("its first element is not <annotation>")
    return tree


def _number(thing: ET.Element, side: str, number: int) -> float:
    # Of the object itself: the parts of a person, head and hands, have boxes of their own.
    text = thing.findtext(f"bndbox/{side}")
    if text is None:
        raise ValueError(f"object {number} has no bndbox/{side}")
    value = float(text)
    if not abs(value) <= FARTHEST:
        raise ValueError(f"object {number} has {side} {value:g}")
    return value


def _annotated(
    name: str, annotations: Path, images: Path, names: set[str] | None, *, first: int
) -> DetectionDataset:
    """Images and files of the same names in two folders and below; those of `names` alone, if given."""
    found = {image.relative_to(images).with_suffix("").as_posix(): image for image in images_of(images)}
    pairs = [
        (image, file)
        for stem, image in found.items()
        if (names is None or stem in names) and (file := annotations / f"{stem}.xml").is_file()
    ]
    if not pairs:
        raise JtrackError(
            f"{name} has no image with boxes: {images} holds {len(found)} images, expected NAME.xml in "
            f"{annotations} for NAME.jpg"
        )

    def read(index: int) -> Example:
        image, file = pairs[index]
        boxes, difficult = read_boxes(file, first=first)
        return Example(read_image(image), boxes, difficult)

    known = (
        f"{image.relative_to(images)} {image.stat().st_size} {file.stat().st_size}" for image, file in pairs
    )
    return DetectionDataset(name, len(pairs), read, digest_of(known))
