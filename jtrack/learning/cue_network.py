"""DeepTrack's network: a small convolutional network a cue, and a layer that fuses them (Li et al. 2016, II).

Per cue 32 x 32 -> 12 maps of 13 x 13 kernels, ReLU, 2 x 2 maximum (10 x 10 x 12) -> 18 maps of 7 x 7, ReLU,
maximum (2 x 2 x 18) -> 8, ReLU -> 2. The fusion layer maps the cues' 8 hidden numbers to the common 2; each
cue's own last layer is kept to train it by itself. 13 244 numbers a cue, 50 for the fusion of three.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.types import Array, Key, floating

SIDE = 32  # pixels of a patch
HIDDEN = 8  # numbers a cue hands to the fusion


class CueNet(NamedTuple):
    """The network of one cue; all float32."""

    kernel1: Array  # [13, 13, 1, 12]
    bias1: Array  # [12]
    kernel2: Array  # [7, 7, 12, 18]
    bias2: Array  # [18]
    dense: Array  # [72, 8] on (row, column, map)
    dense_bias: Array  # [8]
    head: Array  # [8, 2]
    head_bias: Array  # [2]


class Network(NamedTuple):
    """K cues and their fusion."""

    cues: tuple[CueNet, ...]  # K
    fusion: Array  # [8 K, 2]
    fusion_bias: Array  # [2]


def random_network(
    key: Key, cues: int, span: tuple[float, float] = (0.0, 10.0), dtype: jax.typing.DTypeLike = jnp.float32
) -> Network:
    """Normal weights at half of He's deviation, the first kernels' smaller by the patches' range; biases 0.

    The paper does not say how it starts; with larger weights its learning rates diverge.

    Args:
      key: a PRNG key.
      cues: K.
      span: the range of patches.
      dtype: of the network.
    """
    per_cue = 13 * 13 * 12 + 7 * 7 * 12 * 18 + 72 * HIDDEN + HIDDEN * 2
    # Drawn at once: XLA compiles a draw for a second and more, and there would be 4 a cue.
    noise = jax.random.normal(key, (cues * (per_cue + HIDDEN * 2),), dtype)
    used = 0

    def normal(shape: tuple[int, ...], gain: float) -> Array:
        nonlocal used
        start, used = used, used + math.prod(shape)
        return (gain / math.prod(shape[:-1]) ** 0.5) * noise[start:used].reshape(shape)

    he = 2**0.5
    nets = tuple(
        CueNet(
            normal((13, 13, 1, 12), 0.4 * he / (span[1] - span[0])),
            jnp.zeros(12, dtype),
            normal((7, 7, 12, 18), he / 2),
            jnp.zeros(18, dtype),
            normal((72, HIDDEN), he / 2),
            jnp.zeros(HIDDEN, dtype),
            normal((HIDDEN, 2), 0.5),
            jnp.zeros(2, dtype),
        )
        for _ in range(cues)
    )
    return Network(nets, normal((HIDDEN * cues, 2), 0.5), jnp.zeros(2, dtype))


def hidden(
    net: CueNet, patches: Array, precision: lax.Precision = lax.Precision.HIGHEST, *, corner: float = 0.0
) -> Array:
    """The last hidden layer [N, 8] of one cue's patches [N, 32, 32]; each layer in its kernel's dtype.

    Args:
      net: the cue's.
      patches: [N, 32, 32].
      precision: of the convolutions' products.
      corner: how far the corners of ReLUs and maxima are rounded (`rectified`).
    """
    maps = patches[..., None].astype(net.kernel1.dtype)
    maps = _convolve(maps, net.kernel1, net.bias1, precision, corner)
    maps = _convolve(maps, net.kernel2, net.bias2, precision, corner)
    flat = maps.reshape(len(maps), -1).astype(net.dense.dtype)
    return rectified(_times(flat, net.dense) + net.dense_bias[None], corner)


def with_convolutions_in(net: Network, dtype: str) -> Network:
    """The same network, its convolutions in another dtype.

    They are all but a hundredth of the work. The layers after them, whose rounding would reorder the best
    candidates, stay as they are.
    """
    names = "kernel1", "bias1", "kernel2", "bias2"
    cues = (cue._replace(**{name: getattr(cue, name).astype(dtype) for name in names}) for cue in net.cues)
    return net._replace(cues=tuple(cues))


def own_output(net: CueNet, features: Array) -> Array:
    """What one cue says by itself: hidden layer [N, 8] -> [N, 2]."""
    return _times(features, net.head) + net.head_bias[None]


def fuse(net: Network, features: Array) -> Array:
    """What all cues say together: hidden layers [N, 8 K] -> [N, 2]."""
    return _times(features, net.fusion) + net.fusion_bias[None]


def output(
    net: Network, patches: Array, precision: lax.Precision = lax.Precision.HIGHEST, *, corner: float = 0.0
) -> Array:
    """The network's output [N, 2] for patches [N, 32, 32, K], in [0, 10]; arguments as of `hidden`."""
    features = [hidden(cue, patches[..., k], precision, corner=corner) for k, cue in enumerate(net.cues)]
    return fuse(net, jnp.concatenate(features, axis=-1)).astype(floating(net.fusion))


def _times(features: Array, weights: Array) -> Array:
    return jnp.matmul(features, weights, precision=lax.Precision.HIGHEST)


def rectified(values: Array, corner: float) -> Array:
    """ReLU, or with a corner of a width above 0 the softplus curve that is .7 of that width above it at 0."""
    return jax.nn.relu(values) if corner == 0 else corner * jax.nn.softplus(values / corner)


def _larger(a: Array, b: Array, corner: float) -> Array:
    """The larger of two, elementwise, by `rectified`."""
    return jnp.maximum(a, b) if corner == 0 else b + rectified(a - b, corner)


def _convolve(
    maps: Array,
    kernel: Array,
    bias: Array,
    precision: lax.Precision = lax.Precision.HIGHEST,
    corner: float = 0.0,
) -> Array:
    """A valid convolution, 2 x 2 maximum and ReLU: [N, h, w, c] -> [N, h', w', c'], h' = (h - k + 1) / 2.

    Written as one product of the rows with the kernel laid out in bands. XLA on CPU runs a convolution inside
    a loop or a branch thirty times slower, and one with a kernel a target, as vmap makes it, slower yet.
    """
    count, height, width, channels = maps.shape
    size, outputs = kernel.shape[0], kernel.shape[-1]
    rows = height - size + 1
    columns = width - size + 1
    # Even columns before odd ones, so that the maximum over columns is one of two halves.
    order = [*range(0, columns, 2), *range(1, columns, 2)]
    padding = [((0, 0), (left, columns - 1 - left), (0, 0), (0, 0)) for left in order]
    bands = jnp.stack([jnp.pad(kernel, pad) for pad in padding], axis=3)
    lines = maps.reshape(count, height, width * channels)
    windows = jnp.concatenate([lines[:, down : down + rows] for down in range(size)], axis=-1)
    product = jnp.matmul(
        windows.reshape(count * rows, -1), bands.reshape(-1, columns * outputs), precision=precision
    )
    half = columns * outputs
    product = product.reshape(count, rows // 2, 2 * half)
    product = _larger(product[..., :half], product[..., half:], corner)
    product = _larger(product[..., : half // 2], product[..., half // 2 :], corner)
    product = product.reshape(count, rows // 2, columns // 2, outputs)
    return rectified(product + bias.reshape(1, 1, 1, -1), corner)
