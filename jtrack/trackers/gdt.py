"""GDT: deep learning of appearance models for online object tracking (Zhai, Javan Roshtkhari and Mori, 2016).

Candidates around the last place, at three scales, are described by a network and a small fully connected head
on it. Every number of the head's last layer is modelled by one Gaussian for the target and one for the
background, and the candidate with the highest ratio of their likelihoods is the target (naive Bayes). The
head is first trained offline to tell objects from background (phase 1, `jtrack train objectness`), then in
the first frame to tell this target from what is around it (phase 2). In every frame that the update
rule allows the Gaussians are estimated again and blended with the old ones, and the head takes one step of
gradient descent towards a greater difference between target and background. There is no released code; what
the paper leaves open is a field here.

Where the head comes from: `params["backbone"]` may hold, beside the network's layers, those of a head trained
in phase 1, as "head/fc6", "head/fc7" and "head/objectness" (`weights.checkpoints`). Without them the head
begins with the network's own fc6 where it has one, else at random: the paper's "no obj-general".

Profiles (`PROFILES`): `default`, which passes the search region through the network once a scale and crops
candidates from its map, and learns the first frame's target rotated, too; `paper`, which passes every
candidate and learns the first frame as it is; `differentiable`, `default` with soft decisions; and Table 1's
ablations (`ABLATIONS`) of `default` and of `paper` ("paper-no_bp"): phase 2 alone, phase 1 alone, neither
(the network's own fully connected layers, or a map where it has none), and with any of them the Gaussians
alone learnt online. Heads of `paper` and its ablations have as many numbers as `jtrack train objectness`
gives a head.

Bytes per target: the head, 4 (D H + H O + 3 O + H), and a batch of M features with one more, 4 D (M + 1): on
GoogLeNet (D = 18 432, H = 256, O = 500, M = 64) 19 and 5 MB, on AlexNet with its own fc6 (D = 9216, H = 4096)
159 and 2 MB. The network itself is shared by all targets.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.backbones import Backbone, Params, box_feature
from jtrack.backbones.box_feature import Feature
from jtrack.components import calibration, motion, samples, update
from jtrack.components.decisions import Hard, Soft
from jtrack.components.features import Patches, Region
from jtrack.components.shapes import FixedShapes
from jtrack.learning import caffe_sgd, fc_head, gaussian_layer
from jtrack.learning.caffe_sgd import Rates
from jtrack.learning.fc_head import BACKGROUND, NEW, OBJECT, TRAINED
from jtrack.learning.gaussian_layer import AsPrinted, Gaussian, Mean, Mixture, Sum
from jtrack.types import Array, Box, Frame, Key, Output, Profile, PyTree, Scalar, Tracker, Vector, ablations
from jtrack.vision import boxes
from jtrack.weights import checkpoints

ROTATED_SIZE = 2.0  # sides of the region that is described rotated, over the target's: boxes in it are near


@dataclass(frozen=True)
class Config(FixedShapes):
    """What fixes shapes and control flow; static under jit."""

    features: Region | Patches  # what passes through the network: regions, or every box
    start: Literal["objectness", "random", "pretrained"] = "objectness"  # of the head
    hidden: int = 512  # numbers of fc6, where it is not the network's own
    units: int = 500  # numbers of fc7
    candidates: int = 200  # places, each at three scales
    averaged: int = 1  # of the best candidates that the box is the mean of
    resizing: Literal["always", "updated"] = "always"  # in which frames the box may change its size
    first_positives: int = 150
    first_negatives: int = 350
    rotated_positives: int = 0  # boxes on the first frame's target, rotated, for each of `Hyper.rotations`
    first_resized: int = 0  # boxes around the target of a wrong size, which the head learns as background
    positives: int = 16  # of a later frame
    negatives: int = 48
    first_iterations: int = 100  # of phase 2, in the first frame; 0 leaves it out
    batch: int = 64  # of an iteration, a quarter of it target
    online_steps: int = 1  # of the head in a later frame; with 0 the Gaussians alone are learnt
    blending: Mixture | AsPrinted = Mixture()  # of old and new variances: equation 7 corrected, or as printed
    online_total: Mean | Sum = Mean()  # of what the head's online step climbs: equation 11 is a sum
    decisions: Hard | Soft = Hard()  # of the best candidates, and whether a frame is learnt
    info: bool = False  # put candidates, their scores and the similarity into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "hidden", "units", "candidates", "averaged", "batch")
        checks.at_least(1, self, "positives", "negatives", "first_positives", "first_negatives")
        checks.at_least(0, self, "rotated_positives", "first_resized", "first_iterations", "online_steps")
        checks.require(
            self.averaged <= 3 * self.candidates,
            f"gdt has {3 * self.candidates} candidates, three scales of each place: averaged cannot be "
            f"{self.averaged}",
        )


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept."""

    radius: Vector = (20.0, 0.5)  # [2] of the search: pixels at least, and over the target's side
    widening: Scalar = 2.0  # () times as far after a frame of low similarity
    scale_step: Scalar = 0.02  # () of the pyramid
    jitter: Scalar = 0.05  # () positives' standard deviation over the target's width and height
    scale_jitter: Scalar = 0.05  # () twice the standard deviation of the logarithm of their scale
    ring: Vector = (0.6, 2.0)  # [2] distance of the first negatives, over the target's width and height
    online_ring: Vector = (0.5, 1.0)  # [2] the same for the negatives of later frames
    # [2] positives overlap the target by more than the one, negatives by less than the other
    overlap: Vector = (0.8, 0.3)
    rotations: Vector = ()  # [R] radians, clockwise, of the first frame's target as it is learnt; R may be 0
    least_variance: Scalar = 1e-3  # () of a feature, over the mean of all
    variance_floor: Scalar = 0.0  # () of the target's, over the background's of the same feature
    retention: Scalar = 0.95  # () gamma: the share of the old Gaussians
    learning_rate: Scalar = 1e-3  # () of phase 2
    online_learning_rate: Scalar = 1e-4  # () of the step in a later frame
    momentum: Scalar = 0.9  # () of phase 2
    decay: Scalar = 5e-4  # () of weights
    max_gradient_norm: Scalar = 10.0  # () to which a longer gradient of phase 2 is clipped
    online_max_gradient_norm: Scalar = 10.0  # () the same of the step in a later frame
    update_threshold: Scalar = 0.0  # () a frame is learnt whose best score reaches this share of the average
    average_rate: Scalar = 0.05  # () of the moving average of best scores
    similarity: Scalar = 0.5  # () cosine to the last learnt target above which a frame is learnt
    # [2] slope and middle of the logistic curve from the score a feature to `Output.score`
    confidence: Vector = (2.0, 0.0)


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    box: Box  # [4] float32
    head: fc_head.Params | None  # None: the features themselves are modelled
    target: Gaussian  # [O]
    background: Gaussian  # [O]
    reference: Array  # [D] float32: features of the target in the last frame that was learnt
    batch: Array | None  # [positives + negatives, D] float32: what `learn` learns; None if it learns nothing
    labels: Array | None  # [positives + negatives] float32: 1 target, -1 background, 0 unused
    # () float32: moving average of the best scores of all frames, negative ones counted as 0; begun at 0
    average: Array
    doubtful: Array  # () a decision: whether similarity was low in the last frame
    learns: Array  # () a decision: whether `learn` learns of the batch
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


