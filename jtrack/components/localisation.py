"""Where a target is: the box, by the scores of candidates or on a heat map."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

from jtrack.components.decisions import Hard, Soft
from jtrack.types import Array, Box, Scalar
from jtrack.vision import boxes, heat_map

LEAST = 1e-6  # the unit of scores that are no higher


@dataclass(frozen=True)
class BestCandidate:
    """The box is the candidate with the highest score."""

    def box(self, candidates: Box, scores: Array, share: Scalar, decisions: Hard | Soft) -> Box:
        """The box [4], of candidates [N, 4] and scores [N].

        Args:
          candidates: [N, 4].
          scores: [N].
          share: () of the best score; not needed.
          decisions: how the best is found.
        """
        del share
        return decisions.best(scores, candidates, jnp.maximum(scores.max(), LEAST))


@dataclass(frozen=True)
class MeanOfBest:
    """The box is the mean of the candidates that score nearly as high as the best."""

    def box(self, candidates: Box, scores: Array, share: Scalar, decisions: Hard | Soft) -> Box:
        """As of `BestCandidate`; candidates count by how far they are above a share of the best score."""
        del decisions
        best = scores.max()
        weights = jnp.maximum(scores - share * jnp.abs(best), 0)
        weights = jnp.where(weights.sum() > 0, weights, (scores == best).astype(scores.dtype))
        weights = weights / weights.sum()
        mean = functools.partial(jnp.matmul, weights, precision="highest")
        size = jnp.exp(mean(jnp.log(candidates[:, 2:])))
        return boxes.from_centre(mean(boxes.centre(candidates)), size)


class Candidate(NamedTuple):
    """The best candidate on a heat map."""

    box: Box  # [4] in the frame
    on_map: Box  # [4] in the map's cells
    confidence: Array  # ()


def best_candidate(
    decisions: Hard | Soft, heat: Array, candidates: Box, on_map: Box, exponent: Array
) -> Candidate:
    """The best of candidates [N, 4], which lie `on_map` [N, 4] on a heat map [h, w]."""
    confidences, scores = heat_map.candidate_scores(heat, on_map, exponent)
    highest = jnp.maximum(scores.max(), LEAST)
    return decisions.best(scores, Candidate(candidates, on_map, confidences), highest)


def floored(decisions: Hard | Soft, heat: Array, floor: Array) -> Array:
    """A heat map that is 0 where it is not above a floor."""
    return decisions.choose(decisions.above(heat, floor), heat, jnp.zeros_like(heat))
