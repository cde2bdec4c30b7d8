"""CNN-SVM: online tracking by learning a discriminative saliency map (Hong, You, Kwak and Han, ICML 2015).

Candidates around the last place are described by a convolutional network and classified by a linear support
vector machine that learns from every frame. What its positive weights ask for is projected back through the
network, for every positive candidate, into one saliency map. The target is where a template of past saliency
fits best, weighed by where it was expected. The box keeps its size. There is no released code; what the paper
leaves open is a field here.

Profiles (`PROFILES`): `default`; `paper`; `svm_only`, the paper's Ours_SVM, in which the best candidate is
the target; and `no_prior`, the ablation in which the target is where the template fits best.

Bytes per target: 4 D a sample, by default 200 + 64 in the machine and 64 waiting to be learnt: with features
of 4096 values 5.4 MB, and 0.9 MB of maps.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jtrack.backbones import Backbone
from jtrack.errors import unknown_name
from jtrack.learning import bayes_filter, incremental_svm, peak, saliency
from jtrack.types import Array, Box, Frame, Key, Output, Tracker
from jtrack.vision import boxes
from jtrack.vision.crop import crop
from jtrack.vision.resize import resize


@dataclasses.dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    tap: str  # layer of the network
    cells: int | None  # its map is averaged to so many cells a side; None takes it as it is
    input_size: tuple[int, int]  # of a candidate's image
    context: int = 0  # pixels of that image around the candidate's box (R-CNN: 16)
    candidates: int = 120  # drawn around the last place, which is one more
    first_samples: int = 72  # of the first frame, drawn from farther away, beside as many as `candidates`
    samples: int = 64  # of a frame to learn at most: the target and the background most like it
    budget: int = 200  # samples that the machine keeps
    back_projected: int = 32  # positive candidates at most, the best
    form: Literal["linear", "squared"] = "linear"  # of the back-projected feature (`learning.saliency`)
    localisation: Literal["posterior", "likelihood", "candidate"] = "posterior"
    readout: Literal["cell", "subcell"] = "cell"  # of the posterior's peak
    grid: int = 256  # cells a side of saliency, prior, likelihood and posterior
    template: int = 48  # cells a side of the target's saliency
    filters: int = 30  # m: of how many frames the template is the mean
    info: bool = False  # put saliency, prior, likelihood, posterior and candidates into `Output.info`

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """The same config: no shape follows the target."""
        del box, frame_size
        return self


class Numbers(NamedTuple):
    """Numeric hyper-parameters, all float32: traced, so they can be swept."""

    spread: Array  # () standard deviation of the candidates over the target's side
    region: Array  # () side of the window that maps cover, over the target's
    overlap: Array  # () delta: candidates of less overlap with the target are background
    cost: Array  # () C of the machine, for features of mean norm 1
    motion: Array  # () pixels: the least standard deviation of the target's motion
    confidence: Array  # () slope of the logistic curve from the target's margin to `Output.score`


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    centre: Array  # [2] float32 (x, y) pixels
    size: Array  # [2] float32 (w, h), of the first frame
    svm: incremental_svm.Model  # K = budget + samples; slot 0 is the target in the first frame
    unit: Array  # () float32: 1 / mean norm of the first frame's features
    features: Array  # [samples, D] float32, to be learnt: the target, then background
    valid: Array  # [samples] bool, which of them
    filters: Array  # [m, T, T] float32: the target's saliency in the last frames
    stored: Array  # () int32: how many filters were ever stored
    posterior: Array  # [G, G] float32
    anchor: Array  # [2] float32 (x, y): the place of the posterior's middle cell
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


class Profile(NamedTuple):
    """A named pair of structure and numbers."""

    config: Config
    numbers: Numbers


class Feature(NamedTuple):
    """What of a network describes a candidate."""

    tap: str
    cells: int | None
    size: tuple[int, int]


# fc6 after its ReLU, as the paper, where there is one; else a late map, averaged to a few cells.
FEATURES: dict[str, Feature] = {
    "caffenet": Feature("relu6", None, (227, 227)),
    "rcnn_ilsvrc13": Feature("relu6", None, (227, 227)),
    "alexnet": Feature("relu6", None, (227, 227)),
    "alexnet_torchvision": Feature("relu6", None, (224, 224)),
    "caffenet_conv": Feature("pool5", 4, (227, 227)),
    "vgg16": Feature("relu6", None, (224, 224)),
    "vgg16_torchvision": Feature("relu6", None, (224, 224)),
    "vgg19": Feature("relu6", None, (224, 224)),
    "vgg19_torchvision": Feature("relu6", None, (224, 224)),
    "vgg19_slim": Feature("relu5_1", 3, (112, 112)),
    "googlenet": Feature("inception_4c/output", 3, (112, 112)),
    "squeezenet": Feature("fire9/concat", 3, (115, 115)),
    "tiny": Feature("relu6", None, (64, 64)),
    "hog": Feature("hog", 8, (64, 64)),
}

BACKBONES = tuple(FEATURES)


def numbers(**changes: float) -> Numbers:
    """The paper's numbers, and ours where it gives none; with changes by name."""
    paper = {
        "spread": 0.5,
        "region": 6.0,
        "overlap": 0.3,
        "cost": 100.0,
        "motion": 1.0,
        "confidence": 2.0,
    }
    unknown = changes.keys() - paper.keys()
    assert not unknown, f"no such numbers: {unknown}"
    # NumPy arrays: the module builds its profiles without touching a device.
    return Numbers(**{name: _float32(value) for name, value in (paper | changes).items()})


