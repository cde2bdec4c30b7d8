"""Training a network to tell objects from background: the first phase of GDT, `obj-general`.

    data = open_detection("tfds:voc/2007")
    done = train(Settings("alexnet"), data, store.load("alexnet"), Path("weights/alexnet_objectness"))
    keep(Path("weights/alexnet_objectness.safetensors"), done, command="...")

Zhai, Javan Roshtkhari and Mori (2016), section 3.2: a network for images whose fc7 is reduced to 500 numbers
learns from the boxes of a detection set, in all its layers, to tell patches of objects from background. The
paper names neither loss nor rates: this is the softmax of two classes and Caffe's usual way to fine-tune
AlexNet, which is momentum .9, weight decay .0005, rate .001, ten times that for new layers, twice for biases,
divided by ten every 20 000 steps, batches of 128, half of the hidden numbers left out in training.

What is kept is an entry of the weights store that trackers read: `jtrack.weights.checkpoints`. While a
training runs, its folder holds `checkpoint.safetensors`, from which it goes on, and `log.csv`.
"""

import csv
import functools
import importlib.metadata
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jtrack import __version__, backbones
from jtrack.backbones import box_feature
from jtrack.data.detection import DetectionDataset
from jtrack.data.sequence import prefetch
from jtrack.data.text import read_text
from jtrack.errors import JtrackError
from jtrack.learning import fc_head
from jtrack.learning.fc_head import NEW, TRAINED, Dense
from jtrack.train import checkpoint
from jtrack.train.descent import CAFFE, Descent, caffe_sgd
from jtrack.train.loop import DivergedError, append, writing
from jtrack.train.patches import PER_IMAGE, Batch, Patches, in_order, split, stream
from jtrack.train.probe import ridge_accuracy
from jtrack.types import Array, PyTree
from jtrack.untrusted import reading
from jtrack.weights import checkpoints, store
from jtrack.weights.convert import Layers
from jtrack.whole import replacing

CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"
HIGHEST = 20 * math.log(2)  # a loss above twenty times that of guessing is not coming back
PROBED = 1024  # patches that the classifier on the untrained feature is made with
COLUMNS = ("step", "loss", "accuracy", "held_out_loss", "held_out_accuracy", "rate", "seconds")


@dataclass(frozen=True)
class Settings:
    """How a network is trained. When a training goes on, the last two may change, and the descent's rates."""

    backbone: str
    hidden: int = 512  # numbers of fc6, where the network has none of its own
    out: int = 500  # of fc7: what a tracker models
    batch: int = 128  # patches a step
    freeze: bool = False  # whether the network stays as it is and the head alone is trained
    dropout: float = 0.5  # share of fc6 and of fc7 left out at random
    held_out: int = 250  # images, at most, to judge by
    seed: int = 0
    descent: Descent = CAFFE
    steps: int = 100_000
    keep_every: int = 500  # steps between checkpoints, each with a look at the images held out


class Score(NamedTuple):
    """How well patches are told apart."""

    loss: float
    accuracy: float  # share in 0..1; guessing has .5


class Progress(NamedTuple):
    """Where a training is."""

    step: int  # steps done
    loss: float  # of the batch
    accuracy: float
    held_out: Score | None  # after a checkpoint


class Trained(NamedTuple):
    """A network and a head after training."""

    settings: Settings
    data: DetectionDataset
    step: int  # fewer than wanted if it was stopped
    layers: Layers  # the network's, as far as the feature needs it
    head: fc_head.Params
    probe: float  # accuracy, on images held out, of a linear classifier on the feature before training
    held_out: Score
    history: list[Any]  # [step, rate, rate_every]: from when it went at which rate


class _State(NamedTuple):
    """What a step changes."""

    weights: PyTree  # {"head": fc_head.Params, "backbone": {layer: ...}, empty if the network is frozen}
    optimiser: PyTree


class _At(NamedTuple):
    """Where a training begins or goes on."""

    state: _State
    step: int
    probe: float
    history: list[Any]
    seconds: float


# --- the network ------------------------------------------------------------------------------------------


def initial(settings: Settings, weights: Layers) -> PyTree:
    """The weights before training: {"head": `fc_head.Params`, "backbone": the layers the feature needs}."""
    feature = box_feature.feature_of(settings.backbone)
    net = backbones.get(settings.backbone)
    layers = {layer: weights[layer] for layer in net.template(taps=(feature.tap,))}
    key = jax.random.key(settings.seed)
    if feature.own:
        head = fc_head.with_fc6(key, Dense(**weights["fc6"]), settings.out)
    else:
        head = fc_head.init(key, box_feature.width_of(settings.backbone), settings.hidden, settings.out)
    # Copies: the descent gives its buffers away.
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), {"head": head, "backbone": layers})


