"""Keras applications' HDF5 files: kernels [h, w, in, out], dense [in, out] over (row, column, channel)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.errors import JtrackError, missing_extra

_DEEPEST = 4  # groups within a layer's group: links could make a circle


class _Refused(Exception):
    pass


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads the parameters of a network.

    Args:
      path: an .h5 file of weights, or of a whole model, that Keras wrote.
      limit: the most bytes its arrays may take.

    Returns:
      {layer: {"kernel": [h, w, in, out] or [in, out], "bias": [out]}}; layers without parameters are left
      out.

    Raises:
      JtrackError: h5py is not installed, or the file is not such a file, truncated, or larger than `limit`.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing_extra(f"reading {path}", "keras", error) from None

    layers: dict[str, dict[str, np.ndarray]] = {}
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            datasets = {name: list(_datasets(h5py, root, name, 0)) for name in root}
            size = sum(math.prod(d.shape) * d.dtype.itemsize for found in datasets.values() for d in found)
            if size > limit:
                raise _Refused(f"its arrays take {size} bytes, this net can need {limit} at most")
            for name, found in datasets.items():
                # Versions of Keras name the arrays differently; a bias is the one with one axis.
                parts = {"bias" if len(d.shape) == 1 else "kernel": d[()] for d in found}
                if len(parts) != len(found):
                    raise _Refused(f"the layer {name} has {len(found)} arrays, not a kernel and a bias")
                if parts:
                    layers[name] = parts
    except FileNotFoundError:
        raise
    except _Refused as problem:
        raise JtrackError(f"{path} is refused: {problem}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise JtrackError(f"{path} is not a readable HDF5 file (truncated or damaged?): {error}") from None
    return layers


def _datasets(h5py: Any, group: Any, key: str, depth: int) -> Iterator[Any]:
    """Every array below a name, none of which may lie outside the file."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise _Refused(f"{group.name}/{key} is a link")
    if depth > _DEEPEST:
        raise _Refused(f"groups within groups, more than {_DEEPEST} deep")
    item = group[key]
    if isinstance(item, h5py.Group):
        for name in item:
            yield from _datasets(h5py, item, name, depth + 1)
    elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual or item.dtype.kind != "f":
        raise _Refused(f"{item.name} is not a plain array of floating point numbers")
    elif item.shape is None:
        raise _Refused(f"{item.name} is empty")
    else:
        yield item
