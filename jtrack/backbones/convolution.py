"""A convolution of maps whose derivatives are as quick inside of a loop as outside.

XLA on CPU has a quick convolution for maps NHWC with kernels HWIO, and no other. The gradients that JAX
derives have other layouts. XLA brings them into that one, but not within a loop or a branch: there they take
fifty times as long. So a convolution is a primitive of our own here, whose transposes are convolutions of
operands that are transposed themselves: derivatives of every order and mode are quick. Forward, it is JAX's,
but on a CPU, where large convolutions of 3 x 3 pixels in float32 are those of `winograd`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jtrack.backbones import winograd
from jtrack.types import Array


def convolve(
    x: Array, kernel: Array, stride: int, padding: int, precision: lax.Precision = lax.Precision.HIGHEST
) -> Array:
    """A convolution, as networks have it: a correlation.

    Args:
      x: maps [N, h, w, inputs].
      kernel: [k, k, inputs, outputs] of the same dtype.
      stride: pixels between windows.
      padding: zeros beyond every border.
      precision: what products are computed in.

    Returns:
      Maps [N, h', w', outputs] of the same dtype, h' = floor((h + 2 padding - k) / stride) + 1.
    """
    if stride == 1:
        return _convolve_dense(x, kernel, (padding, padding), precision)
    return convolve_strided(x, kernel, stride, padding, precision)


def _convolve(
    x: Array, kernel: Array, stride: int, padding: tuple[int, int], precision: lax.Precision
) -> Array:
    """A convolution with the derivatives that JAX derives."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(each, each) for each in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


convolution_p = Primitive("convolution")  # of stride 1; kernels need not be square


def _convolve_dense(x: Array, kernel: Array, padding: tuple[int, int], precision: lax.Precision) -> Array:
    """A convolution of stride 1, with a padding for rows and one for columns."""
    return _bind(x, kernel, padding=padding, precision=precision)


def _bind(x: Array, kernel: Array, **options: Any) -> Array:
    return convolution_p.bind(x, kernel, **options)


_compiled = jax.jit(_bind, static_argnames=("padding", "precision"))


def _alone(x: Array, kernel: Array, **options: Any) -> Array:
    """Outside of a compiled function, a convolution is compiled by itself: the same bits."""
    with jax.disable_jit(False):
        return _compiled(x, kernel, **options)


def _evaluate(x: Array, kernel: Array, *, padding: tuple[int, int], precision: lax.Precision) -> Array:
    return _convolve(x, kernel, 1, padding, precision)


def _evaluate_on_cpu(x: Array, kernel: Array, *, padding: tuple[int, int], precision: lax.Precision) -> Array:
    if x.dtype == jnp.float32 and winograd.pays(x.shape, kernel.shape, padding):
        return winograd.convolve(x, kernel, padding)
    return _evaluate(x, kernel, padding=padding, precision=precision)


def _shape(x: ShapedArray, kernel: ShapedArray, **options: Any) -> ShapedArray:
    found = jax.eval_shape(functools.partial(_evaluate, **options), x, kernel)
    return ShapedArray(found.shape, found.dtype)


def _to_maps(
    cotangent: Array, _: Any, kernel: Array, *, padding: tuple[int, int], precision: lax.Precision
) -> Array:
    """The gradient to the maps: a convolution with the kernel reversed, from its outputs to its inputs."""
    margins = kernel.shape[0] - 1 - padding[0], kernel.shape[1] - 1 - padding[1]
    return _convolve_dense(cotangent, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), margins, precision)


def _to_kernel(
    cotangent: Array, x: Array, _: Any, *, padding: tuple[int, int], precision: lax.Precision
) -> Array:
    """The gradient to the kernel: every input's maps with every output's, summed over the N images."""
    images = x.swapaxes(0, 3)  # [inputs, h, w, N]
    windows = jnp.moveaxis(cotangent, 0, 2)  # [h', w', N, outputs]
    return jnp.moveaxis(_convolve_dense(images, windows, padding, precision), 0, 2)


def _batched(
    operands: tuple[Array, Array],
    axes: tuple[int | None, int | None],
    *,
    padding: tuple[int, int],
    precision: lax.Precision,
) -> tuple[Array, int]:
    """Many maps with one kernel are more maps; many kernels are left to JAX."""
    (x, kernel), (of_x, of_kernel) = operands, axes
    if of_x is None or of_kernel is not None:
        plain = jax.vmap(lambda x, kernel: _convolve(x, kernel, 1, padding, precision), axes)
        return plain(x, kernel), 0
    x = jnp.moveaxis(x, of_x, 0)
    y = _convolve_dense(x.reshape(-1, *x.shape[2:]), kernel, padding, precision)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


convolution_p.def_impl(_alone)
convolution_p.def_abstract_eval(_shape)
ad.defbilinear(convolution_p, _to_maps, _to_kernel)
batching.primitive_batchers[convolution_p] = _batched
mlir.register_lowering(convolution_p, mlir.lower_fun(_evaluate, multiple_results=False))
mlir.register_lowering(
    convolution_p, mlir.lower_fun(_evaluate_on_cpu, multiple_results=False), platform="cpu"
)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def convolve_strided(
    x: Array, kernel: Array, stride: int, padding: int, precision: lax.Precision = lax.Precision.HIGHEST
) -> Array:
    """`convolve`, whose derivatives are those of `convolve_blocks`.

    Left to itself, the gradient to the maps convolves maps that are spread with zeros: stride^2 times as many
    multiplications. Over blocks there is no stride.
    """
    return _convolve(x, kernel, stride, (padding, padding), precision)


@functools.partial(convolve_strided.defjvp, symbolic_zeros=True)
def _convolve_strided_jvp(
    stride: int,
    padding: int,
    precision: lax.Precision,
    primals: tuple[Array, Array],
    tangents: tuple[Any, Any],
) -> tuple[Array, Array]:
    (x, kernel), (of_x, of_kernel) = primals, tangents
    y = convolve_strided(x, kernel, stride, padding, precision)
    tangent = jnp.zeros_like(y)
    if not isinstance(of_x, SymbolicZero):
        tangent += convolve_blocks(of_x, kernel, stride, padding, precision)
    if not isinstance(of_kernel, SymbolicZero):
        tangent += convolve_blocks(x, of_kernel, stride, padding, precision)
    return y, tangent


def convolve_blocks(
    x: Array, kernel: Array, stride: int, padding: int, precision: lax.Precision = lax.Precision.HIGHEST
) -> Array:
    """`convolve`, computed with every block of `stride` by `stride` pixels as one pixel of more channels."""
    count, *sides, channels = x.shape
    size = kernel.shape[0]
    span = -(-size // stride)  # blocks that the kernel covers
    blocks = [(side + 2 * padding - size) // stride + span for side in sides]
    # What no window covers is cut off, by a negative padding.
    after = [each * stride - side - padding for each, side in zip(blocks, sides, strict=True)]
    zero = jnp.zeros((), x.dtype)
    x = lax.pad(x, zero, [(0, 0, 0), *((padding, each, 0) for each in after), (0, 0, 0)])
    x = x.reshape(count, blocks[0], stride, blocks[1], stride, channels).swapaxes(2, 3)
    beyond = (0, span * stride - size)
    kernel = jnp.pad(kernel, (beyond, beyond, (0, 0), (0, 0)))
    kernel = kernel.reshape(span, stride, span, stride, channels, -1).swapaxes(1, 2)
    depth = stride * stride * channels
    x, kernel = x.reshape(count, *blocks, depth), kernel.reshape(span, span, depth, -1)
    return _convolve_dense(x, kernel, (0, 0), precision)