def features_of(backbone: str, layers: Layers, images: Array) -> Array:
    """What the head takes [N, D] of a network, of the images of boxes [N, h, w, 3] RGB 0..255."""
    feature = box_feature.feature_of(backbone)
    maps = backbones.get(backbone).apply(layers, images, (feature.tap,))[feature.tap]
    return fc_head.pool(maps, box_feature.CELLS, normalised=not feature.own)


def multipliers(backbone: str, weights: PyTree) -> PyTree:
    """What rate and decay of each blob are multiplied by, in the tree of the weights."""
    own = box_feature.feature_of(backbone).own
    head = fc_head.Params(TRAINED if own else NEW, NEW, NEW)
    return {"head": head, "backbone": {layer: TRAINED._asdict() for layer in weights["backbone"]}}


def _scores(head: fc_head.Params, features: Array, dropout: float, key: Array) -> Array:
    """The head in training: as `fc_head` has it, but a share of fc6 and of fc7 left out."""

    def thinned(values: Array, which: int) -> Array:
        kept = jax.random.bernoulli(jax.random.fold_in(key, which), 1 - dropout, values.shape)
        return jnp.where(kept, values / (1 - dropout), 0)

    hidden = jax.nn.relu(features @ head.fc6.kernel + head.fc6.bias[None])
    values = thinned(hidden, 0) @ head.fc7.kernel + head.fc7.bias[None]
    return fc_head.logits(head, thinned(values, 1))


# --- training ---------------------------------------------------------------------------------------------


