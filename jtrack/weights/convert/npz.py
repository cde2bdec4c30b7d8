"""NumPy archives: NAME_W and NAME_b, kernels OIHW, dense layers [out, in]."""

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from jtrack.errors import JtrackError

_PARTS = {"_W": "kernel", "_b": "bias"}

# What zipfile and NumPy raise when a file is not what it says.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, OverflowError, RuntimeError)


class _Refused(Exception):
    pass


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads an archive of float arrays.

    Args:
      path: the archive; arrays other than NAME_W and NAME_b are refused.
      limit: the most bytes its arrays may take.

    Returns:
      {NAME: {"kernel": [h, w, in, out] or [in, out], "bias": [out]}}.

    Raises:
      JtrackError: not such an archive, truncated, with objects in it, or larger than `limit`.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > limit:
                raise _Refused(f"it unpacks to {size} bytes, this net can need {limit} at most")
            for member in members:
                key = member.filename.removesuffix(".npy")
                name, part = key[:-2], _PARTS.get(key[-2:])
                if part is None:
                    raise _Refused(f"it holds {key!r}; allowed are NAME_W and NAME_b")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise _Refused(f"{key} is compressed in a way that NumPy does not use")
                with archive.open(member) as stream:
                    layers.setdefault(name, {})[part] = _inputs_before_outputs(
                        _array(stream, member.file_size)
                    )
    except _Refused as problem:
        raise JtrackError(f"{path} is refused: {problem}") from None
    except _BROKEN as error:
        raise JtrackError(f"{path} is not a readable .npz archive (truncated or damaged?): {error}") from None
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
