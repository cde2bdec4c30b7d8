"""Boxes: (x, y, w, h), continuous, in pixels; any number of leading dimensions."""

import jax.numpy as jnp

from jtrack.types import Array, Box


def centre(box: Box) -> Array:
    """Returns the centre (x, y) [..., 2] of boxes [..., 4]."""
    return box[..., :2] + box[..., 2:] / 2


def from_centre(centre: Array, size: Array) -> Box:
    """Returns the boxes [..., 4] with these centres (x, y) [..., 2] and sizes (w, h) [..., 2]."""
    return jnp.concatenate([centre - size / 2, size], axis=-1)


def scale_about_centre(box: Box, factor: Array | float) -> Box:
    """Scales boxes and leaves their centres in place.

    Args:
      box: [..., 4].
      factor: of width and height; a scalar, [..., 1] for one a box, or [..., 2] for (width, height).

    Returns:
      [..., 4].
    """
    return from_centre(centre(box), box[..., 2:] * factor)


def iou(a: Box, b: Box) -> Array:
    """Intersection over union of continuous boxes.

    Args:
      a: [..., 4].
      b: [..., 4]; the leading dimensions of `a` and `b` are broadcast, so `iou(a[:, None], b[None])` is the
        table of all pairs.

    Returns:
      [...] in [0, 1]; 0 where both boxes are empty. A box of zero or negative width or height is empty.
      Values and gradients are finite everywhere.

    Example:
      >>> import jax.numpy as jnp
      >>> float(iou(jnp.array([0.0, 0.0, 2.0, 2.0]), jnp.array([1.0, 0.0, 2.0, 2.0])))
      0.3333333432674408
    """
    shape = jnp.broadcast_shapes(a.shape, b.shape)
    a, b = jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape)
    size_a, size_b = jnp.maximum(a[..., 2:], 0), jnp.maximum(b[..., 2:], 0)
    top_left = jnp.maximum(a[..., :2], b[..., :2])
    bottom_right = jnp.minimum(a[..., :2] + size_a, b[..., :2] + size_b)
    overlap = jnp.maximum(bottom_right - top_left, 0)
    intersection = overlap[..., 0] * overlap[..., 1]
    union = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - intersection
    return intersection / jnp.where(union > 0, union, 1)


def _frame_extent(frame_size: Array, box: Box) -> Array:
    """(height, width) int32 [2] as (width, height) [2] of the boxes' type."""
    return frame_size[::-1].astype(box.dtype)


def clip(box: Box, frame_size: Array) -> Box:
    """Cuts boxes to the frame.

    Args:
      box: [..., 4].
      frame_size: [2] int32, height and width, as in `Frame.size`.

    Returns:
      [..., 4]: the part inside the frame; a box wholly outside becomes an empty one on the nearest border.
    """
    extent = jnp.broadcast_to(_frame_extent(frame_size, box), (*box.shape[:-1], 2))
    top_left = jnp.clip(box[..., :2], 0, extent)
    bottom_right = jnp.clip(box[..., :2] + box[..., 2:], 0, extent)
    return jnp.concatenate([top_left, bottom_right - top_left], axis=-1)


def inside(box: Box, frame_size: Array) -> Array:
    """Whether boxes [..., 4] lie wholly inside a frame of this (height, width) int32 [2]: bool [...]."""
    extent = jnp.broadcast_to(_frame_extent(frame_size, box), (*box.shape[:-1], 2))
    return jnp.all((box[..., :2] >= 0) & (box[..., :2] + box[..., 2:] <= extent), axis=-1)
