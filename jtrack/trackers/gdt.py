"""GDT: deep learning of appearance models for online object tracking (Zhai, Javan Roshtkhari and Mori, 2016).

Candidates around the last place, at three scales, are described by a network and a small fully connected head
on it. Every number of the head's last layer is modelled by one Gaussian for the target and one for the
background, and the candidate with the highest ratio of their likelihoods is the target (naive Bayes). The
head is first trained offline to tell objects from background (phase 1, `jtrack train objectness`), then in
the first frame to tell this target from what is around it (phase 2). In every frame whose outcome is trusted
the Gaussians are estimated again and blended with the old ones, and the head takes one step of gradient
descent towards a greater difference between target and background. There is no released code; what the paper
leaves open is a field here.

Where the head comes from: `params["backbone"]` may hold, beside the network's layers, those of a head trained
in phase 1, as "head/fc6", "head/fc7" and "head/objectness" (`backbones.objectness`). Without them the head
begins with the network's own fc6 where it has one, else at random: the paper's "no obj-general".

Profiles (`PROFILES`): `default`, which passes the search region through the network once a scale and crops
candidates from its map, and learns the first frame's target turned, too; `paper`, which passes every
candidate and learns the first frame as it is; and Table 1's ablations of `default`: `no_obj_general` (phase 2
alone), `obj_general_only` (phase 1 alone), `pretrained` (neither: the network's own fully connected layers,
or its raw map where it has none), and each of the four with `_no_bp`, in which online the Gaussians alone are
learnt.

Bytes per target: the head, 4 (D H + H O + 3 O + H), and a batch of M features with one more, 4 D (M + 1): on
GoogLeNet (D = 18 432, H = 256, O = 500, M = 64) 19 and 5 MB, on AlexNet with its own fc6 (D = 9216, H = 4096)
159 and 2 MB. The network itself is shared by all targets.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack import checks
from jtrack.backbones import Backbone, objectness
from jtrack.backbones.objectness import Feature
from jtrack.learning import caffe_sgd, fc_head, gaussian_layer
from jtrack.learning.caffe_sgd import Rates
from jtrack.learning.fc_head import BACKGROUND, NEW, OBJECT, TRAINED, Dense
from jtrack.learning.gaussian_layer import Gaussian
from jtrack.types import Array, Box, Frame, Key, Output, Profile, Scalar, Tracker, Vector, variant
from jtrack.vision import boxes, roi
from jtrack.vision.crop import crop
from jtrack.vision.rotation import crop_rotated

GOLDEN = np.pi * (3 - 5**0.5)  # angle between candidates on their spiral
TURNED_REACH = 2.0  # sides of the region that is looked at turned, over the target's: boxes in it are near


@dataclasses.dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    feature: Feature  # what the head stands on
    view: Literal["region", "patches"] = "region"  # what passes through the network: regions, or every box
    start: Literal["objectness", "random", "pretrained"] = "objectness"  # of the head
    specific: bool = True  # phase 2, in the first frame
    backprop: bool = True  # whether the head goes on learning online
    hidden: int = 512  # numbers of fc6, where it is not the network's own
    units: int = 500  # numbers of fc7
    reach: float = 3.0  # sides of the region of a frame, over the target's
    first_reach: float = 5.0  # ... of the first frame
    candidates: int = 200  # places, each at three scales
    averaged: int = 1  # of the best candidates that the box is the mean of
    resizing: Literal["always", "trusted"] = "always"  # when the box may change its size
    first_positives: int = 150
    first_negatives: int = 350
    turned_positives: int = 0  # boxes on the turned target of the first frame, for each of `Hyper.turns`
    first_resized: int = 0  # boxes around the target of a wrong size, which the head learns as background
    positives: int = 16  # of a later frame
    negatives: int = 48
    first_iterations: int = 100
    batch: int = 64  # of an iteration, a quarter of it target
    gate: Literal["all", "network"] = "all"  # what is learnt of trusted frames only
    info: bool = False  # put candidates, their scores and the similarity into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "hidden", "units", "candidates", "averaged", "batch")
        checks.at_least(1, self, "positives", "negatives", "first_positives", "first_negatives")
        checks.at_least(0, self, "turned_positives", "first_resized", "first_iterations")
        checks.require(
            self.averaged <= 3 * self.candidates,
            f"gdt has {3 * self.candidates} candidates, three scales of each place: averaged cannot be "
            f"{self.averaged}",
        )
        checks.require(
            min(self.reach, self.first_reach) > 1,
            f"a region of gdt is larger than the target: reach {self.reach} and first_reach "
            f"{self.first_reach} must be above 1",
        )

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """The same config: no shape follows the target."""
        del box, frame_size
        return self


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept."""

    radius: Vector = (20.0, 0.5)  # [2] of the search: pixels at least, and over the target's side
    widening: Scalar = 2.0  # () times as far after a frame of low similarity
    scale_step: Scalar = 0.02  # () of the pyramid
    jitter: Scalar = 0.05  # () positives' standard deviation over the target's side
    scale_jitter: Scalar = 0.05  # () ... of the logarithm of their scale
    ring: Vector = (0.6, 2.0)  # [2] distance of the first negatives, over the target's width and height
    online_ring: Vector = (0.5, 1.0)  # [2] ... of later ones
    # [2] positives overlap the target by more than the one, negatives by less than the other
    overlap: Vector = (0.8, 0.3)
    turns: Vector = ()  # [T] radians, clockwise, by which the first frame's target is turned; T may be 0
    floor: Scalar = 1e-3  # () of a variance, over the mean of all
    spread: Scalar = 0.0  # () ... of the target's, over the background's of the same feature
    retention: Scalar = 0.95  # () gamma: the share of the old Gaussians
    rate: Scalar = 1e-3  # () learning rate of phase 2
    online_rate: Scalar = 1e-4  # () ... of the step in a later frame
    momentum: Scalar = 0.9  # () of phase 2
    decay: Scalar = 5e-4  # () of weights
    longest_gradient: Scalar = 10.0  # () norm to which a longer one is cut
    trust: Scalar = 0.0  # () a frame is trusted whose best score reaches this share of the usual one
    habit: Scalar = 0.05  # () rate at which the usual best score follows the last ones
    similarity: Scalar = 0.5  # () cosine to the last trusted target that a trusted frame exceeds
    # [2] slope and middle of the logistic curve from the score a unit to `Output.score`
    confidence: Vector = (2.0, 0.0)


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    box: Box  # [4] float32
    head: fc_head.Params | None  # None: the features themselves are modelled
    target: Gaussian  # [O]
    background: Gaussian  # [O]
    reference: Array  # [D] float32: features of the target in the last trusted frame
    batch: Array | None  # [positives + negatives, D] float32: what `learn` learns; None if it learns nothing
    signs: Array | None  # [positives + negatives] float32: 1 target, -1 background, 0 unused
    usual: Array  # () float32: moving mean of the best scores, 0 for those below, of all frames; begun at 0
    doubtful: Array  # () bool: whether similarity was low in the last frame
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


