"""The AlexNet family: Caffe's CaffeNet and AlexNet (Krizhevsky et al., 2012), R-CNN's, and torchvision's."""

from collections.abc import Iterator

from jtrack.backbones.base import TORCHVISION, Architecture, Layer, Preprocessing, Stages
from jtrack.backbones.layers import Conv, Dense, LocalResponseNorm, MaxPool, Relu, Softmax

CAFFE_PREPROCESSING = Preprocessing("BGR", (104, 117, 123), (1, 1, 1), (227, 227))


def _convolutions(*, norm_first: bool) -> Iterator[Layer]:
    """The five convolutions of the two Caffe nets, which differ in the order of norm and pooling only."""

    def reduce(i: int) -> Iterator[Layer]:
        norm = Layer(f"norm{i}", LocalResponseNorm())
        pool = Layer(f"pool{i}", MaxPool(3, 2))
        yield from (norm, pool) if norm_first else (pool, norm)

    yield Layer("conv1", Conv(3, 96, 11, stride=4))
    yield Layer("relu1", Relu())
    yield from reduce(1)
    yield Layer("conv2", Conv(96, 256, 5, padding=2, groups=2))
    yield Layer("relu2", Relu())
    yield from reduce(2)
    yield Layer("conv3", Conv(256, 384, 3, padding=1))
    yield Layer("relu3", Relu())
    yield Layer("conv4", Conv(384, 384, 3, padding=1, groups=2))
    yield Layer("relu4", Relu())
    yield Layer("conv5", Conv(384, 256, 3, padding=1, groups=2))
    yield Layer("relu5", Relu())
    yield Layer("pool5", MaxPool(3, 2))


def _hidden() -> Iterator[Layer]:
    yield Layer("fc6", Dense(6 * 6 * 256, 4096))
    yield Layer("relu6", Relu())
    yield Layer("fc7", Dense(4096, 4096))
    yield Layer("relu7", Relu())


def _classes() -> Iterator[Layer]:
    yield Layer("fc8", Dense(4096, 1000))
    yield Layer("prob", Softmax())


def caffenet() -> Iterator[Layer]:
    """BVLC's CaffeNet: pools before it normalises."""
    yield from _convolutions(norm_first=False)
    yield from _hidden()
    yield from _classes()


def caffenet_conv() -> Iterator[Layer]:
    """CaffeNet's convolutions alone, for weights that hold no more."""
    return _convolutions(norm_first=False)


def rcnn_ilsvrc13() -> Iterator[Layer]:
    """R-CNN's CaffeNet (Girshick et al., 2014), fine-tuned on ILSVRC13: 200 linear detectors for classes."""
    yield from _convolutions(norm_first=False)
    yield from _hidden()
    yield Layer("fc-rcnn", Dense(4096, 200))


def alexnet() -> Iterator[Layer]:
    """BVLC's AlexNet: normalises before it pools."""
    yield from _convolutions(norm_first=True)
    yield from _hidden()
    yield from _classes()


def alexnet_torchvision() -> Iterator[Layer]:
    """AlexNet in one column (Krizhevsky, 2014), as torchvision has it.

    No groups, no norm, pooling that rounds down. torchvision's adaptive pooling before fc6 is the identity at
    224 x 224, the only size fc6 is offered for.
    """
    yield Layer("conv1", Conv(3, 64, 11, stride=4, padding=2))
    yield Layer("relu1", Relu())
    yield Layer("pool1", MaxPool(3, 2, ceil=False))
    yield Layer("conv2", Conv(64, 192, 5, padding=2))
    yield Layer("relu2", Relu())
    yield Layer("pool2", MaxPool(3, 2, ceil=False))
    yield Layer("conv3", Conv(192, 384, 3, padding=1))
    yield Layer("relu3", Relu())
    yield Layer("conv4", Conv(384, 256, 3, padding=1))
    yield Layer("relu4", Relu())
    yield Layer("conv5", Conv(256, 256, 3, padding=1))
    yield Layer("relu5", Relu())
    yield Layer("pool5", MaxPool(3, 2, ceil=False))
    yield from _hidden()
    yield from _classes()


_STAGES = Stages(
    first="relu1",
    stride4="relu1",
    stride8="relu2",
    stride16="relu5",
    box="pool5",
    box_size=(227, 227),
    region="relu5",
    region_size=(515, 515),
    pooled=True,
    fc6="relu6",
)
_TORCHVISION_STAGES = _STAGES._replace(box_size=(224, 224), region_size=(511, 511))

CAFFENET = Architecture(caffenet, CAFFE_PREPROCESSING, _STAGES)
CAFFENET_CONV = Architecture(caffenet_conv, CAFFE_PREPROCESSING, _STAGES._replace(fc6=None))
RCNN_ILSVRC13 = Architecture(rcnn_ilsvrc13, CAFFE_PREPROCESSING, _STAGES)
ALEXNET = Architecture(alexnet, CAFFE_PREPROCESSING, _STAGES)
ALEXNET_TORCHVISION = Architecture(alexnet_torchvision, TORCHVISION, _TORCHVISION_STAGES)
