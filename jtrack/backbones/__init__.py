"""Networks that describe images: defined once, used through plain pytrees of weights.

    backbone = backbones.get("vgg19")
    maps = backbone.apply(params, images, ("relu5_4", "relu3_4"))    # images [N, h, w, 3] RGB 0..255

`random_params` makes weights for tests; the weights store loads real ones.
"""

from jtrack.backbones import alexnet, compact, googlenet, hog, none, squeezenet, tiny, vgg
from jtrack.backbones.base import Architecture, Backbone, Params, Preprocessing, Stages
from jtrack.names import match
from jtrack.precision import PRECISIONS

__all__ = [
    "PRECISIONS",
    "Architecture",
    "Backbone",
    "Params",
    "Preprocessing",
    "Stages",
    "describe",
    "get",
    "names",
]

# One row a network: its name here and in the manifest of weights, and its record.
ARCHITECTURES: dict[str, Architecture] = {
    "vgg16": vgg.VGG16,
    "vgg19": vgg.VGG19,
    "vgg19_slim": vgg.VGG19_SLIM,
    "vgg16_torchvision": vgg.VGG16_TORCHVISION,
    "vgg19_torchvision": vgg.VGG19_TORCHVISION,
    "caffenet": alexnet.CAFFENET,
    "caffenet_conv": alexnet.CAFFENET_CONV,
    "rcnn_ilsvrc13": alexnet.RCNN_ILSVRC13,
    "alexnet": alexnet.ALEXNET,
    "alexnet_torchvision": alexnet.ALEXNET_TORCHVISION,
    "googlenet": googlenet.GOOGLENET,
    "squeezenet": squeezenet.SQUEEZENET,
    "compact": compact.COMPACT,
    "hog": hog.HOG,
    "none": none.NONE,
    "tiny": tiny.TINY,
}


def names() -> list[str]:
    """The networks there are."""
    return list(ARCHITECTURES)


def describe(name: str) -> str:
    """What a network is, in one line.

    Raises:
      JtrackError: there is no network of this name.
    """
    topology = ARCHITECTURES[match("backbone", name, ARCHITECTURES)].topology
    return (topology.__doc__ or "").partition("\n")[0]


def get(name: str, *, precision: str = "float32") -> Backbone:
    """A network by name.

    Args:
      name: one of `names()`.
      precision: one of `PRECISIONS`; less than "float32" is for a forward pass that only scores or describes.
        Ask `jtrack.devices.usable_precision` first.

    Returns:
      The network; it holds no weights.

    Raises:
      JtrackError: an unknown network or precision.
    """
    name = match("backbone", name, ARCHITECTURES)
    precision = match("precision", precision, PRECISIONS)
    net = ARCHITECTURES[name]
    return Backbone(name, precision, net.preprocessing, net.topology, net.stages)
