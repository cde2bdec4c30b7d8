"""Distillation: a network learns the maps of a larger one, before anything else.

The larger network, the teacher, describes still views once; what is kept of a view are some cells of three of
its maps, of strides 4, 8 and 16, along their leading principal components. The small network learns to
predict them from the cells of its own maps, each by a linear layer that is thrown away in the end (Romero et
al., FitNets, ICLR 2015).
"""

import functools
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jtrack.backbones import Backbone
from jtrack.checks import there
from jtrack.errors import JtrackError
from jtrack.train import checkpoint, loop
from jtrack.train.clips import Source
from jtrack.train.descent import adam
from jtrack.types import Array, PyTree
from jtrack.untrusted import reading
from jtrack.weights import store
from jtrack.weights.convert import Layers

COMPONENTS = 64  # of a map of the teacher
CELLS = 196  # of a map, chosen at random in every view
SHARD = 100  # views in a file of lessons
AT_ONCE = 4  # views that the teacher sees at once
OF_COMPONENTS = 64  # views that the components are of
_CELLS, _HEADS, _ORDER = 3, 4, 5  # what random numbers are for: the first of each key, not those of `clips`


@dataclass(frozen=True)
class Settings:
    """How maps are learnt."""

    views: int = 3000  # that the teacher describes
    side: int = 224  # pixels of a view
    steps: int = 8000
    batch: int = 16  # views a step
    rate: float = 2e-3  # of Adam, at its highest
    keep_every: int = 500


DEFAULT = Settings()


class Lessons(NamedTuple):
    """What the teacher says of the views of a source, by purpose: stride 4, 8, 16."""

    source: Source
    cells: dict[str, np.ndarray]  # [V, n] int32: numbers of cells in a map, row by row
    maps: dict[str, np.ndarray]  # [V, n, K] float16: along the components, of variance 1 in all
    seconds: float  # that the teacher took


class _State(NamedTuple):
    """What a step changes."""

    layers: Layers
    heads: PyTree  # {purpose: {"kernel" [C, K], "bias" [K]}}
    optimiser: PyTree


def taps(backbone: Backbone) -> dict[str, str]:
    """The layers of three strides, by purpose."""
    stages = there(backbone.stages)
    return {"stride4": stages.stride4, "stride8": stages.stride8, "stride16": stages.stride16}


# --- lessons ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Teacher:
    """A larger network, the views it describes, and where what it says is kept."""

    net: Backbone
    weights: Layers
    settings: Settings
    seed: int  # of the views
    folder: Path

    @cached_property
    def digest(self) -> str:
        """Of its weights."""
        return store.digest(self.weights)[:16]

    @cached_property
    def _apply(self) -> Callable[[np.ndarray], dict[str, Array]]:
        layers = tuple(taps(self.net).values())
        return jax.jit(lambda images: self.net.apply(self.weights, images, layers))

    def maps(self, source: Source, numbers: range) -> dict[str, np.ndarray]:
        """Its maps of views [V, cells, C] float32, by purpose."""
        images = views(source, self.settings, self.seed, numbers)
        found = [jax.device_get(self._apply(images[i : i + AT_ONCE])) for i in range(0, len(images), AT_ONCE)]
        return {
            purpose: np.concatenate([each[tap] for each in found]).reshape(len(images), self.cells(tap), -1)
            for purpose, tap in taps(self.net).items()
        }

    def cells(self, tap: str) -> int:
        """How many cells a map has."""
        height, width, _ = self.net.map_shape(tap, (self.settings.side,) * 2)
        return height * width

    def identity(self, source: Source) -> dict[str, Any]:
        """What must be the same for kept files to be used."""
        return {
            "teacher": self.net.name,
            "weights": self.digest,
            "data": source.digest,
            "seed": self.seed,
            "side": self.settings.side,
            "kept": [COMPONENTS, CELLS],
        }


def components(teacher: Teacher, source: Source) -> PyTree:
    """The principal components of the teacher's maps, of the first views of a source; kept in its folder.

    Returns:
      By purpose {"middle": [C], "directions": [C, K]}: along these the maps' variance is 1 in all.

    Raises:
      JtrackError: a file of another teacher or other data, or a damaged one.
    """
    path, identity = teacher.folder / "components.safetensors", teacher.identity(source)
    like = {}
    for purpose, tap in taps(teacher.net).items():
        channels = teacher.net.map_shape(tap, (teacher.settings.side,) * 2)[-1]
        shape = (channels, min(COMPONENTS, channels))
        like[purpose] = {
            "middle": jax.ShapeDtypeStruct((channels,), np.float32),
            "directions": jax.ShapeDtypeStruct(shape, np.float32),
        }
    if (kept := _kept(path, like, identity)) is not None:
        return kept[0]
    maps = teacher.maps(source, range(OF_COMPONENTS))
    basis = {purpose: principal_components(each, COMPONENTS) for purpose, each in maps.items()}
    checkpoint.save(path, basis, {"identity": identity, "seconds": 0.0})
    return basis


