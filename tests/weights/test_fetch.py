"""Fetching from a server on this machine that misbehaves in the ways of real ones."""

import errno
import hashlib
import http.server
import io
import os
import socket
import threading

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

    def address(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, begin = self.server, 0
        asked = self.headers.get("Range")
        server.asked.append((self.path.strip("/"), asked))
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
