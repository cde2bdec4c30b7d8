"""What of a network describes the image of a box, for a fully connected head on it."""

from typing import NamedTuple

from jtrack import backbones
from jtrack.backbones.base import Backbone
from jtrack.checks import there
from jtrack.names import match

CELLS = 6  # a box's map is averaged to so many cells a side: those of AlexNet's pool5


class Feature(NamedTuple):
    """What of a network the head stands on: the map of a box's image, as `fc_head.pool` flattens it."""

    tap: str  # layer
    size: tuple[int, int]  # (height, width) of a box's image
    stride: int = 16  # pixels of the image between cells of the layer's map
    # The layer of half that stride that it is pooled from, if it is a maximum over 3 x 3 cells with stride 2.
    pooled_from: str | None = None
    own: bool = False  # whether the network has an fc6 for this map, with which the head begins


def networks() -> list[str]:
    """The networks that can be trained for objectness."""
    return [name for name, architecture in backbones.ARCHITECTURES.items() if architecture.stages]


def feature_of(backbone: str | Backbone) -> Feature:
    """The feature of a network, or of one of this name with all its layers, that the head stands on.

    AlexNet's pool5, 6 x 6 cells; of networks without fully connected layers a late map of stride 16.

    Raises:
      JtrackError: a network without stages.
    """
    name = backbone if isinstance(backbone, str) else backbone.name
    if isinstance(backbone, str) or backbone.stages is None:
        name = match("network for objectness", name, networks())
    net = backbones.get(name) if isinstance(backbone, str) else backbone
    stages = there(net.stages)
    return Feature(
        stages.box,
        stages.box_size,
        stride=net.stride(stages.box),
        pooled_from=stages.region if stages.pooled else None,
        own=stages.pooled and stages.fc6 is not None,
    )


def width_of(backbone: str) -> int:
    """D: how many numbers the head takes of a network."""
    feature = feature_of(backbone)
    return CELLS**2 * backbones.get(backbone).map_shape(feature.tap, feature.size)[-1]
