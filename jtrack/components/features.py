"""The feature extractor: what a network says of a part of a frame, and of boxes in it.

Boxes are described one by one (`Patches`), or cut from the maps of a region that holds them all (`Region`).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack import checks
from jtrack.backbones import Backbone, Params
from jtrack.backbones.box_feature import CELLS, Feature
from jtrack.components import samples
from jtrack.learning import fc_head
from jtrack.types import Array, Box, Frame
from jtrack.vision import boxes, roi
from jtrack.vision.crop import crop
from jtrack.vision.rotation import crop_rotated
from jtrack.vision.windows import hann2d

Describe = Callable[[Any, Box], Array]  # (level () int32, boxes [N, 4]) -> features [N, D]


def of_window(
    backbone: Backbone,
    weights: Params,
    frame: Frame,
    window: Box,
    size: tuple[int, int],
    layers: tuple[str, ...],
    *,
    method: str = "bilinear",
    border: str = "edge",
) -> dict[str, Array]:
    """Maps of one window of a frame.

    Args:
      backbone: the network.
      weights: its weights.
      frame: the frame.
      window: [4] what is cut out.
      size: (h, w) of the image that it becomes.
      layers: names of layers.
      method: of resampling, as `vision.crop` takes it.
      border: what lies outside the frame, as `vision.crop` takes it.

    Returns:
      {layer: [h', w', C]}.
    """
    image = crop(frame, window, size, method=method, border=border)
    maps = backbone.apply(weights, image[None], layers)
    return {layer: maps[layer][0] for layer in layers}


def leading_directions(maps: Array, count: int) -> Array:
    """The directions [C, K] in which the features of a window are largest, K the smaller of C and `count`.

    They are eigenvectors of the features' second moments: not of their covariance, for filters see the mean,
    too. Cells count less towards the border, by a Hann window over the maps. Danelljan
    et al. (ECO, CVPR 2017) learn such directions: few channels say what is needed of one target.
    They are constants of a derivative: that of an eigenvector knows no bound where eigenvalues are alike.

    Args:
      maps: [h, w, C].
      count: K at most.
    """
    height, width, channels = maps.shape
    tapered = (maps * hann2d((height, width), maps.dtype)[..., None]).reshape(-1, channels)
    moments = jnp.matmul(tapered.T, tapered, precision="highest")
    directions: Array = jnp.linalg.eigh(lax.stop_gradient(moments))[1]
    return directions[:, -min(count, channels) :]


@dataclass(frozen=True)
class Patches:
    """Every box is an image of its own."""

    feature: Feature
    cells: int = CELLS  # a box's map is averaged to so many cells a side
    first_size = None  # the first frame has no region either

    def __post_init__(self) -> None:
        checks.at_least(1, self, "cells")

    def describe(
        self,
        backbone: Backbone,
        weights: Params,
        frame: Frame,
        box: Box,
        scales: Array,
        size: float | None = None,
        rotations: Array | None = None,
    ) -> Describe:
        """As of `Region`, but each box is rotated about its own middle."""
        del box, scales, size
        feature = self.feature

        def describe(level: Any, candidates: Box) -> Array:
            angles = None if rotations is None else jnp.full(len(candidates), rotations[level])
            images = images_of(frame, candidates, feature.size, angles)
            maps = backbone.apply(weights, images, (feature.tap,))[feature.tap]
            return fc_head.pool(maps, self.cells, normalised=not feature.own)

        return describe

    def limit(self, size: Array) -> Array | None:
        """How far a candidate's middle may be from the last one (x, y): anywhere."""
        del size
        return None

    def covers(self, candidates: Box, box: Box) -> Array:
        """Which boxes [N, 4] can be described: all."""
        del box
        return jnp.ones(len(candidates), jnp.bool_)


