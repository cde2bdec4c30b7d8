"""MatConvNet's networks, from MATLAB's level 5 files.

Kernels are stored [h, w, in, out] for RGB images, fully connected layers as convolutions over the whole map.
A layer keeps its arrays in `weights` (a cell of two) or, in older files, in `filters` and `biases`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jtrack import matlab
from jtrack.untrusted import reading, true_file


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
    true_file(path, largest=limit)
    with reading(f"the MatConvNet file {path}", "fetch it again"):
        if matlab.is_hdf5(path):
            raise ValueError("MATLAB 7.3 wrote it, which is not read here; save it in MATLAB with -v7")
        return _layers(_net_layers(path, limit))


def _layers(net: list[dict[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    layers: dict[str, dict[str, np.ndarray]] = {}
    for layer in net:
        if arrays := _parameters(layer):
            name = layer.get("name")
            if not isinstance(name, str) or name in layers:
                raise ValueError(f"a layer with parameters is called {name!r}")
            layers[name] = arrays
    return layers


def _net_layers(path: Path, limit: int) -> list[dict[str, Any]]:
    for name, value in matlab.variables(path, limit):
        if name == "layers" and isinstance(value, list):
            return [layer for layer in value if isinstance(layer, dict)]
    raise ValueError("it has no variable `layers` that is a cell of layers")


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
