"""HCFT against what its paper and released code say of it."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones, trackers
from jtrack.components.search_window import CentredWindow
from jtrack.errors import JtrackError
from jtrack.learning.correlation_filter import windowed_spectrum
from jtrack.learning.filter_grid import FixedGrid, TracedGrid
from jtrack.trackers import hcft
from jtrack.types import Frame, as_arrays
from jtrack.vision.resize import resize
from jtrack.vision.windows import gaussian_label

KEY = jax.random.key(0)
SIZE = (240, 320)
BOX = (140.0, 100.0, 40.0, 36.0)


def image(shift=(0, 0), seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    return np.roll(np.kron(coarse, np.ones((4, 4, 1), np.uint8)), shift, (0, 1))


def frame(pixels):
    return Frame(jnp.asarray(pixels), jnp.asarray(SIZE, jnp.int32))


def start(profile, box=BOX, backbone="tiny", changes=None, hyper=None):
    """A tracker after its first frame, changed in its config or numbers."""
    bound = trackers.create("hcft", profile=profile, backbone=backbone)
    config = dataclasses.replace(bound.config, **(changes or {})).for_target(box, SIZE)
    tracker = bound.factory(bound.backbone, config)
    params = bound.params | {"tracker": bound.params["tracker"]._replace(**(hyper or {}))}
    state = jax.jit(tracker.init)(params, KEY, frame(image()), jnp.asarray(box))
    return jax.jit(tracker.step), params, state


def test_the_window_rule_of_the_released_code():
    config = trackers.profile("hcft", "release2016", "vgg19").config
    # MotorRolling: 5 % of the frame, so twice the target; a tall target: 1.4 and 2.8 times.
    assert config.for_target((0, 0, 122, 125), (360, 640)).grid == (62, 61)
    assert config.for_target((0, 0, 40, 100), (720, 1280)).grid == (140 // 4, 112 // 4)
    assert config.for_target((0, 0, 40, 36), (240, 320)).grid == (100 // 4, 112 // 4)
    # sqrt(122 * 125) * 0.1 / 4 cells
    label = np.asarray(gaussian_label((62, 61), 3.087))
    bound = trackers.profile("hcft", "release2016", "vgg19").hyper
    width = float(bound.label_width) * np.sqrt(122 * 125) / 4
    assert width == pytest.approx(3.087, abs=1e-3)
    assert label[1, 0] == pytest.approx(np.exp(-1 / (2 * width**2)), rel=1e-3)


def test_the_scale_patch_of_the_released_code():
    config = trackers.profile("hcft", "release2018", "vgg19").config.for_target((0, 0, 60, 60), (480, 640))
    assert config.scale is not None and config.scale.size == (22, 22)


@pytest.mark.parametrize("profile", ["paper", "release2016"])
def test_a_moved_target_is_found_to_the_pixel_on_the_lattice(profile):
    step, params, state = start(profile)
    for rows, columns in [(8, -4), (-12, 16), (0, 20)]:
        _, output = step(params, state, frame(image((rows, columns))))
        np.testing.assert_allclose(output.box, np.add(BOX, [columns, rows, 0, 0]), atol=1e-3)


def test_default_finds_a_moved_target_within_a_pixel():
    step, params, state = start("default")
    for rows, columns in [(3, -5), (-7, 2)]:
        _, output = step(params, state, frame(image((rows, columns))))
        np.testing.assert_allclose(output.box[:2], np.add(BOX[:2], [columns, rows]), atol=1.0)


@pytest.mark.parametrize("profile", ["paper", "release2016"])
def test_without_scale_the_size_never_changes(profile):
    step, params, state = start(profile)
    for t in range(4):
        state, output = step(params, state, frame(image((2 * t, t))))
        np.testing.assert_array_equal(output.box[2:], BOX[2:])


def test_a_growing_target_grows_the_box():
    step, params, state = start("default")
    centre = (BOX[0] + BOX[2] / 2 - 0.5, BOX[1] + BOX[3] / 2 - 0.5)
    sizes = []
    for t in range(1, 11):
        matrix = cv2.getRotationMatrix2D(centre, 0, 1.02**t)
        state, output = step(params, state, frame(cv2.warpAffine(image(), matrix, SIZE[::-1])))
        sizes.append(float(output.box[2]) / BOX[2])
    assert sizes[-1] == pytest.approx(1.02**10, rel=0.06)


def test_a_learning_rate_of_zero_freezes_the_model_bitwise():
    zero = {"learning_rate": np.float32(0), "scale_learning_rate": np.float32(0)}
    step, params, state = start("release2018", hyper=zero)
    before = jax.tree.map(np.asarray, (state.filters, state.scale_filter))
    state, _ = step(params, state, frame(image((4, 4))))
    for a, b in zip(
        jax.tree.leaves(before), jax.tree.leaves((state.filters, state.scale_filter)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_learning_rate_of_one_equals_training_anew():
    step, params, state = start("release2016", hyper={"learning_rate": np.float32(1)})
    moved = image((8, 4))
    state, output = step(params, state, frame(moved))
    bound = trackers.create("hcft", profile="release2016", backbone="tiny")
    tracker = bound.factory(bound.backbone, bound.config.for_target(BOX, SIZE))
    fresh = tracker.init(bound.params, KEY, frame(moved), output.box)
    for a, b in zip(jax.tree.leaves(state.filters), jax.tree.leaves(fresh.filters), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


def test_what_each_combination_is_invariant_to():
    rng = np.random.default_rng(0)
    responses = jnp.asarray(rng.random((3, 12, 10)).astype(np.float32))
    louder = responses * jnp.asarray([1.0, 50.0, 1.0])[:, None, None]
    weights = jnp.asarray([1.0, 0.5, 0.02])

    def read(combination, maps):
        return combination.combine(maps, weights, 1000.0, FixedGrid((12, 10)))

    normalised, plain, fine = hcft.NormalisedSum(), hcft.WeightedSum(), hcft.CoarseToFine()
    np.testing.assert_allclose(read(normalised, louder)[0], read(normalised, responses)[0], rtol=1e-5)
    assert not np.allclose(read(plain, louder)[0], read(plain, responses)[0])
    # With an endless radius equation 5 is the plain weighted sum.
    np.testing.assert_array_equal(read(fine, responses)[1], read(plain, responses)[1])


def test_coarse_to_fine_stays_within_the_radius():
    responses = np.zeros((2, 12, 12), np.float32)
    responses[0, 2, 2] = 1.0
    responses[1, 3, 2], responses[1, 8, 8] = 3.0, 100.0
    weights = jnp.asarray([1.0, 0.5])
    for grid in FixedGrid((12, 12)), TracedGrid((12, 12), jnp.asarray((12, 12))):
        _, displacement = hcft.CoarseToFine().combine(jnp.asarray(responses), weights, 2.0, grid)
        np.testing.assert_array_equal(displacement, [3, 2])


@pytest.mark.slow
def test_eight_targets_of_different_sizes_equal_eight_single_runs():
    bound = trackers.create("hcft", backbone="tiny")
    tracker = bound.functions(BOX, SIZE)
    boxes = jnp.asarray([(20.0 + 30 * k, 30.0 + 20 * k, 16.0 + 4 * k, 40.0 - 3 * k) for k in range(8)])
    init = jax.jit(jax.vmap(tracker.init, in_axes=(None, None, None, 0)))
    step = jax.jit(jax.vmap(tracker.step, in_axes=(None, 0, None)))
    states = init(bound.params, KEY, frame(image()), boxes)
    lanes = []
    for t in range(1, 4):
        states, output = step(bound.params, states, frame(image((t, -2 * t))))
        lanes.append(output.box)
    single_init, single_step = jax.jit(tracker.init), jax.jit(tracker.step)
    for k, box in enumerate(boxes):
        state = single_init(bound.params, KEY, frame(image()), box)
        for t in range(1, 4):
            state, output = single_step(bound.params, state, frame(image((t, -2 * t))))
            np.testing.assert_allclose(lanes[t - 1][k], output.box, atol=0.02)


@pytest.mark.parametrize("profile", list(hcft.PROFILES))
def test_every_profile_names_taps_that_exist(profile):
    for name in trackers.networks("hcft"):
        layers = {tap for group in trackers.profile("hcft", profile, name).config.layers for tap in group}
        backbone = backbones.get(name)
        assert layers <= set(backbone.layers), name


def read_out(tracker, shifts):
    """The last soft read-out after an init and some steps, as a function of what may be learnt."""

    def smooth(shift):
        # Between the pixels of a crop a blocky image has kinks, which a difference quotient stumbles on.
        return frame(cv2.GaussianBlur(image(shift).astype(np.float32), (0, 0), 4))

    first, rest = smooth((0, 0)), [smooth(shift) for shift in shifts]

    @jax.jit
    def run(backbone, hyper):
        params = {"backbone": backbone, "tracker": hyper}
        state = tracker.init(params, KEY, first, jnp.asarray(BOX))
        for seen in rest:
            state, output = tracker.step(params, state, seen)
        return output.box[0]

    return run


def assert_slope(slope, function, step, relative):
    """A slope at 0 against a central difference."""
    quotient = float(function(step) - function(-step)) / (2 * step)
    assert abs(slope) > 0.1, "too flat to tell in float32"
    assert slope == pytest.approx(quotient, rel=relative)


@pytest.mark.slow
def test_gradients_through_init_and_steps_agree_with_finite_differences():
    bound = trackers.create("hcft", profile="release2018", backbone="tiny")
    config = dataclasses.replace(
        bound.config,
        grid=(24, 24),
        window=CentredWindow(),
        localisation="soft",
        scale=None,
        input_size=(96, 96),
    )
    run = read_out(bound.factory(bound.backbone, config), [(3, -4), (5, -6), (7, -9)])
    weights = bound.params["backbone"]
    hyper = as_arrays(
        hcft.Hyper(layer_weights=(1.0, 0.5, 0.25), regularisation=0.1, learning_rate=0.1, temperature=0.2)
    )
    gradient, gradient_of_numbers = jax.grad(run, argnums=(0, 1))(weights, hyper)
    directions = {
        "layer_weights": np.array([0, 1, 0], np.float32),
        "regularisation": hyper.regularisation,
        "label_width": hyper.label_width,
        "learning_rate": hyper.learning_rate,
    }
    for name, direction in directions.items():

        def along_number(t, *, name=name, direction=direction):
            moved = getattr(hyper, name) + np.float32(t) * direction
            return run(weights, hyper._replace(**{name: moved}))

        slope = float(np.sum(getattr(gradient_of_numbers, name) * direction))
        assert_slope(slope, along_number, 3e-3, 0.02)

    # Each kernel along its gradient. ReLUs and pooling bend the maps in the weights: the step is small.
    for layer in ("conv1_2", "conv2_2", "conv3_4", "conv4_4"):
        kernel, slopes = (np.asarray(tree[layer]["kernel"]) for tree in (weights, gradient))
        direction = slopes / np.linalg.norm(slopes)

        def along_kernel(t, *, layer=layer, kernel=kernel, direction=direction):
            moved = kernel + np.float32(t) * direction
            return run(weights | {layer: weights[layer] | {"kernel": moved}}, hyper)

        assert_slope(float(np.sum(slopes * direction)), along_kernel, 1e-3, 0.05)


@pytest.mark.parametrize("grid", [(24, 24), (19, 26), (5, 6)])
def test_the_folded_spectrum_equals_resize_window_and_transform(grid):
    maps = np.random.default_rng(0).normal(size=(9, 12, 5)).astype(np.float32)
    enlarged = np.asarray(resize(jnp.asarray(maps), grid, method="imresample"), np.float64)
    tapered = enlarged * np.outer(np.hanning(grid[0]), np.hanning(grid[1]))[..., None]
    want = np.moveaxis(np.fft.rfft2(tapered, axes=(0, 1)), -1, 0)
    got = windowed_spectrum(jnp.asarray(maps), grid)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(("passes", "side"), [(hcft.TwoPasses(), 224), (hcft.OnePass(), 256)])
def test_a_scene_that_only_moves_is_followed(passes, side):
    """By what is cut from the region's maps as well as by a pass of its own, to a fraction of a cell."""
    changes = {"passes": passes, "input_size": (side, side), "scale": None}
    step, params, state = start("default", changes=changes)
    for shift in range(1, 7):
        state, output = step(params, state, frame(image((2 * shift, -3 * shift))))
    np.testing.assert_allclose(output.box, [140 - 18, 100 + 12, 40, 36], atol=1.0)


