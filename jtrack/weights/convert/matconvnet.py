"""MatConvNet's networks, from MATLAB's level 5 files.

Kernels are stored [h, w, in, out] for RGB images, fully connected layers as convolutions over the whole map.
A layer keeps its arrays in `weights` (a cell of two) or, in older files, in `filters` and `biases`.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jtrack import matlab
from jtrack.errors import JtrackError
from jtrack.matlab import Damaged


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
    if matlab.is_hdf5(path):
        raise JtrackError(
            f"{path} is a MATLAB 7.3 file, which is not read: save it in MATLAB with the option -v7"
        )
    layers: dict[str, dict[str, np.ndarray]] = {}
    try:
        for layer in _net_layers(path, limit):
            arrays = _parameters(layer)
            if arrays:
                name = layer.get("name")
                if not isinstance(name, str) or name in layers:
                    raise Damaged(f"a layer with parameters is called {name!r}")
                layers[name] = arrays
    except Damaged as problem:
        raise JtrackError(
            f"{path} is not a readable MatConvNet file (truncated or damaged?): {problem}"
        ) from None
    return layers


def _net_layers(path: Path, limit: int) -> list[dict[str, Any]]:
    for name, value in matlab.variables(path, limit):
        if name == "layers" and isinstance(value, list):
            return [layer for layer in value if isinstance(layer, dict)]
    raise Damaged("it has no variable `layers` that is a cell of layers")


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