def _float32(value: float) -> Any:
    return np.asarray(value, np.float32)


def _paper(feature: Feature) -> Profile:
    return Profile(Config(feature.tap, feature.cells, feature.size), numbers())


def _svm_only(feature: Feature) -> Profile:
    return Profile(Config(feature.tap, feature.cells, feature.size, localisation="candidate"), numbers())


def _no_prior(feature: Feature) -> Profile:
    return Profile(Config(feature.tap, feature.cells, feature.size, localisation="likelihood"), numbers())


def _default(feature: Feature) -> Profile:
    """The paper's, with the peak between cells and fewer candidates back-projected."""
    config = Config(feature.tap, feature.cells, feature.size, readout="subcell", back_projected=16)
    return Profile(config, numbers())


PROFILES: dict[str, Callable[[Feature], Profile]] = {
    "default": _default,
    "paper": _paper,
    "svm_only": _svm_only,
    "no_prior": _no_prior,
}


def profile(name: str, backbone: str) -> Profile:
    """A profile on a network's features.

    Args:
      name: one of `PROFILES`.
      backbone: one of `FEATURES`.

    Raises:
      JtrackError: no such profile, or a network whose features are not known.
    """
    if name not in PROFILES:
        raise unknown_name("profile of cnn_svm", name, PROFILES)
    if backbone not in FEATURES:
        raise unknown_name("backbone of cnn_svm", backbone, FEATURES)
    return PROFILES[name](FEATURES[backbone])


