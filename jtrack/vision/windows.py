"""Cosine windows and Gaussian labels of correlation filters."""

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.errors import unknown_name
from jtrack.types import Array, floating


def hann(n: int, dtype: jax.typing.DTypeLike = np.float32) -> Array:
    """The symmetric Hann window 0.5 (1 - cos(2 pi i / (n - 1))).

    Args:
      n: number of samples, at least 1.
      dtype: of the result.

    Returns:
      [n] in [0, 1], exactly zero at both ends; [1] for n = 1.
    """
    return jnp.asarray(np.hanning(n), dtype)


def hann2d(size: tuple[int, int], dtype: jax.typing.DTypeLike = np.float32) -> Array:
    """The outer product of two Hann windows: [h, w] for size (h, w)."""
    return hann(size[0], dtype)[:, None] * hann(size[1], dtype)[None, :]


def gaussian_label(size: tuple[int, int], sigma: Array | float, *, odd: str = "centred") -> Array:
    """The circular Gaussian label of a correlation filter, its peak at index (0, 0).

    label(m, n) = exp(-(dr^2 + dc^2) / (2 sigma^2)), where dr and dc are the signed circular offsets of the
    index from 0.

    Args:
      size: (h, w) of the grid.
      sigma: standard deviation in cells, a scalar; may be traced.
      odd: the offsets along an axis of odd length M: "centred", -(M-1)/2..(M-1)/2, which makes the label
        symmetric and its spectrum real; or "release", -(M-3)/2..(M+1)/2, the off-by-one of the label
        routine in the code of HCFT (and KCF before it), (1..M) - floor(M/2). An even length knows no
        difference.

    Returns:
      [h, w], 1 at (0, 0), of the type of sigma.

    Source: Ma et al., ICCV 2015, equation 2, with the peak moved from (h/2, w/2) to (0, 0).
    """
    if odd not in ("centred", "release"):
        raise unknown_name("label offsets", odd, ("centred", "release"))

    def profile(n: int) -> Array:
        largest = n - n // 2 if odd == "release" else n // 2
        offset = np.arange(n)
        offset = np.where(offset <= largest, offset, offset - n)
        return jnp.exp(jnp.asarray(-0.5 * offset**2, floating(sigma)) / sigma**2)

    return profile(size[0])[:, None] * profile(size[1])[None, :]
