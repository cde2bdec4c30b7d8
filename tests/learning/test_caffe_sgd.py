"""Caffe's gradient descent against its recurrence, written out in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import caffe_sgd
from jtrack.learning.caffe_sgd import BIAS, KERNEL, Multiplier, Rates


def rates(rate=0.1, momentum=0.6, decay=0.01):
    return Rates(*(jnp.float32(value) for value in (rate, momentum, decay)))


def test_a_quadratic_follows_the_recurrence():
    """L = 2 (w - 3)^2, by hand for the first step and in Python floats for fifty."""
    slope = jax.grad(lambda w: 2 * (w - 3) ** 2)
    weight, velocity = jnp.float32(1), jnp.float32(0)
    multiplier = Multiplier(1.5, 2.0)
    want, speed = 1.0, 0.0
    for index in range(50):
        weight, velocity = caffe_sgd.step(weight, velocity, slope(weight), rates(), multiplier)
        speed = 0.6 * speed + 0.1 * 1.5 * (4 * (want - 3) + 0.01 * 2 * want)
        want -= speed
        if index == 0:
            assert want == pytest.approx(1 - 0.15 * (-8 + 0.02))
        np.testing.assert_allclose(weight, want, rtol=1e-5)
    np.testing.assert_allclose(weight, 4 * 3 / (4 + 0.02), rtol=1e-3)  # the minimum with its decay


def test_the_velocity_holds_the_rate():
    """A rate set to nothing stops new gradients, not the momentum of those before."""
    weight, velocity = caffe_sgd.step(jnp.float32(1), jnp.float32(0), jnp.float32(1), rates(), KERNEL)
    coasting, slower = caffe_sgd.step(weight, velocity, jnp.float32(5), rates(rate=0), KERNEL)
    np.testing.assert_allclose(slower, 0.6 * velocity, rtol=1e-6)
    np.testing.assert_allclose(weight - coasting, 0.6 * velocity, rtol=1e-5)


def test_biases_learn_twice_as_fast_and_do_not_decay():
    weights = {"kernel": jnp.float32(2), "bias": jnp.float32(2)}
    gradient = {"kernel": jnp.float32(1), "bias": jnp.float32(1)}
    multipliers = {"kernel": KERNEL, "bias": BIAS}
    _, velocity = caffe_sgd.step(weights, caffe_sgd.zero_velocity(weights), gradient, rates(), multipliers)
    np.testing.assert_allclose(velocity["kernel"], 0.1 * (1 + 0.01 * 2 * 2), rtol=1e-6)
    np.testing.assert_allclose(velocity["bias"], 0.2, rtol=1e-6)
