"""A small fully connected head on the feature map of a network: fc6, ReLU, fc7, and a softmax of two classes.

GDT (Zhai, Javan Roshtkhari and Mori, 2016, sections 3.1 and 3.2) reduces AlexNet's fc7 to 500 numbers and
models those. They are taken before their ReLU: behind it many are 0 for every sample, and have no variance.
The two classes are what the head is trained with: object and background offline, the target and background
in the first frame. Tracking does not use them.

    features = pool(maps, cells)            # [N, h, w, C] -> [N, D]
    params   = init(key, D, 512, 500)       # or with fc6 of a network: `with_fc6`
    values   = apply(params, features)      # fc7 [N, 500]
    scores   = logits(params, values)       # [N, 2]: background, object
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.learning import caffe_sgd
from jtrack.learning.caffe_sgd import Multiplier, Rates
from jtrack.types import Array, Key, PyTree, floating
from jtrack.vision.resize import resize

BACKGROUND, OBJECT = 0, 1  # the classes


class Dense(NamedTuple):
    """A fully connected layer, float32."""

    kernel: Any  # [inputs, outputs]
    bias: Any  # [outputs]


class Params(NamedTuple):
    """The head; 4 (D H + H O + 3 O + H + 2) bytes: 38 MB for D = 18 432, H = 512 and O = 500."""

    fc6: Dense  # D -> H
    fc7: Dense  # H -> O
    objectness: Dense  # O -> 2


# What Caffe's users give a layer that was trained before, and one that is new.
# A tree of `Params(TRAINED, NEW, NEW)` is what `caffe_sgd.step` takes.
TRAINED = Dense(Multiplier(1.0, 1.0), Multiplier(2.0, 0.0))
NEW = Dense(Multiplier(10.0, 1.0), Multiplier(20.0, 0.0))


def init(
    key: Key, in_features: int, hidden: int, out: int, dtype: jax.typing.DTypeLike = jnp.float32
) -> Params:
    """A head before training: He-normal kernels for features of unit root mean square, biases 0.

    Args:
      key: a PRNG key.
      in_features: D, of `pool`.
      hidden: H, numbers of fc6.
      out: O, numbers of fc7.
      dtype: of the head.

    Returns:
      The head.
    """
    keys = jax.random.split(key, 3)
    return Params(
        _dense(keys[0], in_features, hidden, 2.0, dtype),
        _dense(keys[1], hidden, out, 2.0, dtype),
        _dense(keys[2], out, 2, 1.0, dtype),
    )


def with_fc6(key: Key, fc6: Dense, out: int) -> Params:
    """A head that begins with a network's own fc6; fc7 is new and starts as Caffe would start it.

    Args:
      key: a PRNG key.
      fc6: kernel [D, H] and bias [H], as `Backbone` stores them.
      out: O, numbers of fc7.

    Returns:
      The head.
    """
    keys = jax.random.split(key, 2)
    hidden = fc6.kernel.shape[1]
    dtype = floating(fc6.kernel)
    kernel, bias = (part.astype(dtype) for part in fc6)
    return Params(
        Dense(kernel, bias), _dense(keys[0], hidden, out, 2.0, dtype), _dense(keys[1], out, 2, 1.0, dtype)
    )


def stored(weights: Mapping[str, Mapping[str, Any]], name: str) -> Dense:
    """A fully connected layer of a network's weights, in float32 even where they are bfloat16."""
    kernel, bias = (jnp.asarray(weights[name][part]) for part in ("kernel", "bias"))
    return Dense(kernel.astype(floating(kernel)), bias.astype(floating(bias)))


def _dense(key: Key, inputs: int, outputs: int, gain: float, dtype: jax.typing.DTypeLike) -> Dense:
    kernel = (gain / inputs) ** 0.5 * jax.random.normal(key, (inputs, outputs), dtype)
    return Dense(kernel, jnp.zeros((outputs,), dtype))


def pool(maps: Array, cells: int | None, *, normalised: bool = True) -> Array:
    """Feature maps as the head takes them.

    Args:
      maps: [N, h, w, C] float32 of a network's tap, or [N, C].
      cells: maps are averaged over areas to so many cells a side; None takes them as they are.
      normalised: whether each sample is brought to a root mean square of 1, so that one rate fits all
        networks; without it for layers trained on the network's own magnitude (AlexNet's fc6).

    Returns:
      [N, D] float32 with D = cells cells C, in the order (row, column, channel).
    """
    if cells is not None and maps.shape[1:3] != (cells, cells):
        maps = resize(maps, (cells, cells), method="imresample")
    flat = maps.reshape(maps.shape[0], -1)
    if not normalised:
        return flat
    square = jnp.mean(flat * flat, axis=1, keepdims=True)
    return flat * lax.rsqrt(jnp.maximum(square, 1e-12))


