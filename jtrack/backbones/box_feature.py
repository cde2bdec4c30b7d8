"""What of a network describes the image of a box, for a fully connected head on it."""

from typing import NamedTuple

from jtrack import backbones
from jtrack.names import match


class Feature(NamedTuple):
    """What of a network the head stands on: the map of a box's image, as `fc_head.pool` flattens it."""

    tap: str  # layer
    size: tuple[int, int]  # (height, width) of a box's image
    cells: int = 6  # the map is averaged to so many cells a side
    stride: int = 16  # pixels of the image between cells of the layer's map
    pools: str | None = None  # the layer of half that stride whose 3 x 3 maxima it is, if it is that
    own: bool = False  # whether the network has an fc6 for this map, with which the head begins


def networks() -> list[str]:
    """The networks that can be trained for objectness."""
    return [name for name, architecture in backbones.ARCHITECTURES.items() if architecture.stages]


def feature_of(backbone: str) -> Feature:
    """The feature of a network that the head stands on.

    AlexNet's pool5, 6 x 6 cells; of networks without fully connected layers a late map of stride 16.

    Raises:
      JtrackError: a network without stages.
    """
    net = backbones.get(match("network for objectness", backbone, networks()))
    assert net.stages is not None
    box, region = net.stages.box, net.stages.region
    pooled = box != region
    return Feature(
        box,
        net.stages.box_size,
        stride=net.stride(box),
        pools=region if pooled else None,
        own=pooled and net.stages.fc6 is not None,
    )


def width_of(backbone: str) -> int:
    """D: how many numbers the head takes of a network."""
    feature = feature_of(backbone)
    return feature.cells**2 * backbones.get(backbone).map_shape(feature.tap, feature.size)[-1]
