"""Parts of filters without a network: features, search windows and the quality of a response."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.components import window_spectra
from jtrack.components.decisions import Hard
from jtrack.components.filter_features import GreyHog, Hog, HogAndGrey, LogGrey, SmoothHog
from jtrack.components.response_peak import BetweenCells, Height, SidelobeRatio, SoftPeak, WholeCell
from jtrack.components.search_window import PixelWindow, ScaledWindow
from jtrack.components.update import WhenFound
from jtrack.errors import JtrackError
from jtrack.learning.filter_grid import FixedGrid, TracedGrid, UpTo
from jtrack.types import Frame
from jtrack.vision.hog import fhog

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.float32)
GREY = IMAGE @ np.float32([0.299, 0.587, 0.114])


def test_features_are_histograms_and_grey_values():
    np.testing.assert_array_equal(Hog(4).describe(IMAGE), fhog(jnp.asarray(IMAGE)))
    np.testing.assert_allclose(GreyHog(4).describe(IMAGE), fhog(jnp.round(GREY)[..., None]), atol=1e-4)
    smooth = fhog(jnp.asarray(GREY)[..., None], shared=True)
    np.testing.assert_allclose(SmoothHog(4).describe(IMAGE), smooth, atol=1e-4)
    maps = np.asarray(HogAndGrey().describe(jnp.asarray(IMAGE)))
    assert maps.shape == (24, 32, 28)
    np.testing.assert_allclose(maps[..., 0], GREY / 255 - 0.5, atol=1e-5)
    np.testing.assert_array_equal(maps[..., 1:], fhog(jnp.asarray(IMAGE), cell=1)[..., :27])


def test_grey_values_are_of_mean_0_and_variance_1():
    maps = np.asarray(LogGrey().describe(jnp.asarray(IMAGE)))[..., 0]
    values = np.log(1 + GREY)
    np.testing.assert_allclose(maps, (values - values.mean()) / values.std(), atol=1e-4)
    even = LogGrey().describe(jnp.full((8, 8, 3), 90.0))  # rounding is not stretched to contrast
    np.testing.assert_allclose(even, np.zeros((8, 8, 1)), atol=0.01)


@pytest.mark.parametrize("features", [Hog(4), GreyHog(4), HogAndGrey(), LogGrey()], ids=str)
def test_features_of_an_inner_part_are_those_of_that_part_alone(features):
    inner = jnp.asarray((16, 20), jnp.int32)
    found = np.asarray(features.describe(jnp.asarray(IMAGE), inner))
    rows, columns = 16 // features.cell, 20 // features.cell
    expected = features.describe(jnp.asarray(IMAGE[:16, :20]))
    np.testing.assert_allclose(found[:rows, :columns], expected, atol=2e-5)
    assert (found[rows:] == 0).all() and (found[:, columns:] == 0).all()


BOXES = [(204, 150, 17, 50), (30, 41, 26, 43), (116, 67, 122, 125), (10, 11, 99, 101), (9, 8, 131, 77)]


@pytest.mark.parametrize("box", BOXES)
def test_the_window_of_pixels_is_that_of_the_released_code(box):
    """Its arithmetic, which counts pixels from 1, as it is written there."""
    x, y, w, h = box
    position = np.array([y + 1, x + 1]) + np.floor(np.array([h, w]) / 2)
    target, unit = np.array([h, w]), 1
    if np.sqrt(w * h) >= 100:
        position, target, unit = np.floor(position / 2), np.floor(target / 2), 2
    size = np.floor(target * 2.5)
    first = [np.floor(position[axis]) + 1 - np.floor(size[axis] / 2) for axis in (0, 1)]

    rule, size_of_target = PixelWindow(), jnp.asarray((w, h), jnp.float32)
    centre = rule.first_centre(jnp.asarray(box, jnp.float32))
    np.testing.assert_array_equal(rule.patch(size_of_target), size)
    corner = [(value - 1) * unit for value in first[::-1]]
    np.testing.assert_array_equal(rule.window(centre, size_of_target), [*corner, *(size[::-1] * unit)])
    moved = rule.moved(centre, size_of_target, jnp.asarray((8.0, -4.0)), jnp.asarray(size), jnp.zeros(2))
    np.testing.assert_array_equal(moved - centre, [-4 * unit, 8 * unit])
    # A label: as many cells from the middle as the released code's, which are off by one where odd.
    grid = FixedGrid((int(size[0] // 4), int(size[1] // 4)))
    label = np.asarray(rule.label(size_of_target, 0.1, 4, jnp.asarray(size), grid))
    sigma = np.sqrt(target.prod()) * 0.1 / 4
    rows, columns = (np.arange(1, n + 1) - n // 2 for n in grid.size)
    written = np.exp(-0.5 / sigma**2 * (rows[:, None] ** 2 + columns[None, :] ** 2))
    shift = [1 - n // 2 for n in grid.size]
    np.testing.assert_allclose(label, np.roll(written, shift, (0, 1)), atol=1e-6)


def test_a_window_that_scales_is_around_the_target():
    rule, target = ScaledWindow(2.5), jnp.asarray((40.0, 20.0))
    np.testing.assert_allclose(rule.window(jnp.asarray((50.0, 60.0)), target), [0, 35, 100, 50])
    np.testing.assert_array_equal(rule.patch(target), [50, 100])
    frame_size = jnp.asarray((200, 300), jnp.int32)
    step = jnp.asarray((4.0, -8.0))  # pixels of a patch of half the window's size
    moved = rule.moved(jnp.asarray((50.0, 60.0)), target, step, jnp.asarray((25, 50)), frame_size)
    np.testing.assert_allclose(moved, [50 - 16, 60 + 8])
    label = rule.label(target, jnp.float32(0.1), 4, jnp.asarray((40, 160)), FixedGrid((10, 40)))
    np.testing.assert_allclose(label[0, 2], np.exp(-0.5 * (2 / (0.1 * 80 / 2.5 / 4)) ** 2), rtol=1e-5)
    with pytest.raises(JtrackError, match=r"padding of a search window is 0\.5: it must be at least 1"):
        ScaledWindow(0.5)


def test_a_peak_has_a_height_and_a_ratio_to_its_sidelobe():
    response = np.random.default_rng(1).normal(0, 0.1, (20, 17)).astype(np.float32)
    response[18, 3] = 2.0
    at, grid = jnp.asarray((-2.0, 3.0)), FixedGrid((20, 17))
    assert float(Height().measure(jnp.asarray(response), at, grid)) == 2
    rest = np.roll(response, (10 - 18, 8 - 3), (0, 1))
    rest[5:16, 3:14] = np.nan
    expected = (2 - np.nanmean(rest)) / np.nanstd(rest)
    found = float(SidelobeRatio().measure(jnp.asarray(response), at, grid))
    assert found == pytest.approx(expected, rel=1e-3)
    padded = jnp.zeros((32, 32)).at[:20, :17].set(response)
    traced = TracedGrid((32, 32), jnp.asarray((20, 17), jnp.int32))
    assert float(SidelobeRatio().measure(padded, at, traced)) == pytest.approx(found, rel=1e-4)


def test_a_peak_is_at_a_cell_or_between_cells():
    """Of a bump whose top is known."""
    rows, columns = (np.arange(16) - top for top in (5.3, 8.8))
    response = jnp.asarray(np.exp(-0.1 * (rows[:, None] ** 2 + columns[None, :] ** 2)), jnp.float32)
    grid = FixedGrid((16, 16))
    cell, between, soft = (
        np.asarray(part().displacement(response, grid, 0.05)) for part in (WholeCell, BetweenCells, SoftPeak)
    )
    np.testing.assert_array_equal(cell, [5, -7])
    np.testing.assert_allclose(between, [5.3, -7.2], atol=0.02)
    weights = np.exp(np.asarray(response, np.float64) / (0.05 * float(response.max())))
    signed = np.fft.fftfreq(16, 1 / 16)
    mean = np.array([weights.sum(1) @ signed, weights.sum(0) @ signed]) / weights.sum()
    np.testing.assert_allclose(soft, mean, atol=1e-4)


def test_a_lost_target_is_not_learnt():
    found, score = jnp.asarray([True, False]), jnp.float32(0.3)
    assert [float(WhenFound().weight(score, each, Hard())) for each in found] == [1, 0]


def test_windows_are_turned_and_scaled_about_their_centre():
    """Of an image of rings around the window's centre a turn changes nothing, and a scale moves the rings."""
    rows, columns = np.mgrid[:80, :80] + 0.5
    rings = 127 + 100 * np.cos(np.hypot(rows - 40, columns - 40) / 3)
    frame = Frame(jnp.asarray(np.repeat(rings[..., None], 3, -1), jnp.float32), jnp.asarray((80, 80)))
    window, key = jnp.asarray((20.0, 20.0, 40.0, 40.0)), jax.random.key(0)
    plain = window_spectra.cut(ScaledWindow(), (40, 40), jnp.zeros(2), frame, window)
    turned, scaled = (
        window_spectra.perturbed(key, 3, jnp.asarray(spread), frame, window, (40, 40))
        for spread in ((1.0, 0.0), (0.0, 0.3))
    )
    assert np.abs(np.asarray(turned) - np.asarray(plain)).max() < 12
    assert np.abs(np.asarray(scaled) - np.asarray(plain)).max() > 50


def test_a_traced_size_gives_the_spectrum_of_a_static_one():
    pixels = jnp.asarray(np.random.default_rng(2).integers(0, 256, (60, 70, 3)), jnp.float32)
    frame, window = Frame(pixels, jnp.asarray((60, 70))), jnp.asarray((7.0, 9.0, 36.0, 28.0))
    patch, spectra = jnp.asarray((28, 36), jnp.int32), []
    for size in ((28, 36), UpTo((48, 48))):
        image = window_spectra.cut(PixelWindow(), size, patch, frame, window)
        grid = window_spectra.grid_of(size, patch, 4)
        spectra.append(window_spectra.spectrum(GreyHog(4), image, grid, patch)[:, :7, :5])
    np.testing.assert_allclose(*spectra, atol=1e-3)
