"""BVLC's GoogLeNet (Szegedy et al., 2015): the inference graph, without the auxiliary classifiers."""

from collections.abc import Iterator

from jtrack.backbones.base import Architecture, Layer, Preprocessing, Stages
from jtrack.backbones.layers import (
    AveragePool,
    Concat,
    Conv,
    Dense,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Softmax,
)

PREPROCESSING = Preprocessing("BGR", (104, 117, 123), (1, 1, 1), (224, 224))

# 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj: the outputs of each convolution of a block.
_WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _inception(block: str, source: str, inputs: int, widths: tuple[int, ...]) -> Iterator[Layer]:
    def convolution(name: str, inputs: int, outputs: int, size: int, source: str) -> Iterator[Layer]:
        conv = Conv(inputs, outputs, size, padding=size // 2)
        yield Layer(f"{block}/{name}", conv, (source,))
        yield Layer(f"{block}/relu_{name}", Relu())

    one, reduce3, three, reduce5, five, projection = widths
    yield from convolution("1x1", inputs, one, 1, source)
    yield from convolution("3x3_reduce", inputs, reduce3, 1, source)
    yield from convolution("3x3", reduce3, three, 3, f"{block}/relu_3x3_reduce")
    yield from convolution("5x5_reduce", inputs, reduce5, 1, source)
    yield from convolution("5x5", reduce5, five, 5, f"{block}/relu_5x5_reduce")
    yield Layer(f"{block}/pool", MaxPool(3, 1, padding=1), (source,))
    yield from convolution("pool_proj", inputs, projection, 1, f"{block}/pool")
    branches = ("1x1", "3x3", "5x5", "pool_proj")
    yield Layer(f"{block}/output", Concat(), tuple(f"{block}/relu_{branch}" for branch in branches))


def googlenet() -> Iterator[Layer]:
    """GoogLeNet (Inception v1): nine inception blocks.

    "inception_3b" is "inception_3b/output".
    """
    yield Layer("conv1/7x7_s2", Conv(3, 64, 7, stride=2, padding=3))
    yield Layer("conv1/relu_7x7", Relu())
    yield Layer("pool1/3x3_s2", MaxPool(3, 2))
    yield Layer("pool1/norm1", LocalResponseNorm())
    yield Layer("conv2/3x3_reduce", Conv(64, 64, 1))
    yield Layer("conv2/relu_3x3_reduce", Relu())
    yield Layer("conv2/3x3", Conv(64, 192, 3, padding=1))
    yield Layer("conv2/relu_3x3", Relu())
    yield Layer("conv2/norm2", LocalResponseNorm())
    yield Layer("pool2/3x3_s2", MaxPool(3, 2))
    source, inputs = "pool2/3x3_s2", 192
    for name, widths in _WIDTHS.items():
        block = f"inception_{name}"
        yield from _inception(block, source, inputs, widths)
        source = f"{block}/output"
        one, _, three, _, five, projection = widths
        inputs = one + three + five + projection
        if name in ("3b", "4e"):
            source = "pool3/3x3_s2" if name == "3b" else "pool4/3x3_s2"
            yield Layer(source, MaxPool(3, 2))
    yield Layer("pool5/7x7_s1", AveragePool(7, 1))
    yield Layer("loss3/classifier", Dense(1024, 1000))
    yield Layer("prob", Softmax())


_STAGES = Stages(
    first="conv1/relu_7x7",
    stride4="conv2/relu_3x3",
    stride8="inception_3b/output",
    stride16="inception_4e/output",
    # 4c describes a box better than 4e does.
    box="inception_4c/output",
    box_size=(112, 112),
    region="inception_4c/output",
    region_size=(320, 320),
)

GOOGLENET = Architecture(googlenet, PREPROCESSING, _STAGES)
