"""Files that appear whole or not at all, where several processes write; and never through a link."""

import hashlib
import os
import platform
import secrets
import time
from contextlib import suppress
from pathlib import Path

from jtrack.errors import JtrackError

_PART = ".part"  # how the name of a file ends that is being written
_STALE = 3600.0  # seconds after which one has been given up: each is written in a moment
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, whoever else writes it at the same time; never through a link.

    What of a text is not UTF-8 is written as Python escapes it.
    """
    part = path.with_name(f".{_HOST}-{os.getpid()}-{secrets.token_hex(8)}{_PART}")
    stream = part.open("xb")  # which is no link, for it was not there
    try:
        with stream:
            stream.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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


def check_unlinked(folder: Path, inside: Path | None = None) -> None:
    """Refuses a run whose folder, or a folder in it, is a link: what it leads to is none of jtrack's."""
    places = [folder]
    if inside is not None:
        places += [place for place in (inside, *inside.parents) if folder in place.parents]
    if linked := [place for place in places if place.is_symlink()]:
        raise JtrackError(
            f"{linked[0]} is a link, through which no results are kept: remove it, or give another --results"
        )
