"""What a server sends, piece by piece: whatever it does, it comes to an end.

A socket's timeout begins again with every byte, so that a server that sends one now and then would be waited
for without end. Everything is therefore read in a thread, and the time is kept outside of it.
"""

import contextlib
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urljoin

import requests
import urllib3

from jtrack.untrusted import reason

TIMEOUT = (10, 60)  # seconds: to connect, and between two bytes
ANSWER = 90.0  # seconds for an answer to begin, all redirects together
SLOWEST = 1000  # bytes a second: what comes more slowly for `PATIENCE` is given up
PATIENCE = 30.0  # seconds
REDIRECTS = 10
_CHUNK = 2**18  # bytes at most in a piece
_AHEAD = 16  # pieces that wait to be taken


class Answer(NamedTuple):
    """The head of a server's answer."""

    status: int
    headers: Mapping[str, str]


class Broken(Exception):
    """What was asked for did not come, or not whole; why, in a few words."""

    def __init__(self, why: str, *, silent: bool = False, slow: bool = False):
        super().__init__(why)
        self.silent = silent  # whether no server was reached at all
        self.slow = slow  # whether it came, but would take too long: asking again is of no use


@contextlib.contextmanager
def asked(address: str, headers: Mapping[str, str]) -> Iterator[tuple[Answer, Iterator[bytes]]]:
    """Asks a server for a file.

    Args:
      address: where.
      headers: of the request.

    Yields:
      The answer, and its data as they come, exactly as sent.

    Raises:
      Broken: also while the data are taken, for whatever goes wrong in between, or when they come too slowly.
    """
    pieces: queue.Queue[Any] = queue.Queue(_AHEAD)
    over = threading.Event()

    def put(piece: Any) -> bool:
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                pieces.put(piece, timeout=0.2)
                return True
        return False

    threading.Thread(target=_ask, args=(address, headers, put), daemon=True).start()
    try:
        try:
            answer = _taken(pieces, ANSWER)
        except queue.Empty:
            raise Broken("no answer in time", silent=True) from None
        yield answer, _in_time(pieces)
    finally:
        over.set()


def _taken(pieces: "queue.Queue[Any]", seconds: float) -> Any:
    piece = pieces.get(timeout=max(seconds, 0))
    if isinstance(piece, Exception):
        raise _broken(piece) from piece
    return piece


def _in_time(pieces: "queue.Queue[Any]") -> Iterator[bytes]:
    """The data, as long as they come at `SLOWEST` or faster in each span of `PATIENCE`."""
    begun, got = time.monotonic(), 0
    while True:
        left = begun + PATIENCE - time.monotonic()
        if left <= 0:
            # What waits was sent in time: it is we who were slow to take it.
            if got < SLOWEST * PATIENCE and pieces.empty():
                raise Broken(f"it sends less than {SLOWEST} bytes a second", slow=True)
            begun, got = time.monotonic(), 0
            continue
        with contextlib.suppress(queue.Empty):
            piece = _taken(pieces, left)
            if piece is None:
                return
            got += len(piece)
            yield piece


class _Session(requests.Session):
    """Follows no redirect by itself: it would read the whole body of each, which may have no end."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Says that there is none."""


def _ask(address: str, headers: Mapping[str, str], put: Callable[[Any], bool]) -> None:
    """Puts the answer, its data and None; or what went wrong. Ends when nobody takes it any more."""
    try:
        with _Session() as session:
            for _ in range(REDIRECTS + 1):
                with session.get(address, headers=dict(headers), stream=True, timeout=TIMEOUT) as response:
                    if not response.is_redirect:
                        put(Answer(response.status_code, response.headers))
                        while piece := response.raw.read1(_CHUNK, decode_content=False):
                            if not put(piece):
                                return
                        put(None)
                        return
                    target = response.headers["Location"].encode("latin-1").decode()
                    address = urljoin(address, target)
        raise Broken(f"it sends one to another address more than {REDIRECTS} times")
    except Exception as error:  # of requests, urllib3, http.client, ssl, sockets, codecs of host names
        put(error)


def _broken(error: Exception) -> Broken:
    if isinstance(error, Broken):
        return error
    silent = isinstance(error, requests.ConnectionError | requests.Timeout)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return Broken("no answer in time", silent=silent)
    first = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else error
    if isinstance(first, urllib3.exceptions.ProtocolError):
        return Broken("the connection was cut", silent=silent)
    # The last part of urllib3's chain of words: "Connection refused", "Name or service not known".
    words = reason(error).rsplit(": ", 1)[-1]
    return Broken(re.sub(r"""\[Errno -?\d+\] |["']\)+$""", "", words), silent=silent)
