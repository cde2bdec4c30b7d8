"""Keras's HDF5 files written by h5py, and NumPy's archives."""

import io
import sys
import zipfile

import h5py
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.weights.convert import Source, convert, keras_h5, npz

NAMES = {"conv1": "block1_conv1", "conv2": "block2_conv1", "fc6": "fc1", "fc7": "predictions"}
RENAME = {"block1_conv1": "conv1", "block2_conv1": "conv2", "fc1": "fc6", "predictions": "fc7"}
KERAS = Source("net.h5", "keras", "RGB", "unverified", rename=RENAME)
NPZ = Source("net.npz", "npz", "RGB", "unverified", rename={r"c(\d)": r"conv\1"}, ignore=("*_aux",))
LIMIT = 2**20


def converted(path, source, net):
    return convert(path, source, net.params, name="net", channels="RGB", flatten=net.flatten)


def write_keras(path, net, style):
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if style == "model" else file
        root.create_group("flatten")
        for layer, keras in NAMES.items():
            names = {
                "2016": (f"{keras}/{keras}_W_1:0", f"{keras}/{keras}_b_1:0"),
                "2020": (f"{keras}/{keras}/kernel:0", f"{keras}/{keras}/bias:0"),
                "model": (f"{keras}/{keras}/kernel:0", f"{keras}/{keras}/bias:0"),
            }[style]
            for name, array in zip(names, net.params[layer].values(), strict=True):
                root.create_dataset(name, data=array, compression="gzip")


@pytest.mark.parametrize("style", ["2016", "2020", "model"])
def test_keras_round_trip(tmp_path, net, assert_same, style):
    write_keras(tmp_path / "net.h5", net, style)
    assert_same(converted(tmp_path / "net.h5", KERAS, net), net.params)


def test_keras_hostile_files(tmp_path, net):
    path = tmp_path / "net.h5"
    write_keras(path, net, "2020")
    data = path.read_bytes()
    for end in range(0, len(data) - 1, 997):
        path.write_bytes(data[:end])
        with pytest.raises(JtrackError, match=r"net\.h5"):
            converted(path, KERAS, net)

    def refused(problem, write):
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(JtrackError, match=problem):
            keras_h5.read(path, LIMIT)

    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"secret--")
    refused("a link", lambda f: f.__setitem__("a", h5py.ExternalLink("outside.h5", "/x")))
    refused("a link", lambda f: f.create_group("a").__setitem__("b", h5py.SoftLink("/c")))
    refused(
        "not an array within", lambda f: f.create_dataset("a/b", (2,), "f4", external=[(str(outside), 0, 8)])
    )
    refused("not an array of floating", lambda f: f.create_dataset("a/b", data=np.arange(3)))
    refused("take 4398046511104 bytes", lambda f: f.create_dataset("a/b", (2**40,), "f4", chunks=(2**10,)))
    refused("2 arrays", lambda f: (f.create_dataset("a/b", (2,), "f4"), f.create_dataset("a/c", (2,), "f4")))

    def circle(file):
        file.create_group("a")["a"] = file["/"]

    refused("deep", circle)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("model_weights/a/b", data=np.zeros(2, np.float32))
    for link in (h5py.ExternalLink("other.h5", "/model_weights"), h5py.SoftLink("/elsewhere")):
        refused("model_weights is a link", lambda f, link=link: f.__setitem__("model_weights", link))


def test_keras_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(JtrackError, match=r"needs h5py, .* -e '\.\[keras\]'"):
        keras_h5.read(tmp_path / "net.h5", LIMIT)


def arrays_of(net):
    named = {"c1": net.oihw["conv1"], "c2": net.oihw["conv2"], "fc6": net.oihw["fc6"], "fc7": net.oihw["fc7"]}
    named["c1_aux"] = (np.ones((1, 1, 1, 1), np.float32), np.ones(1, np.float32))
    return {
        f"{name}_{part}": array
        for name, pair in named.items()
        for part, array in zip("Wb", pair, strict=True)
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_round_trip(tmp_path, net, assert_same, save):
    save(tmp_path / "net.npz", **arrays_of(net))
    assert_same(converted(tmp_path / "net.npz", NPZ, net), net.params)


def test_npz_fortran_order_and_half_precision(tmp_path, net, assert_same):
    arrays = {key: np.asfortranarray(array.astype(np.float16)) for key, array in arrays_of(net).items()}
    np.savez(tmp_path / "net.npz", **arrays)
    rounded = {
        layer: {part: array.astype(np.float16).astype(np.float32) for part, array in parts.items()}
        for layer, parts in net.params.items()
    }
    assert_same(converted(tmp_path / "net.npz", NPZ, net), rounded)


def test_npz_a_dense_layer_written_as_a_convolution(tmp_path, net, assert_same):
    arrays = arrays_of(net)
    arrays["fc6_W"] = arrays["fc6_W"].reshape(7, 5, 2, 3)
    np.savez(tmp_path / "net.npz", **arrays)
    assert_same(converted(tmp_path / "net.npz", NPZ, net), net.params)


TWICE = ("a_b", "a_b.npy")  # two members of one name


def npy(header, data=b""):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        (
            {"a_W.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }")},
            "needs 4398",
        ),
        (
            {"a_W.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n")},
            "object",
        ),
        (
            {"a_W.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", b"1234")},
            "needs 8 bytes",
        ),
        ({"a_W.npy": npy("__import__('os').abort()")}, "malformed node"),
        ({"a_W.npy": b"hello"}, "magic string"),
        (
            {
                name: npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", b"1234")
                for name in TWICE
            },
            "holds 'a_b' twice",
        ),
        ({"../../a.npy": b""}, "allowed are NAME_W"),
        ({"a_W.npy": b"\0" * (LIMIT + 1)}, "unpacks to 1048577 bytes"),
    ],
)
def test_npz_hostile_members(tmp_path, members, problem):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(JtrackError, match=problem):
        npz.read(path, LIMIT)


def test_npz_truncations_and_damage(tmp_path, net):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays_of(net))
    data = stream.getvalue()
    path = tmp_path / "net.npz"
    for end in range(0, len(data) - 1, 53):
        path.write_bytes(data[:end])
        with pytest.raises(JtrackError, match=r"net\.npz"):
            converted(path, NPZ, net)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            converted(path, NPZ, net)
        except JtrackError as error:
            assert "\n" not in str(error)
