"""The frames a heat map network goes on learning from: the first, the best and the present one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtrack.types import Array


class Sample(NamedTuple):
    """A frame as the network learns it."""

    maps: Array  # [h, w, K] float32
    target: Array  # [h, w] float32
    background: Array  # [h, w] float32: 1 beside the target, 0 where its box touches a cell


class Memory(NamedTuple):
    """The frames the network learns from, and what is due."""

    first: Sample
    best: Sample  # the most confident since the last adaptation
    present: Sample
    best_confidence: Array  # () float32
    adapt: Array  # () a decision: whether to learn the first and the best frame
    discriminate: Array  # () a decision: whether to learn the present one


def remember(memory: Memory, present: Sample, confidence: Array, *, may_be_best: Array) -> Memory:
    """The frames the network learns from, after another.

    Args:
      memory: before it.
      present: the frame.
      confidence: () of its box.
      may_be_best: () bool: whether it may be the best one.
    """
    better = may_be_best & (confidence > memory.best_confidence)
    return memory._replace(
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), present, memory.best),
        present=present,
        best_confidence=jnp.where(better, confidence, memory.best_confidence),
    )
