"""The selection network against SciPy, autodiff, and what really happens when elements are removed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jtrack.learning import map_selection
from jtrack.learning.caffe_sgd import Rates
from jtrack.learning.map_selection import SelectionNet


@pytest.fixture(name="problem")
def make_problem():
    rng = np.random.default_rng(0)
    net = SelectionNet(jnp.asarray(rng.normal(size=(3, 3, 5)), jnp.float32), jnp.float32(0.3))
    maps = jnp.asarray(rng.random((6, 7, 5)), jnp.float32)
    return net, maps, jnp.asarray(rng.random((6, 7)), jnp.float32)


def test_the_prediction_is_a_correlation(problem):
    net, maps, _ = problem
    want = 0.3 + sum(correlate2d(maps[..., c], net.kernel[..., c], mode="same") for c in range(5))
    np.testing.assert_allclose(map_selection.predict(net, maps), want, rtol=1e-5, atol=1e-5)


def test_derivatives_are_those_of_autodiff(problem):
    net, maps, target = problem

    def of_features(maps):
        return map_selection.loss(net, maps, target)

    slope, bend = map_selection.derivatives(net, maps, target)
    np.testing.assert_allclose(slope, jax.grad(of_features)(maps), rtol=1e-4, atol=1e-4)
    hessian = jax.hessian(of_features)(maps).reshape(maps.size, maps.size)
    np.testing.assert_allclose(bend.ravel(), np.diag(hessian), rtol=1e-4, atol=1e-4)


def test_the_hessian_is_the_squared_kernel_inside_and_less_at_the_border(problem):
    net, maps, target = problem
    _, bend = map_selection.derivatives(net, maps, target)
    whole = np.broadcast_to((np.asarray(net.kernel) ** 2).sum((0, 1)), bend.shape)
    np.testing.assert_allclose(bend[1:-1, 1:-1], whole[1:-1, 1:-1], rtol=1e-5)
    border = np.ones(bend.shape, bool)
    border[1:-1, 1:-1] = False
    assert (np.asarray(bend)[border] < whole[border]).all()


@pytest.mark.parametrize("place", [(0, 0, 1), (3, 3, 0), (5, 6, 4), (2, 0, 3)])
def test_removing_one_element_changes_the_loss_exactly_as_said(problem, place):
    net, maps, target = problem
    slope, bend = map_selection.derivatives(net, maps, target)
    before = map_selection.loss(net, maps, target)
    after = map_selection.loss(net, maps.at[place].set(0), target)
    f = maps[place]
    np.testing.assert_allclose(
        after - before, -slope[place] * f + 0.5 * bend[place] * f**2, rtol=1e-3, atol=1e-4
    )


def test_the_first_order_sums_to_the_residual_times_the_channel(problem):
    net, maps, target = problem
    slope, _ = map_selection.derivatives(net, maps, target)
    residual = np.asarray(map_selection.predict(net, maps) - target)
    for c in range(5):
        part = correlate2d(maps[..., c], net.kernel[..., c], mode="same")
        np.testing.assert_allclose(jnp.sum(slope[..., c] * maps[..., c]), (residual * part).sum(), rtol=1e-4)


def test_paper_and_release_differ_by_the_curvature(problem):
    net, maps, target = problem
    slope, bend = map_selection.derivatives(net, maps, target)
    paper = map_selection.significance(net, maps, target, curvature=1.0)
    release = map_selection.significance(net, maps, target, curvature=-1.0)
    np.testing.assert_allclose(paper - release, jnp.sum(bend * maps**2, (0, 1)), rtol=1e-4)
    np.testing.assert_allclose(paper + release, -2 * jnp.sum(slope * maps, (0, 1)), rtol=1e-3, atol=1e-3)
    # The whole loss, without the half, doubles both derivatives: the order stays.
    doubled = jnp.sum(-2 * slope * maps + bend * maps**2, (0, 1))
    np.testing.assert_array_equal(np.argsort(doubled), np.argsort(paper))


def test_the_most_significant_come_first():
    chosen = map_selection.select(jnp.asarray([0.1, -2.0, 5.0, 3.0]), 3)
    assert chosen.tolist() == [2, 3, 0] and chosen.dtype == jnp.int32


def test_dropout_keeps_the_mean_and_leaves_out_three_tenths():
    maps = jnp.ones((51, 31, 7))
    dropped = np.asarray(map_selection.dropout(jax.random.key(0), maps))
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.7)}
    share = (dropped == 0).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / maps.size)
    # No pattern: every channel and neighbouring elements alike.
    assert abs(np.corrcoef(dropped.ravel()[:-1], dropped.ravel()[1:])[0, 1]) < 0.04


def test_training_finds_the_maps_that_show_the_target():
    """Three maps of eight hold the target, one of them everywhere too; the others hold noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:20, :20]
    target = np.exp(-((x - 9) ** 2 + (y - 11) ** 2) / 18)
    maps = rng.random((20, 20, 8)) * 0.3
    maps[..., 2] += 3 * target
    maps[..., 5] += 2 * np.roll(target, 1, 0)
    maps[..., 6] += 2 * target
    maps, target = jnp.asarray(maps, jnp.float32), jnp.asarray(target, jnp.float32)
    rates = Rates(jnp.float32(2e-4), jnp.float32(0.6), jnp.float32(5e-4))
    net, losses = jax.jit(map_selection.train, static_argnums=4)(jax.random.key(0), maps, target, rates, 100)
    assert losses[-10:].mean() < 0.4 * losses[0]
    score = map_selection.significance(net, maps, target)
    assert set(map_selection.select(score, 3).tolist()) == {2, 5, 6}


