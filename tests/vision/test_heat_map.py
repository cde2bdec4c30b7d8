"""Heat maps and what boxes contain of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.vision import grid, heat_map


def test_a_target_is_one_in_the_middle_and_drops_to_zero_at_its_border():
    box = jnp.asarray([20.0, 40.0, 60.0, 30.0])
    heat = np.asarray(heat_map.gaussian(box, (101, 121)))
    inside = np.zeros(heat.shape, bool)
    inside[40:70, 20:80] = True
    assert (heat[~inside] == 0).all() and (heat[inside] > 0).all()
    assert heat.max() == pytest.approx(1, abs=2e-3)
    # At the border itself; a sample is half a cell inside.
    plain = heat_map.gaussian(jnp.asarray([0.0, 0.0, 3001.0, 3001.0]), (3001, 1))
    assert float(plain[0, 0] / plain[1500, 0]) == pytest.approx(np.exp(-1.125), abs=1e-3)
    wide = np.asarray(heat_map.gaussian(jnp.asarray([0.0, 0.0, 601.0, 601.0]), (601, 601)))
    assert wide[0, 300] == pytest.approx(0.325, abs=3e-3)
    assert wide[0, 0] == pytest.approx(0.105, abs=3e-3)
    whole = np.asarray(heat_map.gaussian(box, (101, 121), edge=math.inf))
    np.testing.assert_array_equal(whole[inside], heat[inside])
    assert (whole > 0).mean() > 0.9


def test_a_resampled_target_keeps_its_volume_whatever_its_place():
    volume = (np.sqrt(2 * np.pi) / 3 * 0.8663856) ** 2  # of the unit box, by the error function
    for x in (10.0, 10.3, 10.7):
        heat = heat_map.resampled_gaussian(jnp.asarray([x, 9.4, 8.0, 12.0]), (32, 32))
        assert float(heat.sum()) == pytest.approx(volume * 96, rel=0.01)


def test_boxes_on_a_map_are_in_its_cells():
    region = jnp.asarray([100.0, 50.0, 80.0, 40.0])
    got = grid.to_cells(jnp.asarray([[120.0, 60.0, 20.0, 10.0], [100.0, 50.0, 80.0, 40.0]]), region, (20, 40))
    np.testing.assert_allclose(got, [[10, 5, 10, 5], [0, 0, 40, 20]])
    np.testing.assert_allclose(grid.to_cells(region, region, (20, 40)), [0, 0, 40, 20])


def test_heat_inside_boxes_is_the_sum_of_their_cells():
    heat = np.random.default_rng(0).random((12, 15)).astype(np.float32)
    boxes = np.array(
        [[2, 3, 4, 5], [0, 0, 15, 12], [-3, -2, 6, 6], [14, 11, 5, 5], [20, 20, 3, 3]], np.float32
    )
    want = [heat[3:8, 2:6].sum(), heat.sum(), heat[:4, :3].sum(), heat[11, 14], 0]
    np.testing.assert_allclose(heat_map.inside_sums(jnp.asarray(heat), jnp.asarray(boxes)), want, rtol=1e-5)
    # A cell counts by the part that is covered.
    part = heat_map.inside_sums(jnp.asarray(heat), jnp.asarray([[4.25, 6.0, 0.5, 1.5]]))
    np.testing.assert_allclose(part, 0.5 * heat[6, 4] + 0.25 * heat[7, 4], rtol=1e-5)


@pytest.mark.parametrize("exponent", [0.7, 0.75, 1.0])
def test_the_score_of_a_perfect_map_is_largest_at_the_target(exponent):
    """1 in a box of area A: a^p for a concentric box of area a <= A, A a^(p - 1) for a larger one."""
    heat = np.zeros((64, 64), np.float32)
    heat[16:48, 16:48] = 1
    sides = np.array([8, 16, 24, 31, 32, 33, 40, 56], np.float32)
    boxes = np.stack([32 - sides / 2, 32 - sides / 2, sides, sides], -1)
    _, scores = heat_map.candidate_scores(jnp.asarray(heat), jnp.asarray(boxes), exponent)
    area, target = sides**2, 32**2
    np.testing.assert_allclose(
        scores, np.where(area <= target, area**exponent, target * area ** (exponent - 1)), rtol=1e-4
    )
    if exponent < 1:
        assert int(jnp.argmax(scores)) == 4
    else:
        np.testing.assert_allclose(scores[4:], target, rtol=1e-5)


def test_the_confidence_is_the_mean_inside_and_smooth_in_the_box():
    heat = heat_map.gaussian(jnp.asarray([10.0, 10.0, 20.0, 20.0]), (40, 40))
    mean, _ = heat_map.candidate_scores(heat, jnp.asarray([[10.0, 10.0, 20.0, 20.0]]), 0.7)
    assert float(mean[0]) == pytest.approx((np.sqrt(2 * np.pi) / 3 * 0.8663856) ** 2, rel=0.01)

    def score(x):
        return heat_map.candidate_scores(heat, jnp.stack([x, 10.2, 20.0, 20.0])[None], 0.7)[1][0]

    x, step = jnp.float32(8.4), 0.05
    slope = (score(x + step) - score(x - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(score)(x), slope, rtol=1e-2)


def test_distractors_are_heat_outside_over_heat_inside():
    heat = np.zeros((20, 20), np.float32)
    heat[5:10, 5:10] = 0.8
    box = jnp.asarray([5.0, 5.0, 5.0, 5.0])
    assert heat_map.distractor_share(jnp.asarray(heat), box) == 0
    heat[15:17, 15:18] = 0.5
    share = 3.0 / 20.0
    for factor in (1, 7, 1e-3):
        np.testing.assert_allclose(
            heat_map.distractor_share(jnp.asarray(factor * heat), box), share, rtol=1e-4
        )
    assert heat_map.distractor_share(jnp.zeros((20, 20)), box) == 0
    assert heat_map.distractor_share(jnp.asarray(heat), jnp.asarray([0.0, 0.0, 3.0, 3.0])) > 1e3
