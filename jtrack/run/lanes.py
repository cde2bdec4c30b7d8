"""Lanes on devices: many targets, each in its own frame of its own video, advanced by one dispatch.

    lanes = Lanes(tracker, params, mesh, count=64)
    with SharedFrames(mesh, canvas, capacity) as frames: ...
    lanes.admit(frames.pixels, targets)               # they begin in their lanes, the others go on
    seen = lanes.advance(frames.pixels, slots, active)   # boxes [K, L, 4] and more: K frames of all lanes

What a lane computes does not depend on its neighbours. Lanes are shared out over the devices of a mesh, each
of which decides for itself when to learn, so that no device waits for another within a dispatch.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jtrack.checks import there
from jtrack.run.advance import due, learn_where_due, select_lanes, step_lanes
from jtrack.run.mesh import AXIS, placed, spec
from jtrack.types import Array, Frame, PyTree, Tracker


class Target(NamedTuple):
    """A target that begins in a lane."""

    lane: Any  # () int32, counted on its device; -1: there is none
    slot: Any  # () int32, of its first frame
    size: Any  # [2] int32, of the frames of its video
    box: Any  # [4]
    key: Any  # [2] uint32, the data of a PRNG key
    hyper: PyTree  # its hyper-parameters


class Held(NamedTuple):
    """What the lanes hold; every leaf has a leading axis L."""

    state: PyTree
    hyper: PyTree
    size: Array  # [L, 2] int32


class Seen(NamedTuple):
    """What the lanes say of K frames."""

    box: Any  # [K, L, 4]
    score: Any  # [K, L]
    lost: Any  # [K, L] bool
    learnt: Any = None  # [K, L] bool: whether a lane learnt after the frame; None where that is not known


class Programs(NamedTuple):
    """A tracker compiled for lanes."""

    admit: Callable[[PyTree, Held, Array, Target], Held]
    spread: Callable[[Held, ArrayLike, int], Held]
    advance: Callable[[PyTree, Held, Array, ArrayLike, ArrayLike], tuple[Held, Seen]]


@functools.lru_cache(maxsize=32)
def programs(tracker: Tracker, mesh: Mesh) -> Programs:
    """Compiles a tracker for lanes on a mesh; the same functions every time."""
    lanes, whole, rows = spec(AXIS), spec(), spec(None, AXIS)

    def admit(weights: PyTree, held: Held, pixels: Array, targets: Target) -> Held:
        target = jax.tree.map(lambda leaf: leaf[0], targets)  # of this device

        def begin(held: Held) -> Held:
            params = {"backbone": weights, "tracker": target.hyper}
            frame = Frame(pixels[target.slot], target.size)
            state = tracker.init(params, jax.random.wrap_key_data(target.key), frame, target.box)
            put = functools.partial(jax.tree.map, lambda all_, one: all_.at[target.lane].set(one))
            return Held(*map(put, held, (state, target.hyper, target.size)))

        after: Held = jax.lax.cond(target.lane >= 0, begin, lambda held: held, held)
        return after

    def advance(weights: PyTree, held: Held, pixels: Array, slots: Array, active: Array) -> tuple[Held, Seen]:
        params = {"backbone": weights, "tracker": held.hyper}

        def one(state: PyTree, now: tuple[Array, Array]) -> tuple[PyTree, Seen]:
            slot, on = now
            frames = Frame(pixels[slot], held.size)
            following, output = step_lanes(tracker, params, state, frames, on, each=True)
            seen = Seen(output.box, output.score, output.lost, due(tracker, following))
            return learn_where_due(tracker.learn, params, following, each=True), seen

        state, seen = jax.lax.scan(one, held.state, (slots, active))
        return held._replace(state=state), seen

    def spread(held: Held, idle: Array, source: int) -> Held:
        first = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[source], leaf.shape), held)
        return Held(*(select_lanes(idle, new, old) for new, old in zip(first, held, strict=True)))

    def sharded(function: Any, inputs: tuple[Any, ...], outputs: Any) -> Any:
        mapped = jax.shard_map(function, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
        return jax.jit(mapped, donate_argnums=1)

    return Programs(
        sharded(admit, (whole, lanes, lanes, lanes), lanes),
        jax.jit(spread, donate_argnums=0, out_shardings=placed(mesh, AXIS)),
        sharded(advance, (whole, lanes, lanes, rows, rows), (lanes, rows)),
    )


@dataclass
class Lanes:
    """Targets of one tracker in lanes."""

    tracker: Tracker
    params: (
        PyTree  # {"backbone": weights, "tracker": hyper-parameters of targets that have none of their own}
    )
    mesh: Mesh
    count: int  # of lanes; a multiple of the devices
    held: Held | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.weights = jax.device_put(self.params["backbone"], placed(self.mesh))
        self._run = programs(self.tracker, self.mesh)

    @property
    def a_device(self) -> int:
        """Lanes of one device: those of device d are d * a_device up to (d + 1) * a_device."""
        return self.count // self.mesh.size

    def admit(self, pixels: Array, targets: Sequence[Target]) -> None:
        """Begins with targets, each in the lane that it names (counted over all devices).

        Lanes that have had none yet get the state of one that has, so that they, too, compute on what is
        sound.
        """
        at_first = self.held is None
        rounds: list[dict[int, Target]] = []
        for target in targets:
            device, lane = divmod(target.lane, self.a_device)
            filled = [each for each in rounds if device not in each]
            if not filled:
                rounds.append({})
                filled = rounds[-1:]
            filled[0][device] = target._replace(lane=lane)
        for each in rounds:
            some = next(iter(each.values()))
            row = [each.get(device, some._replace(lane=-1)) for device in range(self.mesh.size)]
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *row)
            sent = jax.device_put(stacked, placed(self.mesh, AXIS))
            held = self._empty(pixels, sent) if self.held is None else self.held
            self.held = self._run.admit(self.weights, held, pixels, sent)
        taken = [int(target.lane) for target in targets]
        if at_first and len(taken) < self.count:
            idle = np.isin(np.arange(self.count), taken, invert=True)
            self.held = self._run.spread(there(self.held), idle, taken[0])

    def advance(self, pixels: Array, slots: np.ndarray, active: np.ndarray) -> Seen:
        """Advances every lane by K frames.

        Args:
          pixels: the frames of all devices (`SharedFrames.pixels`).
          slots: [K, L] int32, of each lane's frames, counted on its device.
          active: [K, L] bool: whether there is a frame; where not, a lane keeps its state.

        Returns:
          What was seen; it may still be on its way.
        """
        assert self.held is not None
        slots, active = jax.device_put((slots, active), placed(self.mesh, None, AXIS))
        self.held, seen = self._run.advance(self.weights, self.held, pixels, slots, active)
        return seen

    def _empty(self, pixels: Array, targets: Target) -> Held:
        """Lanes without targets, of the shapes that `tracker.init` makes."""

        def begun(weights: PyTree, pixels: Array, targets: Target) -> Held:
            target = jax.tree.map(lambda leaf: leaf[0], targets)
            params = {"backbone": weights, "tracker": target.hyper}
            frame = Frame(pixels[0], target.size)
            state = self.tracker.init(params, jax.random.wrap_key_data(target.key), frame, target.box)
            return Held(state, target.hyper, target.size)

        one = jax.eval_shape(begun, self.weights, pixels, targets)

        def zeros(leaf: Any) -> Array:
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jnp.broadcast_to(jax.random.key(0), (self.count, *leaf.shape))
            return jnp.zeros((self.count, *leaf.shape), leaf.dtype)

        empty: Held = jax.device_put(jax.tree.map(zeros, one), placed(self.mesh, AXIS))
        return empty
