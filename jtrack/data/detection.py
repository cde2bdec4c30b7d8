"""Images with boxes around objects: detection sets of any kind, read one image at a time by its number.

    data = open_detection("tfds:coco/2017")     # or voc/2007, or any prepared set with objects/bbox
    data = open_detection("voc:VOC2007")        # see `jtrack.data.voc_xml`
    data = open_detection("ilsvrc:ILSVRC")      # ILSVRC-DET
    data = open_detection("coco:coco")          # or coco:FILE.json, see `jtrack.data.coco`
    data = open_detection("folder:photos")      # photos/a.jpg with photos/a.txt beside it
    data = open_detection("got:data/got10k")    # frames of annotated sequences: otb, vot, got
    data = open_detection("scenes:2000")        # so many made-up scenes, see `jtrack.data.scenes`
    data = open_detection("images:photos")      # every image of a folder, without boxes
    picture = data.read(17)                 # picture.image, picture.boxes

A folder is searched with all below it. Beside an image NAME.jpg stands NAME.txt or NAME.csv with one line an
object, `x,y,w,h` in pixels **counted from 0**, x and y of the top-left corner: the layout of
`jtrack.data`'s folders, with lines for objects instead of frames. An empty file says that there is no object;
an image without a file is left out.

Sets of TensorFlow Datasets must have been prepared as array records; they are then read without TensorFlow.
"""

import bisect
import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.data.dataset import open_dataset
from jtrack.data.folder import decode_image, is_image, natural_key, read_image
from jtrack.data.text import parse_row, read_text
from jtrack.errors import JtrackError, missing_extra, unknown_name
from jtrack.untrusted import listed, reading, regular_file

SEQUENCES = ("otb", "vot", "got")  # kinds of `jtrack.data` whose frames are taken as images
PARTED = ("voc", "coco", "ilsvrc")  # kinds that people have as files, by splits
KINDS = ("tfds", *PARTED, "folder", "images", *SEQUENCES, "scenes")


class Example(NamedTuple):
    """An image and the objects in it."""

    image: np.ndarray  # [H, W, 3] uint8 RGB
    boxes: np.ndarray  # [n, 4] float64 x, y, w, h in pixels, 0-based; n may be 0
    # [m, 4] likewise, of many objects together or of difficult ones: neither an object nor background.
    crowds: np.ndarray = np.empty((0, 4))


@dataclass(frozen=True)
class DetectionDataset:
    """A set of images with boxes; nothing of it is held in memory."""

    name: str  # as the user gave it, with the version and split that were found
    length: int
    read: Callable[[int], Example]  # by number in [0, length); may be called from several threads
    digest: str  # of what the set consists of: a training goes on with the very data it began with
    kin: Callable[[int], int] = int  # equal for images that resemble each other, as frames of a video do


def open_detection(spec: str, *, split: str = "train", root: str | Path | None = None) -> DetectionDataset:
    """Opens a set of images with boxes.

    Args:
      spec: "KIND:WHERE", as above.
      split: of a set that is parted, as most of TensorFlow Datasets, VOC, COCO and ILSVRC are: "train",
        "train+val".
      root: the folder of prepared sets; by default TensorFlow Datasets' own, `TFDS_DATA_DIR` or
        ~/tensorflow_datasets.

    Raises:
      JtrackError: an unknown kind, a set that is not there, not prepared or needs TensorFlow, one without
        boxes.
    """
    kind, _, where = spec.partition(":")
    kind = kind.casefold()
    if kind not in KINDS or not where:
        known = (
            "tfds:voc/2007, tfds:coco/2017, voc:DIR, coco:DIR, ilsvrc:DIR, folder:DIR, images:DIR, otb:DIR, "
            "vot:DIR, got:DIR or scenes:COUNT"
        )
        raise JtrackError(f"data {spec!r} is not understood: give {known}")
    if kind == "tfds":
        return _tfds(where, split, root)
    if kind in PARTED:
        return _parted(kind, Path(where).expanduser(), split)
    if kind == "folder":
        return _folder(Path(where).expanduser())
    if kind == "images":
        return _images(Path(where).expanduser())
    if kind == "scenes":
        from jtrack.data import scenes

        return scenes.boxed(where)
    return _sequences(kind, Path(where).expanduser())


