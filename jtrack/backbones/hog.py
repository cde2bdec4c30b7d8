"""Histograms of oriented gradients as a backbone: no weights, the same interface."""

from collections.abc import Iterator

from flax import nnx

from jtrack.backbones.base import Architecture, Layer, Preprocessing, Stages
from jtrack.types import Array
from jtrack.vision.hog import fhog

PREPROCESSING = Preprocessing("RGB", (0, 0, 0), (1, 1, 1), (224, 224))


class Hog(nnx.Module):
    """Felzenszwalb's 31 channels over cells of 4 pixels, in float32 whatever the precision."""

    def __call__(self, x: Array) -> Array:
        """[N, h, w, 3] RGB 0..255 -> [N, h // 4, w // 4, 31]."""
        return fhog(x, cell=4)


def hog() -> Iterator[Layer]:
    """No network: histograms of oriented gradients, the one layer "hog"."""
    yield Layer("hog", Hog())


_STAGES = Stages(
    first="hog",
    stride4="hog",
    stride8="hog",
    stride16="hog",
    box="hog",
    box_size=(64, 64),
    region="hog",
    region_size=(256, 256),
)

HOG = Architecture(hog, PREPROCESSING, _STAGES)
