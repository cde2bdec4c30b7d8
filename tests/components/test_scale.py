"""The size of a target whose place is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.components import scale
from jtrack.components.scale import Pyramid, ReleasedScales, SmoothPyramid, released_size
from jtrack.learning.filter_grid import UpTo
from jtrack.types import Frame
from jtrack.vision.crop import crop

SIZE = (120, 150)
BOX = jnp.asarray((50.0, 40.0, 30.0, 24.0))
RATES = scale.Rates(regularisation=0.01, learning_rate=0.025)


def scene():
    cells = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.float32)
    return Frame(jnp.asarray(np.kron(cells, np.ones((5, 5, 1)))), jnp.asarray(SIZE, jnp.int32))


def zoomed(factor):
    """The scene, larger by a factor about the target's centre."""
    centre = np.asarray(BOX[:2] + BOX[2:] / 2)
    window = np.array([*(centre - centre / factor), SIZE[1] / factor, SIZE[0] / factor], np.float32)
    return Frame(crop(scene(), jnp.asarray(window), SIZE), jnp.asarray(SIZE, jnp.int32))


@pytest.fixture(scope="module", params=[Pyramid(), SmoothPyramid()], ids=["nearest", "shared"])
def begun(request):
    """A filter on the scene, and the function that follows."""
    search = request.param
    return scale.begin(search, scene(), BOX), jax.jit(lambda *args: scale.follow(search, *args, RATES))


@pytest.mark.slow
@pytest.mark.parametrize("step", [1.02, 1 / 1.02])
def test_it_follows_a_target_that_grows_or_shrinks(begun, step):
    (model, follow), box = begun, BOX
    yes, no = jnp.asarray(True), jnp.asarray(False)
    for t in range(1, 9):
        box, model = follow(model, zoomed(step**t), box, yes)
        for kept, was in zip(follow(model, zoomed(2.0), box, no), (box, model), strict=True):
            jax.tree.map(np.testing.assert_array_equal, kept, was)
    np.testing.assert_allclose(box[2:] / BOX[2:], step**8, rtol=0.03)
    np.testing.assert_allclose(box[:2] + box[2:] / 2, BOX[:2] + BOX[2:] / 2, atol=1e-4)


def test_a_target_that_stays_keeps_its_size(begun):
    model, follow = begun
    box, _ = follow(model, scene(), BOX, jnp.asarray(True))
    np.testing.assert_allclose(box, BOX, rtol=1e-5)


def test_damping_makes_a_share_of_the_change():
    model = scale.begin(Pyramid(), scene(), BOX)
    whole, part = (
        scale.follow(Pyramid(), model, zoomed(1.1), BOX, jnp.asarray(True), RATES._replace(damping=damping))[
            0
        ]
        for damping in (1.0, 0.3)
    )
    assert float(whole[2]) > 1.05 * float(BOX[2])
    np.testing.assert_allclose(jnp.log(part[2] / BOX[2]) / jnp.log(whole[2] / BOX[2]), 0.3, rtol=1e-3)


@pytest.mark.parametrize(
    "box", [(60.0, 50.0, 2.0, 2.0), (0.0, 0.0, 150.0, 120.0), (-80.0, 0.0, 300.0, 240.0)]
)
@pytest.mark.parametrize("damping", [50.0, -50.0])
def test_sizes_neither_vanish_nor_outgrow_the_frame(box, damping):
    """However large a change is asked for: here the fiftieth power of what is found."""
    box = jnp.asarray(box)
    model = scale.begin(Pyramid(), scene(), jnp.asarray((50.0, 40.0, 30.0, 24.0)))
    found, _ = scale.follow(
        Pyramid(), model, zoomed(1.1), box, jnp.asarray(True), RATES._replace(damping=damping)
    )
    assert (found[2:] >= jnp.minimum(2, box[2:]) - 1e-4).all()
    assert (found[2:] <= jnp.maximum(jnp.asarray((150.0, 120.0)), box[2:]) + 1e-3).all()


@pytest.mark.parametrize("damping", [50.0, -50.0])
def test_an_absurd_change_ends_at_the_limits(damping):
    model = scale.begin(Pyramid(), scene(), BOX)
    found, _ = scale.follow(
        Pyramid(), model, zoomed(1.1), BOX, jnp.asarray(True), RATES._replace(damping=damping)
    )
    # 30 x 24: up to the frame's 150 x 120, down to 2 pixels of the shorter side.
    wanted = (150.0, 120.0) if damping > 0 else (2.5, 2.0)
    np.testing.assert_allclose(found[2:], wanted, rtol=1e-4)


def test_traced_patches_have_the_size_of_the_released_code():
    sides = np.arange(2, 400, 7)
    targets = np.stack(np.meshgrid(sides, sides), -1).reshape(-1, 2)
    found = jax.jit(jax.vmap(released_size))(jnp.asarray(targets, jnp.float32))
    np.testing.assert_array_equal(found, [ReleasedScales().for_target(target).size for target in targets])


@pytest.mark.parametrize("target", [(30, 24), (17, 51), (10, 9), (80, 40)])
def test_scales_of_a_traced_size_learn_and_find_what_those_of_the_same_static_size_do(target):
    frames = [np.asarray(frame.pixels, np.float64) for frame in (scene(), zoomed(1.1))]
    # In float32 a pixel near a half may be rounded to another grey in one of the two programs.
    with jax.enable_x64(True):
        first, larger = (Frame(jnp.asarray(pixels), jnp.asarray(SIZE, jnp.int32)) for pixels in frames)
        centre, target = jnp.asarray((65.0, 52.0)), np.float64(target)

        def found(scales, target):
            search, sides = scales.of(target), scales.sides(target, jnp.ones(()))
            model = scale.learn(search, first, centre, sides)
            return model.denominator, *scale.estimate(search, model, larger, centre, sides, 0.01)

        traced, fixed = ReleasedScales(size=UpTo((48, 32))), ReleasedScales().for_target(target)
        got, want = (jax.jit(functools.partial(found, scales))(target) for scales in (traced, fixed))
        for one, other in zip(got, want, strict=True):
            assert one.dtype == np.float64
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_scales_for_lanes_hold_the_largest_patch():
    # Patches of 22 x 22 and of 11 x 45 pixels.
    targets = jnp.asarray([(60.0, 60.0), (20.0, 102.0)])
    assert [ReleasedScales().for_target(np.asarray(target)).size for target in targets] == [
        (22, 22),
        (44, 11),
    ]
    assert ReleasedScales().for_lanes(targets).size == UpTo((48, 32))
    assert Pyramid().for_lanes(targets) == Pyramid()
