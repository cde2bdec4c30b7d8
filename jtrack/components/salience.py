"""Features of boxes, and which pixels make a linear classifier take them for the target.

Boxes are described one by one (`ProjectedPatches`), or cut from the map of a region that holds them all
(`ProjectedRegion`); what the classifier finds salient is projected back the same way.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtrack import checks
from jtrack.backbones import Backbone, Params
from jtrack.learning import saliency
from jtrack.types import Array, Box, Frame
from jtrack.vision import roi
from jtrack.vision.crop import crop
from jtrack.vision.resize import resize

# Images in one pass of the network: more of them, and on a CPU the maps leave its caches.
FORWARD, BACKWARD = 32, 8


class Extracted(NamedTuple):
    """The features of a frame, as two functions: of boxes, and of what the classifier finds salient."""

    describe: Callable[[Box], Array]  # boxes [N, 4] -> features [N, D]
    # (boxes [N, 4], which count [N] bool, the classifier's weights [D], window [4], cells a side) -> [G, G]
    salience: Callable[[Box, Array, Array, Box, int], Array]


@dataclass(frozen=True)
class ProjectedPatches:
    """Each candidate is an image of its own."""

    layer: str  # of the network
    cells: int | None  # its map is averaged to so many cells a side; None takes it as it is
    input_size: tuple[int, int]  # (h, w) of a candidate's image

    def __post_init__(self) -> None:
        checks.size(self, "input_size")

    def extract(self, backbone: Backbone, weights: Params, frame: Frame, region: Box) -> Extracted:
        """Extracts the features of a frame; the region [4] is not needed."""
        del region

        def images(candidates: Box) -> Array:
            return jax.vmap(lambda box: crop(frame, box, self.input_size))(candidates)

        def vectors(net: Backbone, images: Array) -> Array:
            maps = net.apply(weights, images, (self.layer,))[self.layer]
            if self.cells is not None:
                maps = resize(maps, (self.cells, self.cells), method="imresample")
            return maps.reshape(images.shape[0], -1)

        def describe(candidates: Box) -> Array:
            return in_batches(lambda part: vectors(backbone, part), images(candidates), FORWARD)

        def salience(candidates: Box, valid: Array, classifier: Array, window: Box, cells: int) -> Array:
            def project(images: Array) -> Array:
                return saliency.back_project(lambda part: vectors(_exact(backbone), part), images, classifier)

            maps = in_batches(project, images(candidates), BACKWARD)
            grid = (cells, cells)
            return saliency.aggregate(maps, candidates, valid, window, grid, frame.size)

        return Extracted(describe, salience)


@dataclass(frozen=True)
class ProjectedRegion:
    """One pass over a region describes all candidates: their cells are cut from its map."""

    layer: str  # of the network
    cells: int  # a candidate's map is averaged to so many cells a side
    input_size: tuple[int, int]  # (h, w) of the region's image

    def __post_init__(self) -> None:
        checks.size(self, "input_size")
        checks.at_least(1, self, "cells")

    def extract(self, backbone: Backbone, weights: Params, frame: Frame, region: Box) -> Extracted:
        """Extracts the features of a frame in one pass over the region [4]."""

        def network(image: Array) -> Array:
            return _exact(backbone).apply(weights, image[None], (self.layer,))[self.layer][0]

        maps, backward = jax.vjp(network, crop(frame, region, self.input_size))

        def cut(maps: Array, candidates: Box) -> Array:
            return roi.average(maps, region, candidates, self.cells).reshape(candidates.shape[0], -1)

        def salience(candidates: Box, valid: Array, classifier: Array, window: Box, cells: int) -> Array:
            def seed_of(candidate: Box, counts: Array) -> Array:
                described, adjoint = jax.vjp(lambda maps: cut(maps, candidate[None])[0], maps)
                sent: Array = adjoint(saliency.seed(described, classifier) * counts)[0]
                return sent

            seeds = jax.vmap(seed_of)(candidates, valid.astype(maps.dtype)).max(axis=0)
            (gradient,) = backward(seeds)
            found = jnp.abs(gradient).max(axis=-1)
            grid = (cells, cells)
            pasted = saliency.aggregate(
                found[None], region[None], valid.any()[None], window, grid, frame.size
            )
            return pasted * saliency.union(candidates, valid, window, grid)

        return Extracted(lambda candidates: cut(maps, candidates), salience)


def _exact(backbone: Backbone) -> Backbone:
    """The network in full precision: saliency is a gradient."""
    return dataclasses.replace(backbone, precision="float32")


def in_batches(work: Callable[[Array], Array], images: Array, size: int) -> Array:
    """`work` on images, so many at once; unrolled, as convolutions in a loop are slow on a CPU."""
    starts = range(0, images.shape[0], size)
    return jnp.concatenate([work(images[start : start + size]) for start in starts])
