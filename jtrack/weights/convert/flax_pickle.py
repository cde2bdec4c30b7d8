"""Pickles of nested dicts of NumPy arrays, as Flax projects store parameters: {network: {layer: {part}}}.

Of what a pickle of arrays names, three globals are known (`pickles`): NumPy's array, its dtype, and the
function that makes an empty array. The work of these is done here, on the bytes.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.untrusted import reading, true_file
from jtrack.weights.convert.pickles import Vocabulary, run

_MOST_DEPTH = 8  # dicts in dicts
_MOST_ITEMS = 10_000  # of all dicts together: a pickle may hold one dict many times
_MOST_AXES = 8
_DTYPES = {"f2", "f4", "f8"}
_NAMES = {
    "numpy.core.multiarray _reconstruct": "empty array",
    "numpy._core.multiarray _reconstruct": "empty array",
    "numpy ndarray": "array",
    "numpy dtype": "dtype",
}


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads the parameters of a network.

    Args:
      path: a pickle of nested dicts of floating point arrays.
      limit: the most bytes the file may have.

    Returns:
      {"NETWORK/LAYER": {"kernel": [h, w, in, out] or [in, out], "bias": [out]}}, the names of the dicts
      joined by `/`; parts have the names that the file gives them.

    Raises:
      JtrackError: the file is damaged, larger than `limit`, or names anything but arrays.
    """
    true_file(path, largest=limit)
    with reading(f"the pickle {path}", "fetch it again"):
        layers: dict[str, dict[str, np.ndarray]] = {}
        _gather(run(io.BytesIO(path.read_bytes()), _VOCABULARY), (), layers, iter(range(_MOST_ITEMS)))
        if not layers:
            raise ValueError("it holds no arrays")
        return layers


@dataclass
class _Dtype:
    """A dtype as a pickle makes it: first its kind, then its byte order."""

    kind: str
    order: str = "<"


@dataclass
class _Array:
    """An array as a pickle makes it: first nothing, then its shape and bytes."""

    value: np.ndarray | None = None


def _gather(
    content: Any, path: tuple[str, ...], layers: dict[str, dict[str, np.ndarray]], items: Iterator[int]
) -> None:
    if not isinstance(content, dict) or len(path) > _MOST_DEPTH:
        raise ValueError("it is not nested dicts of arrays")
    for key, item in content.items():
        if next(items, None) is None:
            raise ValueError(f"it holds more than {_MOST_ITEMS} items")
        if not isinstance(key, str):
            raise ValueError("its names are not text")
        if not isinstance(item, _Array):
            _gather(item, (*path, key), layers, items)
        elif not path or item.value is None:
            raise ValueError(f"{key!r} is not an array of a layer")
        else:
            layers.setdefault("/".join(path), {})[key] = item.value


def _called(meaning: str, arguments: Any) -> Any:
    if meaning == "empty array":
        return _Array()
    kind = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if meaning == "dtype" and isinstance(kind, str) and kind in _DTYPES:
        return _Dtype(kind)
    # What a pickle made is neither written out nor hashed: it may hold itself many times over.
    raise ValueError("it makes something that is no array of floating point numbers")


def _built(value: Any, state: Any) -> None:
    if isinstance(value, _Dtype):
        order = state[1]
        if order not in ("<", ">"):
            raise ValueError("its numbers have an unknown byte order")
        value.order = order
        return
    if not isinstance(value, _Array) or value.value is not None:
        raise ValueError("it sets the attributes of something that is not a new array")
    _, shape, dtype, fortran, data = state
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or not isinstance(shape, tuple):
        raise ValueError("an array is described by something else than a shape, a dtype and bytes")
    if len(shape) > _MOST_AXES or not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise ValueError("an array has a shape that is none")
    kind = np.dtype(dtype.order + dtype.kind)
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    value.value = np.frombuffer(data, kind).reshape(shape, order="F" if fortran is True else "C")


_VOCABULARY = Vocabulary(_NAMES, _called, _built, literals=("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"))
