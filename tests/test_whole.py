"""Files that appear whole or not at all."""

import os
import stat

import numpy as np
import pytest

from jtrack import whole
from jtrack.cli import outputs
from jtrack.data import otb
from jtrack.errors import JtrackError
from jtrack.weights import store

IMAGE = np.zeros((4, 4, 3), np.uint8)
WRITERS = [
    lambda path: whole.write_whole(path, "new"),
    lambda path: otb.write_boxes(path, [[0, 0, 1, 1]]),
    lambda path: outputs.write_image(path, IMAGE),
    lambda path: store.write(path, {"conv": {"bias": IMAGE}}, {}),
]


def test_a_file_is_replaced_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    for content in ("one", b"two", "\udce9"):
        whole.write_whole(path, content)
        expected = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
        assert path.read_bytes() == expected and os.listdir(path.parent) == ["c.txt"]


@pytest.mark.parametrize("name", ["x" * 250 + ".txt", "vid\udce9o.txt", ".txt", "a b\n%d"])
def test_any_name(tmp_path, name):
    whole.write_whole(tmp_path / name, "")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("write", WRITERS)
def test_a_link_is_replaced_and_not_followed(tmp_path, write):
    (tmp_path / "mine").write_text("mine")
    path = tmp_path / "out"
    path.symlink_to(tmp_path / "mine")
    write(path)
    assert (tmp_path / "mine").read_text() == "mine" and not path.is_symlink()
    assert path.stat().st_size and sorted(os.listdir(tmp_path)) == ["mine", "out"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_link_under_the_temporary_name_is_refused(tmp_path, monkeypatch, write):
    (tmp_path / "mine").write_text("mine")
    monkeypatch.setattr(whole.secrets, "token_hex", lambda _: "0")
    (tmp_path / f".{whole._HOST}-{os.getpid()}-0.part").symlink_to(tmp_path / "mine")
    with pytest.raises((FileExistsError, JtrackError), match="File exists"):
        write(tmp_path / "out")
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_goes_wrong_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "out"
    path.write_text("old")

    def fail():
        with whole.replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out"]


def test_the_mode_is_the_users_own(tmp_path):
    before = os.umask(0o027)
    try:
        store.write(tmp_path / "out", {"conv": {"bias": IMAGE}}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
