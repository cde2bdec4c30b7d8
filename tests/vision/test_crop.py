"""Crops of whole pixels against NumPy padding and `resize` (tested by itself), others in closed form."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jtrack.errors import JtrackError
from jtrack.types import Frame
from jtrack.vision.crop import crop, mean_colour
from jtrack.vision.resize import resize

RNG = np.random.default_rng(3)
HEIGHT, WIDTH = 50, 70
cut = jax.jit(crop, static_argnames=("size", "method", "border", "max_shrink"))
scaled = jax.jit(resize, static_argnames=("size", "method"))
PIXELS = RNG.integers(0, 200, (HEIGHT, WIDTH, 3), np.uint8)
METHODS = ("bilinear", "imresample", "bicubic")
WINDOWS = {
    "inside": (20, 10, 23, 17),
    "whole": (0, 0, 70, 50),
    "left": (-9, 10, 30, 20),
    "right": (50, 10, 35, 20),
    "top": (20, -11, 30, 31),
    "bottom": (20, 40, 30, 21),
    "corner": (-40, -30, 44, 33),
    "around": (-30, -20, 131, 97),
    "pixel": (33, 22, 1, 1),
    "outside left": (-200, 10, 40, 20),
    "outside below": (20, 300, 40, 20),
}


def on_canvas(pixels, canvas=(64, 96), outside=255):
    """A frame whose canvas is larger than its valid part and filled with what must never be read."""
    full = np.full((*canvas, 3), outside, pixels.dtype)
    full[: pixels.shape[0], : pixels.shape[1]] = pixels
    return Frame(jnp.asarray(full), jnp.array(pixels.shape[:2], jnp.int32))


def box(*values):
    return jnp.array(values, jnp.float32)


def numpy_window(window, border):
    """The window's pixels, cut out of a frame that np.pad has made large enough."""
    x, y, w, h = window
    pad = 400
    mode = "edge" if border == "edge" else "constant"
    padded = np.pad(PIXELS.astype(np.float32), ((pad, pad), (pad, pad), (0, 0)), mode=mode)
    if border == "mean":
        inside = np.pad(np.ones((HEIGHT, WIDTH, 1)), ((pad, pad), (pad, pad), (0, 0)))
        padded = np.where(inside > 0, padded, PIXELS.mean(axis=(0, 1), dtype=np.float64)).astype(np.float32)
    return padded[y + pad : y + pad + h, x + pad : x + pad + w]


