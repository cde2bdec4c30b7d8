"""What is told of the machine, and which of XLA's flags are of the numbers."""

import numpy as np
import pytest

from jtrack.benchmark import machine, scoring
from jtrack.benchmark.results import TRACKED, Trajectory


def test_flags_are_sorted_into_numbers_and_limits(monkeypatch):
    monkeypatch.setenv(
        "XLA_FLAGS",
        "--xla_force_host_platform_device_count=8 --xla_cpu_enable_fast_math=true "
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1 --xla_a=b",
    )
    assert machine.numeric_flags() == "--xla_a=b --xla_cpu_enable_fast_math=true"
    limits = machine.describe(jax_device=False)["limits"]["XLA_FLAGS"].split()
    assert len(limits) == 3 and not set(limits) & set(machine.numeric_flags().split())
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    assert machine.numeric_flags() is None


@pytest.mark.parametrize(
    "facts, said",
    [
        ({"processor": "EPYC", "cores": 2, "device": "cpu", "lanes": 1}, "EPYC, 2 cores"),
        ({"processor": "EPYC", "cores": 1, "device": None, "lanes": 1}, "EPYC, 1 core"),
        ({"processor": "EPYC", "cores": 2, "device": "H100", "lanes": 64}, "H100, 64 lanes"),
        ({"processor": "EPYC", "limits": {"OMP_NUM_THREADS": "1"}}, "EPYC, OMP_NUM_THREADS=1"),
        ({"limits": ["what"]}, "unknown machine"),
    ],
)
def test_a_machine_in_a_few_words(facts, said):
    assert machine.title(facts) == said


def test_speeds_of_two_machines_are_kept_apart():
    def trial(seconds, key):
        return Trajectory(np.ones((4, 4)), np.full(4, TRACKED, np.uint8), 0, np.full(4, seconds), machine=key)

    machines = [{"processor": "Slow"}, {"processor": "Quick"}]
    found = scoring.speeds([trial(0.5, 0), trial(0.1, 1), trial(0.5, 0), trial(1.0, None)], machines)
    assert found == pytest.approx({"Slow": 2, "Quick": 10, "": 1})
    assert scoring.speeds([trial(0.5, 7)], ["what"]) == {"unknown machine": 2}
