"""Networks from other programs' files: one file a source format, one place where names and shapes must fit.

A reader turns a file into `Layers` under the file's own names; `convert` gives them the Caffe names, puts
kernels and dense layers in this project's layout and refuses whatever does not fit the net's template.
Files are untrusted: sizes are checked before memory is taken, nothing in them is ever executed.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtrack.errors import JtrackError
from jtrack.weights.convert import caffemodel, flax_pickle, keras_h5, matconvnet, npz, torch_pickle

Layers = dict[str, dict[str, np.ndarray]]


class Format(NamedTuple):
    """How one kind of file is recognised and read."""

    suffixes: tuple[str, ...]
    read: Callable[[Path, int], Layers]  # (file, most bytes of it) -> kernels HWIO or [in, out], biases
    dense_order: str  # "CHW" or "HWC": in which order the inputs of a dense layer count a map


FORMATS: Mapping[str, Format] = {
    "caffemodel": Format((".caffemodel",), caffemodel.read, "CHW"),
    "matconvnet": Format((".mat",), matconvnet.read, "HWC"),
    "torch": Format((".pth", ".pt"), torch_pickle.read, "CHW"),
    "keras": Format((".h5", ".hdf5"), keras_h5.read, "HWC"),
    "npz": Format((".npz",), npz.read, "CHW"),
    "flax": Format((".ckpt",), flax_pickle.read, "HWC"),
}


@dataclass(frozen=True)
class Source:
    """One file a net can be made from, as the manifest describes it."""

    file: str  # its name; of an installed distribution, its path inside
    format: str  # a key of FORMATS
    channels: str  # "RGB" or "BGR": the order of the file's three-channel input
    checksum: str  # "sha256:...", "sha384:...", "sha1:...", "md5:..." (whole or first digits) or "unverified"
    addresses: tuple[str, ...] = ()
    size: int | None = None  # bytes
    rename: Mapping[str, str] = field(default_factory=dict)  # regular expression -> Caffe name
    ignore: tuple[str, ...] = ()  # names, with wildcards, of layers this net leaves out
    distribution: str = ""  # "NAME==VERSION" of the installed distribution that the file is part of
    layers: tuple[str, ...] = ()  # names, with wildcards, of the net's layers that it holds; () all of them
    licence: str = ""  # where it is another one than the net's

    def held(self, template: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """The part of a net's template that the file holds."""
        if not self.layers:
            return dict(template)
        return {
            layer: parts
            for layer, parts in template.items()
            if any(fnmatchcase(layer, pattern) for pattern in self.layers)
        }


def convert(
    path: Path,
    source: Source,
    template: Mapping[str, Mapping[str, Any]],
    *,
    name: str,
    channels: str,
    flatten: Mapping[str, tuple[int, int, int]],
) -> Layers:
    """Reads a net from a foreign file and fits it to the net's template.

    Args:
      path: the file.
      source: what kind of file it is.
      template: {layer: {"kernel", "bias"}} of things with a `.shape`; kernels [h, w, in, out] or [in, out].
      name: the net, for messages.
      channels: "RGB" or "BGR", the order of the input in which the net is stored.
      flatten: (height, width, channels) of the map that each named dense layer flattens.

    Returns:
      {layer: {"kernel", "bias"}} of contiguous float32 arrays: exactly the layers and shapes of the template,
      or those of its layers that the source holds.

    Raises:
      JtrackError: the file is unreadable, or holds another net; the sentence lists every mismatch.
    """
    reader = FORMATS[source.format]
    layers = _named(reader.read(path, limit_of(template)), source)
    if source.channels != channels:
        layers = {layer: _reversed_input(arrays) for layer, arrays in layers.items()}
    if reader.dense_order == "CHW":
        layers |= {
            layer: _height_first(layers[layer], shape) for layer, shape in flatten.items() if layer in layers
        }
    layers = {
        layer: {part: _fitted(array, template.get(layer, {}).get(part)) for part, array in arrays.items()}
        for layer, arrays in layers.items()
    }
    check(layers, source.held(template), name=name, path=path)
    return layers


