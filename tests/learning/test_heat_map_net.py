"""The heat-map networks against SciPy, autodiff and plain gradient descent on their kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jtrack.learning import caffe_sgd, heat_map_net
from jtrack.learning.caffe_sgd import BIAS, KERNEL, Rates
from jtrack.learning.heat_map_net import HeatMapNet, Samples

CHANNELS, HIDDEN = 3, 4


def rates(rate=1e-4, momentum=0.6, decay=0.01):
    return Rates(*(jnp.float32(value) for value in (rate, momentum, decay)))


def random(shape, seed, spread=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * spread, jnp.float32)


@pytest.fixture(name="net")
def make_net():
    return HeatMapNet(
        random((CHANNELS, 9, 9, HIDDEN), 0, 0.1),
        random((HIDDEN,), 1, 0.1),
        random((HIDDEN, 5, 5, 1), 2, 0.3),
        random((1,), 3),
    )


@pytest.fixture(name="samples")
def make_samples():
    return Samples(random((2, 12, 11, CHANNELS), 4), random((2, 12, 11), 5), jnp.abs(random((2, 12, 11), 6)))


def test_the_network_is_two_correlations_and_a_relu(net, samples):
    maps = np.asarray(samples.maps[1], np.float64)
    hidden = [
        sum(correlate2d(maps[..., c], net.kernel1[c, :, :, m], mode="same") for c in range(CHANNELS))
        + net.bias1[m]
        for m in range(HIDDEN)
    ]
    want = net.bias2[0] + sum(
        correlate2d(np.maximum(plane, 0), net.kernel2[m, :, :, 0], mode="same")
        for m, plane in enumerate(hidden)
    )
    np.testing.assert_allclose(heat_map_net.heat_map(net, samples.maps)[1], want, rtol=1e-4, atol=1e-4)


def test_the_parameters_are_as_many_as_released():
    for hidden, first, second in [(32, 995_360, 801), (36, 1_119_780, 901)]:
        net = jax.eval_shape(lambda key, m=hidden: heat_map_net.random_net(key, 384, m), jax.random.key(0))
        assert net.kernel1.size + net.bias1.size == first
        assert net.kernel2.size + net.bias2.size == second


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [1, 5])
@pytest.mark.parametrize("moving", [False, True])
def test_training_on_coefficients_is_training_on_kernels(net, samples, iterations, moving):
    velocity = caffe_sgd.zero_velocity(net)
    if moving:
        velocity = jax.tree.map(lambda leaf: 0.01 * random(leaf.shape, leaf.size), net)
    want, speed, losses = net, velocity, []
    for _ in range(iterations):
        value, slope = jax.value_and_grad(heat_map_net.loss)(want, samples)
        want, speed = caffe_sgd.step(want, speed, slope, rates(), HeatMapNet(KERNEL, BIAS, KERNEL, BIAS))
        losses.append(value)
    got = heat_map_net.train(net, velocity, samples, rates(), iterations)
    losses.append(heat_map_net.loss(want, samples))
    np.testing.assert_allclose(got[2], losses, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(got[:2]), jax.tree.leaves((want, speed)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert (np.diff(losses) < 0).all()  # so that the end is the best


def test_what_the_mask_hides_has_no_gradient(net, samples):
    mask = np.ones((2, 12, 11), np.float32)
    mask[1, 3:8, 2:9] = 0
    masked = samples._replace(weight=jnp.asarray(mask))
    to_prediction = jax.grad(
        lambda shift: heat_map_net.loss(net, masked._replace(target=samples.target + shift))
    )(jnp.zeros((2, 12, 11)))
    assert (np.asarray(to_prediction)[mask == 0] == 0).all()
    assert (np.asarray(to_prediction)[mask == 1] != 0).all()
    # ... so that what is wanted there changes nothing of what is learnt.
    other = masked._replace(target=jnp.where(jnp.asarray(mask) == 0, 100.0, samples.target))
    a = heat_map_net.train(net, caffe_sgd.zero_velocity(net), masked, rates(), 2)[0]
    b = heat_map_net.train(net, caffe_sgd.zero_velocity(net), other, rates(), 2)[0]
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_descent_that_diverges_turns_back_and_slows_down(net, samples):
    _, _, losses = heat_map_net.train(net, caffe_sgd.zero_velocity(net), samples, rates(rate=2e-2), 40)
    assert not losses[1] < 2 * losses[0]
    assert np.isfinite(losses[-1]) and losses[-1] < losses[0]
    # A rate beyond all measure leaves the network as it was.
    trained, velocity, _ = heat_map_net.train(net, caffe_sgd.zero_velocity(net), samples, rates(rate=1e20), 5)
    for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(net), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all((np.asarray(leaf) == 0).all() for leaf in velocity)


def test_training_has_a_gradient(net, samples):
    """Of the loss at the end with respect to the learning rate."""

    def end(rate):
        descent = Rates(rate, jnp.float32(0.6), jnp.float32(0.01))
        trained, _, _ = heat_map_net.train(net, caffe_sgd.zero_velocity(net), samples, descent, 3)
        return heat_map_net.loss(trained, samples)

    rate, step = jnp.float32(5e-5), 1e-6
    quotient = (end(rate + step) - end(rate - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(end)(rate), quotient, rtol=2e-2)


def test_the_strength_is_the_largest_singular_value():
    maps = np.maximum(np.random.default_rng(8).normal(size=(9, 7, 6)), 0).astype(np.float32)
    want = np.linalg.svd(maps.reshape(-1, 6), compute_uv=False)[0]
    np.testing.assert_allclose(heat_map_net.spectral_norm(jnp.asarray(maps)), want, rtol=1e-4)
    assert heat_map_net.spectral_norm(jnp.zeros((4, 4, 3))) == 0


def test_a_released_network_learns_a_target(samples):
    """From kernels of 1e-7, whose second layer must move first, on features of the magnitude of VGG-16's."""
    y, x = np.mgrid[:20, :20]
    target = np.exp(-((x - 9) ** 2 + (y - 11) ** 2) / 18)
    maps = np.maximum(np.random.default_rng(7).normal(size=(20, 20, 16)), 0)
    maps[..., :6] *= 3 * target[..., None]
    problem = Samples(
        jnp.asarray(60 * maps[None], jnp.float32),
        jnp.asarray(target[None], jnp.float32),
        jnp.ones((1, 20, 20)),
    )
    net = heat_map_net.random_net(jax.random.key(0), 16, 8)
    train = jax.jit(heat_map_net.train, static_argnums=4)
    _, _, losses = train(net, caffe_sgd.zero_velocity(net), problem, rates(1e-6, 0.6, 5e-4), 100)
    assert losses[-1] < 0.3 * losses[0]


