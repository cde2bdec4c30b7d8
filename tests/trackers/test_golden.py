"""Golden boxes: what keeps them, and what compares those of two commits."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from bench import golden as bench
from bench import golden_clip, golden_rows
from tests.conftest import ROOT
from tests.trackers import golden
from tests.trackers.test_contract import TABLE

# test_contract.py looks at the others, for which it has compiled already.
REST = [row for row in golden_rows.rows() if row[:2] not in TABLE or row.backbone == "hog"]


@pytest.mark.slow
@pytest.mark.parametrize("row", REST, ids="-".join)
def test_boxes_are_the_golden_ones(row, monkeypatch):
    monkeypatch.delenv("JTRACK_WEIGHTS", raising=False)
    clip = golden_clip.clip()
    found = golden_rows.record(golden_rows.create_reduced(row), clip.frames[: golden.KEPT], clip.box)
    golden.check(row, **found)


def test_every_row_is_kept():
    assert list(golden.kept()) == [" ".join(row) for row in golden_rows.rows()]


def test_the_clip_is_the_same_on_every_machine():
    frames, box = golden_clip.clip()
    assert frames.shape == (golden_clip.FRAMES, *golden_clip.SIZE, 3)
    assert hashlib.sha256(frames.tobytes()).hexdigest()[:16] == "7cac8d790547ef18"
    np.testing.assert_array_equal(box, [30, 30, 30, 24])


class Part(NamedTuple):
    units: int


@dataclasses.dataclass(frozen=True)
class Config:
    rate: int = 9
    part: Part | None = Part(8)  # noqa: RUF009


def test_reductions_reach_parts_and_renamed_fields():
    changed = golden_rows.reduced(Config(), {"learning_rate|rate": 5, "units": 7})
    assert changed == Config(5, Part(7))
    with pytest.raises(SystemExit, match="no field width"):
        golden_rows.reduced(Config(), {"width": 2})
    # What is smaller already stays; what a part has that is left out does not matter.
    assert golden_rows.reduced(Config(rate=2), {"rate": 5}) == Config(rate=2)
    assert golden_rows.reduced(Config(part=None), {"part.units": 7}) == Config(part=None)
    with pytest.raises(SystemExit, match=r"no field part\.width"):
        golden_rows.reduced(Config(), {"part.width": 2})


def test_trained_weights_are_refused(monkeypatch):
    """A `tiny_objectness` in a weights folder would make other boxes."""
    bound = golden_rows.create(golden_rows.Row("gdt", "default", "tiny"))
    monkeypatch.setattr(golden_rows, "create", lambda row: bound._replace(trained="tiny_objectness"))
    with pytest.raises(SystemExit, match="tiny_objectness"):
        golden_rows.create_reduced(golden_rows.Row("gdt", "default", "tiny"))


def recorded(*, shift=0.0, scores=0.0, lost=0):
    boxes = [[1.0, 2.0, 30.0, 24.0], [1.5, 2.0, 30.0, 24.0], [2.0 + shift, 2.0, 30.0, 24.0]]
    return {"boxes": boxes, "scores": [1.0, 0.9, 0.8 + scores], "lost": [0, 0, lost]}


@pytest.mark.parametrize(
    ("b", "text", "accepted"),
    [
        (recorded(), "equal to the bit", True),
        (recorded(shift=2.0**-20), "within tolerance: boxes by 9.5e-07 px from frame 2", True),
        (recorded(shift=0.01), "boxes by 0.01 px from frame 2", False),
        (recorded(scores=0.1), "scores by 0.1 from frame 2", False),
        (recorded(lost=1), "lost flags from frame 2", False),
        (recorded(shift=np.nan), "boxes by inf px from frame 2", False),
        (None, "not in B", False),
        ({"error": "ValueError: no"}, "failed in B: ValueError: no", False),
    ],
)
def test_differences_are_said(b, text, accepted):
    assert bench.compare(recorded(), b, tolerance=1e-3) == (text, accepted)


def test_without_a_tolerance_the_last_bit_counts():
    assert not bench.compare(recorded(), recorded(shift=2.0**-20)).accepted
    assert bench.compare(recorded(shift=np.nan), recorded(shift=np.nan)).accepted
    text, accepted = bench.table({"one": recorded()}, {"one": recorded(), "two": recorded()}, 0.0)
    assert "| one | equal to the bit |\n| two | not in A |" in text
    assert not accepted


@pytest.fixture
def repository(tmp_path):
    """A repository of two commits: the second learns HCFT's filters twice as fast."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "jtrack", tmp_path / "jtrack", ignore=skip)
    for name in ("weights/manifest.toml", *(f"bench/golden{part}.py" for part in ("", "_clip", "_rows"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def commit(message):
        own = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        for command in (["init", "-q"], ["add", "-A"], [*own, "commit", "-q", "-m", message]):
            subprocess.run(["git", "-C", str(tmp_path), *command], check=True)

    (tmp_path / ".gitignore").write_text("__pycache__\n")
    commit("first")
    source = tmp_path / "jtrack" / "trackers" / "hcft.py"
    text = source.read_text()
    changed = text.replace("learning_rate: float = 0.01", "learning_rate: float = 0.02", 1)
    assert changed != text
    source.write_text(changed)
    commit("second")
    return tmp_path


def compared(repository, *arguments):
    command = [sys.executable, str(repository / "bench" / "golden.py"), *arguments]
    where = {
        "PYTHONPATH": str(repository),
        "JAX_COMPILATION_CACHE_DIR": str(repository / ".git" / "compiled"),
    }
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | where)


def worktrees(repository):
    command = ["git", "-C", str(repository), "worktree", "list"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


@pytest.mark.slow
def test_two_commits_are_compared(repository):
    """Equal ones to the bit; a number that was changed is found, and its row named."""
    row = ("--tracker", "hcft", "--profile", "c5")
    same = compared(repository, "HEAD", ".", *row)
    assert same.returncode == 0, same.stderr
    assert "| hcft c5 tiny | equal to the bit |" in same.stdout
    other = compared(repository, "HEAD~1", "HEAD", *row)
    assert other.returncode == 1, other.stderr
    assert "| hcft c5 tiny | scores by" in other.stdout or "| hcft c5 tiny | boxes by" in other.stdout
    assert worktrees(repository) == 1  # nothing is left behind


@pytest.mark.slow
def test_a_comparison_that_is_ended_leaves_nothing_behind(repository):
    command = [sys.executable, str(repository / "bench" / "golden.py"), "HEAD~1", "HEAD"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()  # the first row has begun
    assert worktrees(repository) == 3
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert worktrees(repository) == 1


def test_a_revision_that_does_not_exist_is_refused(repository):
    done = compared(repository, "HEAD", "no-such-branch")
    assert done.returncode == 1
    assert "no-such-branch" in done.stderr
    assert not done.stdout
