"""What runs are called where several stand together: the tracker, and as much more as tells each apart."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from jtrack.benchmark import machine
from jtrack.benchmark.results import Results
from jtrack.errors import printable

# What is added, in this order, as long as names are shared.
_MORE = ("profile", "backbone", "trained", "changes", "digest", "machines")


def told_apart(found: Sequence[Results], groups: Sequence[Hashable], marks: Sequence[str]) -> list[str]:
    """Names of runs, each its own within its group; a run has the same name in every group.

    Args:
      found: the runs.
      groups: of each, what stands together: those of one group are told apart.
      marks: of each, what a reader must know of it, in brackets behind its name; empty for nothing.
    """
    called = [
        printable(f"{each.tracker} ({mark})" if mark else each.tracker)
        for each, mark in zip(found, marks, strict=True)
    ]
    for more in _MORE:
        values = [_value(each, more) for each in found]
        rivals: dict[tuple[str, Hashable], set[str]] = {}
        for name, group, value in zip(called, groups, values, strict=True):
            rivals.setdefault((name, group), set()).add(value)
        shared = {name for (name, _), different in rivals.items() if len(different) > 1}
        called = [
            printable(f"{name} {value}").rstrip() if name in shared else name
            for name, value in zip(called, values, strict=True)
        ]
    return numbered(zip(called, groups, strict=True))


def cut(results: Results) -> str:
    """The mark of a run of the first frames alone, never to be taken for one of whole sequences."""
    limit = results.label.get("limit_frames")
    return f"{limit} frames" if limit else ""


def machines(results: Results) -> tuple[str, ...]:
    """The titles of the machines that made the trials; none if that is not known."""
    keys = {trial.machine for trials in results.trajectories.values() for trial in trials}
    return tuple(sorted({machine.called(results.machines, key) for key in keys if key is not None}))


def numbered(pairs: Iterable[tuple[str, Hashable]]) -> list[str]:
    """Names that come again in the same group get a number."""
    seen: Counter[tuple[str, Hashable]] = Counter()
    found = []
    for name, group in pairs:
        seen[name, group] += 1
        found.append(name if seen[name, group] == 1 else f"{name} #{seen[name, group]}")
    return found


def _value(results: Results, what: str) -> str:
    if what == "machines":
        return " and ".join(machines(results))
    value = str(results.label.get(what) or getattr(results, what, None) or "")
    return value[:12] if what == "digest" else value
