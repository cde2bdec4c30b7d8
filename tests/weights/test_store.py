"""The store: folders, stored files, source files converted on first use, nothing half-written."""

import errno
import hashlib
import json
import os

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from jtrack import backbones
from jtrack.errors import JtrackError
from jtrack.weights import store

REAL = {
    "googlenet": "bvlc_googlenet.npz",
    "squeezenet": "squeezenet_v1.1.npz",
    "vgg19_slim": "vgg19_16x_distilled.npz",
    "caffenet_conv": "caffenet_conv1-5_assembled.npz",
}
NET = "caffenet_conv"

# Random arrays are under the name of the published file.
pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")


def random_arrays(seed):
    """caffenet_conv as its source file holds it: OIHW."""
    rng = np.random.default_rng(seed)
    shapes = {"conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3)}
    shapes |= {"conv4": (384, 192, 3, 3), "conv5": (256, 192, 3, 3)}
    arrays = {f"{name}_W": rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return arrays | {f"{name}_b": rng.standard_normal(shape[0], np.float32) for name, shape in shapes.items()}


def assert_is(params, arrays):
    template = backbones.get(NET).template()
    assert jax.tree.structure(params) == jax.tree.structure(template)
    for layer, parts in params.items():
        np.testing.assert_array_equal(parts["kernel"], np.einsum("oihw->hwio", arrays[f"{layer}_W"]))
        np.testing.assert_array_equal(parts["bias"], arrays[f"{layer}_b"])


@pytest.fixture
def source_folder(user_folder, tmp_path, monkeypatch):
    """A weights folder with one source file, searched before the user's own."""
    folder = tmp_path / "sources"
    folder.mkdir()
    np.savez(folder / REAL[NET], **random_arrays(0))
    monkeypatch.setenv("JTRACK_WEIGHTS", str(folder))
    return folder


def every_file(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", REAL)
def test_real_nets_are_converted_on_first_use(weights_folder, user_folder, monkeypatch, name):
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    before = {path.name: path.stat().st_mtime_ns for path in weights_folder.iterdir()}
    first, again = store.load(name), store.load(name)
    assert every_file(user_folder) == [f"converted/{name}.safetensors"]
    assert before == {path.name: path.stat().st_mtime_ns for path in weights_folder.iterdir()}
    template = backbones.get(name).template()
    assert jax.tree.structure(first) == jax.tree.structure(template)
    with np.load(weights_folder / REAL[name]) as source:
        for layer, parts in first.items():
            for part, array in parts.items():
                assert array.shape == template[layer][part].shape
                np.testing.assert_array_equal(array, again[layer][part])
            key = layer if f"{layer}_W" in source else layer.replace("_", "")
            weight = source[f"{key}_W"]
            wanted = np.einsum("oihw->hwio", weight).reshape(parts["kernel"].shape)
            np.testing.assert_array_equal(parts["kernel"], wanted)
            np.testing.assert_array_equal(parts["bias"], source[f"{key}_b"])


def test_names_without_files(user_folder):
    without = [name for name in backbones.names() if name not in store.manifest() or name == store.OWN]
    assert store.available() == without
    assert store.locate("tiny") is None
    tiny, wanted = store.load("tiny"), backbones.get("tiny").random_params(0)
    assert jax.tree.structure(tiny) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, tiny, wanted)
    for name in backbones.names():
        if not backbones.get(name).template():
            assert store.load(name) == {}
    with pytest.raises(JtrackError, match="did you mean 'vgg19'"):
        store.load("vgg_19")
    with pytest.raises(JtrackError, match="unknown"):
        store.locate("../../etc/passwd")


def test_an_absent_net_is_named_with_its_folders_and_both_ways(user_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("JTRACK_WEIGHTS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert store.folders() == [tmp_path / "a", tmp_path / "b", user_folder]
    with pytest.raises(JtrackError) as caught:
        store.load("vgg19")
    sentence = str(caught.value)
    for words in (
        f"no weights of vgg19 in {tmp_path / 'a'}, {tmp_path / 'b'}, {user_folder}",
        "`jtrack weights fetch vgg19`",
        "VGG_ILSVRC_19_layers.caffemodel",
        "`jtrack weights convert FILE --as vgg19`",
    ):
        assert words in sentence
    with pytest.raises(JtrackError, match=r"put caffenet_conv1-5_assembled\.npz into one of them"):
        store.load(NET)


def test_a_changed_source_is_noticed(source_folder, user_folder):
    assert_is(store.load(NET), random_arrays(0))
    kept = user_folder / "converted" / f"{NET}.safetensors"
    made = kept.stat().st_mtime_ns
    assert_is(store.load(NET), random_arrays(0))
    assert kept.stat().st_mtime_ns == made
    np.savez(source_folder / REAL[NET], **random_arrays(1))
    assert_is(store.load(NET), random_arrays(1))
    kept.write_bytes(b"damaged")
    assert_is(store.load(NET), random_arrays(1))
    assert every_file(source_folder) == [REAL[NET]]


def test_folders_are_searched_in_order(source_folder, user_folder, monkeypatch, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    np.savez(second / REAL[NET], **random_arrays(2))
    stored = store.convert_file(second / REAL[NET], NET)
    assert stored == source_folder / f"{NET}.safetensors"
    assert_is(store.load(NET), random_arrays(2))  # a stored net before a source of the same folder
    stored.unlink()
    monkeypatch.setenv("JTRACK_WEIGHTS", os.pathsep.join([str(second), str(source_folder)]))
    assert_is(store.load(NET), random_arrays(2))
    assert NET in store.available()


def test_a_read_only_folder_receives_nothing(source_folder, user_folder):
    source_folder.chmod(0o555)
    try:
        assert store.destination() == user_folder
        stored = store.convert_file(source_folder / REAL[NET], NET)
        assert stored == user_folder / f"{NET}.safetensors"
        store.load(NET)
        assert every_file(source_folder) == [REAL[NET]]
    finally:
        source_folder.chmod(0o755)


def test_the_stored_file_says_what_it_is(source_folder, user_folder):
    path = store.convert_file(source_folder / REAL[NET], NET)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    assert about["name"] == NET
    assert about["source"] == REAL[NET]
    assert about["source_sha256"] == hashlib.sha256((source_folder / REAL[NET]).read_bytes()).hexdigest()
    assert about["source_checksum"].startswith("differs: sha256")  # random arrays are not the published file
    assert about["licence"] and about["jtrack_version"] and about["layout"]
    assert json.loads(about["preprocessing"])["order"] == "BGR"
    assert header["conv1/kernel"]["dtype"] == "F32"
    assert header["conv1/kernel"]["shape"] == [11, 11, 3, 96]
    with pytest.raises(JtrackError, match="not from the published file"):
        store.verify(NET)


def test_the_label_of_weights(source_folder, user_folder):
    params = store.load(NET)
    assert store.digest(NET) == store.digest(params) == store.digest(dict(reversed(params.items())))
    assert len(store.digest(NET)) == 64
    assert store.digest(jax.tree.map(jax.numpy.asarray, params)) == store.digest(params)
    changed = jax.tree.map(np.copy, params)
    changed["conv3"]["bias"][0] += 1
    moved = {("conv9" if layer == "conv3" else layer): parts for layer, parts in params.items()}
    reshaped = params | {"conv1": params["conv1"] | {"bias": params["conv1"]["bias"].reshape(2, 48)}}
    assert len({store.digest(p) for p in (params, changed, moved, reshaped, {})}) == 5


def test_damaged_files_are_refused_and_named(source_folder, user_folder):
    path = store.convert_file(source_folder / REAL[NET], NET)
    data = path.read_bytes()
    hostile = (2**62).to_bytes(8, "little") + b"{}"
    for damaged in (b"", b"abc", data[:100], data[:-1], data + b"x", hostile, b"\0" * 64):
        path.write_bytes(damaged)
        with pytest.raises(JtrackError, match="damaged") as caught:
            store.load(NET)
        assert str(path) in str(caught.value)


def test_another_net_under_this_name(source_folder, user_folder):
    path = store.convert_file(source_folder / REAL[NET], NET)
    path.rename(source_folder / "googlenet.safetensors")
    with pytest.raises(JtrackError, match="holds caffenet_conv, not googlenet"):
        store.load("googlenet")
    tensors = {"conv1/kernel": np.zeros((2, 2), np.float32), "x": np.zeros(1, np.float32)}
    save_file(tensors, source_folder / "googlenet.safetensors")
    with pytest.raises(JtrackError, match="wrong net or shape"):
        store.load("googlenet")


def test_values_that_changed_since_they_were_stored(source_folder, user_folder):
    path = store.convert_file(source_folder / REAL[NET], NET)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(JtrackError, match="has changed since it was stored"):
        store.verify(NET)


def test_half_precision_or_infinite_values_are_refused(source_folder, user_folder):
    params = store.load(NET)
    flat = {f"{layer}/{part}": array for layer, parts in params.items() for part, array in parts.items()}
    path = source_folder / f"{NET}.safetensors"
    save_file({key: array.astype(np.float16) for key, array in flat.items()}, path)
    with pytest.raises(JtrackError, match="not float32: conv1"):
        store.load(NET)
    flat["conv2/bias"] = np.full_like(flat["conv2/bias"], np.inf)
    save_file(flat, path)
    with pytest.raises(JtrackError, match="not finite: conv2/bias"):
        store.load(NET)


def fails(code):
    def raise_it(*_, **__):
        raise OSError(code, os.strerror(code))

    return raise_it


def test_a_file_other_than_the_published_one_is_said(source_folder):
    with pytest.warns(UserWarning, match=rf"{REAL[NET]} is used as {NET}, but is not the published file"):
        store.load(NET)


@pytest.mark.parametrize("where", ["save_file", "os.replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_fails_leaves_nothing(source_folder, user_folder, monkeypatch, where, code):
    target = {"save_file": (store, "save_file"), "os.replace": (store.os, "replace")}[where]
    with monkeypatch.context() as patch:
        patch.setattr(*target, fails(code))
        with pytest.raises(JtrackError, match=os.strerror(code)) as caught:
            store.convert_file(source_folder / REAL[NET], NET)
        assert "nothing was kept" in str(caught.value)
        with pytest.warns(UserWarning, match="could not be kept"):
            assert_is(store.load(NET), random_arrays(0))
    assert every_file(source_folder) == [REAL[NET]]
    assert not user_folder.exists() or every_file(user_folder) == []


def test_an_interruption_leaves_the_old_file(source_folder, user_folder, monkeypatch):
    path = store.convert_file(source_folder / REAL[NET], NET)
    before = path.read_bytes()

    def interrupted(tensors, unfinished, header):
        unfinished.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.convert_file(source_folder / REAL[NET], NET)
    assert path.read_bytes() == before
    assert every_file(source_folder) == sorted([REAL[NET], path.name])


def test_files_that_cannot_be_converted(user_folder, tmp_path):
    with pytest.raises(JtrackError, match="No such file"):
        store.convert_file(tmp_path / "absent.npz", NET)
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(JtrackError, match=r"'\.bin'; caffenet_conv is made from \.npz"):
        store.convert_file(tmp_path / "x.bin", NET)
    with pytest.raises(JtrackError, match="unknown network"):
        store.convert_file(tmp_path / "x.bin", "vgg20")
    assert not user_folder.exists()
