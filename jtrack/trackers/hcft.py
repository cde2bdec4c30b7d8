"""HCFT: hierarchical convolutional features for visual tracking (Ma, Huang, Yang and Yang, ICCV 2015).

One correlation filter per layer of a convolutional network, learnt on the windowed features of a search
window around the target and moved a little towards every new frame. The responses of the layers are
combined, deep layers for robustness and shallow ones for accuracy, and the peak gives the displacement.

Profiles (`PROFILES`): `paper`, `release2016` (commit 4b895b5 of the authors' repository, which reproduces the
paper's numbers), `release2018` (its last version, with scale) and `default`, plus the ablations of Figure 7.

Bytes per target: a complex64 spectrum of C x M x (N // 2 + 1) per layer, 8 bytes each: with VGG-19's three
layers 5.6 MB on the default's 32 x 32 grid.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.backbones import Backbone
from jtrack.learning import correlation_filter, peak, scale_filter
from jtrack.learning.correlation_filter import Filter, blend
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, Scalar, Tracker, Vector
from jtrack.vision.colour import grey
from jtrack.vision.crop import crop
from jtrack.vision.hog import fhog
from jtrack.vision.pyramid import pyramid
from jtrack.vision.resize import resample_matrix, resize
from jtrack.vision.windows import gaussian_label, hann, hann2d

CELL = 4  # pixels of the frame per cell of the released code's grid
SCALE_CONTEXT = 1.3  # sides of the patch that `default` estimates scale from, over the target's


@dataclasses.dataclass(frozen=True)
class Scale:
    """The scale filter's structure."""

    count: int = 33
    step: float = 1.02
    size: tuple[int, int] | None = None  # of a patch; None follows the target (`for_target`), as released

    def __post_init__(self) -> None:
        checks.at_least(1, self, "count")
        checks.require(self.step > 1, f"step of hcft's scales is {self.step}: it must be above 1")
        if self.size is not None:
            checks.size(self, "size")


@dataclasses.dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit.

    Geometry `released` is the authors': a window by their rule, on whole pixels and never rescaled, in cells
    of 4 pixels. `square` is a square window of the target's area times `padding`^2, exact to the fraction
    of a pixel, that grows and shrinks with the target.
    """

    layers: tuple[tuple[str, ...], ...]  # deep to shallow; the taps of one entry share one filter
    form: Literal["dual", "primal"] = "dual"
    combination: Literal["sum", "normalised", "coarse_to_fine"] = "sum"
    geometry: Literal["released", "square"] = "released"  # of the search window
    readout: Literal["cell", "subcell", "soft"] = "cell"  # of the peak; `soft` is differentiable
    grid: tuple[int, int] | None = None  # (M, N); None follows the target (`for_target`)
    padding: float = 2.8  # sides of the search window over the target's
    input_size: tuple[int, int] = (224, 224)
    scale: Scale | None = None
    gated: bool = False  # whether the model learns in proportion to the score, and nothing of a lost target
    info: bool = False  # put the responses and the search window into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.require(
            len(self.layers) > 0 and all(self.layers),
            f"layers of hcft are {self.layers}: each filter needs at least one layer of the network",
        )
        checks.require(self.padding > 1, f"padding of hcft is {self.padding}: it must be above 1")
        checks.size(self, "input_size")
        if self.grid is not None:
            checks.size(self, "grid")

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
            width, height = np.asarray(_search_size(config, target, np.asarray(frame_size)))
            grid = max(1, int(height // CELL)), max(1, int(width // CELL))
            config = dataclasses.replace(config, grid=grid)
        if config.scale is not None and config.scale.size is None:
            template = target[::-1] + 2 * CELL
            shrink = min(1.0, np.sqrt(512 / template.prod()))
            height, width = (max(2 * CELL, int(side + 1e-6)) for side in template * shrink)
            config = dataclasses.replace(
                config, scale=dataclasses.replace(config.scale, size=(height, width))
            )
        return config


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept and differentiated."""

    layer_weights: Vector = (1.0, 0.5, 0.02)  # [L] deep to shallow
    regularisation: Scalar = 1e-4  # () on the released code's scale (`learning.correlation_filter`)
    learning_rate: Scalar = 0.01  # () per frame
    label_width: Scalar = 0.1  # () sigma of the label over the side of the target
    radius: Scalar = 4.0  # () cells: how far a shallower layer may move the peak (coarse_to_fine only)
    temperature: Scalar = 0.05  # () of the soft read-out, over the response's maximum
    scale_regularisation: Scalar = 0.01  # ()
    scale_learning_rate: Scalar = 0.01  # ()
    # [2] slope and middle of the logistic curve from the peak's log height to score
    confidence: Vector = (4.6, 0.11)
    lost_below: Scalar = 0.1  # () score under which the target counts as lost


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    centre: Array  # [2] float32 (x, y) pixels
    size: Array  # [2] float32 (w, h) of the target in the first frame
    window: Array  # [2] float32 (w, h) of the search window at scale 1
    scale: Array  # () float32, 1 in the first frame
    filters: tuple[Filter, ...]  # one per layer, deep to shallow
    scale_filter: ScaleFilter | None


