"""A tracker whose every box, score and weight is known in closed form, to test how trackers are run."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import backbones
from jtrack.trackers import BoundTracker, Row
from jtrack.types import Array, Output, Tracker


@dataclass(frozen=True)
class Config:
    grid: int | None = 1  # None: follows the target's width
    learns: bool = True

    def for_target(self, box, frame_size):
        return Config(int(box[2]), self.learns) if self.grid is None else self

    def for_lanes(self, boxes, frame_sizes):
        return self.for_target(boxes[np.argmax(boxes[:, 2])], frame_sizes[0])


class State(NamedTuple):
    box: Array  # [4]
    period: Array  # () int32: due every so many frames
    count: Array  # () int32
    memory: Array  # [grid, 2] float32
    key: Array
    due: Array  # () bool


def fake(backbone, config):
    """Each step moves the box by the frame's first pixel (red right, green down); `learn` halves memory."""

    def init(params, key, frame, box):
        period = 2 + box[2].astype(jnp.int32) % 3
        memory = jnp.full((config.grid, 2), 1024.0)
        return State(box, period, jnp.int32(0), memory, key, jnp.bool_(False))

    def step(params, state, frame):
        red, green, _ = frame.pixels[0, 0].astype(jnp.float32)
        box = state.box + params["tracker"]["rate"] * jnp.stack([red, green, jnp.zeros(()), jnp.zeros(())])
        count = state.count + 1
        inside = box[0] < frame.size[1].astype(jnp.float32)
        state = state._replace(box=box, count=count, due=count % state.period == 0)
        return state, Output(
            box, 1 / (1 + count.astype(jnp.float32)), ~inside, {"memory": state.memory[0, 0]}
        )

    def learn(params, state):
        noise = jax.random.uniform(jax.random.fold_in(state.key, state.count), state.memory.shape)
        return state._replace(memory=state.memory / 2 + 0 * noise, due=jnp.bool_(False))

    return Tracker(init, step, learn if config.learns else None)


def build(config=Config(), rate=1.0):
    params = {"backbone": {}, "tracker": {"rate": np.float32(rate)}}
    return BoundTracker(Row("fake", fake, {}), "default", backbones.get("tiny"), config, params)


def video(moves, size=(60, 90)):
    """Frames whose first pixel says how the box moves: moves [T, 2] (right, down)."""
    frames = np.zeros((len(moves), *size, 3), np.uint8)
    frames[:, 0, 0, :2] = moves
    return frames


def path(box, moves):
    """The boxes by hand: the first frame's move is not looked at."""
    boxes = np.repeat(np.float32([box]), len(moves), axis=0)
    boxes[1:, :2] += np.cumsum(np.asarray(moves, np.float32)[1:], axis=0)
    return boxes


def memories(box, length):
    """What `info` shows of the memory in frames 1, 2, ...: halved after every due frame."""
    period = 2 + int(box[2]) % 3
    return [1024.0 / 2 ** ((t - 1) // period) for t in range(1, length)]