def _paper(backbone: Backbone) -> Profile:
    """The text: every candidate is passed through the network."""
    config = Config(
        objectness.feature_of(backbone.name),
        view="patches",
        first_positives=200,
        first_negatives=400,
        positives=32,
        negatives=96,
        first_iterations=500,
        batch=128,
    )
    return Profile(config, Hyper())


def _default(backbone: Backbone) -> Profile:
    """Recommended: one pass of the network a scale, a small head, the first target shown rotated too.

    The box is the mean of the best candidates, and keeps its size where they are not trusted. The head is
    small, and learns boxes of a wrong size as background: without them its score grows as a box shrinks. The
    target of the first frame is learnt turned by up to 45 degrees, too, by the head and by the Gaussians, of
    whose positives that makes four fifths; the box of a slim one holds much background then, and still this
    measured better. And the target may vary as much as the background does: the first frame shows one
    appearance, and with the variances of its shifts alone the score falls far below zero within a few frames
    of most real sequences.
    Frames are trusted that score three quarters of what is usual: a target that is half hidden still scores
    above zero, and what hides it would be learnt.
    """
    config = Config(
        objectness.feature_of(backbone.name),
        hidden=256,
        turned_positives=100,
        first_resized=100,
        averaged=5,
        resizing="trusted",
    )
    turns = tuple(np.radians((-45.0, -30.0, -15.0, 15.0, 30.0, 45.0)))
    return Profile(config, Hyper(turns=turns, spread=1.0, trust=0.75))


ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "no_obj_general": ("no head trained for objectness, phase 2 alone", {"start": "random"}),
    "obj_general_only": ("the head trained for objectness as it is, phase 1 alone", {"specific": False}),
    "pretrained": (
        "the network's own fully connected layers as they are, neither phase",
        {"start": "pretrained", "specific": False},
    ),
}

