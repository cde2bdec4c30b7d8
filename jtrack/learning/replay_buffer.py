"""A memory of training samples: a ring of fixed capacity, samples are drawn by age and quality.

DeepTrack keeps the target long and the background short (Li et al. 2016, III-A).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtrack.types import Array, Key


class ReplayBuffer(NamedTuple):
    """C samples; the oldest make room for new ones."""

    patches: Array  # [C, ...] float16, or as the others: their pixels, whose range is that of the cues
    importance: Array  # [C] float32, 0 where there is no sample yet
    quality: Array  # [C] float32: of the sample's frame (`structural_loss.quality`)
    time: Array  # [C] int32: the frame it is from
    added: Array  # () int32: how many were ever added


def empty(
    capacity: int, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = jnp.float32, *, half: bool = True
) -> ReplayBuffer:
    """A buffer without samples, for patches of a shape, which are kept in half precision or in full."""
    nothing = jnp.zeros(capacity, dtype)
    patches = jnp.zeros((capacity, *shape), jnp.float16 if half else dtype)
    return ReplayBuffer(patches, nothing, nothing, jnp.zeros(capacity, jnp.int32), jnp.zeros((), jnp.int32))


def add(buffer: ReplayBuffer, patches: Array, importance: Array, quality: Array, time: Array) -> ReplayBuffer:
    """Adds n <= C samples of one frame in the place of the oldest.

    Args:
      buffer: of capacity C.
      patches: [n, ...].
      importance: [n].
      quality: () of the frame.
      time: () int32, number of the frame.
    """
    capacity, count = len(buffer.importance), len(importance)
    place = jnp.mod(buffer.added + jnp.arange(count, dtype=jnp.int32), capacity)
    return ReplayBuffer(
        buffer.patches.at[place].set(patches.astype(buffer.patches.dtype)),
        buffer.importance.at[place].set(importance),
        buffer.quality.at[place].set(quality),
        buffer.time.at[place].set(time),
        buffer.added + count,
    )


def weights(buffer: ReplayBuffer, time: Array, decay: Array | float) -> Array:
    """The weight [C] with which each sample is drawn: quality times exp(-decay age^2), 0 in empty places.

    Equations 11 to 14. With decay 0 the age does not count, as for the paper's positive samples. The paper
    gives negative samples decay 10, with which almost nothing is drawn from the frame before; 1 / 10 is
    probably meant. Weights are relative to those of the youngest sample, so that a large decay never makes
    all of them 0.
    """
    filled = jnp.arange(len(buffer.time), dtype=jnp.int32) < buffer.added
    age = (time - buffer.time).astype(buffer.quality.dtype)
    exponent = jnp.where(filled & (buffer.quality > 0), -decay * age**2, -jnp.inf)
    largest = jnp.max(exponent, initial=-jnp.inf)
    relative = jnp.exp(exponent - jnp.where(jnp.isfinite(largest), largest, 0))
    chosen = buffer.quality * relative
    # If every quality is 0, all samples have the same weight.
    return jnp.where(chosen.sum() > 0, chosen, filled.astype(chosen.dtype))


def draw(key: Key, weights: Array, count: int) -> Array:
    """Draws [count] int32 indices with replacement, each in proportion to weights [C], not all 0."""
    total = jnp.cumsum(weights)
    # A uniform number below 1 may be rounded up to the total: it still falls to the last weight that counts.
    mark = jnp.minimum(
        jax.random.uniform(key, (count,), total.dtype) * total[-1],
        jnp.nextafter(total[-1], jnp.zeros_like(total[-1])),
    )
    return jnp.searchsorted(total, mark, side="right").astype(jnp.int32)
