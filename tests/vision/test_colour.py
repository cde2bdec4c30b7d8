import colorsys

import cv2
import jax
import numpy as np

from jtrack.vision import colour

RGB = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


def test_grey_is_opencv_before_rounding():
    expected = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
    assert np.abs(colour.grey(RGB) - expected.astype(np.float32)).max() <= 0.51


def test_hsv_is_colorsys():
    extremes = np.array(
        [[0, 0, 0], [255, 255, 255], [255, 0, 0], [255, 0, 1], [0, 255, 0], [9, 9, 200]], np.uint8
    )
    pixels = np.concatenate([RGB.reshape(-1, 3), extremes])
    expected = [colorsys.rgb_to_hsv(*(pixel / 255.0)) for pixel in pixels]
    result = np.asarray(colour.hsv(pixels))
    np.testing.assert_allclose(result, expected, atol=2e-6)
    assert result[:, 0].max() < 1


def test_hsv_gradient_is_finite_on_grey_and_black():
    pixels = np.array([[0, 0, 0], [80, 80, 80], [255, 0, 0]], np.float32)
    assert np.isfinite(jax.jacobian(colour.hsv)(pixels)).all()


def test_bgr():
    np.testing.assert_array_equal(colour.bgr(RGB), cv2.cvtColor(RGB, cv2.COLOR_RGB2BGR))
