"""Fetching weights: the addresses of the manifest in turn, resumed where broken off, verified, converted.

A download grows under the name FILE.part in the folder that will receive the network; a later attempt goes on
where it ended. Only when its size and checksum are right and it has been converted does the network appear,
under its final name, and the download is deleted.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from jtrack.errors import JtrackError
from jtrack.untrusted import regular_file, stand_in
from jtrack.weights import download, store
from jtrack.weights.convert import Layers, Source

_START = 64  # bytes by which a web page is told
_ATTEMPTS = 5  # connections to one address, as long as each brings something
_MOST_BYTES = 2**31  # of a file whose size the manifest does not know

Progress = Callable[[str, int, int | None], None]  # (file, bytes so far, bytes in all or None)


class Fetched(NamedTuple):
    """What was fetched."""

    path: Path  # the stored network
    address: str  # where its source came from
    checksum: str  # "verified: ..." or "unverified: ..."


def fetch(name: str, *, progress: Progress = lambda file, done, total: None) -> Fetched:
    """Fetches, verifies and stores the weights of a network.

    Args:
      name: a network of the manifest.
      progress: called after every piece of data.

    Returns:
      The stored file, its address and what is known of its checksum. A file whose checksum is not published
      is accepted when it holds exactly the network, and called "unverified".

    Raises:
      JtrackError: no address gave the right file; the sentence says what happened at each, and what to do
        offline. Nothing is installed then.
    """
    name = store.entry(name).name
    if not store.entry(name).sources:
        raise JtrackError(f"{name} comes with jtrack, in {store.own_folder()}: there is nothing to fetch")
    folder = store.destination()
    failures = []
    silent = []  # why an address could not be reached
    for source in store.entry(name).sources:
        part = folder / f"{source.file}.part"
        for address in source.addresses:
            try:
                _make_folder(folder)
                checksum = _obtained(address, source, part, progress)
                layers, header = _converted(part, name, source)
            except download.Broken as error:
                failures.append(f"{address}: {error}")
                silent += [str(error)] if error.silent else []
                continue
            except _Wrong as error:
                failures.append(f"{address}: {error}")
                continue
            stored = folder / (name + store.SUFFIX)
            try:
                store.write(stored, layers, header | {"source_address": address})
            finally:
                part.unlink()
            return Fetched(stored, address, checksum)
    first = next((a for source in store.entry(name).sources for a in source.addresses), None)
    if first is None:
        file = store.entry(name).sources[0].file
        raise JtrackError(f"{name} cannot be fetched: it has no public address; put {file} into {folder}")
    if len(silent) == len(failures):
        why = f", as this machine is offline or no server answers ({'; '.join(dict.fromkeys(silent))})"
    else:
        why = f" ({'; '.join(failures)})"
    raise JtrackError(
        f"could not fetch {name}{why}: fetch {first} elsewhere, then: jtrack weights convert FILE --as {name}"
    )


class _Wrong(Exception):
    """What came from an address is not the file."""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JtrackError(
            f"cannot write to {folder}: {error.strerror}; name another folder in JTRACK_WEIGHTS"
        ) from None


def _obtained(address: str, source: Source, part: Path, progress: Progress) -> str:
    """Downloads and verifies one file; says what is known of its checksum."""
    if source.checksum == "unverified":
        part.unlink(missing_ok=True)  # two halves from two places could not be told from the file
    if resumed := part.exists():
        regular_file(part)
    try:
        _download(address, source, part, progress)
        return _verified(part, source)
    except _Wrong:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
    return _obtained(address, source, part, progress)  # what an earlier attempt left was of another file


def _converted(part: Path, name: str, source: Source) -> tuple[Layers, dict[str, str]]:
    try:
        return store.made_from(part, name, source=source)
    except JtrackError as error:
        part.unlink(missing_ok=True)
        raise _Wrong(str(error)) from None


def _download(address: str, source: Source, part: Path, progress: Progress) -> None:
    """Brings `part` to its full length, over as many connections as it takes."""
    for attempt in range(1, _ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        if source.size is not None and before >= source.size:
            return
        try:
            _receive(address, source, part, progress)
            return
        except download.Broken as error:
            gained = part.exists() and part.stat().st_size > before
            if attempt == _ATTEMPTS or error.slow or not gained:
                raise


def _receive(address: str, source: Source, part: Path, progress: Progress) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with download.asked(address, headers) as (answer, sent):
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            raise _Wrong(f"what had been fetched before ({done} bytes) is not a part of the file")
        if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise download.Broken(f"the server answers {answer.status}")
        if (packed := answer.headers.get("Content-Encoding", "identity")) != "identity":
            raise download.Broken(f"it sends the file packed ({packed})")
        begins = answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        resumed = answer.status == HTTPStatus.PARTIAL_CONTENT and begins
        if not resumed:
            done = 0  # the server sends everything again
        pieces = sent if resumed else _not_a_stand_in(sent)
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if re.fullmatch("[0-9]{1,15}", length) else source.size
        if source.size is not None and total != source.size:
            raise _Wrong(f"it offers {total} bytes, the file has {source.size}")
        most = source.size or _MOST_BYTES
        try:
            with part.open("ab" if resumed else "wb") as file:
                for piece in pieces:
                    done += len(piece)
                    if done > most:
                        raise _Wrong(f"it sends more than the {most} bytes of the file")
                    file.write(piece)
                    progress(source.file, done, total)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            raise JtrackError(
                f"cannot write {part}: {error.strerror or error}; nothing was kept: make room, or name "
                "another folder in JTRACK_WEIGHTS"
            ) from None
    if total is not None and done < total:
        raise download.Broken(f"the connection was cut after {done} of {total} bytes")


def _not_a_stand_in(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same data; refuses a web page or a pointer by its first bytes, before its length is looked at."""
    start = b""
    while len(start) < _START and (piece := next(pieces, b"")):
        start += piece
    if found := stand_in(start):
        raise download.Broken(f"it is {found}")
    return itertools.chain([start] if start else [], pieces)


def _verified(part: Path, source: Source) -> str:
    size = part.stat().st_size
    if source.size is not None and size != source.size:
        raise _Wrong(f"it sent {size} bytes, the file has {source.size}")
    state = store.checksum_state(part, source)
    if state.startswith("differs"):
        raise _Wrong(f"wrong checksum, {state}")
    return state