def train(
    settings: Settings,
    data: DetectionDataset,
    weights: Layers,
    folder: Path,
    *,
    on_step: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Trains, or goes on where a training in the same folder stopped.

    On a CPU a training that was interrupted, however often, ends with the very bits of one that was not.

    Args:
      settings: how.
      data: images with boxes, read one at a time.
      weights: the network's, {layer: {"kernel", "bias"}}.
      folder: of the checkpoint and the log; made if need be.
      on_step: called after each step.
      stop: asked after each step; if true the state is kept, and what there is returned.

    Returns:
      What was trained.

    Raises:
      DivergedError: the loss is not finite, or beyond `HIGHEST`.
      JtrackError: settings that make no sense, a folder that holds another training, data that cannot be
        read, a disk that is full.
    """
    _check(settings)
    size = box_feature.feature_of(settings.backbone).size
    shown, held_out = split(data, size, held=settings.held_out, seed=settings.seed)
    start = initial(settings, weights)
    identity = _identity(settings, data, start["backbone"])
    fixed = start["backbone"] if settings.freeze else {}
    begin = {"head": start["head"], "backbone": {} if settings.freeze else start["backbone"]}
    optimiser = caffe_sgd(settings.descent, multipliers(settings.backbone, begin))
    first = _State(begin, optimiser.init(begin))
    at = _resumed(folder / CHECKPOINT, first, identity, settings)
    if at is None:
        at = _At(first, 0, _probe(settings, start["backbone"], shown, held_out), [], 0.0)
    rates = [settings.descent.rate, settings.descent.rate_every]
    history = [*at.history, *([] if at.history and at.history[-1][1:] == rates else [[at.step, *rates]])]
    log, begun = _Log(folder / LOG, at.step), time.perf_counter()

    def judged(state: _State) -> Score:
        return _judge(settings, held_out, fixed | state.weights["backbone"], state.weights["head"])

    def keep(state: _State, step: int) -> Score:
        score = judged(state)
        _check_loss(score.loss, step, folder, settings)
        seconds = at.seconds + time.perf_counter() - begun
        about = {"identity": identity, "step": step, "probe": at.probe, "history": history}
        # The log first: a row too many is dropped by whoever goes on, one too few would be lost.
        log.write(step, score, settings.descent.rate_at(step), seconds)
        checkpoint.save(folder / CHECKPOINT, state, about | {"seconds": seconds})
        return score

    state, step, key = at.state, at.step, jax.random.key(settings.seed + 1)
    advance = functools.partial(_advance, settings.backbone, settings.descent, settings.dropout, fixed)
    # Kept before the first step: a full disk or a loss that is not finite shows at once.
    score = keep(state, 0) if step == 0 else judged(state)
    with closing(prefetch(stream(shown, settings.batch, start=step, stop=settings.steps))) as batches:
        for number, batch in batches:
            state, losses = advance(state, jax.random.fold_in(key, number), *batch)
            loss, accuracy = (float(value) for value in losses)
            _check_loss(loss, number, folder, settings)
            log.add(loss, accuracy)
            step, stopped = number + 1, stop()
            due = stopped or step % settings.keep_every == 0 or step == settings.steps
            if due:
                score = keep(state, step)
            on_step(Progress(step, loss, accuracy, score if due else None))
            if stopped:
                break
    layers, head = jax.device_get((fixed | state.weights["backbone"], state.weights["head"]))
    return Trained(settings, data, step, layers, head, at.probe, score, history)


def _resumed(path: Path, like: _State, identity: dict[str, Any], settings: Settings) -> _At | None:
    """A training as its checkpoint has it; None where there is none."""
    if not path.exists():
        return None
    about = checkpoint.about(path)
    if missing := {"identity", "step", "probe", "history", "seconds"} - about.keys():
        raise JtrackError(f"the checkpoint {path} does not say its {', '.join(sorted(missing))}: delete it")
    found = about["identity"]
    if not isinstance(found, dict) or not _is_progress(about):
        raise JtrackError(f"the checkpoint {path} says something else than how far it came: delete it")
    other = [name for name in identity if found.get(name) != identity[name]]
    if other:
        raise JtrackError(
            f"{path} is of a training with other {other[0]} ({found.get(other[0])}, now "
            f"{identity[other[0]]}): give the same, another --out, or --overwrite to begin anew"
        )
    if about["step"] > settings.steps:
        raise JtrackError(
            f"{path} has done {about['step']} steps, {settings.steps} are wanted: give more, another --out, "
            "or --overwrite to begin anew"
        )
    state = jax.tree.map(jnp.array, checkpoint.load(path, like))
    return _At(state, about["step"], about["probe"], about["history"], about["seconds"])


def _is_progress(about: dict[str, Any]) -> bool:
    """Whether steps, times and rates are such; a bool is no number of steps."""
    rows = about["history"]
    numbers = [about["probe"], about["seconds"]]
    return (
        type(about["step"]) is int
        and about["step"] >= 0
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == 3 for row in rows)
        and all(type(value) in (int, float) for value in itertools.chain(numbers, *rows))
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(4,))
def _advance(
    backbone: str,
    descent: Descent,
    dropout: float,
    fixed: Layers,
    state: _State,
    key: Array,
    images: Array,
    labels: Array,
) -> tuple[_State, tuple[Array, Array]]:
    """One step of the descent, and the loss and accuracy of its batch before it."""

    def loss(weights: PyTree) -> tuple[Array, Array]:
        features = features_of(backbone, fixed | weights["backbone"], images)
        scores = _scores(weights["head"], features, dropout, key)
        return fc_head.loss(scores, labels), jnp.mean(jnp.argmax(scores, axis=1) == labels)

    losses, slopes = jax.value_and_grad(loss, has_aux=True)(state.weights)
    optimiser = caffe_sgd(descent, multipliers(backbone, state.weights))
    updates, moved = optimiser.update(slopes, state.optimiser, state.weights)
    return _State(optax.apply_updates(state.weights, updates), moved), losses


def _judge(settings: Settings, held_out: Patches, layers: Layers, head: fc_head.Params) -> Score:
    """Loss and accuracy on the images held out."""
    scores, labels = _of_all(
        in_order(held_out, settings.batch), lambda images: _judged(settings.backbone, layers, head, images)
    )
    chances = np.asarray(jax.nn.log_softmax(scores, axis=1))
    loss = -np.mean(chances[np.arange(len(labels)), labels])
    return Score(float(loss), float(np.mean(scores.argmax(axis=1) == labels)))


@functools.partial(jax.jit, static_argnums=0)
def _judged(backbone: str, layers: Layers, head: fc_head.Params, images: Array) -> Array:
    return fc_head.logits(head, fc_head.apply(head, features_of(backbone, layers, images)))


_described = jax.jit(features_of, static_argnums=0)


def _probe(settings: Settings, layers: Layers, shown: Patches, held_out: Patches) -> float:
    """What a linear classifier on the feature before training reaches on the images held out."""

    def described(patches: Patches) -> tuple[np.ndarray, np.ndarray]:
        return _of_all(
            in_order(patches, settings.batch), lambda images: _described(settings.backbone, layers, images)
        )

    images = min(PROBED // PER_IMAGE, len(shown.indices))  # evenly, so of all sets and videos
    spread = np.linspace(0, len(shown.indices) - 1, images).astype(int)
    known = shown._replace(indices=shown.indices[spread])
    return ridge_accuracy(*described(known), *described(held_out))


def _of_all(
    batches: Iterator[Batch], function: Callable[[np.ndarray], Array]
) -> tuple[np.ndarray, np.ndarray]:
    """A function's values for the patches of all batches, and their labels; it sees batches of one size."""
    found, labels, size = [], [], 0
    for batch in batches:
        count = len(batch.labels)
        size = max(size, count)
        images = np.pad(batch.images, ((0, size - count), (0, 0), (0, 0), (0, 0)))
        found.append(np.asarray(function(images))[:count])
        labels.append(batch.labels)
    return np.concatenate(found), np.concatenate(labels)


# --- what is kept -----------------------------------------------------------------------------------------


def keep(path: Path, done: Trained, *, command: str) -> None:
    """Stores what was trained as an entry of the weights store, with where it comes from.

    Args:
      path: NAME.safetensors.
      done: from `train`.
      command: how it was made, for the header.

    Raises:
      JtrackError: it cannot be written.
    """
    head = {layer: getattr(done.head, layer)._asdict() for layer in checkpoints.HEAD}
    versions = {"jtrack": __version__} | {name: importlib.metadata.version(name) for name in ("jax", "optax")}
    about = {
        "trained_for": "objectness",
        "data": done.data.name,
        "data_digest": done.data.digest,
        "command": command,
        "steps": str(done.step),
        "settings": json.dumps(asdict(done.settings)),
        "history": json.dumps(done.history),
        "accuracy": f"{done.held_out.accuracy:.4f}",
        "accuracy_before": f"{done.probe:.4f}",
        "versions": json.dumps(versions),
    }
    checkpoints.write(path, done.settings.backbone, done.layers, head, about)


class _Log:
    """`log.csv`: a row a checkpoint, with the mean of the batches since the one before."""

    def __init__(self, path: Path, step: int):
        self.path = path
        self.batches: list[tuple[float, float]] = []
        rows = []
        if step and path.is_file():  # what came after the checkpoint is done again
            with reading(f"the log {path}", "delete it"):
                found = csv.reader(read_text(path).splitlines())
                whole = [row for row in found if len(row) == len(COLUMNS) and row[0].isdecimal()]
                rows = [row for row in whole if int(row[0]) <= step]
        with writing(path), replacing(path) as unfinished:
            append(unfinished, [list(COLUMNS), *rows])

    def add(self, loss: float, accuracy: float) -> None:
        self.batches.append((loss, accuracy))

    def write(self, step: int, score: Score, rate: float, seconds: float) -> None:
        means = np.mean(self.batches, axis=0) if self.batches else (math.nan, math.nan)
        self.batches = []
        with writing(self.path):
            values = (f"{value:.6g}" for value in (*means, *score, rate))
            append(self.path, [[str(step), *values, f"{seconds:.1f}"]])


# --- checks -----------------------------------------------------------------------------------------------


def _check(settings: Settings) -> None:
    box_feature.feature_of(settings.backbone)  # refuses a network without one
    names = ("hidden", "out", "batch", "held_out", "steps", "keep_every")
    positive = {name: getattr(settings, name) for name in names}
    positive |= {"rate": settings.descent.rate, "rate_every": settings.descent.rate_every}
    for name, value in positive.items():
        if not (value > 0 and math.isfinite(value)):
            raise JtrackError(f"{name} is {value}: give a number above 0")
    if settings.batch % PER_IMAGE:
        raise JtrackError(
            f"batch is {settings.batch}: give a multiple of {PER_IMAGE}, the patches of an image"
        )
    if not 0 <= settings.dropout < 1:
        raise JtrackError(f"dropout is {settings.dropout}: give a share from 0 to below 1")


def _identity(settings: Settings, data: DetectionDataset, layers: Layers) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    names = ("backbone", "hidden", "out", "batch", "freeze", "dropout", "held_out", "seed")
    return {name: getattr(settings, name) for name in names} | {
        "momentum": settings.descent.momentum,
        "decay": settings.descent.decay,
        "data": data.digest,
        "weights": store.digest(layers)[:16],
    }


def _check_loss(loss: float, step: int, folder: Path, settings: Settings) -> None:
    if math.isfinite(loss) and loss <= HIGHEST:
        return
    path = folder / CHECKPOINT
    kept = "there is no checkpoint yet"
    if path.is_file():
        kept = f"the last good checkpoint, of step {checkpoint.about(path)['step']}, is kept in {path}"
    raise DivergedError(
        f"training diverged at step {step}: the loss is {loss:.3g}, guessing has {math.log(2):.3g}; {kept}: "
        f"go on with a lower rate than {settings.descent.rate:g}"
    )
