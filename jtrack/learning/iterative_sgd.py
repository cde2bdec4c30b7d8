"""Stochastic gradient descent cue by cue: DeepTrack's IT-SGD (Li, Li and Porikli, TIP 2016, III-A 3).

The paper's Algorithm 1 is a figure: this is rebuilt from the text. A cycle visits the cues in turn; each
takes a step on its own loss, then the fusion layer takes one, on that cue's columns only. The
loop is bounded and made of products alone (`cue_network`), so that it runs under vmap. One that ends at a
tolerance has no reverse mode; one of a fixed length has.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.learning import cue_network, replay_buffer, structural_loss
from jtrack.learning.cue_network import HIDDEN, CueNet, Network
from jtrack.learning.replay_buffer import ReplayBuffer
from jtrack.types import Array, Key, PyTree, Scalar


class Batch(NamedTuple):
    """N samples."""

    patches: Array  # [N, 32, 32, K] in [0, 10]
    label: Array  # [N, 2]
    importance: Array  # [N]


class Rates(NamedTuple):
    """Numbers of the descent, () float32 each."""

    cue: Array  # learning rate of a cue's layers, r
    fusion: Array  # learning rate of the fusion layer
    momentum: Array  # 0 in the paper
    beta: Array  # of the truncated norm
    tightening: Array  # of the truncated norm, u
    max_gradient_norm: Array  # norm to which a longer gradient, of a cue or of the fusion, is cut


class Progress(NamedTuple):
    """What a training is left with."""

    network: Network
    cycles: Array  # () int32: how many it took
    loss: Array  # () the moving mean over batches


def draw_batch(
    key: Key, positives: ReplayBuffer, negatives: ReplayBuffer, time: Array, *, count: int, decay: Scalar
) -> Batch:
    """A batch: a quarter of the target, the same mirrored, and half of the background.

    Args:
      key: a PRNG key.
      positives: samples of the target.
      negatives: samples of the background.
      time: () int32, number of the frame.
      count: of samples in the batch, a multiple of 4.
      decay: () of the chance to draw the background of an earlier frame, per frame^2.
    """
    positive_key, negative_key = jax.random.split(key)
    quarter, half = count // 4, count // 2
    ages = replay_buffer.weights(positives, time, 0.0)
    of_target = replay_buffer.draw(positive_key, ages, quarter)
    ages = replay_buffer.weights(negatives, time, decay)
    of_background = replay_buffer.draw(negative_key, ages, half)
    target = positives.patches[of_target]
    patches = jnp.concatenate([target, target[:, :, ::-1], negatives.patches[of_background]])
    weight = positives.importance[of_target]
    is_target = jnp.arange(count) < half
    return Batch(
        patches.astype(weight.dtype),
        structural_loss.label(is_target.astype(weight.dtype)),
        jnp.concatenate([weight, weight, negatives.importance[of_background]]),
    )


def loss(output: Array, batch: Batch, rates: Rates) -> Array:
    """The structural truncated loss of a batch, equation 10: the mean over all N, those cut included."""
    error = structural_loss.truncated(
        output - batch.label, batch.label, beta=rates.beta, tightening=rates.tightening
    )
    return jnp.mean(batch.importance * error)


def iterative_cycle(
    network: Network, velocity: Network, batch: Batch, rates: Rates, corner: float = 0.0
) -> tuple[Network, Network, Array]:
    """One cycle over the cues.

    Returns:
      The network, the velocity, and the fused loss () on the batch afterwards.
    """
    # A cue's own loss depends on nothing but its own layers: all gradients are there before the first step.
    parts = [(cue, batch.patches[..., k]) for k, cue in enumerate(network.cues)]
    own_loss = functools.partial(_own_loss, batch=batch, rates=rates, corner=corner)
    graded = [jax.grad(own_loss, has_aux=True)(cue, patches) for cue, patches in parts]
    features = [features for _, features in graded]
    gradient = tuple(gradient for gradient, _ in graded)
    descended = [
        _descend(*of_cue, rates.cue, rates)
        for of_cue in zip(network.cues, velocity.cues, gradient, strict=True)
    ]
    cues, speeds = (tuple(of_cues) for of_cues in zip(*descended, strict=True))
    fused, drift = network[1:], velocity[1:]

    def fused_loss(layer: tuple[Array, Array]) -> Array:
        whole = Network((), *layer)
        return loss(cue_network.fuse(whole, jnp.concatenate(features, axis=-1)), batch, rates)

    for k, (cue, (_, patches)) in enumerate(zip(cues, parts, strict=True)):
        features[k] = cue_network.hidden(cue, patches, corner=corner)
        # Coordinate descent: what belongs to other cues gets no gradient and keeps its place and velocity.
        columns = slice(k * HIDDEN, (k + 1) * HIDDEN)
        kernel, bias = jax.grad(fused_loss)(fused)
        part, speed = _descend(
            (fused[0][columns], fused[1]),
            (drift[0][columns], drift[1]),
            (kernel[columns], bias),
            rates.fusion,
            rates,
        )
        fused = fused[0].at[columns].set(part[0]), part[1]
        drift = drift[0].at[columns].set(speed[0]), speed[1]
    return Network(cues, *fused), Network(speeds, *drift), fused_loss(fused)


def _own_loss(cue: CueNet, patches: Array, batch: Batch, rates: Rates, corner: float) -> tuple[Array, Array]:
    """The loss () of one cue by itself, and its hidden layer [N, 8]."""
    features = cue_network.hidden(cue, patches, corner=corner)
    return loss(cue_network.own_output(cue, features), batch, rates), features


def joint_cycle(
    network: Network, velocity: Network, batch: Batch, rates: Rates, corner: float = 0.0
) -> tuple[Network, Network, Array]:
    """One step of all layers on the fused loss: what the paper's iterative scheme is compared with.

    The cues' own last layers, which nothing reads then, stay as they are.
    """

    def fused_loss(network: Network) -> Array:
        return loss(cue_network.output(network, batch.patches, corner=corner), batch, rates)

    gradient = jax.grad(fused_loss)(network)
    cues, speeds = _descend(network.cues, velocity.cues, gradient.cues, rates.cue, rates)
    fused, drift = _descend(network[1:], velocity[1:], gradient[1:], rates.fusion, rates)
    following = Network(cues, *fused)
    return following, Network(speeds, *drift), fused_loss(following)


CYCLES = {"iterative": iterative_cycle, "joint": joint_cycle}


def train(
    key: Key,
    network: Network,
    draw: Callable[[Key], Batch],
    rates: Rates,
    *,
    tolerance: Array | None,
    budget: int,
    loss_rate: Scalar = 1.0,
    schedule: str = "iterative",
    corner: float = 0.0,
) -> Progress:
    """Trains until the fused loss on the batches learnt is at most `tolerance`, or the budget is spent.

    Reverse mode goes through a training without a tolerance, and computes each cycle again.

    Args:
      key: a PRNG key.
      network: where to begin.
      draw: makes a batch from a key; each cycle has its own.
      rates: learning rates and the loss's numbers.
      tolerance: () epsilon of the paper; None spends the whole budget.
      budget: cycles at most.
      loss_rate: () of the moving mean of losses that meets the tolerance: with 1 that of the batch just
        learnt, which a lucky batch ends.
      schedule: one of `CYCLES`.
      corner: how far the network's corners are rounded (`cue_network.rectified`).
    """
    cycle = CYCLES[schedule]

    def unfinished(carry: PyTree) -> Array:
        _, _, _, count, loss = carry
        return (count < budget) & (loss > tolerance)

    def body(carry: PyTree) -> PyTree:
        key, network, velocity, count, mean = carry
        key, drawn = jax.random.split(key)
        network, velocity, loss = cycle(network, velocity, draw(drawn), rates, corner)
        if tolerance is not None:
            loss = jnp.where(count == 0, loss, loss_rate * loss + (1 - loss_rate) * mean)
        return key, network, velocity, count + 1, loss

    at_rest = jax.tree.map(jnp.zeros_like, network)
    start = key, network, at_rest, jnp.zeros((), jnp.int32), jnp.asarray(jnp.inf, network.fusion.dtype)
    if tolerance is None:
        again = jax.checkpoint(body, prevent_cse=False)
        end, _ = lax.scan(lambda carry, _: (again(carry), None), start, length=budget)
    else:
        end = lax.while_loop(unfinished, body, start)
    _, network, _, count, reached = end
    return Progress(network, count, reached)


def _descend(
    params: PyTree, velocity: PyTree, gradient: PyTree, rate: Array, rates: Rates
) -> tuple[PyTree, PyTree]:
    """One step against the gradient, whose length is cut: a network that diverges would never track again."""
    length = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
    share = jnp.minimum(1, rates.max_gradient_norm / jnp.maximum(length, 1e-12))
    velocity = jax.tree.map(lambda v, g: rates.momentum * v + share * g, velocity, gradient)
    return jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity
