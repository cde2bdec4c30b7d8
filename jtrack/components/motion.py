"""The motion model: where in a frame a target is looked for."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.errors import unknown_name
from jtrack.types import Array, Box, Key, Scalar
from jtrack.vision import boxes
from jtrack.vision.crop import BORDERS

GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
SPIRAL = 0.75
RELEASED_SIDE = 64.0  # pixels: the side of a target of scale 1 in the released code of FCNT


@dataclass(frozen=True)
class DiagonalRegion:
    """The region of interest around a target, of twice its diagonal, to the fraction of a pixel."""

    border: str = "edge"  # what lies outside the frame, as `vision.crop` takes it

    def __post_init__(self) -> None:
        if self.border not in BORDERS:
            raise unknown_name("border of a region", self.border, BORDERS)

    def around(self, box: Box, first_size: Array) -> Box:
        """The region [4] around a box: in the first frame a square of twice the target's diagonal.

        Args:
          box: [4].
          first_size: [2] (w, h) of the target in the first frame.
        """
        diagonal = jnp.sqrt(jnp.sum(first_size**2))
        return boxes.from_centre(boxes.centre(box), 2 * diagonal / first_size * box[2:])


@dataclass(frozen=True)
class ReleasedDiagonalRegion:
    """A `DiagonalRegion` on whole pixels and zero outside the frame, as the released code of FCNT cuts it."""

    border: str = "zero"

    def around(self, box: Box, first_size: Array) -> Box:
        """As of `DiagonalRegion`."""
        exact = DiagonalRegion().around(box, first_size)
        # Of pixels counted from 1.
        middle, half = jnp.round(boxes.centre(box) + 1), jnp.round(exact[2:] / 2)
        return jnp.concatenate([middle - half - 1, 2 * half + 1])


@dataclass(frozen=True)
class SameScale:
    """Candidates have the last size."""

    at_first = False  # whether candidates differ in scale from the first frame on

    def later(self, scaling: Array, least: Array, width: Array, gates: Array, at_gate: Array) -> Array:
        """Whether candidates differ in scale from the next frame on () bool.

        Args:
          scaling: () bool: whether they do so far.
          least: () the least confidence of all frames so far.
          width: () pixels of the target in the first frame.
          gates: [4] of `scale_opens`.
          at_gate: () bool: whether this is the frame at which the gates are asked.
        """
        del least, width, gates, at_gate
        return scaling


@dataclass(frozen=True)
class ScaledCandidates(SameScale):
    """Candidates differ in scale from the first frame on."""

    at_first = True


@dataclass(frozen=True)
class GatedCandidates(SameScale):
    """Candidates differ in scale from one frame on, if `scale_opens` then: the released code of FCNT."""

    def later(self, scaling: Array, least: Array, width: Array, gates: Array, at_gate: Array) -> Array:
        """As of `SameScale`."""
        return scaling | (scale_opens(least, width, gates) & at_gate)


@dataclass(frozen=True)
class PresentSpread:
    """Candidates spread with the target's present size."""

    def deviation(self, pixels: Scalar, share: Scalar, size: Array, first_size: Array) -> Array:
        """The standard deviation () of the candidates' centres.

        Args:
          pixels: () what it is at least.
          share: () of the target's diagonal that is added.
          size: [2] (w, h) of the target.
          first_size: [2] in the first frame.
        """
        del first_size
        deviation: Array = pixels + share * jnp.sqrt(jnp.sum(size**2))
        return deviation


@dataclass(frozen=True)
class FirstSpread(PresentSpread):
    """Candidates spread by the first frame's size, in whole pixels: the released code of FCNT."""

    def deviation(self, pixels: Scalar, share: Scalar, size: Array, first_size: Array) -> Array:
        """As of `PresentSpread`."""
        del size
        deviation: Array = pixels + jnp.ceil(share * jnp.sqrt(jnp.sum(first_size**2)))
        return deviation


