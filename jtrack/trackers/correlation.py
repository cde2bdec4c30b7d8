"""Correlation: the filters without a network that came before, KCF, DSST and MOSSE, as one tracker.

A filter is learnt on the windowed features of a search window, gradient histograms or grey values, and moved
a little towards every new frame; the peak of its response gives the displacement.

Profiles (`PROFILES`): `kcf` (Henriques et al., TPAMI 2015, as released), `dsst` (Danelljan et al., BMVC
2014), `mosse` (Bolme et al., CVPR 2010), `default` and `differentiable`, which is `default` with soft
decisions.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.backbones import Backbone
from jtrack.checks import there
from jtrack.components import calibration, scale, window_spectra
from jtrack.components.decisions import Hard, Soft
from jtrack.components.filter_features import GreyHog, Hog, HogAndGrey, LogGrey, SmoothHog
from jtrack.components.response_peak import BetweenCells, Height, SidelobeRatio, SoftPeak, WholeCell
from jtrack.components.scale import Pyramid, Rates, SmoothPyramid
from jtrack.components.search_window import PixelWindow, ScaledWindow
from jtrack.components.update import EveryFrame, WhenFound
from jtrack.errors import JtrackError
from jtrack.learning.correlation_filter import DualFilter, Primal, PrimalFilter
from jtrack.learning.filter_grid import Grid, UpTo
from jtrack.learning.kernel_filter import Gaussian
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, PyTree, Scalar, Tracker, Vector, variant
from jtrack.vision import boxes


@dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    features: Hog | SmoothHog | GreyHog | HogAndGrey | LogGrey = Hog()
    filters: Gaussian | Primal = Gaussian()
    window: PixelWindow | ScaledWindow = ScaledWindow()
    # (h, w) of the window's image; None follows the target (`for_target`), and so does `UpTo`
    patch: tuple[int, int] | UpTo | None = (128, 128)
    perturbations: int = 0  # of the first window, turned and scaled a little, that are learnt besides
    peak: WholeCell | BetweenCells | SoftPeak = WholeCell()
    scale: Pyramid | SmoothPyramid | None = None
    quality: Height | SidelobeRatio = Height()  # of a response: what the score is computed from
    update: EveryFrame | WhenFound = EveryFrame()
    decisions: Hard | Soft = Hard()

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(0, self, "perturbations")
        if isinstance(self.patch, tuple):
            checks.size(self, "patch")
            least = 2 * self.features.cell
            checks.require(
                min(self.patch) >= least,
                f"patch of correlation is {self.patch}: it must have {least} pixels a side at least",
            )
        checks.require(
            not self.perturbations or isinstance(self.patch, tuple),
            "perturbations need a fixed patch: set patch, such as patch=64,64",
        )

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """The config with the patch of a first box (x, y, w, h); itself where that does not follow it."""
        del frame_size
        if self.patch is not None:
            return self
        height, width = np.asarray(self.size(jnp.asarray(box, jnp.float32)[2:]))
        return dataclasses.replace(self, patch=(int(height), int(width)))

    def for_lanes(self, boxes: Box, frame_sizes: Array) -> "Config":
        """The config with a patch that holds those of first boxes [N, 4]; itself likewise."""
        del frame_sizes
        if self.patch is not None:
            return self
        sizes = jax.vmap(self.size)(jnp.asarray(boxes)[:, 2:])
        return dataclasses.replace(self, patch=UpTo.holding(sizes))

    def size(self, target: Array) -> Array:
        """The patch (h, w) [2] int32 of a target (w, h) in the first frame: two cells a side at least."""
        return jnp.maximum(self.window.patch(target), 2 * self.features.cell)

    def patch_of(self, target: Array) -> Array:
        """The size (h, w) [2] int32 of the image of a target's window: the patch, or the target's own."""
        size = _fixed(self.patch)
        return size.bounded(self.size(target)) if isinstance(size, UpTo) else jnp.asarray(size, jnp.int32)

    def grid(self, patch: Array) -> Grid:
        """The cells of an image (h, w) [2]."""
        return window_spectra.grid_of(_fixed(self.patch), patch, self.features.cell)

    def image(self, patch: Array, frame: Frame, window: Box) -> Array:
        """The image [h, w, 3] of a window [4]."""
        return window_spectra.cut(self.window, _fixed(self.patch), patch, frame, window)

    def lesson(self, width: Scalar, patch: Array, target: Array) -> dict[str, Any]:
        """What a filter learns of a target (w, h) [2], besides its sample: arguments of it, by name."""
        grid = self.grid(patch)
        label = self.window.label(target, width, self.features.cell, patch, grid)
        return {"label": grid.spectrum(label), "grid": grid, "target": target}


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept and differentiated."""

    regularisation: Scalar = 1e-4  # (), on the scale of each kind of filter
    learning_rate: Scalar = 0.02  # () per frame
    label_width: Scalar = 0.1  # () sigma of the label over the side of the target
    temperature: Scalar = 0.05  # () of the soft peak, over the response's maximum
    scale_regularisation: Scalar = 0.01  # ()
    scale_learning_rate: Scalar = 0.025  # ()
    perturbation: Vector = (0.1, 0.05)  # [2] standard deviations: radians, and the logarithm of a scale
    confidence: Vector = (4.0, 0.25)  # [2] slope and middle of the logistic curve from log quality to score
    lost_below: Scalar = 0.1  # () score under which the target counts as lost


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    centre: Array  # [2] (x, y) pixels; not a box: `PixelWindow` counts whole pixels from it
    size: Array  # [2] (w, h) of the target
    patch: Array  # [2] int32 (h, w) of the window's image
    model: DualFilter | PrimalFilter
    scale_filter: ScaleFilter | None


