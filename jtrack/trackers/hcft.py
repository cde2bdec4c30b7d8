"""HCFT: hierarchical convolutional features for visual tracking (Ma, Huang, Yang and Yang, ICCV 2015).

One correlation filter per layer of a convolutional network, learnt on the windowed features of a search
window around the target and moved a little towards every new frame. The responses of the layers are
combined, deep layers for robustness and shallow ones for accuracy, and the peak gives the displacement.

Profiles (`PROFILES`): `paper`, `release2016` (commit 4b895b5 of the authors' repository, which reproduces the
paper's numbers), `release2018` (its last version, with scale), `default` and `differentiable`, which is
`default` with soft decisions, plus the ablations of Figure 7.

Bytes per target: a complex64 spectrum of C x M x (N // 2 + 1) per layer, 8 bytes each: with VGG-19's three
layers 5.6 MB on a 32 x 32 grid. Where the grid follows the target, M x N is the target's own; in lanes that
share one program (`Config.for_lanes`) it is that of the largest of them. `default` keeps 64 channels within
the support, 24 x 24 x 4 bytes each, and what features are projected by: .8 MB with VGG-19.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.backbones import Backbone, Params
from jtrack.checks import there
from jtrack.components import calibration, features, motion, scale
from jtrack.components.decisions import Hard, Soft
from jtrack.components.fusion import CoarseToFine, NormalisedSum, WeightedSum, peak_height
from jtrack.components.passes import OnePass, TwoPasses
from jtrack.components.scale import Pyramid, ReleasedScales, SmoothPyramid
from jtrack.components.search_window import CentredWindow, ReleasedWindow, grid_size
from jtrack.components.update import ByScore, EveryFrame
from jtrack.errors import JtrackError
from jtrack.learning.bounded_filter import Bounded, BoundedFilter
from jtrack.learning.correlation_filter import Dual, Filter, Primal, blend
from jtrack.learning.filter_grid import FixedGrid, Grid, TracedGrid, UpTo
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, PyTree, Scalar, Tracker, Vector
from jtrack.vision.resize import check_method


@dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    layers: tuple[tuple[str, ...], ...]  # deep to shallow; the layers of one entry share one filter
    window: ReleasedWindow | CentredWindow = ReleasedWindow()
    # (M, N); None follows the target (`for_target`), and so does `UpTo`, by itself (`for_lanes`)
    grid: tuple[int, int] | UpTo | None = None
    resampling: str = "imresample"  # of maps to the grid, as released; equation 1 is "bilinear"
    input_size: tuple[int, int] = (224, 224)
    passes: TwoPasses | OnePass = TwoPasses()  # of the network in a frame
    channels: int | None = None  # principal components of a layer's features that are kept; None: all
    filters: Dual | Primal | Bounded = Dual()
    combination: WeightedSum | NormalisedSum | CoarseToFine = WeightedSum()
    localisation: Literal["cell", "subcell", "soft"] = "cell"  # of the peak; `soft` is differentiable
    scale: ReleasedScales | Pyramid | SmoothPyramid | None = None
    update: EveryFrame | ByScore = EveryFrame()
    decisions: Hard | Soft = Hard()  # of the best scale, and whether a frame is good enough to learn
    info: bool = False  # put the responses and the search window into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.require(
            len(self.layers) > 0 and all(self.layers),
            f"layers of hcft are {self.layers}: each filter needs at least one layer of the network",
        )
        checks.size(self, "input_size")
        check_method(self.resampling, self.input_size)
        if isinstance(self.grid, tuple):
            checks.size(self, "grid")
        if self.channels is not None:
            checks.at_least(1, self, "channels")
        checks.require(
            isinstance(self.grid, tuple) or not isinstance(self.filters, Bounded),
            "filters of bounded support need a fixed grid: set grid, such as grid=32,32",
        )

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """Fixes the shapes that follow the target, on the host.

        Args:
          box: the first box (x, y, w, h).
          frame_size: (height, width) of the frames.

        Returns:
          A config whose `grid` is set; the same object where nothing follows the target.
        """
        target = np.asarray(box, np.float64)[2:]
        config = self
        if config.grid is None:
            size = self.window.size(target, np.asarray(frame_size))
            rows, columns = np.asarray(grid_size(size))
            config = dataclasses.replace(config, grid=(int(rows), int(columns)))
        if config.scale is not None and (fixed := config.scale.for_target(target)) is not config.scale:
            config = dataclasses.replace(config, scale=fixed)
        return config

    def for_lanes(self, boxes: Box, frame_sizes: Array) -> "Config":
        """Fixes the shapes for many targets, which share one compilation.

        Args:
          boxes: [N, 4] the first boxes (x, y, w, h).
          frame_sizes: [N, 2] (height, width) of the frames of each.

        Returns:
          A config whose `grid`, and patches of scales, are as large as the largest of the targets' (`UpTo`);
          the same object where nothing follows the target. Targets that are not among these should be no
          larger.
        """
        config = self
        if config.grid is None:
            windows = jax.vmap(self.window.size)(jnp.asarray(boxes)[:, 2:], jnp.asarray(frame_sizes))
            config = dataclasses.replace(config, grid=UpTo.holding(jax.vmap(grid_size)(windows)))
        targets = jnp.asarray(boxes)[:, 2:]
        if config.scale is not None and (fixed := config.scale.for_lanes(targets)) is not config.scale:
            config = dataclasses.replace(config, scale=fixed)
        return config


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept and differentiated."""

    layer_weights: Vector = ()  # [L] of the filters, deep to shallow
    regularisation: Scalar = 1e-4  # () on the released code's scale (`learning.correlation_filter`)
    learning_rate: Scalar = 0.01  # () per frame
    label_width: Scalar = 0.1  # () sigma of the label over the side of the target
    radius: Scalar = 4.0  # () cells: how far a shallower layer may move the peak (`CoarseToFine`)
    temperature: Scalar = 0.05  # () of the soft peak, over the response's maximum
    scale_regularisation: Scalar = 0.01  # ()
    scale_learning_rate: Scalar = 0.01  # ()
    # [2] slope and middle of the logistic curve from the peak's log height to score
    confidence: Vector = (4.6, 0.11)
    update_confidence: Vector = (4.6, 0.11)  # [2] the same to how much of the frame is learnt (`ByScore`)
    # () score under which the target counts as lost; where the other curve is below it, nothing is learnt
    lost_below: Scalar = 0.1


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    # [2] float32 (x, y) pixels. Not a box: the released code counts whole pixels from the centre, and one
    # computed from the corner of a box could round to the pixel before.
    centre: Array
    size: Array  # [2] float32 (w, h) of the target in the first frame
    window: Array  # [2] float32 (w, h) of the search window at scale 1
    scale: Array  # () float32, 1 in the first frame
    # By layer [C, K]: what its features are projected to, fixed by the first window; empty if they are not.
    components: dict[str, Array]
    filters: tuple[Filter | BoundedFilter, ...]  # one per layer, deep to shallow
    scale_filter: ScaleFilter | None


