"""Caffe's binary networks: just enough of the protocol-buffer wire format, every length checked.

Field numbers are those of Caffe's caffe.proto. A network lists its layers in field 100 (V2) or 2 (V1, in
which the even older V0 layer may be nested); blobs carry their shape as a BlobShape or as the four legacy
numbers num, channels, height, width.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jtrack.untrusted import reading, true_file

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 1 << 20  # of a network, three seconds: a packed blob of any size is one
_MOST_AXES = 8

Message = memoryview
Field = tuple[int, int, int | Message]  # number, wire type, value


class _Wire:
    """Takes messages apart, as long as their fields are not too many."""

    def __init__(self) -> None:
        self.fields_left = _MOST_FIELDS

    def fields(self, message: Message) -> Iterator[Field]:
        """The fields of one message; every length is held against what is there."""
        at = 0
        while at < len(message):
            self.fields_left -= 1
            if self.fields_left < 0:
                raise ValueError(f"it has more than {_MOST_FIELDS} fields: Caffe packs the values of a blob")
            tag, at = _varint(message, at)
            wire = tag & 7
            if wire == _VARINT:
                value, at = _varint(message, at)
                yield tag >> 3, wire, value
                continue
            if wire == _BYTES:
                length, at = _varint(message, at)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise ValueError(f"wire type {wire} at byte {at}")
            if length > len(message) - at:
                raise ValueError(f"a field of {length} bytes where {len(message) - at} are left")
            yield tag >> 3, wire, message[at : at + length]
            at += length


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads the parameters of a network.

    Args:
      path: a .caffemodel file.
      limit: the most bytes the file may have.

    Returns:
      {layer: {"kernel": [h, w, in, out] or [in, out], "bias": [out]}}; layers without parameters are left
      out, a third and further blobs are called "blob2", ...

    Raises:
      JtrackError: the file is not a network, truncated, or larger than `limit`.
    """
    true_file(path, largest=limit)
    with reading(f"the .caffemodel {path}", "fetch it again"):
        return _layers(memoryview(np.memmap(path, np.uint8, "r")))


def _layers(network: Message) -> dict[str, dict[str, np.ndarray]]:
    wire = _Wire()
    layers: dict[str, dict[str, np.ndarray]] = {}
    for number, kind, value in wire.fields(network):
        if number in (2, 100) and kind == _BYTES:
            name, blobs = _layer(wire, _message(value), v1=number == 2)
            if blobs and name in layers:
                raise ValueError(f"two layers are called {name!r}")
            if blobs:
                layers[name] = {_part(i): _inputs_before_outputs(blob) for i, blob in enumerate(blobs)}
    if not layers:
        raise ValueError("no layer in it has parameters")
    return layers


def _part(index: int) -> str:
    return ("kernel", "bias")[index] if index < 2 else f"blob{index}"


def _inputs_before_outputs(blob: np.ndarray) -> np.ndarray:
    return blob.transpose(2, 3, 1, 0) if blob.ndim == 4 else blob.T


def _layer(wire: _Wire, message: Message, *, v1: bool) -> tuple[str, list[np.ndarray]]:
    """A LayerParameter, V1LayerParameter or V0LayerParameter: its name and its blobs."""
    name_field, blobs_field = (4, 6) if v1 else (1, 7)
    name, blobs = "", []
    for number, kind, value in wire.fields(message):
        if kind != _BYTES:
            continue
        if number == name_field:
            name = str(_message(value), "utf-8")
        elif number == blobs_field:
            blobs.append(_blob(wire, _message(value)))
        elif v1 and number == 1:  # V0: name = 1, blobs = 50
            for number0, kind0, value0 in wire.fields(_message(value)):
                if (number0, kind0) == (1, _BYTES):
                    name = str(_message(value0), "utf-8")
                elif (number0, kind0) == (50, _BYTES):
                    blobs.append(_blob(wire, _message(value0)))
    return name, blobs


def _blob(wire: _Wire, message: Message) -> np.ndarray:
    """A BlobProto as an array of its own shape, legacy ones without their leading ones."""
    legacy = {1: 1, 2: 1, 3: 1, 4: 1}
    shape: tuple[int, ...] | None = None
    values: list[Message] = []  # packed, or one value a field
    dtypes: set[str] = set()
    for number, kind, value in wire.fields(message):
        if number in legacy and kind == _VARINT:
            assert isinstance(value, int)
            legacy[number] = value
        elif number in (5, 8):  # data, double_data
            values.append(_message(value))
            dtypes.add("<f4" if number == 5 else "<f8")
        elif number == 7 and kind == _BYTES:
            shape = tuple(itertools.islice(_dimensions(wire, _message(value)), _MOST_AXES + 1))
    if shape is None:
        shape = tuple(legacy.values())
        if shape[:2] == (1, 1):  # a dense layer is (1, 1, out, in), a bias (1, 1, 1, out)
            shape = shape[2:] if shape[2] > 1 else shape[3:]
    if len(shape) > _MOST_AXES:
        raise ValueError(f"a blob of more than {_MOST_AXES} axes")
    if len(dtypes) > 1:
        raise ValueError("a blob of both single and double precision")
    # What is in one piece stays where it lies, so that a network is not in memory twice.
    data = np.frombuffer(values[0] if len(values) == 1 else b"".join(values), *dtypes or ("<f4",))
    if math.prod(shape) != data.size:
        raise ValueError(f"a blob of shape {shape} has {data.size} values")
    return data.reshape(shape)


def _dimensions(wire: _Wire, message: Message) -> Iterator[int]:
    for number, kind, value in wire.fields(message):
        if number != 1:
            continue
        if kind == _VARINT:
            assert isinstance(value, int)
            yield value
        else:
            packed, at = _message(value), 0
            while at < len(packed):
                dimension, at = _varint(packed, at)
                yield dimension


def _message(value: int | Message) -> Message:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _varint(message: Message, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