def scale_opens(least_confidence: Array, width: Array, gates: Array) -> Array:
    """Whether the search for scale may begin () bool, by the released rule of FCNT.

    Args:
      least_confidence: () of all frames so far.
      width: () pixels of the target in the first frame.
      gates: [4] least confidences that open the search for any, large and small targets; above the last one
        it stays closed for all.
    """
    any_size, large, small, closed = gates
    opened = least_confidence > any_size
    opened = opened | ((least_confidence > large) & (width / RELEASED_SIDE > 0.6))
    opened = opened | ((least_confidence > small) & (width / RELEASED_SIDE < 0.3))
    return opened & (least_confidence <= closed)


def extent(frame_size: Array, dtype: jax.typing.DTypeLike) -> Array:
    """(width, height) [2] of a frame of size (height, width) int32 [2], as floating point."""
    return frame_size[::-1].astype(dtype)


def keep_in_frame(places: Array, frame_size: Array) -> Array:
    """Places (x, y) [..., 2], moved to the nearest border of the frame if they are outside."""
    limits = extent(frame_size, places.dtype).reshape((1,) * (places.ndim - 1) + (2,))
    return jnp.clip(places, 0, limits)


def side(size: Array) -> Array:
    """The root of the area () of a target of size (w, h) [2]."""
    return jnp.sqrt(size[0] * size[1])


def sensible_sizes(sizes: Array, last: Array, frame_size: Array) -> Array:
    """Sizes (w, h) [..., 2], those below two pixels or larger than the frame replaced by the last one [2].

    A target of such a size could never grow or shrink back.
    """
    limits = extent(frame_size, sizes.dtype).reshape((1,) * (sizes.ndim - 1) + (2,))
    sensible = jnp.all((sizes >= 2) & (sizes <= limits), axis=-1, keepdims=True)
    return jnp.where(sensible, sizes, last.reshape(limits.shape))


def gaussian_candidates(
    key: Key, box: Box, count: int, *, position: Array | float, scale: Array | float
) -> Box:
    """Draws boxes whose centre and scale are Gaussian around those of a box; the aspect ratio is kept.

    Args:
      key: a PRNG key.
      box: [4].
      count: how many boxes.
      position: standard deviation of the centre in pixels, a scalar or [2] for (x, y).
      scale: standard deviation of the natural logarithm of the scale, which for small values is the
        relative standard deviation of width and height, and never makes a box negative.

    Returns:
      [count, 4].
    """
    noise = jax.random.normal(key, (count, 3), dtype=box.dtype)
    shift = noise[:, :2] * jnp.broadcast_to(jnp.asarray(position, box.dtype), (1, 2))
    factor = jnp.exp(noise[:, 2:] * scale)
    return boxes.from_centre(boxes.centre(box)[None, :] + shift, box[None, 2:] * factor)


def candidates_around(
    key: Key, box: Box, count: int, position: Array, scale: Array, frame_size: Array
) -> Box:
    """Candidates [count, 4] around the last box, itself the first; their centres stay in the frame.

    Args:
      key: a PRNG key.
      box: [4] the last one.
      count: how many.
      position: () or [2] (x, y) pixels, standard deviation of the centres.
      scale: () standard deviation of the logarithm of the scale.
      frame_size: [2] int32.
    """
    drawn = gaussian_candidates(key, box, count, position=position, scale=scale).at[0].set(box)
    sizes = sensible_sizes(drawn[:, 2:], box[2:], frame_size)
    return boxes.from_centre(keep_in_frame(boxes.centre(drawn), frame_size), sizes)


