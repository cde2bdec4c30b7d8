"""The GPU check, on a CPU: nothing in it may wait for a GPU to fail."""

import json
import os
import subprocess
import sys

import pytest

from bench import gpu
from jtrack.precision import PRECISIONS
from tests.conftest import ROOT
from tests.trackers.golden import PIXELS

NAMES = ["machine", "matmul", "host_to_device", "dispatch", "forward", "step", "golden", "engine"]
NAMES += ["learn", "against_cpu", "trace"]


def command(out, *arguments, **environment):
    line = [sys.executable, str(ROOT / "bench" / "gpu.py"), "--out", str(out), *arguments]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False
    )
    assert done.stdout == (out / "gpu.jsonl").read_text(), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.slow
def test_every_section_gives_its_figures(tmp_path):
    quick = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    quick["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    status, lines, errors = command(tmp_path, "--smoke", "--limit", "3600", **quick)
    assert status == 0, errors
    assert not [line for line in lines if "error" in line or "skipped" in line]
    assert list(dict.fromkeys(line["section"] for line in lines)) == NAMES
    by_name = {line["section"]: line for line in lines}
    assert by_name["machine"]["card"] and by_name["machine"]["jax"]
    assert by_name["machine"]["devices"] == 2
    for name in ("matmul", "forward"):
        assert {line["precision"] for line in lines if line["section"] == name} == set(PRECISIONS)
    steps = [line for line in lines if line["section"] == "step"]
    assert {line["tracker"] for line in steps} == set(gpu.TRACKERS)
    assert all(line["fps"] > 0 and line["gflop"] > 0 and line["lane_KiB"] > 0 for line in steps)
    assert {line["tracker"] for line in steps if line.get("ms_k1", 0) > 0} == {"hcft"}
    engines = [line for line in lines if line["section"] == "engine"]
    # Of three videos of 6, 5 and 4 frames, and of three targets in one of 6, that begin in frames 0, 2 and 4.
    read = [(line["videos"], line["targets"], line["frames"], line["decoded"]) for line in engines]
    assert read == [(3, 1, 15, 15), (1, 3, 12, 6)] * 2
    assert all(line["fps"] > 0 and 0 < line["used_share"] <= 1 for line in engines)
    learn = by_name["learn"]
    assert all(ms > 0 for ms in (learn["alone_ms"], *learn["chosen_ms"], *learn["one_by_one_ms"]))
    assert len(learn["chosen_ms"]) == len(learn["one_by_one_ms"]) == len(learn["due"])
    assert by_name["golden"]["apart_px"] <= PIXELS and by_name["golden"]["parted_at_frame"] is None
    assert by_name["against_cpu"]["apart_px"] == 0
    assert any((tmp_path / "trace").rglob("*.xplane.pb"))


def test_after_the_limit_every_section_is_named(tmp_path):
    status, lines, _ = command(tmp_path, "--limit", "-1", JAX_PLATFORMS="cpu")
    assert status == 0
    assert list(dict.fromkeys(line["section"] for line in lines)) == NAMES
    assert all("skipped" in line for line in lines)
    lanes = {(line["tracker"], line["lanes"]) for line in lines if line["section"] == "step"}
    assert lanes == {(tracker, count) for tracker in gpu.TRACKERS for count in (1, 16, 64, 256)}


def test_a_section_fails_alone(capsys):
    def fails():
        raise RuntimeError("out of memory")

    said = []
    table = [gpu.Section("one", fails, {}), gpu.Section("two", lambda lanes: {"ms": lanes}, {"lanes": 2})]
    assert not gpu.run(iter(table), limit=60, say=said.append)
    assert [line["section"] for line in said] == ["one", "two"]
    assert said[0]["error"] == "RuntimeError: out of memory"
    assert said[1]["ms"] == 2 and "error" not in said[1]
    assert "Traceback" in capsys.readouterr().err
