"""Small convolutional networks that turn feature maps into a heat map: FCNT's GNet and SNet.

A 9 x 9 convolution, a ReLU and a 5 x 5 convolution to one map (Wang, Ouyang, Wang and Lu, ICCV 2015, section
4.2). Convolutions are products of matrices whose results are shifted and added: XLA on CPU runs a convolution
inside a loop or a branch ten times slower, and one with a kernel a target, as vmap makes it, slower yet.

Training never touches the features, so that the gradient of the first kernel is always a sum of the N h w
patches it is trained on. `train` therefore descends on the coefficients of that sum, which takes the patches'
inner products instead of the patches themselves: the same steps as on the kernel, to rounding, at a
thirtieth of the work for 46 x 46 maps of 384 channels.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.checks import there
from jtrack.learning import caffe_sgd
from jtrack.learning.caffe_sgd import BIAS, KERNEL, Rates
from jtrack.types import Array, Key

SIZE1, SIZE2 = 9, 5  # sides of the kernels
GROWN = 2.0  # times the least loss: from where a descent counts as diverging


class HeatMapNet(NamedTuple):
    """The network; all float32. 4 (81 C M + 26 M + 1) bytes: 4.0 MB for 384 channels and 32 hidden maps."""

    kernel1: Array  # [C, 9, 9, M]
    bias1: Array  # [M]
    kernel2: Array  # [M, 5, 5, 1]
    bias2: Array  # [1]


class Samples(NamedTuple):
    """What a network is trained on: N feature maps and the heat maps that they are to give."""

    maps: Array  # [N, h, w, C]
    target: Array  # [N, h, w]
    weight: Array  # [N, h, w] of each squared error; 0 where nothing is known


class Head(NamedTuple):
    """A network on the feature maps that were chosen for it."""

    channels: Array  # [K] int32, the most significant first
    offset: Array  # [K] float32: what is subtracted from the features
    gain: Array  # () float32: what they are multiplied by then
    net: HeatMapNet
    velocity: HeatMapNet | None  # of its descent; None if it does not go on learning

    def inputs(self, maps: Array) -> Array:
        """Of all feature maps [h, w, C] what the network takes [h, w, K]."""
        chosen = jnp.take(maps, self.channels, axis=-1)
        return (chosen - self.offset.reshape(1, 1, -1)) * self.gain

    def heat(self, inputs: Array, slope: float) -> Array:
        """The heat map [h, w] of its inputs [h, w, K]; `slope` as of `heat_map`."""
        return heat_map(self.net, inputs[None], slope=slope)[0]


def random_net(
    key: Key,
    channels: int,
    hidden: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
    *,
    deviation: float = 1e-7,
) -> HeatMapNet:
    """The network before training: Gaussian kernels, biases .1 and 0, as released."""
    key1, key2 = jax.random.split(key)
    return HeatMapNet(
        deviation * jax.random.normal(key1, (channels, SIZE1, SIZE1, hidden), dtype),
        jnp.full((hidden,), 0.1, dtype),
        deviation * jax.random.normal(key2, (hidden, SIZE2, SIZE2, 1), dtype),
        jnp.zeros((1,), dtype),
    )


def heat_map(net: HeatMapNet, maps: Array, *, slope: float = 1.0) -> Array:
    """The network's heat maps [N, h, w] of feature maps [N, h, w, C]; borders are padded with zeros.

    Args:
      net: the network.
      maps: its input.
      slope: what heat below zero is multiplied by. 1 leaves it, as the released code does; 0 is the paper's
        second ReLU. A network of small weights begins at a heat of 0, where a ReLU lets no gradient through.
    """
    return _readout(convolve(maps, net.kernel1), net, slope)


def loss(net: HeatMapNet, samples: Samples, *, slope: float = 1.0) -> Array:
    """Half the weighted sum of squared errors (), without the weight decay; `slope` as of `heat_map`.

    Equations 7 and 10 have the same without the half, which the released code puts there.
    """
    error = heat_map(net, samples.maps, slope=slope) - samples.target
    return 0.5 * jnp.sum(samples.weight * error**2)


def convolve(maps: Array, kernel: Array) -> Array:
    """A convolution of odd side with zeros beyond the border: [N, h, w, C], [C, k, k, M] -> [N, h, w, M]."""
    channels, size, _, outputs = kernel.shape
    count, height, width, _ = maps.shape
    product = jnp.matmul(maps.reshape(-1, channels), kernel.reshape(channels, -1), precision="highest")
    product = product.reshape(count, height, width, size, size * outputs)
    # Row by row, then column by column: 2 k shifts of what is left instead of k^2.
    rows: Any = sum(_shifted(product[:, :, :, i], i - size // 2, 1) for i in range(size))
    columns = rows.reshape(count, height, width, size, outputs)
    total: Any = sum(_shifted(columns[:, :, :, i], i - size // 2, 2) for i in range(size))
    return total


def spectral_norm(maps: Array, *, iterations: int = 20) -> Array:
    """The largest singular value () of feature maps [h, w, C], positions against channels.

    Its square bounds the curvature of a squared error in a kernel on these maps, and with it the learning
    rate. By power iteration from the mean of the maps, which for features after a ReLU is close.
    """
    flat = maps.reshape(-1, maps.shape[-1])

    def iterate(_: int, direction: Array) -> Array:
        longer = jnp.matmul(flat.T, jnp.matmul(flat, direction, precision="highest"), precision="highest")
        return longer / jnp.maximum(jnp.linalg.norm(longer), 1e-20)

    direction = lax.fori_loop(0, iterations, iterate, jnp.abs(flat).mean(0))
    return jnp.linalg.norm(jnp.matmul(flat, direction, precision="highest"))


def scaled(maps: Array, *, centring: Array, norm: Array, weight: float = 1.0) -> tuple[Array, Array, Array]:
    """Feature maps of the magnitude that the learning rates are meant for.

    Args:
      maps: [h, w, C].
      centring: () share of its mean that is subtracted from each map.
      norm: () their spectral norm to be; maps that are all 0 stay so.
      weight: of the squared error of each cell.

    Returns:
      The maps [h, w, C], what was subtracted [C], and what they were multiplied by then ().
    """
    offset = centring * jnp.mean(maps, axis=(0, 1))
    maps = maps - offset.reshape(1, 1, -1)
    now = spectral_norm(maps) * weight**0.5
    gain = jnp.where(now > 1e-6, norm / jnp.maximum(now, 1e-6), 0.0)
    return maps * gain, offset, gain


def train(
    net: HeatMapNet,
    velocity: HeatMapNet,
    samples: Samples,
    rates: Rates,
    iterations: int,
    *,
    slope: float = 1.0,
) -> tuple[HeatMapNet, HeatMapNet, Array]:
    """Some steps of Caffe's gradient descent on all samples at once.

    Args:
      net: where to begin.
      velocity: of the descent; `caffe_sgd.zero_velocity(net)` at first.
      samples: features, targets and weights. The features should be of the magnitude the rates are meant for.
      rates: learning rate, momentum and weight decay; biases learn twice as fast and do not decay.
      iterations: how many steps, at least 1.
      slope: as of `heat_map`.

    Returns:
      The network and the velocity where the loss was least, which is at the end unless the descent diverged,
      and the loss [iterations + 1] before each step and at the end. Where the loss doubles, the descent goes
      back to its least, stands still and halves its rate. Reverse mode works through it.
    """
    hidden = net.bias1.size
    given = jnp.concatenate([net.kernel1, velocity.kernel1], axis=-1)
    start, to_kernels = jax.vjp(lambda kernels: convolve(samples.maps, kernels), given)
    start = start.reshape(*start.shape[:-1], 2, hidden)
    inner = _inner_products(samples.maps, SIZE1)

    def first_layer(kernel: tuple[Array, Array]) -> Array:
        """Its output, by the shares [2] of the given kernel and velocity and the patches' coefficients."""
        shares, coefficients = kernel
        learnt = jnp.matmul(inner, coefficients.reshape(-1, hidden), precision="highest")
        given = jnp.einsum("nhwsm,s->nhwm", start, shares, precision="highest")
        return given + learnt.reshape(coefficients.shape)

    def error(output: Array, rest: tuple[Array, Array, Array]) -> Array:
        predicted = _readout(output, HeatMapNet(output, *rest), slope)
        return 0.5 * jnp.sum(samples.weight * (predicted - samples.target) ** 2)

    def descend(carry: Any, _: None) -> tuple[Any, Array]:
        (weights, speed), best, pace = carry
        kernel, rest = weights
        value, (output_slope, rest_slope) = jax.value_and_grad(error, argnums=(0, 1))(
            first_layer(kernel), rest
        )
        best = caffe_sgd.tree_where(value < best[0], (value, weights, speed), best)
        # The slope of the kernel is the sum of the patches weighted by the slope of their outputs.
        slope = (jnp.zeros_like(kernel[0]), output_slope), rest_slope
        multipliers = (KERNEL, KERNEL), (BIAS, KERNEL, BIAS)
        slowed = rates._replace(learning_rate=pace * rates.learning_rate)
        stepped = caffe_sgd.step(weights, speed, slope, slowed, multipliers)
        # Comparing so that a loss that is no number counts as grown.
        grown = jnp.logical_not(value <= GROWN * best[0])
        following = caffe_sgd.tree_where(grown, (best[1], caffe_sgd.zero_velocity(speed)), stepped)
        return (following, best, jnp.where(grown, pace / 2, pace)), value

    dtype = net.kernel1.dtype
    none = jnp.zeros((*samples.target.shape, hidden), dtype)
    own, other = jnp.array([1.0, 0.0], dtype), jnp.array([0.0, 1.0], dtype)
    begin = ((own, none), net[1:]), ((other, none), velocity[1:])
    first = begin, (jnp.array(jnp.inf, dtype), *begin), jnp.array(1.0, dtype)
    # A step more, in vain, tells the loss at the end.
    (_, (_, *best), _), losses = lax.scan(descend, first, length=iterations + 1)

    ((shares, coefficients), rest), ((speed_shares, speed_coefficients), speed_rest) = best
    sums = to_kernels(jnp.concatenate([coefficients, speed_coefficients], axis=-1))[0]
    kernels = [
        part[0] * net.kernel1 + part[1] * velocity.kernel1 + learnt
        for part, learnt in zip((shares, speed_shares), jnp.split(sums, 2, axis=-1), strict=True)
    ]
    return HeatMapNet(kernels[0], *rest), HeatMapNet(kernels[1], *speed_rest), losses


