"""A tiny network with VGG-19's tap names, for tests: a forward pass costs next to nothing."""

from collections.abc import Iterator

from jtrack.backbones.base import Architecture, Layer, Preprocessing, Stages
from jtrack.backbones.layers import Conv, Dense, MaxPool, Relu

PREPROCESSING = Preprocessing("RGB", (123.68, 116.779, 103.939), (58, 58, 58), (64, 64))


def tiny() -> Iterator[Layer]:
    """A small network with random weights, for tests.

    One convolution a block, named as VGG-19's last: relu3_4, relu4_4, relu5_4 at strides 4, 8, 16.
    """
    inputs = 3
    for block, (last, width) in enumerate(((2, 4), (2, 8), (4, 8), (4, 12), (4, 16)), start=1):
        yield Layer(f"conv{block}_{last}", Conv(inputs, width, 3, padding=1))
        yield Layer(f"relu{block}_{last}", Relu())
        yield Layer(f"pool{block}", MaxPool(2, 2))
        inputs = width
    yield Layer("fc6", Dense(2 * 2 * 16, 32))
    yield Layer("relu6", Relu())


_STAGES = Stages(
    first="relu3_4",  # of stride 4: larger maps would make tests slow
    stride4="relu3_4",
    stride8="relu4_4",
    stride16="relu5_4",
    box="relu4_4",
    box_size=(48, 48),
    region="relu4_4",
    region_size=(128, 128),
    fc6="relu6",
)

TINY = Architecture(tiny, PREPROCESSING, _STAGES, untrained=True)
