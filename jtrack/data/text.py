"""Text files of numbers, as every benchmark has them, and names in files that become paths."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from jtrack.errors import JtrackError

LARGEST = 1 << 26  # bytes of a text file: more than a million boxes


def read_text(path: str | Path) -> str:
    """A text file of at most `LARGEST` bytes, in UTF-8.

    Raises:
      JtrackError: if it cannot be read, is larger, or something else.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise JtrackError(f"{path} has {size} bytes: at most {LARGEST} are read of a text file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise JtrackError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise JtrackError(f"cannot read {path}: it is not a text file ({error.reason})") from error


def read_lines(path: str | Path) -> list[tuple[int, str]]:
    """Lines of a text file, stripped, each with its number from 1; empty lines at the end are left out.

    Raises:
      JtrackError: if the file cannot be read, or an empty line stands between others, for then it is not
        known which frame each line belongs to.
    """
    lines = read_text(path).rstrip().splitlines()
    stripped = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    for number, line in stripped:
        if not line:
            raise JtrackError(f"line {number} of {path} is empty: every frame needs its line, or remove it")
    return stripped


def read_rows(path: str | Path) -> list[tuple[int, list[float]]]:
    """Lines of numbers, each with its line number; separated by commas, semicolons, tabs or spaces.

    NaN is a number here, infinity is not.

    Raises:
      JtrackError: if the file cannot be read, has no numbers, or holds something else.
    """
    rows = [(number, parse_row(line, number, path)) for number, line in read_lines(path)]
    if not rows:
        raise JtrackError(f"{path} is empty: it should hold a line of numbers a frame")
    return rows


def parse_row(line: str, number: int, path: str | Path) -> list[float]:
    """The numbers of one line of a file; see `read_rows`."""
    words = re.split(r"\s*[,;]\s*|\s+", line.rstrip(",; \t"))
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = [math.inf]
    if "_" in line or any(math.isinf(value) for value in row):
        raise JtrackError(f"line {number} of {path} is not a line of numbers: {line[:60]!r}")
    return row


def read_names(path: str | Path) -> tuple[str, ...]:
    """Names of sequences, one a line, each a plain name of a folder, in the file's order.

    Raises:
      JtrackError: if the file cannot be read, is empty, or holds a name twice or one that is a path.
    """
    names = [check_name(line, path) for _, line in read_lines(path)]
    if not names:
        raise JtrackError(f"{path} is empty: it should name one sequence a line")
    if twice := next(_repeated(names), None):
        raise JtrackError(f"{path} names {twice} twice")
    return tuple(names)


def split_names(text: str | None) -> list[str] | None:
    """Names of sequences as a command line has them, `A,B`; None where all are meant."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _repeated(names: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


_LONGEST_NAME = 255  # bytes, in the file systems there are


def check_name(name: str, where: str | Path) -> str:
    """Returns the name of a sequence that will be a part of a path; refuses one that would leave its folder.

    Raises:
      JtrackError: for an empty or hidden name, `..`, and a name with a separator, colon or control character.
    """
    if not name or name.startswith(".") or re.search(r"[/\\:\x00-\x1f\x7f]", name):
        raise JtrackError(f"{where} names {name[:60]!r}, which is not the plain name of a folder")
    if (size := len(name.encode("utf-8", "surrogatepass"))) > _LONGEST_NAME:
        raise JtrackError(f"{where} names {name[:60]!r}..., which has {size} bytes: no folder is called so")
    return name
