"""CNN-SVM: online tracking by learning a discriminative saliency map (Hong, You, Kwak and Han, ICML 2015).

Candidates around the last place are described by a convolutional network and classified by a linear support
vector machine, which is updated in every frame that has a candidate above the threshold. What its positive
weights ask for is projected back through the network, for every positive candidate, into one saliency map.
The target is where a template of past saliency fits best, weighed by where it was expected. The box keeps its
size, but in `default`. There is no released code; what the paper leaves open is a field here.

Profiles (`PROFILES`): `default`; `differentiable`, which is `default` with soft decisions; `paper`;
`svm_only`, the paper's Ours_SVM, in which the best candidate is the target; and `no_prior`, the ablation in
which the target is where the template fits best.

Bytes per target: 4 D a sample, by default 200 + 64 in the machine and 64 waiting to be learnt: with features
of 4096 values 5.4 MB, and 0.9 MB of maps.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack import checks
from jtrack.backbones import Backbone
from jtrack.checks import there
from jtrack.components import calibration, motion, samples, scale, update
from jtrack.components.decisions import Hard, Soft
from jtrack.components.localisation import BestCandidate
from jtrack.components.salience import Extracted, ProjectedPatches, ProjectedRegion
from jtrack.components.scale import Pyramid, SmoothPyramid
from jtrack.components.shapes import FixedShapes
from jtrack.learning import bayes_filter, incremental_svm, peak, saliency_filter
from jtrack.learning.saliency_filter import (
    BoxPosterior,
    PeakPosterior,
    SaliencyFilter,
    UniformPrior,
    WeightedPrior,
)
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, PyTree, Scalar, Tracker, variant
from jtrack.vision import boxes

DOUBTED = 1e-6  # cost of a sample of a frame that is not to be learnt, over that of others


@dataclass(frozen=True)
class Saliency:
    """The target is found on a map of what is salient to the classifier."""

    grid: int = 256  # G: cells a side of saliency, prior, likelihood and posterior
    template: int = 48  # T: cells a side of the target's saliency
    filters: int = 30  # m: of how many frames the template is the mean
    # Positive candidates at most, the best; as many as there are candidates for all, as in equation 7.
    back_projected: int = 32
    prior: UniformPrior | WeightedPrior | None = UniformPrior()  # None: the likelihood alone decides
    posterior: PeakPosterior | BoxPosterior = BoxPosterior()  # from where it is moved on
    localisation: Literal["cell", "subcell"] = "cell"  # of the peak

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "back_projected", "filters")
        checks.at_least(2, self, "grid", "template")


@dataclass(frozen=True)
class Config(FixedShapes):
    """What fixes shapes and control flow; static under jit."""

    features: ProjectedPatches | ProjectedRegion
    saliency: Saliency | None = Saliency()  # None: the best candidate is the target
    scale: Pyramid | SmoothPyramid | None = None  # None: the box keeps its size
    candidates: int = 120  # drawn around the last place, which is one more
    first_samples: int = 72  # of the first frame, drawn from farther away, beside as many as `candidates`
    samples: int = 64  # of a frame to learn at most: the target and the background most like it
    budget: int = 200  # samples that the machine keeps
    # Where a target is that no candidate is above `Hyper.threshold` for; None: where it was.
    unfound: BestCandidate | None = BestCandidate()
    decisions: Hard | Soft = Hard()  # of the best place, and whether there is a target and a frame is learnt
    info: bool = False  # put saliency, prior, likelihood, posterior and candidates into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "candidates", "first_samples", "budget")
        checks.at_least(2, self, "samples")
        checks.require(
            self.samples <= self.candidates + 2,
            f"samples of cnn_svm is {self.samples}, but a frame gives only {self.candidates + 2}: lower "
            "samples or raise candidates",
        )


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept."""

    position_deviation: Scalar = 0.5  # () of the candidates' places, over the target's side
    region: Scalar = 6.0  # () side of the window that maps cover, over the target's
    margin: Scalar = 1.5  # () what a shared region shows on either side of the target, over its side
    overlap: Scalar = 0.3  # () delta: candidates of less overlap with the target are background
    threshold: Scalar = 0.0  # () the least value of the decision function that makes a candidate the target
    update_threshold: Scalar = 0.0  # () a frame is learnt whose best score reaches this share of the average
    average_rate: Scalar = 0.05  # () of the moving average of best scores
    cost: Scalar = 100.0  # () C of the machine, for features of mean norm 1
    motion: Scalar = 1.0  # () pixels: the least standard deviation of the target's motion
    confidence: Scalar = 2.0  # () slope of the logistic curve from the target's margin to `Output.score`
    scale_regularisation: Scalar = 0.01  # () of the scale filter
    scale_learning_rate: Scalar = 0.025  # ()


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    box: Box  # [4] float32; of the first frame's size, unless the scale is followed
    scale: ScaleFilter | None
    # () float32: moving average of the best scores, cut to 0..1, of frames with a target; begun at 0
    average: Array
    svm: incremental_svm.Model  # K = budget + samples; slot 0 is the target in the first frame
    feature_scale: Array  # () float32: 1 / mean norm of the first frame's features
    features: Array  # [samples, D] float32, to be learnt: the target, then what is most like the other kind
    labels: Array  # [samples] float32: 1 the target, -1 background, 0 not to be learnt
    learns: Array  # () a decision: whether they are to be learnt
    saliency: SaliencyFilter | None
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