def _paper(backbone: Backbone) -> Profile[Config, Hyper]:
    """The text: every candidate is passed through the network.

    The gradient of a later frame is a sum (equation 11), whose length its clipping sets: without it the
    score, which has no maximum, diverges. Rate and clipping of that step are guesses: the text has neither.
    """
    config = Config(
        Patches(box_feature.feature_of(backbone)),
        first_positives=200,
        first_negatives=400,
        positives=32,
        negatives=96,
        first_iterations=500,
        batch=128,
        online_total=Sum(),
    )
    return Profile(config, Hyper())


def _paper_of_few(backbone: Backbone) -> Profile[Config, Hyper]:
    """Of paper: the mean of a network's map stands in for an fc7 of its own that it lacks."""
    profile = _paper(backbone)
    return profile if profile.config.features.feature.own else profile.replace(**{"features.cells": 1})


def _default(backbone: Backbone) -> Profile[Config, Hyper]:
    """Recommended: one pass of the network a scale, a small head, the first target shown rotated too.

    The box is the mean of the best candidates, and keeps its size in frames that are not learnt. The head is
    small, and learns boxes of a wrong size as background: without them its score grows as a box shrinks. The
    target of the first frame is learnt rotated by up to 45 degrees, too, by the head and by the Gaussians, of
    whose positives that makes four fifths. The box of a slim target holds much background then, and still
    this measured better. The target's variances are at least the background's: the first frame shows one
    appearance, and with the variances of its shifts alone the score falls far below zero within a few frames
    of most real sequences.
    Frames are learnt that score three quarters of the average: a target that is half hidden still scores
    above zero, and what hides it would be learnt.
    """
    config = Config(
        Region(box_feature.feature_of(backbone)),
        hidden=256,
        rotated_positives=100,
        first_resized=100,
        averaged=5,
        resizing="updated",
    )
    rotations = tuple(np.radians((-45.0, -30.0, -15.0, 15.0, 30.0, 45.0)))
    return Profile(config, Hyper(rotations=rotations, variance_floor=1.0, update_threshold=0.75))