# The network's layers by the digits of the paper's conv5-4, conv4-4, conv3-4 and conv1: after their ReLUs, as
# released. Elsewhere those of the same strides; AlexNet has no map of stride 4 and 8 worth a filter.
ALEXNET = {"5": "relu5", "4": "relu4", "3": "relu3", "1": "relu1"}
LAYERS = dict.fromkeys(
    ("alexnet", "alexnet_torchvision", "caffenet", "caffenet_conv", "rcnn_ilsvrc13"), ALEXNET
)

# Slope and middle of the score's curve where GoogLeNet's, fitted on real sequences, do not do.
# HOG's responses are higher, on background too.
CONFIDENCE: dict[str, tuple[float, float]] = {"hog": (8.0, 0.25)}


def _profile(
    backbone: Backbone, *groups: str, layer_weights: tuple[float, ...] = (1.0, 0.5, 0.02), **structure: Any
) -> Profile:
    """A profile on a network's layers.

    Args:
      backbone: the network. One with a single layer (hog) gets a single filter.
      *groups: the layers of each filter by their digits; "543" concatenates three layers into one filter.
      layer_weights: of the filters, the surplus ones left out.
      **structure: fields of `Config`.
    """
    stages = _fixed(backbone.stages)
    by_stride = {"5": stages.stride16, "4": stages.stride8, "3": stages.stride4, "1": stages.first}
    named = LAYERS.get(backbone.name, by_stride)
    if len(set(named.values())) == 1:
        groups, layer_weights = groups[:1], (1.0,)
    layers = tuple(tuple(dict.fromkeys(named[digit] for digit in group)) for group in groups)
    hyper = Hyper(layer_weights=layer_weights[: len(layers)])
    if backbone.name in CONFIDENCE:
        hyper = hyper._replace(confidence=CONFIDENCE[backbone.name])
    return Profile(Config(layers=layers, **structure), hyper)


def _paper(backbone: Backbone) -> Profile:
    """The text, its misprints corrected: primal filters, coarse-to-fine search."""
    return _profile(backbone, "5", "4", "3", form="primal", combination="coarse_to_fine")


def _release2016(backbone: Backbone) -> Profile:
    """The authors' code that reproduces the paper's numbers: a raw weighted sum, no scale."""
    return _profile(backbone, "5", "4", "3")


def _release2018(backbone: Backbone) -> Profile:
    """The authors' last version: normalised responses, a scale filter of 33 scales."""
    return _profile(
        backbone,
        *("5", "4", "3"),
        layer_weights=(1.0, 0.5, 0.25),
        combination="normalised",
        scale=Scale(),
    )


def _default(backbone: Backbone) -> Profile:
    """Recommended: the best of both releases, a square window on a fixed grid, learning by the score.

    From 2018 the normalised responses with their weights and the scale filter; beyond both, a square window
    of 2.8 times the target's side that follows the scale, on a fixed grid (one compilation for all targets);
    a peak found between cells; and an update in proportion to the score, so that what hides a target is not
    learnt: the score is calibrated (`Hyper.confidence`), and while it is below one half the scale is kept,
    while the target is lost the model is. There is no other re-detection than the window, which stays open.
    """
    return _profile(
        backbone,
        *("5", "4", "3"),
        layer_weights=(1.0, 0.5, 0.25),
        combination="normalised",
        geometry="square",
        readout="subcell",
        grid=(32, 32),
        scale=Scale(size=(24, 24)),
        gated=True,
    )


def _ablation(about: str, *groups: str) -> Callable[[Backbone], Profile]:
    """A configuration of Figure 7: the released tracker of 2016 on other layers."""

    def make(backbone: Backbone) -> Profile:
        return _profile(backbone, *groups)

    make.__doc__ = f"Figure 7: release2016 {about}."
    return make