def principal_components(maps: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """The middle [C] of features [V, n, C], and K directions [C, K] that make their variance 1 in all."""
    features = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
    middle = features.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov((features - middle).T))
    directions = directions[:, ::-1][:, :count] / np.sqrt(values[::-1][:count].sum())
    return {"middle": middle.astype(np.float32), "directions": directions.astype(np.float32)}


def lessons(
    teacher: Teacher,
    basis: PyTree,
    source: Source,
    count: int,
    name: str,
    *,
    on_view: Callable[[int], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Lessons | None:
    """What the teacher says of views; its folder keeps what was done before.

    Args:
      teacher: the larger network.
      basis: `components`.
      source: of the views: a view is a clip of one frame.
      count: how many.
      name: of these lessons, by which their files' names begin.
      on_view: called with the number of views done.
      stop: asked after each file; if true, None is returned.

    Raises:
      JtrackError: files of another teacher, data or components, damaged ones, a disk that is full.
    """
    identity = teacher.identity(source) | {"components": store.digest(basis)[:16]}
    parts, seconds = [], 0.0
    for first in range(0, count, SHARD):
        numbers = range(first, min(first + SHARD, count))
        path = teacher.folder / f"{name}-{first:06d}-{len(numbers)}.safetensors"
        kept = _kept(path, _form(teacher, len(numbers)), identity)
        if kept is None:
            begun = time.perf_counter()
            part = _chosen(teacher.maps(source, numbers), basis, numbers, teacher.seed)
            kept = part, time.perf_counter() - begun
            checkpoint.save(path, part, {"identity": identity, "seconds": kept[1]})
        parts.append(kept[0])
        seconds += kept[1]
        on_view(numbers.stop)
        if stop():
            return None
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    for purpose, tap in taps(teacher.net).items():
        if not ((joined["cells"][purpose] >= 0) & (joined["cells"][purpose] < teacher.cells(tap))).all():
            raise JtrackError(f"the lessons in {teacher.folder} are of cells that there are not: delete them")
    return Lessons(source, joined["cells"], joined["maps"], seconds)


def views(source: Source, settings: Settings, seed: int, numbers: range | np.ndarray) -> np.ndarray:
    """Views [n, S, S, 3] uint8 by their numbers."""
    with ThreadPoolExecutor(2) as pool:
        clips = pool.map(lambda number: source.clip(seed, int(number), 0, 1, settings.side), numbers)
        return np.stack([clip.pixels[0] for clip in clips])


def _form(teacher: Teacher, count: int) -> PyTree:
    """The shapes of so many lessons."""
    cells, maps = {}, {}
    for purpose, tap in taps(teacher.net).items():
        channels = teacher.net.map_shape(tap, (teacher.settings.side,) * 2)[-1]
        chosen = min(CELLS, teacher.cells(tap))
        cells[purpose] = jax.ShapeDtypeStruct((count, chosen), np.int32)
        maps[purpose] = jax.ShapeDtypeStruct((count, chosen, min(COMPONENTS, channels)), np.float16)
    return {"cells": cells, "maps": maps}


def _chosen(maps: Mapping[str, np.ndarray], basis: PyTree, numbers: range, seed: int) -> PyTree:
    """Some cells of maps [V, n, C], along the components."""
    cells: dict[str, np.ndarray] = {}
    found: dict[str, np.ndarray] = {}
    for order, (purpose, each) in enumerate(maps.items()):
        count = min(CELLS, each.shape[1])
        generators = (np.random.default_rng([_CELLS, seed, order, number]) for number in numbers)
        picked = np.stack([np.sort(rng.permutation(each.shape[1])[:count]) for rng in generators])
        features = np.take_along_axis(each, picked[:, :, None], axis=1) - basis[purpose]["middle"]
        cells[purpose] = picked.astype(np.int32)
        found[purpose] = (features @ basis[purpose]["directions"]).astype(np.float16)
    return {"cells": cells, "maps": found}


def _kept(path: Path, like: PyTree, identity: Mapping[str, Any]) -> tuple[Any, float] | None:
    """What a file holds, and the seconds it took to make; None where there is none."""
    if not path.is_file():
        return None
    about = checkpoint.about(path)
    if about.get("identity") != identity:
        raise JtrackError(
            f"{path} is of another teacher, data, seed or size: give the same, another --out, or --overwrite"
        )
    with reading(f"the header of {path}", "delete it"):
        seconds = float(about["seconds"])
    return checkpoint.load(path, like), seconds


# --- learning ---------------------------------------------------------------------------------------------


def distil(
    student: Backbone,
    layers: Layers,
    taught: Lessons,
    held_out: Lessons,
    settings: Settings,
    *,
    seed: int,
    folder: Path,
    identity: Mapping[str, Any],
    on_step: Callable[[loop.Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> loop.Done:
    """Trains a network to predict the teacher's maps, or goes on with it.

    The figure is the share of their variance that is not explained, a mean over the three strides.

    Args:
      student: the small network.
      layers: its weights to begin with.
      taught: what to learn.
      held_out: what to judge by, of at least one batch.
      settings: those of `lessons`.
      seed: that of `lessons`.
      folder: of the checkpoint and the log.
      identity: as of `loop.Descent`.
      on_step: as of `loop.descend`.
      stop: as of `loop.descend`.

    Returns:
      Its state is a tuple that begins with the weights, `layers`, and `heads`, the linear layers.
    """
    optimiser = adam(settings.rate, settings.steps, warm_up=100)
    rng = np.random.default_rng([_HEADS, seed])
    heads = {}
    for purpose, tap in taps(student).items():
        inputs, outputs = student.map_shape(tap, (settings.side,) * 2)[-1], taught.maps[purpose].shape[-1]
        kernel = rng.standard_normal((inputs, outputs), np.float32) / np.float32(np.sqrt(inputs))
        heads[purpose] = {"kernel": kernel * np.float32(0.1), "bias": np.zeros(outputs, np.float32)}
    weights = {"layers": layers, "heads": heads}
    first = _State(layers, heads, optimiser.init(weights))
    loss = functools.partial(unexplained, student)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: _State, batch: PyTree) -> tuple[_State, Array]:
        weights = {"layers": state.layers, "heads": state.heads}
        value, slopes = jax.value_and_grad(loss)(weights, batch)
        updates, memory = optimiser.update(slopes, state.optimiser, weights)
        moved = optax.apply_updates(weights, updates)
        return _State(moved["layers"], moved["heads"], memory), value

    def batches(start: int, stop: int) -> Generator[tuple[int, PyTree]]:
        for number in range(start, stop):
            yield number, batch_of(taught, settings, seed, number)

    last = len(held_out.maps["stride16"]) - settings.batch
    judged = [
        _of_views(held_out, settings, seed, begin + np.arange(settings.batch))
        for begin in range(0, last + 1, settings.batch)
    ]
    look = jax.jit(loss)

    def judge(state: _State) -> dict[str, float]:
        weights = {"layers": state.layers, "heads": state.heads}
        return {"loss": float(np.mean([look(weights, batch) for batch in judged]))}

    def advance(state: _State, number: int, batch: PyTree) -> tuple[_State, dict[str, Array]]:
        del number
        state, value = step(state, batch)
        return state, {"loss": value}

    descent = loop.Descent(folder, identity, settings.steps, settings.keep_every, batches, advance, judge)
    return loop.descend(descent, first, on_step=on_step, stop=stop)


def batch_of(taught: Lessons, settings: Settings, seed: int, step: int) -> PyTree:
    """The views of a step and what the teacher says of them: (images, cells, maps).

    Each epoch takes the views in a new random order.
    """
    count = len(taught.maps["stride16"])
    epochs, within = np.divmod(step * settings.batch + np.arange(settings.batch), count)
    orders = {int(e): np.random.default_rng([_ORDER, seed, int(e)]).permutation(count) for e in set(epochs)}
    chosen = [orders[int(e)][w] for e, w in zip(epochs, within, strict=True)]
    return _of_views(taught, settings, seed, np.array(chosen))


def _of_views(taught: Lessons, settings: Settings, seed: int, numbers: np.ndarray) -> PyTree:
    images = views(taught.source, settings, seed, numbers)
    cells, maps = (jax.tree.map(lambda leaf: leaf[numbers], each) for each in (taught.cells, taught.maps))
    return images, cells, maps


def unexplained(student: Backbone, weights: PyTree, batch: PyTree) -> Array:
    """The share of the variance of the teacher's maps that is not explained (), a mean over purposes.

    Args:
      student: the small network.
      weights: {"layers": its weights, "heads": what predicts by its maps, by purpose}.
      batch: as of `batch_of`.
    """
    images, cells, maps = batch
    heads, named = weights["heads"], taps(student)
    found = student.apply(weights["layers"], images, tuple(named.values()))
    shares = []
    for purpose, tap in named.items():
        flat = found[tap].reshape(len(images), -1, found[tap].shape[-1])
        picked = jnp.take_along_axis(flat, cells[purpose][:, :, None], axis=1)
        predicted = picked @ heads[purpose]["kernel"] + heads[purpose]["bias"][None, None]
        wanted = maps[purpose].astype(predicted.dtype)
        shares.append(jnp.sum((predicted - wanted) ** 2, axis=-1).mean())
    return jnp.stack(shares).mean()