# The network's layers by the digits of the paper's conv5-4, conv4-4, conv3-4 and conv1: after their ReLUs, as
# released. Elsewhere those of the same strides; AlexNet has no map of stride 4 and 8 worth a filter.
ALEXNET = {"5": "relu5", "4": "relu4", "3": "relu3", "1": "relu1"}
LAYERS = dict.fromkeys(
    ("alexnet", "alexnet_torchvision", "caffenet", "caffenet_conv", "rcnn_ilsvrc13"), ALEXNET
)

# `Hyper.confidence` was fitted on GoogLeNet. HOG's responses are higher, on the background too, and need
# another slope and middle.
CONFIDENCE: dict[str, tuple[float, float]] = {"hog": (8.0, 0.25)}


def _profile(
    backbone: Backbone,
    *groups: str,
    layer_weights: tuple[float, ...] = (1.0, 0.5, 0.02),
    learning_rate: float = 0.01,
    **structure: Any,
) -> Profile[Config, Hyper]:
    """A profile on a network's layers.

    Args:
      backbone: the network. One with a single layer (hog) gets a single filter.
      *groups: the layers of each filter by their digits; "543" concatenates three layers into one filter.
      layer_weights: of the filters; there may be more than filters.
      learning_rate: of the filters.
      **structure: fields of `Config`.
    """
    stages = there(backbone.stages)
    by_stride = {"5": stages.stride16, "4": stages.stride8, "3": stages.stride4, "1": stages.first}
    named = LAYERS.get(backbone.name, by_stride)
    if len(set(named.values())) == 1:
        groups, layer_weights = groups[:1], (1.0,)
    layers = tuple(tuple(dict.fromkeys(named[digit] for digit in group)) for group in groups)
    hyper = Hyper(layer_weights=layer_weights[: len(layers)], learning_rate=learning_rate)
    if backbone.name in CONFIDENCE:
        curve = CONFIDENCE[backbone.name]
        hyper = hyper._replace(confidence=curve, update_confidence=curve)
    return Profile(Config(layers=layers, **structure), hyper)


