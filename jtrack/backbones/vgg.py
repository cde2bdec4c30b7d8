"""VGG-16 and VGG-19 (Simonyan and Zisserman, 2015), and the quarter-width VGG-19."""

from collections.abc import Iterator

from jtrack.backbones.base import TORCHVISION, Architecture, Layer, Preprocessing, Stages
from jtrack.backbones.layers import Conv, Dense, MaxPool, Relu, Softmax

# As MatConvNet: RGB. The Caffe files are BGR with the same means; their conv1_1 is flipped when converted, so
# that the weights of every VGG are for RGB.
PREPROCESSING = Preprocessing("RGB", (123.68, 116.779, 103.939), (1, 1, 1), (224, 224))


def _blocks(
    inputs: int, widths: tuple[int, ...], depths: tuple[int, ...], *, ceil: bool, reflect: bool = False
) -> Iterator[Layer]:
    for block, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for i in range(1, depth + 1):
            yield Layer(f"conv{block}_{i}", Conv(inputs, width, 3, padding=1, reflect=reflect))
            yield Layer(f"relu{block}_{i}", Relu())
            inputs = width
        yield Layer(f"pool{block}", MaxPool(2, 2, ceil=ceil))


def _vgg(depths: tuple[int, ...], *, ceil: bool) -> Iterator[Layer]:
    yield from _blocks(3, (64, 128, 256, 512, 512), depths, ceil=ceil)
    yield Layer("fc6", Dense(7 * 7 * 512, 4096))
    yield Layer("relu6", Relu())
    yield Layer("fc7", Dense(4096, 4096))
    yield Layer("relu7", Relu())
    yield Layer("fc8", Dense(4096, 1000))
    yield Layer("prob", Softmax())


def vgg16() -> Iterator[Layer]:
    """VGG-16 as Caffe has it: 13 convolutions, pooling that rounds up."""
    return _vgg((2, 2, 3, 3, 3), ceil=True)


def vgg19() -> Iterator[Layer]:
    """VGG-19 as Caffe has it: 16 convolutions, pooling that rounds up."""
    return _vgg((2, 2, 4, 4, 4), ceil=True)


def vgg16_torchvision() -> Iterator[Layer]:
    """VGG-16 as torchvision has it: 13 convolutions, pooling that rounds down.

    Its adaptive pooling before fc6 is the identity at 224 x 224, the only size fc6 is offered for.
    """
    return _vgg((2, 2, 3, 3, 3), ceil=False)


def vgg19_torchvision() -> Iterator[Layer]:
    """VGG-19 as torchvision has it: 16 convolutions, pooling that rounds down."""
    return _vgg((2, 2, 4, 4, 4), ceil=False)


SLIM_PREPROCESSING = Preprocessing("RGB", (0, 0, 0), (255, 255, 255), (224, 224))


def vgg19_slim() -> Iterator[Layer]:
    """VGG-19 with a quarter of the channels, to conv5_1, after its own 1x1 normalisation conv0.

    A network distilled from VGG-19 (Wang et al., "Collaborative distillation", 2020). Its weights do not
    say how it pads and pools; its own predictions of VGG-19's maps do: at the border they match VGG-19's only
    with reflected borders on both sides (relu3_1 correlates .82 there, as inside; .58 with zeros), and inside
    only with maximum pooling (.84; .73 with averages).
    """
    yield Layer("conv0", Conv(3, 3, 1))
    depths = (2, 2, 4, 4, 1)
    for layer in _blocks(3, (16, 32, 64, 128, 128), depths, ceil=False, reflect=True):
        if layer.name != "pool5":
            yield layer


def _stages(stride4: str, stride8: str, stride16: str, *, fc6: str | None = "relu6") -> Stages:
    return Stages(
        first="relu1_1",
        stride4=stride4,
        stride8=stride8,
        stride16=stride16,
        box=stride16,
        box_size=(112, 112),
        region=stride16,
        region_size=(448, 448),
        fc6=fc6,
    )


_STAGES16 = _stages("relu3_3", "relu4_3", "relu5_3")
_STAGES19 = _stages("relu3_4", "relu4_4", "relu5_4")
_SLIM_STAGES = _stages("relu3_4", "relu4_4", "relu5_1", fc6=None)

VGG16 = Architecture(vgg16, PREPROCESSING, _STAGES16)
VGG19 = Architecture(vgg19, PREPROCESSING, _STAGES19)
VGG19_SLIM = Architecture(vgg19_slim, SLIM_PREPROCESSING, _SLIM_STAGES)
VGG16_TORCHVISION = Architecture(vgg16_torchvision, TORCHVISION, _STAGES16)
VGG19_TORCHVISION = Architecture(vgg19_torchvision, TORCHVISION, _STAGES19)
