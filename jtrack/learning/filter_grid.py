"""The grid that correlation filters live on: of a fixed size, or of a traced one.

A response [M, N] and its spectrum [M, N // 2 + 1] belong to a grid of M x N cells. A `FixedGrid` has a static
size and transforms by FFT. A `TracedGrid` lies in the top-left corner of a larger array and is zero beyond,
so that targets with grids of different sizes are lanes of one compiled step. It transforms by dense matrices,
which are functions of a traced M and N.

Both have the same methods and give the same numbers up to rounding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.learning import correlation_filter, peak
from jtrack.types import Array, floating
from jtrack.vision.resize import traced_resample_matrix
from jtrack.vision.windows import gaussian_label


@dataclass(frozen=True)
class UpTo:
    """Stands for a size (rows, columns) in a config: each target's own, which is traced, up to this one."""

    size: tuple[int, int]

    def __post_init__(self) -> None:
        checks.size(self, "size")

    @classmethod
    def holding(cls, sizes: Array) -> "UpTo":
        """A size that holds all of [N, 2], a multiple of 16 a side, so that few programs are compiled."""
        rows, columns = -(-np.asarray(sizes).max(0) // 16) * 16
        return cls((int(rows), int(columns)))

    def bounded(self, size: Array) -> Array:
        """A target's size [2] int32, made no larger than this one."""
        return jnp.minimum(size, jnp.asarray(self.size, size.dtype))


class Part(NamedTuple):
    """A part of maps, in their cells; it may begin and end between them."""

    start: Array  # [2] (row, column) of its top-left corner, from the outer edge of the first cell
    extent: Array  # [2] (rows, columns)


@dataclass(frozen=True)
class FixedGrid:
    """A grid whose size is static."""

    size: tuple[int, int]  # (M, N)
    resampling: str = "imresample"  # of maps to its cells (`vision.resize`)

    @property
    def cells(self) -> int:
        """How many there are: M N."""
        return self.size[0] * self.size[1]

    def label(self, sigma: Array, *, odd: str = "centred") -> Array:
        """The Gaussian label [M, N] (`vision.windows.gaussian_label`)."""
        return gaussian_label(self.size, sigma, odd=odd)

    def windowed_spectrum(self, maps: Array, part: Part | None = None) -> Array:
        """The spectra [C, M, N // 2 + 1] of maps [h, w, C], or of a part, resampled and tapered."""
        if part is None:
            return correlation_filter.windowed_spectrum(maps, self.size, method=self.resampling)
        # The matrices of a part are made in every frame: small ones, beside the product with the maps.
        traced = TracedGrid(self.size, jnp.asarray(self.size, jnp.int32), self.resampling)
        return traced.windowed_spectrum(maps, part)

    def spectrum(self, label: Array) -> Array:
        """The half spectrum [M, N // 2 + 1] of a label [M, N]."""
        return jnp.fft.rfft2(label)

    def inverse(self, spectrum: Array) -> Array:
        """The response [M, N] of a half spectrum [M, N // 2 + 1]."""
        return jnp.fft.irfft2(spectrum, s=self.size)

    def largest(self, response: Array) -> Array:
        """The displacement [2] of the first maximum in column-major order (`peak.largest`)."""
        return peak.largest(response)

    def refine(self, response: Array, at: Array) -> Array:
        """A maximum [2] moved to between cells (`peak.refine`)."""
        return peak.refine(response, at)

    def soft_argmax(self, response: Array, temperature: Array | float) -> Array:
        """The expected displacement [2] (`peak.soft_argmax`)."""
        return peak.soft_argmax(response, temperature)

    def within(self, centre: Array, radius: Array | float) -> Array:
        """Mask [M, N] of the cells near a displacement [2] (`peak.within`)."""
        return peak.within(self.size, centre, radius)

    def centred(self, responses: Array) -> Array:
        """Responses [..., M, N] with zero displacement at (M // 2, N // 2), for showing them."""
        return jnp.fft.fftshift(responses, axes=(-2, -1))


@dataclass(frozen=True)
class TracedGrid:
    """A grid whose size is traced: the first M rows and N columns of arrays of the largest size [P, Q].

    Spectra are [..., P, Q // 2 + 1], of which the first M rows and N // 2 + 1 columns count. What its methods
    make is zero beyond; `within` alone says nothing of what is there.
    """

    most: tuple[int, int]  # (P, Q)
    size: Array  # [2] int32 (M, N), from 1 to `most`
    resampling: str = "imresample"

    @property
    def cells(self) -> Array:
        """How many there are () int32: M N."""
        return self.size[0] * self.size[1]

    def label(self, sigma: Array, *, odd: str = "centred") -> Array:
        """As of `FixedGrid`, [P, Q]."""

        def profile(cells: Array, most: int) -> Array:
            place = jnp.arange(most, dtype=cells.dtype)
            largest = cells - cells // 2 if odd == "release" else cells // 2
            offset = jnp.where(place <= largest, place, place - cells).astype(floating(sigma))
            return jnp.where(place < cells, jnp.exp(-0.5 * offset**2 / sigma**2), 0)

        rows, columns = (profile(self.size[axis], self.most[axis]) for axis in (0, 1))
        return rows[:, None] * columns[None, :]

    def windowed_spectrum(self, maps: Array, part: Part | None = None) -> Array:
        """As of `FixedGrid`, [C, P, Q // 2 + 1]."""

        def side(axis: int, waves: Array) -> Array:
            cells, most = self.size[axis], self.most[axis]
            span = None if part is None else (part.start[axis], part.extent[axis])
            enlarge = traced_resample_matrix(
                maps.shape[axis], cells, most, maps.dtype, span, method=self.resampling
            )
            tapered = _hann(cells, most, maps.dtype)[:, None] * enlarge
            return jnp.einsum("zpm,mh->zph", waves, tapered, precision="highest")

        rows, columns = self._waves(maps.dtype)
        return correlation_filter.transform_sides(maps, side(0, rows), side(1, columns))

    def spectrum(self, label: Array) -> Array:
        """As of `FixedGrid`, [P, Q // 2 + 1]."""
        return correlation_filter.transform_sides(label[..., None], *self._waves(label.dtype))[0]

    def inverse(self, spectrum: Array) -> Array:
        """As of `FixedGrid`, [P, Q]."""
        m, n = self.size
        rows, columns = (jax.lax.complex(*waves).conj() for waves in self._waves(spectrum.real.dtype))
        row, column = (jnp.arange(most, dtype=m.dtype) for most in spectrum.shape)
        inside = (row < m)[:, None] & (column <= n // 2)[None, :]
        # Without regularisation a filter is 0 / 0 beyond the grid.
        spectrum = jnp.where(inside, spectrum, 0) / self.cells.astype(spectrum.dtype)
        # A half spectrum leaves out the conjugate of every column but the first and, if N is even, the last.
        times = jnp.where((column == 0) | (2 * column == n), 1, 2).astype(spectrum.dtype)
        down = jnp.einsum("pm,pq->mq", rows, spectrum * times[None, :], precision="highest")
        return jnp.einsum("mq,qn->mn", down, columns, precision="highest").real

    def largest(self, response: Array) -> Array:
        """As of `FixedGrid`."""
        index = jnp.argmax(self._inside(response, -jnp.inf).T.reshape(-1))
        place = jnp.stack([index % self.most[0], index // self.most[0]])
        return _signed(place.astype(self.size.dtype), self.size).astype(response.dtype)

    def refine(self, response: Array, at: Array) -> Array:
        """As of `FixedGrid`."""
        return peak.refine(response, at, self.size)

    def soft_argmax(self, response: Array, temperature: Array | float) -> Array:
        """As of `FixedGrid`."""
        weight = jax.nn.softmax(self._inside(response / temperature, -jnp.inf).reshape(-1))
        weight = weight.reshape(response.shape)
        rows, columns = (each.astype(weight.dtype) for each in self._displacements())
        return jnp.stack([jnp.sum(weight.sum(1) * rows), jnp.sum(weight.sum(0) * columns)])

    def within(self, centre: Array, radius: Array | float) -> Array:
        """As of `FixedGrid`, [P, Q]."""
        rows, columns = (each.astype(centre.dtype) for each in self._displacements())
        return (jnp.abs(rows - centre[0])[:, None] + jnp.abs(columns - centre[1])[None, :]) <= radius

    def centred(self, responses: Array) -> Array:
        """As of `FixedGrid`, [..., P, Q]: the middle is that of the grid, not of the array."""
        for axis, (cells, most) in enumerate(zip(self.size, self.most, strict=True), start=-2):
            place = jnp.arange(most, dtype=cells.dtype)
            moved = jnp.where(place < cells, (place - cells // 2) % cells, place)
            responses = jnp.take(responses, moved, axis=axis)
        return responses

    def _waves(self, dtype: np.dtype) -> tuple[Array, Array]:
        """The DFT of rows [2, P, P], and half that of columns [2, Q // 2 + 1, Q]: real and imaginary."""
        (rows, columns), (most_rows, most_columns) = self.size, self.most
        return (
            _waves(rows, rows, (most_rows, most_rows), dtype),
            _waves(columns, columns // 2 + 1, (most_columns // 2 + 1, most_columns), dtype),
        )

    def _displacements(self) -> tuple[Array, Array]:
        """As `peak.displacements`, int32: of rows [P] and columns [Q]."""
        rows, columns = (
            _signed(jnp.arange(self.most[axis], dtype=self.size.dtype), self.size[axis]) for axis in (0, 1)
        )
        return rows, columns

    def _inside(self, response: Array, beyond: float) -> Array:
        """The response with another value beyond the grid."""
        row, column = (jnp.arange(most, dtype=self.size.dtype) for most in self.most)
        inside = (row < self.size[0])[:, None] & (column < self.size[1])[None, :]
        return jnp.where(inside, response, beyond)


Grid = FixedGrid | TracedGrid


def _hann(cells: Array, most: int, dtype: np.dtype) -> Array:
    """The symmetric Hann window of a traced length [most], zero beyond; 1 where the length is 1."""
    place = jnp.arange(most, dtype=cells.dtype)
    angle = 2 * np.pi * place.astype(dtype) / jnp.maximum(cells - 1, 1).astype(dtype)
    window = jnp.where(cells == 1, 1, 0.5 - 0.5 * jnp.cos(angle))
    return jnp.where(place < cells, window, 0)


def _waves(cells: Array, frequencies: Array, most: tuple[int, int], dtype: np.dtype) -> Array:
    """exp(-2 pi i f m / cells) as real and imaginary part [2, F, M], of the first frequencies and cells.

    Args:
      cells: () int32.
      frequencies: () int32 how many count.
      most: (F, M).
      dtype: of the result.
    """
    frequency, place = (jnp.arange(n, dtype=cells.dtype) for n in most)
    frequency, place = frequency[:, None], place[None, :]
    # The product is reduced as an integer: a large angle would lose digits.
    angle = (-2 * np.pi) * (frequency * place % cells).astype(dtype) / cells.astype(dtype)
    inside = (frequency < frequencies) & (place < cells)
    return jnp.where(inside[None], jnp.stack([jnp.cos(angle), jnp.sin(angle)]), 0)


def _signed(place: Array, cells: Array) -> Array:
    """The displacement of a row or column of a circular response of as many cells."""
    return jnp.where(place < (cells + 1) // 2, place, place - cells)
