"""Boxes on a target and beside it, from which a model of its appearance is learnt."""

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.components import motion
from jtrack.types import Array, Box, Key, Scalar
from jtrack.vision import boxes


def around(key: Key, box: Box, count: int, jitter: Array, scale_jitter: Array) -> Box:
    """Boxes [count, 4] about a target: Gaussian in place and scale, cut off at two deviations.

    Args:
      key: a PRNG key.
      box: [4].
      count: how many.
      jitter: () standard deviation of the place over the target's sides.
      scale_jitter: () twice that of the logarithm of the scale.
    """
    noise = jnp.clip(jax.random.normal(key, (count, 3), box.dtype), -2, 2)
    centre, size = boxes.centre(box), box[2:]
    return boxes.from_centre(
        centre[None] + jitter * noise[:, :2] * size[None],
        size[None] * jnp.exp(scale_jitter * noise[:, 2:] / 2),
    )


def ring(key: Key, box: Box, count: int, distances: Array, frame_size: Array) -> Box:
    """Boxes [count, 4] of the target's size on a ring around it, their centres in the frame.

    The ring is as wide and high as the target, so that a slim one, too, has background on all sides.

    Args:
      key: a PRNG key.
      box: [4] the target.
      count: how many.
      distances: [2] of the ring, over the target's width and height.
      frame_size: [2] int32.
    """
    polar = jax.random.uniform(key, (count, 2), box.dtype)
    angle = 2 * jnp.pi * polar[:, 0]
    distance = distances[0] + (distances[1] - distances[0]) * polar[:, 1]
    directions = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    centre, size = boxes.centre(box), box[2:]
    places = motion.keep_in_frame(centre[None] + distance[:, None] * directions * size[None], frame_size)
    return boxes.from_centre(places, jnp.broadcast_to(size, places.shape))


def labelled(near: Box, far: Box, target: Box, overlap: Array) -> tuple[Box, Array]:
    """Boxes on the target [P, 4] and beside it [N, 4] together, and their labels [P + N].

    Returns:
      The boxes, and +1 for those of the first that overlap the target by more than `overlap[0]`, -1 for
      those of the others that overlap it by less than `overlap[1]`, 0 for boxes in between.
    """
    drawn = jnp.concatenate([near, far])
    shares = boxes.iou(drawn, target[None])
    on, beside = shares > overlap[0], shares < overlap[1]
    is_near = jnp.arange(len(drawn)) < len(near)
    return drawn, (is_near & on).astype(drawn.dtype) - (~is_near & beside).astype(drawn.dtype)


def mostly_inside(samples: Box, region: Box) -> Array:
    """Which boxes [N, 4] lie in a region [4] but for a tenth of their sides."""
    slack = 0.1 * samples[:, 2:]
    low = samples[:, :2] + slack >= region[None, :2]
    high = samples[:, :2] + samples[:, 2:] - slack <= (region[:2] + region[2:])[None]
    return jnp.all(low & high, axis=1)


def wrong_sizes(box: Box, count: int, overlap: Array) -> Box:
    """Boxes [N, 4] around the target, half of them just too small and half too large to count as it."""
    factor = jnp.sqrt(overlap)
    factors = jnp.where(jnp.arange(count) % 2 == 0, factor, 1 / factor)
    return boxes.scale_about_centre(jnp.broadcast_to(box[None], (count, 4)), factors[:, None])


def overlapping(key: Key, box: Box, count: int) -> Box:
    """The box itself and others that overlap it by more than half [1 + count, 4]."""
    near = motion.gaussian_candidates(key, box, 4 * count, position=box[2:] / 8, scale=0.05)
    inside = jnp.where(boxes.iou(near, box[None]) > 0.5, 1, 0)
    # The target itself stands in where too few overlap it.
    near = jnp.where(inside[:, None] > 0, near, box[None])[lax.top_k(inside, count)[1]]
    return jnp.concatenate([box[None], near])


def beside(
    key: Key,
    box: Box,
    count: int,
    margin: float,
    *,
    candidates: Box | None = None,
    scores: Array | None = None,
    hard: int = 0,
) -> Box:
    """Boxes [count, 4] that overlap a target by at most half: candidates, and if too few, others.

    A slow target's candidates may all be on it; the others are spread over the region, dense around the
    target: what is far from it is soon learnt, and teaches nothing of where it ends.

    Args:
      key: a PRNG key.
      box: [4] the target.
      count: how many.
      margin: how far the others are from the target at most, over its sides.
      candidates: [N, 4] of the frame; None if it has none.
      scores: [N] of the candidates.
      hard: how many are those of the candidates with the highest scores; the rest is drawn.
    """
    spread_key, choice_key = jax.random.split(key)
    shift = jax.random.uniform(spread_key, (4 * count, 2), box.dtype, minval=-1, maxval=1)
    shift = shift * jnp.abs(shift) * (box[2:] * (2 * margin) / 2)[None]
    others = jnp.concatenate([box[None, :2] + shift, jnp.broadcast_to(box[2:], shift.shape)], axis=-1)
    every = others if candidates is None else jnp.concatenate([candidates, others])
    first = len(every) - len(others)  # as many candidates
    usable = boxes.iou(every, box[None]) <= 0.5
    rank = jax.random.uniform(choice_key, (len(every),), box.dtype).at[:first].add(1)
    if scores is not None and hard:
        hardest = lax.top_k(jnp.where(usable[:first], scores, -jnp.inf), hard)[1]
        rank = rank.at[hardest].add(2)
    return every[lax.top_k(jnp.where(usable, rank, -1), count)[1]]


def draw_batches(key: Key, labels: Array, iterations: int, batch: int) -> Array:
    """Samples [T, B] drawn for each iteration: a quarter target, the rest background."""
    on = batch // 4
    shapes = (iterations, on), (iterations, batch - on)
    chances = jnp.maximum(labels, 0), jnp.maximum(-labels, 0)
    drawn = [
        jax.random.choice(key, labels.shape[0], shape, p=chance / jnp.maximum(chance.sum(), 1))
        for key, shape, chance in zip(jax.random.split(key), shapes, chances, strict=True)
    ]
    return jnp.concatenate(drawn, axis=1)


def background_labels(candidates: Box, target: Box, overlap: Scalar) -> Array:
    """-1 what is background, 0 what overlaps the target by too much to be, [N]."""
    background = boxes.iou(candidates, target[None]) < overlap
    return jnp.where(background, jnp.asarray(-1, candidates.dtype), 0)
