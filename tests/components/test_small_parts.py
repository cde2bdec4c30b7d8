"""Gates, calibration and grids against what they say in a line of NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.components import calibration, features, motion, update
from jtrack.components.decisions import Hard
from jtrack.vision import grid, heat_map


def test_a_frame_is_learnt_from_the_threshold_on():
    for score, average, threshold, allowed in (
        (0.75, 1.0, 0.75, True),
        (0.7499, 1.0, 0.75, False),
        (0.0, 0.0, 0.75, True),
        (-0.1, 0.0, 0.75, False),
        (0.1, 5.0, 0.0, True),
    ):
        assert bool(Hard().reaches(jnp.float32(score), threshold * jnp.float32(average))) == allowed


def test_the_average_moves_towards_scores_that_are_cut_at_0_and_at_the_most():
    average = jnp.float32(0.4)
    for score, most, expected in ((0.8, None, 0.44), (-3.0, None, 0.36), (7.0, 1.0, 0.46), (7.0, None, 1.06)):
        assert float(update.averaged(average, jnp.float32(score), 0.1, most=most)) == pytest.approx(expected)


def test_what_is_learnt_of_a_frame_follows_its_score_or_not():
    score = jnp.float32(0.3)
    found, lost = jnp.asarray(True), jnp.asarray(False)
    assert float(update.EveryFrame().weight(score, lost, Hard())) == 1
    assert float(update.ByScore().weight(score, found, Hard())) == pytest.approx(0.3)
    assert float(update.ByScore().weight(score, lost, Hard())) == 0


def test_scores_are_logistic_curves():
    values = np.linspace(0.01, 3, 7).astype(np.float32)
    found = calibration.logistic(jnp.asarray(values), 2.0, 0.5)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-2 * (values - 0.5))), rtol=1e-5)
    found = calibration.logistic_of_ratio(jnp.asarray(values), 3.0, 0.25)
    np.testing.assert_allclose(found, values**3 / (values**3 + 0.25**3), rtol=1e-4)
    assert float(calibration.logistic_of_ratio(jnp.float32(0), 3.0, 0.25)) < 1e-9


def test_places_stay_in_the_frame_and_sizes_sensible():
    size = jnp.asarray((120, 150), jnp.int32)
    places = jnp.asarray([(-5.0, 60.0), (151.0, 130.0), (10.0, 20.0)])
    np.testing.assert_array_equal(motion.keep_in_frame(places, size), [(0, 60), (150, 120), (10, 20)])
    sizes = jnp.asarray([(1.9, 30.0), (2.0, 120.0), (151.0, 30.0), (20.0, 121.0)])
    last = jnp.asarray((12.0, 14.0))
    np.testing.assert_array_equal(
        motion.sensible_sizes(sizes, last, size), [(12, 14), (2, 120), (12, 14), (12, 14)]
    )


def test_a_spiral_begins_in_the_middle_and_fills_the_circle():
    places = motion.spiral(200)
    distance = np.linalg.norm(places, axis=1)
    np.testing.assert_array_equal(places[0], 0)
    assert distance.max() == pytest.approx(1) and (np.diff(distance) > 0).all()
    # r = (i / n)^0.75 holds half of the places within 0.5^0.75.
    assert (distance < 0.5**0.75).mean() == pytest.approx(0.5, abs=0.01)


def test_cells_of_a_window_and_places_of_the_frame():
    window = jnp.asarray((-10.0, 20.0, 40.0, 30.0))
    rows, columns = grid.centres(window, (3, 4))
    np.testing.assert_allclose(rows, [25, 35, 45])
    np.testing.assert_allclose(columns, [-5, 5, 15, 25])
    inside = grid.in_frame(window, (3, 4), jnp.asarray((45, 16), jnp.int32))
    np.testing.assert_array_equal(inside, np.outer([True, True, False], [False, True, True, False]))
    box = jnp.asarray((0.0, 30.0, 20.0, 10.0))
    np.testing.assert_allclose(grid.to_cells(box, window, (3, 4)), (1, 1, 2, 1))
    # The middle of a cell that lies on the frame's border is in it at its beginning, not at its end.
    edge = jnp.asarray((-5.0, 0.0, 20.0, 10.0))
    np.testing.assert_array_equal(
        grid.in_frame(edge, (1, 2), jnp.asarray((10, 10), jnp.int32)), [[True, False]]
    )


def test_heat_in_a_box_and_in_candidates():
    heat = np.zeros((6, 8), np.float32)
    heat[2:4, 2:6] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    window = jnp.asarray((10.0, 20.0, 80.0, 60.0))
    box = jnp.asarray((30.0, 40.0, 40.0, 20.0))
    assert float(heat_map.heat_in_box(jnp.asarray(heat - 9.0), box, window)) == 0
    assert float(heat_map.heat_in_box(jnp.asarray(heat), box, window)) == pytest.approx(4.5)
    candidates = jnp.asarray([(0.0, 0.0, 2.0, 2.0), (4.0, 2.0, 2.0, 2.0), (2.0, 2.0, 2.0, 2.0)])
    confidences, scores = heat_map.candidate_scores(jnp.asarray(heat), candidates, 0.7)
    assert int(scores.argmax()) == 1 and float(confidences[1]) == pytest.approx((3 + 4 + 7 + 8) / 4)


def test_directions_are_those_of_the_largest_second_moments():
    """Against NumPy's singular values, of the tapered features; a subspace has no signs."""
    maps = np.random.default_rng(0).normal(size=(9, 8, 6)) * np.array([5, 4, 3, 1, 0.5, 0.1])
    found = np.asarray(features.leading_directions(jnp.float32(maps), 3), np.float64)
    tapered = (maps * np.outer(np.hanning(9), np.hanning(8))[..., None]).reshape(-1, 6)
    _, _, right = np.linalg.svd(tapered, full_matrices=False)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(found @ found.T, right[:3].T @ right[:3], atol=1e-4)


def test_there_are_no_more_directions_than_channels_and_they_are_constants():
    maps = jnp.float32(np.random.default_rng(1).normal(size=(5, 5, 4)))
    assert features.leading_directions(maps, 64).shape == (4, 4)
    slope = jax.grad(lambda maps: features.leading_directions(maps, 2).sum())(maps)
    np.testing.assert_array_equal(slope, 0)
