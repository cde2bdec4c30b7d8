"""PyTorch files: written without PyTorch by an assembler of pickles, and by PyTorch itself."""

import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.weights.convert import Source, convert, torch_pickle

RENAME = {r"features\.(\d)": r"conv\1", r"classifier\.(\d)": r"fc\1"}
SOURCE = Source("net.pth", "torch", "RGB", "unverified", rename=RENAME)
MODULES = {"conv1": "features.1", "conv2": "features.2", "fc6": "classifier.6", "fc7": "classifier.7"}
LIMIT = 2**20
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}


@dataclass
class Global:
    name: str


@dataclass
class Call:
    function: object
    arguments: tuple
    state: object = None


@dataclass
class Stored:
    identity: tuple


def code(value):
    """The opcodes that make a value."""
    return CODERS[type(value)](value)


def code_int(value):
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def code_call(value):
    state = b"" if value.state is None else code(value.state) + b"b"
    return code(value.function) + code(value.arguments) + b"R" + state


CODERS = {
    type(None): lambda value: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: code_int,
    str: lambda value: b"X" + len(value.encode()).to_bytes(4, "little") + value.encode(),
    tuple: lambda value: b"(" + b"".join(map(code, value)) + b"t",
    list: lambda value: b"](" + b"".join(map(code, value)) + b"e",
    dict: lambda value: b"}(" + b"".join(code(k) + code(v) for k, v in value.items()) + b"u",
    Global: lambda value: b"c" + value.name.replace(" ", "\n").encode() + b"\n",
    Call: code_call,
    Stored: lambda value: code(value.identity) + b"Q",
}


def pickled(value):
    return b"\x80\x02" + code(value) + b"."


def storage(key, count, kind="FloatStorage", view=False):
    tail = (None,) if view else ()
    return Stored(("storage", Global(f"torch {kind}"), key, "cpu", count, *tail))


