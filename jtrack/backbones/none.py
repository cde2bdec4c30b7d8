"""No network: for trackers that learn their own from the video."""

from collections.abc import Iterator

from jtrack.backbones.base import Architecture, Layer, Preprocessing

PREPROCESSING = Preprocessing("RGB", (0, 0, 0), (1, 1, 1), (224, 224))


def none() -> Iterator[Layer]:
    """No network, for trackers that learn their own from the video."""
    yield from ()


NONE = Architecture(none, PREPROCESSING, stages=None)