def apply(params: Params, features: Array) -> Array:
    """fc7 [N, O], before its ReLU, of features [N, D]."""
    return _dense_apply(params.fc7, jax.nn.relu(_dense_apply(params.fc6, features)))


def values(head: Params | None, features: Array) -> Array:
    """fc7 [N, O] of features [N, D], or without a head the features themselves."""
    return features if head is None else apply(head, features)


def logits(params: Params, values: Array) -> Array:
    """Scores [N, 2] of the classes (background, object), of fc7 [N, O] before its ReLU."""
    return _dense_apply(params.objectness, jax.nn.relu(values))


def loss(scores: Array, labels: Array) -> Array:
    """The mean cross entropy () of the softmax of scores [N, 2] and labels [N] int32 in {0, 1}."""
    chances = jax.nn.log_softmax(scores, axis=1)
    return -jnp.mean(jnp.take_along_axis(chances, labels[:, None], axis=1))


def _dense_apply(layer: Dense, x: Array) -> Array:
    return jnp.matmul(x, layer.kernel, precision="highest") + layer.bias[None]


def fine_tune(
    params: Params,
    features: Array,
    labels: Array,
    batches: Array,
    rates: Rates,
    multipliers: Params,
    *,
    max_gradient_norm: Array | float | None = None,
) -> tuple[Params, Array]:
    """Trains the head as a classifier by Caffe's gradient descent, all layers of it.

    fc6 is only ever changed by sums of the features, so it is carried as a share of the given kernel and
    coefficients of the samples, and multiplied through their inner products: the same steps to rounding, for
    AlexNet's 9216 x 4096 and 600 samples at a fifteenth of the work.

    Args:
      params: where to begin.
      features: [N, D] of all samples.
      labels: [N] int32: BACKGROUND or OBJECT.
      batches: [T, B] int32: the samples of each iteration.
      rates: learning rate, momentum and weight decay.
      multipliers: a `Multiplier` for every kernel and bias (`TRAINED`, `NEW`).
      max_gradient_norm: () norm to which a longer gradient is cut; None cuts none.

    Returns:
      The head, and the loss [T] of each batch before its step. Reverse mode works through it.
    """
    inner = jnp.matmul(features, features.T, precision="highest")  # [N, N]
    start = jnp.matmul(features, params.fc6.kernel, precision="highest")  # [N, H]
    fc6 = multipliers.fc6
    plan = (fc6.kernel, fc6.kernel, fc6.bias, multipliers.fc7, multipliers.objectness)

    def batch_loss(hidden: Array, rest: tuple[Dense, Dense], classes: Array) -> Array:
        fc7, objectness = rest
        values = _dense_apply(fc7, jax.nn.relu(hidden))
        return loss(_dense_apply(objectness, jax.nn.relu(values)), classes)

    def descend(carry: PyTree, batch: Array) -> tuple[PyTree, Array]:
        weights, velocity = carry
        share, coefficients, bias, *rest = weights
        between = inner[batch]  # [B, N]
        learnt = jnp.matmul(between, coefficients, precision="highest")
        hidden = share * start[batch] + learnt + bias[None]
        value, (slope, rest_slope) = jax.value_and_grad(batch_loss, argnums=(0, 1))(
            hidden, (rest[0], rest[1]), labels[batch]
        )
        pulled = jnp.zeros_like(coefficients).at[batch].add(slope)
        gradient = (jnp.zeros_like(share), pulled, slope.sum(axis=0), *rest_slope)
        if max_gradient_norm is not None:
            # The gradient of the kernel is features^T pulled: its norm, too, needs inner products only.
            square = jnp.sum(slope * jnp.matmul(between, pulled, precision="highest"))
            square += sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient[2:]))
            cut = jnp.minimum(1.0, max_gradient_norm * lax.rsqrt(jnp.maximum(square, 1e-20)))
            gradient = jax.tree.map(lambda leaf: cut * leaf, gradient)
        return caffe_sgd.step(weights, velocity, gradient, rates, plan), value

    weights = (
        jnp.ones((), start.dtype),
        jnp.zeros_like(start),
        params.fc6.bias,
        params.fc7,
        params.objectness,
    )
    ((share, coefficients, bias, fc7, objectness), _), losses = lax.scan(
        descend, (weights, caffe_sgd.zero_velocity(weights)), batches
    )
    learnt = jnp.matmul(features.T, coefficients, precision="highest")
    return Params(Dense(share * params.fc6.kernel + learnt, bias), fc7, objectness), losses
