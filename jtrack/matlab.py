"""MATLAB's files: a reader of level 5 (-v6, -v7), every length checked, and of 7.3 (HDF5) by h5py.

What a variable becomes: an array, a str, a list (a cell), a dict (a struct) or a list of dicts (an array of
structs); None for what has no such form (objects, functions, sparse and complex matrices). Nothing in a file
is executed, and nothing larger than the given limit is made.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.errors import missing_extra
from jtrack.hdf5 import array_bytes
from jtrack.untrusted import reason

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)  # mxDOUBLE_CLASS .. mxUINT64_CLASS
_MOST_AXES = 8
_DEEPEST = 8  # matrices within matrices
_MOST_ITEMS = 1 << 16  # matrices in all, some seconds: references of HDF5 may name one again and again
_MOST_FIELDS = 1 << 10  # of a struct
_PIECE = 1 << 15  # packed bytes, which unpack to a thousand times as many at most
_LONGEST_TEXT = 1 << 20  # bytes of a text or a name


class Damaged(Exception):
    """The file is truncated, damaged or no MATLAB file; the reason."""


def is_hdf5(path: Path) -> bool:
    """Whether a file is of version 7.3 (or any HDF5 file)."""
    with path.open("rb") as stream:
        header = stream.read(128)
    return b"MATLAB 7.3" in header or header.startswith(b"\x89HDF")


def variables(path: Path, limit: int) -> Iterator[tuple[str, Any]]:
    """Reads the variables of a level 5 file one after the other, none before it is asked for.

    Args:
      path: the file.
      limit: the most bytes a packed variable may unpack to; others are read where they lie.

    Yields:
      (name, value) of each variable.

    Raises:
      Damaged: if it is anything else than such a file from its first to its last byte.
    """
    with path.open("rb") as stream:
        header = stream.read(128)
    if len(header) < 128 or header[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise Damaged("it has no MATLAB header")
    order = "<" if header[126:128] == b"IM" else ">"
    reader = _Level5(order, limit)
    for kind, element in _elements(memoryview(np.memmap(path, np.uint8, "r"))[128:], order):
        if kind == _COMPRESSED:
            yield reader.matrix(_next(_elements(reader.inflated(element), order), _MATRIX), 0)
        elif kind == _MATRIX:
            yield reader.matrix(element, 0)
        else:
            raise Damaged(f"an element of type {kind} where a variable belongs")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The data elements that follow each other: (type, bytes)."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise Damaged("it ends within a tag")
        kind, length = (int(word) for word in np.frombuffer(data[at : at + 8], f"{order}u4"))
        start = at + 8
        if kind >> 16:  # the small form: the length and up to four bytes share the tag
            kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
            if length > 4:
                raise Damaged(f"a small element of {length} bytes")
        if length > len(data) - start:
            raise Damaged(f"an element of {length} bytes where {len(data) - start} are left")
        yield kind, data[start : start + length]
        end = start + length
        at = end if kind == _COMPRESSED else end + -end % 8


class _Level5:
    """Turns elements into values as long as there is room for them."""

    def __init__(self, order: str, limit: int):
        self.order, self.limit, self.bytes_left, self.items_left = order, limit, limit, _MOST_ITEMS

    def inflated(self, element: memoryview) -> memoryview:
        inflater, data = zlib.decompressobj(), bytearray()
        for at in range(0, len(element), _PIECE):  # all at once would be in memory twice
            try:
                piece = inflater.decompress(element[at : at + _PIECE])
            except zlib.error as error:
                raise Damaged(str(error)) from None
            self.bytes_left -= len(piece)
            if self.bytes_left < 0:
                raise Damaged(f"its variables unpack to more than {self.limit} bytes")
            data += piece
        if not inflater.eof:
            raise Damaged("a variable ends early")
        return memoryview(data)

    def matrix(self, data: memoryview, depth: int) -> tuple[str, Any]:
        """A matrix as (name, value), which is what the module's head says, or None."""
        self.items_left -= 1
        if depth > _DEEPEST or self.items_left < 0:
            raise Damaged(f"matrices within matrices, more than {_DEEPEST} deep or {_MOST_ITEMS} in all")
        parts = _elements(data, self.order)
        flags = _integers(parts, _UINT32, self.order)
        shape = _integers(parts, _INT32, self.order)
        name = _latin(_next(parts, _INT8))
        if not flags or any(side < 0 for side in shape):
            raise Damaged(f"a matrix of shape {tuple(shape)}")
        kind, complex_numbers = flags[0] & 0xFF, flags[0] & 0x800
        if kind in _NUMERIC and not complex_numbers:
            return name, _numbers(parts, shape, self.order)
        if kind == _CHAR:
            return name, _text(_numbers(parts, shape, self.order))
        if kind == _CELL:
            return name, self._within(parts, depth)
        if kind == _STRUCT:
            return name, self._struct(parts, depth)
        return name, None  # objects, functions, sparse and complex matrices: left out

    def _within(self, parts: Iterator[tuple[int, memoryview]], depth: int) -> list[Any]:
        values = []
        for kind, element in parts:
            if kind != _MATRIX:
                raise Damaged(f"an element of type {kind} within a matrix")
            values.append(self.matrix(element, depth + 1)[1])
        return values

    def _struct(self, parts: Iterator[tuple[int, memoryview]], depth: int) -> Any:
        width = _integers(parts, _INT32, self.order)
        if len(width) != 1 or width[0] < 1:
            raise Damaged("a struct without a field length")
        text = _next(parts, _INT8)
        if len(text) > width[0] * _MOST_FIELDS:
            raise Damaged(f"a struct of more than {_MOST_FIELDS} fields")
        fields = [_latin(text[i : i + width[0]]).split("\0")[0] for i in range(0, len(text), width[0])]
        values = self._within(parts, depth)
        if not fields:
            return None
        structs = [
            dict(zip(fields, values[i : i + len(fields)], strict=False))
            for i in range(0, len(values), len(fields))
        ]
        return structs[0] if len(structs) == 1 else structs


