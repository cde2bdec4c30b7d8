"""Networks trained to tell objects from background, with the head that was trained on them: GDT's phase 1.

    entry = objectness.load("googlenet_objectness")       # or a path
    entry.layers, entry.head                              # the network's weights, the head's

An entry is one file of a weights folder, NAME.safetensors, like a stored network's (`backbones.store`) and
with the head's layers beside the network's own, under names that begin with "head/": "head/fc6/kernel"
[D, H] ... "head/objectness/bias" [2]. The header tells the network, the feature the head stands on, and how
it was trained. `NETWORK_objectness` is the name under which a tracker looks for one by itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from jtrack import backbones
from jtrack.backbones import store
from jtrack.backbones.convert import Layers, check
from jtrack.errors import JtrackError
from jtrack.names import match

HEAD = ("fc6", "fc7", "objectness")
PREFIX = "head/"  # begins the names of the head's layers among the network's


class Feature(NamedTuple):
    """What of a network the head stands on: the map of a box's image, as `fc_head.pool` flattens it."""

    tap: str  # layer
    size: tuple[int, int]  # (height, width) of a box's image
    cells: int = 6  # the map is averaged to so many cells a side
    stride: int = 16  # pixels of the image between cells of the layer's map
    pools: str | None = None  # the layer of half that stride whose 3 x 3 maxima it is, if it is that
    own: bool = False  # whether the network has an fc6 for this map, with which the head begins


class Entry(NamedTuple):
    """A network trained for objectness and its head."""

    backbone: str  # the network's name
    layers: Layers  # of the network, as far as its feature needs them
    head: Layers  # {"fc6", "fc7", "objectness"}, each {"kernel", "bias"}
    header: Mapping[str, str]


def name_for(backbone: str) -> str:
    """The name under which a tracker looks for a network's entry."""
    return f"{backbone}_objectness"


def find(name: str) -> Path | None:
    """The file of an entry in the weights folders, or None."""
    paths = (folder / (name + store.SUFFIX) for folder in store.folders())
    return next((path for path in paths if path.is_file()), None)


def write(path: Path, backbone: str, layers: Layers, head: Layers, about: Mapping[str, str]) -> None:
    """Stores an entry, under its final name only when it is complete.

    Args:
      path: the file, *.safetensors.
      backbone: the network's name, one of `networks()`.
      layers: its weights; only those its feature needs are kept.
      head: {"fc6", "fc7", "objectness"}, each {"kernel": [inputs, outputs], "bias": [outputs]}, float32.
      about: what else the header should say: data, iterations, rates.

    Raises:
      JtrackError: an unknown network, or a file that cannot be written.
    """
    feature = feature_of(backbone)
    needed = backbones.get(backbone).template(taps=(feature.tap,))
    kept = {layer: layers[layer] for layer in needed} | {PREFIX + layer: head[layer] for layer in HEAD}
    header = dict(about) | {"name": path.stem, "backbone": backbone, "feature": json.dumps(feature)}
    store.write(path, kept, header | {"params_sha256": store.digest(kept)})


def load(name: str | Path) -> Entry:
    """Reads and checks an entry.

    Args:
      name: an entry of the weights folders, or the path of a .safetensors file.

    Raises:
      JtrackError: there is none, it is damaged, or not an entry of a known network on the same feature.
    """
    path = Path(name) if str(name).endswith(store.SUFFIX) else find(str(name))
    if path is None or not path.is_file():
        where = ", ".join(map(str, store.folders()))
        raise JtrackError(
            f"no weights {str(name)!r} trained for objectness in {where}: train them with "
            "`jtrack train objectness`, or give the path of a .safetensors file"
        )
    found: Layers = {}
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118
                layer, _, part = key.rpartition("/")
                found.setdefault(layer, {})[part] = file.get_tensor(key)
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise JtrackError(
            f"{path} is damaged or holds no weights ({error}): train or fetch it again"
        ) from None
    backbone = header.get("backbone", "")
    if backbone not in networks() or any(PREFIX + layer not in found for layer in HEAD):
        raise JtrackError(
            f"{path} holds no network trained for objectness: give a file of `jtrack train objectness`"
        )
    feature = feature_of(backbone)
    if header.get("feature") != json.dumps(feature):
        raise JtrackError(
            f"{path} stands on {header.get('feature')} of {backbone}, this version on {json.dumps(feature)}: "
            "train it again"
        )
    layers = {layer: arrays for layer, arrays in found.items() if not layer.startswith(PREFIX)}
    check(layers, backbones.get(backbone).template(taps=(feature.tap,)), name=backbone, path=path)
    head = {layer: found[PREFIX + layer] for layer in HEAD}
    _check_head(backbone, head, path)
    return Entry(backbone, layers, head, header)


def networks() -> list[str]:
    """The networks that can be trained for objectness."""
    return [name for name, architecture in backbones.ARCHITECTURES.items() if architecture.stages]


def feature_of(backbone: str) -> Feature:
    """The feature of a network that the head stands on.

    AlexNet's pool5, 6 x 6 cells; of networks without fully connected layers a late map of stride 16.

    Raises:
      JtrackError: a network without stages.
    """
    net = backbones.get(match("network for objectness", backbone, networks()))
    assert net.stages is not None
    box, region = net.stages.box, net.stages.region
    pooled = box != region
    return Feature(
        box,
        net.stages.box_size,
        stride=net.stride(box),
        pools=region if pooled else None,
        own=pooled and net.stages.fc6 is not None,
    )


def width_of(backbone: str) -> int:
    """D: how many numbers the head takes of a network."""
    feature = feature_of(backbone)
    return feature.cells**2 * backbones.get(backbone).map_shape(feature.tap, feature.size)[-1]


def _check_head(backbone: str, head: Layers, path: Path) -> None:
    """Refuses layers that do not follow upon each other."""
    inputs = width_of(backbone)
    for layer in HEAD:
        shapes = {part: array.shape for part, array in head[layer].items()}
        outputs = 2 if layer == HEAD[-1] else (shapes.get("kernel") or (0,))[-1]
        if shapes != {"kernel": (inputs, outputs), "bias": (outputs,)}:
            raise JtrackError(
                f"{path} has a head whose {layer} does not take {inputs} numbers ({shapes}): train it again"
            )
        inputs = outputs
