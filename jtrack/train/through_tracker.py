"""Learning through a tracker: clips are followed by its differentiable profile, and what it did is descended.

A clip's first frame and true box begin a track, `jtrack.rollout` follows it through the others, and the
gradient of a loss goes back through every frame, the tracker's own learning included, to what is learnt: the
weights of the network (`train.feature_learning`), or the tracker's numbers (`train.numbers`). CFNet (Valmadre
et al., CVPR 2017) and DCFNet (Wang et al., 2017) learnt features through a filter of a single frame; a
rollout counts what an update does to later frames, too.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from jtrack.errors import JtrackError
from jtrack.run import mesh
from jtrack.run.rollout import rollout
from jtrack.train import clips, loop
from jtrack.train.clips import Clips, Source
from jtrack.train.descent import adam
from jtrack.types import Array, Frame, Output, PyTree, Tracker
from jtrack.vision import boxes

JUDGED = 32  # clips held out to judge by
OUTLIERS = 0.1  # share of frames whose target may be anywhere, for all that the loss knows


@dataclass(frozen=True)
class Settings:
    """How something is learnt through a tracker."""

    steps: int = 0  # so far they have not made tracking better (weights/compact.md)
    batch: int = 8  # clips a step
    length: int = 3  # frames of a clip, the first included
    side: int = 192  # pixels of a frame
    rate: float = 1e-4  # of Adam, at its highest
    keep_every: int = 250


DEFAULT = Settings()


def check(settings: Settings, names: Mapping[str, str] | None = None) -> None:
    """Refuses settings that make no sense.

    Args:
      settings: what to look at; of no steps only that they are not negative.
      names: of fields that a command calls otherwise.

    Raises:
      JtrackError: a number that is not above 0, or a clip of one frame.
    """
    positive(settings, names or {})
    if settings.length < 2:
        raise JtrackError("length is 1: a clip has two frames at least, the first of which begins the track")


def positive(settings: Any, names: Mapping[str, str]) -> None:
    """Refuses a setting that is not a finite number above 0, or steps below 0."""
    for name, value in dataclasses.asdict(settings).items():
        if not (math.isfinite(value) and (value > 0 or (name == "steps" and value == 0))):
            raise JtrackError(f"{names.get(name, name)} is {value}: give a number above 0")


class _State(NamedTuple):
    """What a step changes."""

    learnt: PyTree
    optimiser: PyTree


class Beside(NamedTuple):
    """A second loss of what is learnt, on data of its own."""

    loss: Callable[[PyTree, PyTree], Array]  # (what is learnt, a batch) -> ()
    batch: Callable[[int], PyTree]  # by the number of the step


def follow(tracker: Tracker, params: PyTree, pixels: Array, box: Array) -> Output:
    """The outputs [T - 1, ...] of following a clip [T, S, S, 3] from a box [4] in its first frame."""
    size = jnp.asarray(pixels.shape[1:3], jnp.int32)
    state = tracker.init(params, jax.random.key(0), Frame(pixels[0], size), box)
    return rollout(tracker, params, state, Frame(pixels[1:], size))[1]


def place_loss(outputs: Output, true: Array, label_width: float, sharpness: float) -> Array:
    """Cross-entropy () of the place in the response with the true place, a mean over frames.

    The response, over its maximum, makes a softmax over the cells of the window. What is wanted is the
    softmax of the label: of a Gaussian about the true place, as a filter learns it. So the loss is least
    where the response is the label. Of any place one chance in ten (`OUTLIERS`) is left, so that a frame
    whose track is hopelessly elsewhere counts as that and pulls no further: so does one whose target is not
    within the window. Frames whose target is not to be seen do not count.

    Args:
      outputs: of T frames, whose info has `response` [T, M, N] and `window` [T, 4].
      true: [T, 4] boxes; NaN where there is no target.
      label_width: sigma of the Gaussian over the target's side.
      sharpness: of the softmax: what response and label are multiplied by.
    """
    response, window = outputs.info["response"], outputs.info["window"]
    cells = jnp.asarray(response.shape[1:], window.dtype)
    seen = jnp.isfinite(true).all(axis=-1)
    known = jnp.where(seen[:, None], true, window)
    per_pixel = cells[None] / window[:, :1:-1]  # cells a pixel (y, x)
    away = (boxes.centre(known) - boxes.centre(window))[:, ::-1] * per_pixel
    inside = (jnp.abs(away) < cells[None] / 2 - 1).all(axis=-1)
    away = jnp.where(inside[:, None], away, 0)
    sides = known[:, :1:-1] * per_pixel
    sigma = label_width * jnp.sqrt(sides[:, 0] * sides[:, 1])
    places = [jnp.arange(n, dtype=window.dtype) - n // 2 for n in response.shape[1:]]  # 0 is in the middle
    rows, columns = (
        jnp.exp(-0.5 * ((place[None] - away[:, axis, None]) / sigma[:, None]) ** 2)
        for axis, place in enumerate(places)
    )
    label = (rows[:, :, None] * columns[:, None, :]).reshape(len(response), -1)
    top = jnp.maximum(response.max((1, 2), keepdims=True), 1e-6)
    chances = jax.nn.log_softmax((sharpness * response / top).reshape(label.shape), axis=-1)
    chances = jnp.logaddexp(chances + np.log(1 - OUTLIERS), np.log(OUTLIERS / label.shape[1]))
    wanted = jax.nn.softmax(sharpness * label, axis=-1)
    entropies = -jnp.sum(wanted * chances, axis=-1)
    return _mean_of(jnp.where(inside, entropies, -np.log(OUTLIERS / label.shape[1])), seen)


def box_loss(outputs: Output, true: Array) -> Array:
    """Centre error over the target's side, and 1 - overlap (), a mean over the frames that show a target.

    The first has a slope however far the box is away, the second is what trackers are judged by.

    Args:
      outputs: of T frames.
      true: [T, 4] boxes; NaN where there is no target.
    """
    seen = jnp.isfinite(true).all(axis=-1)
    found = outputs.box
    known = jnp.where(seen[:, None], true, jax.lax.stop_gradient(found))
    offset = (boxes.centre(found) - boxes.centre(known)) / jnp.sqrt(known[:, 2:].prod(-1, keepdims=True))
    distance = jnp.sqrt(jnp.sum(offset**2, axis=-1) + 1e-6)  # the root's slope at 0 is infinite
    losses = distance + 1 - boxes.iou(found, known)
    return _mean_of(losses, seen)


def _mean_of(values: Array, counted: Array) -> Array:
    """The mean () of the values that count; 0 where none does."""
    return jnp.sum(jnp.where(counted, values, 0)) / jnp.maximum(counted.sum(), 1).astype(values.dtype)


def _mean_of_numbers(values: Array) -> Array:
    """The mean () of the values that are numbers; 0 where none is."""
    counted = jnp.isfinite(values)
    return _mean_of(jnp.where(counted, values, 0), counted)


def learn(
    tracker: Tracker,
    params_of: Callable[[PyTree], PyTree],
    loss: Callable[[Output, Array], Array],
    first: PyTree,
    source: Source,
    held_out: Source,
    settings: Settings,
    *,
    seed: int,
    folder: Path,
    identity: Mapping[str, Any],
    steepest: float | None = None,
    beside: Beside | None = None,
    on_step: Callable[[loop.Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> loop.Done:
    """Descends a loss of followed clips, or goes on with it; clips are shared out over all local devices.

    Args:
      tracker: the functions, of a differentiable profile.
      params_of: what is learnt -> the tracker's params.
      loss: (outputs of a clip, its true boxes [T - 1, 4]) -> ().
      first: what is learnt, to begin with.
      source: of the clips.
      held_out: of the clips to judge by.
      settings: how.
      seed: of the clips.
      folder: of the checkpoint and the log.
      identity: as of `loop.Descent`.
      steepest: the longest gradient of a clip, longer ones are cut; None cuts that of the batch alone, which
        is much cheaper where many numbers are learnt.
      beside: a second loss, to be added to that of the clips, whose gradient is made no longer than 1 before.
      on_step: as of `loop.descend`.
      stop: as of `loop.descend`.

    Returns:
      Its state is a tuple whose first field `learnt` is what was learnt.
    """
    optimiser = adam(settings.rate, settings.steps, warm_up=50, last=0.02)

    def of_clip(learnt: PyTree, pixels: Array, true: Array) -> tuple[Array, Array]:
        outputs = follow(tracker, params_of(learnt), pixels, true[0])
        seen = jnp.isfinite(true[1:]).all(axis=-1)
        overlaps = boxes.iou(outputs.box, jnp.where(seen[:, None], true[1:], outputs.box))
        return loss(outputs, true[1:]), jnp.where(seen, overlaps, jnp.nan)

    def of_clips(learnt: PyTree, pixels: Array, true: Array) -> tuple[Array, Array]:
        losses, overlaps = jax.vmap(of_clip, (None, 0, 0))(learnt, pixels, true)
        return losses.mean(), _mean_of_numbers(overlaps)

    def gradient(learnt: PyTree, pixels: Array, true: Array) -> tuple[tuple[Array, Array], PyTree]:
        if steepest is None:
            return jax.value_and_grad(of_clips, has_aux=True)(learnt, pixels, true)
        each = jax.vmap(jax.value_and_grad(of_clip, has_aux=True), (None, 0, 0))
        (values, overlaps), slopes = each(learnt, pixels, true)
        norms = jax.vmap(optax.global_norm)(slopes)
        shares = jnp.minimum(1, steepest / jnp.maximum(norms, 1e-12)) / len(norms)
        mean = jax.tree.map(lambda leaf: jnp.tensordot(shares, leaf, 1), slopes)
        return (values.mean(), _mean_of_numbers(overlaps)), mean

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: _State, pixels: Array, true: Array, other: PyTree) -> tuple[_State, dict[str, Array]]:
        (value, overlap), slopes = gradient(state.learnt, pixels, true)
        figures = {"loss": value, "overlap": overlap}
        if beside is not None:
            length = jnp.maximum(optax.global_norm(slopes), 1)
            figures["beside"], added = jax.value_and_grad(beside.loss)(state.learnt, other)
            slopes = jax.tree.map(lambda slope, more: slope / length + more, slopes, added)
        updates, memory = optimiser.update(slopes, state.optimiser, state.learnt)
        return _State(optax.apply_updates(state.learnt, updates), memory), figures

    look = jax.jit(of_clips)
    shared, whole = _placed(settings.batch)
    shape = (settings.batch, settings.length, settings.side)
    judged = clips.held_out(held_out, max(1, JUDGED // settings.batch) * settings.batch, *shape[1:])

    def judge(state: _State) -> dict[str, float]:
        found = []
        for start in range(0, len(judged.pixels), settings.batch):
            part = (leaf[start : start + settings.batch] for leaf in judged)
            found.append(look(state.learnt, *jax.device_put(tuple(part), shared)))
        value, overlap = np.mean(np.asarray(found), axis=0)
        return {"loss": float(value), "overlap": float(overlap)}

    def advance(state: _State, number: int, batch: tuple[Clips, PyTree]) -> tuple[_State, dict[str, Array]]:
        del number
        # A state that was read from a file lies elsewhere, which would be another compilation.
        state = jax.device_put(state, whole)
        return step(state, *jax.device_put(tuple(batch[0]), shared), jax.device_put(batch[1], whole))

    def batches(start: int, stop: int) -> Generator[tuple[int, tuple[Clips, PyTree]]]:
        for number, batch in clips.stream(source, seed, *shape, start=start, stop=stop):
            yield number, (batch, None if beside is None else beside.batch(number))

    figures = ("loss", "overlap") if beside is None else ("loss", "overlap", "beside")
    descent = loop.Descent(
        folder, identity, settings.steps, settings.keep_every, batches, advance, judge, figures
    )
    return loop.descend(descent, _State(first, optimiser.init(first)), on_step=on_step, stop=stop)


def _placed(batch: int) -> tuple[NamedSharding, NamedSharding]:
    """Where the clips of a batch lie, and what is learnt: the clips shared out over all devices that fit."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
    over = mesh.mesh_of(devices[:count])
    return mesh.placed(over, mesh.AXIS), mesh.placed(over)
