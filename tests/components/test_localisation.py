"""Where a target is: boxes of candidates and heights of peaks, against NumPy and SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from jtrack.components.decisions import Hard, Soft
from jtrack.components.fusion import peak_height
from jtrack.components.localisation import BestCandidate, MeanOfBest, best_candidate, floored

RNG = np.random.default_rng(0)
CANDIDATES = np.float32(np.concatenate([RNG.uniform(0, 8, (20, 2)), RNG.uniform(2, 5, (20, 2))], axis=1))


def test_the_box_is_that_of_the_highest_score_or_a_mean_around_it():
    scores = np.float32(RNG.normal(size=20))
    boxes, share = jnp.asarray(CANDIDATES), jnp.float32(0.75)
    best = CANDIDATES[scores.argmax()]
    np.testing.assert_array_equal(BestCandidate().box(boxes, jnp.asarray(scores), share, Hard()), best)
    for temperature, nearness in ((1e-3, 1e-3), (10.0, None)):
        found = BestCandidate().box(boxes, jnp.asarray(scores), share, Soft(temperature=temperature))
        wanted = best if nearness else CANDIDATES.mean(axis=0)
        np.testing.assert_allclose(found, wanted, atol=nearness or 0.3)
    weights = np.maximum(scores - 0.75 * scores.max(), 0)
    weights /= weights.sum()
    found = MeanOfBest().box(boxes, jnp.asarray(scores), share, Hard())
    np.testing.assert_allclose(found[2:], np.exp(weights @ np.log(CANDIDATES[:, 2:])), rtol=1e-5)


def test_the_best_candidate_on_a_heat_map_holds_most_heat_for_its_area():
    heat = np.zeros((16, 16), np.float32)
    heat[4:8, 6:10] = 1
    cells = np.float32([[0, 0, 4, 4], [6, 4, 4, 4], [5, 3, 6, 6], [6, 4, 2, 2]])  # beside, on, around, within
    found = best_candidate(Hard(), jnp.asarray(heat), 8 * jnp.asarray(cells), jnp.asarray(cells), 0.7)
    np.testing.assert_array_equal(found.box, 8 * cells[1])
    np.testing.assert_array_equal(found.on_map, cells[1])
    assert float(found.confidence) == pytest.approx(1)


def test_heat_up_to_the_floor_counts_as_none():
    heat = np.float32([[0.05, 0.1], [0.2, 0.9]])
    found = floored(Hard(), jnp.asarray(heat), jnp.float32(0.1))
    np.testing.assert_array_equal(found, np.where(heat > 0.1, heat, 0))
    smooth = floored(Soft(width=0.02), jnp.asarray(heat), jnp.float32(0.1))
    np.testing.assert_allclose(smooth, heat / (1 + np.exp(-(heat - 0.1) / 0.02)), rtol=1e-5)


@pytest.mark.parametrize("place", [(2.25, 3.5), (-0.75, 1.0), (3.9, -4.4), (0.0, 0.0)])
def test_the_height_between_cells_is_interpolated_and_wraps(place):
    responses = np.float32(RNG.normal(size=(2, 8, 10)))
    weights = np.float32([1, 0.5])
    found = peak_height(
        jnp.asarray(responses), jnp.float32(place), jnp.asarray(weights), (8, 10), between=True
    )
    around = np.array(place).reshape(2, 1)
    heights = [map_coordinates(each, around, order=1, mode="grid-wrap")[0] for each in responses]
    assert float(found) == pytest.approx(float(weights @ heights / weights.sum()), abs=1e-5)
