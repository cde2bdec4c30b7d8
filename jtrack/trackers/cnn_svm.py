"""CNN-SVM: online tracking by learning a discriminative saliency map (Hong, You, Kwak and Han, ICML 2015).

Candidates around the last place are described by a convolutional network and classified by a linear support
vector machine that learns from every frame it trusts. What its positive weights ask for is projected back
through the network, for every positive candidate, into one saliency map. The target is where a template of
past saliency fits best, weighed by where it was expected. The box keeps its size, but in `default`. There is
no released code; what the paper leaves open is a field here.

Profiles (`PROFILES`): `default`; `paper`; `svm_only`, the paper's Ours_SVM, in which the best candidate is
the target; and `no_prior`, the ablation in which the target is where the template fits best.

Bytes per target: 4 D a sample, by default 200 + 64 in the machine and 64 waiting to be learnt: with features
of 4096 values 5.4 MB, and 0.9 MB of maps.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack import checks
from jtrack.backbones import Backbone
from jtrack.learning import bayes_filter, incremental_svm, peak, saliency, scale_following
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, Scalar, Tracker, variant
from jtrack.vision import boxes, pooling
from jtrack.vision.crop import crop
from jtrack.vision.resize import resize

# Images in one pass of the network: more of them, and on a CPU the maps leave its caches.
FORWARD, BACKWARD = 32, 8


@dataclasses.dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    tap: str  # layer of the network
    cells: int | None  # its map is averaged to so many cells a side; None takes it as it is
    input_size: tuple[int, int]  # of a candidate's image, or of the region's
    shared: bool = False  # one pass over a region describes all candidates: their cells are cut from its map
    follows_scale: bool = False  # whether the size changes, by a filter over scales
    context: int = 0  # pixels of that image around the candidate's box (R-CNN: 16)
    candidates: int = 120  # drawn around the last place, which is one more
    first_samples: int = 72  # of the first frame, drawn from farther away, beside as many as `candidates`
    samples: int = 64  # of a frame to learn at most: the target and the background most like it
    budget: int = 200  # samples that the machine keeps
    back_projected: int = 32  # positive candidates at most, the best
    form: Literal["linear", "squared"] = "linear"  # of the back-projected feature (`learning.saliency`)
    weighted: bool = False  # the prior counts positive candidates by their scores; the paper all alike
    localisation: Literal["posterior", "likelihood", "candidate"] = "posterior"
    readout: Literal["cell", "subcell"] = "cell"  # of the posterior's peak
    grid: int = 256  # cells a side of saliency, prior, likelihood and posterior
    template: int = 48  # cells a side of the target's saliency
    filters: int = 30  # m: of how many frames the template is the mean
    info: bool = False  # put saliency, prior, likelihood, posterior and candidates into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.size(self, "input_size")
        checks.at_least(1, self, "candidates", "first_samples", "budget", "back_projected", "filters")
        checks.at_least(2, self, "samples", "grid", "template")
        checks.require(
            self.samples <= self.candidates + 2,
            f"samples of cnn_svm is {self.samples}, but a frame gives only {self.candidates + 2}: lower "
            "samples or raise candidates",
        )
        checks.require(
            not self.shared or self.cells is not None,
            "cnn_svm cuts candidates from a shared map by cells: give cells, or shared=False",
        )
        checks.require(
            0 <= 2 * self.context < min(self.input_size),
            f"context of cnn_svm is {self.context}: twice that must be less than the input_size "
            f"{self.input_size}",
        )

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """The same config: no shape follows the target."""
        del box, frame_size
        return self


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept."""

    spread: Scalar = 0.5  # () standard deviation of the candidates over the target's side
    region: Scalar = 6.0  # () side of the window that maps cover, over the target's
    reach: Scalar = 1.5  # () what a shared region shows on either side of the target, over its side
    overlap: Scalar = 0.3  # () delta: candidates of less overlap with the target are background
    threshold: Scalar = 0.0  # () the least value of the decision function that makes a candidate the target
    trust: Scalar = 0.0  # () a frame is learnt whose best score exceeds this share of the usual one
    habit: Scalar = 0.05  # () rate at which the usual best score follows the last ones
    cost: Scalar = 100.0  # () C of the machine, for features of mean norm 1
    motion: Scalar = 1.0  # () pixels: the least standard deviation of the target's motion
    confidence: Scalar = 2.0  # () slope of the logistic curve from the target's margin to `Output.score`
    scale_regularisation: Scalar = 0.01  # () of the scale filter
    scale_rate: Scalar = 0.025  # () at which it learns


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    centre: Array  # [2] float32 (x, y) pixels
    size: Array  # [2] float32 (w, h); of the first frame, unless the scale is followed
    scale: ScaleFilter | None
    usual: (
        Array  # () float32: moving mean of the best scores, cut to 0..1, of frames with a target; begun at 0
    )
    svm: incremental_svm.Model  # K = budget + samples; slot 0 is the target in the first frame
    unit: Array  # () float32: 1 / mean norm of the first frame's features
    features: Array  # [samples, D] float32, to be learnt: the target, then what is most like the other kind
    labels: Array  # [samples] float32: 1 the target, -1 background, 0 not to be learnt
    filters: Array  # [m, T, T] float32: the target's saliency in the last frames
    stored: Array  # () int32: how many filters were ever stored
    posterior: Array  # [G, G] float32
    offset: Array  # [2] float32 (row, column): cells from the posterior's middle to the target
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