PROFILES: dict[str, Callable[[Backbone], Profile]] = {
    "default": _default,
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


def _init(backbone: Backbone, config: Config, params: dict, key: Key, frame: Frame, box: Box) -> State:
    del key  # nothing is random
    weights = jnp.size(params["tracker"].layer_weights)
    checks.require(
        weights == len(config.layers),
        f"hcft has {len(config.layers)} filters but {weights} layer_weights: give one weight a filter",
    )
    size = box[2:]
    released = config.geometry == "released"
    state = State(
        centre=box[:2] + (jnp.floor(size / 2) if released else size / 2),
        size=size,
        window=_search_size(config, size, frame.size),
        scale=jnp.ones((), jnp.float32),
        filters=(),
        scale_filter=None,
    )
    state = state._replace(filters=_train(backbone, config, params, frame, state))
    if config.scale is None:
        return state
    return state._replace(scale_filter=_train_scale(config, config.scale, frame, state))


def _step(
    backbone: Backbone, config: Config, params: dict, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper = params["tracker"]
    window = _search_window(config, state)
    response, responses, displacement = _locate(backbone, config, params, frame, window, state.filters)
    score = _score(hyper, responses, displacement)
    lost = score < hyper.lost_below
    moved = state._replace(centre=_moved_centre(config, state, frame, window, displacement))
    # What is seen of a doubtful target is learnt less, of a lost one not at all, where the profile says so.
    trust = jnp.where(lost, 0.0, score) if config.gated else jnp.float32(1)
    scale_response = None
    if config.scale is not None:
        moved, scale_response = _follow_scale(config, config.scale, hyper, moved, frame, trust)
    fresh = _train(backbone, config, params, frame, moved)
    moved = moved._replace(filters=blend(state.filters, fresh, trust * hyper.learning_rate))
    size = moved.size * moved.scale
    box = jnp.concatenate([moved.centre - size / 2, size])
    info = {}
    if config.info:
        shifted = jnp.fft.fftshift(responses, axes=(-2, -1))
        info = {"response": jnp.fft.fftshift(response), "responses": shifted, "window": window}
        if scale_response is not None:
            info["scale_response"] = scale_response
    return moved, Output(box, score, lost, info)


def _describe(
    backbone: Backbone, config: Config, params: dict, frame: Frame, window: Box
) -> tuple[Array, ...]:
    """Windowed features of a search window as spectra, one [C, M, N // 2 + 1] per filter."""
    grid = _fixed(config.grid)
    image = crop(frame, window, config.input_size, method="imresample", border="edge")
    taps = tuple(tap for group in config.layers for tap in group)
    maps = backbone.apply(params["backbone"], image[None], taps)
    spectra = {tap: _windowed_spectrum(maps[tap][0], grid) for tap in taps}
    return tuple(jnp.concatenate([spectra[tap] for tap in group]) for group in config.layers)


def _windowed_spectrum(maps: Array, grid: tuple[int, int]) -> Array:
    """Resamples maps [h, w, C] to the grid, tapers them by a Hann window, and transforms them.

    All three are linear and act on rows and columns apart. Maps coarser than the grid are therefore
    transformed by one small matrix a side, which is quicker than transforming what they were enlarged to.
    """
    height, width, _ = maps.shape
    if height * width >= grid[0] * grid[1]:
        tapered = resize(maps, grid, method="imresample") * hann2d(grid)[..., None]
        return correlation_filter.spectrum(tapered)
    rows = _taper_and_transform(height, grid[0])
    columns = _taper_and_transform(width, grid[1])[: grid[1] // 2 + 1]
    both = np.concatenate([columns.real, columns.imag])
    across = jnp.einsum("hwc,qw->chq", maps, both, precision="highest")
    real, imaginary = jnp.split(across, 2, axis=-1)
    down = functools.partial(jnp.einsum, "ph,chq->cpq", precision="highest")
    return jax.lax.complex(
        down(rows.real, real) - down(rows.imag, imaginary), down(rows.real, imaginary) + down(rows.imag, real)
    )


@functools.cache
def _taper_and_transform(length: int, cells: int) -> np.ndarray:
    """DFT times Hann window times imResample of one side, [cells, length] complex64."""
    enlarge = resample_matrix(length, cells, method="imresample")
    return np.fft.fft(np.hanning(cells)[:, None] * enlarge, axis=0).astype(np.complex64)


def _train(
    backbone: Backbone, config: Config, params: dict, frame: Frame, state: State
) -> tuple[Filter, ...]:
    """Filters learnt from this frame alone, at the target's present place."""
    hyper = params["tracker"]
    spectra = _describe(backbone, config, params, frame, _search_window(config, state))
    width = hyper.label_width * _target_cells(config, state)
    odd = "release" if config.geometry == "released" else "centred"
    label = gaussian_label(_fixed(config.grid), width, odd=odd)
    if config.form == "primal":
        return tuple(correlation_filter.train_primal(x, label) for x in spectra)
    return tuple(correlation_filter.train_dual(x, label, hyper.regularisation) for x in spectra)


def _locate(
    backbone: Backbone, config: Config, params: dict, frame: Frame, window: Box, filters: tuple[Filter, ...]
) -> tuple[Array, Array, Array]:
    """Looks for the target in a search window.

    Returns:
      The combined response [M, N], those of the layers [L, M, N], and the displacement [2] in cells.
    """
    hyper = params["tracker"]
    spectra = _describe(backbone, config, params, frame, window)
    responses = jnp.stack(
        [
            correlation_filter.respond(model, z, _fixed(config.grid), hyper.regularisation)
            for model, z in zip(filters, spectra, strict=True)
        ]
    )
    response, displacement = combine(config, hyper, responses)
    return response, responses, displacement


def _moved_centre(config: Config, state: State, frame: Frame, window: Box, displacement: Array) -> Array:
    """The centre (x, y) after a displacement (rows, columns) in cells."""
    if config.geometry == "released":
        return state.centre + CELL * displacement[::-1]
    cell = window[2:] / jnp.asarray(_fixed(config.grid)[::-1], jnp.float32)
    # Half of the target may leave the frame, but not its centre: out there is nothing to come back from.
    return jnp.clip(state.centre + cell * displacement[::-1], 0.0, frame.size[::-1].astype(jnp.float32))


def combine(config: Config, hyper: Hyper, responses: Array) -> tuple[Array, Array]:
    """Combines the layers' responses and finds the displacement.

    Args:
      config: its `combination` is `sum` (weighted, as released in 2016), `normalised` (each response over its
        own maximum first, as released in 2018) or `coarse_to_fine` (equation 5: every shallower layer is
        added in turn and may move the peak by at most `radius` cells in L1 distance).
      hyper: `layer_weights`, `radius`.
      responses: [L, M, N], deep to shallow, zero displacement at (0, 0).

    Returns:
      The combined response [M, N], and the displacement [2] (rows, columns) in cells.
    """
    if config.combination == "normalised":
        top = responses.max((1, 2), keepdims=True)
        responses = responses / jnp.where(top > 0, top, 1.0)
    weighted = responses * hyper.layer_weights[:, None, None]
    response = weighted.sum(0)
    if config.combination == "coarse_to_fine":
        partial = weighted[0]
        displacement = peak.largest(partial)
        for layer in weighted[1:]:
            partial = partial + layer
            allowed = peak.within(_grid_of(partial), displacement, hyper.radius)
            displacement = peak.largest(jnp.where(allowed, partial, -jnp.inf))
    else:
        displacement = peak.largest(response)
    if config.readout == "subcell":
        displacement = peak.refine(response, displacement)
    elif config.readout == "soft":
        top = jnp.maximum(response.max(), 1e-6)
        displacement = peak.soft_argmax(response, hyper.temperature * top)
    return response, displacement


def _search_size(config: Config, target: Array | np.ndarray, frame_size: Array | np.ndarray) -> Array:
    """Size (w, h) of the search window of a target of size (w, h), in pixels."""
    w, h = target[0], target[1]
    if config.geometry == "square":
        side = config.padding * jnp.sqrt(w * h)
        return jnp.stack([side, side])
    tall = jnp.stack([w * config.padding, h * config.padding / 2])
    large = jnp.stack([w, h]) * 2.0
    usual = jnp.stack([w, h]) * config.padding
    fraction = w * h / jnp.prod(jnp.asarray(frame_size, jnp.float32))
    chosen = jnp.where(h / w > 2, tall, jnp.where(fraction > 0.05, large, usual))
    # 2.8 is not a binary fraction: without the margin a product that is whole could fall below it.
    return jnp.floor(chosen + 1e-3).astype(jnp.float32)


def _search_window(config: Config, state: State) -> Box:
    """The search window around the target, as a box."""
    if config.geometry == "released":  # on whole pixels, placed as the released code's indices are
        corner = jnp.floor(state.centre + 1) - jnp.floor(state.window / 2)
        return jnp.concatenate([corner, state.window])
    size = state.window * state.scale
    return jnp.concatenate([state.centre - size / 2, size])


def _target_cells(config: Config, state: State) -> Array:
    """Side of the target, the root of its area, in cells of the grid."""
    if config.geometry == "released":  # which takes 4 pixels a cell, whatever the grid
        return jnp.sqrt(jnp.prod(state.size / CELL))
    cells = jnp.asarray(_fixed(config.grid)[::-1], jnp.float32)
    return jnp.sqrt(jnp.prod(state.size * cells / state.window))


def _scale_features(config: Config, search: Scale, frame: Frame, state: State) -> Array:
    """Gradient histograms of patches of all scales around the target, windowed over scales. [S, F]."""
    factors = jnp.asarray(scale_filter.scale_factors(search.count, search.step))
    patches = _released_patches if config.geometry == "released" else _pyramid
    features = fhog(grey(patches(search, frame, state, factors))[..., None])
    return features.reshape(search.count, -1) * jnp.asarray(hann(search.count))[:, None]


def _released_patches(search: Scale, frame: Frame, state: State, factors: Array) -> Array:
    """Patches of the target and 4 pixels around it, each cut from the frame on whole pixels. [S, h, w, 3]."""
    size = _fixed(search.size)
    template = (state.size + 2.0 * CELL) * state.scale

    def patch(factor: Array) -> Array:
        sides = jnp.floor(template * factor)
        corner = jnp.floor(state.centre + 1) - jnp.floor(sides / 2)
        # The released code resizes 8-bit images.
        return jnp.round(crop(frame, jnp.concatenate([corner, sides]), size, method="imresample"))

    return jax.vmap(patch)(factors)


def _pyramid(search: Scale, frame: Frame, state: State, factors: Array) -> Array:
    """Patches of the target and a little around it, all cut from one of the largest. [S, h, w, 3]."""
    sides = state.size * state.scale * SCALE_CONTEXT
    return pyramid(frame, state.centre, sides, factors, _fixed(search.size))


def _grid_of(response: Array) -> tuple[int, int]:
    rows, columns = response.shape
    return rows, columns


def _fixed[T](value: T | None) -> T:
    assert value is not None, "call config.for_target(box, frame_size) first"
    return value


def _train_scale(config: Config, search: Scale, frame: Frame, state: State) -> ScaleFilter:
    """A scale filter learnt from this frame alone, at the target's present place and scale."""
    features = _scale_features(config, search, frame, state)
    return scale_filter.train(features, jnp.asarray(scale_filter.scale_label(search.count)))


def _follow_scale(
    config: Config, search: Scale, hyper: Hyper, state: State, frame: Frame, trust: Array
) -> tuple[State, Array]:
    """Estimates the scale at the new centre and updates the scale filter there."""
    model = _fixed(state.scale_filter)
    features = _scale_features(config, search, frame, state)
    response = scale_filter.respond(model, features, hyper.scale_regularisation)
    factor = jnp.asarray(scale_filter.scale_factors(search.count, search.step))[jnp.argmax(response)]
    low, high = _scale_bounds(search, state, frame)
    scale = jnp.where(trust < 0.5, state.scale, jnp.clip(state.scale * factor, low, high))
    state = state._replace(scale=scale)
    fresh = _train_scale(config, search, frame, state)
    model = blend(model, fresh, trust * hyper.scale_learning_rate)
    return state._replace(scale_filter=model), response


def _scale_bounds(search: Scale, state: State, frame: Frame) -> tuple[Array, Array]:
    """Smallest and largest scale: a window of 5 pixels, a target as large as the frame."""
    step = jnp.log(search.step)
    low = jnp.ceil(jnp.log(jnp.max(5 / state.window)) / step)
    extent = frame.size[::-1].astype(jnp.float32)
    high = jnp.floor(jnp.log(jnp.maximum(jnp.min(extent / state.size), 1.0)) / step)
    return jnp.exp(low * step), jnp.exp(high * step)


def _score(hyper: Hyper, responses: Array, displacement: Array) -> Array:
    """How much the target looks like what was learnt: a logistic curve of the responses at the peak.

    A ridge response is near 1 where the sample is the one it learnt from, so that the weighted mean of the
    layers' responses (before any normalisation) means the same on every network and video.
    """
    rows, columns = responses.shape[1:]
    row, column = (jnp.round(displacement).astype(jnp.int32) % jnp.asarray([rows, columns])).T
    height = jnp.sum(hyper.layer_weights * responses[:, row, column]) / jnp.sum(hyper.layer_weights)
    slope, middle = hyper.confidence[0], hyper.confidence[1]
    return jax.nn.sigmoid(slope * jnp.log(jnp.maximum(height, 1e-6) / middle))
