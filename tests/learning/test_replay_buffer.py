"""The pools of samples: first in, first out, and drawn as often as the paper's equations say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jtrack.learning import replay_buffer


def filled(capacity, frames, count, qualities=None):
    """A pool after some frames of `count` samples each, whose pixel is the sample's number."""
    pool = replay_buffer.empty(capacity, (1,))
    for time in range(frames):
        patches = jnp.arange(time * count, (time + 1) * count, dtype=jnp.float32)[:, None]
        quality = jnp.float32(1 if qualities is None else qualities[time])
        pool = replay_buffer.add(pool, patches, jnp.full(count, 0.5), quality, jnp.int32(time))
    return pool


@pytest.mark.parametrize(("frames", "count"), [(1, 3), (3, 3), (4, 3), (9, 3), (7, 10)])
def test_the_oldest_make_room(frames, count):
    pool = filled(10, frames, count)
    total = frames * count
    kept = min(total, 10)
    weights = np.asarray(replay_buffer.weights(pool, jnp.int32(frames), 0.0))
    assert (weights > 0).sum() == kept
    held = sorted(np.asarray(pool.patches)[weights > 0, 0].astype(int))
    assert held == list(range(total - kept, total))


def test_an_empty_place_weighs_nothing_and_ages_count():
    pool = filled(8, 3, 2)
    weights = replay_buffer.weights(pool, jnp.int32(2), 0.1)
    np.testing.assert_allclose(
        weights, np.exp(-0.1 * np.array([4, 4, 1, 1, 0, 0, np.inf, np.inf])), rtol=1e-6
    )


def expected(ages, qualities, decay):
    weights = np.asarray(qualities) * np.exp(-decay * np.asarray(ages, float) ** 2)
    return weights / weights.sum()


@pytest.mark.parametrize("decay", [0.0, 0.1, 10.0], ids=["long", "inverse", "literal"])
def test_samples_are_drawn_as_often_as_the_equations_say(decay):
    qualities = [1.0, 0.3, 0.0, 0.8, 0.6]
    pool = filled(25, 5, 4, qualities)
    weights = replay_buffer.weights(pool, jnp.int32(4), decay)
    drawn = np.asarray(replay_buffer.draw(jax.random.key(3), weights, 20000))
    times = np.repeat(np.arange(5), 4)
    chance = expected(4 - times, np.repeat(qualities, 4), decay)
    counts = np.bincount(drawn, minlength=25)
    assert counts[20:].sum() == 0, "an empty place was drawn"
    assert counts[8:12].sum() == 0, "a frame that is not trusted was drawn"
    often = chance * 20000 > 5
    assert counts[:20][~often].sum() <= 20
    assert (
        stats.chisquare(
            counts[:20][often], chance[often] / chance[often].sum() * counts[:20][often].sum()
        ).pvalue
        > 1e-3
    )


def test_if_no_frame_is_trusted_all_samples_are_alike():
    pool = filled(6, 2, 2, [0.0, 0.0])
    np.testing.assert_array_equal(replay_buffer.weights(pool, jnp.int32(2), 10.0), [1, 1, 1, 1, 0, 0])


def test_a_large_decay_never_leaves_nothing():
    pool = filled(4, 1, 2)
    weights = replay_buffer.weights(pool, jnp.int32(90), 10.0)
    np.testing.assert_allclose(weights, [1, 1, 0, 0])


def test_a_last_weight_of_zero_is_never_drawn():
    weights = jnp.array([0.0, 1.0, 3.0, 0.0])
    drawn = np.asarray(replay_buffer.draw(jax.random.key(0), weights, 100000))
    assert set(drawn) == {1, 2}
    assert (drawn == 2).mean() == pytest.approx(0.75, abs=0.01)
