"""Many frames of a tracker as one function, to compile, map and differentiate as a whole."""

import jax
import jax.numpy as jnp

from jtrack.errors import JtrackError
from jtrack.run.advance import advance
from jtrack.run.inputs import Source, to_frames
from jtrack.types import Array, Frame, Output, PyTree, Tracker


def rollout(
    tracker: Tracker,
    params: PyTree,
    state: PyTree,
    frames: Frame | Source | Array,
    *,
    checkpoint: bool = True,
) -> tuple[PyTree, Output]:
    """Tracks one target through T frames: a `jax.lax.scan` of `jtrack.advance`.

    Pure. Under `jax.jit` frames are a `Frame`, of which `jtrack.to_frames` makes one; T is a shape, so that
    another T compiles anew. Under `jax.vmap` every lane computes `learn` in every frame, as with `advance`.

    `jax.grad` differentiates through it. Take the profile `differentiable`, which every tracker has: its
    decisions are soft (`components.decisions`) and its trainings of a fixed length, so that the derivative
    agrees with finite differences (`bench/gradients.py`). Its docstring names what stays a constant of it,
    such as the samples that are drawn. Where a track hangs between two places its gradient is a thousand
    times the usual: who descends along several tracks limits the norm of each.

    Other profiles decide: the cell of the highest response, the best scale or candidate, and by gates on the
    score what is learnt. A decision has no derivative. Their gradient is that of the numbers between
    decisions, holds only as long as none is made otherwise, and says nothing of what a larger change does.
    Where they loop until something holds (DeepTrack, CNN-SVM), JAX refuses reverse mode.

    Args:
      tracker: the functions.
      params: `{"backbone": ..., "tracker": ...}`, as `tracker.step` takes them.
      state: of the target, as `tracker.init` or the frame before gave it.
      frames: the next T frames, at least one. A `Frame` of `pixels` [T, H, W, 3] RGB 0..255 and `size` [T, 2]
        or [2]; or what `jtrack.to_frames` takes: a clip, a list of images, an array [T, H, W, 3]. A gradient
        with respect to pixels needs floating-point ones.
      checkpoint: whether the backward pass computes each step again from the state before it, instead of
        keeping what the step computed: less memory by far, for the time of another forward pass. Without a
        gradient it changes nothing.

    Returns:
      The state after the last frame, and the outputs of all: every leaf has a leading axis T, so boxes are
      [T, 4], in pixels.

    Raises:
      JtrackError: there is no frame, or frames are of another shape; as `to_frames`.

    Example:
      >>> import functools, jax, jtrack
      >>> from jtrack.data import synthetic
      >>> clip = synthetic.clip(frames=4, size=(96, 128))
      >>> small = {"input_size": (64, 64), "scale.count": 9}
      >>> bound = jtrack.trackers.create(
      ...     "hcft", profile="differentiable", backbone="tiny", changes=small
      ... )
      >>> tracker = bound.functions(clip.boxes[0], clip.frames.size)
      >>> first, *rest = clip.frames
      >>> box = jax.numpy.float32(clip.boxes[0])
      >>> state = jax.jit(tracker.init)(bound.params, jax.random.key(0), jtrack.to_frame(first), box)
      >>> frames = jtrack.to_frames(rest)
      >>> state, outputs = jax.jit(functools.partial(jtrack.rollout, tracker))(bound.params, state, frames)
      >>> outputs.box.shape, outputs.lost.shape
      ((3, 4), (3,))
      >>> def mean_score(params):
      ...     return jtrack.rollout(tracker, params, state, frames)[1].score.mean()
      >>> jax.jit(jax.grad(mean_score))(bound.params)["tracker"].layer_weights.shape
      (3,)
    """

    def step(state: PyTree, frame: Frame) -> tuple[PyTree, Output]:
        return advance(tracker, params, state, frame)

    # The loop itself keeps XLA from merging what is computed again with what was computed before.
    body = jax.checkpoint(step, prevent_cse=False) if checkpoint else step
    after: tuple[PyTree, Output] = jax.lax.scan(body, state, _stacked(frames))
    return after


def _stacked(frames: Frame | Source | Array) -> Frame:
    """The frames with a leading axis T on both fields."""
    if not isinstance(frames, Frame):
        return to_frames(frames)
    pixels, size = jnp.shape(frames.pixels), jnp.shape(frames.size)
    if len(pixels) != 4 or pixels[0] == 0 or size not in ((2,), (pixels[0], 2)):
        raise JtrackError(
            f"frames are of pixels {list(pixels)} and size {list(size)}: a rollout takes pixels [T, H, W, 3] "
            "of at least one frame and size [T, 2] or [2], which jtrack.to_frames makes of images"
        )
    return Frame(frames.pixels, jnp.broadcast_to(frames.size, (pixels[0], 2)))