# Cells a side that a box's map is averaged to, where the network has no fc6 (`paper`) ...
CELLS = {"caffenet_conv": 4, "hog": 8}
# ... and that a box has on the map of a region (`default`).
REGION_CELLS = {"tiny": 3, "hog": 8}


def patches_of(backbone: Backbone) -> ProjectedPatches:
    """What describes the image of a box: fc6 after its ReLU, as in the paper, else a late map."""
    stages = there(backbone.stages)
    if stages.fc6 is not None:
        return ProjectedPatches(stages.fc6, None, backbone.preprocessing.size)
    return ProjectedPatches(stages.box, CELLS.get(backbone.name, 3), stages.box_size)


def region_of(backbone: Backbone) -> ProjectedRegion:
    """What describes a region of some four sides of the target, from whose map boxes are cut."""
    stages = there(backbone.stages)
    return ProjectedRegion(stages.region, REGION_CELLS.get(backbone.name, 4), stages.region_size)


def _paper(backbone: Backbone) -> Profile[Config, Hyper]:
    """The text: every candidate is passed through the network, the box keeps its size.

    What to do without a positive candidate it does not say. In the authors' published boxes one frame in
    twelve lies off the lattice of the saliency map, up to two sides from the last: the best candidate is
    followed there, and nothing is learnt.
    """
    return Profile(Config(patches_of(backbone), saliency=Saliency(back_projected=121)), Hyper())


def _default(backbone: Backbone) -> Profile[Config, Hyper]:
    """Recommended: one pass of the network for all candidates, a scale filter, learning by the score.

    One pass of the network over the surroundings describes all candidates. One pass backwards projects what
    all positive ones ask for: the maximum is taken on the network's map instead of the image. A candidate
    half-way to the background's margin is still followed. A frame is learnt only if its best candidate scores
    at least three quarters of the average: a target that is half hidden still has a positive score, and what
    hides it would be learnt. The average begins at 0, so that a young model learns from low scores too. The
    scale filter follows the size, and the peak lies between cells.
    """
    config = Config(
        region_of(backbone),
        saliency=Saliency(
            prior=WeightedPrior(), posterior=PeakPosterior(), localisation="subcell", back_projected=16
        ),
        scale=Pyramid(),
        unfound=None,
    )
    return Profile(config, Hyper(threshold=-0.5, update_threshold=0.75))


def _differentiable(backbone: Backbone) -> Profile[Config, Hyper]:
    """Of default, with soft decisions, and the derivative of the machine's optimum by its conditions.

    The place is the mean of the posterior's softmax. Samples of a doubtful frame are learnt at a lower cost.
    Constants of the derivative: the candidates that are drawn, which of them are background and which are
    learnt, projected back or given up, the kind of each sample of the machine, and `Output.lost`.
    """
    changes: dict[str, Any] = {"saliency.localisation": "cell", "scale": SmoothPyramid()}
    return _default(backbone).replace(decisions=Soft(), **changes)


PROFILES: dict[str, Callable[[Backbone], Profile[Config, Hyper]]] = {
    "default": _default,
    "differentiable": _differentiable,
    "paper": _paper,
    "svm_only": variant(
        _paper,
        "The paper's Ours_SVM: the best candidate is the target, no saliency.",
        saliency=None,
    ),
    "no_prior": variant(
        _paper,
        "Ablation of paper: the target is where the saliency template fits best, wherever it was expected.",
        **{"saliency.prior": None},
    ),
}


def has_saliency(config: Config) -> bool:
    """Whether `Output.info` holds a saliency map."""
    return config.saliency is not None


