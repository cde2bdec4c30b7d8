"""Convolutions and their derivatives: against those that JAX derives, in float64."""

import functools
import re
from collections.abc import Generator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jtrack.backbones.convolution import convolve, convolve_blocks

# (height, width, kernel, stride, padding), some with paddings wider than the kernel.
DENSE = [(9, 7, 3, 1, 1), (8, 9, 5, 1, 0), (6, 5, 1, 1, 0), (5, 6, 1, 1, 2), (3, 3, 3, 1, 0), (6, 7, 4, 1, 1)]
# Rows that no window covers, kernels that no block divides.
STRIDED = [(23, 30, 11, 4, 0), (27, 27, 7, 2, 3), (20, 21, 3, 2, 1), (19, 19, 5, 3, 2), (13, 12, 2, 4, 0)]


@pytest.fixture(autouse=True)
def _float64() -> Generator[None]:
    with jax.enable_x64(True):
        yield


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def derived(x, kernel, stride, padding):
    """The convolution with JAX's own derivatives."""
    sides = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), sides, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def close(found, expected):
    """Equal to the rounding of float64."""
    for each, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert each.dtype == other.dtype == jnp.float64
        np.testing.assert_allclose(each, other, rtol=0, atol=1e-12 * float(jnp.abs(other).max()))


def value(work, stride, padding):
    return lambda x, kernel: jnp.sin(work(x, kernel, stride, padding)).sum()


@pytest.mark.parametrize(("height", "width", "size", "stride", "padding"), [*DENSE, *STRIDED])
def test_derivatives_of_both_orders_and_modes(height, width, size, stride, padding):
    x, kernel = random(2, height, width, 3), random(size, size, 3, 4, seed=1)
    along = random(*x.shape, seed=2), random(*kernel.shape, seed=3)

    @functools.partial(jax.jit, static_argnums=0)
    def everything(work):
        """The value, gradient, directional derivative, and the Hessian times a direction in both ways."""
        f = value(work, stride, padding)
        gradient = jax.grad(f, (0, 1))

        def slope(x, kernel):
            return jax.jvp(f, (x, kernel), along)[1]

        return (
            f(x, kernel),
            gradient(x, kernel),
            slope(x, kernel),
            jax.jvp(gradient, (x, kernel), along)[1],
            jax.grad(slope, (0, 1))(x, kernel),
        )

    close(everything(convolve), everything(derived))


def test_the_gradient_of_a_gradient():
    x, kernel = random(1, 6, 7, 3), random(3, 3, 3, 4, seed=1)

    @functools.partial(jax.jit, static_argnums=0)
    def steepness(work):
        def norm(x, kernel):
            return sum(jnp.square(each).sum() for each in jax.grad(value(work, 1, 1), (0, 1))(x, kernel))

        return jax.grad(norm, (0, 1))(x, kernel)

    close(steepness(convolve), steepness(derived))


@pytest.mark.parametrize(("height", "width", "size", "stride", "padding"), [*DENSE, *STRIDED])
def test_forward_it_is_the_plain_convolution_to_the_bit(height, width, size, stride, padding):
    x, kernel = (random(*shape).astype(jnp.float32) for shape in ((2, height, width, 3), (size, size, 3, 4)))
    plain = functools.partial(
        lax.conv_general_dilated,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    found = jax.jit(convolve, static_argnums=(2, 3))(x, kernel, stride, padding)
    assert jnp.array_equal(found, jax.jit(plain)(x, kernel))


@pytest.mark.parametrize(("height", "width", "size", "stride", "padding"), STRIDED)
def test_over_blocks_it_is_the_same_convolution(height, width, size, stride, padding):
    x, kernel = random(2, height, width, 3), random(size, size, 3, 4, seed=1)
    close(convolve_blocks(x, kernel, stride, padding), derived(x, kernel, stride, padding))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("of_x", "of_kernel"), [(0, None), (1, None), (None, 0), (1, 3)])
def test_many_at_once(stride, of_x, of_kernel):
    shape, sides = [2, 8, 9, 3], [3, 3, 3, 4]
    for axis, each in ((of_x, shape), (of_kernel, sides)):
        if axis is not None:
            each.insert(axis, 5)
    x, kernel = random(*shape), random(*sides, seed=1)

    @functools.partial(jax.jit, static_argnums=0)
    def both_ways(work):
        f = value(work, stride, 1)
        many = jax.vmap(f, (of_x, of_kernel))
        return (
            many(x, kernel),
            jax.vmap(jax.grad(f, (0, 1)), (of_x, of_kernel))(x, kernel),
            jax.grad(lambda *args: many(*args).sum(), (0, 1))(x, kernel),
        )

    close(both_ways(convolve), both_ways(derived))


def test_derivatives_in_a_loop_have_the_layout_that_is_quick_on_cpu():
    x, kernels = random(2, 12, 13, 3), (random(7, 7, 3, 4), random(3, 3, 4, 5), random(1, 1, 5, 3))

    def network(x, kernels):
        for kernel, stride, padding in zip(kernels, (2, 1, 1), (3, 1, 0), strict=True):
            x = jnp.sin(convolve(x, kernel, stride, padding))
        return x

    def score(x, kernels):
        """As CNN-SVM's frames: each takes a gradient itself."""

        def frame(total, _):
            saliency = jax.grad(lambda x: network(x, kernels).sum())(x)
            return total + jnp.square(saliency).sum(), None

        return lax.scan(frame, jnp.zeros(()), length=2)[0]

    gradient = jax.grad(score, (0, 1))
    for function in (gradient, lambda *args: jax.jvp(gradient, args, args)[1]):
        text = jax.jit(function).lower(x, kernels).as_text()
        layouts = re.findall(r"stablehlo\.convolution.*dim_numbers = (.*?), window", text)
        assert len(layouts) >= 3 * 3
        assert set(layouts) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