def _paper(backbone: Backbone) -> Profile[Config, Hyper]:
    """The text, its misprints corrected: maps interpolated, primal filters, coarse-to-fine search."""
    groups = ("5", "4", "3")
    return _profile(backbone, *groups, resampling="bilinear", filters=Primal(), combination=CoarseToFine())


def _release2016(backbone: Backbone) -> Profile[Config, Hyper]:
    """The authors' code that reproduces the paper's numbers: a raw weighted sum, no scale."""
    return _profile(backbone, "5", "4", "3")


def _release2018(backbone: Backbone) -> Profile[Config, Hyper]:
    """The authors' last version: normalised responses, a scale filter of 33 scales."""
    return _profile(
        backbone,
        *("5", "4", "3"),
        layer_weights=(1.0, 0.5, 0.25),
        combination=NormalisedSum(),
        scale=ReleasedScales(),
    )


def _default(backbone: Backbone) -> Profile[Config, Hyper]:
    """Recommended: filters of bounded support, one forward pass a frame, learning by the score.

    From 2018 the normalised responses with their weights and the scale filter. Beyond both releases: filters
    that are zero around the target (`learning.bounded_filter`), of 64 principal components of a layer's
    features; samples cut from the maps that located the target; a square window of 2.8 times the target's
    side that follows the scale, on a fixed grid (one compilation for all targets); a peak found between
    cells; and an update in proportion to how high the peak is (`Hyper.update_confidence`), so that what hides
    a target is not learnt: while that is below one half the scale is kept, while it is next to nothing the
    model is. There is no other re-detection than the window, which stays open. On HOG, where bounded
    filters did worse, they are as large as the window, and learnt by a pass of their own.
    """
    profile = _profile(
        backbone,
        *("5", "4", "3"),
        layer_weights=(1.0, 0.5, 0.25),
        window=CentredWindow(),
        grid=(32, 32),
        combination=NormalisedSum(),
        localisation="subcell",
        scale=Pyramid(),
        update=ByScore(),
    )
    if backbone.name == "hog":
        return profile
    return profile.replace(
        learning_rate=1 / 60,
        input_size=(256, 256),
        passes=OnePass(),
        channels=64,
        filters=Bounded(),
        # The chance of an overlap above one half, fitted on GoogLeNet (docs/choosing.md).
        confidence=(3.2, 0.18),
    )


def _differentiable(backbone: Backbone) -> Profile[Config, Hyper]:
    """Of default, with a derivative of all it computes: soft peak, soft decisions, all of a layer's features.

    The place is the mean of the response's softmax (`Hyper.temperature`), the scale likewise; a frame of low
    score counts for little, by a smooth curve. There are no principal components, whose derivative knows no
    bound. Constants of the derivative: which cells lie within a filter's support, and `Output.lost`.
    """
    changes = {"localisation": "soft", "decisions": Soft(), "channels": None, "scale": SmoothPyramid()}
    return _default(backbone).replace(**changes)


def through_filters(backbone: Backbone) -> Profile[Config, Hyper]:
    """What features are learnt through: `differentiable`, without the scale, which sees none of them."""
    return _differentiable(backbone).replace(info=True, scale=None)


def _ablation(about: str, *groups: str) -> Callable[[Backbone], Profile[Config, Hyper]]:
    """A configuration of Figure 7: the released tracker of 2016 on other layers."""

    def make(backbone: Backbone) -> Profile[Config, Hyper]:
        return _profile(backbone, *groups)

    make.__doc__ = f"Figure 7: release2016 {about}."
    return make


PROFILES: dict[str, Callable[[Backbone], Profile[Config, Hyper]]] = {
    "default": _default,
    "differentiable": _differentiable,
    "paper": _paper,
    "release2016": _release2016,
    "release2018": _release2018,
    "c5": _ablation("with the filter on the deepest layer alone", "5"),
    "c4": _ablation("with the filter on the middle layer alone", "4"),
    "c3": _ablation("with the filter on the shallowest of the three layers alone", "3"),
    "c1": _ablation("with the filter on the network's first layer alone", "1"),
    "c5-c4": _ablation("without the shallowest of the three layers", "5", "4"),
    "c543": _ablation("with a single filter on the three layers concatenated", "543"),
}