def _latin(text: memoryview) -> str:
    if len(text) > _LONGEST_TEXT:
        raise Damaged(f"a name of {len(text)} bytes")
    return str(text, "latin-1")


def _text(codes: np.ndarray) -> str:
    if codes.nbytes > _LONGEST_TEXT:
        raise Damaged(f"a text of {codes.nbytes} bytes: at most {_LONGEST_TEXT} are read")
    if codes.dtype.kind not in "iu" or not np.all((codes >= 0) & (codes < 0x110000)):
        raise Damaged("a text of other things than characters")
    return "".join(map(chr, codes.reshape(-1, order="F").tolist()))


def _next(parts: Iterator[tuple[int, memoryview]], wanted: int) -> memoryview:
    kind, element = next(parts, (0, memoryview(b"")))
    if kind != wanted:
        raise Damaged(f"an element of type {kind} where type {wanted} belongs")
    return element


def _integers(parts: Iterator[tuple[int, memoryview]], wanted: int, order: str) -> list[int]:
    element = _next(parts, wanted)
    if len(element) % 4 or len(element) > 4 * _MOST_AXES:
        raise Damaged(f"a list of numbers of {len(element)} bytes: at most {_MOST_AXES} of four are read")
    return np.frombuffer(element, order + _NUMBERS[wanted]).tolist()