def _default(backbone: Backbone) -> Profile[Config, Hyper]:
    """Recommended: KCF's filter with DSST's scale, on colour, a fixed grid, a peak found between cells."""
    del backbone
    config = Config(peak=BetweenCells(), scale=Pyramid(), window=ScaledWindow(2.5))
    return Profile(config, Hyper())


def _kcf(backbone: Backbone) -> Profile[Config, Hyper]:
    """Henriques et al., as released: a Gaussian kernel on HOG of the grey image, whole cells, no scale."""
    del backbone
    return Profile(Config(features=GreyHog(), window=PixelWindow(), patch=None), Hyper())


def _dsst(backbone: Backbone) -> Profile[Config, Hyper]:
    """Danelljan et al.: a linear filter on HOG and grey of every pixel, and one over 33 scales."""
    del backbone
    config = Config(features=HogAndGrey(), filters=Primal(), patch=None, scale=Pyramid())
    # Their .01 is added to an energy that is not divided by the number of values, some 1e5.
    return Profile(config, Hyper(regularisation=1e-7, learning_rate=0.025, label_width=1 / 16))


def _mosse(backbone: Backbone) -> Profile[Config, Hyper]:
    """Bolme et al.: grey values of the target alone, on 64 x 64 pixels, updated where its peak stands out."""
    del backbone
    config = Config(
        features=LogGrey(),
        filters=Primal(),
        window=ScaledWindow(1.0),
        patch=(64, 64),
        perturbations=8,
        quality=SidelobeRatio(),
        update=WhenFound(),
    )
    # A label of 2 pixels; a peak-to-sidelobe ratio of about 7 says that the target is hidden or lost.
    numbers = {"label_width": 2 / 64, "confidence": (4.0, 7.0), "lost_below": 0.5}
    return Profile(config, Hyper(regularisation=1e-5, learning_rate=0.125, **numbers))


PROFILES: dict[str, Callable[[Backbone], Profile[Config, Hyper]]] = {
    "default": _default,
    "differentiable": variant(
        _default,
        "Of default, with a derivative of all it computes: a soft peak, soft decisions, smooth histograms.",
        features=SmoothHog(),
        peak=SoftPeak(),
        scale=SmoothPyramid(),
        decisions=Soft(),
    ),
    "kcf": _kcf,
    "dsst": _dsst,
    "mosse": _mosse,
}


def correlation(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: not used: features are computed without a network.
      config: structure, its shapes fixed by `Config.for_target` where they follow the target.

    Returns:
      A `Tracker` without `learn`: the filter is updated in every step.
    """
    del backbone
    _fixed(config.patch)
    return Tracker(functools.partial(init, config), functools.partial(step, config), None)


def init(config: Config, params: PyTree, key: Key, frame: Frame, box: Box) -> State:
    """`Tracker.init` of a config."""
    hyper, rule, size = params["tracker"], config.window, box[2:]
    centre, patch = rule.first_centre(box), config.patch_of(size)
    window = rule.window(centre, size)
    images = config.image(patch, frame, window)[None]
    if config.perturbations and isinstance(config.patch, tuple):
        turned = functools.partial(window_spectra.perturbed, key, config.perturbations, hyper.perturbation)
        images = jnp.concatenate([images, turned(frame, window, config.patch)])
    lesson = config.lesson(hyper.label_width, patch, size)
    learner: Any = config.filters  # takes the filters that it makes
    see = functools.partial(window_spectra.spectrum, config.features, grid=lesson["grid"], patch=patch)
    begin = functools.partial(learner.begin, **lesson, regularisation=hyper.regularisation)
    model = jax.tree.map(lambda leaf: leaf.mean(0), jax.vmap(begin)(jax.vmap(see)(images)))
    of_scale = None if config.scale is None else scale.begin(config.scale, frame, box)
    return State(centre, size, patch, model, of_scale)


def step(config: Config, params: PyTree, state: State, frame: Frame) -> tuple[State, Output]:
    """`Tracker.step` of a config."""
    hyper, rule, patch, decisions = params["tracker"], config.window, state.patch, config.decisions
    learner: Any = config.filters  # takes the filters that it makes
    grid = config.grid(patch)
    see = functools.partial(window_spectra.spectrum, config.features, grid=grid, patch=patch)
    sample = see(config.image(patch, frame, rule.window(state.centre, state.size)))
    response = grid.inverse(learner.correlate(state.model, sample, grid, hyper.regularisation))
    measured = config.quality.measure(response, grid.largest(response), grid)
    at = config.peak.displacement(response, grid, hyper.temperature)
    centre = rule.moved(state.centre, state.size, at * config.features.cell, patch, frame.size)
    score = calibration.logistic_of_ratio(measured, *hyper.confidence)
    found = decisions.reaches(score, hyper.lost_below)
    box, of_scale = boxes.from_centre(centre, state.size), state.scale_filter
    if config.scale is not None:
        rates = Rates(hyper.scale_regularisation, hyper.scale_learning_rate)
        box, of_scale = scale.follow(config.scale, there(of_scale), frame, box, found, rates, decisions)
    model = learner.learn(
        state.model,
        see(config.image(patch, frame, rule.window(centre, box[2:]))),
        **config.lesson(hyper.label_width, patch, box[2:]),
        regularisation=hyper.regularisation,
        rate=hyper.learning_rate,
        weight=config.update.weight(score, found, decisions),
    )
    moved = State(centre, box[2:], patch, model, of_scale)
    return moved, Output(box, score, score < hyper.lost_below, {})


def _fixed(patch: tuple[int, int] | UpTo | None) -> tuple[int, int] | UpTo:
    """What `Config.for_target` fixes."""
    if patch is None:
        raise JtrackError(
            "this profile of correlation follows the target: call config.for_target(box, frame_size) first"
        )
    return patch
