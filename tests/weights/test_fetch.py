"""Fetching from a server on this machine that misbehaves in the ways of real ones."""

import contextlib
import errno
import hashlib
import http.server
import io
import itertools
import os
import socket
import threading
import time

import numpy as np
import pytest

from jtrack import backbones
from jtrack.errors import JtrackError
from jtrack.weights import download, store
from jtrack.weights import fetch as fetching
from jtrack.weights.convert import Source

PREPROCESSING = {"order": "RGB", "mean": [0.0] * 3, "std": [1.0] * 3, "size": [64, 64]}


class Server(http.server.ThreadingHTTPServer):
    """Serves `data` under any path; the path says how."""

    def __init__(self, data):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.asked, self.cut_after = data, [], None
        self.raw = {}  # path -> function that gives the pieces of an answer, sent as they are

    def address(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, begin = self.server, 0
        asked = self.headers.get("Range")
        server.asked.append((self.path.strip("/"), asked))
        if self.path in server.raw:
            return self.send_raw(server.raw[self.path]())
        if self.path == "/absent":
            return self.send_error(404)
        data = b"<html>moved</html>" if self.path == "/page" else server.data
        if asked and self.path != "/no-ranges":
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            if begin >= len(data):
                return self.send_error(416)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        end = len(data)
        if self.path == "/cut" and begin + server.cut_after < end:
            end = begin + server.cut_after
        self.wfile.write(data[begin:end])
        if end < len(data):
            self.connection.shutdown(socket.SHUT_RDWR)

    def send_raw(self, pieces):
        self.close_connection = True
        with contextlib.suppress(OSError):  # whoever asked has gone
            for piece in pieces:
                self.wfile.write(piece)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def params():
    return backbones.get("tiny").random_params(7)


@pytest.fixture(scope="module")
def data(params):
    """A source file of the tiny net."""
    arrays = {}
    for layer, parts in params.items():
        kernel = np.asarray(parts["kernel"])
        if layer == "fc6":  # its input is a map of 2 x 2 x 16
            kernel = np.einsum("hwco->chwo", kernel.reshape(2, 2, 16, -1)).reshape(kernel.shape)
        arrays[f"{layer}_W"] = np.einsum("hwio->oihw", kernel) if kernel.ndim == 4 else kernel.T
        arrays[f"{layer}_b"] = np.asarray(parts["bias"])
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.fixture
def server(data):
    server = Server(data)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offer(server, data, user_folder, monkeypatch):
    """Puts the tiny net into the manifest, to be fetched from given paths."""

    whole = len(data)

    def into_manifest(*paths, checksum=None, size=whole, addresses=()):
        checksum = checksum or f"sha256:{hashlib.sha256(data).hexdigest()}"
        everywhere = (*addresses, *map(server.address, paths))
        source = Source("tiny.npz", "npz", "RGB", checksum, addresses=everywhere, size=size)
        entry = store.Entry("tiny", "none", PREPROCESSING, (source,), {"fc6": (2, 2, 16)})
        monkeypatch.setattr(store, "manifest", lambda: {"tiny": entry})

    return into_manifest


def stored(user_folder):
    return sorted(path.name for path in user_folder.iterdir()) if user_folder.exists() else []


def assert_installed(user_folder, params):
    assert stored(user_folder) == ["tiny.safetensors"]
    found, _ = store.read(user_folder / "tiny.safetensors", "tiny")
    for layer, parts in params.items():
        for part, array in parts.items():
            np.testing.assert_array_equal(found[layer][part], array)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha1", "md5"])
def test_a_file_is_fetched_verified_and_stored(server, offer, params, user_folder, algorithm):
    data = server.data
    offer("file", checksum=f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
    seen = []
    fetched = fetching.fetch("tiny", progress=lambda *step: seen.append(step))
    assert fetched == (user_folder / "tiny.safetensors", server.address("file"), f"verified: {algorithm}")
    assert seen[-1] == ("tiny.npz", len(data), len(data))
    assert_installed(user_folder, params)
    assert store.locate("tiny") == fetched.path


def test_what_is_published_is_what_is_said(offer, data, params, user_folder):
    offer("file", checksum=f"sha256:{hashlib.sha256(data).hexdigest()[:8]}", size=None)
    assert fetching.fetch("tiny").checksum == "verified: sha256, first 8 digits"
    offer("file", checksum="unverified", size=None)
    assert fetching.fetch("tiny").checksum.startswith("unverified")
    assert_installed(user_folder, params)
    _, header = store.read(user_folder / "tiny.safetensors", "tiny")
    assert header["source_checksum"].startswith("unverified")


def test_a_cut_connection_is_resumed(server, offer, params, user_folder, monkeypatch):
    monkeypatch.setattr(download, "_CHUNK", 1000)
    server.cut_after = 9000
    offer("cut")
    fetching.fetch("tiny")
    assert server.asked[0] == ("cut", None)
    assert server.asked[1:] == [("cut", f"bytes={n * server.cut_after}-") for n in (1, 2)]
    assert_installed(user_folder, params)


def test_a_later_attempt_goes_on_where_the_first_ended(server, offer, data, params, user_folder):
    server.cut_after = 0
    offer("cut")
    user_folder.mkdir(parents=True)
    (user_folder / "tiny.npz.part").write_bytes(data[:1000])
    with pytest.raises(
        JtrackError,
        match=r"connection was cut.*fetch .*/cut elsewhere, then: jtrack weights convert FILE --as tiny",
    ):
        fetching.fetch("tiny")
    assert stored(user_folder) == ["tiny.npz.part"]
    offer("file")
    fetching.fetch("tiny")
    assert server.asked[-1] == ("file", "bytes=1000-")
    assert_installed(user_folder, params)


@pytest.mark.parametrize("path", ["file", "no-ranges"])
def test_the_beginning_of_another_file_is_thrown_away(offer, params, user_folder, path):
    offer(path)
    user_folder.mkdir(parents=True)
    (user_folder / "tiny.npz.part").write_bytes(b"x" * 1000)
    fetching.fetch("tiny")
    assert_installed(user_folder, params)


def test_a_beginning_longer_than_the_file(server, offer, data, params, user_folder):
    for size in (None, len(data)):
        offer("file", size=size)
        user_folder.mkdir(parents=True, exist_ok=True)
        (user_folder / "tiny.npz.part").write_bytes(b"x" * (len(data) + 1))
        fetching.fetch("tiny")
        assert_installed(user_folder, params)


@pytest.mark.parametrize("first", ["absent", "packed", "page-for-all"])
def test_a_mirror_without_the_file_costs_nothing_of_what_came(
    server, offer, data, params, user_folder, first
):
    server.raw["/packed"] = lambda: [OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b"]
    server.raw["/page-for-all"] = lambda: [OK + b"\r\n<html>Sign in</html>"]
    user_folder.mkdir(parents=True)
    (user_folder / "tiny.npz.part").write_bytes(data[:1000])
    offer(first, "file")
    assert fetching.fetch("tiny").address == server.address("file")
    assert server.asked == [(first, "bytes=1000-"), ("file", "bytes=1000-")]
    assert_installed(user_folder, params)


def test_an_unverified_file_is_never_made_of_two_halves(server, offer, data, params, user_folder):
    offer("file", checksum="unverified")
    user_folder.mkdir(parents=True)
    (user_folder / "tiny.npz.part").write_bytes(data[:1000])
    fetching.fetch("tiny")
    assert server.asked == [("file", None)]
    assert_installed(user_folder, params)


def test_the_next_mirror_is_tried(server, offer, params, user_folder):
    offer("absent", "page", "file")
    fetched = fetching.fetch("tiny")
    assert fetched.address == server.address("file")
    assert [path for path, _ in server.asked] == ["absent", "page", "file"]
    assert_installed(user_folder, params)


@pytest.mark.parametrize(
    ("path", "changes", "problem"),
    [
        ("file", {"checksum": "sha256:" + "0" * 64}, "wrong checksum, differs: sha256 [0-9a-f]{64}"),
        ("file", {"size": 100}, "offers [0-9]+ bytes, the file has 100"),
        ("file", {"size": 10**6}, "offers [0-9]+ bytes, the file has 1000000"),
        ("absent", {}, "the server answers 404"),
        ("page", {"checksum": "unverified", "size": None}, "a web page and not the file itself"),
        ("page", {}, "a web page and not the file itself"),
    ],
)
def test_what_is_wrong_is_not_installed(offer, user_folder, path, changes, problem):
    offer(path, **changes)
    with pytest.raises(JtrackError, match=problem) as caught:
        fetching.fetch("tiny")
    assert "jtrack weights convert FILE --as tiny" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "tiny.safetensors" not in stored(user_folder)
    with pytest.raises(JtrackError):
        store.verify("tiny")


def test_a_file_without_an_announced_length(offer, params, user_folder, monkeypatch):
    offer("endless", size=None)
    fetching.fetch("tiny")
    assert_installed(user_folder, params)
    monkeypatch.setattr(fetching, "_MOST_BYTES", 1000)
    with pytest.raises(JtrackError, match="sends more than the 1000 bytes"):
        fetching.fetch("tiny")
    assert_installed(user_folder, params)


def test_offline(offer, user_folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        offer(addresses=(address,))
        with pytest.raises(JtrackError) as caught:
            fetching.fetch("tiny")
    assert str(caught.value) == (
        "could not fetch tiny, as this machine is offline or no server answers (Connection refused): "
        f"fetch {address} elsewhere, then: jtrack weights convert FILE --as tiny"
    )
    assert stored(user_folder) == []


def test_a_net_without_addresses(user_folder):
    with pytest.raises(JtrackError, match=r"no public address; put vgg19_16x_distilled\.npz into"):
        fetching.fetch("vgg19_slim")
    with pytest.raises(JtrackError, match="unknown network"):
        fetching.fetch("vgg20")


def test_a_full_disk_leaves_nothing(offer, user_folder, monkeypatch):
    offer("file")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(fetching.os, "fsync", full)
        with pytest.raises(JtrackError, match="No space left on device; nothing was kept"):
            fetching.fetch("tiny")
    assert stored(user_folder) == []
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "replace", full)
        with pytest.raises(JtrackError, match="No space left on device; nothing was kept"):
            fetching.fetch("tiny")
    assert stored(user_folder) == []


def test_an_interruption_keeps_what_came_and_installs_nothing(offer, data, params, user_folder):
    offer("file")

    def interrupt(file, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetching.fetch("tiny", progress=interrupt)
    assert stored(user_folder) == ["tiny.npz.part"]
    fetching.fetch("tiny")
    assert_installed(user_folder, params)


def test_a_folder_that_cannot_be_made(offer, user_folder, monkeypatch):
    offer("file")
    user_folder.parent.parent.mkdir(parents=True)
    user_folder.parent.write_text("a file where the folder should be")
    with pytest.raises(JtrackError, match=f"cannot write to {user_folder}"):
        fetching.fetch("tiny")


OK = b"HTTP/1.1 200 OK\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: "


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (OK + "Content-Length: \u00b2\r\n\r\nabc".encode("latin-1"), "."),
        (OK + b"Content-Length: -5\r\n\r\nabc", "."),
        (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc", "."),
        (OK + b"Content-Length: 3, 4\r\n\r\nabc", "."),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n", "."),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", "the connection was cut"),
        (OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", r"it sends the file packed \(gzip\)"),
        (MOVED + b"http://[::1\r\n\r\n", "Invalid IPv6"),
        (MOVED + b"http://a..b/\r\n\r\n", "."),
        (MOVED + b"\xff\xfe\r\n\r\n", "invalid start byte"),
        (MOVED + b"file:///etc/passwd\r\n\r\n", "No connection adapters"),
        (MOVED + b"/raw\r\n\r\n", "sends one to another address more than 10 times"),
        (b"HTTP/1.1 999 What\r\n\r\n", "the server answers 999"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "the server answers 304"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "."),
        (b"", "."),
        (OK + b"A: b\r\n" * 500 + b"\r\n", "."),
        (OK + b"A" * 100_000 + b"\r\n\r\n", "."),
        (OK + b"\r\nversion https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
    ],
)
def test_an_answer_of_another_kind(server, offer, params, user_folder, answer, problem):
    """It is said in a few words, and the next mirror is tried."""
    server.raw["/raw"] = lambda: [answer]
    for whole in (False, True):
        kind = {} if whole else {"checksum": "unverified", "size": None}
        offer("raw", **kind)
        with pytest.raises(JtrackError, match=problem) as caught:
            fetching.fetch("tiny")
        assert str(caught.value).startswith("could not fetch tiny") and "\n" not in str(caught.value)
        assert "tiny.safetensors" not in stored(user_folder)
    offer("raw", "file")
    assert fetching.fetch("tiny").address == server.address("file")
    assert_installed(user_folder, params)


def drip(start, piece):
    """An answer that goes on and on, some bytes at a time."""
    yield start
    while True:
        time.sleep(0.02)
        yield piece


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        (lambda: drip(OK + b"\r\n", b"x"), "sends less than 1000 bytes a second"),
        (lambda: drip(OK, b"A: b\r\n"), "no answer in time|more than"),
        (lambda: drip(b"", b"H"), "no answer in time"),
        (lambda: drip(MOVED + b"/raw\r\n\r\n", b"x"), "to another address more than 10 times"),
    ],
    ids=["data", "headers", "status", "redirect"],
)
def test_a_server_that_hardly_sends_anything(
    server, offer, params, user_folder, monkeypatch, pieces, problem
):
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    monkeypatch.setattr(download, "ANSWER", 1.0)
    offer("raw")
    server.raw["/raw"] = pieces
    begun = time.monotonic()
    with pytest.raises(JtrackError, match=problem):
        fetching.fetch("tiny")
    assert time.monotonic() - begun < 20, "it would have gone on for ever"
    assert len(server.asked) <= 11, "a slow server is not asked again"
    offer("raw", "file", checksum="unverified")
    assert fetching.fetch("tiny").address == server.address("file")
    assert_installed(user_folder, params)


def test_a_slow_server_is_waited_for(server, offer, data, params, user_folder, monkeypatch):
    """It sends more than a kilobyte a second, if only just."""
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    monkeypatch.setattr(download, "SLOWEST", 2000)
    offer("raw")
    length = OK + b"Content-Length: %d\r\n\r\n" % len(data)
    pieces = [bytes(piece) for piece in itertools.batched(data, 1 + len(data) // 20)]
    server.raw["/raw"] = lambda: itertools.chain([length], (time.sleep(0.05) or piece for piece in pieces))
    fetching.fetch("tiny")
    assert_installed(user_folder, params)
