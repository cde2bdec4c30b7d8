"""`compact`, jtrack's own network: small enough to come with the package."""

from collections.abc import Iterator

from jtrack.backbones.base import TORCHVISION, Architecture, Layer, Stages
from jtrack.backbones.layers import Conv, MaxPool, Relu


def compact() -> Iterator[Layer]:
    """Six convolutions of jtrack's own, .9 MB, distilled from VGG-16; part of the package.

    Maps of strides 4, 8 and 16, whose cells lie where VGG-16's do: an even kernel at the first stride, and
    pooling at the others, keep them in the middle of their pixels.
    """
    yield Layer("conv1", Conv(3, 24, 4, stride=2, padding=1))
    yield Layer("relu1", Relu())
    yield Layer("pool1", MaxPool(2, 2))
    yield Layer("conv2", Conv(24, 40, 3, padding=1))
    yield Layer("relu2", Relu())
    yield Layer("pool2", MaxPool(2, 2))
    yield Layer("conv3", Conv(40, 64, 3, padding=1))
    yield Layer("relu3", Relu())
    yield Layer("conv4", Conv(64, 64, 3, padding=1))
    yield Layer("relu4", Relu())
    yield Layer("pool4", MaxPool(2, 2))
    yield Layer("conv5", Conv(64, 96, 3, padding=1))
    yield Layer("relu5", Relu())
    yield Layer("conv6", Conv(96, 128, 3, padding=1))
    yield Layer("relu6", Relu())


_STAGES = Stages(
    first="relu1",
    stride4="relu2",
    stride8="relu4",
    stride16="relu6",
    box="relu6",
    box_size=(112, 112),
    region="relu6",
    region_size=(448, 448),
)

COMPACT = Architecture(compact, TORCHVISION, _STAGES)
