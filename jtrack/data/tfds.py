"""Sequences packed into array records by TensorFlow Datasets, without TensorFlow: the builder `jtrack_sot`.

    pack(open_dataset("otb", "data/otb"), "packed")
    source = tensorflow_datasets.builder("jtrack_sot", data_dir="packed").as_data_source(split="test")
    dataset = open_dataset("tfds", "packed")

A record is a sequence: its frames as image files (the very JPEG or PNG files they were read from, else PNG),
and everything of its annotation, to the last bit: numbers as bytes, since a record's own are float32.
Arrays with several sides of unknown length are not read back without TensorFlow and so kept flat: polygons as
corners and events as marks, one frame after the other.

A pack has one split, called as the list or split the dataset was opened with, or `test`.
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jtrack.data.dataset import Dataset
from jtrack.data.folder import decode_image
from jtrack.data.image_header import is_truncated
from jtrack.data.sequence import Annotation, FrameError, FrameSource, Sequence, check_size
from jtrack.data.text import LARGEST as LARGEST_TEXT
from jtrack.data.text import check_name
from jtrack.errors import JtrackError, missing_extra, unknown_name
from jtrack.untrusted import listed, reading, regular_file

try:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_builder import FileReaderBuilder
    from tensorflow_datasets.core.sequential_writer import SequentialWriter
except ImportError as error:
    raise missing_extra("a packed dataset", "tfds", error) from None

NAME, VERSION = "jtrack_sot", "1.1.0"
SHARD = 64  # sequences in a file
LARGEST = (1 << 31) - (1 << 24)  # bytes of frames: a record is one protocol buffer, which ends at 2 GiB


class JtrackSot(FileReaderBuilder):
    """Sequences for single object tracking, each with the box of its target in every frame.

    Args:
      dataset: what to pack; None to read what is packed in `data_dir`.
      progress: called with the name of each sequence once it is written.
      kwargs: of TensorFlow Datasets' builders: `data_dir`.
    """

    VERSION = tfds.core.Version(VERSION)

    def __init__(
        self,
        *,
        dataset: Dataset | None = None,
        progress: Callable[[str], None] = lambda _: None,
        file_format: str | None = "array_record",
        **kwargs: Any,
    ):
        self._dataset = dataset
        self._progress = progress
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> Any:
        scalar = tfds.features.Scalar
        features = tfds.features.FeaturesDict(
            {
                "name": tfds.features.Text(),
                "frames": tfds.features.Sequence(scalar(np.object_)),  # T image files
                "size": tfds.features.Tensor(shape=(2,), dtype=np.int32),  # height, width
                "fps": tfds.features.Tensor(
                    shape=(1,), dtype=np.float64, encoding="bytes"
                ),  # NaN where it is not known
                "boxes": tfds.features.Tensor(
                    shape=(None, 4), dtype=np.float64, encoding="bytes"
                ),  # [T or 1, 4] x, y, w, h
                "polygons": tfds.features.Tensor(
                    shape=(None, 2), dtype=np.float64, encoding="bytes"
                ),  # [T * P, 2]; or none
                "attributes": tfds.features.Sequence(tfds.features.Text()),
                "event_names": tfds.features.Sequence(tfds.features.Text()),  # E of them
                "events": tfds.features.Tensor(shape=(None,), dtype=np.bool_),  # [T * E]
                "category": tfds.features.Text(),  # of the target; empty where it is not known
            }
        )
        names = list(self._dataset.names) if self._dataset else []
        kind = self._dataset.kind if self._dataset else None
        metadata = tfds.core.MetadataDict(kind=kind, names=names)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Sequences for single object tracking, packed by jtrack: a record is a sequence.",
            features=features,
            metadata=metadata,
            disable_shuffling=True,
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        """Writes record after record: the usual way gathers a gigabyte first, and more needs TensorFlow."""
        del dl_manager, download_config
        if self._dataset is None:
            raise JtrackError(f"{self.data_dir} is not packed yet: jtrack pack")
        info = self._info()  # of the temporary folder that holds everything until it is whole
        writer = SequentialWriter(info, SHARD, file_format="array_record")
        split = _split(self._dataset)
        writer.initialize_splits([split])
        for name in self._dataset.names:
            writer.add_examples({split: [_record(self._dataset.sequence(name))]})
            self._progress(name)
        writer.close_all()
        self.info.set_splits(info.splits)

    def _log_download_bytes(self) -> None:
        """Says nothing: nothing is downloaded."""

    def _log_download_done(self) -> None:
        """Says nothing."""


def pack(
    dataset: Dataset,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Packs a dataset: one sequence at a time is in memory.

    A pack is there when it is whole. If the process is killed, a hidden folder stays in `out`, which can be
    removed.

    Args:
      dataset: from `open_dataset`.
      out: the folder to be; the pack goes into its `jtrack_sot/1.0.0`.
      overwrite: replace a pack that is there.
      progress: called with the name of each sequence once it is written.

    Returns:
      The folder of the pack.

    Raises:
      JtrackError: a pack that is there, without `overwrite`; a sequence that cannot be read, or is too large
        for a record; a folder that cannot be written.
    """
    out = Path(out)
    place = out / NAME / VERSION
    if place.exists() and not overwrite:
        raise JtrackError(f"{place} exists: give another folder, or --overwrite")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=f".{NAME}.") as temporary:
            builder = JtrackSot(dataset=dataset, data_dir=temporary, progress=progress)
            builder.download_and_prepare(download_dir=os.path.join(temporary, "downloads"))
            place.parent.mkdir(exist_ok=True)
            if place.exists():
                place.replace(Path(temporary) / "replaced")
            Path(builder.data_dir).replace(place)
    except (OSError, RuntimeError) as error:  # the second from the writer of records
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:200]
        raise JtrackError(f"cannot write the pack {place}: {reason}") from error
    return place


