"""MatConvNet files, written by SciPy."""

import numpy as np
import pytest
import scipy.io

from jtrack.errors import JtrackError
from jtrack.weights.convert import Source, convert, matconvnet

SOURCE = Source("net.mat", "matconvnet", "RGB", "unverified")


def cell(items):
    array = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        array[0, i] = item
    return array


def layers(net, *, old=False):
    items = []
    for name, arrays in net.params.items():
        kernel, bias = arrays["kernel"], arrays["bias"].reshape(1, -1)
        if name == "fc6":  # a convolution over the whole map
            kernel = kernel.reshape(2, 3, 5, 7)
        if name == "fc7":
            kernel = kernel.reshape(1, 1, 7, 2)
        fields = {"filters": kernel, "biases": bias} if old else {"weights": cell([kernel, bias])}
        items += [{"name": name, "type": "conv", **fields, "stride": np.ones((1, 2))}]
        items += [{"name": f"relu_{name}", "type": "relu", "weights": cell([])}]
    return cell(items)


def written(path, net, *, old=False, compress=False, first=None):
    meta = {
        "normalization": {"averageImage": np.zeros((3, 1)), "keepAspect": True},
        "classes": cell(["é", "cat"]),
    }
    content = {**(first or {}), "layers": layers(net, old=old), "meta": meta}
    scipy.io.savemat(path, content, do_compression=compress)
    return path


def converted(path, net):
    return convert(path, SOURCE, net.params, name="net", channels="RGB", flatten=net.flatten)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_round_trip(tmp_path, net, assert_same, old, compress):
    path = written(tmp_path / "net.mat", net, old=old, compress=compress, first={"aside": np.ones(3)})
    assert_same(converted(path, net), net.params)


def test_trailing_ones_that_matlab_drops(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 1, 3, 1)
    dropped = kernel.reshape(2, 1, 3)
    layer = {"name": "conv1", "type": "conv", "weights": cell([dropped, np.ones((1, 1), np.float32)])}
    scipy.io.savemat(tmp_path / "net.mat", {"layers": cell([layer])})
    found = matconvnet.read(tmp_path / "net.mat", 2**20)
    np.testing.assert_array_equal(found["conv1"]["kernel"], kernel)


@pytest.mark.parametrize("compress", [False, True])
def test_truncations_and_damage_are_refused_in_one_sentence(tmp_path, net, compress):
    path = written(tmp_path / "net.mat", net, compress=compress)
    data = path.read_bytes()
    end = len(data) // 2 if compress else data.find(b"meta")
    for cut in range(0, end - 64, 61):
        path.write_bytes(data[:cut])
        with pytest.raises(JtrackError, match=r"net\.mat"):
            converted(path, net)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for at in rng.integers(128, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            converted(path, net)
        except JtrackError as error:
            assert "\n" not in str(error)


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "net.mat"
    scipy.io.savemat(path, {"layers": np.zeros(2**21)}, do_compression=True)
    assert path.stat().st_size < 2**16
    with pytest.raises(JtrackError, match="unpack to more than 65536 bytes"):
        matconvnet.read(path, 2**16)


def test_other_files(tmp_path):
    path = tmp_path / "net.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(128) + b"\x89HDF")
    with pytest.raises(JtrackError, match="-v7"):
        matconvnet.read(path, 2**20)
    path.write_bytes(b"hello" * 100)
    with pytest.raises(JtrackError, match="no MATLAB header"):
        matconvnet.read(path, 2**20)
    scipy.io.savemat(path, {"other": np.ones(3)})
    with pytest.raises(JtrackError, match="no variable `layers`"):
        matconvnet.read(path, 2**20)
