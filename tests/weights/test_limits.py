"""Small files that would take much time or memory, and things in the place of weights that are no files."""

import itertools
import os
import queue
import struct
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_caffemodel import blob_v2, layer_v2, message, number, values, varint
from test_torch_pickle import MAGIC, PROTOCOL, SYSTEM, code, pickled, tensor, zip_file

from jtrack import backbones, matlab
from jtrack.backbones import box_feature
from jtrack.errors import JtrackError
from jtrack.weights import checkpoints, download, store
from jtrack.weights.convert import Source, caffemodel, convert, keras_h5, matconvnet, npz, torch_pickle
from tests.fuzz.limits import limited

LIMIT = 2**27  # bytes that a net of some size may take


def refused(read, path, problem, limit=LIMIT):
    with limited(), pytest.raises(JtrackError, match=problem) as caught:
        read(path, limit)
    assert str(path) in str(caught.value)


def converted(path, form, kernels):
    """A net of these kernels, made from a file."""
    template = {layer: {"kernel": kernel} for layer, kernel in kernels.items()}
    source = Source(path.name, form, "RGB", "unverified")
    return convert(path, source, template, name="net", channels="RGB", flatten={})


# --- PyTorch ----------------------------------------------------------------------------------------------


def legacy(path, content):
    """A file of the older layout that holds an assembled pickle."""
    path.write_bytes(
        b"".join(map(pickled, (MAGIC, PROTOCOL, SYSTEM))) + b"\x80\x02" + content + b"." + pickled([])
    )


def test_keys_of_one_hash(tmp_path):
    """Every number is a multiple of what Python hashes numbers by."""
    keys = b"".join(code(index * (2**61 - 1)) + b"N" for index in range(100_000))
    legacy(tmp_path / "x.pth", b"}(" + keys + b"u")
    refused(torch_pickle.read, tmp_path / "x.pth", "neither text nor small numbers")


def test_one_list_made_a_dict_again_and_again(tmp_path):
    pairs = b"](" + b"".join(code([f"{index}", None]) for index in range(20_000)) + b"e"
    ordered = b"ccollections\nOrderedDict\n"
    again = b"h\x00h\x01\x85R" * 100_000
    legacy(tmp_path / "x.pth", ordered + b"q\x00" + pairs + b"q\x01" + again + b"}")
    refused(torch_pickle.read, tmp_path / "x.pth", "no dict of tensors")


def test_one_shape_of_many_axes_again_and_again(tmp_path):
    axes = b"(" + b"K\x01" * 100_000 + b"t"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    storage = code(tensor("s", np.ones(1, np.float32)).arguments[0])
    again = b"h\x00(h\x01K\x00h\x02h\x02tR" * 50_000
    legacy(tmp_path / "x.pth", rebuild + b"q\x00" + storage + b"q\x01" + axes + b"q\x02" + again)
    refused(torch_pickle.read, tmp_path / "x.pth", "else than counts")


def test_a_pickle_of_nothing_but_containers(tmp_path):
    legacy(tmp_path / "x.pth", b"]" * 2**24)
    refused(torch_pickle.read, tmp_path / "x.pth", "cannot be read")


def test_one_large_storage_under_many_names(tmp_path, net):
    """Neither read nor copied once a name."""
    large = np.zeros(2**25, np.float32)
    content = {f"a{index}.weight": tensor("s", large) for index in range(64)}
    zip_file(tmp_path / "x.pth", content, {"s": large})
    with limited():
        found = torch_pickle.read(tmp_path / "x.pth", 2**28)
    assert len(found) == 64
    with limited(), pytest.raises(JtrackError, match="unexpected: a0, a1, a2, a3, a4 and 59 more"):
        converted(tmp_path / "x.pth", "torch", {"z": np.empty(2**24)})


