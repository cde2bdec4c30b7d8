"""Archives from elsewhere: their directory is limited before it is read, and what they unpack to."""

import contextlib
import io
import math
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

DIRECTORY = 1 << 22  # bytes of the list of members: tens of thousands of them


class _Sparing(io.FileIO):
    """A file that is read in pieces of limited size: zipfile takes an archive's whole directory in one."""

    most = DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise ValueError(f"an archive's directory of {size} bytes: at most {self.most} are read")
        return super().read(size)


@contextlib.contextmanager
def zip_archive(path: Path, largest: int) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive whose members are small enough and not there twice.

    Args:
      path: the archive.
      largest: the most bytes that its members may unpack to, together.

    Raises:
      ValueError: it has more, or a member twice; zipfile's own errors for what is no archive. To be used
        within `reading`.
    """
    with _Sparing(path) as file, zipfile.ZipFile(file) as archive:
        file.most = sys.maxsize
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > largest:
            raise ValueError(f"it unpacks to {size} bytes: at most {largest} are read of such a file")
        if len({member.filename for member in members}) < len(members):
            raise ValueError("a member is in it twice")
        yield archive


def numpy_array(stream: IO[bytes], size: int) -> np.ndarray:
    """Reads a .npy member of `size` bytes, an array of numbers; its header must describe what follows.

    Raises:
      ValueError: it does not, or the array is of something else.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown .npy version {version}")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.kind not in "fiu":
        raise ValueError(f"an array of type {dtype}; only floating point and whole numbers are allowed")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != size - stream.tell():
        raise ValueError(f"an array of shape {shape} needs {wanted} bytes, {size - stream.tell()} are there")
    data = np.frombuffer(stream.read(wanted), dtype)
    return data.reshape(shape, order="F" if fortran else "C")
