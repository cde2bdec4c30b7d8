"""MatConvNet's networks: a reader of MATLAB's level 5 files, as far as nets need it, every length checked.

Kernels are stored [h, w, in, out] for RGB images, fully connected layers as convolutions over the whole map.
A layer keeps its arrays in `weights` (a cell of two) or, in older files, in `filters` and `biases`.
"""

import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.errors import JtrackError

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)  # mxDOUBLE_CLASS .. mxUINT64_CLASS
_MOST_AXES = 8
_DEEPEST = 8  # matrices within matrices


class _Damaged(Exception):
    pass


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads the parameters of a network.

    Args:
      path: a .mat file of level 5 (MATLAB's -v6 and -v7) with the variable `layers`.
      limit: the most bytes the file may have, and may unpack to.

    Returns:
      {layer: {"kernel": [h, w, in, out], "bias": [out]}}; layers without parameters are left out.

    Raises:
      JtrackError: the file is of another level, not a network, truncated, or larger than `limit`.
    """
    size = os.path.getsize(path)
    if size > limit:
        raise JtrackError(f"{path} is refused: it has {size} bytes, this net can need {limit} at most")
    with path.open("rb") as stream:
        header = stream.read(128)
    if b"MATLAB 7.3" in header or header.startswith(b"\x89HDF"):
        raise JtrackError(
            f"{path} is a MATLAB 7.3 file, which is not read: save it in MATLAB with the option -v7"
        )
    layers: dict[str, dict[str, np.ndarray]] = {}
    try:
        if len(header) < 128 or header[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
            raise _Damaged("it has no MATLAB header")
        order = "<" if header[126:128] == b"IM" else ">"
        for layer in _net_layers(memoryview(np.memmap(path, np.uint8, "r"))[128:], order, limit):
            arrays = _parameters(layer)
            if arrays:
                name = layer.get("name")
                if not isinstance(name, str) or name in layers:
                    raise _Damaged(f"a layer with parameters is called {name!r}")
                layers[name] = arrays
    except _Damaged as problem:
        raise JtrackError(
            f"{path} is not a readable MatConvNet file (truncated or damaged?): {problem}"
        ) from None
    return layers


def _net_layers(data: memoryview, order: str, limit: int) -> list[dict[str, Any]]:
    for kind, element in _elements(data, order):
        if kind == _COMPRESSED:
            name, value = _variable(_inflated(element, limit), order)
        else:
            name, value = _matrix(element, order, 0) if kind == _MATRIX else ("", None)
        if name == "layers" and isinstance(value, list):
            return [layer for layer in value if isinstance(layer, dict)]
    raise _Damaged("it has no variable `layers` that is a cell of layers")


def _variable(data: memoryview, order: str) -> tuple[str, Any]:
    return _matrix(_next(_elements(data, order), _MATRIX), order, 0)


def _inflated(element: memoryview, limit: int) -> memoryview:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(element, limit)
    except zlib.error as error:
        raise _Damaged(str(error)) from None
    if not inflater.eof:
        raise _Damaged(f"a variable that ends early or unpacks to more than {limit} bytes")
    return memoryview(data)


def _parameters(layer: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = layer["weights"] if "weights" in layer else [layer.get("filters"), layer.get("biases")]
    if not isinstance(arrays, list):
        return {}
    parts = {
        part: array for part, array in zip(("kernel", "bias"), arrays, strict=False) if _is_filled(array)
    }
    if "kernel" in parts:  # MATLAB drops the ones at the end of a shape
        shape = parts["kernel"].shape
        parts["kernel"] = parts["kernel"].reshape(shape + (1,) * (4 - len(shape)), order="F")
    if "bias" in parts:
        parts["bias"] = parts["bias"].reshape(-1)
    return parts


def _is_filled(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.size > 0


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The data elements that follow each other: (type, bytes)."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise _Damaged("it ends within a tag")
        kind, length = (int(word) for word in np.frombuffer(data[at : at + 8], f"{order}u4"))
        start = at + 8
        if kind >> 16:  # the small form: the length and up to four bytes share the tag
            kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
            if length > 4:
                raise _Damaged(f"a small element of {length} bytes")
        if length > len(data) - start:
            raise _Damaged(f"an element of {length} bytes where {len(data) - start} are left")
        yield kind, data[start : start + length]
        end = start + length
        at = end if kind == _COMPRESSED else end + -end % 8


def _matrix(data: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """A matrix as (name, value): an array, str, list (a cell), dict or list of dicts (a struct), or None."""
    if depth > _DEEPEST:
        raise _Damaged(f"matrices within matrices, more than {_DEEPEST} deep")
    parts = _elements(data, order)
    flags = _integers(parts, _UINT32, order)
    shape = _integers(parts, _INT32, order)
    name = bytes(_next(parts, _INT8)).decode("latin-1")
    if not flags or any(side < 0 for side in shape):
        raise _Damaged(f"a matrix of shape {tuple(shape)}")
    kind, complex_numbers = flags[0] & 0xFF, flags[0] & 0x800
    if kind in _NUMERIC and not complex_numbers:
        return name, _numbers(parts, shape, order)
    if kind == _CHAR:
        return name, _text(_numbers(parts, shape, order))
    if kind == _CELL:
        return name, [_matrix(element, order, depth + 1)[1] for element in _only_matrices(parts)]
    if kind == _STRUCT:
        width = _integers(parts, _INT32, order)
        if len(width) != 1 or width[0] < 1:
            raise _Damaged("a struct without a field length")
        text = bytes(_next(parts, _INT8))
        fields = [
            text[i : i + width[0]].split(b"\0")[0].decode("latin-1") for i in range(0, len(text), width[0])
        ]
        values = [_matrix(element, order, depth + 1)[1] for element in _only_matrices(parts)]
        if not fields:
            return name, None
        structs = [
            dict(zip(fields, values[i : i + len(fields)], strict=False))
            for i in range(0, len(values), len(fields))
        ]
        return name, structs[0] if len(structs) == 1 else structs
    return name, None  # objects, functions, sparse and complex matrices: nothing a net needs


def _text(codes: np.ndarray) -> str:
    if codes.dtype.kind not in "iu" or not np.all((codes >= 0) & (codes < 0x110000)):
        raise _Damaged("a text of other things than characters")
    return "".join(map(chr, codes.reshape(-1, order="F").tolist()))


def _only_matrices(parts: Iterator[tuple[int, memoryview]]) -> Iterator[memoryview]:
    for kind, element in parts:
        if kind == _MATRIX:
            yield element


def _next(parts: Iterator[tuple[int, memoryview]], wanted: int) -> memoryview:
    kind, element = next(parts, (0, memoryview(b"")))
    if kind != wanted:
        raise _Damaged(f"an element of type {kind} where type {wanted} belongs")
    return element


def _integers(parts: Iterator[tuple[int, memoryview]], wanted: int, order: str) -> list[int]:
    element = _next(parts, wanted)
    if len(element) % 4:
        raise _Damaged("a list of numbers with a broken end")
    return np.frombuffer(element, order + _NUMBERS[wanted]).tolist()


def _numbers(parts: Iterator[tuple[int, memoryview]], shape: list[int], order: str) -> np.ndarray:
    kind, element = next(parts, (0, memoryview(b"")))
    if kind == 16:  # UTF-8, of which only names made of ASCII matter here
        kind = 2
    if kind == 17:  # UTF-16
        kind = 4
    if kind not in _NUMBERS:
        raise _Damaged(f"numbers of the unknown type {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if math.prod(shape) * dtype.itemsize != len(element):
        raise _Damaged(f"a matrix of shape {tuple(shape)} with {len(element)} bytes of {dtype}")
    if len(shape) > _MOST_AXES:
        raise _Damaged(f"a matrix of {len(shape)} axes")
    return np.frombuffer(element, dtype).reshape(shape, order="F")
