"""SqueezeNet 1.1 (Iandola et al., 2016; the release of 2016-05)."""

from collections.abc import Iterator

from jtrack.backbones.base import Architecture, Layer, Preprocessing, Stages
from jtrack.backbones.layers import Concat, Conv, GlobalAveragePool, MaxPool, Relu, Softmax

PREPROCESSING = Preprocessing("BGR", (104, 117, 123), (1, 1, 1), (227, 227))


def _fire(block: str, inputs: int, squeeze: int, expand: int) -> Iterator[Layer]:
    yield Layer(f"{block}/squeeze1x1", Conv(inputs, squeeze, 1))
    yield Layer(f"{block}/relu_squeeze1x1", Relu())
    for size in (1, 3):
        conv = Conv(squeeze, expand, size, padding=size // 2)
        yield Layer(f"{block}/expand{size}x{size}", conv, (f"{block}/relu_squeeze1x1",))
        yield Layer(f"{block}/relu_expand{size}x{size}", Relu())
    yield Layer(f"{block}/concat", Concat(), (f"{block}/relu_expand1x1", f"{block}/relu_expand3x3"))


def squeezenet() -> Iterator[Layer]:
    """SqueezeNet 1.1: eight fire blocks.

    "fire2" is "fire2/concat".
    """
    yield Layer("conv1", Conv(3, 64, 3, stride=2))
    yield Layer("relu_conv1", Relu())
    yield Layer("pool1", MaxPool(3, 2))
    yield from _fire("fire2", 64, 16, 64)
    yield from _fire("fire3", 128, 16, 64)
    yield Layer("pool3", MaxPool(3, 2))
    yield from _fire("fire4", 128, 32, 128)
    yield from _fire("fire5", 256, 32, 128)
    yield Layer("pool5", MaxPool(3, 2))
    yield from _fire("fire6", 256, 48, 192)
    yield from _fire("fire7", 384, 48, 192)
    yield from _fire("fire8", 384, 64, 256)
    yield from _fire("fire9", 512, 64, 256)
    yield Layer("conv10", Conv(512, 1000, 1))
    yield Layer("relu_conv10", Relu())
    yield Layer("pool10", GlobalAveragePool())
    yield Layer("prob", Softmax())


_STAGES = Stages(
    first="relu_conv1",
    stride4="fire3/concat",
    stride8="fire5/concat",
    stride16="fire9/concat",
    box="fire9/concat",
    box_size=(115, 115),
    region="fire9/concat",
    region_size=(455, 455),
)

SQUEEZENET = Architecture(squeezenet, PREPROCESSING, _STAGES)
