"""HDF5 files from elsewhere: how much memory an array takes, known before it is read."""

import math
from typing import Any

CHUNK = 1 << 28  # bytes: HDF5 unpacks a chunk whole, whatever of it is wanted


def array_bytes(item: Any) -> int:
    """The bytes that reading an array takes: of all its chunks, which may reach beyond the array.

    Args:
      item: an h5py.Dataset.

    Raises:
      ValueError: its values do not lie in the file, or its chunks are too large.
    """
    if item.external or item.is_virtual or item.shape is None:
        raise ValueError(f"{item.name} is not an array within the file")
    if item.chunks is None:
        return math.prod(item.shape) * item.dtype.itemsize
    chunk = math.prod(item.chunks) * item.dtype.itemsize
    if chunk > CHUNK:
        raise ValueError(f"{item.name} is kept in chunks of {chunk} bytes: at most {CHUNK} are read")
    chunks = math.prod(-(-side // step) for side, step in zip(item.shape, item.chunks, strict=True))
    return chunks * chunk