def same_size_candidates(key: Key, box: Box, count: int, deviation: Scalar, frame_size: Array) -> Box:
    """The last box and candidates of its size around it, [1 + count, 4]; their centres stay in the frame.

    Args:
      key: a PRNG key.
      box: [4] the last one.
      count: how many are drawn.
      deviation: () of their places, over the target's side.
      frame_size: [2] int32.
    """
    centre, size = boxes.centre(box), box[2:]
    noise = jax.random.normal(key, (count, 2), box.dtype)
    offsets = jnp.concatenate([jnp.zeros((1, 2), noise.dtype), noise]) * deviation * side(size)
    places = keep_in_frame(centre[None] + offsets, frame_size)
    return boxes.from_centre(places, jnp.broadcast_to(size, places.shape))


def clipped_candidates(
    key: Key, box: Box, count: int, position: Array, scale: Array, frame_size: Array
) -> Box:
    """Candidates [count, 4] around the last box, itself the first; their centres stay in the frame.

    A target of less than two pixels, or larger than the frame, could never grow or shrink back: such a size
    is brought to the limit, the proportions kept. Arguments as of `candidates_around`.
    """
    drawn = gaussian_candidates(key, box, count, position=position, scale=scale).at[0].set(box)
    limits = extent(frame_size, box.dtype)
    factor = jnp.clip(drawn[:, 2:], 2.0, jnp.maximum(limits, 2.0)[None]) / drawn[:, 2:]
    smallest, largest = factor.max(axis=-1, keepdims=True), factor.min(axis=-1, keepdims=True)
    size = drawn[:, 2:] * jnp.where(smallest > 1, smallest, largest)
    return boxes.from_centre(keep_in_frame(boxes.centre(drawn), frame_size), size)


def spiral(count: int) -> np.ndarray:
    """Places (x, y) [count, 2] in the unit circle on a spiral of golden angles, denser in the middle.

    The first is the middle. The distance grows with the power SPIRAL of the number; 1/2 would be even.
    """
    order = np.arange(count)
    distance = (order / max(count - 1, 1)) ** SPIRAL
    directions = np.stack([np.cos(GOLDEN_ANGLE * order), np.sin(GOLDEN_ANGLE * order)], axis=1)
    places: np.ndarray = distance[:, None] * directions
    return places


def spiral_candidates(
    box: Box, count: int, radius: Array, scales: Array, frame_size: Array, limit: Array | None = None
) -> Box:
    """Boxes [S, count, 4]: the same places at each scale, on a spiral that is denser in the middle.

    Places stay in the frame and within the limit; sizes neither vanish nor outgrow the frame.

    Args:
      box: [4] the last one.
      count: places.
      radius: () pixels of the spiral.
      scales: [S].
      frame_size: [2] int32.
      limit: [2] how far from the middle (x, y); None sets no limit.
    """
    size, centre = box[2:], boxes.centre(box)
    offsets = radius * jnp.asarray(spiral(count), box.dtype)
    if limit is not None:
        offsets = jnp.clip(offsets, -limit[None], limit[None])
    places = keep_in_frame(centre[None] + offsets, frame_size)
    sizes = sensible_sizes(scales[:, None] * size[None], size, frame_size)  # [S, 2]
    shape = (len(scales), count, 2)
    return boxes.from_centre(jnp.broadcast_to(places[None], shape), jnp.broadcast_to(sizes[:, None], shape))


def pyramid_scales(box: Box, step: Array) -> Array:
    """The scales [3] of the search; a step changes the longer side by a pixel at least (footnote 7)."""
    step = jnp.maximum(step, 1 / jnp.maximum(jnp.max(box[2:]), 2))
    return jnp.stack([1 - step, jnp.ones_like(step), 1 + step])


def search_radius(size: Array, radius: Array) -> Array:
    """How far () pixels candidates are from a target of this size (w, h).

    Args:
      size: [2].
      radius: [2] pixels at least, and over the target's side.
    """
    return jnp.maximum(radius[0], radius[1] * side(size))


def region_around(box: Box, margin: Scalar) -> Box:
    """What is described at once [4]: the target and `margin` of its sides on either side of it."""
    return boxes.from_centre(boxes.centre(box), box[2:] + 2 * margin * side(box[2:]))
