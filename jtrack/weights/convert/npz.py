"""NumPy archives: NAME_W and NAME_b, kernels OIHW, dense layers [out, in]."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from jtrack.archives import zip_archive
from jtrack.untrusted import reading, true_file

_PARTS = {"_W": "kernel", "_b": "bias"}


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads an archive of float arrays.

    Args:
      path: the archive; arrays other than NAME_W and NAME_b are refused.
      limit: the most bytes the file may have, and its arrays may take.

    Returns:
      {NAME: {"kernel": [h, w, in, out] or [in, out], "bias": [out]}}.

    Raises:
      JtrackError: not such an archive, truncated, with objects in it, or larger than `limit`.
    """
    true_file(path, largest=limit)
    layers: dict[str, dict[str, np.ndarray]] = {}
    with reading(f"the .npz archive {path}", "fetch it again"), zip_archive(path, limit) as archive:
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            name, part = key[:-2], _PARTS.get(key[-2:])
            if part is None:
                raise ValueError(f"it holds {key!r}; allowed are NAME_W and NAME_b")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{key} is compressed in a way that NumPy does not use")
            with archive.open(member) as stream:
                array = _array(stream, member.file_size)
            if part in layers.setdefault(name, {}):
                raise ValueError(f"it holds {key!r} twice")
            layers[name][part] = _inputs_before_outputs(array)
    return layers


def _array(stream: IO[bytes], size: int) -> np.ndarray:
    """One .npy member; its header must describe exactly the bytes that follow."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown .npy version {version}")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.kind != "f":
        raise ValueError(f"an array of type {dtype}; only floating point is allowed")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != size - stream.tell():
        raise ValueError(f"an array of shape {shape} needs {wanted} bytes, {size - stream.tell()} are there")
    data = np.frombuffer(stream.read(wanted), dtype)
    return data.reshape(shape, order="F" if fortran else "C")


def _inputs_before_outputs(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