def begin(
    key: Key,
    maps: Array,
    target: Array,
    *,
    hidden: int,
    weight: float,
    rates: Rates,
    iterations: int,
    slope: float = 1.0,
) -> tuple[HeatMapNet, HeatMapNet]:
    """A network that has learnt the first frame, and the velocity of its descent.

    Args:
      key: a PRNG key.
      maps: [h, w, K] of the magnitude the rates are meant for.
      target: [h, w].
      hidden: maps of the first layer.
      weight: of each squared error.
      rates: of the descent.
      iterations: of the descent.
      slope: as of `heat_map`.
    """
    net = random_net(key, maps.shape[-1], hidden, maps.dtype)
    sample = Samples(maps[None], target[None], jnp.full((1, *target.shape), weight, maps.dtype))
    net, velocity, _ = train(net, caffe_sgd.zero_velocity(net), sample, rates, iterations, slope=slope)
    return net, velocity


def go_on(head: Head, samples: Samples, rates: Rates, iterations: int, *, slope: float = 1.0) -> Head:
    """A network that goes on learning, with the velocity it had; arguments as of `train`."""
    net, velocity, _ = train(head.net, there(head.velocity), samples, rates, iterations, slope=slope)
    return head._replace(net=net, velocity=velocity)


def _readout(hidden: Array, net: HeatMapNet, slope: float) -> Array:
    """From the first convolution [N, h, w, M] to the heat map [N, h, w]."""
    active = jax.nn.relu(hidden + net.bias1.reshape(1, 1, 1, -1))
    heat = (convolve(active, net.kernel2) + net.bias2.reshape(1, 1, 1, 1))[..., 0]
    return heat if slope == 1 else jnp.where(heat > 0, heat, slope * heat)


