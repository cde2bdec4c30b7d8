"""Files that appear whole or not at all, where several processes write; and never through a link."""

import hashlib
import os
import platform
import secrets
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PART = ".part"  # how the name of a file ends that is being written
_STALE = 3600.0  # seconds after which one has been given up: each is written in a moment
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A new, empty file beside `path` that takes its place if all goes well, and vanishes otherwise.

    Its name cannot be guessed and was not there, so that it is no link. What lies under `path` is replaced,
    also a link: where that leads to stays as it is. The folder is made.

    Args:
      path: the file to be.

    Raises:
      OSError: it cannot be made or put in place; what the body raises passes as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{_HOST}-{os.getpid()}-{secrets.token_hex(8)}{_PART}")
    with part.open("xb") as made:
        mode = stat.S_IMODE(os.fstat(made.fileno()).st_mode)  # as the user's files have it
    try:
        yield part
        part.chmod(mode)  # safetensors puts a file of its own there, which others may not read
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all; see `replacing`.

    What of a text is not UTF-8 is written as Python escapes it.
    """
    with replacing(path) as part:
        part.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def remove_dead_parts(folder: Path) -> None:
    """Removes what processes of this machine have left that are no more, and others an hour ago."""
    for part in folder.glob(f".*{_PART}"):
        host, _, rest = part.name[1:].partition("-")
        number = rest.partition("-")[0]
        dead = host == _HOST and number.isdecimal() and not _runs(int(number))
        with suppress(OSError):
            if dead or time.time() - part.lstat().st_mtime > _STALE:
                part.unlink()


def _runs(process: int) -> bool:
    """Whether a process of this machine runs, as far as that can be known."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True