def test_the_papers_output_is_rectified(net, samples):
    linear = np.asarray(heat_map_net.heat_map(net, samples.maps))
    assert (linear < 0).any() and (linear > 0).any()
    np.testing.assert_array_equal(heat_map_net.heat_map(net, samples.maps, slope=0.0), np.maximum(linear, 0))
    error = np.maximum(linear, 0) - np.asarray(samples.target)
    want = 0.5 * np.sum(np.asarray(samples.weight) * error**2)
    np.testing.assert_allclose(heat_map_net.loss(net, samples, slope=0.0), want, rtol=1e-5)
    _, _, losses = heat_map_net.train(net, caffe_sgd.zero_velocity(net), samples, rates(), 1, slope=0.0)
    np.testing.assert_allclose(losses[0], want, rtol=1e-4)


def test_a_network_of_no_heat_learns_nothing_behind_a_relu(samples):
    none = jax.tree.map(jnp.zeros_like, heat_map_net.random_net(jax.random.key(0), CHANNELS, HIDDEN))
    for slope, learns in ((0.0, False), (1.0, True)):
        after, _, _ = heat_map_net.train(
            none, caffe_sgd.zero_velocity(none), samples, rates(decay=0.0), 2, slope=slope
        )
        assert any(np.any(leaf) for leaf in after) == learns


def test_maps_are_scaled_to_a_spectral_norm():
    maps = np.random.default_rng(0).random((6, 7, 4)).astype(np.float32)
    for centring in (0.0, 1.0):
        got, offset, gain = heat_map_net.scaled(
            jnp.asarray(maps), centring=jnp.float32(centring), norm=jnp.float32(30.0), weight=4.0
        )
        np.testing.assert_allclose(offset, centring * maps.mean((0, 1)), rtol=1e-5)
        np.testing.assert_allclose(got, (maps - np.asarray(offset)) * np.asarray(gain), rtol=1e-5)
        # Each squared error counts four times, and so do the features in it.
        np.testing.assert_allclose(np.linalg.svd(got.reshape(-1, 4))[1][0], 15, rtol=1e-3)
    nothing, _, gain = heat_map_net.scaled(jnp.zeros((3, 3, 2)), centring=jnp.zeros(()), norm=jnp.ones(()))
    assert gain == 0 and not np.any(nothing)
