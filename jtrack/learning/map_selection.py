"""Which feature maps matter for a target: FCNT's sel-CNN (Wang et al., ICCV 2015, section 4.1).

A single 3 x 3 convolution behind a dropout learns to predict the target's heat map. The significance of a
feature map is then how the loss would change without it, to second order with the diagonal of the Hessian.
The network is linear in the features, so that both derivatives are exact and closed: for an element f_i of
the maps, L(f_i = 0) - L = -g_i f_i + h_ii f_i^2 / 2 with L half the squared error.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.learning import caffe_sgd
from jtrack.learning.caffe_sgd import BIAS, KERNEL, Rates
from jtrack.types import Array, Key

SIZE = 3  # side of the kernel
GROWN = 2.0  # times the loss of nothing learnt: from where a descent counts as diverging
DROPPED = 0.3  # share of the elements left out of every step


class SelectionNet(NamedTuple):
    """The network; float32."""

    kernel: Array  # [3, 3, C]
    bias: Array  # ()


def predict(net: SelectionNet, maps: Array) -> Array:
    """The heat map [h, w] predicted of feature maps [h, w, C]; zeros beyond their border."""
    height, width, channels = maps.shape
    product = jnp.matmul(maps.reshape(-1, channels), net.kernel.reshape(-1, channels).T, precision="highest")
    product = product.reshape(height, width, SIZE, SIZE)
    padded = jnp.pad(product, ((1, 1), (1, 1), (0, 0), (0, 0)))
    taps = [padded[i : i + height, j : j + width, i, j] for i in range(SIZE) for j in range(SIZE)]
    return sum(taps, start=jnp.zeros((height, width), maps.dtype)) + net.bias


def loss(net: SelectionNet, maps: Array, target: Array) -> Array:
    """Half the sum of squared errors (): equation 4 with the half of the released code."""
    return 0.5 * jnp.sum((predict(net, maps) - target) ** 2)


def train(
    key: Key, maps: Array, target: Array, rates: Rates, iterations: int, *, deviation: float = 1e-7
) -> tuple[SelectionNet, Array]:
    """Trains the network from nothing, by Caffe's gradient descent with dropout.

    Args:
      key: a PRNG key, of the first kernel and of the dropout.
      maps: [h, w, C] of the magnitude the rates are meant for.
      target: [h, w] the heat map that is learnt.
      rates: learning rate, momentum and weight decay; the bias learns twice as fast and does not decay.
      iterations: how many steps.
      deviation: standard deviation of the kernel to begin with.

    Returns:
      The network, and the loss [iterations] before each step, with dropout. Where the loss is twice that of
      nothing learnt, the descent begins again with half the rate: one map that is no number would leave all
      in arbitrary order.
    """
    kernel_key, drop_key = jax.random.split(key)
    first = SelectionNet(
        deviation * jax.random.normal(kernel_key, (SIZE, SIZE, maps.shape[-1]), maps.dtype),
        jnp.zeros((), maps.dtype),
    )

    at_rest = caffe_sgd.zero_velocity(first)
    limit = GROWN * loss(first, maps, target)
    multipliers: Any = SelectionNet(KERNEL, BIAS)  # type: ignore[arg-type]

    def descend(carry: Any, key: Key) -> tuple[Any, Array]:
        net, velocity, pace = carry
        value, slope = jax.value_and_grad(loss)(net, dropout(key, maps), target)
        slowed = rates._replace(learning_rate=pace * rates.learning_rate)
        stepped = caffe_sgd.step(net, velocity, slope, slowed, multipliers)
        # Comparing so that a loss that is no number counts as grown.
        grown = jnp.logical_not(value <= limit)
        net, velocity = caffe_sgd.tree_where(grown, (first, at_rest), stepped)
        return (net, velocity, jnp.where(grown, pace / 2, pace)), value

    start = first, at_rest, jnp.ones((), maps.dtype)
    (net, _, _), losses = lax.scan(descend, start, jax.random.split(drop_key, iterations))
    return caffe_sgd.tree_where(loss(net, maps, target) <= limit, net, first), losses


def dropout(key: Key, maps: Array) -> Array:
    """Leaves out each element with probability .3 and enlarges the others by 1 / .7.

    A draw of 16 bits an element: half the random numbers, and .3 to 1e-5.
    """
    bits = jax.random.bits(key, (-(-maps.size // 2),), jnp.uint32)
    halves = lax.bitcast_convert_type(bits, jnp.uint16).reshape(-1)[: maps.size].reshape(maps.shape)
    kept = halves >= jnp.uint16(round(DROPPED * 2**16))
    return jnp.where(kept, maps / (1 - DROPPED), 0)


def derivatives(net: SelectionNet, maps: Array, target: Array) -> tuple[Array, Array]:
    """First derivative and diagonal of the Hessian of the loss with respect to the features.

    Args:
      net: the network.
      maps: [h, w, C].
      target: [h, w].

    Returns:
      g [h, w, C], the residual convolved with the rotated kernel, and h [h, w, C], a map of ones convolved
      with the rotated kernel of squared weights: smaller at the border, where fewer outputs see an element.
    """
    residual = predict(net, maps) - target
    return _spread(residual, net.kernel), _spread(jnp.ones_like(residual), net.kernel**2)


def _spread(outputs: Array, kernel: Array) -> Array:
    """The transposed convolution: outputs [h, w] back to the features [h, w, C] they were made of."""
    height, width = outputs.shape
    padded = jnp.pad(outputs, 1)
    # The output at (y + 1 - i, x + 1 - j) read the feature at (y, x) with the weight (i, j).
    shifted = [
        padded[2 - i : 2 - i + height, 2 - j : 2 - j + width] for i in range(SIZE) for j in range(SIZE)
    ]
    spread = jnp.stack(shifted, axis=-1).reshape(-1, SIZE**2)
    spread = jnp.matmul(spread, kernel.reshape(SIZE**2, -1), precision="highest")
    return spread.reshape(height, width, -1)


def significance(net: SelectionNet, maps: Array, target: Array, *, curvature: float = 1.0) -> Array:
    """How much each feature map matters to the loss.

    Args:
      net: the trained network.
      maps: [h, w, C].
      target: [h, w].
      curvature: what the second-order term is multiplied by. 1 is equation 6, the rise of the loss without a
        map's elements. -1 is the released code's: the fall of the loss with them doubled, which counts
        against a map what the paper counts for it.

    Returns:
      [C]; the larger, the more significant.
    """
    slope, bend = derivatives(net, maps, target)
    return jnp.sum(-slope * maps + curvature * 0.5 * bend * maps**2, axis=(0, 1))


def select(significance: Array, count: int) -> Array:
    """The indices [count] int32 of the most significant maps, the first of all first."""
    return lax.top_k(significance, count)[1]


def choose(
    key: Key, maps: Array, target: Array, rates: Rates, *, count: int, iterations: int, curvature: float
) -> Array:
    """The indices [count] int32 of the maps [h, w, C] to keep; all in their order if none is left out.

    Arguments are those of `train`, `significance` and `select`.
    """
    if count >= maps.shape[-1]:
        return jnp.arange(maps.shape[-1], dtype=jnp.int32)
    net, _ = train(key, maps, target, rates, iterations)
    return select(significance(net, maps, target, curvature=curvature), count)
