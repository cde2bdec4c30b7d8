"""Strict numerics for every test, and where the real data and weights are."""

import gc
import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
import pytest

from jtrack import devices

# Nothing in jtrack may rely on silent promotion: a stray float64 or an implicit broadcast is an error.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
devices.keep_memory()

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Compiles quickly: that is most of the suite's time.

    XLA's programs are the same, but LLVM hardly optimises what it makes of them. The accuracy runs, and the
    commands and notebooks that tests start, are compiled as users compile them; so is the whole suite with
    JAX_DISABLE_MOST_OPTIMIZATIONS=0.
    """
    if config.getoption("markexpr") != "accuracy" and "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
        jax.config.update("jax_disable_most_optimizations", True)


MAPPINGS = Path("/proc/self/maps")  # Linux alone has it
MANY = 30_000  # of the 65 530 that Linux allows a process by default


@pytest.fixture(scope="module", autouse=True)
def _few_mappings() -> Generator[None]:
    """Drops compiled programs before their mappings run out: LLVM crashes without any left."""
    yield
    if MAPPINGS.is_file() and len(MAPPINGS.read_bytes().splitlines()) > MANY:
        jax.clear_caches()
        gc.collect()


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} (set {variable})")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real sequences: `JTRACK_DATA`, by default ../shared/data."""
    return _folder("JTRACK_DATA", ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    """The real networks: `JTRACK_WEIGHTS`, by default ../shared/weights."""
    return _folder("JTRACK_WEIGHTS", ROOT.parent / "shared" / "weights")


_COMPILED: list[str] = []


def _listen(event: str, duration: float, **_: Any) -> None:
    del duration
    if event == "/jax/core/compile/backend_compile_duration":
        _COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


@pytest.fixture
def compilations() -> Callable[[], AbstractContextManager[list[str]]]:
    """A context that yields a list with one entry for every compilation inside it."""

    @contextmanager
    def counting() -> Generator[list[str]]:
        before = len(_COMPILED)
        seen: list[str] = []
        yield seen
        seen.extend(_COMPILED[before:])

    return counting


@pytest.fixture
def optax_promotes():
    """Allows optax what nothing of jtrack may do: its Adam mixes whole and real numbers."""
    with jax.numpy_dtype_promotion("standard"):
        yield
