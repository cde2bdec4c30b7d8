"""A grid of traced size against NumPy's FFT, and against the grid of the same static size."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning.filter_grid import FixedGrid, Part, TracedGrid
from jtrack.vision.resize import resize

MOST = (34, 27)
# Even and odd, a single row, column or cell, tall and wide, the largest itself.
SIZES = [(24, 20), (19, 26), (5, 6), (7, 7), (1, 9), (12, 1), (1, 1), (2, 2), (3, 27), (34, 4), MOST]


@functools.cache
def compiled(method):
    return jax.jit(lambda size, *args: method(TracedGrid(MOST, size), *args))


def traced(method, size, *args):
    """Calls a method of a grid whose size the compiler does not know."""
    return compiled(method)(jnp.asarray(size), *args)


def label(grid, sigma):
    return grid.label(sigma)


def released_label(grid, sigma):
    return grid.label(sigma, odd="release")


def there_and_back(grid, label):
    return grid.inverse(grid.spectrum(label))


def padded(array, shape):
    """An array in the top-left corner of zeros."""
    widths = [(0, 0)] * (array.ndim - 2) + [
        (0, most - n) for n, most in zip(array.shape[-2:], shape, strict=True)
    ]
    return np.pad(np.asarray(array), widths)


def assert_padded(got, want, shape, tolerance=1e-5):
    """Equal to `want` in the corner, and exactly zero beyond."""
    rows, columns = want.shape[-2:]
    assert got.shape[-2:] == shape
    np.testing.assert_allclose(got[..., :rows, :columns], want, rtol=0, atol=tolerance * np.abs(want).max())
    assert not np.any(got[..., rows:, :]) and not np.any(got[..., columns:])


def largest_of_each(grid, responses):
    return jax.vmap(grid.largest)(responses)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


HALF = (MOST[0], MOST[1] // 2 + 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(9, 12), (30, 14), (56, 70)])
def test_the_windowed_spectrum_is_that_of_numpy(size, shape):
    maps = random(*shape, 3)
    resized = np.asarray(resize(jnp.asarray(maps), size, method="imresample"), np.float64)
    tapered = resized * np.outer(np.hanning(size[0]), np.hanning(size[1]))[..., None]
    want = np.moveaxis(np.fft.rfft2(tapered, axes=(0, 1)), -1, 0)
    got = np.asarray(traced(TracedGrid.windowed_spectrum, size, maps))
    if size == (2, 2):  # its window is zero everywhere
        np.testing.assert_allclose(got, 0, atol=1e-6)
    else:
        assert_padded(got, want, HALF)


# Enlarged, and one that is shrunk to half.
@pytest.mark.parametrize(
    ("size", "part"),
    [
        ((24, 20), ((3.25, 4.5), (14.5, 9.75))),
        ((19, 26), ((8.5, 1.5), (3.0, 26.0))),
        ((7, 7), ((20.25, 30.5), (6.5, 1.0))),
        ((7, 7), ((2.0, 5.0), (14.0, 14.0))),
    ],
)
def test_a_part_of_a_slope_is_resampled_exactly(size, part):
    """Between its cells a map that rises evenly has values in closed form, and the grid's cells lie there."""
    start, extent = map(np.array, part)
    rows, columns = np.mgrid[:30, :48]
    maps = np.stack([2.0 * rows - columns + 5, 0.5 * columns], axis=-1).astype(np.float32)
    y, x = (start[a] + (np.arange(size[a]) + 0.5) / size[a] * extent[a] - 0.5 for a in (0, 1))
    y, x = np.meshgrid(y, x, indexing="ij")
    sampled = np.stack([2.0 * y - x + 5, 0.5 * x], axis=-1)
    tapered = sampled * np.outer(np.hanning(size[0]), np.hanning(size[1]))[..., None]
    want = np.moveaxis(np.fft.rfft2(tapered, axes=(0, 1)), -1, 0)
    part = Part(jnp.float32(start), jnp.float32(extent))
    assert_padded(np.asarray(traced(TracedGrid.windowed_spectrum, size, maps, part)), want, HALF, 1e-4)
    fixed = np.asarray(FixedGrid(size).windowed_spectrum(jnp.asarray(maps), part))
    np.testing.assert_allclose(fixed, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("size", [(24, 20), (7, 7)])
def test_a_part_that_is_the_whole_is_the_whole(size):
    maps = jnp.asarray(random(16, 14, 3))
    part = Part(jnp.zeros(2), jnp.float32(maps.shape[:2]))
    want = np.asarray(FixedGrid(size).windowed_spectrum(maps))
    got = np.asarray(FixedGrid(size).windowed_spectrum(maps, part))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(("side", "size"), [(14, (24, 20)), (30, (12, 10))])
def test_bilinear_maps_are_opencv_s_on_fixed_and_on_traced_grids(side, size):
    """Equation 1 of HCFT: interpolated where a map is coarser, and where it is finer not averaged either."""
    maps = random(side, side, 3)
    resized = cv2.resize(maps, size[::-1], interpolation=cv2.INTER_LINEAR)
    tapered = resized * np.outer(np.hanning(size[0]), np.hanning(size[1]))[..., None]
    want = np.moveaxis(np.fft.rfft2(tapered, axes=(0, 1)), -1, 0)
    tolerance = 1e-5 * np.abs(want).max()
    grid = FixedGrid(size, "bilinear")
    np.testing.assert_allclose(grid.windowed_spectrum(jnp.asarray(maps)), want, atol=tolerance)
    most = size[0] + 4, size[1] + 6
    lane = TracedGrid(most, jnp.asarray(size, jnp.int32), "bilinear").windowed_spectrum(jnp.asarray(maps))
    np.testing.assert_allclose(lane[:, : size[0], : size[1] // 2 + 1], want, atol=tolerance)


def test_beyond_the_maps_their_outermost_cells_go_on():
    maps = jnp.asarray(random(8, 8, 2))
    wider = jnp.pad(maps, ((4, 4), (4, 4), (0, 0)), mode="edge")
    grid, extent = FixedGrid((12, 12)), jnp.full(2, 8.0)
    got = grid.windowed_spectrum(maps, Part(jnp.float32([-2, 3]), extent))
    want = grid.windowed_spectrum(wider, Part(jnp.float32([2, 7]), extent))
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_spectrum_and_response_are_those_of_numpy(size):
    image = random(*size)
    spectrum = np.fft.rfft2(image.astype(np.float64))
    assert_padded(np.asarray(traced(TracedGrid.spectrum, size, padded(image, MOST))), spectrum, HALF)
    # No spectrum of a real map: the first and last column need not be symmetric, as with `irfft2`.
    other = (random(*spectrum.shape, seed=1) + 1j * random(*spectrum.shape, seed=2)).astype(np.complex64)
    want = np.fft.irfft2(other, s=size)
    assert_padded(np.asarray(traced(TracedGrid.inverse, size, padded(other, HALF))), want, MOST)


def test_a_response_does_not_read_beyond_its_grid():
    spectrum = np.full(HALF, np.nan, np.complex64)
    spectrum[:6, :5] = np.fft.rfft2(random(6, 8))
    response = np.asarray(traced(TracedGrid.inverse, (6, 8), spectrum))
    assert_padded(response, random(6, 8), MOST)


@pytest.mark.parametrize("make", [label, released_label])
@pytest.mark.parametrize("size", SIZES)
def test_the_label_is_that_of_the_static_grid(size, make):
    sigma = jnp.float32(2.3)
    want = np.asarray(make(FixedGrid(size), sigma))
    assert_padded(np.asarray(traced(make, size, sigma)), want, MOST, 1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_every_displacement_is_decoded_with_its_sign(size):
    cells = np.eye(size[0] * size[1], dtype=np.float32).reshape(-1, *size) - 2
    want = jax.vmap(FixedGrid(size).largest)(cells)
    # Beyond the grid is zero, which is higher than any cell.
    np.testing.assert_array_equal(traced(largest_of_each, size, padded(cells, MOST)), want)


def test_ties_go_to_the_first_in_column_major_order():
    response = np.zeros(MOST, np.float32)
    response[0, 1] = response[1, 0] = response[5, 6] = 1
    np.testing.assert_array_equal(traced(TracedGrid.largest, (6, 7), response), [1, 0])
    np.testing.assert_array_equal(traced(TracedGrid.largest, (6, 7), np.zeros_like(response)), [0, 0])


@pytest.mark.parametrize("size", [size for size in SIZES if min(size) > 1])
def test_positions_between_cells_are_those_of_the_static_grid(size):
    fixed = FixedGrid(size)
    for seed in range(3):
        response = random(*size, seed=seed)
        wide, at = padded(response, MOST), fixed.largest(jnp.asarray(response))
        refined = traced(TracedGrid.refine, size, wide, at)
        np.testing.assert_allclose(refined, fixed.refine(jnp.asarray(response), at), atol=1e-6)
        soft = traced(TracedGrid.soft_argmax, size, wide, 0.3)
        np.testing.assert_allclose(soft, fixed.soft_argmax(jnp.asarray(response), 0.3), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_neighbourhoods_and_the_middle_are_those_of_the_static_grid(size):
    fixed, (rows, columns) = FixedGrid(size), size
    centre = jnp.asarray([-1.0, 2.0])
    near = traced(TracedGrid.within, size, centre, 3.0)
    np.testing.assert_array_equal(near[:rows, :columns], fixed.within(centre, 3.0))
    responses = random(2, *size)
    want = padded(fixed.centred(jnp.asarray(responses)), MOST)
    np.testing.assert_array_equal(traced(TracedGrid.centred, size, padded(responses, MOST)), want)


def test_double_precision_is_kept():
    with jax.enable_x64(True):
        maps, image = random(9, 12, 2).astype(np.float64), random(7, 10).astype(np.float64)
        size = np.int32((7, 10))
        spectra = traced(TracedGrid.windowed_spectrum, size, maps)
        resized = np.asarray(resize(jnp.asarray(maps), (7, 10), method="imresample"))
        tapered = resized * np.outer(np.hanning(7), np.hanning(10))[..., None]
        want = np.moveaxis(np.fft.rfft2(tapered, axes=(0, 1)), -1, 0)
        assert_padded(np.asarray(spectra), want, HALF, 1e-12)
        wide = padded(image, MOST)
        assert_padded(np.asarray(traced(there_and_back, size, wide)), image, MOST, 1e-12)
        assert traced(label, size, np.float64(2)).dtype == np.float64
        assert traced(TracedGrid.largest, size, wide).dtype == np.float64
        assert traced(TracedGrid.soft_argmax, size, wide, 0.3).dtype == np.float64