def test_an_archive_with_a_directory_of_a_million_members(tmp_path):
    path = tmp_path / "x.npz"
    entry = struct.pack(
        "<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0
    )
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count % 65536, count % 65536, 47 * count, 0, 0)
    path.write_bytes((entry + b"a") * count + end)
    refused(npz.read, path, "directory of 47000000 bytes")


# --- Caffe ------------------------------------------------------------------------------------------------


def test_values_one_by_one(tmp_path):
    """As no Caffe writes them: some are read, in little memory, and very many refused."""
    path = tmp_path / "x.caffemodel"
    some = np.arange(300_000, dtype=np.float32)
    path.write_bytes(layer_v2(b"a", [blob_v2(some, packed=False)]))
    with limited():
        np.testing.assert_array_equal(caffemodel.read(path, LIMIT)["a"]["kernel"], some)
    path.write_bytes(layer_v2(b"a", [(varint(5 << 3 | 5) + b"\0\0\0\0") * 5_000_000]))
    refused(caffemodel.read, path, "more than 1048576 fields")


@pytest.mark.parametrize("field", [number(9, 0), message(9, b""), message(100, b"")])
def test_many_fields(tmp_path, field):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(field * (LIMIT // 8 // len(field)))
    refused(caffemodel.read, path, "more than 1048576 fields")


def test_a_blob_of_many_axes(tmp_path):
    path = tmp_path / "x.caffemodel"
    shape = message(7, message(1, b"\x7f" * 2**24))
    path.write_bytes(layer_v2(b"a", [shape + values(np.ones(1))]))
    refused(caffemodel.read, path, "more than 8 axes")


# --- MATLAB -----------------------------------------------------------------------------------------------


def element(kind, data):
    return struct.pack("<2I", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matrix(kind, shape, *rest, name=b"layers"):
    head = element(6, struct.pack("<2I", kind, 0)) + element(5, np.array(shape, "<i4").tobytes())
    return element(14, head + element(1, name) + b"".join(rest))


def level5(path, *variables, packed=True):
    data = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    for each in variables:
        squeezed = zlib.compress(each, 9)
        data += struct.pack("<2I", 15, len(squeezed)) + squeezed if packed else each
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        (matrix(6, [2**31 - 1] * 400_000, element(9, bytes(8))), "of 1600000 bytes: at most 8 of four"),
        (matrix(4, [1, 2**25], element(16, b"a" * 2**25)), "a text of 33554432 bytes"),
        (matrix(1, [1, 1], *[matrix(6, [0, 0], element(9, b""))] * 200_000), "65536 in all"),
        (matrix(1, [1, 1], element(9, b"") * 2**23), "element of type 9 within a matrix"),
        (
            matrix(2, [1, 1], element(5, struct.pack("<i", 1)), element(1, b"a" * 2**25)),
            "more than 1024 fields",
        ),
    ],
    ids=["axes", "text", "matrices", "elements", "fields"],
)
def test_matlab_variables(tmp_path, variable, problem):
    path = level5(tmp_path / "x.mat", variable)
    assert path.stat().st_size < 2**21
    refused(matconvnet.read, path, problem)


def test_many_variables_that_unpack(tmp_path):
    packed = zlib.compress(matrix(6, [2**23], element(9, bytes(2**26)), name=b"other"))
    path = level5(tmp_path / "x.mat", *[struct.pack("<2I", 15, len(packed)) + packed] * 300, packed=False)
    refused(matconvnet.read, path, "unpack to more than")


def test_elements_that_are_no_variables(tmp_path):
    path = level5(tmp_path / "x.mat", element(9, b"") * 2**23, packed=False)
    refused(matconvnet.read, path, "where a variable belongs")


# --- HDF5 -------------------------------------------------------------------------------------------------


def test_chunks_larger_than_the_data(tmp_path):
    """A chunk is unpacked whole, for a single value of it."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        options = {"maxshape": (None,), "chunks": (2**29,), "compression": "gzip"}
        file.create_dataset("a/kernel", (4,), "f4", **options)
        file["a/kernel"].id.write_direct_chunk((0,), zlib.compress(bytes(2**20)))
    refused(keras_h5.read, path, "chunks of 2147483648 bytes")
    with h5py.File(path, "w") as file:
        options = {"maxshape": (None, None), "chunks": (1, 2**24), "compression": "gzip"}
        file.create_dataset("results", (1000, 1), "f4", **options)
    with limited(), pytest.raises(matlab.Damaged, match="more room than is allowed"):
        matlab.hdf5_variable(path, "results", LIMIT)


def test_a_group_under_many_names(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a/b/kernel"] = np.ones((2, 2), np.float32)
        for index in range(300):
            file[f"a/{index}"] = file["a/b"]
            file[f"a{index}"] = file["a"]
    refused(keras_h5.read, path, "more than 16384 groups")


def test_model_weights_that_are_an_array(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["model_weights"] = np.ones(3, np.float32)
    refused(keras_h5.read, path, "model_weights is an array and not a group")


# --- NumPy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'shape': (" + "(" * 60,
        "{" * 300,
        "'''",
        "\x00",
        "{'descr': [" + "[" * 2000,
        "-" * 9000,
    ],
)
def test_headers_that_are_no_python(tmp_path, header):
    text = header.encode("latin-1").ljust(9990) + b"\n"
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a_W.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    refused(npz.read, path, "cannot be read .*: fetch it again")


def test_a_member_twice(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a_W.npy", b"1")
        archive.writestr("a_W.npy", b"2")
    refused(npz.read, path, "in it twice")


# --- stored networks and heads ----------------------------------------------------------------------------


def head(**changes):
    """A checkpoint's head on `tiny`, whose arrays may be others."""
    width = box_feature.width_of("tiny")
    shapes = {"fc6": (width, 5), "fc7": (5, 6), "objectness": (6, 2)}
    layers = {
        layer: {"kernel": np.ones(shape, np.float32), "bias": np.ones(shape[1], np.float32)}
        for layer, shape in shapes.items()
    }
    for key, array in changes.items():
        layer, part = key.split("_")
        layers[layer][part] = array
    return layers


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fc7_bias": np.full(6, np.nan, np.float32)}, "values are not finite: head/fc7/bias"),
        ({"objectness_kernel": np.full((6, 2), np.inf, np.float32)}, "not finite: head/objectness/kernel"),
        ({"fc6_bias": np.ones(5)}, r"not float32: head/fc6/bias \(float64\)"),
        ({"fc6_bias": np.ones(5, np.int32)}, r"not float32: head/fc6/bias \(int32\)"),
        (
            {"fc7_kernel": np.ones((5, 0), np.float32), "fc7_bias": np.ones(0, np.float32)}
            | {"objectness_kernel": np.ones((0, 2), np.float32)},
            "fc7 does not take 5 numbers",
        ),
    ],
)
def test_heads_that_no_training_makes(tmp_path, changes, problem):
    path = tmp_path / "mine.safetensors"
    net = {
        k: {p: np.asarray(a) for p, a in v.items()} for k, v in backbones.get("tiny").random_params(3).items()
    }
    checkpoints.write(path, "tiny", net, head(), {})
    assert checkpoints.load(path).backbone == "tiny"
    checkpoints.write(path, "tiny", net, head(**changes), {})
    with pytest.raises(JtrackError, match=problem) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)


