"""docs/cluster.md: its recipes run as printed, on small sequences, and give what one process gives."""

import re
import subprocess

import pytest

from jtrack.benchmark import results
from tests.conftest import ROOT
from tests.test_readme import environment, files, help_of, options

__all__ = ["environment", "files"]  # fixtures

PAGE = (ROOT / "docs" / "cluster.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE, flags=re.M | re.S)


def block(start):
    """The one that begins so."""
    (found,) = (text for _, text in BLOCKS if text.startswith(start))
    return found


def run(command, environment, **variables):
    done = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def whole(environment, **variables):
    """The boxes that one process makes, and those that the recipe has made."""
    run(
        ["jtrack", "eval", "--dataset", "otb", "--root", "DATA/otb", "--results", "alone"],
        environment,
        **variables,
    )
    (alone,), (found,) = results.load("alone"), results.load("results")
    assert not found.failures and set(found.trajectories) == {"Deer", "Fish"}
    return [
        {name: trial.boxes.tobytes() for name, (trial,) in each.trajectories.items()}
        for each in (alone, found)
    ]


@pytest.mark.slow
def test_processes_with_a_device_each(files, environment):
    run(["bash", "-c", block("for device in")], environment)
    alone, found = whole(environment)
    assert found == alone


@pytest.mark.slow
def test_a_job_array(files, environment):
    script = block("#!/bin/bash")
    count = int(re.search(r"--array=0-(\d+)", script)[1]) + 1
    (files / "eval.sbatch").write_text(script)
    for task in (1, 2, 0):
        numbers = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(count)}
        said = run(["bash", "eval.sbatch"], environment, **numbers)
        assert f"shard {task}/{count} is" in said
    assert "other shards lack nothing" in said
    alone, found = whole(environment)
    assert found == alone


@pytest.mark.slow
def test_submitit(files, environment):
    pytest.importorskip("submitit")
    assert "shard 2/3 is 0 of 2 sequences" in run(["python", "-c", block("import submitit")], environment)
    alone, found = whole(environment)
    assert found == alone


@pytest.mark.slow
def test_ray(files, environment):
    pytest.importorskip("ray")
    run(["bash", "-c", block("jtrack eval")], environment, RAY_ADDRESS="local")
    alone, found = whole(environment, OMP_NUM_THREADS="1")  # as many as a worker has
    assert found == alone


def test_options_in_sentences_exist():
    known = help_of("eval") + help_of("paper")
    codes = [code for code in re.findall(r"`([^`\n]+)`", PAGE) if not code.startswith("python ")]
    own = {option for code in codes for option in options(code.split())}
    assert len(own) > 8
    for option in own - {"--array"}:
        assert re.search(rf"{option}\b", known), option


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert target.startswith("https://") or (ROOT / "docs" / target).is_file(), target