def cnn_svm(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network. Its precision is that of describing; saliency is always computed in float32.
      config: structure.

    Returns:
      A `Tracker`. Its score is a logistic curve of the target's value of the decision function
      (`Numbers.confidence`): 1/2 on the plane that parts it from the background. The target is lost while no
      candidate is on its side: then nothing but the key changes.
    """
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=functools.partial(_learn, config),
    )


class _Seen(NamedTuple):
    """Candidates of a frame."""

    boxes: Box  # [N, 4]
    images: Array  # [N, h, w, 3]
    features: Array  # [N, D], scaled
    scores: Array  # [N]


def _init(backbone: Backbone, config: Config, params: dict, key: Key, frame: Frame, box: Box) -> State:
    numbers = params["tracker"]
    key, near_key, far_key = jax.random.split(key, 3)
    centre, size = boxes.centre(box), box[2:]
    near = _candidates(config, numbers, near_key, centre, size, frame)
    offsets = jax.random.uniform(far_key, (config.first_samples, 2), minval=-1.5, maxval=1.5)
    far = boxes.from_centre(
        jnp.clip(centre[None] + offsets * _side(size), 0, _extent(frame)[None]),
        jnp.broadcast_to(size, (config.first_samples, 2)),
    )
    both = jnp.concatenate([near, far])
    images = _images(config, frame, both)
    features = _describe(backbone, config, params, images)
    unit = 1 / jnp.maximum(jnp.linalg.norm(features, axis=1).mean(), 1e-6)
    features = features * unit
    first = jnp.arange(both.shape[0]) == 0
    background = boxes.iou(both, box[None]) < numbers.overlap
    svm = incremental_svm.empty(config.budget + config.samples, features.shape[1])
    svm = incremental_svm.add(
        svm, features, jnp.where(first, 1.0, -1.0), numbers.cost, (first | background).at[0].set(True)
    )
    count = config.samples
    state = State(
        centre=centre,
        size=size,
        svm=incremental_svm.shrink(svm, config.budget, _kept(config)),
        unit=unit,
        features=jnp.zeros((count, features.shape[1]), jnp.float32),
        valid=jnp.zeros(count, jnp.bool_),
        filters=jnp.zeros((config.filters, config.template, config.template), jnp.float32),
        stored=jnp.zeros((), jnp.int32),
        posterior=_first_posterior(config, numbers, size),
        anchor=centre,
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )
    if config.localisation == "candidate":
        return state
    scores = incremental_svm.decide(state.svm, features)
    seen = _Seen(both, images, features, jnp.where(first, jnp.maximum(scores, 1e-6), scores))
    salient = _saliency(backbone, config, params, state, frame, seen)
    return _remember(config, numbers, state, salient, centre)


def _step(
    backbone: Backbone, config: Config, params: dict, state: State, frame: Frame
) -> tuple[State, Output]:
    numbers = params["tracker"]
    key, draw = jax.random.split(state.key)
    seen = _look(backbone, config, params, state, frame, draw)
    positive = seen.scores > 0
    found = positive.any()
    info: dict[str, Array] = {"candidates": seen.boxes, "scores": seen.scores}
    moved = state
    if config.localisation == "candidate":
        best = jnp.argmax(seen.scores)
        centre = boxes.centre(seen.boxes[best])
        target = seen.features[best]
    else:
        salient = _saliency(backbone, config, params, state, frame, seen)
        prior, likelihood, posterior = _filter(config, numbers, state, seen, positive, salient)
        density = likelihood if config.localisation == "likelihood" else posterior
        centre = jnp.clip(_peak(config, numbers, state, density), 0, _extent(frame))
        box = boxes.from_centre(centre, state.size)
        described = _describe(backbone, config, params, _images(config, frame, box[None]))
        target = described[0] * state.unit
        moved = moved._replace(posterior=posterior, anchor=state.centre)
        moved = _remember(config, numbers, moved, salient, centre)
        info |= {
            "saliency": salient,
            "prior": prior,
            "likelihood": likelihood,
            "posterior": posterior,
            "template": _template(config, state),
            "window": _window(config, numbers, state),
        }
    moved = moved._replace(centre=centre)
    moved = _prepare(config, numbers, moved, seen, target)
    # Without a positive candidate nothing is known of this frame: all stays as it was.
    kept = state._replace(key=moved.key)
    moved = jax.tree.map(lambda new, old: jnp.where(found, new, old), moved, kept)
    score = jnp.where(found, incremental_svm.decide(state.svm, target[None])[0], seen.scores.max())
    output = Output(
        boxes.from_centre(moved.centre, moved.size),
        jax.nn.sigmoid(numbers.confidence * score),
        ~found,
        info if config.info else {},
    )
    return moved._replace(key=key, due=found), output


def _learn(config: Config, params: dict, state: State) -> State:
    """Learns what `_prepare` laid ready, then gives up what is beyond the budget."""
    signs = jnp.where(jnp.arange(config.samples) == 0, 1.0, -1.0)
    svm = incremental_svm.add(state.svm, state.features, signs, params["tracker"].cost, state.valid)
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


def _candidates(config: Config, numbers: Numbers, key: Key, centre: Array, size: Array, frame: Frame) -> Box:
    """The last box and candidates around it, [1 + N, 4]; their centres stay in the frame."""
    noise = jax.random.normal(key, (config.candidates, 2))
    offsets = jnp.concatenate([jnp.zeros((1, 2)), noise]) * numbers.spread * _side(size)
    at = jnp.clip(centre[None] + offsets, 0, _extent(frame)[None])
    return boxes.from_centre(at, jnp.broadcast_to(size, at.shape))


def _windows(config: Config, candidates: Box) -> Box:
    """What is cut out for a box: the box, and the context around it."""
    if not config.context:
        return candidates
    height, width = config.input_size
    around = np.array([width, height]) / (np.array([width, height]) - 2 * config.context)
    return boxes.scale_about_centre(candidates, jnp.asarray(around, jnp.float32)[None])


def _images(config: Config, frame: Frame, candidates: Box) -> Array:
    """Candidates [N, 4] as images of the network's size, [N, h, w, 3]."""
    return jax.vmap(lambda window: crop(frame, window, config.input_size))(_windows(config, candidates))


def _describe(backbone: Backbone, config: Config, params: dict, images: Array) -> Array:
    """Features [N, D] of images, not scaled."""
    maps = backbone.apply(params["backbone"], images, (config.tap,))[config.tap]
    if config.cells is not None:
        maps = resize(maps, (config.cells, config.cells), method="imresample")
    return maps.reshape(images.shape[0], -1)


def _look(backbone: Backbone, config: Config, params: dict, state: State, frame: Frame, key: Key) -> _Seen:
    candidates = _candidates(config, params["tracker"], key, state.centre, state.size, frame)
    images = _images(config, frame, candidates)
    features = _describe(backbone, config, params, images) * state.unit
    return _Seen(candidates, images, features, incremental_svm.decide(state.svm, features))


def _window(config: Config, numbers: Numbers, state: State) -> Box:
    """The part of the frame that maps cover; its middle cell's own place is the last centre."""
    cell = _cell(config, numbers, state.size)
    corner = state.centre - (config.grid // 2 + 0.5) * cell
    return jnp.concatenate([corner, jnp.full(2, config.grid, jnp.float32) * cell])


def _cell(config: Config, numbers: Numbers, size: Array) -> Array:
    """Side of a cell in pixels."""
    return numbers.region * _side(size) / config.grid


def _saliency(
    backbone: Backbone, config: Config, params: dict, state: State, frame: Frame, seen: _Seen
) -> Array:
    """The target-specific saliency map [G, G] of the window around the last place."""
    best, chosen = lax.top_k(seen.scores, min(config.back_projected, seen.scores.shape[0]))
    exact = dataclasses.replace(backbone, precision="float32")
    maps = saliency.back_project(
        lambda images: _describe(exact, config, params, images),
        seen.images[chosen],
        incremental_svm.weights(state.svm),
        form=config.form,
    )
    window = _window(config, params["tracker"], state)
    grid = (config.grid, config.grid)
    return saliency.aggregate(maps, _windows(config, seen.boxes[chosen]), best > 0, window, grid, frame.size)


def _filter(
    config: Config, numbers: Numbers, state: State, seen: _Seen, positive: Array, salient: Array
) -> tuple[Array, Array, Array]:
    """Prior, likelihood and posterior [G, G] over the window around the last place."""
    cell = _cell(config, numbers, state.size)
    share = positive.astype(jnp.float32) / jnp.maximum(positive.sum(), 1).astype(jnp.float32)
    places = (boxes.centre(seen.boxes) - state.centre[None])[:, ::-1] / cell
    shift = jnp.sum(share[:, None] * places, axis=0)
    apart = places - shift[None]
    covariance = jnp.einsum("n,ni,nj->ij", share, apart, apart, precision="highest")
    # One positive candidate has no spread, two have none across.
    least = jnp.maximum(numbers.motion / cell, 1.0) ** 2
    old = (state.anchor - state.centre)[::-1] / cell  # the posterior's middle cell, seen from the new one
    prior = bayes_filter.predict(state.posterior, shift + old, covariance + least * jnp.eye(2))
    likelihood = bayes_filter.correlate(_on_grid(config, numbers, state), salient)
    return prior, likelihood, bayes_filter.update(prior, likelihood)


def _first_posterior(config: Config, numbers: Numbers, size: Array) -> Array:
    deviation = jnp.maximum(numbers.motion / _cell(config, numbers, size), 1.0)
    middle = jnp.full(2, config.grid // 2, jnp.float32)
    return bayes_filter.gaussian((config.grid, config.grid), middle, deviation**2 * jnp.eye(2))


def _peak(config: Config, numbers: Numbers, state: State, density: Array) -> Array:
    """The place (x, y) of a map's maximum."""
    row, column = jnp.unravel_index(jnp.argmax(density), density.shape)
    at = jnp.stack([row, column]).astype(jnp.float32)
    if config.readout == "subcell":
        at = peak.refine(density, at)
    return state.centre + (at - config.grid // 2)[::-1] * _cell(config, numbers, state.size)


def _template(config: Config, state: State) -> Array:
    """H [T, T]: the mean of the filters there are (equation 13)."""
    there = jnp.clip(state.stored, 1, config.filters).astype(jnp.float32)
    return state.filters.sum(axis=0) / there


def _on_grid(config: Config, numbers: Numbers, state: State) -> Array:
    """The template as it lies on the grid with its middle on the middle cell, [G, G]."""
    extent = state.size[::-1] / _cell(config, numbers, state.size)
    corner = config.grid // 2 + 0.5 - extent / 2
    shape = (config.grid, config.grid)
    return jax.image.scale_and_translate(
        _template(config, state), shape, (0, 1), extent / config.template, corner, "linear"
    )


def _remember(config: Config, numbers: Numbers, state: State, salient: Array, centre: Array) -> State:
    """Stores the target's saliency as the newest filter; `state.centre` is still the last place."""
    cell = _cell(config, numbers, state.size)
    window = _window(config, numbers, state)
    corner = ((centre - state.size / 2) - window[:2])[::-1] / cell
    scale = config.template * cell / state.size[::-1]
    shape = (config.template, config.template)
    cut = jax.image.scale_and_translate(salient, shape, (0, 1), scale, -corner * scale, "linear")
    filters = state.filters.at[state.stored % config.filters].set(cut)
    return state._replace(filters=filters, stored=state.stored + 1)


def _prepare(config: Config, numbers: Numbers, state: State, seen: _Seen, target: Array) -> State:
    """Lays the target and the background most like it ready to be learnt (equation 16)."""
    box = boxes.from_centre(state.centre, state.size)
    background = boxes.iou(seen.boxes, box[None]) < numbers.overlap
    hardest, chosen = lax.top_k(jnp.where(background, seen.scores, -jnp.inf), config.samples - 1)
    features = jnp.concatenate([target[None], seen.features[chosen]])
    valid = jnp.concatenate([jnp.ones(1, jnp.bool_), hardest > -jnp.inf])
    return state._replace(features=features, valid=valid)
