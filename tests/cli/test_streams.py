"""What the command does with stdout and stderr, whatever they are: full, closed, or of few letters."""

import os
import re
import subprocess
import sys

import pytest

COMMANDS = [("--version",), ("--help",), ("weights", "list"), ("weights", "path"), ("list", "datasets")]
COMMAND = [sys.executable, "-m", "jtrack.cli"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_sentence(environment, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 2
        assert done.stderr == "jtrack: cannot write the output: No space left on device\n"
        both = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=full, check=False, env=environment)
        assert both.returncode == 2


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_leaves_ends_it_quietly(environment, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=environment
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_stdout(environment):
    command = f"exec {sys.executable} -m jtrack.cli --version >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow),
    ],
)
def test_a_terminal_of_few_letters(environment, folder, box, tmp_path, variables):
    strange = folder.rename(tmp_path / "h\u00fcnd\u2028chen\udce9[red]")
    arguments = ["track", os.fsencode(strange), "--init", box, "--backbone", "tiny", "--end", "3"]
    command = [*COMMAND, *arguments, "--out", os.fsencode(strange / "b.csv")]
    environment = environment | {"PYTHONIOENCODING": ""} | variables
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert re.match(r"\S+chen\\udce9\[red\]: 3 frames", said), said
    assert all(line.startswith(b"jtrack: ") for line in done.stderr.splitlines()), done.stderr
    assert said.endswith("chen\\udce9[red]/b.csv\n"), said
    for name in ("--help", "list"):
        done = subprocess.run([*COMMAND, "weights", name], capture_output=True, check=False, env=environment)
        assert done.returncode == 0 and done.stdout.decode(), done.stderr


def test_overflows_of_numpy_are_not_heard_of(environment):
    code = (
        "import sys, warnings; from jtrack import cli; cli._quieten();"
        "import numpy as np; np.float32(1e38) * np.float32(1e38); warnings.warn('heard')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stderr == "jtrack: heard\n"


def test_the_alarms_of_xla_are_not_heard_of(environment):
    """JAX itself sets the variable too, to a level that lets alarms pass."""
    code = "from jtrack import cli; cli._quieten(); import os, jax; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    without = {key: value for key, value in environment.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=without
    )
    assert done.stdout == "3\n"