def tensor(key, array, *, offset=0, count=None, strides=None, kind="FloatStorage", v1=False, legacy=True):
    strides = strides or tuple(s // array.itemsize for s in array.strides)
    place = storage(key, array.size if count is None else count, kind, legacy)
    if v1:
        return Call(Global("torch._utils _rebuild_tensor"), (place, offset, array.shape, strides))
    hooks = Call(Global("collections OrderedDict"), ())
    return Call(
        Global("torch._utils _rebuild_tensor_v2"), (place, offset, array.shape, strides, False, hooks)
    )


def arrays_of(net):
    return {
        f"{MODULES[layer]}.{part}": array
        for layer, pair in net.oihw.items()
        for part, array in zip(("weight", "bias"), pair, strict=True)
    }


def legacy_file(path, content, arrays):
    data = b"".join(map(pickled, (MAGIC, PROTOCOL, SYSTEM))) + pickled(content) + pickled(list(arrays))
    for array in arrays.values():
        data += array.size.to_bytes(8, "little") + array.tobytes()
    path.write_bytes(data)


def zip_file(path, content, arrays, *, compression=zipfile.ZIP_STORED, root="archive"):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", pickled(content))
        archive.writestr(f"{root}/byteorder", b"little")
        for key, array in arrays.items():
            archive.writestr(f"{root}/data/{key}", array.tobytes())


WRITERS = [legacy_file, zip_file]


def converted(path, net):
    return convert(path, SOURCE, net.params, name="net", channels="RGB", flatten=net.flatten)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
def test_round_trip(tmp_path, net, assert_same, write, wrap):
    arrays = arrays_of(net)
    state = {key: tensor(key, array) for key, array in arrays.items()}
    content = state if wrap is None else {"epoch": 20, wrap: state}
    write(tmp_path / "net.pth", content, arrays)
    assert_same(converted(tmp_path / "net.pth", net), net.params)


def test_the_parameters_and_ordered_dicts_of_early_versions(tmp_path, net, assert_same):
    arrays = arrays_of(net)
    parameter = Global("torch.nn.parameter Parameter")
    pairs = [
        [key, Call(parameter, (tensor(key, array, v1=True),), state=(True, False, None))]
        for key, array in arrays.items()
    ]
    versions = {"_metadata": {"": {"version": 1}}}
    content = Call(Global("collections OrderedDict"), (pairs,), state=versions)
    legacy_file(tmp_path / "net.pth", content, arrays)
    assert_same(converted(tmp_path / "net.pth", net), net.params)


@pytest.mark.parametrize("write", WRITERS)
def test_views_strides_and_other_types(tmp_path, write):
    flat = np.arange(20, dtype=np.float64)
    wanted = flat[3:15].reshape(3, 4).T
    content = {"a.weight": tensor("s", wanted, offset=3, count=20, kind="DoubleStorage")}
    write(tmp_path / "x.pth", content, {"s": flat})
    found = torch_pickle.read(tmp_path / "x.pth", LIMIT)
    np.testing.assert_array_equal(found["a"]["kernel"], wanted.T)


ONE = np.ones(4, np.float32)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (Call(Global("os system"), ("true",)), r"os\.system"),
        (Call(Global("builtins eval"), ("1",)), r"builtins\.eval"),
        (
            {"a.weight": Call(Global("torch._utils _rebuild_tensor_v2"), ("x", 0, (1,), (1,)))},
            "else than counts",
        ),
        ({"a.weight": tensor("s", ONE, count=2**40)}, r"announced|bytes"),
        ({"a.weight": tensor("s", ONE, strides=(2,))}, "beyond its 4 values"),
        ({"a.weight": tensor("s", ONE, strides=(2**45,))}, "beyond its 4 values"),
        ({"a.weight": tensor("s", ONE, strides=(-1,))}, "else than counts"),
        ({"a.weight": tensor("s", ONE, offset=1)}, "beyond its 4 values"),
        ({"a.weight": tensor("s", ONE, offset=-4)}, "else than counts"),
        ({"a.weight": tensor("s", np.broadcast_to(ONE[:1], (2**40,)), strides=(0,), count=4)}, "beyond"),
        ({"a.weight": tensor("s", ONE, kind="ByteStorage")}, r"torch\.ByteStorage"),
        ({"a.weight": tensor("../../etc/passwd", ONE)}, "missing|belongs to no parameter"),
        ({"a": 1}, "no dict of tensors"),
        ({("a",): 1}, "neither text nor small numbers"),
        (Call(Call(Global("collections OrderedDict"), ()), ()), "not a function"),
        (Call(Global("collections OrderedDict"), ({}, {}), state=None), "damaged|no dict"),
    ],
)
def test_hostile_content(tmp_path, write, content, problem):
    write(tmp_path / "x.pth", content, {"s": ONE})
    with pytest.raises(JtrackError, match=problem) as caught:
        torch_pickle.read(tmp_path / "x.pth", LIMIT)
    assert "\n" not in str(caught.value)


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_real_pickle_that_opens_a_file_opens_none(tmp_path, protocol):
    target, path = tmp_path / "written", tmp_path / "x.pth"
    attack = pickle.dumps(Attack(target), protocol)
    path.write_bytes(b"".join(map(pickled, (MAGIC, PROTOCOL, SYSTEM))) + attack + pickled([]))
    with pytest.raises(JtrackError):
        torch_pickle.read(path, LIMIT)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", attack)
    with pytest.raises(JtrackError):
        torch_pickle.read(path, LIMIT)
    assert not target.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",  # a text of 2**62 bytes
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo of 2**31 places, from an empty stack
        b"\x80\x02}r\xff\xff\xff\x7f.",  # the same, allowed: it costs one place
        b"\x80\x02"
        + b")\x85" * 300_000
        + b"}"
        + b")"
        + b"\x85" * 300_000
        + b"Ns.",  # a key 300000 tuples deep
        b"\x80\x02" + b"(" * 1000,
        b"\x80\x02.",
        b"\x80\x02h\x05.",
        b"\x80\x02(i__main__\nx\n.",
        b"",
    ],
)
def test_hostile_programs(tmp_path, program):
    path = tmp_path / "x.pth"
    path.write_bytes(b"".join(map(pickled, (MAGIC, PROTOCOL, SYSTEM))) + program)
    with pytest.raises(JtrackError) as caught:
        torch_pickle.read(path, LIMIT)
    assert len(str(caught.value)) < 1000


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    path = tmp_path / "x.pth"
    for count, problem in ((2**26, "unpacks to 268435"), (2**16, "is compressed")):
        zeros = np.zeros(count, np.float32)
        zip_file(path, {"a.weight": tensor("s", zeros)}, {"s": zeros}, compression=zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < LIMIT
        with pytest.raises(JtrackError, match=problem):
            torch_pickle.read(path, LIMIT)


def test_other_machines_and_archives_are_named(tmp_path):
    path = tmp_path / "x.pth"
    big = SYSTEM | {"little_endian": False}
    path.write_bytes(b"".join(map(pickled, (MAGIC, PROTOCOL, big))))
    with pytest.raises(JtrackError, match="big-endian"):
        torch_pickle.read(path, LIMIT)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(JtrackError, match="TorchScript"):
        torch_pickle.read(path, LIMIT)
    with path.open("wb") as file:
        file.truncate(LIMIT + 1)
    with pytest.raises(JtrackError, match=f"{LIMIT + 1} bytes"):
        torch_pickle.read(path, LIMIT)


@pytest.mark.parametrize("write", WRITERS)
def test_truncations_and_damage(tmp_path, net, write):
    arrays = arrays_of(net)
    path = tmp_path / "net.pth"
    write(path, {key: tensor(key, array) for key, array in arrays.items()}, arrays)
    data = path.read_bytes()
    for end in range(0, len(data) - 1, 41):
        path.write_bytes(data[:end])
        with pytest.raises(JtrackError, match=r"net\.pth"):
            converted(path, net)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            converted(path, net)
        except JtrackError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("zipped", [False, True])
def test_files_of_pytorch_itself(tmp_path, net, assert_same, zipped):
    torch = pytest.importorskip("torch")
    state = OrderedDict((key, torch.from_numpy(array)) for key, array in arrays_of(net).items())
    state["features.1.weight"] = torch.nn.Parameter(state["features.1.weight"])
    state["features.2.weight"] = state["features.2.weight"].to(memory_format=torch.channels_last)
    state._metadata = OrderedDict({"": {"version": 1}})
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    assert_same(converted(tmp_path / "net.pth", net), net.params)


def test_the_real_file_equals_its_arrays(weights_folder):
    found = torch_pickle.read(weights_folder / "vgg19_16x_distilled.pth", 2**26)
    with np.load(weights_folder / "vgg19_16x_distilled.npz") as wanted:
        assert {
            f"{layer}_{'W' if part == 'kernel' else 'b'}" for layer in found for part in found[layer]
        } == set(wanted)
        for layer, parts in found.items():
            np.testing.assert_array_equal(parts["kernel"], np.einsum("oihw->hwio", wanted[f"{layer}_W"]))
            np.testing.assert_array_equal(parts["bias"], wanted[f"{layer}_b"])