PROFILES: dict[str, Callable[[Backbone], Profile]] = {
    "default": _default,
    "paper": _paper,
    "no_bp": variant(_default, "Table 1, of default: online the Gaussians alone are learnt.", backprop=False),
}
for _name, (_about, _changes) in ABLATIONS.items():
    PROFILES[_name] = variant(_default, f"Table 1, of default: {_about}.", **_changes)
    PROFILES[f"{_name}_no_bp"] = variant(
        _default, f"Table 1, of default: {_name} and no_bp together.", **_changes, backprop=False
    )


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
      score is a logistic curve of the log likelihood ratio a unit (`Hyper.confidence`). The target is lost
      while that ratio speaks for the background or the target does not look as it last did: then the box
      still goes to the best candidate, and nothing is learnt. Nor is it, and the size stays, in a frame that
      scores less than is usual (`Hyper.trust`).
    """
    learns = config.backprop and _has_head(config)
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=_learn if learns else None,
    )


def _has_head(config: Config) -> bool:
    """Whether there is anything fully connected: pre-trained networks may have none."""
    return config.start != "pretrained" or config.feature.own


View = Callable[[Any, Box], Array]  # (level () int32, boxes [N, 4]) -> features [N, D]


def _init(backbone: Backbone, config: Config, params: dict, key: Key, frame: Frame, box: Box) -> State:
    hyper = params["tracker"]
    key, head_key, sample_key, turn_key, batch_key = jax.random.split(key, 5)
    scale = jnp.ones(1)
    look = _view(backbone, config, params, frame, box, scale, config.first_reach)
    counts = config.first_positives, config.first_negatives
    samples, signs = _samples(hyper, hyper.ring, sample_key, box, frame, counts)
    resized = _resized(hyper, box, config.first_resized)
    seen = look(0, jnp.concatenate([box[None], samples, resized]))
    reference, features = seen[0], seen[1:]
    if config.turned_positives and len(hyper.turns):
        turned, turned_signs = _turned(backbone, config, params, turn_key, frame, box)
        features, signs = jnp.concatenate([turned, features]), jnp.concatenate([turned_signs, signs])
    head, multipliers = _first_head(backbone, config, params, head_key, features.shape[1])
    if config.specific and head is not None:
        all_signs = jnp.concatenate([signs, -jnp.ones(config.first_resized)])
        batches = _batches(config, batch_key, all_signs)
        rates = Rates(hyper.rate, hyper.momentum, hyper.decay)
        labels = jnp.where(all_signs > 0, OBJECT, BACKGROUND)
        head, _ = fc_head.fine_tune(
            head, features, labels, batches, rates, multipliers, longest=hyper.longest_gradient
        )
    target, background = _gaussians(hyper, _values(head, features[: len(signs)]), signs)
    count = config.positives + config.negatives
    learns = config.backprop and head is not None
    return State(
        box=box,
        head=head,
        target=target,
        background=background,
        reference=reference,
        batch=jnp.zeros((count, features.shape[1])) if learns else None,
        signs=jnp.zeros(count) if learns else None,
        usual=jnp.zeros((), jnp.float32),
        doubtful=jnp.zeros((), jnp.bool_),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )


def _step(
    backbone: Backbone, config: Config, params: dict, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper = params["tracker"]
    key, draw = jax.random.split(state.key)
    scales = _scales(hyper, state.box)
    candidates = _candidates(config, hyper, state, scales, frame)  # [3, P, 4]
    look = _view(backbone, config, params, frame, state.box, scales, config.reach)
    seen = jax.vmap(look)(jnp.arange(3), candidates)
    seen = seen.reshape(-1, seen.shape[-1])
    values = _values(state.head, seen)
    scores = gaussian_layer.score(values, _target(hyper, state), state.background)
    highest, order = lax.top_k(scores, config.averaged)
    best = order[0]
    before = _values(state.head, state.reference[None])[0]
    similarity = _cosine(values[best], before)
    similar = similarity > hyper.similarity
    found = (highest[0] >= 0) & similar
    sure = found & (highest[0] >= hyper.trust * state.usual)
    box = candidates.reshape(-1, 4)[order].mean(axis=0)
    if config.resizing == "trusted":
        box = jnp.where(sure, box, boxes.from_centre(boxes.centre(box), state.box[2:]))

    counts = config.positives, config.negatives
    samples, signs = _samples(hyper, hyper.online_ring, draw, box, frame, counts)
    if config.view == "region":
        seen_there = _inside(samples, boxes.scale_about_centre(state.box, config.reach))
        signs = jnp.where((signs < 0) & ~seen_there, 0, signs)
    batch = look(1, samples)
    trusted = sure if config.gate == "all" else jnp.ones((), jnp.bool_)
    new = _gaussians(hyper, _values(state.head, batch), signs)
    target, background = (
        _where(trusted, gaussian_layer.update(old, fresh, hyper.retention), old)
        for old, fresh in zip((state.target, state.background), new, strict=True)
    )
    following = state._replace(
        box=box,
        target=target,
        background=background,
        reference=jnp.where(sure, seen[best], state.reference),
        usual=state.usual + hyper.habit * (jnp.maximum(highest[0], 0) - state.usual),
        doubtful=~similar,
        key=key,
    )
    if state.batch is not None:
        following = following._replace(batch=batch, signs=signs, due=sure)
    slope, middle = hyper.confidence
    score = jax.nn.sigmoid(slope * (highest[0] / values.shape[1] - middle))
    info = {"candidates": candidates.reshape(-1, 4), "scores": scores, "similarity": similarity}
    return following, Output(box, score, ~found, info if config.info else {})


def _learn(params: dict, state: State) -> State:
    """One step of the head up the difference between target and background, the Gaussians fixed (stage 2)."""
    hyper = params["tracker"]
    assert state.head is not None and state.batch is not None and state.signs is not None
    batch, signs, target = state.batch, state.signs, _target(hyper, state)

    def loss(head: fc_head.Params) -> Array:
        values = fc_head.apply(head, batch)
        return -gaussian_layer.objective(values, signs, target, state.background)

    gradient = jax.grad(loss)(state.head)
    square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))
    cut = jnp.minimum(1.0, hyper.longest_gradient * lax.rsqrt(jnp.maximum(square, 1e-20)))
    gradient = jax.tree.map(lambda leaf: cut * leaf, gradient)
    rates = Rates(hyper.online_rate, jnp.float32(0), hyper.decay)
    multipliers = fc_head.Params(TRAINED, TRAINED, TRAINED)
    head, _ = caffe_sgd.step(state.head, caffe_sgd.still(state.head), gradient, rates, multipliers)
    return state._replace(head=head, due=jnp.zeros((), jnp.bool_))


def _first_head(
    backbone: Backbone, config: Config, params: dict, key: Key, width: int
) -> tuple[fc_head.Params | None, fc_head.Params]:
    """The head before phase 2, and how fast its layers learn there: what is new ten times as fast."""
    weights = params["backbone"]
    new = fc_head.Params(NEW, NEW, NEW)
    if config.start == "pretrained":
        if not config.feature.own:
            return None, new
        pretrained = fc_head.with_fc6(key, _layer(weights, "fc6"), weights["fc7"]["bias"].shape[0])
        return pretrained._replace(fc7=_layer(weights, "fc7")), new
    if config.start == "objectness" and f"{objectness.PREFIX}fc6" in weights:
        layers = (_layer(weights, objectness.PREFIX + name) for name in fc_head.Params._fields)
        return fc_head.Params(*layers), fc_head.Params(TRAINED, TRAINED, TRAINED)
    if config.feature.own:
        head = fc_head.with_fc6(key, _layer(weights, "fc6"), config.units)
        return head, new._replace(fc6=TRAINED)
    return fc_head.init(key, width, config.hidden, config.units), new


def _layer(weights: dict, name: str) -> Dense:
    return Dense(*(jnp.asarray(weights[name][part], jnp.float32) for part in ("kernel", "bias")))


def _values(head: fc_head.Params | None, features: Array) -> Array:
    """What the Gaussians model [N, O] of features [N, D]."""
    return features if head is None else fc_head.apply(head, features)


def _gaussians(hyper: Hyper, values: Array, signs: Array) -> tuple[Gaussian, Gaussian]:
    """Of the target and of the background."""
    target = gaussian_layer.estimate(values, jnp.maximum(signs, 0), hyper.floor)
    return target, gaussian_layer.estimate(values, jnp.maximum(-signs, 0), hyper.floor)


def _target(hyper: Hyper, state: State) -> Gaussian:
    """The target's Gaussians as candidates are scored with them."""
    return gaussian_layer.widened(state.target, state.background, hyper.spread)