def test_one_pass_is_one_forward_pass_a_frame():
    """The network's convolutions in a step, by how many there are in the program."""

    def convolutions(passes):
        bound = trackers.create("hcft", backbone="tiny")
        config = dataclasses.replace(bound.config, passes=passes)
        tracker = bound.factory(bound.backbone, config)
        state = jax.eval_shape(tracker.init, bound.params, KEY, frame(image()), jnp.asarray(BOX))
        return jax.jit(tracker.step).lower(bound.params, state, frame(image())).as_text().count("convolution")

    assert 2 * convolutions(hcft.OnePass()) == convolutions(hcft.TwoPasses())


def test_an_unmoved_target_is_learnt_from_what_was_searched():
    passes, grid = hcft.OnePass(), FixedGrid((16, 16))
    maps = {"relu": jnp.asarray(np.random.default_rng(0).normal(size=(18, 18, 4)), jnp.float32)}
    window = jnp.float32([30, 20, 70, 70])
    learnt = passes.learnt(lambda _: {}, maps, passes.region(window), window, grid)
    np.testing.assert_allclose(learnt["relu"], passes.searched(maps["relu"], grid), atol=1e-3)


def test_a_region_holds_its_window():
    with pytest.raises(JtrackError, match=r"margin of a region is 0\.9"):
        hcft.OnePass(margin=0.9)


@pytest.mark.parametrize(("aspect", "ratio"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.25)])
def test_a_window_is_as_upright_as_it_is_told(aspect, ratio):
    """Its area is that of the square one: 2.8 x 2.8 targets of 20 x 80 pixels."""
    width, height = CentredWindow(aspect=aspect).size(jnp.float32([20, 80]), jnp.asarray(SIZE))
    assert width / height == pytest.approx(ratio, rel=1e-6)
    assert width * height == pytest.approx(2.8**2 * 20 * 80, rel=1e-6)


def test_a_window_is_no_wider_than_its_target():
    with pytest.raises(JtrackError, match=r"aspect of a search window is 1\.5: it must be from 0 to 1"):
        CentredWindow(aspect=1.5)


def test_as_many_components_as_channels_change_nothing():
    """They turn the features, and a filter of all of them is turned alike."""
    boxes = []
    for channels in (None, 9999):
        step, params, state = start("default", changes={"channels": channels, "scale": None})
        for shift in range(1, 4):
            state, output = step(params, state, frame(image((2 * shift, -shift))))
        boxes.append(output.box)
    np.testing.assert_allclose(boxes[1], boxes[0], atol=0.02)
