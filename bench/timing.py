"""How long compiled functions take."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax


class Took(NamedTuple):
    """Median milliseconds of one call."""

    clock: float
    busy: float  # of all processors together; on a machine with other work this tells more


def timed(work: Callable[..., Any], *args: Any, turns: int = 7) -> Took:
    """The time of a function, compiled and called once before it counts."""
    return timed_in_turns([work], *args, turns=turns)[0]


def timed_in_turns(works: Sequence[Callable[..., Any]], *args: Any, turns: int = 7) -> list[Took]:
    """The times of functions of the same arguments, compiled and called once before it counts.

    They take turns, so that whatever else the machine does meets all of them.
    """
    compiled = [jax.jit(work) for work in works]
    for call in compiled:
        jax.block_until_ready(call(*args))
    spans: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(turns):
        for call, taken in zip(compiled, spans, strict=True):
            start, worked = time.perf_counter(), time.process_time()
            jax.block_until_ready(call(*args))
            taken.append((time.perf_counter() - start, time.process_time() - worked))
    return [Took(*(1e3 * statistics.median(times) for times in zip(*taken, strict=True))) for taken in spans]
