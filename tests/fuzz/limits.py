"""The limits that a reader of files from elsewhere keeps: memory above what was there, and time."""

import contextlib
import resource
import signal
from pathlib import Path

from jtrack import untrusted
from jtrack.errors import JtrackError


class LimitError(BaseException):
    """A reader takes too long; no `Exception`, so that no reader takes it for damage of its file."""


def _overtime(*_):
    raise LimitError(f"it takes more than {untrusted.SECONDS:.0f} seconds")


@contextlib.contextmanager
def limited():
    """Runs the body with a limited address space and time, as far as it is Linux that runs it.

    Raises:
      LimitError: the body took too long, or met the limit of memory, even where it made a sentence of it.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _overtime)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + untrusted.MEMORY, hard))
    signal.setitimer(signal.ITIMER_REAL, untrusted.SECONDS)
    try:
        yield
    except JtrackError as error:
        if _is_of_memory(error):
            raise LimitError(f"it takes more than {untrusted.MEMORY} bytes: {error}") from error
        raise
    except MemoryError as error:
        raise LimitError(f"it takes more than {untrusted.MEMORY} bytes") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _is_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