def _where[T](condition: Array, then: T, otherwise: T) -> T:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), then, otherwise)


def _cosine(a: Array, b: Array) -> Array:
    return jnp.sum(a * b) * lax.rsqrt(jnp.maximum(jnp.sum(a * a) * jnp.sum(b * b), 1e-20))


def _extent(frame: Frame) -> Array:
    return frame.size[::-1].astype(jnp.float32)


def _scales(hyper: Hyper, box: Box) -> Array:
    """Of the pyramid [3]; a step changes the longer side by a pixel at least (footnote 7)."""
    step = jnp.maximum(hyper.scale_step, 1 / jnp.maximum(jnp.max(box[2:]), 2))
    return jnp.stack([1 - step, jnp.float32(1), 1 + step])


def _candidates(config: Config, hyper: Hyper, state: State, scales: Array, frame: Frame) -> Box:
    """Boxes [3, P, 4]: the same places at three scales, on a spiral that is denser in the middle.

    Places stay in the frame and in the region that is looked at; sizes neither vanish nor outgrow the frame.
    """
    size, centre = state.box[2:], boxes.centre(state.box)
    side = jnp.sqrt(size[0] * size[1])
    radius = jnp.maximum(hyper.radius[0], hyper.radius[1] * side)
    radius = radius * jnp.where(state.doubtful, hyper.widening, 1.0)
    order = np.arange(config.candidates)
    distance = (order / max(config.candidates - 1, 1)) ** 0.75
    turns = np.stack([np.cos(GOLDEN * order), np.sin(GOLDEN * order)], axis=1)
    offsets = radius * jnp.asarray(distance[:, None] * turns, jnp.float32)
    if config.view == "region":
        farthest = (config.reach - 1) / 2 * size[None]
        offsets = jnp.clip(offsets, -farthest, farthest)
    places = jnp.clip(centre[None] + offsets, 0, _extent(frame)[None])
    sizes = scales[:, None] * size[None]  # [3, 2]
    sensible = jnp.all((sizes >= 2) & (sizes <= _extent(frame)[None]), axis=1, keepdims=True)
    sizes = jnp.where(sensible, sizes, size[None])
    shape = (3, config.candidates, 2)
    return boxes.from_centre(jnp.broadcast_to(places[None], shape), jnp.broadcast_to(sizes[:, None], shape))


