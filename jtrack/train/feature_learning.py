"""Training a network for correlation filters: first on a larger network's maps, then through HCFT's filters.

    source, held_out = clips.open_source(["images:photos"])
    done = train(Settings(), source, held_out, Path("weights/compact"))
    keep(Path("weights/compact.safetensors"), done, command="...")

The second phase follows short clips by HCFT's profile `differentiable` (`train.through_tracker`). Its loss is
the cross-entropy of the place in the response, beside what the first phase taught. The scale is left as it
is: HCFT finds it by a filter of its own on HOG, which has nothing to learn from the network.

A training that was interrupted goes on where it was, in the same folder. It holds `lessons`, what the teacher
said; `distillation` and `filters`, each with a checkpoint and `log.csv`.
"""

import dataclasses
import functools
import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jtrack import __version__, backbones, trackers
from jtrack.backbones import Backbone
from jtrack.checks import there
from jtrack.errors import JtrackError
from jtrack.train import distillation, loop, through_tracker
from jtrack.train.clips import Source
from jtrack.types import as_arrays
from jtrack.weights import store
from jtrack.weights.convert import Layers

RANDOM = "random"
PHASES = ("distillation", "filters")
HELD_VIEWS = 192  # that distillation is judged by
REMEMBERED = 8  # views a step while it learns through the filters
# Of the softmax over the response, and of the label, over the target's side.
SHARPNESS, LABEL_WIDTH = 10.0, 0.1


@dataclass(frozen=True)
class Settings:
    """How a network is trained; a phase of no steps is left out.

    Through the filters alone a network would forget what it was taught of objects: what it does not explain
    of the teacher's maps stays part of the loss, times `remember`.
    """

    backbone: str = "compact"
    teacher: str = "vgg16_torchvision"
    weights: str = RANDOM  # to begin with: `RANDOM`, or "stored": those of the weights store
    seed: int = 0  # of the weights and all clips
    remember: float = 4.0
    distilling: distillation.Settings = distillation.DEFAULT
    following: through_tracker.Settings = through_tracker.DEFAULT


class Progress(NamedTuple):
    """Where a training is."""

    phase: str  # "lessons", "distillation" or "filters"
    step: int  # of the phase
    steps: int  # of it
    at: loop.Progress | None  # None for lessons


class Trained(NamedTuple):
    """A network after training."""

    settings: Settings
    source: Source
    layers: Layers  # as far as HCFT needs them
    whole: bool  # False if it was stopped
    phases: Mapping[str, Any]  # of each: steps, seconds, and the figures held out


