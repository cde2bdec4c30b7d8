"""Archives from elsewhere: their directory is limited before it is read, and what they unpack to."""

import contextlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

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