def _differentiable(backbone: Backbone) -> Profile[Config, Hyper]:
    """Of default, with soft decisions: the box is a mean of all candidates, every frame is learnt by degrees.

    Constants of the derivative: the samples that are drawn, which of them count as target and as background,
    the batches of the first frame, and `Output.lost`. The score has no forward mode (`jax.jvp`): its gradient
    is written out, as the paper's equations have it.
    """
    return _default(backbone).replace(decisions=Soft(temperature=0.01))


# Table 1's.
_LEARNT: dict[str, tuple[str, dict[str, Any]]] = {
    "no_bp": ("online the Gaussians alone are learnt", {"online_steps": 0}),
    "no_obj_general": ("no head trained for objectness, phase 2 alone", {"start": "random"}),
    "no_obj_general_no_bp": ("no_obj_general and no_bp together", {"start": "random", "online_steps": 0}),
    "obj_general_only": ("the head trained for objectness as it is, phase 1 alone", {"first_iterations": 0}),
    "obj_general_only_no_bp": ("the same with no_bp", {"first_iterations": 0, "online_steps": 0}),
}
_UNTAUGHT = {"start": "pretrained", "first_iterations": 0}
_PRETRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "pretrained": ("the network's own last layers as they are, neither phase", _UNTAUGHT),
    "pretrained_no_bp": ("pretrained and no_bp together", _UNTAUGHT | {"online_steps": 0}),
}
ABLATIONS = _LEARNT | _PRETRAINED
PROFILES: dict[str, Callable[[Backbone], Profile[Config, Hyper]]] = {
    "default": _default,
    "paper": _paper,
    "differentiable": _differentiable,
    **ablations("default", _default, ABLATIONS),
    **ablations("paper", _paper, _LEARNT),
    **ablations("paper", _paper_of_few, _PRETRAINED),
}


def begins_with_objectness(config: Config) -> bool:
    """Whether the network and the head are those trained for objectness, where there are such."""
    return config.start == "objectness"


