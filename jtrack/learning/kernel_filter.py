"""Correlation filters with a Gaussian kernel: ridge regression over all shifts of a sample, in the dual.

Henriques, Caseiro, Martins and Batista: High-Speed Tracking with Kernelized Correlation Filters, TPAMI 2015
(KCF). The kernel of two samples x and z [M, N, C] is taken for every shift s of one of them,

    k(s) = exp(-max(0, |x|^2 + |z|^2 - 2 <x shifted by s, z>) / (sigma^2 M N C)),

equation 31 with the distance divided by the number of values, as the released code has it. The filter is
Y / (K + regularisation), equation 17, and its response to z is that times the kernel of z with the sample.

Spectra are half spectra over the two last axes, [C, M, N // 2 + 1], of unnormalised DFTs.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from jtrack import checks
from jtrack.learning.correlation_filter import DualFilter, blend, divide
from jtrack.learning.filter_grid import Grid
from jtrack.types import Array


@dataclass(frozen=True)
class Gaussian:
    """Filters in the dual form with a Gaussian kernel."""

    sigma: float = 0.5  # of the kernel

    def __post_init__(self) -> None:
        checks.require(self.sigma > 0, f"sigma of a kernel is {self.sigma}: it must be above 0")

    def begin(
        self, sample: Array, label: Array, grid: Grid, target: Array, regularisation: Array | float
    ) -> DualFilter:
        """A filter of the first sample.

        Args:
          sample: spectrum of the windowed features, [C, M, N // 2 + 1].
          label: spectrum of the desired response, [M, N // 2 + 1].
          grid: that of the filter.
          target: not needed: these filters are as large as the window.
          regularisation: ridge weight (), which is added to the spectrum of the kernel.
        """
        del target
        # The spectrum of a sample's kernel with itself, which is symmetric, is real.
        kernel = self.kernel(sample, sample, grid).real
        return DualFilter(divide(label, kernel + regularisation), sample)

    def learn(
        self,
        model: DualFilter,
        sample: Array,
        label: Array,
        grid: Grid,
        target: Array,
        regularisation: Array | float,
        rate: Array | float,
        weight: Array,
    ) -> DualFilter:
        """The filter after another sample: the others as of `begin`, `rate` () of it times `weight` ()."""
        return blend(model, self.begin(sample, label, grid, target, regularisation), weight * rate)

    def correlate(self, model: DualFilter, sample: Array, grid: Grid, regularisation: Array | float) -> Array:
        """The spectrum [M, N // 2 + 1] of the response of a sample [C, M, N // 2 + 1]."""
        del regularisation  # the filter holds it
        return model.dual * self.kernel(sample, model.template, grid)

    def kernel(self, sample: Array, template: Array, grid: Grid) -> Array:
        """The spectrum [M, N // 2 + 1] of the kernel of two samples, of all shifts of the second."""
        products = grid.inverse(jnp.sum(sample * jnp.conj(template), axis=0))
        # By Parseval's theorem what is at shift 0 of an autocorrelation is the energy.
        own, other = (
            grid.inverse(jnp.sum(each.real**2 + each.imag**2, axis=0).astype(each.dtype))[0, 0]
            for each in (sample, template)
        )
        values = jnp.asarray(sample.shape[0] * grid.cells, products.dtype)
        distance = jnp.maximum(own + other - 2 * products, 0) / values
        return grid.spectrum(jnp.exp(-distance / self.sigma**2))
