import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jtrack.errors import JtrackError
from jtrack.vision import windows


@pytest.mark.parametrize("n", [2, 3, 8, 33, 62])
def test_hann_is_symmetric_and_zero_at_both_ends(n):
    window = windows.hann(n)
    assert window[0] == window[-1] == 0
    np.testing.assert_allclose(window, scipy.signal.windows.hann(n, sym=True), atol=1e-7)


def test_hann_of_one_sample_passes_it():
    np.testing.assert_array_equal(windows.hann(1), [1])


def test_hann2d_is_the_outer_product():
    expected = np.outer(np.hanning(62), np.hanning(61))
    np.testing.assert_allclose(windows.hann2d((62, 61)), expected, atol=1e-7)


def release_label(size, sigma):
    """Offsets (1..M) - floor(M/2), then moved circularly until the zero offset is at index 0."""
    offsets = [np.arange(1, m + 1) - m // 2 for m in size]
    label = np.exp(-0.5 * (offsets[0][:, None] ** 2 + offsets[1][None] ** 2) / sigma**2)
    return np.roll(label, [-int(np.flatnonzero(o == 0)[0]) for o in offsets], (0, 1))


@pytest.mark.parametrize("size", [(62, 61), (5, 4), (7, 9), (8, 6)])
def test_release_label(size):
    label = windows.gaussian_label(size, 3.087, odd="release")
    assert label[0, 0] == 1
    np.testing.assert_allclose(label, release_label(size, 3.087), atol=1e-6)


@pytest.mark.parametrize("size", [(62, 61), (5, 4), (7, 9), (8, 6)])
def test_centred_label_is_symmetric_with_a_real_spectrum(size):
    label = windows.gaussian_label(size, 1.5)
    offsets = [np.fft.fftfreq(m, 1 / m) for m in size]
    expected = np.exp(-0.5 * (offsets[0][:, None] ** 2 + offsets[1][None] ** 2) / 1.5**2)
    np.testing.assert_allclose(label, expected, atol=1e-6)
    assert np.abs(np.fft.fft2(np.asarray(label, np.float64)).imag).max() < 1e-5


def test_only_odd_sizes_differ_and_have_a_complex_spectrum_in_the_release():
    even = [windows.gaussian_label((8, 6), 1.5, odd=odd) for odd in ("release", "centred")]
    np.testing.assert_array_equal(*even)
    spectrum = np.fft.fft2(np.asarray(windows.gaussian_label((7, 6), 1.5, odd="release")))
    assert np.abs(spectrum.imag).max() > 0.01


def test_sigma_may_be_traced_and_differentiated():
    def total(sigma):
        return windows.gaussian_label((9, 8), sigma).sum()

    step = 1e-2
    numeric = (total(2 + step) - total(2 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(jnp.float32(2)), numeric, rtol=1e-3)


def test_unknown_offsets_are_refused_with_a_hint():
    with pytest.raises(JtrackError, match=r"'relese'.*did you mean 'release'"):
        windows.gaussian_label((5, 5), 1.0, odd="relese")
