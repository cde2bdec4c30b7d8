"""Correlation filters against brute-force ridge regression over all circular shifts."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import correlation_filter as cf

GRIDS = [(6, 8), (7, 5), (5, 6)]


def make(grid, channels, seed=0):
    rng = np.random.default_rng(seed)
    sample = rng.normal(size=(*grid, channels)).astype(np.float32)
    label = rng.random(grid).astype(np.float32)
    return sample, label


def shift(x, a, b):
    return np.roll(x, (a, b), axis=(0, 1))


def brute_force_response(sample, label, ridge, query):
    """The primal ridge regressor over all circular shifts, applied to all shifts of a query."""
    m, n, channels = sample.shape
    shifts = list(itertools.product(range(m), range(n)))
    # Row (a, b): the sample shifted back by (a, b); its target is the label at (a, b).
    design = np.stack([shift(sample, -a, -b).ravel() for a, b in shifts]).astype(np.float64)
    target = np.array([label[a, b] for a, b in shifts], np.float64)
    gram = design.T @ design + ridge * np.eye(m * n * channels)
    weight = np.linalg.solve(gram, design.T @ target)
    return np.array([shift(query, -a, -b).ravel() @ weight for a, b in shifts]).reshape(m, n)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_both_forms_equal_brute_force_ridge(grid, channels):
    sample, label = make(grid, channels)
    query, _ = make(grid, channels, seed=1)
    regularisation = 0.01
    want = brute_force_response(sample, label, regularisation * grid[0] * grid[1] * channels, query)
    x, z = cf.spectrum(jnp.asarray(sample)), cf.spectrum(jnp.asarray(query))
    dual = cf.respond(cf.train_dual(x, jnp.asarray(label), regularisation), z, grid, regularisation)
    primal = cf.respond(cf.train_primal(x, jnp.asarray(label)), z, grid, regularisation)
    np.testing.assert_allclose(dual, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(primal, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_shifting_the_sample_shifts_the_response(grid):
    sample, label = make(grid, 4)
    model = cf.train_dual(cf.spectrum(jnp.asarray(sample)), jnp.asarray(label), 0.01)
    still = cf.respond(model, cf.spectrum(jnp.asarray(sample)), grid, 0.01)
    for a, b in [(1, 0), (0, -2), (-2, 3)]:
        moved = cf.respond(model, cf.spectrum(jnp.asarray(shift(sample, a, b))), grid, 0.01)
        np.testing.assert_allclose(moved, shift(np.asarray(still), a, b), atol=1e-5)


def test_self_response_approaches_the_label_as_regularisation_vanishes():
    grid = (8, 6)
    sample, _ = make(grid, 5)
    label = np.zeros(grid, np.float32)
    label[0, 0] = 1
    x = cf.spectrum(jnp.asarray(sample))
    peaks = []
    for regularisation in (1e-1, 1e-3, 1e-6):
        response = cf.respond(cf.train_dual(x, jnp.asarray(label), regularisation), x, grid, regularisation)
        peaks.append(float(response[0, 0]))
    assert peaks[0] < peaks[1] < peaks[2] < 1 + 1e-5
    assert peaks[2] == pytest.approx(1, abs=1e-3)


def test_blending_rates():
    sample, label = make((6, 6), 3)
    other, _ = make((6, 6), 3, seed=2)
    old = cf.train_dual(cf.spectrum(jnp.asarray(sample)), jnp.asarray(label), 0.01)
    new = cf.train_dual(cf.spectrum(jnp.asarray(other)), jnp.asarray(label), 0.01)
    frozen = cf.blend(old, new, 0.0)
    for a, b in zip(frozen, old, strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(cf.blend(old, new, 1.0), new, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    model = old
    for _ in range(69):  # ln(1/2) / ln(1 - 0.01): half of the first model is forgotten
        model = cf.blend(model, new, 0.01)
    np.testing.assert_allclose(model.dual, 0.5 * (old.dual + new.dual), rtol=0.02, atol=0.02)


def test_the_two_forms_part_after_a_second_sample():
    grid = (6, 6)
    sample, label = make(grid, 3)
    other, _ = make(grid, 3, seed=2)
    x, z = cf.spectrum(jnp.asarray(sample)), cf.spectrum(jnp.asarray(other))
    y = jnp.asarray(label)
    dual = cf.blend(cf.train_dual(x, y, 0.01), cf.train_dual(z, y, 0.01), 0.5)
    primal = cf.blend(cf.train_primal(x, y), cf.train_primal(z, y), 0.5)
    scale = 3 * 36
    numerator = (np.fft.rfft2(label) * (np.conj(x) + np.conj(z))) / 2
    energy = (np.abs(x) ** 2 + np.abs(z) ** 2).sum(0) / scale / 2
    want = np.fft.irfft2((numerator * np.asarray(x)).sum(0) / scale / (energy + 0.01), s=grid)
    np.testing.assert_allclose(cf.respond(primal, x, grid, 0.01), want, atol=1e-4)
    assert not np.allclose(cf.respond(dual, x, grid, 0.01), want, atol=1e-2)