def gdt(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network. Its precision is that of its forward pass; the head is always float32.
      config: structure.

    Returns:
      A `Tracker`; `learn` is the head's online step, and None where there is nothing for it to learn. Its
      score is a logistic curve of the log likelihood ratio a feature (`Hyper.confidence`). The target is lost
      while that ratio speaks for the background, or while its features differ from those of the target that
      was learnt last. The box then still goes to the best candidate, and nothing is learnt. A frame that
      scores below `Hyper.update_threshold` times the average is not learnt either, and the size stays.
    """
    # Pre-trained networks may have nothing that is fully connected.
    has_head = config.start != "pretrained" or config.features.feature.own
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=functools.partial(_learn, config) if config.online_steps and has_head else None,
    )


def _init(backbone: Backbone, config: Config, params: PyTree, key: Key, frame: Frame, box: Box) -> State:
    hyper, weights, dtype = params["tracker"], params["backbone"], box.dtype
    key, head_key, sample_key, rotation_key, batch_key = jax.random.split(key, 5)
    describe = config.features.describe(
        backbone, weights, frame, box, jnp.ones(1, dtype), config.features.first_size
    )
    jitter = hyper.jitter, hyper.scale_jitter
    near_key, far_key = jax.random.split(sample_key)
    near = samples.around(near_key, box, config.first_positives, *jitter)
    far = samples.ring(far_key, box, config.first_negatives, hyper.ring, frame.size)
    drawn, labels = samples.labelled(near, far, box, hyper.overlap)
    resized = samples.wrong_sizes(box, config.first_resized, hyper.overlap[1])
    every = describe(0, jnp.concatenate([box[None], drawn, resized]))
    reference, features = every[0], every[1:]
    if config.rotated_positives and len(hyper.rotations):
        rotated_key, _ = jax.random.split(rotation_key)
        near = samples.around(rotated_key, box, config.rotated_positives, *jitter)
        near, near_labels = samples.labelled(near, near[:0], box, hyper.overlap)
        angles = hyper.rotations
        describe = config.features.describe(
            backbone, weights, frame, box, jnp.ones_like(angles), ROTATED_SIZE, angles
        )
        rotated = jax.vmap(describe, (0, None))(jnp.arange(len(angles)), near)
        features = jnp.concatenate([rotated.reshape(-1, rotated.shape[-1]), features])
        labels = jnp.concatenate([jnp.tile(near_labels, len(angles)), labels])
    sizes = features.shape[1], config.hidden, config.units
    head, multipliers = first_head(head_key, weights, config.start, config.features.feature, sizes, dtype)
    if config.first_iterations and head is not None:
        all_labels = jnp.concatenate([labels, -jnp.ones(config.first_resized, dtype)])
        batches = samples.draw_batches(batch_key, all_labels, config.first_iterations, config.batch)
        rates = Rates(hyper.learning_rate, hyper.momentum, hyper.decay)
        classes = jnp.where(all_labels > 0, OBJECT, BACKGROUND)
        head, _ = fc_head.fine_tune(
            head, features, classes, batches, rates, multipliers, max_gradient_norm=hyper.max_gradient_norm
        )
    modelled = fc_head.values(head, features[: len(labels)])
    target, background = gaussian_layer.of_both(modelled, labels, hyper.least_variance)
    count = config.positives + config.negatives
    learns = config.online_steps > 0 and head is not None
    return State(
        box=box,
        head=head,
        target=target,
        background=background,
        reference=reference,
        batch=jnp.zeros((count, features.shape[1]), features.dtype) if learns else None,
        labels=jnp.zeros(count, dtype) if learns else None,
        average=jnp.zeros((), dtype),
        doubtful=config.decisions.never(dtype),
        learns=config.decisions.never(dtype),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )


def _step(
    backbone: Backbone, config: Config, params: PyTree, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper, decisions = params["tracker"], config.decisions
    key, draw = jax.random.split(state.key)
    scales = motion.pyramid_scales(state.box, hyper.scale_step)
    widening = decisions.choose(state.doubtful, hyper.widening, jnp.ones_like(hyper.widening))
    radius = motion.search_radius(state.box[2:], hyper.radius) * widening
    limit = config.features.limit(state.box[2:])
    candidates = motion.spiral_candidates(state.box, config.candidates, radius, scales, frame.size, limit)
    describe = config.features.describe(backbone, params["backbone"], frame, state.box, scales)
    described = jax.vmap(describe)(jnp.arange(3), candidates)  # [3, P, D]
    described = described.reshape(-1, described.shape[-1])
    modelled = fc_head.values(state.head, described)
    target = gaussian_layer.widened(state.target, state.background, hyper.variance_floor)
    scores = gaussian_layer.score(modelled, target, state.background)
    unit = modelled.shape[1]  # a score is a sum over so many features
    highest, best, its_values = decisions.best(scores, (scores, described, modelled), unit)
    similarity = update.cosine(its_values, fc_head.values(state.head, state.reference[None])[0])
    similar = decisions.above(similarity, hyper.similarity)
    found = decisions.both(decisions.reaches(highest, 0, unit), similar)
    as_usual = decisions.reaches(highest, hyper.update_threshold * state.average, unit)
    allowed = decisions.both(found, as_usual)
    box = decisions.best(scores, candidates.reshape(-1, 4), unit, count=config.averaged)
    if config.resizing == "updated":
        box = decisions.choose(allowed, box, boxes.from_centre(boxes.centre(box), state.box[2:]))

    near_key, far_key = jax.random.split(draw)
    near = samples.around(near_key, box, config.positives, hyper.jitter, hyper.scale_jitter)
    far = samples.ring(far_key, box, config.negatives, hyper.online_ring, frame.size)
    drawn, labels = samples.labelled(near, far, box, hyper.overlap)
    labels = jnp.where((labels < 0) & ~config.features.covers(drawn, state.box), 0, labels)
    batch = describe(1, drawn)
    fresh = gaussian_layer.of_both(fc_head.values(state.head, batch), labels, hyper.least_variance)
    learnt = [
        decisions.choose(allowed, gaussian_layer.update(old, new, hyper.retention, config.blending), old)
        for old, new in zip((state.target, state.background), fresh, strict=True)
    ]
    following = state._replace(
        box=box,
        target=learnt[0],
        background=learnt[1],
        reference=decisions.choose(allowed, best, state.reference),
        average=update.averaged(state.average, highest, hyper.average_rate),
        doubtful=decisions.unless(similar),
        learns=allowed,
        key=key,
    )
    if state.batch is not None:
        following = following._replace(batch=batch, labels=labels, due=decisions.possible(allowed))
    slope, middle = hyper.confidence
    confidence = calibration.logistic(highest / unit, slope, middle)
    info = {"candidates": candidates.reshape(-1, 4), "scores": scores, "similarity": similarity}
    return following, Output(box, confidence, ~decisions.likely(found), info if config.info else {})


def _learn(config: Config, params: PyTree, state: State) -> State:
    """Steps of the head up the difference between target and background, the Gaussians fixed (stage 2)."""
    hyper = params["tracker"]
    assert state.head is not None and state.batch is not None and state.labels is not None
    batch, labels = state.batch, state.labels
    target = gaussian_layer.widened(state.target, state.background, hyper.variance_floor)

    def loss(head: fc_head.Params) -> Array:
        modelled = fc_head.apply(head, batch)
        return -gaussian_layer.objective(modelled, labels, target, state.background, config.online_total)

    head = state.head
    rates = Rates(hyper.online_learning_rate, jnp.zeros_like(hyper.online_learning_rate), hyper.decay)
    multipliers = fc_head.Params(TRAINED, TRAINED, TRAINED)
    for _ in range(config.online_steps):
        gradient = caffe_sgd.clipped(jax.grad(loss)(head), hyper.online_max_gradient_norm)
        head, _ = caffe_sgd.step(head, caffe_sgd.zero_velocity(head), gradient, rates, multipliers)
    head = config.decisions.choose(state.learns, head, state.head)
    return state._replace(head=head, due=jnp.zeros((), jnp.bool_))


def first_head(
    key: Key,
    weights: Params,
    start: str,
    feature: Feature,
    sizes: tuple[int, int, int],
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> tuple[fc_head.Params | None, fc_head.Params]:
    """The head before phase 2, and how fast its layers learn there: what is new ten times as fast.

    Args:
      key: a PRNG key.
      weights: of the network, and of a head trained for objectness where there is one.
      start: what the head begins with, as `Config.start`.
      feature: what it stands on.
      sizes: numbers of the feature, of fc6 and of fc7.
      dtype: of a new head.
    """
    new = fc_head.Params(NEW, NEW, NEW)
    if start == "pretrained":
        if not feature.own:
            return None, new
        pretrained = fc_head.with_fc6(key, fc_head.stored(weights, "fc6"), weights["fc7"]["bias"].shape[0])
        return pretrained._replace(fc7=fc_head.stored(weights, "fc7")), new
    if start == "objectness" and f"{checkpoints.PREFIX}fc6" in weights:
        layers = (fc_head.stored(weights, checkpoints.PREFIX + name) for name in fc_head.Params._fields)
        return fc_head.Params(*layers), fc_head.Params(TRAINED, TRAINED, TRAINED)
    if feature.own:
        return fc_head.with_fc6(key, fc_head.stored(weights, "fc6"), sizes[2]), new._replace(fc6=TRAINED)
    return fc_head.init(key, *sizes, dtype), new