@pytest.mark.parametrize("rate", [1e-10, 1e-9, 1e-6])
def test_selection_never_diverges(rate):
    """Features of the norm that 1e-10 is meant for: ten times the rate would diverge."""
    rng = np.random.default_rng(0)
    maps = rng.random((20, 20, 16)).astype(np.float32)
    maps *= 2.4e4 / np.linalg.svd(maps.reshape(-1, 16))[1][0]
    rows, columns = np.mgrid[:20, :20] - 9.5
    target = jnp.asarray(np.exp(-(rows**2 + columns**2) / 20), jnp.float32)
    rates = Rates(jnp.float32(rate), jnp.float32(0.6), jnp.float32(5e-4))
    net, losses = map_selection.train(jax.random.key(0), jnp.asarray(maps), target, rates, 50)
    nothing = 0.5 * np.sum(np.asarray(target) ** 2)
    np.testing.assert_allclose(losses[0], nothing, rtol=1e-2)
    learnt = map_selection.loss(net, maps, target)
    assert np.isfinite(map_selection.significance(net, jnp.asarray(maps), target)).all()
    assert np.isfinite(losses).all() and learnt <= nothing * (0.99 if rate < 1e-6 else 2)


def test_maps_that_are_no_numbers_leave_the_network_as_it_began():
    maps = jnp.full((6, 6, 3), jnp.nan)
    rates = Rates(*map(jnp.float32, (1e-10, 0.6, 0.0)))
    net, _ = map_selection.train(jax.random.key(0), maps, jnp.ones((6, 6)), rates, 3)
    assert np.isfinite(net.kernel).all() and np.abs(net.kernel).max() < 1e-6 and net.bias == 0


def test_all_maps_are_kept_in_their_order_and_fewer_by_significance():
    rng = np.random.default_rng(0)
    maps, target = (
        jnp.asarray(rng.random((6, 7, 5)), jnp.float32),
        jnp.asarray(rng.random((6, 7)), jnp.float32),
    )
    rates = Rates(*map(jnp.float32, (1e-3, 0.6, 0.0)))

    def chosen(count):
        return map_selection.choose(
            jax.random.key(3), maps, target, rates, count=count, iterations=20, curvature=1.0
        )

    np.testing.assert_array_equal(chosen(5), np.arange(5))
    net, _ = map_selection.train(jax.random.key(3), maps, target, rates, 20)
    order = np.argsort(-np.asarray(map_selection.significance(net, maps, target)), kind="stable")
    np.testing.assert_array_equal(chosen(3), order[:3])