@dataclass(frozen=True)
class Region:
    """Boxes are cut from maps of the region around the last one: one pass of the network a scale."""

    feature: Feature
    size: float = 3.0  # sides of the region of a frame, over the target's
    first_size: float = 5.0  # ... of the first frame

    def __post_init__(self) -> None:
        checks.require(
            min(self.size, self.first_size) > 1,
            f"a region is larger than the target: size {self.size} and first_size {self.first_size} must be "
            "above 1",
        )

    def describe(
        self,
        backbone: Backbone,
        weights: Params,
        frame: Frame,
        box: Box,
        scales: Array,
        size: float | None = None,
        rotations: Array | None = None,
    ) -> Describe:
        """How boxes of a frame are described.

        Args:
          backbone: the network.
          weights: its weights.
          frame: the frame.
          box: [4] that the region is around.
          scales: [S] of the region.
          size: of the region over the box; None for that of a later frame.
          rotations: [S], radians, one a scale: the region is rotated about its middle, and boxes are those of
            the rotated image.
        """
        feature, stride = self.feature, dense_stride(self.feature)
        grown = region_size(feature, self.size if size is None else size)
        factor = jnp.asarray(np.array(grown[::-1]) / np.array(feature.size[::-1]), box.dtype)
        windows = boxes.scale_about_centre(box[None], scales[:, None] * factor[None])  # [S, 4]
        maps = dense_maps(backbone, feature, weights, images_of(frame, windows, grown, rotations))
        # Pixels that the cells stand for.
        span = backbone.map_shape(feature.tap, feature.size)[0] * feature.stride

        def describe(level: Any, candidates: Box) -> Array:
            map_, window = maps[level], windows[level]
            middle = (jnp.asarray(map_.shape[:2], box.dtype) - 1) / 2
            pixels = jnp.asarray(grown, box.dtype)[None] / window[None, :1:-1]  # of the image, a pixel (y, x)
            apart = (boxes.centre(candidates) - boxes.centre(window)[None])[:, ::-1] * pixels
            relative = candidates[:, :1:-1] * pixels / jnp.asarray(feature.size, box.dtype)[None]
            steps = relative * (span / CELLS / stride)
            cut = roi.bilinear(map_, middle[None] + apart / stride, steps, CELLS)
            return fc_head.pool(cut, None, normalised=not feature.own)

        return describe

    def limit(self, size: Array) -> Array | None:
        """How far a candidate's middle may be from the last one (x, y), for a target of this size (w, h)."""
        return (self.size - 1) / 2 * size

    def covers(self, candidates: Box, box: Box) -> Array:
        """Which boxes [N, 4] lie in the region around a box [4], but for a tenth of their sides."""
        return samples.mostly_inside(candidates, boxes.scale_about_centre(box, self.size))


def images_of(frame: Frame, windows: Box, size: tuple[int, int], rotations: Array | None) -> Array:
    """Images [N, h, w, 3] of windows [N, 4], rotated by as many radians; None rotates none."""
    if rotations is None:
        return jax.vmap(lambda window: crop(frame, window, size))(windows)
    return jax.vmap(lambda window, angle: crop_rotated(frame, window, size, angle))(windows, rotations)


def region_size(feature: Feature, size: float) -> tuple[int, int]:
    """(height, width) of a region's image: that of a box and whole cells around it, evenly on all sides."""
    stride = dense_stride(feature)
    rows, columns = (side + 2 * stride * round((size - 1) * side / 2 / stride) for side in feature.size)
    return rows, columns


def dense_stride(feature: Feature) -> int:
    """Pixels between cells of the map that boxes are cut from; a pooled layer is taken without its stride."""
    return feature.stride if feature.pooled_from is None else feature.stride // 2


def dense_maps(backbone: Backbone, feature: Feature, weights: Params, images: Array) -> Array:
    """Maps [S, h, w, C] that boxes are cut from."""
    if feature.pooled_from is None:
        return backbone.apply(weights, images, (feature.tap,))[feature.tap]
    maps = backbone.apply(weights, images, (feature.pooled_from,))[feature.pooled_from]
    for axis in (1, 2):
        count = maps.shape[axis] - 2
        maps = functools.reduce(
            jnp.maximum, (lax.slice_in_dim(maps, i, i + count, axis=axis) for i in range(3))
        )
    return maps
