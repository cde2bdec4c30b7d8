"""The derivative of whole trackers against finite differences, in float64, through init and three steps."""

import os
import subprocess
import sys

import pytest

from jtrack import trackers
from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("tracker", trackers.names())
def test_a_differentiable_profile_has_the_derivative_of_what_it_computes(tracker):
    """On a network without kinks: hyper-parameters, frames and the first box, in 20 directions each."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "gradients.py"), "--trackers", tracker, "--steps", "1e-6"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *_, row = done.stdout.splitlines()
    name, _, _, *medians = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == tracker and len(medians) == 3
    assert max(map(float, medians)) < 1e-3
