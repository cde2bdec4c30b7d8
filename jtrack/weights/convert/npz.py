"""NumPy archives: NAME_W and NAME_b, kernels OIHW, dense layers [out, in]."""

import zipfile
from pathlib import Path

import numpy as np

from jtrack.archives import numpy_array, zip_archive
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
                array = numpy_array(stream, member.file_size)
            if array.dtype.kind != "f":
                raise ValueError(f"an array of type {array.dtype}; only floating point is allowed")
            if part in layers.setdefault(name, {}):
                raise ValueError(f"it holds {key!r} twice")
            layers[name][part] = _inputs_before_outputs(array)
    return layers


def _inputs_before_outputs(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
