"""Turned windows against NumPy's quarter turns, OpenCV's warp and `crop`."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.types import Frame
from jtrack.vision.crop import crop
from jtrack.vision.rotation import crop_rotated

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (60, 80, 3), np.uint8)
turned = jax.jit(crop_rotated, static_argnames="size")


def on_canvas(pixels, canvas=(64, 96)):
    """What is beyond the valid part must never be seen."""
    full = np.full((*canvas, 3), 255, np.uint8)
    full[: pixels.shape[0], : pixels.shape[1]] = pixels
    return Frame(jnp.asarray(full), jnp.array(pixels.shape[:2], jnp.int32))


FRAME = on_canvas(PIXELS)


def test_quarter_turns_are_clockwise():
    window = jnp.array((20.0, 10.0, 30.0, 30.0))
    seen = PIXELS[10:40, 20:50]
    for quarters in range(4):
        found = turned(FRAME, window, (30, 30), quarters * np.pi / 2)
        np.testing.assert_allclose(found, np.rot90(seen, -quarters), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("window", "size"),
    [
        ((20.3, 10.6, 31.0, 24.5), (20, 28)),
        ((-8.0, 30.0, 40.0, 50.0), (20, 28)),
        ((20.3, 10.6, 7.0, 9.0), (84, 56)),
    ],
)
def test_without_a_turn_it_is_a_crop(window, size):
    """But, where pixels are enlarged, at the window's outermost half pixel of the frame."""
    found = turned(FRAME, jnp.array(window), size, 0.0)
    want = crop(FRAME, jnp.array(window), size)
    y, x = (
        int(np.ceil(max(out / length - 1, 0) / 2)) for out, length in zip(size, window[:1:-1], strict=True)
    )
    inner = slice(y, size[0] - y), slice(x, size[1] - x)
    np.testing.assert_allclose(found[inner], want[inner], rtol=0, atol=2e-2)
    assert (np.abs(found - want).max() > 1) == (size[0] > window[3])


@pytest.mark.parametrize("degrees", [-45, -10, 30, 170])
def test_any_turn_is_that_of_opencv(degrees):
    """A slim window resampled to a square one, partly outside the frame."""
    x, y, w, h = window = (45.0, 20.0, 24.0, 60.0)
    size = 48, 48
    found = turned(FRAME, jnp.array(window), size, np.radians(degrees))
    # From the result's pixels to the frame's: scaled to the window, turned back, moved to its middle.
    a = np.radians(-degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    scale = np.diag([w / size[1], h / size[0]])
    middle = np.array([x + w / 2, y + h / 2]) - 0.5
    matrix = np.column_stack([turn @ scale, middle - turn @ scale @ ((np.array(size[::-1]) - 1) / 2)])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = PIXELS.astype(np.float32)
    want = cv2.warpAffine(image, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    # OpenCV may round places to 1/32 of a pixel.
    assert np.abs(found - want).max() < 255 / 16 and np.abs(found - want).mean() < 2


def test_gradients_to_the_pixels_are_the_weights():
    """A crop is linear in the pixels; over the frame's corner, none of those beyond it has a weight."""
    window = jnp.array((60.0, 40.0, 30.0, 30.0))
    pixels = FRAME.pixels.astype(jnp.float32)

    def total(pixels):
        return crop_rotated(FRAME._replace(pixels=pixels), window, (9, 9), 0.4).sum()

    slope = jax.grad(total)(pixels)
    np.testing.assert_allclose((slope * pixels).sum(), total(pixels), rtol=1e-5)
    np.testing.assert_array_equal(slope[60:], 0)
    np.testing.assert_array_equal(slope[:, 80:], 0)
