"""PyTorch's files of parameters, read without PyTorch and without ever calling what a pickle names.

Of the functions that a pickle may name, six are known (`pickles`). Both layouts are read: the older sequence
of pickles followed by raw storages, and the zip archive.
"""

import functools
import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtrack.archives import zip_archive
from jtrack.untrusted import reading, true_file
from jtrack.weights.convert.pickles import Name, Vocabulary, plain_dict, run

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_PICKLE_BYTES = 2**21  # names and shapes, some seconds; the values are not in the pickle
_MOST_AXES = 8
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
_NAMES = {
    "collections OrderedDict": "dict",
    "torch._utils _rebuild_tensor": "tensor",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch._utils _rebuild_parameter": "parameter",
    "torch.nn.parameter Parameter": "parameter",
    **{f"torch {storage}": storage for storage in _DTYPES},
}


class _Storage(NamedTuple):
    """Where values lie: named in the pickle, read later."""

    dtype: str
    key: str
    length: int
    start: int  # for a view of a storage: its first value


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """Reads the parameters of a network.

    Args:
      path: a file written by torch.save: a state dict, or a dict that holds one as "model" or "state_dict".
      limit: the most bytes the file may have.

    Returns:
      {module: {"kernel": [h, w, in, out] or [in, out], "bias": [out]}}.

    Raises:
      JtrackError: the file is damaged, larger than `limit`, or names anything but tensors.
    """
    true_file(path, largest=limit)
    with reading(f"the PyTorch file {path}", "fetch it again"):
        with path.open("rb") as stream:
            zipped = stream.read(4) == b"PK\x03\x04"
        if not zipped:
            return _layers(*_from_legacy(np.memmap(path, np.uint8, "r")))
        with zip_archive(path, limit) as archive:
            return _layers(*_from_zip(archive))


# --- the two layouts --------------------------------------------------------------------------------------

Values = Callable[[_Storage], np.ndarray]


def _from_legacy(data: np.ndarray) -> tuple[Any, Values]:
    stream = io.BytesIO(data[:_MOST_PICKLE_BYTES].tobytes())
    if run(stream, _VOCABULARY) != _MAGIC or run(stream, _VOCABULARY) != _PROTOCOL:
        raise ValueError("it does not begin as such files do")
    system = run(stream, _VOCABULARY)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    content = run(stream, _VOCABULARY)
    keys = run(stream, _VOCABULARY)
    used = {tensor.storage.key: tensor.storage for tensor in _tensors(content).values()}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it has no list of storages")
    begins: dict[str, int] = {}
    at = stream.tell()
    # Each storage is its count of values and the values; the type of those not used is not known, so that the
    # list must be one that the tensors account for.
    for key in keys:
        if key not in used:
            raise ValueError(f"the storage {key!r} belongs to no parameter")
        itemsize = np.dtype(used[key].dtype).itemsize
        count = int.from_bytes(data[at : at + 8].tobytes(), "little", signed=True)
        if count < 0 or at + 8 + count * itemsize > len(data):
            raise ValueError("it ends within its values (truncated?)")
        if count != used[key].length:
            raise ValueError(f"the storage {key!r} has {count} values, {used[key].length} are announced")
        begins[key] = at + 8
        at += 8 + count * itemsize

    def values(storage: _Storage) -> np.ndarray:
        if storage.key not in begins:
            raise ValueError(f"the storage {storage.key!r} is missing")
        return np.frombuffer(data, storage.dtype, storage.length, begins[storage.key])

    return content, values