def train(
    settings: Settings,
    source: Source,
    held_out: Source,
    folder: Path,
    *,
    on_step: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Trains, or goes on where a training in the same folder stopped.

    Args:
      settings: how.
      source: of what is learnt from.
      held_out: of what is judged by.
      folder: of all that is kept; made if need be.
      on_step: called after each step.
      stop: asked after each step; if true the state is kept, and what there is returned.

    Raises:
      DivergedError: a figure is not finite.
      JtrackError: settings that make no sense, a folder that holds another training, weights or data that
        cannot be read, a disk that is full.
    """
    check(settings)
    net = backbones.get(settings.backbone)
    row, profile = _followed(net)
    config, hyper = profile.config, as_arrays(profile.hyper)
    taps = tuple(layer for group in config.layers for layer in group)
    layers = first_weights(settings, net, taps)
    identity = _identity(settings, source, layers)
    learnt: dict[str, Any] = {"layers": layers}
    phases: dict[str, Any] = {}
    beside: through_tracker.Beside | None = None

    def noted(phase: str, done: loop.Done) -> bool:
        phases[phase] = {"steps": done.step, "seconds": round(done.seconds, 1)} | dict(done.held_out)
        return done.step == steps[phase]

    def tell(phase: str) -> Callable[[loop.Progress], None]:
        return lambda at: on_step(Progress(phase, at.step, steps[phase], at))

    steps = {"distillation": settings.distilling.steps, "filters": settings.following.steps}
    if steps["distillation"]:
        taught = _taught(settings, source, held_out, folder, on_step, stop)
        if taught is None:
            return Trained(settings, source, layers, False, phases)
        beside = _beside(settings, net, taught.learnt)
        phases["lessons"] = {"seconds": round(taught.seconds, 1)}
        done = distillation.distil(
            net,
            layers,
            taught.learnt,
            taught.held_out,
            settings.distilling,
            seed=settings.seed,
            folder=folder / "distillation",
            identity=identity | _numbers(settings.distilling) | {"teacher": taught.teacher},
            on_step=tell("distillation"),
            stop=stop,
        )
        learnt = {"layers": done.state.layers, "heads": done.state.heads}
        if not noted("distillation", done):
            return Trained(settings, source, learnt["layers"], False, phases)
    if steps["filters"]:
        tracker = row.factory(net, config)
        before = store.digest(jax.device_get(learnt["layers"]))[:16]
        done = through_tracker.learn(
            tracker,
            lambda learnt: {"backbone": learnt["layers"], "tracker": hyper},
            lambda outputs, true: through_tracker.place_loss(outputs, true, LABEL_WIDTH, SHARPNESS),
            learnt,
            source,
            held_out,
            settings.following,
            seed=settings.seed,
            folder=folder / "filters",
            identity=identity
            | _numbers(settings.following)
            | {"remember": settings.remember, "before": before, "tracker": repr((config, profile.hyper))},
            beside=beside,
            on_step=tell("filters"),
            stop=stop,
        )
        learnt = done.state.learnt
        if not noted("filters", done):
            return Trained(settings, source, learnt["layers"], False, phases)
    return Trained(settings, source, learnt["layers"], True, phases)


def first_weights(settings: Settings, net: Backbone, taps: tuple[str, ...]) -> Layers:
    """The weights before training, of the layers that some taps need."""
    if settings.weights == RANDOM:
        return jax.device_get(net.random_params(settings.seed, taps=taps))
    stored = store.load(net.name)
    return {layer: stored[layer] for layer in net.template(taps=taps)}


def _followed(net: Backbone) -> Any:
    """The tracker that follows the clips, and its profile."""
    row = trackers.find(trackers.names_with("features")[0])
    return row, there(row.features)(net)


class _Taught(NamedTuple):
    """What the teacher said."""

    learnt: distillation.Lessons
    held_out: distillation.Lessons
    teacher: str  # the digest of its weights
    seconds: float  # that it took, in all runs


def _taught(
    settings: Settings,
    source: Source,
    held_out: Source,
    folder: Path,
    on_step: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> _Taught | None:
    """The lessons of the first phase; None if it was stopped before there were all."""
    how, net = settings.distilling, store.network(settings.teacher)
    teacher = distillation.Teacher(net, store.load(net.name), how, settings.seed, folder / "lessons")
    basis = distillation.components(teacher, source)
    found: list[distillation.Lessons] = []
    total = how.views + HELD_VIEWS

    def seen(before: int, done: int) -> None:
        on_step(Progress("lessons", before + done, total, None))

    for name, each, count in (("learnt", source, how.views), ("held-out", held_out, HELD_VIEWS)):
        before = sum(len(lessons.maps["stride16"]) for lessons in found)
        lessons = distillation.lessons(
            teacher, basis, each, count, name, on_view=functools.partial(seen, before), stop=stop
        )
        if lessons is None:
            return None
        found.append(lessons)
    return _Taught(found[0], found[1], teacher.digest, sum(lessons.seconds for lessons in found))


def _beside(settings: Settings, net: Backbone, taught: distillation.Lessons) -> through_tracker.Beside:
    """What the network is to remember of the teacher while it learns through the filters."""
    how = dataclasses.replace(settings.distilling, batch=REMEMBERED)
    return through_tracker.Beside(
        lambda learnt, batch: settings.remember * distillation.unexplained(net, learnt, batch),
        lambda step: distillation.batch_of(taught, how, settings.seed, step),
    )


def forget(folder: Path) -> None:
    """Deletes how far a training came; what the teacher said is kept, and used if it still fits.

    Raises:
      OSError: it cannot be deleted.
    """
    for phase in PHASES:
        for name in (loop.CHECKPOINT, loop.LOG):
            (folder / phase / name).unlink(missing_ok=True)


def begun(folder: Path) -> bool:
    """Whether a folder holds a training."""
    return any((folder / phase / loop.CHECKPOINT).exists() for phase in PHASES)


def keep(path: Path, done: Trained, *, command: str) -> None:
    """Stores what was trained as a network of the weights store, with where it comes from.

    Args:
      path: NAME.safetensors, which the store finds by the network's name.
      done: from `train`.
      command: how it was made, for the header.

    Raises:
      JtrackError: it cannot be written.
    """
    layers = {
        layer: {part: np.asarray(array, np.float32) for part, array in parts.items()}
        for layer, parts in jax.device_get(done.layers).items()
    }
    versions = {"jtrack": __version__} | {name: importlib.metadata.version(name) for name in ("jax", "optax")}
    header = {
        "name": done.settings.backbone,
        "trained_for": "features",
        "data": done.source.name,
        "data_digest": done.source.digest,
        "command": command,
        "settings": json.dumps(dataclasses.asdict(done.settings)),
        "phases": json.dumps(done.phases),
        "versions": json.dumps(versions),
        "params_sha256": store.digest(layers),
    }
    if len(layers) < len(backbones.get(done.settings.backbone).template()):
        header["layers"] = " ".join(layers)
    store.write(path, layers, header)


def _numbers(settings: Any) -> dict[str, Any]:
    """What of a phase's settings must be the same for it to go on."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "keep_every"}


def _identity(settings: Settings, source: Source, layers: Layers) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return {
        "backbone": settings.backbone,
        "seed": settings.seed,
        "loss": [SHARPNESS, LABEL_WIDTH, through_tracker.OUTLIERS, REMEMBERED],
        "data": source.digest,
        "weights": store.digest(layers)[:16],
    }


def check(settings: Settings, names: Mapping[str, str] | None = None) -> None:
    """Refuses settings that make no sense, before anything is computed.

    Args:
      settings: what to look at.
      names: of fields that a command calls otherwise: "distilling.batch", "following.batch".

    Raises:
      JtrackError: then; the sentence names the setting.
    """
    net, called = backbones.get(settings.backbone), dict(names or {})
    if net.stages is None or not net.template() or backbones.ARCHITECTURES[net.name].untrained:
        raise JtrackError(f"{net.name} has no weights to train: give another network")
    if settings.seed < 0:
        raise JtrackError(f"seed is {settings.seed}: give a number from 0 on")
    if not (math.isfinite(settings.remember) and settings.remember >= 0):
        raise JtrackError(f"remember is {settings.remember}: give a number from 0 on")
    for part in ("distilling", "following"):
        of_part = {name.partition(".")[2]: to for name, to in called.items() if name.startswith(part)}
        through_tracker.positive(getattr(settings, part), of_part)
    through_tracker.check(settings.following)
    if not settings.distilling.steps and not settings.following.steps:
        raise JtrackError("both phases have no steps: give some to one of them")
    if settings.distilling.steps:
        _check_distillation(settings, net, called.get("distilling.batch", "batch"))


def _check_distillation(settings: Settings, net: Backbone, batch: str) -> None:
    """Refuses a teacher whose cells are not those of the network, and batches of more than is held out."""
    how, teacher = settings.distilling, backbones.get(settings.teacher)
    if how.batch > HELD_VIEWS:
        raise JtrackError(f"{batch} is {how.batch}: give {HELD_VIEWS} at most, as many as are held out")
    if teacher.stages is None:
        raise JtrackError(f"{teacher.name} has no maps to learn: give another teacher")
    for (purpose, mine), theirs in zip(
        distillation.taps(net).items(), distillation.taps(teacher).values(), strict=True
    ):
        sizes = [each.map_shape(tap, (how.side,) * 2)[:2] for each, tap in ((net, mine), (teacher, theirs))]
        if sizes[0] != sizes[1]:
            raise JtrackError(
                f"{net.name} cannot learn the maps of {teacher.name}: those of {purpose} have {sizes[0]} and "
                f"{sizes[1]} cells for views of {how.side} pixels: give another teacher"
            )
