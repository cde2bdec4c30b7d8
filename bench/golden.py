"""Compares the boxes that two commits make, or writes the golden boxes of the tests.

    python bench/golden.py HEAD~1 .                   # a commit and the working tree
    python bench/golden.py main . --tolerance 1e-3    # where only the fusion of operations differs
    python bench/golden.py main . --real              # GoogLeNet on Crossing: JTRACK_WEIGHTS, JTRACK_DATA
    python bench/golden.py --write                    # tests/trackers/golden.json, of the working tree

Every profile of every tracker tracks the clip of `bench/golden_clip.py`. Each commit is checked out into a
temporary folder and tracks in a process of its own, compiled as users compile. Both get the clip and the
table of rows that lie beside this file. The output says of each row whether all boxes, scores and lost flags
are equal to the bit, or what differs most, and from which frame on (0 is the first). The exit status is 0
only if all rows are equal, or within `--tolerance`: in pixels for boxes, and the same number for scores.
Flags must be equal.

Nearly all the time goes into compilation. The two processes run side by side, one of them from the last row
to the first, and share what they compile; it is kept in the user's cache folder (or in the one that
JAX_COMPILATION_CACHE_DIR names), so that the next comparison compiles only what has changed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "trackers" / "golden.json"
RECORDER = Path(__file__).with_name("golden_rows.py")
KEPT = 8  # frames of the golden boxes: later ones may part at a threshold from one machine to another
WEIGHTS = ROOT.parent / "shared" / "weights"  # unless JTRACK_WEIGHTS names another folder
DATA = Path(os.environ.get("JTRACK_DATA", ROOT.parent / "shared" / "data")).resolve()
REAL = Path("otb") / "Crossing"

type Recorded = dict[str, Any]  # a row's boxes, scores and flags, or {"error": why there are none}


class Difference(NamedTuple):
    """What differs between two records of a row."""

    text: str
    accepted: bool


def compare(a: Recorded | None, b: Recorded | None, tolerance: float = 0.0) -> Difference:
    """Says how a row's record in A differs from that in B; None is a row that is not there.

    Args:
      a: what A made.
      b: what B made.
      tolerance: by how much boxes (in pixels) and scores may differ; with 0, not by the last bit.

    Returns:
      A sentence, and whether the difference is accepted.
    """
    for name, record in (("A", a), ("B", b)):
        if record is None:
            return Difference(f"not in {name}", False)
        if "error" in record:
            return Difference(f"failed in {name}: {record['error']}", False)
    assert a is not None and b is not None
    if len(a["lost"]) != len(b["lost"]):
        return Difference(f"{len(a['lost'])} frames in A, {len(b['lost'])} in B", False)
    boxes, scores, flags = (_apart(np.array(a[key]), np.array(b[key])) for key in ("boxes", "scores", "lost"))
    if not (boxes.any() or scores.any() or flags.any()):
        return Difference("equal to the bit", True)
    parts = [f"boxes by {boxes.max():.2g} px from frame {_first(boxes)}"] if boxes.any() else []
    parts += [f"scores by {scores.max():.2g} from frame {_first(scores)}"] if scores.any() else []
    parts += [f"lost flags from frame {_first(flags)}"] if flags.any() else []
    accepted = max(boxes.max(), scores.max()) <= tolerance and not flags.any()
    return Difference(("within tolerance: " if accepted else "") + ", ".join(parts), bool(accepted))


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[T]: the largest difference in each frame; infinite where one value is no number and the other is."""
    apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return np.nan_to_num(apart, nan=np.inf).reshape(len(a), -1).max(axis=1)


def _first(apart: np.ndarray) -> int:
    return int(np.flatnonzero(apart)[0])


def table(a: dict[str, Recorded], b: dict[str, Recorded], tolerance: float) -> tuple[str, bool]:
    """The Markdown of all rows of A and B, and whether every difference is accepted."""
    found = {row: compare(a.get(row), b.get(row), tolerance) for row in dict.fromkeys([*a, *b])}
    lines = ["| tracker, profile, network | |", "| --- | --- |"]
    lines += [f"| {row} | {difference.text} |" for row, difference in found.items()]
    return "\n".join(lines), all(difference.accepted for difference in found.values())


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A revision's files in a folder that is there for the while; "." is the working tree itself."""
    if revision == ".":
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "checkout"
        _git("worktree", "add", "--quiet", "--detach", str(folder), revision)
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_of(revision: str) -> str:
    """The commit that a revision names, short; "." is the working tree."""
    if revision == ".":
        return "the working tree"
    return _git("rev-parse", "--short", "--verify", "--end-of-options", f"{revision}^{{commit}}")


