"""Counting what is compiled."""

from contextlib import contextmanager

import jax.monitoring
import pytest

_COMPILED: list[str] = []


def _listen(event, duration, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        _COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


@pytest.fixture
def compilations():
    """A context that yields a list with one entry for every compilation inside it."""

    @contextmanager
    def counting():
        before, seen = len(_COMPILED), []
        yield seen
        seen.extend(_COMPILED[before:])

    return counting