def response_maps(config: Config) -> list[str]:
    """The names of the response maps in `Output.info`, one a filter."""
    return ["+".join(group) for group in config.layers]


def check(config: Config, hyper: Hyper) -> None:
    """Refuses hyper-parameters that do not fit a config.

    Raises:
      JtrackError: there is not one layer weight a filter.
    """
    filters, weights = len(config.layers), np.size(hyper.layer_weights)
    checks.require(
        weights == filters,
        f"hcft has {filters} filters but {weights} layer_weights: give one weight a filter",
    )


def hcft(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network described in `jtrack.backbones`.
      config: structure, its shapes fixed by `Config.for_target` where they follow the target.

    Returns:
      A `Tracker` without `learn`: the filters are updated in every step. Its score is a logistic curve of
      the responses' height at the peak (`Hyper.confidence`).
    """
    _fixed(config.grid)
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=None,
    )


def _init(backbone: Backbone, config: Config, params: PyTree, key: Key, frame: Frame, box: Box) -> State:
    del key  # nothing is random
    hyper = params["tracker"]
    check(config, hyper)
    size = config.window.size(box[2:], frame.size)
    grid = _grid(config, size)
    state = State(
        centre=config.window.first_centre(box),
        size=box[2:],
        window=size,
        scale=jnp.ones((), box.dtype),
        components={},
        filters=(),
        scale_filter=None,
    )
    region = config.passes.region(_window(config, state))
    maps = _maps(backbone, config, params["backbone"], frame, region, {})
    if config.channels is not None:
        count = config.channels
        components = {layer: features.leading_directions(map_, count) for layer, map_ in maps.items()}
        maps, state = _project(maps, components), state._replace(components=components)
    samples = _samples(config, {layer: config.passes.searched(map_, grid) for layer, map_ in maps.items()})
    wanted = lesson(config.window, grid, state.size, state.window, hyper.label_width)
    learner: Any = config.filters  # takes the filters that it makes
    begin = functools.partial(learner.begin, **wanted, regularisation=hyper.regularisation)
    state = state._replace(filters=tuple(map(begin, samples)))
    if config.scale is None:
        return state
    sides = config.scale.sides(state.size, state.scale)
    search = config.scale.of(state.size)
    return state._replace(scale_filter=scale.learn(search, frame, state.centre, sides))


def _step(
    backbone: Backbone, config: Config, params: PyTree, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper, grid = params["tracker"], _grid(config, state.window)
    window = _window(config, state)
    region = config.passes.region(window)
    describe = functools.partial(
        _maps, backbone, config, params["backbone"], frame, components=state.components
    )
    maps = describe(region)
    spectra = {layer: config.passes.searched(map_, grid) for layer, map_ in maps.items()}
    learner: Any = config.filters  # takes the filters that it makes
    responses = jnp.stack(
        [
            grid.inverse(learner.correlate(model, sample, grid, hyper.regularisation))
            for model, sample in zip(state.filters, _samples(config, spectra), strict=True)
        ]
    )
    response, displacement = config.combination.combine(responses, hyper.layer_weights, hyper.radius, grid)
    if config.localisation == "subcell":
        displacement = grid.refine(response, displacement)
    elif config.localisation == "soft":
        top = jnp.maximum(response.max(), 1e-6)
        displacement = grid.soft_argmax(response, hyper.temperature * top)
    between = config.localisation == "soft"
    height = peak_height(responses, displacement, hyper.layer_weights, grid.size, between=between)
    confidence, learnable = (
        calibration.logistic_of_ratio(height, curve[0], curve[1])
        for curve in (hyper.confidence, hyper.update_confidence)
    )
    cells = jnp.asarray(grid.size, window.dtype)
    moved = state._replace(centre=config.window.moved(state.centre, window, displacement, cells, frame.size))
    # `ByScore` learns less from a frame of low score, and nothing from a lost target.
    decisions = config.decisions
    found = decisions.reaches(learnable, hyper.lost_below)
    weight = config.update.weight(learnable, found, decisions)
    scale_response = None
    if config.scale is not None:
        search = config.scale.of(moved.size)
        sides = config.scale.sides(moved.size, moved.scale)
        model = there(moved.scale_filter)
        factor, scale_response = scale.estimate(
            search, model, frame, moved.centre, sides, hyper.scale_regularisation, decisions
        )
        low, high = scale_bounds(config.scale.step, moved.window, moved.size, frame.size)
        rescaled = jnp.clip(moved.scale * factor, low, high)
        sure = decisions.reaches(weight, 0.5)
        moved = moved._replace(scale=decisions.choose(sure, rescaled, moved.scale))
        sides = config.scale.sides(moved.size, moved.scale)
        fresh = scale.learn(search, frame, moved.centre, sides)
        moved = moved._replace(scale_filter=blend(model, fresh, weight * hyper.scale_learning_rate))
    spectra = config.passes.learnt(describe, maps, region, _window(config, moved), grid)
    wanted = lesson(config.window, grid, moved.size, moved.window, hyper.label_width)
    numbers = {"regularisation": hyper.regularisation, "rate": hyper.learning_rate, "weight": weight}
    learn = functools.partial(learner.learn, **wanted, **numbers)
    moved = moved._replace(filters=tuple(map(learn, state.filters, _samples(config, spectra))))
    size = moved.size * moved.scale
    box = jnp.concatenate([moved.centre - size / 2, size])
    info = {}
    if config.info:
        shifted = grid.centred(responses)
        info = {"response": grid.centred(response), "responses": shifted, "window": window}
        if scale_response is not None:
            info["scale_response"] = scale_response
    return moved, Output(box, confidence, confidence < hyper.lost_below, info)


def _window(config: Config, state: State) -> Box:
    """The search window [4] around the target's present place."""
    return config.window.around(state.centre, state.window, state.scale)


def _maps(
    backbone: Backbone,
    config: Config,
    weights: Params,
    frame: Frame,
    region: Box,
    components: dict[str, Array],
) -> dict[str, Array]:
    """The maps [h, w, C] of a region of a frame by layer: a forward pass, and a projection."""
    layers = tuple(layer for group in config.layers for layer in group)
    maps = features.of_window(
        backbone, weights, frame, region, config.input_size, layers, method="imresample"
    )
    return _project(maps, components)


def _project(maps: dict[str, Array], components: dict[str, Array]) -> dict[str, Array]:
    """Maps [h, w, K] along the components [C, K] of their layers; where there are none, as they are."""
    if not components:
        return maps
    project = functools.partial(jnp.einsum, "hwc,ck->hwk", precision="highest")
    return {layer: project(map_, components[layer]) for layer, map_ in maps.items()}


def _samples(config: Config, spectra: dict[str, Array]) -> tuple[Array, ...]:
    """What each filter takes [C, M, N // 2 + 1], of the spectra of all layers."""
    return tuple(jnp.concatenate([spectra[layer] for layer in group]) for group in config.layers)


def lesson(
    rule: ReleasedWindow | CentredWindow, grid: Grid, size: Array, window: Array, width: Scalar
) -> Any:
    """What filters learn of a target (w, h) [2] in a window (w, h) [2]: arguments of theirs, by name.

    `label` is the spectrum of the response that is wanted, `target` [2] its (rows, columns) in cells.
    """
    target = (size / window)[::-1] * jnp.asarray(grid.size, size.dtype)
    return {"label": grid.spectrum(rule.label(size, window, width, grid)), "grid": grid, "target": target}


def _grid(config: Config, window: Array) -> Grid:
    """The grid of a target whose window has the size (w, h) [2] at scale 1."""
    size = _fixed(config.grid)
    if isinstance(size, UpTo):
        return TracedGrid(size.size, size.bounded(grid_size(window)), config.resampling)
    return FixedGrid(size, config.resampling)


def scale_bounds(step: float, window: Array, target: Array, frame_size: Array) -> tuple[Array, Array]:
    """Smallest and largest scale (): a window of 5 pixels, a target as large as the frame.

    Both are powers of the step, as in the released code. `components.scale.follow` limits the size in pixels
    instead. A target at the limit then ends at another scale, so HCFT keeps the released rule.

    Args:
      step: between scales.
      window: [2] (w, h) at scale 1.
      target: [2] (w, h) at scale 1.
      frame_size: [2] int32.
    """
    log_step = jnp.log(step)
    low = jnp.ceil(jnp.log(jnp.max(5 / window)) / log_step)
    extent = motion.extent(frame_size, target.dtype)
    high = jnp.floor(jnp.log(jnp.maximum(jnp.min(extent / target), 1.0)) / log_step)
    return jnp.exp(low * log_step), jnp.exp(high * log_step)


def _fixed(grid: tuple[int, int] | UpTo | None) -> tuple[int, int] | UpTo:
    """What `Config.for_target` fixes."""
    if grid is None:
        raise JtrackError(
            "this profile of hcft follows the target: call config.for_target(box, frame_size) first"
        )
    return grid