def _from_zip(archive: zipfile.ZipFile) -> tuple[Any, Values]:
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it has no data.pkl (a TorchScript file or another archive?)")
    root = pickles[0].removesuffix("data.pkl")

    def stored(name: str, most: int) -> bytes:
        # torch.save never compresses: a compressed member is not its work and may be a bomb.
        member = members.get(name)
        if member is None:
            raise ValueError(f"{name} is missing")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"{name} is compressed")
        if member.file_size > most:
            raise ValueError(f"{name} has {member.file_size} bytes, more than the {most} that belong there")
        return archive.read(member)

    if root + "byteorder" in members and stored(root + "byteorder", 16) != b"little":
        raise ValueError("it was written on a big-endian machine")
    content = run(io.BytesIO(stored(pickles[0], _MOST_PICKLE_BYTES)), _VOCABULARY)

    raw_values = functools.cache(stored)  # tensors may share a storage

    def values(storage: _Storage) -> np.ndarray:
        wanted = storage.length * np.dtype(storage.dtype).itemsize
        raw = raw_values(f"{root}data/{storage.key}", wanted)
        if len(raw) != wanted:
            raise ValueError(f"the storage {storage.key!r} has {len(raw)} bytes, {wanted} are announced")
        return np.frombuffer(raw, storage.dtype)

    return content, values


# --- from the pickle's content to arrays ------------------------------------------------------------------


def _tensors(content: Any) -> dict[str, _Tensor]:
    """The state dict: the content itself, or what it holds under one of the usual names."""
    if isinstance(content, dict):
        for state in (content, content.get("state_dict"), content.get("model")):
            if isinstance(state, dict):
                found = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, _Tensor)}
                if found:
                    return found
    raise ValueError("it holds no dict of tensors")


def _layers(content: Any, values: Values) -> dict[str, dict[str, np.ndarray]]:
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in _tensors(content).items():
        module, _, part = name.rpartition(".")
        array = _array(tensor, values)
        if part == "weight":
            array, part = (array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T), "kernel"
        layers.setdefault(module, {})[part] = array
    return layers


def _array(tensor: _Tensor, values: Values) -> np.ndarray:
    count = math.prod(tensor.shape)
    span = sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    first = tensor.storage.start + tensor.offset
    # Within its storage, and no value read twice: a stride of 0 would make any size out of nothing.
    if count and (first + span >= tensor.storage.length or count > tensor.storage.length):
        raise ValueError(
            f"a tensor of shape {tensor.shape} reaches beyond its {tensor.storage.length} values"
        )
    data = values(tensor.storage)[first:]
    if not count:
        return np.empty(tensor.shape, data.dtype)
    strides = tuple(stride * data.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(data, tensor.shape, strides, writeable=False)


# --- what a pickle may name --------------------------------------------------------------------------------


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if not arguments:
        return {}
    if not isinstance(arguments[0], list):
        raise ValueError("its pickle is damaged")
    made = plain_dict(arguments[0])
    arguments[0].clear()  # one list becomes one dict: again and again it would take time without end
    return made


def _built(value: Any, state: Any) -> None:
    """Ignores a state: the module versions beside a state dict, or the flags of a parameter."""
    if not isinstance(value, dict | _Tensor):
        raise ValueError("it sets the attributes of something that is not a tensor")


def _called(meaning: str, arguments: Any) -> Any:
    """What calling an allowed function gives; nothing is called."""
    if meaning == "dict" and isinstance(arguments, tuple):
        return _ordered_dict(arguments)
    if meaning == "parameter" and isinstance(arguments[0], _Tensor):
        return arguments[0]
    if meaning == "tensor":
        storage, offset, shape, strides = arguments[:4]
        if (
            not isinstance(storage, _Storage)
            or len(shape) != len(strides)
            or len(shape) > _MOST_AXES
            or not all(map(_is_count, (offset, *shape, *strides)))
        ):
            raise ValueError("a tensor is described by something else than counts")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))
    raise ValueError("it calls something that is not a function")


def _storage(identity: Any) -> _Storage:
    kind, storage_type, key, _, count, *view = identity[:6]
    if kind != "storage" or not isinstance(storage_type, Name) or storage_type.meaning not in _DTYPES:
        raise ValueError("a storage is described by something else")
    if not isinstance(key, str) or not _is_count(count):
        raise ValueError("a storage without a key and a count")
    start = view[0][1] if view and view[0] is not None else 0
    if not _is_count(start):
        raise ValueError("a view of a storage that begins nowhere")
    return _Storage(_DTYPES[storage_type.meaning], key, count, start)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**48


_VOCABULARY = Vocabulary(_NAMES, _called, _built, _storage)
