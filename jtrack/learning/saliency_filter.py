"""Where a target is, by templates of its saliency: a Bayes filter over places (Hong et al., ICML 2015, 3.3).

The template is the mean of the target's saliency in the last frames. How well it fits a saliency map is the
likelihood (equation 14), the last posterior moved on is the prior (equations 9 to 12).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtrack.learning import bayes_filter
from jtrack.types import Array, Box


class SaliencyFilter(NamedTuple):
    """What is remembered of the target's saliency and place."""

    filters: Array  # [m, T, T] float32: the target's saliency in the last frames
    stored: Array  # () int32: how many filters were ever stored
    posterior: Array  # [G, G] float32
    offset: Array  # [2] float32 (row, column): cells from the posterior's middle to the target


@dataclass(frozen=True)
class UniformPrior:
    """Every positive candidate counts alike in the motion that the prior expects, as in the paper.

    Their covariance is that of equation 11. One candidate has none, and two have none across: there alone it
    is widened.
    """

    def weights(self, scores: Array, threshold: Array) -> Array:
        """What candidates [N] count."""
        return (scores > threshold).astype(scores.dtype)

    def widened(self, covariance: Array, least: Array) -> Array:
        """A covariance [2, 2] whose smaller eigenvalue is at least `least` (); the same where it is."""
        half = (covariance[0, 0] + covariance[1, 1]) / 2
        apart = jnp.hypot((covariance[0, 0] - covariance[1, 1]) / 2, covariance[0, 1])
        lacking = jnp.maximum(least - (half - apart), 0)
        return covariance + lacking * jnp.eye(2, dtype=covariance.dtype)


@dataclass(frozen=True)
class WeightedPrior:
    """A positive candidate counts by how far its score is above the threshold; all motion is widened."""

    def weights(self, scores: Array, threshold: Array) -> Array:
        """What candidates [N] count."""
        return jnp.maximum(scores - threshold, 0)

    def widened(self, covariance: Array, least: Array) -> Array:
        """A covariance [2, 2] and `least` () more in every direction."""
        return covariance + least * jnp.eye(2, dtype=covariance.dtype)


@dataclass(frozen=True)
class PeakPosterior:
    """The posterior is moved on from its peak, in cells of whatever size they have by then."""

    def carried(self, model: SaliencyFilter, excess: Array, growth: Array | None) -> SaliencyFilter:
        """What is remembered for the next frame.

        Args:
          model: of this frame.
          excess: [2] (row, column) cells from the peak to the box: not 0 where the frame ends between.
          growth: () of the cells, with the target's size; None where the size is kept.
        """
        del excess, growth
        return model


@dataclass(frozen=True)
class BoxPosterior(PeakPosterior):
    """The posterior is moved on from the box, and resampled where the cells grow or shrink."""

    def carried(self, model: SaliencyFilter, excess: Array, growth: Array | None) -> SaliencyFilter:
        """As of `PeakPosterior`."""
        model = model._replace(offset=model.offset + excess)
        if growth is None:
            return model
        shape = model.posterior.shape
        middle = jnp.asarray([n // 2 + 0.5 for n in shape], model.offset.dtype)
        scale = jnp.broadcast_to(1 / growth, (2,))
        resampled = jax.image.scale_and_translate(
            model.posterior, shape, (0, 1), scale, middle - middle * scale, "linear", antialias=False
        )
        share = model.posterior.sum() / jnp.maximum(resampled.sum(), 1e-30)
        return model._replace(posterior=resampled * share, offset=model.offset / growth)


def window_around(centre: Array, cell: Array, cells: int) -> Box:
    """The part of the frame [4] that maps of so many cells a side cover; their middle cell is at `centre`."""
    corner = centre - (cells // 2 + 0.5) * cell
    return jnp.concatenate([corner, jnp.full(2, cells, centre.dtype) * cell])


def begin(*, filters: int, template: int, grid: int, deviation: Array) -> SaliencyFilter:
    """What is remembered before the first frame: the target is in the middle.

    Args:
      filters: m, of how many frames the template is the mean.
      template: T, its cells a side.
      grid: G, cells a side of the maps.
      deviation: () cells, of the target's place; at least one counts.
    """
    dtype = deviation.dtype
    cells = jnp.maximum(deviation, 1.0)
    middle = jnp.full(2, grid // 2, dtype)
    return SaliencyFilter(
        filters=jnp.zeros((filters, template, template), dtype),
        stored=jnp.zeros((), jnp.int32),
        posterior=bayes_filter.gaussian((grid, grid), middle, cells**2 * jnp.eye(2, dtype=dtype)),
        offset=jnp.zeros(2, dtype),
    )


def predict(
    model: SaliencyFilter,
    places: Array,
    weights: Array,
    deviation: Array,
    rule: UniformPrior | WeightedPrior,
) -> Array:
    """The prior [G, G] of a frame: the last posterior, moved and smoothed by equations 9 to 12.

    Args:
      model: of the last frame.
      places: [N, 2] (row, column) of candidates from the maps' middle, in cells.
      weights: [N] what they count.
      deviation: () cells: the least standard deviation of the motion.
      rule: how a covariance is widened.
    """
    share = weights / jnp.maximum(weights.sum(), 1e-6)
    shift = jnp.sum(share[:, None] * places, axis=0)
    apart = places - shift[None]
    covariance = jnp.einsum("n,ni,nj->ij", share, apart, apart, precision="highest")
    covariance = rule.widened(covariance, jnp.maximum(deviation, 1.0) ** 2)
    return bayes_filter.predict(model.posterior, shift - model.offset, covariance)


def cells(density: Array) -> Array:
    """The place (row, column) [G^2, 2] of each cell of a map [G, G], row by row."""
    rows, columns = jnp.indices(density.shape, density.dtype)
    return jnp.stack([rows.reshape(-1), columns.reshape(-1)], axis=1)


def template(model: SaliencyFilter) -> Array:
    """H [T, T]: the mean of the filters there are (equation 13)."""
    there = jnp.clip(model.stored, 1, model.filters.shape[0]).astype(model.filters.dtype)
    return model.filters.sum(axis=0) / there


def likelihood(model: SaliencyFilter, salient: Array, extent: Array) -> Array:
    """How well the template fits a saliency map everywhere (equation 14), [G, G].

    Args:
      model: of the last frame.
      salient: [G, G].
      extent: [2] (rows, columns) of the target in cells.
    """
    shape = model.posterior.shape
    corner = shape[0] // 2 + 0.5 - extent / 2
    on_grid = jax.image.scale_and_translate(
        template(model), shape, (0, 1), extent / model.filters.shape[1], corner, "linear"
    )
    return bayes_filter.correlate(on_grid, salient)


def remember(model: SaliencyFilter, salient: Array, window: Box, cell: Array, target: Box) -> SaliencyFilter:
    """Stores the saliency of a target [4] as the newest filter.

    Args:
      model: of the last frame.
      salient: [G, G] of this frame.
      window: [4] that it covers.
      cell: () pixels of its cells.
      target: [4] in the frame.
    """
    side = model.filters.shape[1]
    corner = (target[:2] - window[:2])[::-1] / cell
    scale = side * cell / target[3:1:-1]
    cut = jax.image.scale_and_translate(salient, (side, side), (0, 1), scale, -corner * scale, "linear")
    filters = model.filters.at[model.stored % model.filters.shape[0]].set(cut)
    return model._replace(filters=filters, stored=model.stored + 1)
