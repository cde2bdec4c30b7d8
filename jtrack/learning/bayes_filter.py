"""A Bayes filter over places on a dense grid (Hong et al., ICML 2015, section 3.3).

A density is [M, N], one number a cell, and sums to one. Places are (row, column) in cells; a cell's own place
is its index. The filter predicts (equation 9), weighs by a likelihood (equation 14) and normalises
(equation 8).
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack.types import Array

FLOOR = 1e-12  # of a prior, over its mean: no place is ruled out for ever


def gaussian(grid: tuple[int, int], mean: Array, covariance: Array) -> Array:
    """A normal density at the cells' places, which sums to one.

    Args:
      grid: (M, N).
      mean: [2] (row, column).
      covariance: [2, 2] in cells^2, positive definite.

    Returns:
      [M, N].
    """
    rows, columns = (jnp.arange(n, dtype=mean.dtype) for n in grid)
    r, c = (rows - mean[0])[:, None], (columns - mean[1])[None, :]
    inverse = jnp.linalg.inv(covariance)
    form = inverse[0, 0] * r**2 + (inverse[0, 1] + inverse[1, 0]) * r * c + inverse[1, 1] * c**2
    density = jnp.exp(-0.5 * (form - form.min()))
    return density / density.sum()


def predict(posterior: Array, shift: Array, covariance: Array) -> Array:
    """Moves a density and smooths it: the prior of the next frame (equations 9 to 12).

    Computed as a product of spectra, exact for shifts between cells; what leaves the grid enters opposite. A
    density of features much narrower than a cell rings; what it rings below zero is cut off.

    Args:
      posterior: [M, N].
      shift: [2] (rows, columns) in cells.
      covariance: [2, 2] in cells^2, positive semidefinite.

    Returns:
      [M, N] of the same sum.
    """
    m, n = posterior.shape
    u = jnp.asarray(2 * np.pi * np.fft.fftfreq(m)[:, None], posterior.dtype)
    v = jnp.asarray(2 * np.pi * np.fft.rfftfreq(n)[None, :], posterior.dtype)
    form = covariance[0, 0] * u**2 + (covariance[0, 1] + covariance[1, 0]) * u * v + covariance[1, 1] * v**2
    phase = shift[0] * u + shift[1] * v
    damp = jnp.exp(-0.5 * form)
    spectrum = jnp.fft.rfft2(posterior)
    moved = jnp.fft.irfft2(spectrum * lax.complex(damp * jnp.cos(phase), -damp * jnp.sin(phase)), s=(m, n))
    kept = jnp.maximum(moved, 0)
    return kept * (posterior.sum() / jnp.maximum(kept.sum(), 1e-30))


def correlate(template: Array, saliency: Array) -> Array:
    """How well a template fits everywhere: the likelihood of equation 14, not normalised.

    Args:
      template: [M, N]; its reference point is the middle cell (M // 2, N // 2).
      saliency: [M, N], zero outside.

    Returns:
      [M, N]: at (r, c) the sum over p of template(p) saliency(p + (r, c) - middle).
    """
    m, n = saliency.shape
    size = (m + m // 2 + 1, n + n // 2 + 1)  # nothing wraps onto the grid
    product = jnp.conj(jnp.fft.rfft2(template, s=size)) * jnp.fft.rfft2(saliency, s=size)
    full = jnp.fft.irfft2(product, s=size)
    return jnp.roll(full, (m // 2, n // 2), (0, 1))[:m, :n]


def update(prior: Array, likelihood: Array) -> Array:
    """The posterior (equation 8). Where the likelihood is zero everywhere, the prior is all there is.

    Args:
      prior: [M, N], not negative.
      likelihood: [M, N]; what is below zero counts as zero.

    Returns:
      [M, N], which sums to one.
    """
    prior = prior + FLOOR * prior.mean()
    top = likelihood.max()
    relative = jnp.maximum(likelihood, 0) / jnp.where(top > 0, top, 1)
    product = prior * jnp.where(top > 0, relative, 1)
    total = product.sum()
    product = jnp.where(total > 0, product, prior)
    return product / jnp.maximum(product.sum(), 1e-30)
