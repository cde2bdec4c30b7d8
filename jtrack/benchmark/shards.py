"""Parts of an evaluation, for processes that share nothing but the names of its sequences and the results.

A part is every Nth sequence of the dataset, by name: `0/3` the first, the fourth and so on. It depends on the
names alone, so a process that starts again has the part that it had, and no part needs to know of another.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from jtrack.errors import JtrackError, printable

MOST = 100_000  # parts; more are a slip of the keyboard


@dataclass(frozen=True)
class Shard:
    """One of `count` parts."""

    index: int  # from 0
    count: int

    def of(self, names: Iterable[str]) -> list[str]:
        """The names of this part, sorted. All parts of one count together have every name once."""
        return sorted(names)[self.index :: self.count]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse(text: str) -> Shard:
    """Reads `I/N`, counted from 0: `0/3`, `1/3` and `2/3` are the whole.

    Raises:
      JtrackError: it is something else.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text, flags=re.ASCII)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not index < count <= MOST:
        raise JtrackError(
            f"--shard is {printable(text, 20)}: give I/N with I from 0 to N - 1, such as 0/3, 1/3 and 2/3"
        )
    return Shard(index, count)