def limit_of(template: Mapping[str, Mapping[str, Any]]) -> int:
    """The most bytes a file of a net may take.

    Twice the net, or a large one and 128 MiB, and room for what else such files hold: any larger file is an
    attack or another net.
    """
    net = sum(4 * math.prod(leaf.shape) for layer in template.values() for leaf in layer.values())
    return net + min(net, 2**27) + 2**26


def check(layers: Mapping[str, Any], template: Mapping[str, Any], *, name: str, path: Path) -> None:
    """Refuses arrays that are not exactly the net's, naming the first mismatches of each kind."""
    common = [layer for layer in template if layer in layers]
    have = {f"{layer}/{part}": array for layer in common for part, array in layers[layer].items()}
    want = {
        f"{layer}/{part}": tuple(leaf.shape) for layer in common for part, leaf in template[layer].items()
    }
    pairs = [(key, have[key], shape) for key, shape in want.items() if key in have]
    problems = {
        "missing": [layer for layer in template if layer not in layers] + [k for k in want if k not in have],
        "unexpected": [layer for layer in layers if layer not in template]
        + [k for k in have if k not in want],
        "of the wrong shape": [f"{k} {_sizes(a.shape)} for {_sizes(s)}" for k, a, s in pairs if a.shape != s],
        **unusable({key: array for key, array, _ in pairs}),
    }
    if any(problems.values()):
        found = "; ".join(f"{problem}: {_first(which)}" for problem, which in problems.items() if which)
        raise JtrackError(f"{path} does not hold {name} (weights of the wrong net or shape): {found}")


def unusable(arrays: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """The arrays that are not of finite float32, by what is wrong with them."""
    return {
        "not float32": [f"{key} ({a.dtype})" for key, a in arrays.items() if a.dtype != np.float32],
        "not finite": [key for key, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()],
    }


def _first(names: list[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _named(found: Layers, source: Source) -> Layers:
    def caffe_name(layer: str) -> str:
        for pattern, name in source.rename.items():
            if match := re.fullmatch(pattern, layer):
                return match.expand(name)
        return layer

    kept = {
        layer: arrays
        for layer, arrays in found.items()
        if not any(fnmatchcase(layer, p) for p in source.ignore)
    }
    return {caffe_name(layer): dict(arrays) for layer, arrays in kept.items()}


def _reversed_input(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kernel = arrays.get("kernel")
    if kernel is None or kernel.ndim != 4 or kernel.shape[2] != 3:
        return arrays
    return arrays | {"kernel": kernel[:, :, ::-1]}


def _height_first(arrays: dict[str, np.ndarray], shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Reorders the inputs of a dense layer from (channel, row, column) to (row, column, channel)."""
    height, width, depth = shape
    kernel = arrays.get("kernel")
    if kernel is None or kernel.ndim != 2 or kernel.shape[0] != height * width * depth:
        return arrays
    rows = kernel.reshape(depth, height, width, -1).transpose(1, 2, 0, 3)
    return arrays | {"kernel": rows.reshape(kernel.shape)}


def _fitted(array: np.ndarray, leaf: Any) -> np.ndarray:
    """Float32, contiguous; a dense layer written as a convolution (or the other way) in the wanted rank.

    What the net has no place for stays as it is, to be refused: a file may hold one large array under many
    names, each of which would be copied. So do whole numbers, which are no weights.
    """
    if leaf is None or array.size != math.prod(leaf.shape) or array.dtype.kind != "f":
        return array
    if array.ndim != len(leaf.shape) and array.shape[-1:] == tuple(leaf.shape[-1:]):
        array = array.reshape(leaf.shape)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        return np.ascontiguousarray(array, np.float32)
