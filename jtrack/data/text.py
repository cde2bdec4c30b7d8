"""Text files of numbers, as every benchmark has them, and names in files that become paths."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from jtrack.errors import JtrackError
from jtrack.names import composed
from jtrack.untrusted import read_file

# Of a text file: bytes, lines, and characters of a line. No benchmark's has a tenth as many, and each number
# takes up to sixteen times its room in the file.
LARGEST = 1 << 25
MOST_LINES = 1 << 19
LONGEST_LINE = 1 << 21
FARTHEST = 1e100  # of a number's size: areas of such boxes are still finite
# What `float` takes besides: 1_000, the digits of all scripts, white space of any kind about a number.
_FOREIGN = re.compile(r"[^\t -^`-~]")


def read_text(path: str | Path) -> str:
    """A text file of at most `LARGEST` bytes, in UTF-8; its lines end with a line feed, however it has them.

    Raises:
      JtrackError: if it cannot be read, is larger, or something else.
    """
    data = read_file(path, largest=LARGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JtrackError(f"cannot read {path}: it is not a text file ({error.reason})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | Path) -> list[tuple[int, str]]:
    """Lines of a text file, stripped, each with its number from 1; empty lines at the end are left out.

    Lines end with a line feed, a carriage return or both; form feeds and Unicode's other breaks end none.

    Raises:
      JtrackError: if the file cannot be read, has more than `MOST_LINES` lines or one of more than
        `LONGEST_LINE` characters, or an empty line stands between others, for then it is not known which
        frame each line belongs to.
    """
    text = read_text(path).rstrip()
    if text.count("\n") >= MOST_LINES:
        raise JtrackError(f"{path} has more than {MOST_LINES} lines: it is not a file of one line a frame")
    lines = text.split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise JtrackError(f"line {number} of {path} is empty: every frame needs its line, or remove it")
        if len(line) > LONGEST_LINE:
            raise JtrackError(
                f"line {number} of {path} has {len(line)} characters: at most {LONGEST_LINE} are read"
            )
    return [(number, line.strip()) for number, line in enumerate(lines, start=1)]


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
    words = re.split(r"[ \t]*[,;][ \t]*|[ \t]+", line.rstrip(",; \t"))
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = [math.inf]
    if _FOREIGN.search(line) or [value for value in row if abs(value) > FARTHEST]:
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
        if composed(name) in seen:
            yield name
        seen.add(composed(name))


_LONGEST_NAME = 255  # bytes, in the file systems there are


def check_name(name: str, where: str | Path) -> str:
    """Returns the name of a sequence that will be a part of a path; refuses one that would leave its folder.

    Raises:
      JtrackError: for an empty or hidden name, `..`, and a name with a separator, colon or control character
        or one that is not in UTF-8.
    """
    if not name or name.startswith(".") or re.search(r"[/\\:\x00-\x1f\x7f\ud800-\udfff]", name):
        raise JtrackError(f"{where} names {name[:60]!r}, which is not the plain name of a folder")
    if (size := len(name.encode("utf-8", "surrogatepass"))) > _LONGEST_NAME:
        raise JtrackError(f"{where} names {name[:60]!r}..., which has {size} bytes: no folder is called so")
    return name