def joined(sets: Sequence[DetectionDataset]) -> DetectionDataset:
    """Several sets as one."""
    if len(sets) == 1:
        return sets[0]
    ends = list(itertools.accumulate(one.length for one in sets))

    def place(index: int) -> tuple[DetectionDataset, int]:
        which = bisect.bisect_right(ends, index)
        return sets[which], ends[which] - sets[which].length

    def read(index: int) -> Example:
        one, first = place(index)
        return one.read(index - first)

    def kin(index: int) -> int:
        one, first = place(index)
        return first + one.kin(index - first)

    digest = digest_of(one.digest for one in sets)
    return DetectionDataset(" + ".join(one.name for one in sets), ends[-1], read, digest, kin)


# --- TensorFlow Datasets ----------------------------------------------------------------------------------


def _tfds(name: str, split: str, root: str | Path | None) -> DetectionDataset:
    try:
        from tensorflow_datasets.core import constants, decode, read_only_builder
    except ImportError as error:
        raise missing_extra(f"reading tfds:{name}", "tfds", error) from None
    where = Path(constants.DATA_DIR if root is None else root).expanduser()
    place = _prepared(name, where)
    with reading(f"the prepared set {place}", f"prepare tfds:{name} again"):
        for file in listed(place):
            regular_file(file)
        builder = read_only_builder.builder_from_directory(str(place))
        features, splits = builder.info.features, builder.info.splits
        form = builder.info.file_format.value
    if form != "array_record":
        raise JtrackError(
            f"{place} is kept as {form}, which only TensorFlow reads: where that is installed, prepare it "
            f"with `tfds build {name} --file_format=array_record`"
        )
    objects = dict(features.items()).get("objects", {})
    if "image" not in features or "bbox" not in getattr(objects, "keys", dict)():
        raise JtrackError(
            f"tfds:{name} has no boxes: the features image and objects/bbox are needed, it has "
            f"{', '.join(sorted(features))}"
        )
    if unknown := [part for part in re.split(r"\+|\[[^]]*\]", split) if part and part.strip() not in splits]:
        raise unknown_name(f"split of tfds:{name}", unknown[0], splits)
    with reading(f"split {split!r} of {place}", f"prepare tfds:{name} again, or name another"):
        source = builder.as_data_source(split=split, decoders={"image": decode.SkipDecoding()})
        length = len(source)
    if not length:
        raise JtrackError(f"split {split!r} of {place} is empty: name another of {', '.join(splits)}")
    version = f"{place.parent.relative_to(where)}:{place.name}"
    identity = f"tfds:{version} [{split}]"

    def read(index: int) -> Example:
        what = f"record {index} of {identity}"
        with reading(what, "prepare the set again"):
            record = source[index]
            objects = record["objects"]
            boxes = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
            if not np.isfinite(boxes).all():
                raise ValueError("a box of it is not finite")
            crowds = np.asarray(objects.get("is_crowd", np.zeros(len(boxes))), bool)
            data = bytes(record["image"])
        image = decode_image(data, what)
        # Of unit height and width: ymin, xmin, ymax, xmax.
        low, high = (boxes[:, side] * image.shape[1::-1] for side in ((1, 0), (3, 2)))
        placed = np.concatenate([low, high - low], axis=1)
        return Example(image, placed[~crowds], placed[crowds])

    return DetectionDataset(identity, length, read, digest_of([identity, str(length)]))


def _prepared(name: str, root: Path) -> Path:
    """The folder of a prepared set, NAME[/CONFIG][:VERSION]: of its newest version where none is given."""
    path, _, wanted = name.partition(":")
    if not re.fullmatch(r"\w+(/[\w.-]+)?", path) or ".." in path:
        raise JtrackError(f"tfds:{name} is not the name of a set: give one such as tfds:voc/2007")
    folder = root / path
    configs = [one for one in listed(folder) if one.is_dir() and not _is_version(one.name)]
    if not _versions(folder) and len(configs) == 1 and "/" not in path:
        folder = configs[0]
    found = {one.name: one for one in _versions(folder)}
    if wanted and wanted in found:
        return found[wanted]
    if found and not wanted:
        return max(found.values(), key=lambda one: tuple(map(int, one.name.split("."))))
    has = f"has {', '.join(found or [one.name for one in configs])}" if found or configs else "does not exist"
    raise JtrackError(
        f"tfds:{name} is not prepared in {root}: {folder} {has}; preparing needs TensorFlow: where that is "
        f"installed, run `tfds build {path} --file_format=array_record`, and name the folder here"
    )