def _numbers(parts: Iterator[tuple[int, memoryview]], shape: list[int], order: str) -> np.ndarray:
    kind, element = next(parts, (0, memoryview(b"")))
    if kind == 16:  # UTF-8, of which only names made of ASCII matter here
        kind = 2
    if kind == 17:  # UTF-16
        kind = 4
    if kind not in _NUMBERS:
        raise Damaged(f"numbers of the unknown type {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if math.prod(shape) * dtype.itemsize != len(element):
        raise Damaged(f"a matrix of shape {tuple(shape)} with {len(element)} bytes of {dtype}")
    return np.frombuffer(element, dtype).reshape(shape, order="F")


def hdf5_variable(path: Path, name: str, limit: int) -> Any:
    """Reads one variable of a file of version 7.3.

    Args:
      path: the file.
      name: of the variable.
      limit: the most bytes its arrays may take, together.

    Returns:
      Its value, None if there is no such variable.

    Raises:
      JtrackError: if h5py is not installed.
      Damaged: if it is not such a file, is truncated, or needs more than `limit` or data outside of it.
    """
    try:
        import h5py
    except ImportError as error:
        # MATLAB's older format needs nothing: whoever has MATLAB can save the file again.
        what = f"reading {path}, which MATLAB saved with -v7.3 and not with -v7,"
        raise missing_extra(what, "mat", error) from None
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                return None
            return _Hdf5(h5py, file, limit).value(file[name], 0)
    except Damaged:
        raise
    except Exception as error:  # h5py has errors of many kinds
        raise Damaged(reason(error)) from error


class _Hdf5:
    """Turns objects of an HDF5 file into values as long as there is room for them."""

    def __init__(self, h5py: Any, file: Any, limit: int):
        self.h5py, self.file, self.bytes_left, self.items_left = h5py, file, limit, _MOST_ITEMS

    def value(self, item: Any, depth: int) -> Any:
        self.items_left -= 1
        if depth > _DEEPEST or self.items_left < 0:
            raise Damaged(f"matrices within matrices, more than {_DEEPEST} deep or {_MOST_ITEMS} in all")
        if isinstance(item, self.h5py.Group):
            return self._struct(item, depth)
        kind = item.attrs.get("MATLAB_class", b"")
        if kind == b"cell":
            return [] if "MATLAB_empty" in item.attrs else self._referred(item, depth)
        array = self._array(item)
        if "MATLAB_empty" in item.attrs:  # then the numbers are the shape
            return "" if kind == b"char" else np.zeros(0)
        return _text(array) if kind == b"char" else array

    def _struct(self, group: Any, depth: int) -> Any:
        if len(group) > _MOST_FIELDS:
            raise Damaged(f"{group.name} has {len(group)} fields: at most {_MOST_FIELDS} are read")
        if any(not isinstance(group.get(name, getlink=True), self.h5py.HardLink) for name in group):
            raise Damaged(f"{group.name} holds a link")
        fields = {name: group[name] for name in group}
        one = [name for name, item in fields.items() if not self._is_references(item) or _is_cell(item)]
        if one or not fields:
            return {name: self.value(item, depth + 1) for name, item in fields.items()}
        columns = [self._referred(item, depth) for item in fields.values()]
        return [dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)]

    def _is_references(self, item: Any) -> bool:
        is_dataset = isinstance(item, self.h5py.Dataset)
        return is_dataset and self.h5py.check_ref_dtype(item.dtype) is self.h5py.Reference

    def _referred(self, item: Any, depth: int) -> list[Any]:
        if not self._is_references(item):
            raise Damaged(f"{item.name} is no cell")
        references = self._plain(item).reshape(-1)
        return [self.value(self.file[reference], depth + 1) for reference in references]

    def _array(self, item: Any) -> np.ndarray:
        if item.dtype.kind not in "iuf":
            raise Damaged(f"{item.name} holds {item.dtype}, not numbers")
        return self._plain(item).T  # MATLAB counts the first axis fastest

    def _plain(self, item: Any) -> np.ndarray:
        self.bytes_left -= array_bytes(item)
        if self.bytes_left < 0:
            raise Damaged("its arrays take more room than is allowed")
        array: np.ndarray = item[()]
        return array


def _is_cell(item: Any) -> bool:
    return item.attrs.get("MATLAB_class") == b"cell"