def _samples(
    hyper: Hyper, ring: Array, key: Key, box: Box, frame: Frame, counts: tuple[int, int]
) -> tuple[Box, Array]:
    """Boxes on the target and beside it [N, 4], and their signs [N]: 0 for those that would not tell.

    The background's lie on a ring that is as wide and high as the target, so that a slim one, too, has
    background on all sides.
    """
    positives, negatives = counts
    near_key, far_key = jax.random.split(key)
    noise = jnp.clip(jax.random.normal(near_key, (positives, 3)), -2, 2)
    centre, size = boxes.centre(box), box[2:]
    near = boxes.from_centre(
        centre[None] + hyper.jitter * noise[:, :2] * size[None],
        size[None] * jnp.exp(hyper.scale_jitter * noise[:, 2:] / 2),
    )
    polar = jax.random.uniform(far_key, (negatives, 2))
    angle = 2 * jnp.pi * polar[:, 0]
    distance = ring[0] + (ring[1] - ring[0]) * polar[:, 1]
    turns = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    at = jnp.clip(centre[None] + distance[:, None] * turns * size[None], 0, _extent(frame)[None])
    far = boxes.from_centre(at, jnp.broadcast_to(size, at.shape))
    drawn = jnp.concatenate([near, far])
    overlap = boxes.iou(drawn, box[None])
    on, beside = overlap > hyper.overlap[0], overlap < hyper.overlap[1]
    near_one = jnp.arange(positives + negatives) < positives
    return drawn, (near_one & on).astype(jnp.float32) - (~near_one & beside).astype(jnp.float32)