@pytest.mark.parametrize("border", ["edge", "zero", "mean"])
@pytest.mark.parametrize("method", METHODS)
def test_window_of_whole_pixels_is_cut_then_resized(method, border):
    frame = on_canvas(PIXELS)
    for name, window in WINDOWS.items():
        result = cut(frame, box(*window), size=(24, 31), method=method, border=border)
        expected = scaled(numpy_window(window, border), size=(24, 31), method=method)
        np.testing.assert_allclose(result, expected, atol=5e-3, err_msg=name)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_bilinear_edge_is_opencv(window):
    expected = cv2.resize(numpy_window(window, "edge"), (224, 224), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(cut(on_canvas(PIXELS), box(*window), size=(224, 224)), expected, atol=5e-3)


@pytest.mark.parametrize("border", ["edge", "zero", "mean"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_outside_the_valid_part_is_read(method, border):
    """A canvas of NaN would show in the result even with a weight of zero."""
    pixels = PIXELS.astype(np.float32)
    poisoned, exact = (
        on_canvas(pixels, outside=np.nan),
        Frame(jnp.asarray(pixels), jnp.array([HEIGHT, WIDTH])),
    )
    for window in ((50.3, 31.8, 40.7, 33.1), (20.0, 10.0, 23.0, 17.0), (200.0, -90.0, 20.0, 10.0)):
        results = [
            cut(f, box(*window), size=(24, 31), method=method, border=border, max_shrink=3.0)
            for f in (poisoned, exact)
        ]
        np.testing.assert_allclose(*results, atol=1e-3)


RAMP = np.stack(np.broadcast_arrays(*np.ogrid[:HEIGHT, :WIDTH], 0), -1).astype(np.float32) + 0.5


@pytest.mark.parametrize(("method", "size"), [*((m, (40, 30)) for m in METHODS), ("bilinear", (5, 9))])
def test_samples_of_a_fractional_window_lie_where_the_convention_says(method, size):
    """Interpolation reads the coordinate off a ramp; samples that meet the window's border are left out."""
    x, y, w, h = window = (20.3, 11.7, 24.6, 18.9)
    result = cut(on_canvas(RAMP), box(*window), size=size, method=method)
    row, column = ((np.arange(n) + 0.5) * length / n for n, length in zip(size, (h, w), strict=True))
    margin = 2.5 if method == "bicubic" else 0.5
    keep_row, keep_column = (row > margin) & (row < h - margin), (column > margin) & (column < w - margin)
    assert min(keep_row.sum(), keep_column.sum()) >= 3
    np.testing.assert_allclose(result[keep_row, 0, 0], y + row[keep_row], atol=2e-4)
    np.testing.assert_allclose(result[0, keep_column, 1], x + column[keep_column], atol=2e-4)


def test_fractional_shrinking_averages_the_area():
    x, y, w, h = window = (-6.4, 5.3, 60.9, 41.2)
    result = cut(on_canvas(PIXELS), box(*window), size=(7, 9), method="imresample")

    def area_matrix(start, length, out, n):
        matrix = np.zeros((out, n))
        for j in range(out):
            begin, end = start + j * length / out, start + (j + 1) * length / out
            for i in range(-20, n + 20):
                part = max(min(end, i + 1) - max(begin, i), 0)
                matrix[j, min(max(i, 0), n - 1)] += part * out / length
        return matrix

    rows, columns = area_matrix(y, h, 7, HEIGHT), area_matrix(x, w, 9, WIDTH)
    expected = np.einsum("ih,hwc,jw->ijc", rows, PIXELS.astype(np.float64), columns)
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_fill_is_the_colour_outside():
    fill = jnp.array([10.0, 20.0, 30.0])
    result = cut(on_canvas(PIXELS), box(-300, 5, 20, 20), size=(6, 6), border="mean", fill=fill)
    np.testing.assert_allclose(result, np.tile(fill, (6, 6, 1)), rtol=1e-6)


def test_mean_colour_is_that_of_the_valid_part():
    np.testing.assert_allclose(mean_colour(on_canvas(PIXELS)), PIXELS.mean(axis=(0, 1)), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_truncated_kernel_still_averages(method):
    """Beyond `max_shrink` a crop samples too sparsely, but a flat frame stays flat and positions stay."""
    flat = on_canvas(np.full((HEIGHT, WIDTH, 3), 77.0, np.float32))
    result = cut(flat, box(0, 0, 70, 50), size=(5, 5), method=method, max_shrink=2.0)
    np.testing.assert_allclose(result, 77, rtol=1e-5)
    ramp = cut(on_canvas(RAMP), box(0, 0, 70, 50), size=(5, 5), method=method, max_shrink=2.0)
    np.testing.assert_allclose(ramp[1:-1, 0, 0], [15, 25, 35], atol=0.51)


@pytest.mark.parametrize("method", METHODS)
def test_vmap_over_windows_equals_the_loop(method):
    frame = on_canvas(PIXELS)
    windows = jnp.asarray(RNG.uniform([-20, -20, 5, 5], [60, 40, 60, 60], (9, 4)), jnp.float32)

    def cut_one(window):
        return cut(frame, window, size=(16, 12), method=method, border="zero", max_shrink=6.0)

    looped = np.stack([cut_one(window) for window in windows])
    np.testing.assert_allclose(jax.jit(jax.vmap(cut_one))(windows), looped, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inner", [(8, 8), (20, 9), (24, 32)])
def test_the_inner_part_is_the_crop_of_that_size(method, inner):
    frame = on_canvas(PIXELS)
    for window in (box(-5, 3, 41, 37), box(60, 20, 11.5, 7)):  # shrunk and enlarged
        want = cut(frame, window, size=inner, method=method, max_shrink=8.0)
        got = cut(frame, window, size=(24, 32), method=method, max_shrink=8.0, inner=jnp.asarray(inner))
        np.testing.assert_allclose(got[: inner[0], : inner[1]], want, atol=1e-3)
        assert np.isfinite(got).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_compilation_serves_all_windows_and_frame_sizes(method):
    traces = []

    @jax.jit
    def traced(frame, window):
        traces.append(method)
        return crop(frame, window, (16, 12), method=method, border="mean")

    for size in ((HEIGHT, WIDTH), (30, 41)):
        for window in WINDOWS.values():
            assert np.isfinite(traced(on_canvas(PIXELS[: size[0], : size[1]]), box(*window))).all()
    assert len(traces) == 1


def smooth_image():
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 10.0
    return (np.stack([np.sin(x + y), np.cos(1.3 * x), np.sin(0.7 * y)], -1) * 3).astype(np.float32)


@pytest.mark.parametrize("border", ["edge", "mean"])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_with_respect_to_pixels(method, border):
    """The crop is linear in the pixels, so a finite difference of any length is exact."""
    size = jnp.array([20, 30], jnp.int32)

    @jax.jit
    def linear(pixels):
        window = box(-3.3, 4.2, 21.7, 18.1)
        return crop(Frame(pixels, size), window, (12, 14), method=method, border=border, max_shrink=1.6)

    check_grads(linear, (jnp.asarray(smooth_image()[:24, :32]),), order=1, modes=["rev"], eps=1, rtol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_of_the_window_on_a_ramp(method):
    """An interpolated sample lies at y + (i + 0.5) h / n, so its derivatives are 1 and (i + 0.5) / n."""
    frame = on_canvas(RAMP)

    def column(window):
        return crop(frame, window, (24, 24), method=method, max_shrink=1.0)[:, 12, 0]

    jacobian = jax.jit(jax.jacobian(column))(box(20.3, 11.7, 20.6, 18.9))
    inner = slice(4, -4) if method == "bicubic" else slice(1, -1)
    np.testing.assert_allclose(jacobian[inner, 1], 1, atol=1e-4)
    np.testing.assert_allclose(jacobian[inner, 3], ((np.arange(24) + 0.5) / 24)[inner], atol=1e-4)
    np.testing.assert_allclose(jacobian[inner][:, [0, 2]], 0, atol=1e-4)


@pytest.mark.parametrize("size", [(12, 12), (40, 36)])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_of_the_window(method, size):
    frame, weights = on_canvas(smooth_image()), RNG.normal(size=(*size, 3)).astype(np.float32)

    @jax.jit
    def read(window):
        return jnp.mean(crop(frame, window, size, method=method, max_shrink=3.0) * weights)

    window, step = box(12.34, 8.19, 31.7, 33.3), 4e-3
    numeric = [(read(window + d) - read(window - d)) / (2 * step) for d in np.eye(4, dtype=np.float32) * step]
    gradient = jax.jit(jax.grad(read))(window)
    np.testing.assert_allclose(gradient, numeric, rtol=2e-2, atol=2e-2 * np.abs(numeric).max())


def test_wrong_arguments_are_refused():
    frame = on_canvas(PIXELS)
    with pytest.raises(JtrackError, match=r"unknown border rule 'edges': did you mean 'edge'"):
        crop(frame, box(0, 0, 5, 5), (5, 5), border="edges")
    with pytest.raises(JtrackError, match=r"unknown resampling method 'area'"):
        crop(frame, box(0, 0, 5, 5), (5, 5), method="area")
    with pytest.raises(JtrackError, match=r"output size \(0, 5\) is not allowed"):
        crop(frame, box(0, 0, 5, 5), (0, 5))
