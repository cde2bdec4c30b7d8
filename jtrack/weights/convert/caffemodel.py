"""Caffe's binary networks: just enough of the protocol-buffer wire format, every length checked.

Field numbers are those of Caffe's caffe.proto. A network lists its layers in field 100 (V2) or 2 (V1, in
which the even older V0 layer may be nested); blobs carry their shape as a BlobShape or as the four legacy
numbers num, channels, height, width.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jtrack.errors import JtrackError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Message = memoryview
Field = tuple[int, int, int | Message]  # number, wire type, value


class _Damaged(Exception):
    pass


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
    size = os.path.getsize(path)
    if size > limit:
        raise JtrackError(f"{path} is refused: it has {size} bytes, this net can need {limit} at most")
    layers: dict[str, dict[str, np.ndarray]] = {}
    try:
        if not size:
            raise _Damaged("the file is empty")
        for number, wire, value in _fields(memoryview(np.memmap(path, np.uint8, "r"))):
            if number in (2, 100) and wire == _BYTES:
                name, blobs = _layer(_message(value), v1=number == 2)
                if blobs and name in layers:
                    raise _Damaged(f"two layers are called {name!r}")
                if blobs:
                    layers[name] = {_part(i): _inputs_before_outputs(blob) for i, blob in enumerate(blobs)}
        if not layers:
            raise _Damaged("no layer in it has parameters")
    except _Damaged as problem:
        raise JtrackError(
            f"{path} is not a readable .caffemodel (truncated or damaged?): {problem}"
        ) from None
    return layers


def _part(index: int) -> str:
    return ("kernel", "bias")[index] if index < 2 else f"blob{index}"


def _inputs_before_outputs(blob: np.ndarray) -> np.ndarray:
    return blob.transpose(2, 3, 1, 0) if blob.ndim == 4 else blob.T


def _layer(message: Message, *, v1: bool) -> tuple[str, list[np.ndarray]]:
    """A LayerParameter, V1LayerParameter or V0LayerParameter: its name and its blobs."""
    name_field, blobs_field = (4, 6) if v1 else (1, 7)
    name, blobs = "", []
    for number, wire, value in _fields(message):
        if wire != _BYTES:
            continue
        if number == name_field:
            name = _text(_message(value))
        elif number == blobs_field:
            blobs.append(_blob(_message(value)))
        elif v1 and number == 1:  # V0: name = 1, blobs = 50
            for number0, wire0, value0 in _fields(_message(value)):
                if (number0, wire0) == (1, _BYTES):
                    name = _text(_message(value0))
                elif (number0, wire0) == (50, _BYTES):
                    blobs.append(_blob(_message(value0)))
    return name, blobs


def _blob(message: Message) -> np.ndarray:
    """A BlobProto as an array of its own shape, legacy ones without their leading ones."""
    legacy = {1: 1, 2: 1, 3: 1, 4: 1}
    shape: tuple[int, ...] | None = None
    chunks: list[np.ndarray] = []
    for number, wire, value in _fields(message):
        if number in legacy and wire == _VARINT:
            assert isinstance(value, int)
            legacy[number] = value
        elif number in (5, 8):  # data, double_data: packed, or one value a field
            chunks.append(_floats(_message(value), "<f4" if number == 5 else "<f8"))
        elif number == 7 and wire == _BYTES:
            shape = tuple(_dimensions(_message(value)))
    if shape is None:
        shape = tuple(legacy.values())
        if shape[:2] == (1, 1):  # a dense layer is (1, 1, out, in), a bias (1, 1, 1, out)
            shape = shape[2:] if shape[2] > 1 else shape[3:]
    if len(shape) > 8:
        raise _Damaged(f"a blob of {len(shape)} axes")
    data = np.concatenate(chunks) if len(chunks) > 1 else chunks[0] if chunks else np.empty(0, np.float32)
    if math.prod(shape) != data.size:
        raise _Damaged(f"a blob of shape {shape} has {data.size} values")
    return data.reshape(shape)


def _floats(data: Message, dtype: str) -> np.ndarray:
    if len(data) % np.dtype(dtype).itemsize:
        raise _Damaged(f"{len(data)} bytes of values")
    return np.frombuffer(data, dtype)


def _dimensions(message: Message) -> Iterator[int]:
    for number, wire, value in _fields(message):
        if number != 1:
            continue
        if wire == _VARINT:
            assert isinstance(value, int)
            yield value
        else:
            packed, at = _message(value), 0
            while at < len(packed):
                dimension, at = _varint(packed, at)
                yield dimension


def _text(message: Message) -> str:
    try:
        return str(message, "utf-8")
    except UnicodeDecodeError:
        raise _Damaged("a layer's name is not text") from None


def _message(value: int | Message) -> Message:
    if isinstance(value, int):
        raise _Damaged("a number where a message belongs")
    return value


def _fields(message: Message) -> Iterator[Field]:
    """The fields of one message; every length is held against what is there."""
    at = 0
    while at < len(message):
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
            raise _Damaged(f"wire type {wire} at byte {at}")
        if length > len(message) - at:
            raise _Damaged(f"a field of {length} bytes where {len(message) - at} are left")
        yield tag >> 3, wire, message[at : at + length]
        at += length


def _varint(message: Message, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _Damaged("it ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Damaged("a number of more than ten bytes")