def _versions(folder: Path) -> list[Path]:
    return [one for one in listed(folder) if one.is_dir() and _is_version(one.name)]


def _is_version(name: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", name) is not None


# --- folders and sequences --------------------------------------------------------------------------------


def _parted(kind: str, where: Path, split: str) -> DetectionDataset:
    from jtrack.data.coco import coco
    from jtrack.data.voc_xml import ilsvrc, voc

    opener = {"voc": voc, "coco": coco, "ilsvrc": ilsvrc}[kind]
    return joined([opener(where, part) for part in dict.fromkeys(split.split("+"))])


def _images(root: Path) -> DetectionDataset:
    images = images_of(root)
    if not images:
        raise JtrackError(f"folder {root} holds no images: name one with photographs")
    known = (f"{path.relative_to(root)} {path.stat().st_size}" for path in images)
    nothing = np.empty((0, 4))
    return DetectionDataset(
        f"images:{root}",
        len(images),
        lambda index: Example(read_image(images[index]), nothing),
        digest_of(known),
    )


def images_of(root: Path) -> list[Path]:
    """The images of a folder and all below it."""
    if not root.is_dir():
        raise JtrackError(f"there is no folder {root} to read images from")
    return sorted((path for path in root.rglob("*") if is_image(path) and path.is_file()), key=natural_key)


def _folder(root: Path) -> DetectionDataset:
    images = images_of(root)
    pairs = [(path, boxes) for path in images if (boxes := _beside(path)) is not None]
    if not pairs:
        raise JtrackError(
            f"folder {root} holds {len(images)} images but no boxes: expected NAME.txt beside NAME.jpg, with "
            "a line x,y,w,h for each object"
        )

    def read(index: int) -> Example:
        path, boxes = pairs[index]
        return Example(read_image(path), _read_boxes(boxes))

    known = (
        f"{image.relative_to(root)} {image.stat().st_size} {hashlib.sha256(boxes.read_bytes()).hexdigest()}"
        for image, boxes in pairs
    )
    return DetectionDataset(f"folder:{root}", len(pairs), read, digest_of(known))


def _beside(image: Path) -> Path | None:
    """The file of an image's boxes."""
    names = (image.with_suffix(suffix) for suffix in (".txt", ".csv"))
    return next((path for path in names if path.is_file()), None)


def _read_boxes(path: Path) -> np.ndarray:
    """Lines x,y,w,h as an array [n, 4]."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_row(line.strip(), number, path)
        if len(row) != 4 or not np.isfinite(row).all() or min(row[2:]) <= 0:
            raise JtrackError(
                f"line {number} of {path} is no box: expected x,y,w,h, w and h above 0, found {line[:60]!r}"
            )
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, 4)


def _sequences(kind: str, root: Path) -> DetectionDataset:
    """The frames of annotated sequences, each with the one box that is known of it."""
    dataset = open_dataset(kind, root)
    marks = [dataset.annotation(name) for name in dataset.names]
    ends = list(itertools.accumulate(len(mark.boxes) for mark in marks))
    sequence = functools.lru_cache(maxsize=64)(dataset.sequence)

    def read(index: int) -> Example:
        which = bisect.bisect_right(ends, index)
        row = index - (ends[which] - len(marks[which].boxes))
        found = sequence(dataset.names[which])
        if found.frames.pick is None:
            raise JtrackError(f"{found.name} of {root} is not kept as images, which alone are read by number")
        if found.frames.length is not None and row >= found.frames.length:
            row = found.frames.length - 1
        seen = not found.absent[row]
        return Example(found.frames.pick(row), found.boxes[row : row + 1] if seen else np.empty((0, 4)))

    digest = digest_of(
        f"{name} {hashlib.sha256(mark.boxes.tobytes()).hexdigest()}"
        for name, mark in zip(dataset.names, marks, strict=True)
    )
    # Two targets of one video (`Jogging-1`, `Jogging-2`) are of the same images.
    videos = [re.sub(r"-[0-9]+$", "", name) if kind == "otb" else name for name in dataset.names]
    kin = [videos.index(video) for video in videos]
    return DetectionDataset(
        f"{kind}:{root}", ends[-1], read, digest, kin=lambda index: kin[bisect.bisect_right(ends, index)]
    )


def digest_of(parts: Iterable[str]) -> str:
    """The digest of a set: of the names and sizes of its files, or whatever else it consists of."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
