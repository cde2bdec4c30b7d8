"""The machine that a result was computed on. It is noted beside the result and never identifies it.

On two processors the same program gives the same boxes up to the last digits, but not the same speed.
"""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

# Variables that limit how many threads or devices compute, but not what.
_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
# Flags of XLA that do the same.
_PARALLEL = re.compile(
    r"--xla_(force_host_platform_device_count|cpu_multi_thread_eigen|cpu_parallel_codegen_split_count"
    r"|gpu_force_compilation_parallelism)\b.*|intra_op_parallelism_threads=.*"
)


def describe(*, lanes: int | str = 1, jax_device: bool = True) -> dict[str, Any]:
    """What of this process's machine changes the last digits of boxes, and the speed.

    Args:
      lanes: how many trials run at once; "auto", as many as fit.
      jax_device: whether JAX computes. Only then its device is asked for.
    """
    limits = {name: os.environ[name] for name in _LIMITS if name in os.environ}
    parallel = [flag for flag in _flags() if _PARALLEL.fullmatch(flag)]
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": jax.devices()[0].device_kind if jax_device else None,
        "lanes": lanes,
        "limits": limits | ({"XLA_FLAGS": " ".join(parallel)} if parallel else {}),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def numeric_flags() -> str | None:
    """The flags of XLA that change numbers, sorted; None if there are none."""
    return " ".join(flag for flag in _flags() if not _PARALLEL.fullmatch(flag)) or None


def title(facts: Mapping[str, Any]) -> str:
    """A machine in a few words: `AMD EPYC, 2 cores`, or `NVIDIA H100, 64 lanes`."""
    device = facts.get("device")
    on_cpu = device in (None, "cpu")
    cores = facts.get("cores") if on_cpu else None
    lanes, limits = facts.get("lanes", 1), facts.get("limits")
    parts = (
        str((facts.get("processor") if on_cpu else device) or "unknown machine"),
        f"{cores} core{'s' * (cores != 1)}" if cores else "",
        f"{lanes} lanes" if lanes != 1 else "",
        *(f"{name}={value}" for name, value in (limits if isinstance(limits, Mapping) else {}).items()),
    )
    return ", ".join(part for part in parts if part)


def called(machines: Sequence[Any], number: int) -> str:
    """The title of one of a run's machines, by its place among them. A damaged run may lack it."""
    facts = machines[number] if number < len(machines) else None
    return title(facts if isinstance(facts, Mapping) else {})


def _flags() -> list[str]:
    return sorted(os.environ.get("XLA_FLAGS", "").split())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