def cnn_svm(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network. Its precision is that of describing candidates one by one; saliency is always
        computed in float32, and so is the one pass over a region that serves both.
      config: structure.

    Returns:
      A `Tracker`. Its score is a logistic curve of the target's value of the decision function
      (`Hyper.confidence`): 1/2 on the plane that parts it from the background. The target is lost while no
      candidate is on its side of `Hyper.threshold`: then nothing is learnt, and the box is where
      `Config.unfound` says. A target may be followed and yet not learnt (`Hyper.update_threshold`).
    """
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=functools.partial(_learn, config),
    )


def _init(backbone: Backbone, config: Config, params: PyTree, key: Key, frame: Frame, box: Box) -> State:
    hyper, dtype = params["tracker"], box.dtype
    key, near_key, far_key = jax.random.split(key, 3)
    centre, size = boxes.centre(box), box[2:]
    near = motion.same_size_candidates(near_key, box, config.candidates, hyper.position_deviation, frame.size)
    offsets = jax.random.uniform(far_key, (config.first_samples, 2), dtype, minval=-1.5, maxval=1.5)
    far = boxes.from_centre(
        motion.keep_in_frame(centre[None] + offsets * motion.side(size), frame.size),
        jnp.broadcast_to(size, (config.first_samples, 2)),
    )
    both = jnp.concatenate([near, far])
    region = motion.region_around(box, hyper.margin)
    extracted = config.features.extract(backbone, params["backbone"], frame, region)
    described = extracted.describe(both)
    feature_scale = 1 / jnp.maximum(jnp.linalg.norm(described, axis=1).mean(), 1e-6)
    described = described * feature_scale
    first = jnp.arange(both.shape[0]) == 0
    labels = jnp.where(first, 1.0, samples.background_labels(both, box, hyper.overlap))
    svm = incremental_svm.empty(config.budget + config.samples, described.shape[1], dtype)
    implicit = config.decisions.differentiable
    svm = incremental_svm.add(svm, described, labels, hyper.cost, labels != 0, implicit=implicit)
    first_stays = first_slot(config.budget + config.samples)
    svm = incremental_svm.shrink(svm, config.budget, first_stays, implicit=implicit)
    model = None
    if config.saliency is not None:
        structure, cell = config.saliency, hyper.region * motion.side(size) / config.saliency.grid
        model = saliency_filter.begin(
            filters=structure.filters,
            template=structure.template,
            grid=structure.grid,
            deviation=hyper.motion / cell,
        )
        scores = incremental_svm.decide(svm, described)
        scores = jnp.where(first, jnp.maximum(scores, 1e-6), scores)
        window = saliency_filter.window_around(centre, cell, structure.grid)
        salient = salience_of(structure, extracted, svm, both, scores, hyper.threshold, window)
        model = saliency_filter.remember(model, salient, window, cell, box)
    return State(
        box=box,
        scale=None if config.scale is None else scale.begin(config.scale, frame, box),
        average=jnp.zeros((), dtype),
        svm=svm,
        feature_scale=feature_scale,
        features=jnp.zeros((config.samples, described.shape[1]), dtype),
        labels=jnp.zeros(config.samples, dtype),
        learns=config.decisions.never(dtype),
        saliency=model,
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )


def _step(
    backbone: Backbone, config: Config, params: PyTree, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper, decisions = params["tracker"], config.decisions
    key, draw = jax.random.split(state.key)
    candidates = motion.same_size_candidates(
        draw, state.box, config.candidates, hyper.position_deviation, frame.size
    )
    region = motion.region_around(state.box, hyper.margin)
    extracted = config.features.extract(backbone, params["backbone"], frame, region)
    described = extracted.describe(candidates) * state.feature_scale
    scores = incremental_svm.decide(state.svm, described)
    highest = scores.max()
    found = decisions.above(highest, hyper.threshold)
    allowed = decisions.reaches(highest, hyper.update_threshold * state.average)
    info: dict[str, Array] = {"candidates": candidates, "scores": scores}
    moved = state._replace(
        average=update.averaged(state.average, highest, hyper.average_rate, most=1),
    )
    if config.saliency is None:
        box, target = decisions.best(scores, (candidates, described))
    else:
        centre, following, window, cell, maps = _find(
            config.saliency, extracted, hyper, state, candidates, scores, decisions
        )
        box = boxes.from_centre(motion.keep_in_frame(centre, frame.size), state.box[2:])
        target = extracted.describe(box[None])[0] * state.feature_scale
        learnt = saliency_filter.remember(following, maps["saliency"], window, cell, box)
        moved = moved._replace(saliency=decisions.choose(allowed, learnt, following))
        info |= maps | {"template": saliency_filter.template(there(state.saliency)), "window": window}
    # The target and the background most like it, for `learn` (equation 16).
    labels = samples.background_labels(candidates, box, hyper.overlap)
    distance = jnp.where(labels == 0, jnp.inf, labels * scores)
    _, chosen = lax.top_k(-distance, config.samples - 1)
    value = decisions.choose(found, incremental_svm.decide(state.svm, target[None])[0], highest)
    if config.scale is not None:
        box, scale_model = scale.follow(
            config.scale,
            there(state.scale),
            frame,
            box,
            allowed,
            scale.Rates(hyper.scale_regularisation, hyper.scale_learning_rate),
            decisions,
        )
        moved = moved._replace(scale=scale_model)
    if config.saliency is not None:
        growth = None if config.scale is None else motion.side(box[2:]) / motion.side(state.box[2:])
        excess = (boxes.centre(box) - centre)[::-1] / cell
        carried = config.saliency.posterior.carried(there(moved.saliency), excess, growth)
        moved = moved._replace(saliency=carried)
    # Without a positive candidate nothing is learnt of this frame. A posterior goes where its box goes.
    unfound = state
    if config.unfound is not None:
        last = config.unfound.box(candidates, scores, 1.0, decisions)
        unfound = state._replace(box=last)
    moved = decisions.choose(found, moved._replace(box=box), unfound)
    learns = decisions.both(allowed, found)
    may_learn = decisions.possible(found)
    fresh = jnp.concatenate([target[None], described[chosen]])
    labels = jnp.concatenate([jnp.ones(1, labels.dtype), labels[chosen]])
    moved = moved._replace(
        features=jnp.where(may_learn, fresh, state.features),
        labels=jnp.where(may_learn, labels, state.labels),
        learns=learns,
        key=key,
        due=decisions.possible(learns),
    )
    confidence = calibration.logistic(value, hyper.confidence)
    lost = ~decisions.likely(found)
    return moved, Output(moved.box, confidence, lost, info if config.info else {})


def _find(
    structure: Saliency,
    extracted: Extracted,
    hyper: Hyper,
    state: State,
    candidates: Box,
    scores: Array,
    decisions: Hard | Soft,
) -> tuple[Array, SaliencyFilter, Box, Array, dict[str, Array]]:
    """Looks for the target on the saliency map.

    Returns:
      Its centre (x, y), what is remembered of its place, the window [4] of the maps, the side () of
      their cells, and the maps [G, G].
    """
    model = there(state.saliency)
    centre, size = boxes.centre(state.box), state.box[2:]
    cell = hyper.region * motion.side(size) / structure.grid
    window = saliency_filter.window_around(centre, cell, structure.grid)
    salient = salience_of(structure, extracted, state.svm, candidates, scores, hyper.threshold, window)
    rule = structure.prior or UniformPrior()
    weights = rule.weights(scores, hyper.threshold)
    places = (boxes.centre(candidates) - centre[None])[:, ::-1] / cell
    prior = saliency_filter.predict(model, places, weights, hyper.motion / cell, rule)
    likelihood = saliency_filter.likelihood(model, salient, size[::-1] / cell)
    posterior = bayes_filter.update(prior, likelihood)
    density = likelihood if structure.prior is None else posterior
    at = decisions.best(density.reshape(-1), saliency_filter.cells(density), density.max())
    if structure.localisation == "subcell":
        at = peak.refine(density, at)
    offset = at - structure.grid // 2
    maps = {"saliency": salient, "prior": prior, "likelihood": likelihood, "posterior": posterior}
    following = model._replace(posterior=posterior, offset=offset)
    return centre + offset[::-1] * cell, following, window, cell, maps


def _learn(config: Config, params: PyTree, state: State) -> State:
    """Adds the samples that `_step` left in the state, then removes those beyond the budget."""
    cost, implicit = params["tracker"].cost, config.decisions.differentiable
    # By degrees, samples are learnt that can push less.
    bound = config.decisions.choose(state.learns, cost, DOUBTED * cost)
    valid = state.labels != 0
    svm = incremental_svm.add(state.svm, state.features, state.labels, bound, valid, implicit=implicit)
    svm = incremental_svm.shrink(
        svm, config.budget, first_slot(config.budget + config.samples), implicit=implicit
    )
    return state._replace(svm=svm, due=jnp.zeros((), jnp.bool_))


def first_slot(count: int) -> Array:
    """Which slots [count] of the machine are never removed: the target in the first frame."""
    return jnp.arange(count) == 0


def salience_of(
    structure: Saliency,
    extracted: Extracted,
    svm: incremental_svm.Model,
    candidates: Box,
    scores: Array,
    threshold: Array,
    window: Box,
) -> Array:
    """The target-specific saliency map [G, G] of a window, from the best of the positive candidates."""
    best, chosen = lax.top_k(scores, min(structure.back_projected, scores.shape[0]))
    weights = incremental_svm.weights(svm)
    return extracted.salience(candidates[chosen], best > threshold, weights, window, structure.grid)
