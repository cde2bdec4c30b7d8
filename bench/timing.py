"""How long compiled functions take."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Took(NamedTuple):
    """Median milliseconds of one call."""

    clock: float
    busy: float  # of all processors together; on a machine with other work this tells more


def timed(work: Callable[..., Any], *args: Any, turns: int = 7) -> Took:
    """The time of a function, compiled and called once before it counts."""
    compiled = jax.jit(work)
    jax.block_until_ready(compiled(*args))
    clock, busy = [], []
    for _ in range(turns):
        start, worked = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*args))
        clock.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
    return Took(1e3 * statistics.median(clock), 1e3 * statistics.median(busy))