class Recording:
    """A process in which the jtrack of a folder tracks every row.

    Args:
      folder: the checkout.
      choice: options of `golden_rows.py`.
      scratch: an empty folder for what the process writes.
    """

    def __init__(self, folder: Path, choice: Sequence[str], scratch: Path) -> None:
        self.folder = folder.resolve()
        self.out = scratch / "recorded.json"
        environment = os.environ | {"PYTHONPATH": str(folder), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
        compiled = user_cache_path("jtrack", appauthor=False) / "xla"
        environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled))
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        if "--real" not in choice:
            environment.pop("JTRACK_WEIGHTS", None)  # GDT would begin with what was trained for `tiny`
        elif WEIGHTS.is_dir():
            environment.setdefault("JTRACK_WEIGHTS", str(WEIGHTS))
        command = [sys.executable, str(RECORDER), str(self.out), *choice]
        self.process = subprocess.Popen(command, env=environment)

    def rows(self) -> dict[str, Recorded]:
        """Waits for the rows.

        Raises:
          SystemExit: the process failed, or met another jtrack than the folder's.
        """
        if self.process.wait():
            raise SystemExit(f"the trackers of {self.folder} could not be run: see above")
        recorded = json.loads(self.out.read_text())
        if not Path(recorded["jtrack"]).is_relative_to(self.folder):
            raise SystemExit(f"jtrack came from {recorded['jtrack']}, not from {self.folder}")
        return recorded["rows"]

    def stop(self) -> None:
        """Ends the process if it still runs."""
        self.process.kill()
        self.process.wait()


def record(folders: Sequence[Path], choice: Sequence[str]) -> list[dict[str, Recorded]]:
    """What the jtrack of each folder makes of every row, side by side."""
    running: list[Recording] = []
    with tempfile.TemporaryDirectory() as parent:
        try:
            for index, folder in enumerate(folders):
                scratch = Path(parent) / str(index)
                scratch.mkdir()
                running.append(Recording(folder, [*choice, *["--backwards"] * (index % 2)], scratch))
            return [each.rows() for each in running]
        finally:
            for each in running:
                each.stop()


def rounded(row: Recorded) -> Recorded:
    """A row as the tests keep it: the frames they compare, to a hundredth of their tolerance."""
    if "error" in row:
        raise SystemExit(f"nothing written: {row['error']}")
    boxes = [[round(side, 3) for side in box] for box in row["boxes"][:KEPT]]
    scores = [round(score, 4) for score in row["scores"][:KEPT]]
    return {"boxes": boxes, "scores": scores, "lost": row["lost"][:KEPT]}


def write(rows: dict[str, Recorded], path: Path) -> None:
    """Writes golden boxes as JSON, one row a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rounded(row))}" for name, row in rows.items())
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f"{{\n{lines}\n}}\n")
    temporary.replace(path)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", nargs="?", metavar="A", help='a revision of git, or "." for the working tree')
    parser.add_argument("b", nargs="?", metavar="B", help='another one, or "."')
    parser.add_argument("--write", action="store_true", help="write the golden boxes of the tests instead")
    parser.add_argument("--tolerance", type=float, default=0.0, help="pixels, and of scores; 0: to the bit")
    parser.add_argument("--tracker", help="only this tracker")
    parser.add_argument("--profile", help="only this profile")
    parser.add_argument("--real", action="store_true", help=f"GoogLeNet on {REAL.name}, each `default`")
    options = parser.parse_args()
    choice = [f"--{name}={value}" for name in ("tracker", "profile") if (value := getattr(options, name))]
    if options.write:
        if options.a or choice or options.real:
            parser.error("--write stands alone: it writes all rows of the working tree")
        return write(*record([ROOT], []), GOLDEN)
    if options.b is None:
        parser.error("name two commits, as in `bench/golden.py HEAD~1 .`")
    if options.real:
        choice += ["--real", str(DATA / REAL)]
    names = [commit_of(revision) for revision in (options.a, options.b)]
    # Ended by a signal, it removes its worktrees and ends its processes all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with checkout(options.a) as folder_a, checkout(options.b) as folder_b:
        a, b = record([folder_a, folder_b], choice)
    text, accepted = table(a, b, options.tolerance)
    print(f"A: {options.a} ({names[0]}). B: {options.b} ({names[1]}). Tolerance: {options.tolerance:g}.\n")
    print(text)
    sys.exit(0 if accepted else 1)


if __name__ == "__main__":
    main()
