"""Networks that describe images: defined once, used through plain pytrees of weights.

    backbone = backbones.get("vgg19")
    maps = backbone.apply(params, images, ("relu5_4", "relu3_4"))    # images [N, h, w, 3] RGB 0..255

`random_params` makes weights for tests; the weights store loads real ones.
"""

from jtrack.backbones import alexnet, googlenet, hog, none, squeezenet, tiny, vgg
from jtrack.backbones.base import Backbone, Params, Preprocessing, Topology
from jtrack.names import match

__all__ = ["PRECISIONS", "Backbone", "Params", "Preprocessing", "describe", "get", "names"]

PRECISIONS = ("float32", "bfloat16")

_NETS: dict[str, tuple[Topology, Preprocessing]] = {
    "vgg16": (vgg.vgg16, vgg.PREPROCESSING),
    "vgg19": (vgg.vgg19, vgg.PREPROCESSING),
    "vgg19_slim": (vgg.vgg19_slim, vgg.SLIM_PREPROCESSING),
    "vgg16_torchvision": (vgg.vgg16_torchvision, alexnet.TORCHVISION_PREPROCESSING),
    "vgg19_torchvision": (vgg.vgg19_torchvision, alexnet.TORCHVISION_PREPROCESSING),
    "caffenet": (alexnet.caffenet, alexnet.CAFFE_PREPROCESSING),
    "caffenet_conv": (alexnet.caffenet_conv, alexnet.CAFFE_PREPROCESSING),
    "rcnn_ilsvrc13": (alexnet.rcnn_ilsvrc13, alexnet.CAFFE_PREPROCESSING),
    "alexnet": (alexnet.alexnet, alexnet.CAFFE_PREPROCESSING),
    "alexnet_torchvision": (alexnet.alexnet_torchvision, alexnet.TORCHVISION_PREPROCESSING),
    "googlenet": (googlenet.googlenet, googlenet.PREPROCESSING),
    "squeezenet": (squeezenet.squeezenet, squeezenet.PREPROCESSING),
    "hog": (hog.hog, hog.PREPROCESSING),
    "none": (none.none, none.PREPROCESSING),
    "tiny": (tiny.tiny, tiny.PREPROCESSING),
}


def names() -> list[str]:
    """The networks there are."""
    return list(_NETS)


def describe(name: str) -> str:
    """What a network is, in one line.

    Raises:
      JtrackError: there is no network of this name.
    """
    topology, _ = _NETS[match("backbone", name, _NETS)]
    return (topology.__doc__ or "").partition("\n")[0]


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
    name = match("backbone", name, _NETS)
    precision = match("precision", precision, PRECISIONS)
    topology, preprocessing = _NETS[name]
    return Backbone(name, precision, preprocessing, topology)
