"""Layers whose derivatives are our own: against those that JAX derives, and sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jtrack.backbones import layers

# (height, width, kernel, stride, padding): rows that no window covers, kernels that no block divides.
SHAPES = [(23, 30, 11, 4, 0), (27, 27, 7, 2, 3), (20, 21, 3, 2, 1), (19, 19, 5, 3, 2), (13, 12, 2, 4, 0)]


def maps(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(("height", "width", "size", "stride", "padding"), SHAPES)
def test_a_strided_convolution_has_the_derived_gradients(height, width, size, stride, padding):
    x, kernel = maps(2, height, width, 3), maps(size, size, 3, 5, seed=1)

    def value(work):
        return lambda x, kernel: jnp.sin(work(x, kernel, stride, padding)).sum()

    ours, derived = value(layers.convolve_strided), value(layers.convolve)
    for found, expected in zip(
        jax.grad(ours, (0, 1))(x, kernel), jax.grad(derived, (0, 1))(x, kernel), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=2e-6 * float(jnp.abs(expected).max()))
    along = (maps(*x.shape, seed=2), maps(*kernel.shape, seed=3))
    (value_, found), (_, expected) = (jax.jvp(each, (x, kernel), along) for each in (ours, derived))
    assert value_ == derived(x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        layers.convolve_blocks(x, kernel, stride, padding),
        layers.convolve(x, kernel, stride, padding),
        atol=1e-4,
    )


def test_many_strided_convolutions_at_once():
    x, kernel = maps(3, 2, 23, 30, 3), maps(11, 11, 3, 5, seed=1)
    gradient = jax.grad(lambda x: jnp.sin(layers.convolve_strided(x, kernel, 4, 0)).sum())
    together = jax.jit(jax.vmap(gradient))(x)
    expected = jnp.stack([gradient(each) for each in x])
    np.testing.assert_allclose(together, expected, atol=1e-5 * float(jnp.abs(expected).max()))


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


def test_a_convolutions_gradient_to_its_kernel_alone_and_of_many():
    x, kernel = maps(3, 2, 23, 30, 3), maps(11, 11, 3, 5, seed=1)

    def value(work):
        return lambda kernel: jnp.square(jax.vmap(lambda x: work(x, kernel, 4, 0))(x)).sum()

    found, expected = (jax.grad(value(work))(kernel) for work in (layers.convolve_strided, layers.convolve))
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))


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
