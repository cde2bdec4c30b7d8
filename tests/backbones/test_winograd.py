"""Convolutions after Winograd: against a convolution by hand in float64, and where they are used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.backbones import winograd
from jtrack.backbones.convolution import convolve
from tests.backbones import reference

LARGE = (1, 29, 31, 80), (3, 3, 80, 81)  # 64 tiles, the last of them cut


def operands(maps, kernel, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.normal(size=maps).astype(dtype), (rng.normal(size=kernel) / 30).astype(dtype)


def by_hand(x, kernel, padding):
    """[N, h', w', outputs] in float64."""
    weights, bias = kernel.astype(np.float64).transpose(3, 2, 0, 1), np.zeros(kernel.shape[-1])
    maps = x.astype(np.float64).transpose(0, 3, 1, 2)
    found = [reference.convolution(each, weights, bias, padding=padding) for each in maps]
    return np.stack(found).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("sides", [(8, 8), (9, 7), (6, 13), (3, 5)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_it_is_the_convolution(sides, padding):
    x, kernel = operands((2, *sides, 5), (3, 3, 5, 7))
    found = winograd.convolve(x, kernel, (padding, padding))
    expected = by_hand(x, kernel, padding)
    assert found.shape == expected.shape
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_rows_and_columns_have_their_own_padding():
    x, kernel = operands((1, 9, 10, 4), (3, 3, 4, 6))
    found = winograd.convolve(x, kernel, (2, 0))
    expected = by_hand(np.pad(x, ((0, 0), (2, 2), (0, 0), (0, 0))), kernel, 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_outputs_are_made_in_parts(monkeypatch):
    monkeypatch.setattr(winograd, "TOGETHER", 5 * 3)
    x, kernel = operands((1, 6, 6, 5), (3, 3, 5, 7))
    found = winograd.convolve(x, kernel, (1, 1))
    expected = by_hand(x, kernel, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_images_are_computed_some_at_a_time(monkeypatch):
    monkeypatch.setattr(winograd, "AT_ONCE", 2 * 4)  # two images of four tiles, and one is left
    x, kernel = operands((5, 8, 7, 5), (3, 3, 5, 7))
    found = jax.jit(winograd.convolve, static_argnums=2)(x, kernel, (1, 1))
    expected = by_hand(x, kernel, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("maps", "kernel", "dtype", "used"),
    [
        (*LARGE, np.float32, True),
        ((3, *LARGE[0][1:]), LARGE[1], np.float32, True),
        ((16, 12, 12, 80), LARGE[1], np.float32, False),  # few tiles in an image, however many images
        ((1, 29, 31, 64), (3, 3, 64, 64), np.float32, False),
        (LARGE[0], (5, 5, 80, 81), np.float32, False),
        (LARGE[0], (1, 1, 80, 81), np.float32, False),
        (*LARGE, jnp.bfloat16, False),
        ((0, *LARGE[0][1:]), LARGE[1], np.float32, False),
    ],
)
def test_where_it_is_used_on_a_cpu(maps, kernel, dtype, used):
    x, weights = operands(maps, kernel, dtype)
    text = jax.jit(lambda x, weights: convolve(x, weights, 1, 1)).lower(x, weights).as_text()
    assert ("stablehlo.convolution" in text) is not used


def test_other_platforms_keep_their_own_convolution():
    x, weights = (jnp.asarray(each) for each in operands(*LARGE))
    function = jax.jit(lambda x, weights: convolve(x, weights, 1, 1))
    text = str(jax.export.export(function, platforms=["cuda"])(x, weights).mlir_module())
    assert "stablehlo.convolution" in text


def test_large_convolutions_and_their_derivatives_in_float32():
    x, kernel = (jnp.asarray(each) for each in operands(*LARGE))
    found = convolve(x, kernel, 1, 1)
    assert jnp.array_equal(found, jax.jit(convolve, static_argnums=(2, 3))(x, kernel, 1, 1))
    expected = by_hand(np.asarray(x), np.asarray(kernel), 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def value(x, kernel):
        return jnp.square(convolve(x, kernel, 1, 1)).sum()

    to_maps, to_kernel = jax.jit(jax.grad(value, (0, 1)))(x, kernel)
    with jax.enable_x64(True):
        exact = jax.grad(value, (0, 1))(*(jnp.asarray(each, jnp.float64) for each in (x, kernel)))
    for gradient, other in zip((to_maps, to_kernel), exact, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=0, atol=2e-5 * np.abs(other).max())


def test_sizes_that_are_not_known_yet():
    """An export for frames of any size has the plain convolution."""
    sides = jax.export.symbolic_shape("h, w")
    x = jax.ShapeDtypeStruct((1, *sides, 80), jnp.float32)
    kernel = jax.ShapeDtypeStruct(LARGE[1], jnp.float32)
    exported = jax.export.export(jax.jit(lambda x, kernel: convolve(x, kernel, 1, 1)))(x, kernel)
    operands_ = operands(*LARGE)
    expected = by_hand(*operands_, 1)
    np.testing.assert_allclose(
        exported.call(*operands_), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


def test_nothing_compiled():
    x, kernel = (jnp.asarray(each) for each in operands(*LARGE))
    with jax.disable_jit():
        found = convolve(x, kernel, 1, 1)
    assert jnp.array_equal(found, convolve(x, kernel, 1, 1))


def test_an_image_gives_the_same_alone_and_among_others():
    x, kernel = operands((3, *LARGE[0][1:]), LARGE[1])
    work = jax.jit(lambda x: convolve(x, kernel, 1, 1))
    together = np.asarray(work(x))
    alone = np.concatenate([work(each[None]) for each in x])
    np.testing.assert_allclose(alone, together, rtol=0, atol=2e-6 * np.abs(together).max())
