"""Optimisers of optax: Caffe's gradient descent, and Adam with a rate that rises, then falls."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from jtrack.learning.caffe_sgd import Multiplier
from jtrack.types import Array, PyTree


class Descent(NamedTuple):
    """Numbers of a descent with Caffe's step policy."""

    rate: float = 0.001
    rate_every: int = 20_000  # steps after which the rate is divided by ten
    momentum: float = 0.9
    decay: float = 0.0005

    def rate_at(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        return float(self.rate * 0.1 ** (step // self.rate_every))


CAFFE = Descent()  # as Caffe's users fine-tune AlexNet


def caffe_sgd(descent: Descent, multipliers: PyTree) -> optax.GradientTransformation:
    """Momentum that holds the rate, weight decay, and multipliers a blob: `jtrack.learning.caffe_sgd`.

    Args:
      descent: rates.
      multipliers: a `Multiplier` for each leaf, in the tree of the weights.

    Source: Caffe's SGDSolver and its learning rate policy "step" (Jia et al. 2014).
    """

    def over(function: Callable[..., Array], *trees: PyTree) -> PyTree:
        return jax.tree.map(function, multipliers, *trees, is_leaf=lambda node: isinstance(node, Multiplier))

    return optax.chain(
        optax.stateless(lambda slopes, w: over(lambda m, g, w: g + descent.decay * m.decay * w, slopes, w)),
        optax.stateless(lambda slopes, _: over(lambda m, g: m.rate * g, slopes)),
        optax.scale_by_schedule(
            optax.exponential_decay(-descent.rate, descent.rate_every, 0.1, staircase=True)
        ),
        optax.trace(descent.momentum),
    )


def adam(rate: float, steps: int, *, warm_up: int, last: float = 0.0) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, ICLR 2019) on gradients no longer than 1, a weight decay of 1e-4.

    Args:
      rate: the highest learning rate.
      steps: over which it falls, along a cosine.
      warm_up: steps before that in which it rises from 0; a tenth of all at most.
      last: the rate at the end, a share of the highest.
    """
    schedule = optax.warmup_cosine_decay_schedule(0, rate, min(warm_up, steps // 10), steps, last * rate)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))
