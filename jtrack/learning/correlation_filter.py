"""Multi-channel correlation filters learnt by ridge regression in the Fourier domain.

All circular shifts of one sample x [M, N, C] are regressed to a label y [M, N] whose peak is at (0, 0)
(HCFT, Ma et al., ICCV 2015, equations 2-4). Two forms are offered; they agree exactly on the first sample
and differ in what a running average blends afterwards:

  * `DualFilter`, the released code: the dual coefficients and the template are averaged apart, as in KCF.
  * `PrimalFilter`, equation 6 of the paper: numerator and denominator are averaged apart.

Equations 3 and 4 as printed do not fit together: with the filter of equation 3 the conjugate in equation 4
must be dropped (or moved) for the training sample to give back its label. Here a shift of the sample by
(a, b) moves the response's peak to (a, b), in both forms.

The regularisation is on the scale of the released code, where the energy is divided by M * N * C first: it
equals a lambda of `regularisation * M * N * C` in equations 2 and 3.

Spectra are half spectra over the two last axes, [C, M, N // 2 + 1], of unnormalised DFTs.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.types import Array
from jtrack.vision.resize import resample_matrix, resize
from jtrack.vision.windows import hann2d


class DualFilter(NamedTuple):
    """Ridge regression in the dual with a linear kernel, as the released code of HCFT averages it."""

    dual: Array  # [M, N // 2 + 1] complex64: the spectrum of the dual coefficients
    template: Array  # [C, M, N // 2 + 1] complex64: the spectrum of the sample


class PrimalFilter(NamedTuple):
    """Ridge regression in the primal, as equation 6 of the paper averages it."""

    numerator: Array  # [C, M, N // 2 + 1] complex64
    denominator: Array  # [M, N // 2 + 1] float32: the energy of the sample, regularisation not included


Filter = DualFilter | PrimalFilter


class Cells(Protocol):
    """What is asked of a grid (`learning.filter_grid`)."""

    @property
    def cells(self) -> Array | int:
        """How many there are: M N."""


class Ridge[F: Filter](ABC):
    """Filters that are learnt of every frame by itself, by ridge regression, and averaged as frames go by."""

    @abstractmethod
    def train(self, sample: Array, label: Array, cells: Array | int, regularisation: Array | float) -> F:
        """A filter of one sample."""

    def begin(
        self, sample: Array, label: Array, grid: Cells, target: Array, regularisation: Array | float
    ) -> F:
        """A filter of the first sample.

        Args:
          sample: spectrum of the windowed features, [C, M, N // 2 + 1].
          label: spectrum of the desired response, [M, N // 2 + 1].
          grid: that of the filter.
          target: [2] (rows, columns) of the target in cells; these filters are as large as the window.
          regularisation: ridge weight ().
        """
        del target
        return self.train(sample, label, grid.cells, regularisation)

    def learn(
        self,
        model: F,
        sample: Array,
        label: Array,
        grid: Cells,
        target: Array,
        regularisation: Array | float,
        rate: Array | float,
        weight: Array,
    ) -> F:
        """The filter after another sample: the others as of `begin`, `rate` () of it times `weight` ()."""
        return blend(model, self.begin(sample, label, grid, target, regularisation), weight * rate)

    def correlate(self, model: F, sample: Array, grid: Cells, regularisation: Array | float) -> Array:
        """The spectrum [M, N // 2 + 1] of the response of a sample [C, M, N // 2 + 1]."""
        return correlate(model, sample, grid.cells, regularisation)


@dataclass(frozen=True)
class Dual(Ridge[DualFilter]):
    """Filters in the dual form."""

    def train(
        self, sample: Array, label: Array, cells: Array | int, regularisation: Array | float
    ) -> DualFilter:
        """A filter of one sample, as `train_dual`.

        Args:
          sample: spectrum of the windowed features, [C, M, N // 2 + 1].
          label: spectrum of the desired response, [M, N // 2 + 1].
          cells: () M N.
          regularisation: ridge weight.
        """
        return DualFilter(divide(label, _energy(sample, cells) + regularisation), sample)


@dataclass(frozen=True)
class Primal(Ridge[PrimalFilter]):
    """Filters in the primal form."""

    def train(
        self, sample: Array, label: Array, cells: Array | int, regularisation: Array | float
    ) -> PrimalFilter:
        """A filter of one sample, as `train_primal`; arguments as of `Dual`."""
        del regularisation  # enters in `respond`
        return PrimalFilter(label[None] * jnp.conj(sample), _energy(sample, cells))


def spectrum(maps: Array) -> Array:
    """Transforms feature maps [M, N, C] to half spectra [C, M, N // 2 + 1]."""
    return jnp.fft.rfft2(jnp.moveaxis(maps, -1, 0))


def windowed_spectrum(maps: Array, grid: tuple[int, int], *, method: str = "imresample") -> Array:
    """Resamples maps to a grid, tapers them by a Hann window, and transforms them.

    All three are linear and act on rows and columns apart. Maps coarser than the grid are therefore
    transformed by one small matrix a side, which is quicker than transforming what they were enlarged to.

    Args:
      maps: [h, w, C].
      grid: (M, N).
      method: of `vision.resize`.

    Returns:
      [C, M, N // 2 + 1].
    """
    height, width, _ = maps.shape
    if height * width >= grid[0] * grid[1]:
        return spectrum(resize(maps, grid, method=method) * hann2d(grid, maps.dtype)[..., None])
    rows = _taper_and_transform(height, grid[0], method)
    columns = _taper_and_transform(width, grid[1], method)[:, : grid[1] // 2 + 1]
    return transform_sides(maps, rows, columns)


def transform_sides(maps: Array, rows: Array | np.ndarray, columns: Array | np.ndarray) -> Array:
    """Applies a complex linear map to the rows of real maps and another to their columns.

    Args:
      maps: [h, w, C].
      rows: [2, P, h], real and imaginary part.
      columns: [2, Q, w].

    Returns:
      [C, P, Q] complex.
    """
    both = columns.reshape(-1, columns.shape[-1]).astype(maps.dtype)
    across = jnp.einsum("hwc,qw->chq", maps, both, precision="highest")
    real, imaginary = jnp.split(across, 2, axis=-1)
    down = functools.partial(jnp.einsum, "ph,chq->cpq", precision="highest")
    cosine, sine = rows[0].astype(maps.dtype), rows[1].astype(maps.dtype)
    spectra = jax.lax.complex(
        down(cosine, real) - down(sine, imaginary), down(cosine, imaginary) + down(sine, real)
    )
    # Without the barrier XLA on CPU computes the gradient that comes here anew for each of the products.
    return jax.lax.optimization_barrier(spectra)


@functools.cache
def _taper_and_transform(length: int, cells: int, method: str) -> np.ndarray:
    """DFT times Hann window times resampling of one side, [2, cells, length] float64: real and imaginary."""
    enlarge = resample_matrix(length, cells, method=method)
    transformed = np.fft.fft(np.hanning(cells)[:, None] * enlarge, axis=0)
    return np.stack([transformed.real, transformed.imag])


def train_dual(sample: Array, label: Array, regularisation: Array | float) -> DualFilter:
    """Learns a filter from one sample.

    Args:
      sample: spectrum of the windowed features, [C, M, N // 2 + 1].
      label: desired response [M, N] with its peak at (0, 0).
      regularisation: ridge weight on the scale of the released code (module docstring).

    Returns:
      The filter of the released code: dual = Y / (sum_c |X_c|^2 / (M N C) + regularisation).
    """
    return Dual().train(sample, jnp.fft.rfft2(label), label.size, regularisation)


def train_primal(sample: Array, label: Array) -> PrimalFilter:
    """Learns a filter from one sample: numerator Y conj(X_c), denominator sum_c |X_c|^2 / (M N C).

    Args and source as `train_dual`; the regularisation enters in `respond`, so that averaging over
    frames does not count it twice.
    """
    return Primal().train(sample, jnp.fft.rfft2(label), label.size, 0.0)


def respond(model: Filter, sample: Array, grid: tuple[int, int], regularisation: Array | float) -> Array:
    """Correlates a sample with a filter (equation 4).

    Args:
      model: either form of filter.
      sample: spectrum of the windowed features of the search window, [C, M, N // 2 + 1].
      grid: (M, N); a half spectrum alone does not tell whether N is odd.
      regularisation: as in training; the dual form already holds it and ignores it here.

    Returns:
      Response [M, N], zero displacement at (0, 0).
    """
    return jnp.fft.irfft2(correlate(model, sample, grid[0] * grid[1], regularisation), s=grid)


def correlate(model: Filter, sample: Array, cells: Array | int, regularisation: Array | float) -> Array:
    """The spectrum [M, N // 2 + 1] of a response; `cells` () is M N, the other arguments as of `respond`."""
    scale = jnp.asarray(sample.shape[0] * cells, sample.dtype)
    if isinstance(model, DualFilter):
        return model.dual * jnp.sum(sample * jnp.conj(model.template), axis=0) / scale
    products = jnp.sum(model.numerator * sample, axis=0) / scale
    return divide(products, model.denominator + regularisation)


def blend[T](old: T, new: T, rate: Array | float) -> T:
    """Moves every array of a filter towards another: (1 - rate) * old + rate * new.

    A rate of 0 returns the old filter bitwise, so a gated update leaves no trace.
    """
    return jax.tree.map(lambda a, b: a + jnp.asarray(rate).astype(a.dtype) * (b - a), old, new)


def divide(numerator: Array, denominator: Array) -> Array:
    """Complex over real, elementwise: two real divisions, and no silent promotion to complex."""
    return jax.lax.complex(numerator.real / denominator, numerator.imag / denominator)


def _energy(sample: Array, cells: Array | int) -> Array:
    power = sample.real**2 + sample.imag**2
    return jnp.sum(power, axis=0) / jnp.asarray(sample.shape[0] * cells, power.dtype)
