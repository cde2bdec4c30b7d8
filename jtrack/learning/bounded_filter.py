"""Correlation filters of bounded support, learnt by ADMM and held back by the last one.

A filter learnt by ridge regression on all circular shifts of a window (`learning.correlation_filter`) is as
large as the window: it learns the background around the target, and shifts that wrap around, as if they had
been seen. Here a filter is zero outside a support about the target's size (BACF: Galoogahi, Fagg and Lucey,
ICCV 2017), and stays close to the filter of the last frame (STRCF: Li, Tian, Zuo, Zhang and Yang, CVPR 2018,
equation 3) in place of a running average:

    min_f  1/2 |sum_c x_c * f_c - y|^2 + mu/2 |f - f_last|^2   with f = 0 outside the support.

In a step of ADMM (STRCF, section 3.2) one half fits the frame, at every frequency apart and in closed form
over all channels (Sherman and Morrison), the other cuts to the support. Both papers take two steps a frame,
from the last filter, with a penalty that grows tenfold. Here the dual variable, which is scaled by the
penalty, is kept as it is when the penalty grows: two such steps do not converge, they move a filter that is
held. Weights and features are others, too: this is a part of jtrack's own profiles, no reproduction.

Samples are divided by the root of their energy in the first frame that has any, its mean over the half
spectrum, so that 1 / mu is a learning rate: the share of a frame where its energy is that.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.learning.correlation_filter import divide
from jtrack.learning.filter_grid import FixedGrid
from jtrack.types import Array, Scalar

PENALTY = 0.1  # of ADMM's first step, over the mean energy
GROWTH = 10.0  # of the penalty from one step to the next
FIRST_STEPS = 5  # from nothing
SILENT = 1e-12  # energy: a first frame below it has shown nothing, such as a black one
LEAST_RATE = 1e-6  # a learning rate of 0 counts as this: nothing is learnt


class BoundedFilter(NamedTuple):
    """A filter within its support."""

    taps: Array  # [C, S, T] float32: its middle is that of the grid
    energy: Array  # () float32: what samples are measured by, the first one's mean over the half spectrum


def support_size(grid: tuple[int, int]) -> tuple[int, int]:
    """The largest support (S, T): three quarters of a grid (M, N) a side, so that there is background."""
    rows, columns = (side - 2 * (side // 8) for side in grid)  # about the same middle
    return rows, columns


def support(grid: tuple[int, int], target: Array) -> Array:
    """Where a filter may be other than zero [S, T]: 1, elsewhere 0.

    Args:
      grid: (M, N).
      target: [2] its size (rows, columns) in cells; those that it cuts through count.
    """

    def inside(axis: int) -> Array:
        # The target's middle is that of the window: between two cells if the grid is even. A filter is turned
        # around by the convolution: what lies in cell k is weighed by tap -k.
        distance = np.abs(_places(grid[axis], support_size(grid)[axis]) - (grid[axis] + 1) / 2)
        return jnp.asarray(distance, target.dtype) < target[axis] / 2 + 0.5

    return (inside(0)[:, None] & inside(1)[None, :]).astype(target.dtype)


@dataclass(frozen=True)
class Bounded:
    """Filters of bounded support; the methods are those of `learning.correlation_filter.Ridge`."""

    support: float = 1.2  # sides of the support over the target's
    steps: int = 2  # of ADMM in a frame

    def __post_init__(self) -> None:
        checks.require(self.support > 0, f"support of a filter is {self.support}: it must be above 0")
        checks.at_least(1, self, "steps")

    def begin(
        self, sample: Array, label: Array, grid: FixedGrid, target: Array, regularisation: Scalar
    ) -> BoundedFilter:
        """A filter of the first sample.

        Args:
          sample: spectrum of the windowed features, [C, M, N // 2 + 1].
          label: spectrum of the desired response, [M, N // 2 + 1].
          grid: that of the filter.
          target: [2] (rows, columns) of the target in cells.
          regularisation: not needed: the support and the last filter are what regularises.
        """
        del regularisation
        allowed = support(grid.size, target * self.support)
        taps = jnp.zeros((sample.shape[0], *allowed.shape), allowed.dtype)
        empty = BoundedFilter(taps, jnp.mean(_energy(sample)))
        return empty._replace(taps=_fit(empty, sample, label, allowed, grid.size, 0.0, FIRST_STEPS))

    def learn(
        self,
        model: BoundedFilter,
        sample: Array,
        label: Array,
        grid: FixedGrid,
        target: Array,
        regularisation: Scalar,
        rate: Scalar,
        weight: Array,
    ) -> BoundedFilter:
        """The filter after another sample.

        Args:
          model: the filter so far.
          sample: spectrum of the windowed features, [C, M, N // 2 + 1].
          label: spectrum of the desired response, [M, N // 2 + 1].
          grid: that of the filter.
          target: [2] (rows, columns) of the target in cells.
          regularisation: not needed.
          rate: () 1 / mu; at 0 nothing is learnt.
          weight: () in [0, 1]: how far the filter moves from what it was to what was fitted.
        """
        del regularisation
        silent = model.energy <= SILENT
        model = model._replace(energy=jnp.where(silent, jnp.mean(_energy(sample)), model.energy))
        allowed = support(grid.size, target * self.support)
        held = 1 / jnp.maximum(jnp.asarray(rate), LEAST_RATE)
        taps = _fit(model, sample, label, allowed, grid.size, held, self.steps)
        return model._replace(taps=model.taps + weight.astype(taps.dtype) * (taps - model.taps))

    def correlate(
        self, model: BoundedFilter, sample: Array, grid: FixedGrid, regularisation: Scalar
    ) -> Array:
        """The spectrum [M, N // 2 + 1] of the response of a sample [C, M, N // 2 + 1]."""
        del regularisation
        return _times(jnp.sum(spectrum(model.taps, grid.size) * sample, axis=0), _unit(model, sample))


def _fit(
    model: BoundedFilter,
    sample: Array,
    label: Array,
    allowed: Array,
    grid: tuple[int, int],
    held: Scalar,
    steps: int,
) -> Array:
    """The taps [C, S, T] after some steps of ADMM from those of a filter, which holds them back.

    Args:
      model: that filter.
      sample: as of `Bounded.begin`.
      label: as of `Bounded.begin`.
      allowed: [S, T] as of `support`.
      grid: (M, N).
      held: () mu; 0 where there is no filter yet.
      steps: how many.
    """
    sample = _times(sample, _unit(model, sample))
    energy, conjugate = _energy(sample), jnp.conj(sample)
    held = jnp.asarray(held, energy.dtype)
    last = cut = spectrum(model.taps, grid)
    dual, taps = jnp.zeros_like(cut), model.taps
    for number in range(steps):
        penalty = jnp.asarray(PENALTY * GROWTH**number, energy.dtype)
        wanted = conjugate * label[None] + _times(cut - dual, penalty) + _times(last, held)
        along = divide(jnp.sum(sample * wanted, axis=0), held + penalty + energy)
        fitted = divide(wanted - conjugate * along[None], held + penalty)
        taps = within_support(fitted + dual, grid) * allowed[None]
        if number + 1 < steps:
            cut = spectrum(taps, grid)
            dual = dual + fitted - cut
    return taps


def spectrum(taps: Array, grid: tuple[int, int]) -> Array:
    """The half spectra [C, M, N // 2 + 1] of filters [C, S, T] that are zero beyond their support."""
    rows, columns = (jnp.asarray(waves, taps.dtype) for waves in _waves(grid))
    across = jnp.einsum("cst,zqt->cszq", taps, columns, precision="highest")
    both = jnp.einsum("yms,cszq->yzcmq", rows, across, precision="highest")
    # Without the barrier XLA on CPU computes the gradient that comes here anew for each of the products.
    return jax.lax.optimization_barrier(jax.lax.complex(both[0, 0] - both[1, 1], both[0, 1] + both[1, 0]))


def within_support(spectra: Array, grid: tuple[int, int]) -> Array:
    """The inverse transform [C, S, T] of half spectra [C, M, N // 2 + 1], where the support is."""
    rows, columns = _waves(grid)
    frequency = np.arange(columns.shape[1])
    # A half spectrum leaves out the conjugate of every column but the first and, if N is even, the last.
    times = np.where((frequency == 0) | (2 * frequency == grid[1]), 1, 2) / (grid[0] * grid[1])
    real, imaginary = columns * times[:, None]
    # Back by the conjugate waves (a - ib): (x + iy)(a - ib) = (xa + yb) + i(ya - xb).
    columns = np.array([[real, imaginary], [-imaginary, real]])  # [of the result, of the spectrum, Q, T]
    dtype = spectra.real.dtype
    parts = jnp.stack([spectra.real, spectra.imag])
    across = jnp.einsum("zcmq,yzqt->ycmt", parts, jnp.asarray(columns, dtype), precision="highest")
    return jnp.einsum("yms,ycmt->cst", jnp.asarray(rows, dtype), across, precision="highest")


def _times(values: Array, factor: Array) -> Array:
    """Complex times real, elementwise: two real products, and no silent promotion to complex."""
    return jax.lax.complex(values.real * factor, values.imag * factor)


def _unit(model: BoundedFilter, sample: Array) -> Array:
    """What samples are multiplied by (): their energy was 1 in the first frame then; 0 if that had none."""
    seen = model.energy > SILENT
    unit = jnp.where(seen, jax.lax.rsqrt(jnp.where(seen, model.energy, 1)), 0)
    return unit.astype(sample.real.dtype)


def _energy(sample: Array) -> Array:
    """The energy [M, N // 2 + 1] of a sample, summed over channels."""
    return jnp.sum(sample.real**2 + sample.imag**2, axis=0)


def _places(cells: int, count: int) -> np.ndarray:
    """The cells [count] of a side of the support, about the middle of the grid; both even or both odd."""
    return (cells - count) // 2 + 1 + np.arange(count)


@functools.cache
def _waves(grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """exp(-2 pi i f p / n) of the support's rows [2, M, S] and columns [2, N // 2 + 1, T], as two."""

    def side(axis: int, frequencies: int) -> np.ndarray:
        places = _places(grid[axis], support_size(grid)[axis])
        waves = np.exp(-2j * np.pi * np.outer(np.arange(frequencies), places) / grid[axis])
        return np.stack([waves.real, waves.imag])

    return side(0, grid[0]), side(1, grid[1] // 2 + 1)