class Feature(NamedTuple):
    """What of a network describes a candidate."""

    tap: str
    cells: int | None
    size: tuple[int, int]


# Cells a side that a box's map is averaged to, where the network has no fc6 (`paper`) ...
CELLS = {"caffenet_conv": 4, "hog": 8}
# ... and that a box has on the map of a region (`default`).
REGION_CELLS = {"tiny": 3, "hog": 8}


def feature_of(backbone: Backbone) -> Feature:
    """What describes the image of a box: fc6 after its ReLU, as in the paper, else a late map."""
    stages = backbone.stages
    assert stages is not None
    if stages.fc6 is not None:
        return Feature(stages.fc6, None, backbone.preprocessing.size)
    return Feature(stages.box, CELLS.get(backbone.name, 3), stages.box_size)


def region_feature_of(backbone: Backbone) -> Feature:
    """What describes a region of some four sides of the target, from whose map boxes are cut."""
    stages = backbone.stages
    assert stages is not None
    return Feature(stages.region, REGION_CELLS.get(backbone.name, 4), stages.region_size)


def _paper(backbone: Backbone) -> Profile:
    """The text: every candidate is passed through the network, the box keeps its size."""
    return Profile(Config(*feature_of(backbone)), Hyper())


def _default(backbone: Backbone) -> Profile:
    """Recommended: one pass of the network for all candidates, the scale followed, learning only when sure.

    One pass of the network over the surroundings describes all candidates, and one pass backwards projects
    what all positive ones ask for (the maximum is taken on the network's map instead of the image). A
    candidate half-way to the background's margin is still followed, but nothing is learnt, neither of size
    nor of looks, unless the best candidate scores more than three quarters of what is usual: a target that
    is half hidden has a positive score still, and what hides it would be learnt. The usual score begins at 0:
    a young model learns of low scores, too. The scale is followed, and the peak lies between cells.
    """
    config = Config(
        *region_feature_of(backbone),
        shared=True,
        follows_scale=True,
        weighted=True,
        readout="subcell",
        back_projected=16,
    )
    return Profile(config, Hyper(threshold=-0.5, trust=0.75))


PROFILES: dict[str, Callable[[Backbone], Profile]] = {
    "default": _default,
    "paper": _paper,
    "svm_only": variant(
        _paper,
        "The paper's Ours_SVM: the best candidate is the target, no saliency.",
        localisation="candidate",
    ),
    "no_prior": variant(
        _paper,
        "Ablation of paper: the target is where the saliency template fits best, wherever it was expected.",
        localisation="likelihood",
    ),
}


