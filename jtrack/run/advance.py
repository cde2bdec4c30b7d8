"""One frame of a tracker: a step, and what it learns where that is due."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jtrack.types import Array, Frame, Output, PyTree, Tracker


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
    learns only in frames where some lane is due; `jtrack.track_batch` does all of it. HCFT learns within its
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
      >>> output.box.shape, bool(output.lost)
      ((4,), False)
    """
    state, output = tracker.step(params, state, frame)
    return learn_where_due(tracker.learn, params, state), output


def advance_lanes(
    tracker: Tracker, params: PyTree, states: PyTree, frames: Frame, active: Array | None = None
) -> tuple[PyTree, Output]:
    """Tracks L targets into the next frame, as lanes of one vmapped step: `advance` for many.

    Learning runs for all lanes at once, in frames where at least one is due, and changes those alone.

    Args:
      tracker: the functions, the same for all lanes.
      params: shared by all lanes.
      states: of the targets; every leaf has a leading axis L.
      frames: one frame that all targets are in; or one for each, both fields with a leading axis L.
      active: [L] bool: lanes that have a frame; the state of the others does not change. None: all have.

    Returns:
      The states, and the outputs, every leaf with a leading axis L; of a lane that is not active the output
      means nothing.
    """
    shared = frames.pixels.ndim == 3
    following, outputs = jax.vmap(tracker.step, (None, 0, None if shared else 0))(params, states, frames)
    if active is not None:
        following = select_lanes(active, following, states)
    return learn_where_due(tracker.learn, params, following), outputs


def learn_where_due(
    learn: Callable[[PyTree, PyTree], PyTree] | None, params: PyTree, state: PyTree
) -> PyTree:
    """Applies `learn` to a state, or to lanes of states, where `state.due`.

    A vmapped cond would run `learn` on every lane of every frame. Here it runs only on frames where a lane
    needs it, and a lane that does not is left bitwise unchanged.
    """
    if learn is None:
        return state
    if state.due.ndim == 0:
        return jax.lax.cond(state.due, learn, lambda _, state: state, params, state)

    def learn_lanes(params: PyTree, state: PyTree) -> PyTree:
        return select_lanes(state.due, jax.vmap(learn, (None, 0))(params, state), state)

    return jax.lax.cond(state.due.any(), learn_lanes, lambda _, state: state, params, state)


def select_lanes(mask: Array, new: PyTree, old: PyTree) -> PyTree:
    """Takes, lane by lane (the first axis of every leaf), `new` where the mask holds and `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)
