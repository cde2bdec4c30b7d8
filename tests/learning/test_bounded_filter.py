"""Filters of bounded support against NumPy's FFT and the solution of the whole problem by linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.learning import bounded_filter
from jtrack.learning.bounded_filter import (
    Bounded,
    BoundedFilter,
    spectrum,
    support,
    support_size,
    within_support,
)
from jtrack.learning.filter_grid import FixedGrid

GRIDS = [(32, 32), (21, 18), (8, 9), (4, 6), (1, 3), (2, 1)]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def spread(taps, grid):
    """Filters [C, S, T] in the middle of a grid of zeros."""
    whole = np.zeros((len(taps), *grid))
    rows, columns = ((grid[axis] - taps.shape[1 + axis]) // 2 + 1 for axis in (0, 1))
    rows, columns = np.arange(rows, rows + taps.shape[1]), np.arange(columns, columns + taps.shape[2])
    whole[:, rows[:, None] % grid[0], columns % grid[1]] = taps
    return whole


@pytest.mark.parametrize("grid", GRIDS)
def test_transforms_are_those_of_numpy(grid):
    taps = random(3, *support_size(grid))
    np.testing.assert_allclose(
        spectrum(jnp.float32(taps), grid), np.fft.rfft2(spread(taps, grid)), atol=2e-5 * np.sqrt(taps.size)
    )
    spectra = np.fft.rfft2(random(3, *grid, seed=1))
    cut = within_support(jnp.asarray(spectra, jnp.complex64), grid)
    np.testing.assert_allclose(
        spread(np.asarray(cut), grid), spread_of(np.fft.irfft2(spectra, s=grid), grid), atol=1e-5
    )


def spread_of(whole, grid):
    """What lies within the largest support; zero elsewhere."""
    return whole * spread(np.ones((1, *support_size(grid))), grid)


def test_the_support_is_where_the_target_is_turned_around():
    """A sample of 8 x 6 ones in the middle, where it was learnt, meets all of a filter of ones."""
    grid = (24, 20)
    window = np.zeros(grid)
    window[8:16, 7:13] = 1
    allowed = spread(np.asarray(support(grid, jnp.float32([8, 6])))[None], grid)[0]
    response = np.fft.irfft2(np.fft.rfft2(window) * np.fft.rfft2(allowed), s=grid)
    assert allowed.sum() == 48 and response[0, 0] == pytest.approx(48)


@pytest.mark.parametrize(
    ("target", "count"), [((4.0, 6.0), 4 * 6), ((3.0, 0.2), 4 * 2), ((99.0, 99.0), 24 * 24)]
)
def test_the_support_is_about_as_large_as_the_target(target, count):
    allowed = np.asarray(support((32, 32), jnp.float32(target)))
    assert allowed.sum() == count and set(np.unique(allowed)) <= {0.0, 1.0}


def convolutions(sample):
    """The matrix of sum_c x_c * f_c: a sample [C, M, N] to the responses [M N] of filters [C M N]."""
    channels, rows, columns = sample.shape
    blocks = [
        np.roll(sample[c], (i, j), (0, 1)).ravel()
        for c in range(channels)
        for i in range(rows)
        for j in range(columns)
    ]
    return np.stack(blocks, axis=1)


@pytest.mark.parametrize("held", [0.0, 0.7])
def test_many_steps_solve_the_whole_problem(monkeypatch, held):
    """Without growth of its penalty ADMM converges to the least-squares solution with zeros outside."""
    monkeypatch.setattr(bounded_filter, "PENALTY", 0.3)
    monkeypatch.setattr(bounded_filter, "GROWTH", 1.0)
    grid, channels = (8, 6), 2
    sample, label = random(channels, *grid, seed=2), random(*grid, seed=3)
    last = random(channels, *support_size(grid), seed=4)
    allowed = np.asarray(support(grid, jnp.float32([3, 3])), np.float64)
    energy = (np.abs(np.fft.rfft2(sample)) ** 2).sum(0).mean()
    model = BoundedFilter(jnp.float32(last * allowed), jnp.float32(energy))
    found = bounded_filter._fit(
        model,
        jnp.asarray(np.fft.rfft2(sample), jnp.complex64),
        jnp.asarray(np.fft.rfft2(label), jnp.complex64),
        jnp.float32(allowed),
        grid,
        held,
        300,
    )
    inside = spread(np.broadcast_to(allowed, (channels, *allowed.shape)), grid).ravel() > 0
    matrix = convolutions(sample / np.sqrt(energy))[:, inside]
    before = spread(last * allowed, grid).ravel()[inside]
    normal = matrix.T @ matrix + held * np.eye(inside.sum())
    want = np.linalg.solve(normal, matrix.T @ label.ravel() + held * before)
    np.testing.assert_allclose(spread(np.asarray(found), grid).ravel()[inside], want, atol=2e-3)


def learnt(shift=(0, 0), steps=2):
    """A filter of a sample, and the response of that sample, moved."""
    grid, target = FixedGrid((24, 20)), jnp.float32([8, 6])
    sample = random(4, *grid.size, seed=5)
    label = grid.spectrum(grid.label(jnp.float32(1.0)))
    bounded = Bounded(steps=steps)
    first = jnp.asarray(np.fft.rfft2(sample), jnp.complex64)
    model = bounded.begin(first, label, grid, target, 0.0)
    moved = jnp.asarray(np.fft.rfft2(np.roll(sample, shift, (1, 2))), jnp.complex64)
    return bounded, model, moved, label, grid, target


@pytest.mark.parametrize("shift", [(0, 0), (3, -4)])
def test_a_response_peaks_where_the_sample_has_moved(shift):
    bounded, model, moved, _, grid, _ = learnt(shift)
    response = grid.inverse(bounded.correlate(model, moved, grid, 0.0))
    np.testing.assert_array_equal(grid.largest(response), shift)


def test_nothing_is_learnt_without_weight_and_more_with_a_higher_rate():
    bounded, model, _, label, grid, target = learnt()
    other = jnp.asarray(np.fft.rfft2(random(4, *grid.size, seed=6)), jnp.complex64)

    def change(rate, weight):
        after = bounded.learn(model, other, label, grid, target, 0.0, rate, jnp.float32(weight))
        return float(jnp.abs(after.taps - model.taps).max())

    assert change(0.02, 0.0) == 0
    assert change(0.02, 0.5) == pytest.approx(change(0.02, 1.0) / 2, rel=1e-5)
    assert change(0.005, 1.0) < change(0.02, 1.0) < change(0.5, 1.0)


def test_the_scale_of_features_does_not_matter():
    bounded, _, moved, label, grid, target = learnt((1, 2))
    large = bounded.begin(1000 * moved, label, grid, target, 0.0)
    small = bounded.begin(moved, label, grid, target, 0.0)
    np.testing.assert_allclose(large.taps, small.taps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 3, 8, 9, 21, 32])
def test_the_support_has_the_middle_of_the_grid(side):
    """Whatever the parity: the middle of the turned-around window is (side + 1) / 2."""
    count, _ = support_size((side, side))
    places = bounded_filter._places(side, count)
    assert 1 <= count <= side and places.mean() == (side + 1) / 2


def test_at_a_rate_of_nothing_nothing_is_learnt():
    bounded, model, _, label, grid, target = learnt()
    other = jnp.asarray(np.fft.rfft2(random(4, *grid.size, seed=6)), jnp.complex64)
    after = bounded.learn(model, other, label, grid, target, 0.0, jnp.float32(0), jnp.float32(1))
    np.testing.assert_allclose(after.taps, model.taps, atol=1e-4 * float(jnp.abs(model.taps).max()))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_black_first_frame_is_no_end(weight):
    """Nothing is known of it, and the next frame is learnt as if it were the first."""
    bounded, model, sample, label, grid, target = learnt()
    black = bounded.begin(jnp.zeros_like(sample), label, grid, target, 0.0)
    assert not np.any(black.taps) and not np.any(bounded.correlate(black, sample, grid, 0.0))
    after = bounded.learn(black, sample, label, grid, target, 0.0, jnp.float32(0.5), jnp.float32(weight))
    assert np.isfinite(after.taps).all() and after.energy == pytest.approx(float(model.energy))
    assert np.any(after.taps) == (weight > 0)
    slope = jax.grad(lambda x: bounded.begin(jax.lax.complex(x, x), label, grid, target, 0.0).taps.sum())
    assert np.isfinite(slope(jnp.zeros(sample.shape, jnp.float32))).all()


def test_a_filter_without_support_is_refused():
    with pytest.raises(JtrackError, match="support of a filter is 0"):
        Bounded(support=0.0)


def test_it_is_differentiable():
    """Through two learnings, against central differences."""
    bounded, model, moved, label, grid, target = learnt((1, 1))

    def height(rate):
        after = bounded.learn(model, moved, label, grid, target, 0.0, rate, jnp.float32(1.0))
        return grid.inverse(bounded.correlate(after, moved, grid, 0.0))[1, 1]

    slope = jax.grad(height)(jnp.float32(0.1))
    step = 1e-2
    want = (height(jnp.float32(0.1 + step)) - height(jnp.float32(0.1 - step))) / (2 * step)
    assert slope == pytest.approx(float(want), rel=2e-2)
