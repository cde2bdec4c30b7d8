"""Checkpoints: what is read is what was written, and there is always a whole one."""

import errno
import os

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jtrack.errors import JtrackError
from jtrack.learning.fc_head import Dense
from jtrack.train import checkpoint
from jtrack.weights import store
from tests.fuzz.limits import limited


def tree(seed):
    rng = np.random.default_rng(seed)
    return {
        "layer": Dense(jnp.asarray(rng.normal(size=(3, 4)), jnp.float32), jnp.float32(rng.normal())),
        "count": (jnp.int32(seed), ()),
    }


def test_every_leaf_comes_back(tmp_path):
    path = tmp_path / "new" / "checkpoint.safetensors"
    checkpoint.save(path, tree(3), {"step": 3, "history": [[0, 0.1]]})
    found = checkpoint.load(path, tree(0))
    np.testing.assert_array_equal(found["layer"].kernel, tree(3)["layer"].kernel)
    np.testing.assert_array_equal(found["layer"].bias, tree(3)["layer"].bias)
    assert found["count"][0] == 3 and found["count"][0].dtype == np.int32
    assert checkpoint.about(path) == {"step": 3, "history": [[0, 0.1]]}


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"

    def full(tensors, file, header):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(JtrackError, match=r"No space left on device; there is none yet: make room"):
        checkpoint.save(path, tree(1), {})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    checkpoint.save(path, tree(1), {"step": 1})
    before = path.read_bytes()
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(JtrackError, match=r"No space left on device; the one before is kept: make room"):
        checkpoint.save(path, tree(2), {"step": 2})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, tree(1), {"step": 1})
    other = tree(1) | {"count": (jnp.zeros(3), ())}
    with pytest.raises(
        JtrackError, match=r"\(\['count'\]\[0\] is int32 \[\]\): it is damaged or another's: delete it"
    ):
        checkpoint.load(path, other)
    path.write_bytes(path.read_bytes()[:40])
    for read in (checkpoint.about, lambda file: checkpoint.load(file, tree(1))):
        with pytest.raises(JtrackError, match=r"checkpoint\.safetensors cannot be read .*it is damaged"):
            read(path)
    store.write(path, {"a": {"kernel": np.zeros(3, np.float32)}}, {})
    with pytest.raises(JtrackError, match=r"'about'.*it is damaged"):
        checkpoint.about(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_no_training_keeps_is_named(tmp_path, value):
    path = tmp_path / "checkpoint.safetensors"
    wrong = tree(1)
    wrong["layer"] = wrong["layer"]._replace(bias=jnp.float32(value))
    checkpoint.save(path, wrong, {"step": 1})
    with pytest.raises(JtrackError, match=r"\['layer'\]\.bias is not finite") as caught:
        checkpoint.load(path, tree(1))
    assert str(path) in str(caught.value)


def test_what_is_no_checkpoint_at_all(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    os.mkfifo(path)
    for read in (checkpoint.about, lambda file: checkpoint.load(file, tree(1))):
        with limited(), pytest.raises(JtrackError, match="it is a pipe, not a file"):
            read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    for read in (checkpoint.about, lambda file: checkpoint.load(file, tree(1))):
        with limited(), pytest.raises(JtrackError, match="it is a device, not a file"):
            read(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)
    for read in (checkpoint.about, lambda file: checkpoint.load(file, tree(1))):
        with limited(), pytest.raises(JtrackError, match=r"checkpoint\.safetensors"):
            read(path)


@pytest.mark.parametrize(
    "about", [b"[1]", b"{", b"[" * 100_000, b"NaN", b"\xff", b'{"a": "\\ud800"}', b'{"a": 1, "a": 2}']
)
def test_json_of_another_kind_beside_the_arrays(tmp_path, about):
    path = tmp_path / "checkpoint.safetensors"
    header = {"about": about.decode("latin-1")}
    save_file({"a": np.zeros(3, np.float32)}, path, header)
    with limited(), pytest.raises(JtrackError, match=r"checkpoint\.safetensors cannot be read .*: delete it"):
        checkpoint.about(path)
