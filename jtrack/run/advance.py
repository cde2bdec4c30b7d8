"""One frame of a tracker: a step, and what it learns where that is due."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jtrack.types import Array, Frame, Output, PyTree, Tracker

CHUNKS = 8  # into which lanes that are due are gathered


def advance(tracker: Tracker, params: PyTree, state: PyTree, frame: Frame) -> tuple[PyTree, Output]:
    """Tracks one target into the next frame: `tracker.step`, then `tracker.learn` if `state.due`.

    Pure, as its parts are. `jax.jit(functools.partial(jtrack.advance, tracker))` compiles it, and a loop over
    frames then gives the boxes of `jtrack.track`:

        step = jax.jit(functools.partial(jtrack.advance, tracker))
        state = tracker.init(params, jax.random.key(0), frame, box)
        for frame in frames:
            state, output = step(params, state, frame)

    Under `jax.vmap` the result is the same, but JAX then runs both branches of a condition: every lane would
    compute its rare, heavy learning in every frame. For lanes use `jtrack.run.advance.advance_lanes`, which
    learns only in those that are due; `jtrack.track_batch` does all of it. HCFT learns within its
    step, so that its `learn` is None and `jax.vmap` costs nothing.

    Args:
      tracker: the functions.
      params: `{"backbone": ..., "tracker": ...}`, as `tracker.step` takes them.
      state: of the target, as `tracker.init` or the frame before gave it.
      frame: the next frame.

    Returns:
      The state after the frame, and what the tracker says of it. What is learnt shows from the next frame on.

    Example:
      >>> import functools, jax, jtrack
      >>> from jtrack.data import synthetic
      >>> clip = synthetic.clip(frames=2, size=(96, 128))
      >>> first, second = map(jtrack.to_frame, clip.frames)
      >>> bound = jtrack.trackers.create("hcft", backbone="tiny")
      >>> tracker = bound.functions(clip.boxes[0], clip.frames.size)
      >>> box = jax.numpy.float32(clip.boxes[0])
      >>> state = jax.jit(tracker.init)(bound.params, jax.random.key(0), first, box)
      >>> step = jax.jit(functools.partial(jtrack.advance, tracker))
      >>> state, output = step(bound.params, state, second)
      >>> output.box.shape, output.lost.shape
      ((4,), ())
    """
    state, output = tracker.step(params, state, frame)
    return learn_where_due(tracker.learn, params, state), output


def advance_lanes(
    tracker: Tracker,
    params: PyTree,
    states: PyTree,
    frames: Frame,
    active: Array | None = None,
    *,
    each: bool = False,
) -> tuple[PyTree, Output]:
    """Tracks L targets into the next frame, as lanes of one vmapped step: `advance` for many.

    Learning runs for those lanes alone that are due.

    Args:
      tracker: the functions, the same for all lanes.
      params: shared by all lanes.
      states: of the targets; every leaf has a leading axis L.
      frames: one frame that all targets are in; or one for each, both fields with a leading axis L.
      active: [L] bool: lanes that have a frame; the state of the others does not change. None: all have.
      each: whether every lane has hyper-parameters of its own: those in `params["tracker"]` then have a
        leading axis L.

    Returns:
      The states, and the outputs, every leaf with a leading axis L; of a lane that is not active the output
      means nothing.
    """
    following, outputs = step_lanes(tracker, params, states, frames, active, each=each)
    return learn_where_due(tracker.learn, params, following, each=each), outputs


def step_lanes(
    tracker: Tracker,
    params: PyTree,
    states: PyTree,
    frames: Frame,
    active: Array | None = None,
    *,
    each: bool = False,
) -> tuple[PyTree, Output]:
    """`advance_lanes` without learning: the states may be due."""
    shared = frames.pixels.ndim == 3
    of_lanes = {"backbone": None, "tracker": 0} if each else None
    step = jax.vmap(tracker.step, (of_lanes, 0, None if shared else 0))
    following, outputs = step(params, states, frames)
    if active is not None:
        following = select_lanes(active, following, states)
    return following, outputs


def due(tracker: Tracker, state: PyTree) -> Array | None:
    """Whether a state, or lanes of states, are to learn, () or [L] bool; None of a tracker without `learn`.

    Such a tracker learns within its step, if at all, and does not say when.
    """
    return None if tracker.learn is None else state.due


def learn_where_due(
    learn: Callable[[PyTree, PyTree], PyTree] | None, params: PyTree, state: PyTree, *, each: bool = False
) -> PyTree:
    """Applies `learn` to a state, or to lanes of states, where `state.due`.

    A vmapped cond would run `learn` on every lane of every frame. Here lanes that are due learn, and no
    other: one after the other on a CPU; elsewhere gathered, an eighth of all lanes at a time, and only the
    last few one by one. A lane that is not due is left bitwise unchanged.

    Args:
      learn: of a tracker.
      params: as of `advance_lanes`.
      state: of a target, or of lanes.
      each: as of `advance_lanes`.
    """
    if learn is None:
        return state
    if state.due.ndim == 0:
        return jax.lax.cond(state.due, learn, lambda _, state: state, params, state)
    [lanes] = state.due.shape
    chunk = lanes // CHUNKS

    def learn_one(waiting: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        state, due = waiting
        lane = jnp.argmax(due)
        take = functools.partial(jax.tree.map, lambda leaf: leaf[lane])
        own = {**params, "tracker": take(params["tracker"])} if each else params
        learnt = learn(own, take(state))
        return jax.tree.map(lambda leaf, new: leaf.at[lane].set(new), state, learnt), due.at[lane].set(False)

    def learn_chunk(waiting: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        state, due = waiting
        chosen = jnp.flatnonzero(due, size=chunk, fill_value=lanes)  # beyond the lanes: nobody's
        take = functools.partial(jax.tree.map, lambda leaf: leaf.at[chosen].get(mode="clip"))
        own = {**params, "tracker": take(params["tracker"])} if each else params
        learnt = jax.vmap(learn, ({"backbone": None, "tracker": 0} if each else None, 0))(own, take(state))
        state = jax.tree.map(lambda leaf, new: leaf.at[chosen].set(new, mode="drop"), state, learnt)
        return state, due.at[chosen].set(False, mode="drop")

    def learn_together(waiting: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        # Half a chunk is cheaper together than one by one, less is not.
        after: tuple[PyTree, Array]
        after = jax.lax.cond(waiting[1].sum() > chunk // 2, learn_chunk, learn_one, waiting)
        return after

    def learn_next(waiting: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        if chunk < 2:
            return learn_one(waiting)
        after: tuple[PyTree, Array]
        after = jax.lax.platform_dependent(waiting, cpu=learn_one, default=learn_together)
        return after

    state, _ = jax.lax.while_loop(lambda waiting: waiting[1].any(), learn_next, (state, state.due))
    return state


def select_lanes(mask: Array, new: PyTree, old: PyTree) -> PyTree:
    """Takes, lane by lane (the first axis of every leaf), `new` where the mask holds and `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)
