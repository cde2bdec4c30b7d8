"""Checkpoints: what is read is what was written, and there is always a whole one."""

import errno

import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.learning.fc_head import Dense
from jtrack.train import checkpoint
from jtrack.weights import store


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
