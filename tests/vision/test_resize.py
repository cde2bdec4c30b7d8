import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.errors import JtrackError
from jtrack.vision.resize import METHODS, resample_matrix, resize

RNG = np.random.default_rng(2)
IMAGE = RNG.uniform(0, 255, (37, 52, 3)).astype(np.float32)
SIZES = [(37, 52), (37, 80), (20, 52), (90, 131), (74, 104), (12, 17), (50, 9), (1, 1)]


def separable(image, size, matrix):
    """Applies [out, in] matrices of both axes in float64."""
    rows, columns = matrix(image.shape[0], size[0]), matrix(image.shape[1], size[1])
    return np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float64), columns)


def imresample_matrix(n, out):
    """Facts of imResample, a loop over samples: bilinear when enlarging, fractional areas when shrinking."""
    matrix = np.zeros((out, n))
    for j in range(out):
        if out < n:
            begin, end = j * n / out, (j + 1) * n / out
            for i in range(n):
                part = min(end, i + 1) - max(begin, i)
                if part > 1e-3:
                    matrix[j, i] += part * out / n
        else:
            position = (j + 0.5) * n / out - 0.5
            for i, weight in (
                (math.floor(position), 1 - position % 1),
                (math.floor(position) + 1, position % 1),
            ):
                matrix[j, min(max(i, 0), n - 1)] += weight
    return matrix


def bicubic_matrix(n, out):
    """MATLAB's imresize, 1-based: Keys' kernel stretched to shrink, indices mirrored, rows sum to one."""

    def kernel(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    scale = out / n
    squeeze = min(scale, 1)
    width = 4 / squeeze
    mirror = [*range(1, n + 1), *range(n, 0, -1)]
    matrix = np.zeros((out, n))
    for j in range(1, out + 1):
        u = j / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(u - width / 2)
        taps = [(left + k, squeeze * kernel(squeeze * (u - left - k))) for k in range(math.ceil(width) + 2)]
        total = sum(weight for _, weight in taps)
        for i, weight in taps:
            matrix[j - 1, mirror[(i - 1) % (2 * n)] - 1] += weight / total
    return matrix


@pytest.mark.parametrize("size", SIZES)
def test_bilinear_is_opencv_inter_linear(size):
    result = resize(jnp.asarray(IMAGE), size, method="bilinear")
    expected = cv2.resize(IMAGE, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(result, expected, atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_imresample_is_its_definition(size):
    expected = separable(IMAGE, size, imresample_matrix) / (1 + 1e-6)
    np.testing.assert_allclose(resize(jnp.asarray(IMAGE), size, method="imresample"), expected, atol=2e-4)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_imresample_is_opencv_inter_area_at_whole_factors(factor):
    image = IMAGE[:36, :48]
    size = (36 // factor, 48 // factor)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(resize(jnp.asarray(image), size, method="imresample"), expected, atol=5e-4)


def test_imresample_chooses_for_each_axis():
    expected = cv2.resize(IMAGE, (52, 74), interpolation=cv2.INTER_LINEAR).reshape(74, 26, 2, 3).mean(axis=2)
    np.testing.assert_allclose(resize(jnp.asarray(IMAGE), (74, 26), method="imresample"), expected, atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_bicubic_is_matlab_imresize(size):
    expected = separable(IMAGE, size, bicubic_matrix)
    np.testing.assert_allclose(resize(jnp.asarray(IMAGE), size, method="bicubic"), expected, atol=3e-4)


@pytest.mark.parametrize("size", [(90, 131), (12, 17)])
def test_bicubic_away_from_the_border_is_jax_image_cubic(size):
    expected = jax.image.resize(jnp.asarray(IMAGE), (*size, 3), "cubic")
    inner = (slice(4, -4), slice(4, -4))
    result = resize(jnp.asarray(IMAGE), size, method="bicubic")
    np.testing.assert_allclose(result[inner], expected[inner], atol=1e-2)


@pytest.mark.parametrize("method", ["bilinear", "imresample", "bicubic"])
def test_leading_dimensions_and_channels_are_independent(method):
    maps = RNG.normal(size=(2, 3, 14, 15, 5)).astype(np.float32)
    result = resize(jnp.asarray(maps), (31, 6), method=method)
    for i in range(2):
        for c in range(5):
            single = resize(jnp.asarray(maps[i, 1, ..., c : c + 1]), (31, 6), method=method)
            np.testing.assert_array_equal(result[i, 1, ..., c : c + 1], single)


@pytest.mark.parametrize("method", ["bilinear", "imresample", "bicubic"])
def test_whole_numbers_become_float(method):
    image = IMAGE.astype(np.uint8)
    result = resize(jnp.asarray(image), (20, 90), method=method)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(
        result, resize(jnp.asarray(image.astype(np.float32)), (20, 90), method=method)
    )


@pytest.mark.parametrize("method", ["bilinear", "imresample", "bicubic"])
def test_gradient_is_the_transpose(method):
    """<R x, y> = <x, R^T y>, with R^T from the gradient."""
    image, weights = IMAGE[..., :1] - 100, RNG.normal(size=(50, 20, 1)).astype(np.float32)

    def product(x):
        return jnp.vdot(resize(x, (50, 20), method=method), weights, precision="highest")

    transposed = jax.grad(product)(jnp.zeros_like(image))
    np.testing.assert_allclose(np.vdot(transposed, image), product(jnp.asarray(image)), rtol=1e-4)


def test_wrong_arguments_are_refused():
    with pytest.raises(JtrackError, match=r"resampling method 'bicubik': did you mean 'bicubic'"):
        resize(jnp.asarray(IMAGE), (5, 5), method="bicubik")
    for size in ((0, 5), (5, 5, 3), (2.5, 3)):
        with pytest.raises(JtrackError, match=r"output size .* is not allowed"):
            resize(jnp.asarray(IMAGE), size, method="bilinear")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "out"), [(7, 19), (19, 7), (12, 12)])
def test_the_matrix_of_an_axis_does_what_resize_does(method, n, out):
    maps = np.random.default_rng(0).random((n, n, 2)).astype(np.float32)
    matrix = resample_matrix(n, out, method=method)
    want = np.einsum("ij,jkc,lk->ilc", matrix, maps, matrix)
    np.testing.assert_allclose(resize(jnp.asarray(maps), (out, out), method=method), want, atol=1e-5)