def has_saliency(config: Config) -> bool:
    """Whether `Output.info` holds a saliency map."""
    return config.localisation != "candidate"


def cnn_svm(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network. Its precision is that of describing candidates one by one; saliency is always
        computed in float32, and so is the one pass over a region that serves both.
      config: structure.

    Returns:
      A `Tracker`. Its score is a logistic curve of the target's value of the decision function
      (`Hyper.confidence`): 1/2 on the plane that parts it from the background. The target is lost while no
      candidate is on its side of `Hyper.threshold`: then nothing but the key changes. A target may be
      followed and yet not learnt (`Hyper.trust`).
    """
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=functools.partial(_learn, config),
    )


class _View(NamedTuple):
    """How a frame is seen from the last place."""

    describe: Callable[[Box], Array]  # boxes [N, 4] -> features [N, D]
    salience: Callable[[Box, Array, Array], Array]  # boxes, which count, and weights [D] -> a map [G, G]


def _init(backbone: Backbone, config: Config, params: dict, key: Key, frame: Frame, box: Box) -> State:
    hyper = params["tracker"]
    key, near_key, far_key = jax.random.split(key, 3)
    centre, size = boxes.centre(box), box[2:]
    near = _candidates(config, hyper, near_key, centre, size, frame)
    offsets = jax.random.uniform(far_key, (config.first_samples, 2), minval=-1.5, maxval=1.5)
    far = boxes.from_centre(
        jnp.clip(centre[None] + offsets * _side(size), 0, _extent(frame)[None]),
        jnp.broadcast_to(size, (config.first_samples, 2)),
    )
    both = jnp.concatenate([near, far])
    view = _view(backbone, config, params, frame, centre, size)
    features = view.describe(both)
    unit = 1 / jnp.maximum(jnp.linalg.norm(features, axis=1).mean(), 1e-6)
    features = features * unit
    first = jnp.arange(both.shape[0]) == 0
    labels = jnp.where(first, 1.0, _labels(hyper, both, box))
    svm = incremental_svm.empty(config.budget + config.samples, features.shape[1])
    svm = incremental_svm.add(svm, features, labels, hyper.cost, labels != 0)
    count = config.samples
    state = State(
        centre=centre,
        size=size,
        scale=scale_following.learn(frame, box) if config.follows_scale else None,
        usual=jnp.zeros((), jnp.float32),
        svm=incremental_svm.shrink(svm, config.budget, _kept(config)),
        unit=unit,
        features=jnp.zeros((count, features.shape[1]), jnp.float32),
        labels=jnp.zeros(count, jnp.float32),
        filters=jnp.zeros((config.filters, config.template, config.template), jnp.float32),
        stored=jnp.zeros((), jnp.int32),
        posterior=_first_posterior(config, hyper, size),
        offset=jnp.zeros(2, jnp.float32),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )
    if config.localisation == "candidate":
        return state
    scores = incremental_svm.decide(state.svm, features)
    salient = _saliency(config, hyper, view, state, both, jnp.where(first, jnp.maximum(scores, 1e-6), scores))
    return _remember(config, hyper, state, salient, centre)


def _step(
    backbone: Backbone, config: Config, params: dict, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper = params["tracker"]
    key, draw = jax.random.split(state.key)
    candidates = _candidates(config, hyper, draw, state.centre, state.size, frame)
    view = _view(backbone, config, params, frame, state.centre, state.size)
    features = view.describe(candidates) * state.unit
    scores = incremental_svm.decide(state.svm, features)
    positive = scores > hyper.threshold
    highest = scores.max()
    sure = highest > hyper.trust * state.usual
    found = positive.any()
    info: dict[str, Array] = {"candidates": candidates, "scores": scores}
    moved = state._replace(usual=state.usual + hyper.habit * (jnp.clip(highest, 0, 1) - state.usual))
    if config.localisation == "candidate":
        best = jnp.argmax(scores)
        centre, target = boxes.centre(candidates[best]), features[best]
    else:
        salient = _saliency(config, hyper, view, state, candidates, scores)
        prior, likelihood, posterior = _filter(config, hyper, state, candidates, scores, positive, salient)
        density = likelihood if config.localisation == "likelihood" else posterior
        at = _peak(config, density)
        centre = jnp.clip(_place(config, hyper, state, at), 0, _extent(frame))
        target = view.describe(boxes.from_centre(centre, state.size)[None])[0] * state.unit
        moved = moved._replace(posterior=posterior, offset=at - config.grid // 2)
        stored = _remember(config, hyper, moved, salient, centre)
        moved = jax.tree.map(lambda new, old: jnp.where(sure, new, old), stored, moved)
        info |= {
            "saliency": salient,
            "prior": prior,
            "likelihood": likelihood,
            "posterior": posterior,
            "template": _template(config, state),
            "window": _window(config, hyper, state.centre, state.size),
        }
    moved = moved._replace(centre=centre)
    moved = _prepare(config, hyper, moved, candidates, scores, features, target)
    value = jnp.where(found, incremental_svm.decide(state.svm, target[None])[0], highest)
    score = jax.nn.sigmoid(hyper.confidence * value)
    moved = _follow_scale(hyper, moved, frame, sure)
    # Without a positive candidate nothing is known of this frame: all stays as it was.
    moved = jax.tree.map(
        lambda new, old: jnp.where(found, new, old), moved._replace(key=key), state._replace(key=key)
    )
    box = boxes.from_centre(moved.centre, moved.size)
    return moved._replace(due=sure), Output(box, score, ~found, info if config.info else {})


def _learn(config: Config, params: dict, state: State) -> State:
    """Learns what `_prepare` laid ready, then gives up what is beyond the budget."""
    cost = params["tracker"].cost
    svm = incremental_svm.add(state.svm, state.features, state.labels, cost, state.labels != 0)
    svm = incremental_svm.shrink(svm, config.budget, _kept(config))
    return state._replace(svm=svm, due=jnp.zeros((), jnp.bool_))


def _kept(config: Config) -> Array:
    """The slots that are never given up: the target in the first frame."""
    return jnp.arange(config.budget + config.samples) == 0


def _side(size: Array) -> Array:
    """The root of the target's area."""
    return jnp.sqrt(size[0] * size[1])


def _extent(frame: Frame) -> Array:
    return frame.size[::-1].astype(jnp.float32)


def _candidates(config: Config, hyper: Hyper, key: Key, centre: Array, size: Array, frame: Frame) -> Box:
    """The last box and candidates around it, [1 + N, 4]; their centres stay in the frame."""
    noise = jax.random.normal(key, (config.candidates, 2))
    offsets = jnp.concatenate([jnp.zeros((1, 2)), noise]) * hyper.spread * _side(size)
    at = jnp.clip(centre[None] + offsets, 0, _extent(frame)[None])
    return boxes.from_centre(at, jnp.broadcast_to(size, at.shape))


def _windows(config: Config, candidates: Box) -> Box:
    """What is cut out for a box: the box, and the context around it."""
    if not config.context:
        return candidates
    height, width = config.input_size
    around = np.array([width, height]) / (np.array([width, height]) - 2 * config.context)
    return boxes.scale_about_centre(candidates, jnp.asarray(around, jnp.float32)[None])


def _view(
    backbone: Backbone, config: Config, params: dict, frame: Frame, centre: Array, size: Array
) -> _View:
    """How candidates are described and projected back: each by itself, or all in one pass over a region."""
    window = _window(config, params["tracker"], centre, size)
    grid = (config.grid, config.grid)
    # Saliency is a gradient, which is always taken in float32.
    exact = dataclasses.replace(backbone, precision="float32")

    def network(net: Backbone, images: Array) -> Array:
        return net.apply(params["backbone"], images, (config.tap,))[config.tap]

    def images(candidates: Box) -> Array:
        windows = _windows(config, candidates)
        return jax.vmap(lambda window: crop(frame, window, config.input_size))(windows)

    def vectors(net: Backbone, images: Array) -> Array:
        maps = network(net, images)
        if config.cells is not None:
            maps = resize(maps, (config.cells, config.cells), method="imresample")
        return maps.reshape(images.shape[0], -1)

    def describe(candidates: Box) -> Array:
        return _in_batches(lambda part: vectors(backbone, part), images(candidates), FORWARD)

    def salience(candidates: Box, valid: Array, weights: Array) -> Array:
        def project(images: Array) -> Array:
            return saliency.back_project(lambda part: vectors(exact, part), images, weights, form=config.form)

        maps = _in_batches(project, images(candidates), BACKWARD)
        return saliency.aggregate(maps, _windows(config, candidates), valid, window, grid, frame.size)

    if not config.shared:
        return _View(describe, salience)

    region = _region(params["tracker"], centre, size)
    maps, backward = jax.vjp(
        lambda image: network(exact, image[None])[0], crop(frame, region, config.input_size)
    )
    cells = config.cells
    assert cells is not None

    def cut(maps: Array, candidates: Box) -> Array:
        return pooling.pool(maps, region, candidates, cells).reshape(candidates.shape[0], -1)

    def shared_salience(candidates: Box, valid: Array, weights: Array) -> Array:
        def wanted(candidate: Box, counts: Array) -> Array:
            features, adjoint = jax.vjp(lambda maps: cut(maps, candidate[None])[0], maps)
            return adjoint(saliency.seed(features, weights, config.form) * counts)[0]

        seeds = jax.vmap(wanted)(candidates, valid.astype(jnp.float32)).max(axis=0)
        (gradient,) = backward(seeds)
        found = jnp.abs(gradient).max(axis=-1)
        laid = saliency.aggregate(found[None], region[None], valid.any()[None], window, grid, frame.size)
        return laid * saliency.union(candidates, valid, window, grid)

    return _View(lambda candidates: cut(maps, candidates), shared_salience)


def _in_batches(work: Callable[[Array], Array], images: Array, size: int) -> Array:
    """`work` on images, so many at once; unrolled, as convolutions in a loop are slow on a CPU."""
    starts = range(0, images.shape[0], size)
    return jnp.concatenate([work(images[start : start + size]) for start in starts])


def _region(hyper: Hyper, centre: Array, size: Array) -> Box:
    """What is described at once: the target and `reach` of its sides around it."""
    return boxes.from_centre(centre, size + 2 * hyper.reach * _side(size))


def _window(config: Config, hyper: Hyper, centre: Array, size: Array) -> Box:
    """The part of the frame that maps cover; its middle cell's own place is the last centre."""
    cell = _cell(config, hyper, size)
    corner = centre - (config.grid // 2 + 0.5) * cell
    return jnp.concatenate([corner, jnp.full(2, config.grid, jnp.float32) * cell])


def _cell(config: Config, hyper: Hyper, size: Array) -> Array:
    """Side of a cell in pixels."""
    return hyper.region * _side(size) / config.grid


def _saliency(
    config: Config, hyper: Hyper, view: _View, state: State, candidates: Box, scores: Array
) -> Array:
    """The target-specific saliency map [G, G] of the window around the last place."""
    best, chosen = lax.top_k(scores, min(config.back_projected, scores.shape[0]))
    return view.salience(candidates[chosen], best > hyper.threshold, incremental_svm.weights(state.svm))


def _filter(
    config: Config,
    hyper: Hyper,
    state: State,
    candidates: Box,
    scores: Array,
    positive: Array,
    salient: Array,
) -> tuple[Array, Array, Array]:
    """Prior, likelihood and posterior [G, G] over the window around the last place."""
    cell = _cell(config, hyper, state.size)
    weight = jnp.maximum(scores - hyper.threshold, 0) if config.weighted else positive.astype(jnp.float32)
    share = weight / jnp.maximum(weight.sum(), 1e-6)
    places = (boxes.centre(candidates) - state.centre[None])[:, ::-1] / cell
    shift = jnp.sum(share[:, None] * places, axis=0)
    apart = places - shift[None]
    covariance = jnp.einsum("n,ni,nj->ij", share, apart, apart, precision="highest")
    # One positive candidate has no spread, two have none across.
    least = jnp.maximum(hyper.motion / cell, 1.0) ** 2
    prior = bayes_filter.predict(state.posterior, shift - state.offset, covariance + least * jnp.eye(2))
    likelihood = bayes_filter.correlate(_on_grid(config, hyper, state), salient)
    return prior, likelihood, bayes_filter.update(prior, likelihood)


def _first_posterior(config: Config, hyper: Hyper, size: Array) -> Array:
    deviation = jnp.maximum(hyper.motion / _cell(config, hyper, size), 1.0)
    middle = jnp.full(2, config.grid // 2, jnp.float32)
    return bayes_filter.gaussian((config.grid, config.grid), middle, deviation**2 * jnp.eye(2))


def _peak(config: Config, density: Array) -> Array:
    """The maximum of a map, (row, column)."""
    row, column = jnp.unravel_index(jnp.argmax(density), density.shape)
    at = jnp.stack([row, column]).astype(jnp.float32)
    return peak.refine(density, at) if config.readout == "subcell" else at


def _place(config: Config, hyper: Hyper, state: State, at: Array) -> Array:
    """Where in the frame a place on the grid is, (x, y)."""
    return state.centre + (at - config.grid // 2)[::-1] * _cell(config, hyper, state.size)


def _template(config: Config, state: State) -> Array:
    """H [T, T]: the mean of the filters there are (equation 13)."""
    there = jnp.clip(state.stored, 1, config.filters).astype(jnp.float32)
    return state.filters.sum(axis=0) / there


def _on_grid(config: Config, hyper: Hyper, state: State) -> Array:
    """The template as it lies on the grid with its middle on the middle cell, [G, G]."""
    extent = state.size[::-1] / _cell(config, hyper, state.size)
    corner = config.grid // 2 + 0.5 - extent / 2
    shape = (config.grid, config.grid)
    return jax.image.scale_and_translate(
        _template(config, state), shape, (0, 1), extent / config.template, corner, "linear"
    )


def _remember(config: Config, hyper: Hyper, state: State, salient: Array, centre: Array) -> State:
    """Stores the target's saliency as the newest filter; `state.centre` is still the last place."""
    cell = _cell(config, hyper, state.size)
    window = _window(config, hyper, state.centre, state.size)
    corner = ((centre - state.size / 2) - window[:2])[::-1] / cell
    scale = config.template * cell / state.size[::-1]
    shape = (config.template, config.template)
    cut = jax.image.scale_and_translate(salient, shape, (0, 1), scale, -corner * scale, "linear")
    filters = state.filters.at[state.stored % config.filters].set(cut)
    return state._replace(filters=filters, stored=state.stored + 1)


def _prepare(
    config: Config,
    hyper: Hyper,
    state: State,
    candidates: Box,
    scores: Array,
    features: Array,
    target: Array,
) -> State:
    """Lays the target and the background most like it ready to be learnt (equation 16)."""
    labels = _labels(hyper, candidates, boxes.from_centre(state.centre, state.size))
    margin = jnp.where(labels == 0, jnp.inf, labels * scores)
    _, chosen = lax.top_k(-margin, config.samples - 1)
    return state._replace(
        features=jnp.concatenate([target[None], features[chosen]]),
        labels=jnp.concatenate([jnp.ones(1), labels[chosen]]),
    )


def _labels(hyper: Hyper, candidates: Box, target: Box) -> Array:
    """-1 what is background, 0 what overlaps the target by too much to be, [N]."""
    return jnp.where(boxes.iou(candidates, target[None]) < hyper.overlap, -1.0, 0.0)


def _follow_scale(hyper: Hyper, state: State, frame: Frame, trusted: Array) -> State:
    """The size at the new place, and what is learnt of it: nothing of a doubtful target."""
    if state.scale is None:
        return state
    box, scale = scale_following.follow(
        state.scale,
        frame,
        boxes.from_centre(state.centre, state.size),
        trusted,
        regularisation=hyper.scale_regularisation,
        rate=hyper.scale_rate,
    )
    return state._replace(size=box[2:], scale=scale)
