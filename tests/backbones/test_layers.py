"""Layers whose derivatives are our own: against those that JAX derives, and sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jtrack.backbones import layers


def maps(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("channels", [9, 5, 2])
def test_normalisation_and_its_derivatives(channels):
    x, along = 100 * maps(2, 3, 4, channels), maps(2, 3, 4, channels, seed=1)

    def plain(x):
        total = np.zeros_like(x)
        for channel in range(channels):
            total[..., channel] = (x[..., max(channel - 2, 0) : channel + 3] ** 2).sum(axis=-1)
        return x * (1 + 1e-4 / 5 * total) ** -0.75

    exact, direction = np.asarray(x, np.float64), np.asarray(along, np.float64)
    np.testing.assert_allclose(layers.normalise(x), plain(exact), rtol=1e-5)
    step = 1e-4
    expected = (plain(exact + step * direction) - plain(exact - step * direction)) / (2 * step)
    _, found = jax.jvp(layers.normalise, (x,), (along,))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # Backwards is forwards, transposed.
    back = jax.vjp(layers.normalise, x)[1](along)[0]
    other = maps(2, 3, 4, channels, seed=2)
    _, forth = jax.jvp(layers.normalise, (x,), (other,))
    assert float(jnp.vdot(back, other)) == pytest.approx(float(jnp.vdot(along, forth)), rel=1e-4)


def test_a_bfloat16_map_is_normalised_in_float32():
    x = (30 * maps(1, 2, 2, 8)).astype(jnp.bfloat16)
    found = layers.LocalResponseNorm()(x)
    assert found.dtype == jnp.bfloat16
    assert jnp.array_equal(found, layers.normalise(x.astype(jnp.float32)).astype(jnp.bfloat16))


def test_a_grouped_strided_convolution_and_pooling_have_gradients_in_bfloat16():
    x, pool = maps(1, 12, 13, 4, seed=1), layers.MaxPool(3, 2)

    def gradient(dtype):
        layer = layers.Conv(4, 6, 3, stride=2, padding=1, groups=2)
        layer.kernel, layer.bias = nnx.Param(maps(3, 3, 2, 6).astype(dtype)), nnx.Param(jnp.zeros(6, dtype))
        norm = layers.LocalResponseNorm()
        return jax.jit(jax.grad(lambda x: pool(norm(layer(x))).astype(jnp.float32).sum()))(x)

    found, exact = gradient(jnp.bfloat16), gradient(jnp.float32)
    assert found.dtype == jnp.float32
    assert float(jnp.vdot(found, exact)) > 0.95 * float(jnp.linalg.norm(found) * jnp.linalg.norm(exact))


def test_a_grouped_convolution_is_convolutions_side_by_side_and_so_are_its_gradients():
    x = maps(2, 12, 13, 4)
    kernel, bias = maps(3, 3, 2, 6, seed=1), maps(6, seed=2)

    def ours(x, kernel, bias):
        layer = layers.Conv(4, 6, 3, stride=2, padding=1, groups=2)
        layer.kernel, layer.bias = nnx.Param(kernel), nnx.Param(bias)
        return jnp.sin(layer(x)).sum()

    def derived(x, kernel, bias):
        numbers = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 2}
        y = jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), **numbers)
        return jnp.sin(y + bias.reshape(1, 1, 1, -1)).sum()

    found, expected = (jax.value_and_grad(f, (0, 1, 2))(x, kernel, bias) for f in (ours, derived))
    for each, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(each, other, atol=2e-6 * float(jnp.abs(other).max()))
