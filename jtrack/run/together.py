"""Targets that begin in one frame: those of one tracker run as lanes of one vmapped step."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from jtrack.run.advance import due, learn_where_due, step_lanes
from jtrack.types import Array, Frame, Key, Output, PyTree, Tracker


class Executable(NamedTuple):
    """A tracker compiled for one target or for lanes of targets; `learn` is part of `step`."""

    init: Callable[[PyTree, Key, Frame, ArrayLike], PyTree]  # (params, key(s), frame(s), box(es)) -> state(s)
    step: Callable[[PyTree, PyTree, Frame], tuple[PyTree, Output]]  # donates the state
    # As `step`, and whether the target learnt after the frame, () or [L] bool; None where that is not known.
    watched_step: Callable[[PyTree, PyTree, Frame], tuple[PyTree, Output, Array | None]]


@functools.lru_cache(maxsize=32)
def executable(tracker: Tracker, *, lanes: bool) -> Executable:
    """Jits a tracker for one target, or for several targets (lanes) that share each frame."""
    init = jax.vmap(tracker.init, (None, 0, None, 0)) if lanes else tracker.init
    step = functools.partial(step_lanes, tracker) if lanes else tracker.step

    def watched_step(params: PyTree, state: PyTree, frame: Frame) -> tuple[PyTree, Output, Array | None]:
        following, output = step(params, state, frame)
        return learn_where_due(tracker.learn, params, following), output, due(tracker, following)

    def step_and_learn(params: PyTree, state: PyTree, frame: Frame) -> tuple[PyTree, Output]:
        return watched_step(params, state, frame)[:2]

    return Executable(
        jax.jit(init), jax.jit(step_and_learn, donate_argnums=1), jax.jit(watched_step, donate_argnums=1)
    )


class Together:
    """Targets at work, which have begun in the same frame."""

    def __init__(
        self, trackers: Sequence[Tracker], params: PyTree, key: Key, frame: Frame, boxes: np.ndarray
    ) -> None:
        """Begins.

        Args:
          trackers: of each target; targets whose tracker is the same object run as lanes.
          params: the trackers' params, on the device.
          key: a PRNG key; each of several targets gets its own by `jax.random.split`.
          frame: the first.
          boxes: [4] of one target, which is compiled without lanes, or [N, 4] float32 x, y, w, h, 0-based.
        """
        self._params = params
        self._one = boxes.ndim == 1
        self._groups = {
            made: [index for index, other in enumerate(trackers) if other == made]
            for made in dict.fromkeys(trackers)
        }
        keys = key if self._one else jax.random.split(key, len(boxes))
        self._states = {}
        for made, members in self._groups.items():
            pick = slice(None) if self._one else np.array(members)
            begin = executable(made, lanes=not self._one).init
            self._states[made] = begin(params, keys if self._one else keys[pick], frame, boxes[pick])

    def step(self, frame: Frame) -> list[PyTree]:
        """Tracks them into the next frame: the groups' outputs, which may be still in the making."""
        outputs = []
        for made, state in self._states.items():
            self._states[made], output = executable(made, lanes=not self._one).step(
                self._params, state, frame
            )
            outputs.append(output)
        return outputs

    def receive(self, outputs: list[PyTree]) -> list[Output]:
        """Waits for outputs of `step`, and puts them in the order of the targets, as NumPy arrays."""
        host: list[Output] = jax.device_get(outputs)
        if self._one:
            return host
        by_target = {
            index: jax.tree.map(lambda leaf, lane=lane: leaf[lane], output)
            for members, output in zip(self._groups.values(), host, strict=True)
            for lane, index in enumerate(members)
        }
        return [by_target[index] for index in range(len(by_target))]