def _inside(samples: Box, region: Box) -> Array:
    """Which boxes [N, 4] lie in a region [4] but for a tenth of their sides: beyond it nothing is seen."""
    slack = 0.1 * samples[:, 2:]
    low = samples[:, :2] + slack >= region[None, :2]
    high = samples[:, :2] + samples[:, 2:] - slack <= (region[:2] + region[2:])[None]
    return jnp.all(low & high, axis=1)


def _turned(
    backbone: Backbone, config: Config, params: dict, key: Key, frame: Frame, box: Box
) -> tuple[Array, Array]:
    """Features [T N, D] of boxes on the turned target, turn by turn, and their signs [T N]."""
    hyper = params["tracker"]
    turns = hyper.turns
    samples, signs = _samples(hyper, hyper.ring, key, box, frame, (config.turned_positives, 0))
    look = _view(backbone, config, params, frame, box, jnp.ones_like(turns), TURNED_REACH, turns)
    features = jax.vmap(look, (0, None))(jnp.arange(len(turns)), samples)
    return features.reshape(-1, features.shape[-1]), jnp.tile(signs, len(turns))


def _resized(hyper: Hyper, box: Box, count: int) -> Box:
    """Boxes [N, 4] around the target, half of them just too small and half too large to count as it."""
    factor = jnp.sqrt(hyper.overlap[1])
    factors = jnp.where(jnp.arange(count) % 2 == 0, factor, 1 / factor)
    return boxes.scale_about_centre(jnp.broadcast_to(box[None], (count, 4)), factors[:, None])


def _batches(config: Config, key: Key, signs: Array) -> Array:
    """Samples [T, B] drawn for each iteration: a quarter target, the rest background."""
    on = config.batch // 4
    shape = (config.first_iterations, on), (config.first_iterations, config.batch - on)
    keys = jax.random.split(key)
    total = signs.shape[0]

    def draw(key: Key, shape: tuple[int, int], weights: Array) -> Array:
        return jax.random.choice(key, total, shape, p=weights / jnp.maximum(weights.sum(), 1))

    return jnp.concatenate(
        [
            draw(keys[0], shape[0], jnp.maximum(signs, 0)),
            draw(keys[1], shape[1], jnp.maximum(-signs, 0)),
        ],
        axis=1,
    )


