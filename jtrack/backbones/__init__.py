"""Networks that describe images: defined once, used through plain pytrees of weights.

    backbone = backbones.get("vgg19")
    maps = backbone.apply(params, images, ("relu5_4", "relu3_4"))    # images [N, h, w, 3] RGB 0..255

`random_params` makes weights for tests; the weights store loads real ones.
"""

from jtrack.backbones import tiny, vgg
from jtrack.backbones.base import Backbone, Params, Preprocessing, Topology
from jtrack.errors import unknown_name

__all__ = ["PRECISIONS", "Backbone", "Params", "Preprocessing", "get", "names"]

PRECISIONS = ("float32", "bfloat16")

_NETS: dict[str, tuple[Topology, Preprocessing]] = {
    "vgg16": (vgg.vgg16, vgg.PREPROCESSING),
    "vgg19": (vgg.vgg19, vgg.PREPROCESSING),
    "tiny": (tiny.tiny, tiny.PREPROCESSING),
}


def names() -> list[str]:
    """The networks there are."""
    return list(_NETS)


def get(name: str, *, precision: str = "float32") -> Backbone:
    """A network by name.

    Args:
      name: one of `names()`.
      precision: "float32", or "bfloat16" for a forward pass that only scores or describes. On CPU ask
        `jtrack.devices.usable_precision` first.

    Returns:
      The network; it holds no weights.

    Raises:
      JtrackError: an unknown network or precision.
    """
    if name not in _NETS:
        raise unknown_name("backbone", name, _NETS)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    topology, preprocessing = _NETS[name]
    return Backbone(name, precision, preprocessing, topology)