def dataset(root: Path, subset: str | None) -> Dataset:
    """Opens a pack.

    Args:
      root: the folder that was given to `pack`.
      subset: its split, if one is to be named.

    Raises:
      JtrackError: if there is no pack, or it cannot be read.
    """
    place = root / NAME / VERSION
    if not (place / "dataset_info.json").is_file():
        raise JtrackError(f"{root} holds no pack: expected {place}, as jtrack pack writes it")
    with _reading(place):
        for file in listed(place):
            regular_file(file, largest=LARGEST_TEXT if file.suffix == ".json" else None)
        builder = JtrackSot(data_dir=str(root))
        splits = list(builder.info.splits)
        if len(splits) != 1 or subset not in (None, *splits):
            raise unknown_name(f"split of {place}", str(subset), splits)
        source = builder.as_data_source(split=splits[0])
        names = tuple(check_name(_text(name), place) for name in builder.info.metadata["names"])
    if len(set(names)) != len(source):
        raise JtrackError(f"{place} is damaged: it names {len(names)} sequences but holds {len(source)}")
    numbers = {name: number for number, name in enumerate(names)}

    def sequence(name: str) -> Sequence:
        with _reading(f"{name} in {place}"):
            return _sequence(name, source[numbers[name]])

    def annotation(name: str) -> Annotation:
        whole = sequence(name)
        known = {field.name: getattr(whole, field.name) for field in dataclasses.fields(Annotation)}
        return Annotation(**known)

    return Dataset("tfds", root, subset, names, annotation, sequence)


def _reading(what: str | Path) -> AbstractContextManager[None]:
    return reading(f"the pack {what}", "pack it again")


def _text(name: Any) -> str:
    """A name of JSON, which may be anything there, even text that cannot be written."""
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is not a name")
    name.encode()
    return name


def _split(dataset: Dataset) -> str:
    return re.sub(r"\W", "_", dataset.subset or "test")


def _record(sequence: Sequence) -> dict[str, Any]:
    """A sequence as `JtrackSot` writes it."""
    frames, total = [], 0
    for data in _image_files(sequence.frames):
        frames.append(data)
        total += len(data)
        if total > LARGEST:
            raise JtrackError(
                f"{sequence.name} is too large to pack: its frames take more than {LARGEST} bytes"
            )
    polygons = sequence.polygons
    marks = [np.asarray(mark, bool) for mark in sequence.events.values()]
    return {
        "name": sequence.name,
        "frames": frames,
        "size": np.array(sequence.frames.size, np.int32),
        "fps": np.array([np.nan if sequence.frames.fps is None else sequence.frames.fps]),
        "boxes": sequence.boxes,
        "polygons": np.empty((0, 2)) if polygons is None else polygons.reshape(-1, 2),
        "attributes": list(sequence.attributes),
        "event_names": list(sequence.events),
        "events": np.stack(marks, axis=1).reshape(-1) if marks else np.empty(0, bool),
        "category": sequence.category,
    }


def _image_files(frames: FrameSource) -> Iterator[bytes]:
    """The frames as JPEG or PNG files: those they were read from, else new ones without loss."""
    if frames.encoded is None:
        yield from map(_png, frames)
        return
    for index, data in enumerate(frames.encoded()):
        if is_truncated(data):
            raise FrameError(f"frame {index} of {frames.name} is truncated ({len(data)} bytes)", index)
        kept = data.startswith((b"\xff\xd8\xff", b"\x89PNG"))
        yield data if kept else _png(decode_image(data, f"frame {index} of {frames.name}"))


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def _sequence(name: str, record: Mapping[str, Any]) -> Sequence:
    """A sequence from a record."""
    found = record["name"].decode() if isinstance(record["name"], bytes) else str(record["name"])
    if found != name:
        raise JtrackError(f"the record of {name} is one of {found[:60]!r}: pack it again")
    files = [bytes(data) for data in record["frames"]]
    boxes, corners, marks = record["boxes"], record["polygons"], record["events"]
    events = [str(event) for event in _texts(record["event_names"])]
    rows = len(boxes)
    if len(corners) % rows or len(marks) != rows * len(events) or rows not in (1, len(files)):
        raise JtrackError(f"the record of {name} is damaged: its parts do not belong together: pack it again")
    if np.isinf(corners).any() or np.isinf(boxes).any():
        raise JtrackError(f"the record of {name} is damaged: it has infinite numbers: pack it again")
    height, width = (int(side) for side in record["size"])
    fps = float(record["fps"][0])
    columns = marks.reshape(rows, len(events)).T
    decode = partial(_decode, name, files, (height, width))
    return Sequence(
        name,
        boxes,
        corners.reshape(rows, -1, 2) if len(corners) else None,
        tuple(_texts(record["attributes"])),
        dict(zip(events, columns, strict=True)),
        (height, width),
        _texts([record["category"]])[0],
        frames=FrameSource(
            name,
            (height, width),
            len(files),
            None if np.isnan(fps) else fps,
            lambda: map(decode, range(len(files))),
            pick=decode,
            encoded=lambda: iter(files),
        ),
    )


def _decode(name: str, files: list[bytes], size: tuple[int, int], index: int) -> np.ndarray:
    """One frame of a record."""
    what = f"frame {index} of {name}"
    try:
        image = decode_image(files[index], what)
    except JtrackError as error:
        raise FrameError(str(error), index) from error
    check_size(image, size, what, index)
    return image


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