def _view(
    backbone: Backbone,
    config: Config,
    params: dict,
    frame: Frame,
    box: Box,
    scales: Array,
    reach: float,
    turns: Array | None = None,
) -> View:
    """How boxes of a frame are described: by their own images, or cut from maps of the region around one.

    `turns` [S], radians, one a scale: the region is turned about its middle, and boxes are those of the
    turned picture; or, of boxes that pass one by one, each turns about its own.
    """
    feature = config.feature
    if config.view == "patches":
        return lambda level, wanted: _patches(
            backbone, feature, params, frame, wanted, None if turns is None else turns[level]
        )
    grown = _region_size(feature, reach)
    factor = jnp.asarray(np.array(grown[::-1]) / np.array(feature.size[::-1]), jnp.float32)
    windows = boxes.scale_about_centre(box[None], scales[:, None] * factor[None])  # [S, 4]
    images = _images(frame, windows, grown, turns)
    maps = _dense_maps(backbone, feature, params, images)
    span = (
        backbone.map_shape(feature.tap, feature.size)[0] * feature.stride
    )  # pixels that the cells stand for

    def look(level: Any, wanted: Box) -> Array:
        map_, window = maps[level], windows[level]
        middle = (jnp.asarray(map_.shape[:2], jnp.float32) - 1) / 2
        pixels = jnp.asarray(grown, jnp.float32)[None] / window[None, :1:-1]  # of the image, a pixel (y, x)
        apart = (boxes.centre(wanted) - boxes.centre(window)[None])[:, ::-1] * pixels
        grid_cell = _dense_stride(feature)
        relative = wanted[:, :1:-1] * pixels / jnp.asarray(feature.size, jnp.float32)[None]
        steps = relative * (span / feature.cells / grid_cell)
        cut = roi.sample(map_, middle[None] + apart / grid_cell, steps, feature.cells)
        return fc_head.pool(cut, None, normalised=not feature.own)

    return look


def _images(frame: Frame, windows: Box, size: tuple[int, int], turns: Array | None) -> Array:
    """Images [N, h, w, 3] of windows [N, 4], turned by as many radians; None turns none."""
    if turns is None:
        return jax.vmap(lambda window: crop(frame, window, size))(windows)
    return jax.vmap(lambda window, turn: crop_rotated(frame, window, size, turn))(windows, turns)


def _patches(
    backbone: Backbone, feature: Feature, params: dict, frame: Frame, wanted: Box, turn: Array | None
) -> Array:
    """Features [N, D] of boxes [N, 4], each an image of its own."""
    turns = None if turn is None else jnp.full(len(wanted), turn)
    images = _images(frame, wanted, feature.size, turns)
    maps = backbone.apply(params["backbone"], images, (feature.tap,))[feature.tap]
    return fc_head.pool(maps, feature.cells, normalised=not feature.own)


def _region_size(feature: Feature, reach: float) -> tuple[int, int]:
    """(height, width) of a region's image: that of a box and whole cells around it, evenly on all sides."""
    rows, columns = (
        side + 2 * _dense_stride(feature) * round((reach - 1) * side / 2 / _dense_stride(feature))
        for side in feature.size
    )
    return rows, columns


def _dense_stride(feature: Feature) -> int:
    """Pixels between cells of the map that boxes are cut from; a pooled layer is taken without its stride."""
    return feature.stride if feature.pools is None else feature.stride // 2


def _dense_maps(backbone: Backbone, feature: Feature, params: dict, images: Array) -> Array:
    """Maps [S, h, w, C] that boxes are cut from."""
    if feature.pools is None:
        return backbone.apply(params["backbone"], images, (feature.tap,))[feature.tap]
    maps = backbone.apply(params["backbone"], images, (feature.pools,))[feature.pools]
    for axis in (1, 2):
        count = maps.shape[axis] - 2
        maps = functools.reduce(
            jnp.maximum, (lax.slice_in_dim(maps, i, i + count, axis=axis) for i in range(3))
        )
    return maps
