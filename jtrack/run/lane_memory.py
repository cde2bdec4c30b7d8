"""How much memory a lane takes on its device, and how many lanes therefore fit."""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jtrack.checks import there
from jtrack.run.advance import advance
from jtrack.run.mesh import mesh_of
from jtrack.run.shared_frames import store_of
from jtrack.types import Frame, PyTree, Tracker

MOST = 256  # lanes of a device: beyond, more lanes hardly use it better
SHARE = 0.85  # of a device's memory that is counted on; beginning with a target and the runtime need some


class LaneMemory(NamedTuple):
    """Bytes."""

    state: int  # what is learnt of one target
    working: int  # what one frame of one lane takes while it is computed
    weights: int  # shared by all lanes

    @property
    def a_lane(self) -> int:
        """Of a lane: its state before and after a frame, and what the frame takes."""
        return 2 * self.state + self.working


def lane_memory(tracker: Tracker, params: PyTree, canvas: tuple[int, int]) -> LaneMemory:
    """What a lane takes, as the compiler says of one target's step and learning.

    Args:
      tracker: the functions.
      params: {"backbone": weights, "tracker": hyper-parameters}.
      canvas: (height, width) of the frames.
    """
    shape: Any = jax.ShapeDtypeStruct
    known = jax.tree.map(lambda leaf: shape(np.shape(leaf), leaf.dtype), params)
    frame = Frame(shape((*canvas, 3), np.uint8), shape((2,), np.int32))
    key = jax.eval_shape(lambda: jax.random.key(0))
    box = shape((4,), np.float32)
    state = jax.eval_shape(tracker.init, known, key, frame, box)
    step = jax.jit(functools.partial(advance, tracker), donate_argnums=1).lower(known, state, frame)
    working = there(step.compile().memory_analysis()).temp_size_in_bytes
    return LaneMemory(_bytes(state), working, _bytes(known["backbone"]))


def fitting_lanes(tracker: Tracker, params: PyTree, canvas: tuple[int, int], mesh: Mesh | None = None) -> int:
    """How many lanes to run: as many as fit the devices' memory, a power of two each; 1 on a CPU.

    On a CPU lanes share the cores that one target already uses.
    """
    mesh = mesh_of() if mesh is None else mesh
    device = mesh.devices.flat[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if device.platform == "cpu" or limit is None:
        return 1
    need = lane_memory(tracker, params, canvas)
    free = SHARE * limit - store_of(device) - need.weights
    fitting = max(1, min(MOST, int(free / (need.a_lane + math.prod(canvas) * 3))))
    return int(2 ** math.floor(math.log2(fitting))) * mesh.size


def _bytes(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