def read_network(path, limit):
    return store.read(path, "squeezenet")


def test_a_header_of_many_tensors(tmp_path):
    path = tmp_path / "squeezenet.safetensors"
    one = b'"%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    text = b"{" + b",".join(one % index for index in range(1_000_000)) + b"}"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    refused(read_network, path, "header has 5[0-9]+ bytes")


def test_a_sparse_network(tmp_path):
    """A terabyte of holes behind a header that describes it."""
    path = tmp_path / "squeezenet.safetensors"
    count = 2**38
    text = b'{"conv1/kernel":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (count, 4 * count)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 4 * count)
    refused(read_network, path, "1099511627[0-9]+ bytes: at most")


def convertible(tmp_path):
    """A path of each format, with a network that is made of it."""
    sources = [(source, name) for name, entry in store.manifest().items() for source in entry.sources]
    formats = {source.format: (source, name) for source, name in sources}
    return [(tmp_path / Path(source.file).name, name, source) for source, name in formats.values()]


def test_what_is_no_file(tmp_path):
    for path, name, source in convertible(tmp_path):
        os.mkfifo(path)
        with limited(), pytest.raises(JtrackError, match=r"it is a pipe, not a file"):
            store.made_from(path, name, source=source)
        path.unlink()
        path.symlink_to("/dev/zero")
        with limited(), pytest.raises(JtrackError, match=r"it is a device, not a file"):
            store.made_from(path, name, source=source)
        path.unlink()
        path.mkdir()
        with limited(), pytest.raises(JtrackError, match=r"it is a folder, not a file"):
            store.made_from(path, name, source=source)
        path.rmdir()
        with path.open("wb") as file:
            file.truncate(2**40)
        with limited(), pytest.raises(JtrackError, match=f"{path.name} has {2**40} bytes: at most"):
            store.made_from(path, name, source=source)


