"""The limits that a reader of files from elsewhere keeps: memory above what was there, and time."""

import contextlib
import resource
import signal
from pathlib import Path

from jtrack import untrusted
from jtrack.errors import JtrackError

MEMORY = Path("/proc/self/statm")  # pages of this process; Linux alone has it
SECONDS = 10.0  # for one file of ordinary size
BUSY = 6  # times as long by the clock, for what only waits: other processes may be at work


class LimitError(BaseException):
    """A reader takes too long; no `Exception`, so that no reader takes it for damage of its file."""


def _overtime(*_):
    raise LimitError(f"it takes more than {SECONDS:g} seconds")


@contextlib.contextmanager
def limited():
    """Runs the body with a limited address space and time, as far as it is Linux that runs it.

    Raises:
      LimitError: the body took too long, or met the limit of memory, even where it made a sentence of it.
    """
    if not MEMORY.is_file():
        yield
        return
    pages = int(MEMORY.read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = {kind: signal.signal(kind, _overtime) for kind in (signal.SIGALRM, signal.SIGPROF)}
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + untrusted.MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, BUSY * SECONDS)
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
        signal.setitimer(signal.ITIMER_PROF, 0)
        for kind, handler in before.items():
            signal.signal(kind, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _is_of_memory(error):
    """Whether an error, or one of those that it came from, is one of memory."""
    seen = set()  # an error that is raised twice may have come from itself
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError) or "Failed to allocate" in str(error):  # OpenCV says so
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
