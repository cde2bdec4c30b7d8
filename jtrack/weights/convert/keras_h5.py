"""Keras applications' HDF5 files: kernels [h, w, in, out], dense [in, out] over (row, column, channel)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.errors import missing_extra
from jtrack.hdf5 import array_bytes
from jtrack.untrusted import reading, true_file

_DEEPEST = 4  # groups within a layer's group: links could make a circle
_MOST_ITEMS = 1 << 14  # groups and arrays in all: the same one may be named again and again


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads the parameters of a network.

    Args:
      path: an .h5 file of weights, or of a whole model, that Keras wrote.
      limit: the most bytes the file may have, and its arrays may take.

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

    true_file(path, largest=limit)
    with reading(f"the HDF5 weights {path}", "fetch them again"), h5py.File(path, "r") as file:
        if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink | None):
            raise ValueError("model_weights is a link, which may lead out of the file")
        return _layers(h5py, file.get("model_weights", file), limit)


def _layers(h5py: Any, root: Any, limit: int) -> dict[str, dict[str, np.ndarray]]:
    if not isinstance(root, h5py.Group):
        raise ValueError("model_weights is an array and not a group of layers")
    items = iter(range(_MOST_ITEMS))
    datasets = {name: list(_datasets(h5py, root, name, 0, items)) for name in root}
    size = sum(array_bytes(dataset) for found in datasets.values() for dataset in found)
    if size > limit:
        raise ValueError(f"its arrays take {size} bytes, this net can need {limit} at most")
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, found in datasets.items():
        # Versions of Keras name the arrays differently; a bias is the one with one axis.
        parts = {"bias" if len(d.shape) == 1 else "kernel": d[()] for d in found}
        if len(parts) != len(found):
            raise ValueError(f"the layer {name} has {len(found)} arrays, not a kernel and a bias")
        if parts:
            layers[name] = parts
    return layers


def _datasets(h5py: Any, group: Any, key: str, depth: int, items: Iterator[int]) -> Iterator[Any]:
    """Every array below a name, none of which may lie outside the file."""
    if next(items, None) is None:
        raise ValueError(f"it holds more than {_MOST_ITEMS} groups and arrays")
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name}/{key} is a link")
    if depth > _DEEPEST:
        raise ValueError(f"groups within groups, more than {_DEEPEST} deep")
    item = group[key]
    if isinstance(item, h5py.Group):
        for name in item:
            yield from _datasets(h5py, item, name, depth + 1, items)
    elif not isinstance(item, h5py.Dataset) or item.dtype.kind != "f":
        raise ValueError(f"{item.name} is not an array of floating point numbers")
    else:
        yield item