def test_checkpoints_that_are_no_files(tmp_path):
    path = tmp_path / "mine.safetensors"
    os.mkfifo(path)
    with limited(), pytest.raises(JtrackError, match="it is a pipe, not a file"):
        checkpoints.load(path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 574671192\n"
PAGES = [
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title>",
    b"\xef\xbb\xbf\n <HTML>",
    b'<?xml version="1.0"?><Error>',
]


def test_what_stands_in_place_of_weights_is_named(tmp_path):
    paths = convertible(tmp_path)
    assert {path.suffix for path, _, _ in paths} >= {".caffemodel", ".pth", ".npz"}
    for (path, name, source), data in itertools.product(paths, [POINTER, *PAGES]):
        path.write_bytes(data)
        what = (
            "a pointer of Git LFS and not the file itself: run `git lfs pull`"
            if data is POINTER
            else "a web page"
        )
        with pytest.raises(JtrackError, match=what) as caught:
            store.made_from(path, name, source=source)
        assert str(path) in str(caught.value)
    for data in (POINTER, *PAGES):
        path = tmp_path / "squeezenet.safetensors"
        path.write_bytes(data)
        for read in (lambda path: store.read(path, "squeezenet"), checkpoints.load):
            with pytest.raises(JtrackError, match=r"a pointer of Git LFS|a web page"):
                read(path)


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "not finite: a/kernel"), (1e300, "not finite: a/kernel")]
)
def test_values_that_float32_does_not_hold(tmp_path, value, problem, recwarn):
    np.savez(tmp_path / "x.npz", a_W=np.full((2, 3), value))
    with pytest.raises(JtrackError, match=problem):
        converted(tmp_path / "x.npz", "npz", {"a": np.empty((3, 2))})
    assert not recwarn.list


def test_whole_numbers_are_no_weights(tmp_path):
    array = np.ones((2, 3), np.int64)
    zip_file(tmp_path / "x.pth", {"a.weight": tensor("s", array, kind="LongStorage")}, {"s": array})
    with pytest.raises(JtrackError, match=r"not float32: a/kernel \(int64\)"):
        converted(tmp_path / "x.pth", "torch", {"a": np.empty((3, 2))})


def test_who_takes_data_slowly_is_not_told_that_the_server_is_slow(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.1)
    pieces = queue.Queue()
    for piece in (b"a", b"b", b"c", None):
        pieces.put(piece)
    got = []
    for piece in download._in_time(pieces):
        got.append(piece)
        time.sleep(0.15)
    assert got == [b"a", b"b", b"c"]
    with pytest.raises(download.Broken, match="less than 1000 bytes a second"):
        next(download._in_time(pieces))
