"""The size of a target whose place is found: a correlation filter over scales of its gradient histograms.

Danelljan et al., DSST, BMVC 2014. Patches of all scales around the place are described by HOG, and the filter
says how much larger or smaller the target is than it was.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.components.decisions import Hard, Soft
from jtrack.errors import JtrackError
from jtrack.learning import scale_filter
from jtrack.learning.correlation_filter import blend
from jtrack.learning.filter_grid import UpTo
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Scalar
from jtrack.vision import boxes
from jtrack.vision.colour import grey
from jtrack.vision.crop import crop
from jtrack.vision.hog import fhog
from jtrack.vision.pyramid import pyramid
from jtrack.vision.windows import hann

CONTEXT = 1.3  # sides of the patch of a `Pyramid`, over the target's
CELL = 4  # pixels of a cell of HOG; `ReleasedScales` take as many around the target
LEAST = 1e-6  # a response below it has no peak
AREA = 512  # pixels of the largest patch of `ReleasedScales`


class Rates(NamedTuple):
    """Numbers of a scale filter that follows a target, () each."""

    regularisation: Scalar
    learning_rate: Scalar  # of a frame
    damping: Scalar = 1.0  # how much of the change it finds is made, in the logarithm


class Search(Protocol):
    """The scales that are compared, and how the patch of each is cut out."""

    @property
    def count(self) -> int:
        """How many scales."""

    @property
    def step(self) -> float:
        """The ratio of one scale to the next."""

    @property
    def shared(self) -> bool:
        """Whether gradients are shared between directions (`vision.hog`), so that features never jump."""

    @property
    def inner(self) -> Array | None:
        """The top-left part (h, w) [2] int32 of a patch that counts; None for all of it."""

    def patches(self, frame: Frame, centre: Array, sides: Array, factors: Array) -> Array:
        """Patches [S, h, w, 3] around a place (x, y), of sides (w, h) times each factor."""


@dataclass(frozen=True)
class Pyramid:
    """Patches that are all cut from one of the largest."""

    count: int = 33
    step: float = 1.02
    size: tuple[int, int] = (24, 24)  # (h, w) of a patch
    shared = False
    inner = None

    def __post_init__(self) -> None:
        check_scales(self)
        checks.size(self, "size")

    def for_target(self, target: np.ndarray) -> "Pyramid":
        """The same scales: no shape follows the target."""
        del target
        return self

    def for_lanes(self, targets: Array) -> "Pyramid":
        """The same scales: no shape follows the target."""
        del targets
        return self

    def of(self, target: Array) -> "Pyramid":
        """The same scales: they are those of every target."""
        del target
        return self

    def sides(self, target: Array, factor: Array) -> Array:
        """Sides (w, h) [2] of the patch of a target (w, h) that has grown by a factor ()."""
        return target * factor * CONTEXT

    def patches(self, frame: Frame, centre: Array, sides: Array, factors: Array) -> Array:
        """Patches [S, h, w, 3] around a place (x, y), of sides (w, h) times each factor."""
        return pyramid(frame, centre, sides, factors, self.size)


@dataclass(frozen=True)
class SmoothPyramid(Pyramid):
    """A `Pyramid` whose gradients are shared between directions, so that its features never jump."""

    shared = True


@dataclass(frozen=True)
class ReleasedScales:
    """Patches of the target and 4 pixels around it, each cut from the frame on whole pixels."""

    count: int = 33
    step: float = 1.02
    # (h, w) of a patch; None follows the target (`for_target`), and so does `UpTo`, by itself (`of`)
    size: tuple[int, int] | UpTo | None = None
    shared = False
    inner = None

    def __post_init__(self) -> None:
        check_scales(self)
        if isinstance(self.size, tuple):
            checks.size(self, "size")

    def sides(self, target: Array, factor: Array) -> Array:
        """Sides (w, h) [2] of the patch of a target (w, h) that has grown by a factor ()."""
        return (target + 2.0 * CELL) * factor

    def patches(self, frame: Frame, centre: Array, sides: Array, factors: Array) -> Array:
        """Patches [S, h, w, 3] around a place (x, y), of sides (w, h) times each factor."""
        if not isinstance(self.size, tuple):
            raise JtrackError(
                "the patches of these scales follow the target: call config.for_target(box, frame_size) first"
            )
        return released_patches(
            frame, centre, sides, factors, functools.partial(crop, size=self.size, method="imresample")
        )

    def for_target(self, target: np.ndarray) -> "ReleasedScales":
        """The scales with the size of patches that the released code takes for a target (w, h)."""
        if self.size is not None:
            return self
        template = target[::-1] + 2 * CELL
        shrink = min(1.0, np.sqrt(AREA / template.prod()))
        height, width = (max(2 * CELL, int(side + 1e-6)) for side in template * shrink)
        return dataclasses.replace(self, size=(height, width))

    def for_lanes(self, targets: Array) -> "ReleasedScales":
        """The scales with patches as large as the largest of targets (w, h) [N, 2]."""
        if self.size is not None:
            return self
        return dataclasses.replace(self, size=UpTo.holding(jax.vmap(released_size)(targets)))

    def of(self, target: Array) -> "ReleasedScales | TracedScales":
        """The scales of a target (w, h) [2] in the first frame."""
        if not isinstance(self.size, UpTo):
            return self
        size = self.size.bounded(released_size(target))
        return TracedScales(self.count, self.step, self.size.size, size)


@dataclass(frozen=True)
class TracedScales:
    """`ReleasedScales` of a target whose patches have a traced size: the top-left part of larger ones."""

    count: int
    step: float
    most: tuple[int, int]  # (h, w) of the larger ones
    inner: Array  # [2] int32 (h, w) of a patch
    shared = False

    def patches(self, frame: Frame, centre: Array, sides: Array, factors: Array) -> Array:
        """Patches [S, h, w, 3] around a place (x, y), of sides (w, h) times each factor."""
        height, width, _ = frame.pixels.shape
        cut = functools.partial(
            crop,
            size=self.most,
            method="imresample",
            max_shrink=2 * math.sqrt(height * width / AREA),  # twice that of a target as large as the canvas
            inner=self.inner,
        )
        return released_patches(frame, centre, sides, factors, cut)


def released_patches(
    frame: Frame, centre: Array, sides: Array, factors: Array, cut: Callable[[Frame, Box], Array]
) -> Array:
    """Patches [S, h, w, 3] of windows of whole pixels, as the released code of HCFT cuts them.

    Args:
      frame: the frame.
      centre: [2] (x, y).
      sides: [2] (w, h) of the window of factor 1.
      factors: [S].
      cut: makes a patch of a window [4].
    """

    def patch(factor: Array) -> Array:
        whole = jnp.floor(sides * factor)
        corner = jnp.floor(centre + 1) - jnp.floor(whole / 2)
        # The released code resizes 8-bit images.
        return jnp.round(cut(frame, jnp.concatenate([corner, whole])))

    return jax.vmap(patch)(factors)


def released_size(target: Array) -> Array:
    """The size (h, w) [2] int32 of `ReleasedScales`' patches of a target (w, h) [2], traced.

    It is that of `ReleasedScales.for_target`, unless a side comes within float32's rounding of a whole pixel.
    """
    template = target[::-1] + 2.0 * CELL
    shrink = jnp.minimum(1.0, jnp.sqrt(AREA / jnp.prod(template)))
    return jnp.maximum(2 * CELL, jnp.floor(template * shrink + 4e-6).astype(jnp.int32))


def check_scales(search: Search) -> None:
    """Refuses a search without scales or with a step that is none.

    Raises:
      JtrackError: names the field.
    """
    checks.at_least(1, search, "count")
    checks.require(search.step > 1, f"step between scales is {search.step}: it must be above 1")


def features(search: Search, frame: Frame, centre: Array, sides: Array) -> Array:
    """Gradient histograms of the patches of all scales, windowed over the scales.

    Args:
      search: the scales.
      frame: the frame.
      centre: [2] (x, y).
      sides: [2] (w, h) of the patch of scale 1.

    Returns:
      [S, F].
    """
    factors = jnp.asarray(scale_filter.scale_factors(search.count, search.step), sides.dtype)
    patches = search.patches(frame, centre, sides, factors)
    histograms = fhog(grey(patches)[..., None], shared=search.shared, inner=search.inner).reshape(
        search.count, -1
    )
    return histograms * hann(search.count, histograms.dtype)[:, None]


def learn(search: Search, frame: Frame, centre: Array, sides: Array) -> ScaleFilter:
    """A filter learnt of one frame alone; arguments as `features`."""
    described = features(search, frame, centre, sides)
    label = jnp.asarray(scale_filter.scale_label(search.count), described.dtype)
    return scale_filter.train(described, label)


def estimate(
    search: Search,
    model: ScaleFilter,
    frame: Frame,
    centre: Array,
    sides: Array,
    regularisation: Scalar,
    decisions: Hard | Soft = Hard(),
) -> tuple[Array, Array]:
    """How much larger the target is than `sides` say: the factor (), and the response [S] of all scales."""
    described = features(search, frame, centre, sides)
    response = scale_filter.respond(model, described, regularisation)
    factors = jnp.asarray(scale_filter.scale_factors(search.count, search.step), sides.dtype)
    return decisions.best(response, factors, jnp.maximum(response.max(), LEAST)), response


def begin(search: Search, frame: Frame, box: Box) -> ScaleFilter:
    """A filter learnt of a target [4] and a little around it, in one frame."""
    return learn(search, frame, boxes.centre(box), box[2:] * CONTEXT)


def follow(
    search: Search,
    model: ScaleFilter,
    frame: Frame,
    box: Box,
    allowed: Array,
    rates: Rates,
    decisions: Hard | Soft = Hard(),
) -> tuple[Box, ScaleFilter]:
    """The size of a target whose place is found, and the filter after this frame.

    Args:
      search: the scales.
      model: the filter.
      frame: the frame.
      box: [4] the last size at the new place.
      allowed: () a decision: against it, size and filter stay what they are.
      rates: numbers of the filter.
      decisions: how it was decided, and how the best scale is found.

    Returns:
      The box [4] about the same centre, neither vanishing nor larger than the frame, and the filter.
    """
    centre, sides = boxes.centre(box), box[2:] * CONTEXT
    factor, _ = estimate(search, model, frame, centre, sides, rates.regularisation, decisions)
    smallest = jnp.max(2 / box[2:])
    largest = jnp.min(frame.size[::-1].astype(box.dtype) / box[2:])
    # A size that is beyond the limits already stays.
    factor = jnp.clip(factor**rates.damping, jnp.minimum(smallest, 1), jnp.maximum(largest, 1))
    size = decisions.choose(allowed, box[2:] * factor, box[2:])
    box = boxes.from_centre(centre, size)
    learnt = blend(model, begin(search, frame, box), rates.learning_rate)
    return box, decisions.choose(allowed, learnt, model)
