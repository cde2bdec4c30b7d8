"""Contrast, gradients and the common range of cues, against SciPy and NumPy."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate1d

from jtrack.vision import contrast


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (40, 33)).astype(np.float32)


def smoothed(image, sigma):
    reach = math.ceil(1.645 * sigma)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    down = correlate1d(image.astype(np.float64), kernel, axis=0, mode="nearest")
    return correlate1d(down, kernel, axis=1, mode="nearest")


@pytest.mark.parametrize("sigma", [0.8, 3.2, 4.8])
def test_smoothing_is_scipy_s(image, sigma):
    np.testing.assert_allclose(contrast.smooth(jnp.asarray(image), sigma), smoothed(image, sigma), rtol=1e-5)


def test_local_contrast_is_the_deviation_over_its_root_mean_square(image):
    deviation = image - smoothed(image, 3.2)
    expected = deviation / np.sqrt(smoothed(deviation**2, 4.8) + 4.0)
    found = contrast.local_contrast(jnp.asarray(image), 3.2, 4.8, epsilon=2.0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("gain", "offset"), [(0.25, 0.0), (2.0, 0.0), (0.5, 40.0)])
def test_local_contrast_forgets_the_light(image, gain, offset):
    plain = contrast.local_contrast(jnp.asarray(image), 3.2, 3.2, epsilon=0.0)
    lit = contrast.local_contrast(gain * jnp.asarray(image) + offset, 3.2, 3.2, epsilon=0.0)
    np.testing.assert_allclose(lit, plain, atol=1e-3)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_a_flat_image_has_no_contrast(epsilon):
    found = contrast.local_contrast(jnp.full((20, 20), 64.0), 3.2, 3.2, epsilon=epsilon)
    assert np.isfinite(found).all()
    if epsilon:
        np.testing.assert_allclose(found, 0, atol=1e-4)


def test_gradients_are_numpy_s(image):
    down, across = np.gradient(image.astype(np.float64))
    found = contrast.gradient_magnitude(jnp.asarray(image))
    np.testing.assert_allclose(found, np.hypot(down, across), rtol=1e-5)


@pytest.mark.parametrize("top", [10.0, 2.0])
def test_a_stretched_cue_ends_at_zero_and_top(image, top):
    found = contrast.stretch(jnp.asarray(image), top)
    assert found.min() == 0
    np.testing.assert_allclose(found.max(), top, rtol=1e-6)
    assert not np.any(contrast.stretch(jnp.full((3, 4), 7.0), top))


@pytest.mark.parametrize("sigma", [0.4, 3.2, 9.0])
def test_a_traced_width_smooths_as_a_static_one(sigma):
    want = contrast.smoothing_matrix(20, sigma)
    np.testing.assert_allclose(contrast.traced_smoothing_matrix(20, jnp.float32(sigma)), want, atol=1e-6)


def test_cues_of_a_stretched_image_are_those_of_the_image():
    """An upright target's region, stretched twice across to a square, has the cues it had, stretched."""
    rows, columns = np.mgrid[:64, :128].astype(np.float32)

    def scene(x):
        return 60 * np.sin(rows / 7) + 90 * np.cos(x / 12) + x

    narrow, stretched = scene(columns), scene(columns / 2)
    inside = slice(20, 44)
    want = contrast.gradient_magnitude(jnp.asarray(narrow))[inside, 10:22]
    found = contrast.gradient_magnitude(jnp.asarray(stretched), aspect=jnp.float32(2))[inside, 20:44:2]
    np.testing.assert_allclose(found, want, rtol=0.02)
    muted = contrast.gradient_magnitude(jnp.asarray(stretched))[inside, 20:44:2]
    assert np.mean(muted) < 0.8 * np.mean(want)


def test_local_contrast_of_a_stretched_image_smooths_as_much_wider_across(image):
    def both_ways(plane, sigma):
        down = contrast.smoothing_matrix(plane.shape[0], sigma)
        across = contrast.smoothing_matrix(plane.shape[1], 1.5 * sigma)
        return down @ plane.astype(float) @ across.T

    deviation = image - both_ways(image, 3.2)
    want = deviation / np.sqrt(both_ways(deviation**2, 4.8) + 1)
    found = contrast.local_contrast(jnp.asarray(image), 3.2, 4.8, aspect=jnp.float32(1.5))
    np.testing.assert_allclose(found, want, atol=1e-4)
