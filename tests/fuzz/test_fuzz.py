"""Some of the damaged inputs, for half a minute; `make fuzz` reads all of them."""

import shlex
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.fuzz.limits import LimitError, limited
from tests.fuzz.mutations import MUTATIONS, mutated
from tests.fuzz.readers import READERS
from tests.fuzz.runner import attempted, fuzz

SECONDS = 30.0  # in all


def test_no_damaged_input_is_more_than_refused(tmp_path):
    found = fuzz(list(READERS), inputs=1000, seconds=SECONDS / len(READERS), keep=tmp_path / "failures")
    failures = [failure for each in found.values() for failure in each.failures[:3]]
    assert not failures, "\n".join(failures)
    unread = [name for name, each in found.items() if not each.inputs]
    assert not unread, unread


@pytest.mark.slow
def test_make_fuzz_is_one_command_that_ends_with_a_sum(tmp_path):
    """What `make fuzz` runs, with few inputs; make within make would name its directory, too."""
    wanted = ["make", "--no-print-directory", "--dry-run", "--assume-old=.venv/test.done", "fuzz"]
    (line,) = subprocess.run(wanted, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    python, *arguments = shlex.split(line)
    assert python.endswith("python")
    few = ["--readers", "otb,head", "--inputs", "3", "--keep", str(tmp_path)]
    again = [sys.executable, *arguments, *few]
    said = subprocess.run(again, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    head, *rows, total = said.splitlines()
    assert head.split()[0] == "reader" and [row.split()[:2] for row in rows] == [["otb", "3"], ["head", "3"]]
    assert total == "6 inputs, 0 failed"


def test_the_same_seed_gives_the_same_input():
    data = bytes(range(256)) * 8
    first, again = (mutated(data, np.random.default_rng(5)) for _ in range(2))
    assert first == again != data
    assert len({mutated(data, np.random.default_rng(seed)) for seed in range(50)}) > 40


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_nothing_is_too_short_to_be_damaged(mutation):
    for data in (b"", b"1", b"1,2\n3,4\n"):
        results = {mutation(data, np.random.default_rng(seed)) for seed in range(20)}
        assert all(isinstance(result, bytes) for result in results)


def hungry(folder):
    return bytes(1 << 31)


def endless(folder):
    while True:
        pass


def careless(folder):
    raise KeyError("of a parser")


@pytest.mark.parametrize(
    ("read", "said"), [(hungry, "takes more than"), (endless, "takes more than"), (careless, "KeyError")]
)
def test_a_bad_reader_is_found(tmp_path, monkeypatch, read, said):
    monkeypatch.setattr("tests.fuzz.limits.SECONDS", 0.2)
    outcome = attempted(READERS["npz"]._replace(read=read), tmp_path)
    assert said in outcome["failed"]


def test_a_sentence_about_memory_is_no_excuse(tmp_path):
    from jtrack.untrusted import reading

    with pytest.raises(LimitError), limited(), reading("x"):
        hungry(tmp_path)
