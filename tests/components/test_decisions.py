"""Decisions: soft ones are hard ones where they are sharp, and have derivatives where they are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.components.decisions import Hard, Soft
from jtrack.errors import JtrackError

SHARP = Soft(width=1e-4, temperature=1e-3)


@pytest.mark.parametrize("unit", [1.0, 20.0])
def test_sharp_soft_decisions_are_hard_ones(unit):
    rng = np.random.default_rng(0)
    values = jnp.float32(unit * rng.permutation(40) / 40)
    threshold = jnp.float32(unit * 0.49)
    for name in ("above", "reaches"):
        hard = getattr(Hard(), name)(values, threshold, unit)
        np.testing.assert_allclose(getattr(SHARP, name)(values, threshold, unit), hard, atol=1e-6)
    places = {"box": jnp.float32(rng.normal(size=(40, 4))), "index": jnp.arange(40.0)}
    for found, wanted in zip(
        *(jax.tree.leaves(d.best(values, places, unit)) for d in (SHARP, Hard())), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("a", [0.0, 1.0])
@pytest.mark.parametrize("b", [0.0, 1.0])
def test_connectives_agree_at_the_ends(a, b):
    a, b = jnp.float32(a), jnp.float32(b)
    yes, other = a.astype(bool), b.astype(bool)
    for name in ("both", "either"):
        assert float(getattr(Soft(), name)(a, b)) == float(getattr(Hard(), name)(yes, other))
    assert float(Soft().unless(a)) == float(Hard().unless(yes))
    assert bool(Soft().likely(a)) == bool(Hard().likely(yes))
    assert bool(Hard().possible(yes)) == bool(yes) and bool(Soft().possible(a))
    for decisions in (Hard(), Soft()):
        never = decisions.never(jnp.float32)
        assert not bool(decisions.likely(never)) and never.dtype == decisions.above(a, b).dtype


@pytest.mark.parametrize("count", [1, 5])
def test_the_best_are_those_of_the_highest_scores(count):
    rng = np.random.default_rng(1)
    scores, values = np.float32(rng.normal(size=30)), np.float32(rng.normal(size=(30, 4)))
    found = Hard().best(jnp.asarray(scores), jnp.asarray(values), count=count)
    np.testing.assert_allclose(found, values[np.argsort(-scores)[:count]].mean(axis=0), rtol=1e-5)


def test_a_soft_best_is_the_softmax_mean():
    scores, values = jnp.float32([1.0, 2.0, 4.0]), jnp.float32([[10.0], [20.0], [40.0]])
    weights = np.exp(np.array([1.0, 2.0, 4.0]) / (0.5 * 3.0))
    wanted = weights @ np.array([10.0, 20.0, 40.0]) / weights.sum()
    np.testing.assert_allclose(Soft(temperature=0.5).best(scores, values, 3.0)[0], wanted, rtol=1e-5)


def test_states_are_blended_and_counts_go_on():
    then = {"mean": jnp.float32([2.0, 4.0]), "spectrum": jnp.complex64(2j), "count": jnp.int32(8)}
    otherwise = {"mean": jnp.float32([0.0, 0.0]), "spectrum": jnp.complex64(0), "count": jnp.int32(7)}
    found = Soft().choose(jnp.float32(0.25), then, otherwise)
    np.testing.assert_allclose(found["mean"], [0.5, 1.0])
    np.testing.assert_allclose(found["spectrum"], 0.5j)
    assert int(found["count"]) == 8
    jax.tree.map(np.testing.assert_array_equal, Hard().choose(jnp.asarray(False), then, otherwise), otherwise)


def test_what_is_applied_by_degrees_moves_by_degrees():
    def double(value):
        return 2 * value

    assert float(Hard().apply(jnp.asarray(True), double, jnp.float32(3))) == 6
    assert float(Hard().apply(jnp.asarray(False), double, jnp.float32(3))) == 3
    assert float(Soft().apply(jnp.float32(0.5), double, jnp.float32(3))) == 4.5


def test_a_threshold_has_a_derivative():
    slope = jax.grad(lambda value: Soft(width=0.1).above(value, 0.3))(jnp.float32(0.3))
    assert float(slope) == pytest.approx(0.25 / 0.1)
    assert (
        float(jax.grad(lambda value: Hard().choose(Hard().above(value, 0.3), 1.0, 0.0))(jnp.float32(0.3)))
        == 0
    )


def test_widths_and_temperatures_are_positive():
    for wrong in ({"width": 0.0}, {"temperature": -1.0}):
        with pytest.raises(JtrackError, match="must be above 0"):
            Soft(**wrong)
