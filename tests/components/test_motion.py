import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from jtrack.components import motion
from jtrack.vision import boxes

BOX = np.array([100, 50, 40, 80], np.float32)


def test_candidates_are_gaussian_in_centre_and_logarithm_of_scale():
    drawn = motion.gaussian_candidates(
        jax.random.key(0), jnp.asarray(BOX), 4000, position=jnp.array([10.0, 5.0]), scale=0.05
    )
    shift = np.asarray(boxes.centre(drawn)) - [120, 90]
    scale = np.log(np.asarray(drawn[:, 2]) / 40)
    for sample, std in ((shift[:, 0], 10), (shift[:, 1], 5), (scale, 0.05)):
        assert scipy.stats.kstest(sample / std, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef([*shift.T, scale]) - np.eye(3)).max() < 0.06
    np.testing.assert_allclose(drawn[:, 3] / drawn[:, 2], 2, rtol=1e-5)


def test_no_spread_gives_the_box_itself():
    drawn = motion.gaussian_candidates(jax.random.key(1), jnp.asarray(BOX), 3, position=0.0, scale=0.0)
    np.testing.assert_allclose(drawn, np.tile(BOX, (3, 1)), rtol=1e-6)


def test_same_key_same_candidates():
    draw = [
        motion.gaussian_candidates(jax.random.key(k), jnp.asarray(BOX), 5, position=3.0, scale=0.1)
        for k in (7, 7, 8)
    ]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert (np.asarray(draw[0]) != np.asarray(draw[2])).any()


def test_candidates_spread_with_the_present_size_or_by_the_first():
    now, first = jnp.array([30.0, 40.0]), jnp.array([24.0, 20.0])
    present = motion.PresentSpread().deviation(2.0, 1 / 7, now, first)
    np.testing.assert_allclose(present, 2 + 50 / 7, rtol=1e-6)
    released = motion.FirstSpread()
    np.testing.assert_allclose(released.deviation(2.0, 1 / 7, now, first), 2 + 5)  # sqrt(976) / 7 = 4.46
    np.testing.assert_array_equal(released.deviation(10.0, 0.0, now, first), 10)
