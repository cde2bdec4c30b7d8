"""Networks trained to tell objects from background, with the head that was trained on them: GDT's phase 1.

    checkpoint = checkpoints.load("googlenet_objectness")  # or a path
    checkpoint.layers, checkpoint.head                    # the network's weights, the head's

A checkpoint is one file of a weights folder, NAME.safetensors, like a stored network's (`weights.store`) and
with the head's layers beside the network's own, under names that begin with "head/": "head/fc6/kernel"
[D, H] ... "head/objectness/bias" [2]. The header tells the network, the feature the head stands on, and how
it was trained. `NETWORK_objectness` is the name under which a tracker looks for one by itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jtrack import backbones
from jtrack.backbones import box_feature
from jtrack.errors import JtrackError
from jtrack.untrusted import MEMORY
from jtrack.weights import store
from jtrack.weights.convert import Layers, check, unusable

HEAD = ("fc6", "fc7", "objectness")
PREFIX = "head/"  # begins the names of the head's layers among the network's


class Checkpoint(NamedTuple):
    """A network trained for objectness and its head."""

    backbone: str  # the network's name
    layers: Layers  # of the network, as far as its feature needs them
    head: Layers  # {"fc6", "fc7", "objectness"}, each {"kernel", "bias"}
    header: Mapping[str, str]


def name_for(backbone: str) -> str:
    """The name under which a tracker looks for a network's checkpoint."""
    return f"{backbone}_objectness"


def find(name: str) -> Path | None:
    """The file of a checkpoint in the weights folders, or None."""
    paths = (folder / (name + store.SUFFIX) for folder in store.folders())
    return next((path for path in paths if path.is_file()), None)


def write(path: Path, backbone: str, layers: Layers, head: Layers, about: Mapping[str, str]) -> None:
    """Stores a checkpoint, under its final name only when it is complete.

    Args:
      path: the file, *.safetensors.
      backbone: the network's name, one of `box_feature.networks()`.
      layers: its weights; only those its feature needs are kept.
      head: {"fc6", "fc7", "objectness"}, each {"kernel": [inputs, outputs], "bias": [outputs]}, float32.
      about: what else the header should say: data, iterations, rates.

    Raises:
      JtrackError: an unknown network, or a file that cannot be written.
    """
    feature = box_feature.feature_of(backbone)
    needed = backbones.get(backbone).template(taps=(feature.tap,))
    kept = {layer: layers[layer] for layer in needed} | {PREFIX + layer: head[layer] for layer in HEAD}
    header = dict(about) | {"name": path.stem, "backbone": backbone, "feature": json.dumps(feature)}
    store.write(path, kept, header | {"params_sha256": store.digest(kept)})


def load(name: str | Path) -> Checkpoint:
    """Reads and checks a checkpoint.

    Args:
      name: a checkpoint of the weights folders, or the path of a .safetensors file.

    Raises:
      JtrackError: there is none, it is damaged, or not a checkpoint of a known network on the same feature.
    """
    path = Path(name) if str(name).endswith(store.SUFFIX) else find(str(name))
    if path is None or not path.exists():
        where = ", ".join(map(str, store.folders()))
        raise JtrackError(
            f"no weights {str(name)!r} trained for objectness in {where}: train them with "
            "`jtrack train objectness`, or give the path of a .safetensors file"
        )
    found, header = store.read_layers(path, "train or fetch it again", largest=MEMORY)
    backbone = header.get("backbone", "")
    if backbone not in box_feature.networks() or any(PREFIX + layer not in found for layer in HEAD):
        raise JtrackError(
            f"{path} holds no network trained for objectness: give a file of `jtrack train objectness`"
        )
    feature = box_feature.feature_of(backbone)
    if header.get("feature") != json.dumps(feature):
        raise JtrackError(
            f"{path} stands on {header.get('feature')} of {backbone}, this version on {json.dumps(feature)}: "
            "train it again"
        )
    layers = {layer: arrays for layer, arrays in found.items() if not layer.startswith(PREFIX)}
    check(layers, backbones.get(backbone).template(taps=(feature.tap,)), name=backbone, path=path)
    head = {layer: found[PREFIX + layer] for layer in HEAD}
    _check_head(backbone, head, path)
    return Checkpoint(backbone, layers, head, header)


def _check_head(backbone: str, head: Layers, path: Path) -> None:
    """Refuses layers that do not follow upon each other, and values that are not of finite float32."""
    inputs = box_feature.width_of(backbone)
    for layer in HEAD:
        shapes = {part: array.shape for part, array in head[layer].items()}
        outputs = 2 if layer == HEAD[-1] else (shapes.get("kernel") or (0,))[-1]
        if not outputs or shapes != {"kernel": (inputs, outputs), "bias": (outputs,)}:
            raise JtrackError(
                f"{path} has a head whose {layer} does not take {inputs} numbers ({shapes}): train it again"
            )
        inputs = outputs
    arrays = {f"{PREFIX}{layer}/{part}": array for layer in HEAD for part, array in head[layer].items()}
    for problem, layers in unusable(arrays).items():
        if layers:
            raise JtrackError(
                f"{path} has a head whose values are {problem}: {', '.join(layers)}: train it again"
            )
