"""Reading files from elsewhere: limits, and one sentence for whatever a damaged or hostile one causes.

    with reading(f"weights {path}"):
        ...                              # a parser of someone else's, which may raise anything

A reader checks the sizes that a file declares against these limits before it allocates or loops.
"""

import contextlib
import fnmatch
import gc
import json
import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jtrack.errors import JtrackError, printable

MEMORY = 1 << 30  # bytes a reader may take above what was there before
PIXELS = 1 << 27  # of one image or mask, declared or stored
# Of JSON: a value in a list takes up to 64 bytes, an entry of an object four times as much.
MOST_PARTS = 1 << 23
_MOST_SAID = 4  # sentences about what is left out
_WEIGHTS = {b",": 1, b"[": 1, b"{": 1, b":": 4}


def regular_file(path: str | Path, *, largest: int | None = None) -> Path:
    """Refuses what is not a plain file: a FIFO would hang, a device never ends.

    Args:
      path: the file; a link to a plain file is one.
      largest: the most bytes it may have, a sparse file's holes counted; None for no limit.

    Returns:
      The path.

    Raises:
      JtrackError: nothing is there, it is no plain file, or it is larger.
    """
    path = Path(path)
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # the second for a name with a zero byte
        raise JtrackError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise JtrackError(f"cannot read {path}: it is {_kind(found.st_mode)}, not a file")
    if largest is not None and found.st_size > largest:
        raise JtrackError(f"{path} has {found.st_size} bytes: at most {largest} are read of such a file")
    return path


def read_file(path: str | Path, *, largest: int) -> bytes:
    """All bytes of a plain file; see `regular_file`. By as few system calls as can be: frames are read so.

    Raises:
      JtrackError: nothing is there, it is no plain file, it is larger, or it cannot be read.
    """
    try:
        # Opened without waiting: a FIFO would until somebody writes.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and found.st_size <= largest:
                data = os.read(handle, found.st_size)
                if len(data) == found.st_size:
                    return data
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        regular_file(path, largest=largest)  # says of what is no file that it is none
        raise JtrackError(f"cannot read {path}: {reason(error)}") from error
    regular_file(path, largest=largest)
    raise JtrackError(f"cannot read {path}: it has changed meanwhile")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def stand_in(start: bytes) -> str | None:
    """What a file is that stands in the place of another, as failed downloads leave them.

    Args:
      start: the first bytes of the file, some hundred.

    Returns:
      A sentence's end that says what it is and what to do, or None.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs."):
        return "a pointer of Git LFS and not the file itself: run `git lfs pull` where it came from"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a web page and not the file itself: download the file that the page is about"
    return None


def true_file(path: str | Path, *, largest: int | None = None) -> Path:
    """As `regular_file`, and refuses what only stands in the place of a file.

    Raises:
      JtrackError: see `regular_file`; or it is a pointer of Git LFS or a web page.
    """
    path = regular_file(path, largest=largest)
    with reading(str(path)), path.open("rb") as stream:
        if found := stand_in(stream.read(256)):
            raise JtrackError(f"{path} is {found}")
    return path


@contextlib.contextmanager
def reading(what: str, hint: str = "", *, fault: str = "cannot be read") -> Iterator[None]:
    """Turns whatever a parser raises into one sentence.

    A parser of a format meets inputs that nobody thought of: besides its own errors it raises TokenError,
    SyntaxError, MemoryError, RecursionError, OverflowError and others. An interrupt passes through.

    Args:
      what: the file, as the sentence should begin (`"weights /tmp/a.npz"`).
      hint: what to do, as the sentence should end; "" for nothing.
      fault: what is wrong with the file, as the sentence should go on.

    Raises:
      JtrackError: the body raised an `Exception`. One that is a `JtrackError` already passes as it is.
    """
    try:
        yield
    except JtrackError:
        raise
    except Exception as error:
        advice = f": {hint}" if hint else ""
        raise JtrackError(f"{what} {fault} ({reason(error)}){advice}") from error


def reason(error: BaseException) -> str:
    """What an exception says, in a few printable words."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = printable(error, 160)
    return said if said else type(error).__name__


def warn_left_out(refused: Sequence[JtrackError], where: str | Path) -> None:
    """Warns of what is left out, by its own sentences; of many the first few, and how many more there are.

    Args:
      refused: what was wrong, one each.
      where: what they are of.
    """
    for error in refused[:_MOST_SAID]:
        warnings.warn(f"left out: {error}", stacklevel=3)
    if len(refused) > _MOST_SAID:
        warnings.warn(f"left out: {len(refused) - _MOST_SAID} more of {printable(where)}", stacklevel=3)


def _hidden(path: Path) -> bool:
    """Whether an entry of a folder is not the user's own: `.NAME`, a Mac's `._NAME` and its `__MACOSX`."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def listed(folder: str | Path, pattern: str = "*") -> list[Path]:
    """What a folder holds, sorted by name, without what is hidden.

    Args:
      folder: the folder; of one that is not there nothing is listed.
      pattern: of the names, for one folder (`*.txt`).

    Raises:
      JtrackError: it cannot be read.
    """
    folder = Path(folder)
    try:
        found = [folder / name for name in fnmatch.filter(os.listdir(folder), pattern)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # the second for a name with a zero byte
        raise JtrackError(f"cannot open folder {folder}: {reason(error)}") from error
    return sorted(path for path in found if not _hidden(path))


def json_of(data: bytes) -> Any:
    """What JSON in UTF-8 says.

    Raises:
      ValueError: it says something twice, holds half a character (a lone surrogate) that stands for no byte
        of a file's name, or would take too much memory; json's own errors. To be used within `reading`.
    """
    if len(data) > MOST_PARTS // max(_WEIGHTS.values()):
        parts = sum(data.count(mark) * weight for mark, weight in _WEIGHTS.items())
        if parts > MOST_PARTS:
            raise ValueError(f"it has some {parts} values: at most {MOST_PARTS} are read")
    collects = gc.isenabled()
    gc.disable()  # else it looks through what is being made again and again, for half of the time
    try:
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    finally:
        if collects:
            gc.enable()
    if re.search(rb"\\u[dD][89a-fA-F]", data):  # pairs of them are whole characters
        json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        known = set[str]()
        for key, _ in pairs:
            if key in known:
                raise ValueError(f"it says {printable(key, 60)!r} twice")
            known.add(key)
    return found