def _shifted(maps: Array, offset: int, axis: int) -> Array:
    """What lies `offset` further along an axis; zeros beyond the border."""
    padding = [(0, 0, 0)] * maps.ndim
    padding[axis] = (-offset, offset, 0)
    return lax.pad(maps, jnp.zeros((), maps.dtype), padding)


def _inner_products(maps: Array, size: int) -> Array:
    """Inner products [N h w, N h w] of all patches of side `size` and depth C in maps [N, h, w, C]."""
    count, height, width, channels = maps.shape
    flat = maps.reshape(-1, channels)
    table = jnp.matmul(flat, flat.T, precision="highest")
    table = table.reshape(count, height, width, count, height, width)
    # A patch's inner product is the sum of its positions', which move together: first rows, then columns.
    for axis, length in ((1, height), (2, width)):
        padding = [(0, 0)] * table.ndim
        padding[axis] = padding[axis + 3] = (size // 2, size // 2)
        # Kept apart from the sum by a barrier, the padding is done once instead of at each of its nine terms.
        padded = lax.optimization_barrier(jnp.pad(table, padding))

        def part(i: int, padded: Array = padded, axis: int = axis, length: int = length) -> Array:
            return lax.slice_in_dim(
                lax.slice_in_dim(padded, i, i + length, axis=axis), i, i + length, axis=axis + 3
            )

        table = lax.optimization_barrier(sum(part(i) for i in range(size)))
    return table.reshape(count * height * width, -1)
