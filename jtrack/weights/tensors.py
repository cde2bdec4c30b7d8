"""Safetensors files from elsewhere: their size and header are looked at before anything is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from jtrack.untrusted import reading, true_file

SUFFIX = ".safetensors"
_LONGEST_HEADER = 1 << 22  # bytes: names and shapes of tens of thousands of tensors


@contextmanager
def opened(path: Path, remedy: str, *, largest: int | None = None) -> Iterator[Any]:
    """Opens a file of tensors; whatever goes wrong in the body is told as damage of the file.

    Args:
      path: the file.
      remedy: what to do about a damaged one, as the message says it.
      largest: the most bytes its tensors may take; None where only its header is read.

    Yields:
      The file, as `safetensors.safe_open` gives it.

    Raises:
      JtrackError: there is no such file, it is too large, or damaged.
    """
    true_file(path, largest=None if largest is None else largest + _LONGEST_HEADER + 8)
    with reading(f"the file of tensors {path}", f"it is damaged or another's: {remedy}"):
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header has {length} bytes, at most {_LONGEST_HEADER} are read")
        with safe_open(path, framework="numpy") as file:
            yield file
