"""Caffe files, written by an encoder of the wire format that shares nothing with the reader."""

import itertools
import struct

import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.weights.convert import Source, caffemodel, convert

BGR = Source("net.caffemodel", "caffemodel", "BGR", "unverified")
LIMIT = 2**20


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def message(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def values(array, *, packed=True, double=False):
    field, letter, wire = (8, "d", 1) if double else (5, "f", 5)
    if packed:
        return message(field, array.astype("<" + letter).tobytes())
    return b"".join(varint(field << 3 | wire) + struct.pack("<" + letter, x) for x in array.ravel().tolist())


def blob_v2(array, **how):
    shape = b"".join(varint(side) for side in array.shape)
    return message(7, message(1, shape)) + values(array, **how)


def blob_v2_unpacked_shape(array, **how):
    return message(7, b"".join(number(1, side) for side in array.shape)) + values(array, **how)


def blob_legacy(array, **how):
    shape = (1,) * (4 - array.ndim) + array.shape
    return values(array, **how) + b"".join(number(i + 1, side) for i, side in enumerate(shape))


def layer_v2(name, blobs):
    return message(
        100, message(1, name) + message(2, b"Convolution") + b"".join(message(7, b) for b in blobs)
    )


def layer_v1(name, blobs):
    return message(
        2, message(2, b"data") + message(4, name) + number(5, 4) + b"".join(message(6, b) for b in blobs)
    )


def layer_v0(name, blobs):
    inner = message(1, name) + message(2, b"conv") + b"".join(message(50, b) for b in blobs)
    return message(2, message(1, inner) + message(2, b"data"))


def encoded(net, layer=layer_v2, blob=blob_v2, **how):
    """The net for BGR images, as Caffe would have trained it."""
    data = message(1, b"a net") + layer(b"data", [])
    for name, (weight, bias) in net.oihw.items():
        bgr = weight[:, ::-1] if name == "conv1" else weight
        data += layer(name.encode(), [blob(bgr, **how), blob(bias, **how)])
    return data


def converted(path, net, **changes):
    arguments = {"name": "net", "channels": "RGB", "flatten": net.flatten} | changes
    return convert(path, BGR, net.params, **arguments)


LAYERS = [layer_v0, layer_v1, layer_v2]
BLOBS = [blob_v2, blob_v2_unpacked_shape, blob_legacy]


@pytest.mark.parametrize("style", list(itertools.product(LAYERS, BLOBS)))
@pytest.mark.parametrize("how", [{}, {"packed": False}, {"double": True}])
def test_round_trip(tmp_path, net, assert_same, style, how):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(encoded(net, *style, **how))
    assert_same(converted(path, net), net.params)


def test_a_net_stored_for_bgr_keeps_its_first_kernel(tmp_path, net, assert_same):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(encoded(net))
    flipped = {
        **net.params,
        "conv1": {**net.params["conv1"], "kernel": net.params["conv1"]["kernel"][:, :, ::-1]},
    }
    assert_same(converted(path, net, channels="BGR"), flipped)


def test_every_truncation_is_refused_in_one_sentence(tmp_path, net):
    data = encoded(net)
    path = tmp_path / "net.caffemodel"
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(JtrackError, match=r"net\.caffemodel"):
            converted(path, net)


def test_random_damage_never_escapes_as_another_error(tmp_path, net):
    data = encoded(net)
    rng = np.random.default_rng(0)
    path = tmp_path / "net.caffemodel"
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            converted(path, net)
        except JtrackError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (message(100, message(1, b"a") + varint(7 << 3 | 2) + varint(2**40)), "field of 1099511627776 bytes"),
        (b"\xff" * 30, "more than ten bytes"),
        (layer_v2(b"a", [number(1, 2**40) + number(2, 2**40) + values(np.ones(2))]), "has 2 values"),
        (layer_v2(b"a", [message(5, b"123")]), "buffer size must be a multiple"),
        (layer_v2(b"a", [blob_v2(np.ones(2))]) * 2, "two layers"),
        (layer_v2(b"\xff\xfe", [blob_v2(np.ones(2))]), "can't decode byte 0xff"),
        (b"\x0b", "wire type 3"),
        (message(1, b"only a name"), "no layer"),
        (number(100, 5), "no layer"),
    ],
)
def test_hostile_files(tmp_path, data, problem):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(data)
    with pytest.raises(JtrackError, match=problem):
        caffemodel.read(path, LIMIT)


def test_a_file_far_larger_than_the_net_is_not_read(tmp_path):
    path = tmp_path / "x.caffemodel"
    with path.open("wb") as file:
        file.truncate(LIMIT + 1)
    with pytest.raises(JtrackError, match=f"{LIMIT + 1} bytes"):
        caffemodel.read(path, LIMIT)


def test_many_mismatches_are_cut_short(tmp_path, net):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"".join(layer_v2(b"other%d" % i, [blob_v2(np.ones(3))]) for i in range(9)))
    with pytest.raises(JtrackError, match="unexpected: other0, other1, other2, other3, other4 and 4 more"):
        converted(path, net)


def test_every_mismatch_is_listed(tmp_path, net):
    path = tmp_path / "net.caffemodel"
    data = layer_v2(b"conv1", [blob_v2(np.ones((4, 3, 9, 9)))])
    data += layer_v2(b"conv2", [blob_v2(net.oihw["conv2"][0]), blob_v2(np.full(5, np.nan))])
    path.write_bytes(data + layer_v2(b"other", [blob_v2(np.ones(3))]))
    with pytest.raises(JtrackError) as caught:
        converted(path, net)
    sentence = str(caught.value)
    assert f"{path} does not hold net" in sentence
    assert "missing: fc6, fc7, conv1/bias" in sentence
    assert "unexpected: other" in sentence
    assert "conv1/kernel 9x9x3x4 for 3x2x3x4" in sentence
    assert "not finite: conv2/bias" in sentence
