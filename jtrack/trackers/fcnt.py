"""FCNT: visual tracking with fully convolutional networks (Wang, Ouyang, Wang and Lu, ICCV 2015).

Two small networks predict the target's heat map from feature maps of a network for images, chosen in the
first frame for what they mean to this target: GNet from a deep layer, which knows the target's kind and is
never changed, and SNet from a shallower one, which tells the target from its like and is adapted. Boxes drawn
around the last one are scored on GNet's map; where there is heat elsewhere too (a distractor), on SNet's.

Profiles (`PROFILES`): `paper`, `release2015` and `release2016` (the authors' code at f2f5e03 and d2d9e72),
`default`, `differentiable` (`default` with soft decisions), and the paper's ablations (`ABLATIONS`) of
`default`, of `paper` ("paper-general") and of `release2016`: one network alone, and other shares of the maps.

Bytes per target: with P cells and K maps, 4 P K for each of three remembered frames and 324 K M for GNet,
SNet and its velocity each: 22 MB with 46 x 46 cells, 384 maps and M = 32; `default` on GoogLeNet 17 MB, of
which its scale filter takes 0.3 MB.
"""

import functools
import math
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
from jtrack.components.localisation import best_candidate, floored
from jtrack.components.motion import (
    DiagonalRegion,
    FirstSpread,
    GatedCandidates,
    PresentSpread,
    ReleasedDiagonalRegion,
    SameScale,
    ScaledCandidates,
)
from jtrack.components.scale import Pyramid, SmoothPyramid
from jtrack.components.shapes import FixedShapes
from jtrack.learning import heat_map_memory, heat_map_net, map_selection
from jtrack.learning.caffe_sgd import Rates
from jtrack.learning.heat_map_memory import Memory, Sample
from jtrack.learning.heat_map_net import Head, Samples
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, PyTree, Scalar, Tracker, Vector, ablations
from jtrack.vision import boxes, grid, heat_map
from jtrack.vision.resize import resize

CELL = 8  # pixels of the input per cell of a heat map: the stride of the shallower layer
UPSAMPLING = 4  # samples per cell that candidates are scored on
RELEASED_CELLS = 46 * 46  # of the heat maps that the released rates are meant for
IDEAL = 0.524  # mean of a target's Gaussian over its box


@dataclass(frozen=True)
class Config(FixedShapes):
    """What fixes shapes and control flow; static under jit."""

    specific: str | None  # SNet's layer, the paper's conv4-3; None leaves SNet out
    general: str | None  # GNet's, the paper's conv5-3; None leaves GNet out
    region: ReleasedDiagonalRegion | DiagonalRegion = ReleasedDiagonalRegion()
    input_size: int = 368  # side of the region of interest, a multiple of CELL
    fraction: float = 0.75  # of the feature maps that are kept; 1 keeps all and selects nothing
    curvature: float = 1.0  # of the significance: 1 is equation 6, -1 the released code
    hidden: int = 32  # maps of the first layer of GNet and SNet
    # What GNet and SNet multiply heat below zero by: 1 leaves it, as the released code does; 0 is the paper's
    # second ReLU, behind which a network that begins at a heat of 0 learns nothing.
    output_slope: float = 1.0
    selection_iterations: int = 100
    first_iterations: int = 50
    adaptation_iterations: int = 1
    discrimination_iterations: int = 10
    interval: int = 20  # frames between adaptations
    first_number: int = 1  # of the first frame, which the released code counts: what is due every 20th frame
    anchor: Literal["first", "best"] = "best"  # the frame a discrimination holds on to
    label_edge: float = 0.5  # sides from the target's middle at which its Gaussian ends; 0.5: at its box
    candidates: int = 600
    spread: PresentSpread | FirstSpread = FirstSpread()  # of their centres
    candidate_scales: SameScale | ScaledCandidates | GatedCandidates = GatedCandidates()
    scale: Pyramid | SmoothPyramid | None = None  # finds the size once the place is found
    decisions: Hard | Soft = Hard()  # of the best candidate, of GNet or SNet, and whether a frame is learnt
    info: bool = False  # put maps, candidates and decisions into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "input_size", "hidden", "interval", "candidates")
        checks.at_least(0, self, "selection_iterations", "first_iterations")
        checks.at_least(0, self, "adaptation_iterations", "discrimination_iterations")
        checks.require(
            bool(self.specific or self.general), "fcnt needs a layer for SNet, for GNet, or for both"
        )
        checks.require(
            self.input_size % CELL == 0,
            f"input_size of fcnt is {self.input_size}: it must be a multiple of {CELL}, the pixels of a cell",
        )
        checks.require(
            0 < self.fraction <= 1,
            f"fraction of fcnt is {self.fraction}: the share of feature maps that are kept must be above 0 "
            "and at most 1",
        )

    @property
    def layers(self) -> dict[str, str]:
        """The layer of each network there is."""
        both = {"specific": self.specific, "general": self.general}
        return {name: layer for name, layer in both.items() if layer is not None}

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the heat maps."""
        return self.input_size // CELL, self.input_size // CELL

    @property
    def weight(self) -> float:
        """What the squared error of a cell counts: coarse maps have fewer cells, so each counts for more.

        All cells together count as much as those of the released code's map.
        """
        return RELEASED_CELLS / (self.grid[0] * self.grid[1])


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept. Pairs are (specific, general)."""

    # [2] spectral norm that the first frame's features are scaled to, as on the released grid. The learning
    # rates were chosen for VGG-16's activations. Scaled to these norms, a root mean square of some 40 and 10,
    # GoogLeNet's train in the released numbers of iterations.
    spectral_norm: Vector = (2.4e4, 6e3)
    centring: Scalar = 0.0  # () share of its mean in the first frame that is subtracted from each map
    selection_learning_rate: Scalar = 1e-10  # () learning rate of the selection
    selection_momentum: Scalar = 0.6  # ()
    selection_decay: Vector = (5e-4, 0.1)  # [2]
    learning_rate: Vector = (1e-7, 8e-7)  # [2] of SNet and GNet
    momentum: Vector = (0.6, 0.5)  # [2]
    decay: Scalar = 5e-4  # ()
    # [2] of the squared errors of the first frame and of the best one
    adaptation_weights: Vector = (0.5, 0.5)
    # [2] of those of the anchor and, beside the target, of the present frame
    discrimination_weights: Vector = (0.5, 0.5)
    # () pixels and () share of the target's diagonal (`Config.spread`): their sum is the standard deviation
    # of the candidates' centres. The paper calls 10 and .004 variances; its code takes both as deviations.
    position_deviation: Scalar = 10.0
    position_share: Scalar = 0.0
    scale_deviation: Scalar = 0.004  # () of the logarithm of the candidates' scale
    area_exponent: Vector = (0.75, 0.7)  # [2] of a candidate's area in its score
    floor: Scalar = 0.1  # () heat below this share of the map's maximum counts as none
    distractor_floor: Vector = (0.1, 0.2)  # [2] the same share when distractors are looked for
    # () heat beside the target over that inside, on GNet's map, from which SNet decides
    distractor_share: Scalar = 0.2
    # () how far that share counts for less where SNet's highest heat is below GNet's; 1: by the ratio
    heat_ratio: Scalar = 0.0
    discriminate_above: Vector = (0.2, np.inf)  # [2] that share of either map from which SNet learns of it
    # () GNet's share of heat beside the target from which a frame is not the best one
    best_below: Scalar = np.inf
    accepted_above: Scalar = 0.1  # () confidence below which the box stays
    learnt_above: Scalar = 0.35  # () confidence above which a frame is learnt; below it the size is kept
    scale_gates: Vector = (0.45, 0.4, 0.35, np.inf)  # [4] of `motion.scale_opens`
    scale_regularisation: Scalar = 0.01  # () of the scale filter
    scale_damping: Scalar = 0.3  # () how much of the change it finds is made, in the logarithm
    scale_learning_rate: Scalar = 0.01  # ()
    # [2] slope and middle of the logistic curve from the log heat inside to the score
    confidence: Vector = (3.0, 0.25)
    lost_below: Scalar = 0.1  # () score under which the target counts as lost


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    box: Box  # [4] float32
    size: Array  # [2] float32 (w, h) in the first frame
    specific: Head | None
    general: Head | None
    memory: Memory | None
    scale: ScaleFilter | None
    least_confidence: Array  # () float32 so far, at most .5
    scaling: Array  # () bool: whether candidates differ in scale
    time: Array  # () int32: number of the frame, `Config.first_number` the first
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


# (specific, general) layers where other ones than the network's last of stride 8 and 16, the paper's conv4-3
# and conv5-3 of VGG-16, measured better (`python bench/fcnt.py --taps vgg19_slim`).
LAYERS: dict[str, tuple[str, str]] = {"vgg19_slim": ("relu4_2", "relu4_4")}


def layers_of(backbone: Backbone) -> tuple[str, str]:
    """The (specific, general) layers of a network."""
    stages = there(backbone.stages)
    return LAYERS.get(backbone.name, (stages.stride8, stages.stride16))


def _paper(backbone: Backbone) -> Profile[Config, Hyper]:
    """The text: the numbers it prints, but where they contradict each other.

    Regions have 368 pixels, as the sizes of its maps say, not 386. What follows is the released code's:
    the exponents of the area, as the text's confidence, the sum of the heat inside, cannot tell the scale
    (`heat_map.candidate_scores`); the target's Gaussian, which ends at its box, and the floors of heat: with
    all of a Gaussian a third of the heat lies beside the target, where .2 make a distractor (equation 9), and
    the best candidate is a quarter too large; the learning rate of the selection: with the text's, 1e-9, it
    diverges; that heat may fall below zero (`output_slope`); and the momentum, which the text does not give.
    """
    config = Config(
        *layers_of(backbone),
        hidden=36,
        selection_iterations=50,
        adaptation_iterations=3,
        discrimination_iterations=3,
        anchor="first",
        region=DiagonalRegion(border="zero"),
        candidate_scales=ScaledCandidates(),
    )
    chosen = Hyper(
        # beta of equation 7 is twice the weight decay that Caffe takes.
        selection_decay=(2.5e-3, 2.5e-3),
        learning_rate=(1e-7, 1e-7),
        decay=2.5e-3,
        adaptation_weights=(0.0, 1.0),
        discrimination_weights=(1.0, 1.0),
        discriminate_above=(np.inf, 0.2),
        accepted_above=0.0,
        learnt_above=0.0,
    )
    return Profile(config, chosen)


def _release2015(backbone: Backbone) -> Profile[Config, Hyper]:
    """The authors' first code (f2f5e03)."""
    return Profile(Config(*layers_of(backbone), curvature=-1.0), Hyper())


def _release2016(backbone: Backbone) -> Profile[Config, Hyper]:
    """The authors' later code (d2d9e72): 700 candidates, spread by the target's size; gates on the scale."""
    config = Config(*layers_of(backbone), curvature=-1.0, candidates=700)
    chosen = Hyper(position_deviation=0.0, position_share=1 / 7, scale_gates=(0.45, 0.4, 0.35, 0.49))
    return Profile(config, chosen)


def _default(backbone: Backbone) -> Profile[Config, Hyper]:
    """Recommended: coarser maps, exact geometry, a scale filter, distractors handled more carefully.

    It makes the paper's numbers of updates, and has three rules of our own. No frame is the best one while
    GNet sees much heat beside the target: behind an occluder the best is the occluder, which SNet then learns
    to follow. A distractor hands over to SNet the less readily the lower SNet's own heat is. And the size
    comes from a scale filter.

    Later heat maps are blurred more than the first, whatever the size of the target, so that boxes that
    collect heat grow. The filter over gradient histograms does not; with a target that turns it is misled,
    which is why only part of the change it finds is made.
    """
    config = Config(
        *layers_of(backbone),
        input_size=224,
        adaptation_iterations=3,
        discrimination_iterations=3,
        first_number=0,
        region=DiagonalRegion(),
        spread=PresentSpread(),
        candidate_scales=SameScale(),
        scale=Pyramid(),
    )
    chosen = Hyper(
        position_deviation=0.0,
        position_share=1 / 7,
        centring=1.0,
        heat_ratio=1.0,
        best_below=0.5,
        # The chance of an overlap above one half, fitted on GoogLeNet and OTB's sequences.
        confidence=(1.1, 0.12),
        lost_below=0.5,
    )
    return Profile(config, chosen)


def _differentiable(backbone: Backbone) -> Profile[Config, Hyper]:
    """Of default, with soft decisions: a box between all candidates, both networks weighed, no sharp edges.

    SNet is trained in every frame and moves as far as each rule asks for. Constants of the derivative: the
    feature maps that are selected, the candidates that are drawn, which frame is the best one, the cells that
    count as background, and `Output.lost`.
    """
    return _default(backbone).replace(decisions=Soft(), label_edge=math.inf, scale=SmoothPyramid())


# FCNT_G, FCNT_S and FCNT_K of Tables 2 and 3, whose K are 512, 256, 128 and 64 of 512 maps.
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "general": ("GNet alone", {"specific": None}),
    "specific": ("SNet alone", {"general": None}),
    "all": ("all feature maps, none left out", {"fraction": 1.0}),
    "half": ("half of the feature maps", {"fraction": 0.5}),
    "quarter": ("a quarter of the feature maps", {"fraction": 0.25}),
    "eighth": ("an eighth of the feature maps", {"fraction": 0.125}),
}
PROFILES: dict[str, Callable[[Backbone], Profile[Config, Hyper]]] = {
    "default": _default,
    "differentiable": _differentiable,
    "paper": _paper,
    "release2015": _release2015,
    "release2016": _release2016,
    **ablations("default", _default, ABLATIONS),
    **ablations("paper", _paper, ABLATIONS),
    **ablations("release2016", _release2016, ABLATIONS),
}


def fcnt(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network described in `jtrack.backbones`.
      config: structure.

    Returns:
      A `Tracker`; `learn` adapts SNet, and is None without one. Its score is a logistic curve of the heat in
      the box (`Hyper.confidence`), calibrated for `default` as the chance of an overlap above one half. A
      distractor of as much heat as the target has as high a score.
    """
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=None if config.specific is None else functools.partial(_learn, config),
    )


def _init(backbone: Backbone, config: Config, params: PyTree, key: Key, frame: Frame, box: Box) -> State:
    hyper, dtype = params["tracker"], box.dtype
    key, specific_key, general_key = jax.random.split(key, 3)
    region = config.region.around(box, box[2:])
    maps = _features(backbone, config, params["backbone"], frame, region)
    maps = {name: heat_map.finite(resize(map_, config.grid, method="bicubic")) for name, map_ in maps.items()}
    target, background = heat_map.label(box, region, config.grid, edge=config.label_edge)
    specific = general = memory = None
    never = config.decisions.never(dtype)
    if "specific" in maps:
        specific, chosen = _first_head(config, hyper, 0, specific_key, maps["specific"], target)
        sample = Sample(chosen, target, background)
        memory = Memory(sample, sample, sample, jnp.zeros((), dtype), never, never)
    if "general" in maps:
        general, _ = _first_head(config, hyper, 1, general_key, maps["general"], target)
        general = general._replace(velocity=None)
    return State(
        box=box,
        size=box[2:],
        specific=specific,
        general=general,
        memory=memory,
        scale=None if config.scale is None else scale.begin(config.scale, frame, box),
        least_confidence=jnp.asarray(0.5, dtype),
        scaling=jnp.asarray(config.candidate_scales.at_first),
        time=jnp.asarray(config.first_number, jnp.int32),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )


def _first_head(
    config: Config, hyper: Hyper, which: int, key: Key, maps: Array, target: Array
) -> tuple[Head, Array]:
    """Chooses the feature maps out of [h, w, C] that matter and trains a network on them.

    Returns:
      The network with what it stands on, and its input [h, w, K].
    """
    selection_key, net_key = jax.random.split(key)
    norm = hyper.spectral_norm[which]
    maps, offset, gain = heat_map_net.scaled(maps, centring=hyper.centring, norm=norm, weight=config.weight)
    descent = config.weight * hyper.selection_learning_rate, hyper.selection_momentum
    channels = map_selection.choose(
        selection_key,
        maps,
        target,
        Rates(*descent, hyper.selection_decay[which]),
        count=max(1, round(config.fraction * maps.shape[-1])),
        iterations=config.selection_iterations,
        curvature=config.curvature,
    )
    chosen = jnp.take(maps, channels, axis=-1)
    net, velocity = heat_map_net.begin(
        net_key,
        chosen,
        target,
        hidden=config.hidden,
        weight=config.weight,
        rates=Rates(hyper.learning_rate[which], hyper.momentum[which], hyper.decay),
        iterations=config.first_iterations,
        slope=config.output_slope,
    )
    return Head(channels, offset[channels], gain, net, velocity), chosen


def _step(
    backbone: Backbone, config: Config, params: PyTree, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper, decisions = params["tracker"], config.decisions
    key, draw_key = jax.random.split(state.key)
    region = config.region.around(state.box, state.size)
    maps = _features(backbone, config, params["backbone"], frame, region)
    heads = {name: there(getattr(state, name)) for name in config.layers}
    maps = {
        name: resize(head.inputs(maps[name]), config.grid, method="bicubic") for name, head in heads.items()
    }
    heat = {name: heat_map.finite(head.heat(maps[name], config.output_slope)) for name, head in heads.items()}
    (alone, *_) = heat.values()  # one network stands in for the other
    heat = {name: heat.get(name, alone) for name in ("specific", "general")}
    for_candidates = functools.partial(heat_map.for_candidates, upsampling=UPSAMPLING)
    shown = {
        name: floored(decisions, for_candidates(map_, region, frame.size), hyper.floor)
        for name, map_ in heat.items()
    }
    candidates = motion.candidates_around(
        draw_key,
        state.box,
        config.candidates,
        config.spread.deviation(hyper.position_deviation, hyper.position_share, state.box[2:], state.size),
        jnp.where(state.scaling, hyper.scale_deviation, 0.0),
        frame.size,
    )
    on_map = grid.to_cells(candidates, region, (config.grid[0] * UPSAMPLING, config.grid[1] * UPSAMPLING))
    found = {
        name: best_candidate(decisions, shown[name], candidates, on_map, hyper.area_exponent[which])
        for which, name in enumerate(("specific", "general"))
    }
    # Both are asked at the box that GNet would choose.
    at = found["general"].on_map
    shares = {
        name: heat_map.distractor_share(floored(decisions, shown[name], hyper.distractor_floor[which]), at)
        for which, name in enumerate(("specific", "general"))
    }
    ratio = heat_map.heat_ratio(heat["specific"], heat["general"], hyper.heat_ratio)
    switched = decisions.reaches(shares["general"] * ratio, hyper.distractor_share)
    best = decisions.choose(switched, found["specific"], found["general"])
    refused = decisions.unless(decisions.above(best.confidence, hyper.accepted_above))
    best = decisions.choose(refused, found["specific"], best)
    described = jnp.stack([jnp.isfinite(map_).all() for map_ in maps.values()]).all()
    confidence = jnp.where(described, best.confidence, 0.0)
    # A doubtful box keeps the size, a hopeless one the place too.
    keeping = boxes.from_centre(boxes.centre(best.box), state.box[2:])
    sure = decisions.reaches(confidence, hyper.learnt_above)
    box = decisions.choose(sure, best.box, keeping)
    box = decisions.choose(decisions.above(confidence, hyper.accepted_above), box, state.box)
    specific_decides = decisions.either(switched, refused)
    decided = decisions.choose(specific_decides, heat["specific"], heat["general"])
    inside = heat_map.heat_in_box(decided, box, region)
    calibrated = calibration.logistic_of_ratio(inside / IDEAL, *hyper.confidence)
    calibrated = jnp.where(described, calibrated, 0.0)
    if config.scale is not None:
        box, model = scale.follow(
            config.scale,
            there(state.scale),
            frame,
            box,
            sure,
            scale.Rates(hyper.scale_regularisation, hyper.scale_learning_rate, hyper.scale_damping),
            decisions,
        )
        state = state._replace(scale=model)
    time, least = state.time + 1, jnp.minimum(state.least_confidence, confidence)
    scaling = config.candidate_scales.later(
        state.scaling, least, state.size[0], hyper.scale_gates, time == config.interval
    )
    state = state._replace(box=box, scaling=scaling, time=time, least_confidence=least, key=key)
    if state.memory is not None:
        memory = _remembered(config, hyper, state, maps["specific"], region, confidence, shares)
        due = decisions.possible(decisions.either(memory.adapt, memory.discriminate))
        state = state._replace(memory=memory, due=due)
    info = {}
    if config.info:
        info = {
            "region": region,
            "candidates": candidates,
            "confidence": confidence,
            "distractor": shares["general"],
            "specific_distractor": shares["specific"],
            "general_decided": ~decisions.likely(specific_decides),
            "due": state.due,
            **{f"{name}_heat": heat[name] for name in maps},
            **{f"{name}_maps": head.channels for name, head in heads.items()},
        }
    lost = (calibrated < hyper.lost_below) | (confidence <= hyper.accepted_above)
    return state, Output(box, calibrated, lost, info)


def _remembered(
    config: Config,
    hyper: Hyper,
    state: State,
    maps: Array,
    region: Box,
    confidence: Array,
    shares: dict[str, Array],
) -> Memory:
    """What SNet may learn from after this frame, of maps [h, w, K], and whether it should."""
    decisions = config.decisions
    target, background = heat_map.label(state.box, region, config.grid, edge=config.label_edge)
    learns = decisions.above(confidence, hyper.learnt_above)
    memory = heat_map_memory.remember(
        there(state.memory),
        Sample(heat_map.finite(maps), target, background),
        confidence,
        may_be_best=decisions.likely(learns) & (shares["general"] < hyper.best_below),
    )
    adapts = decisions.above(memory.best_confidence, hyper.learnt_above)
    specific, general = (
        decisions.reaches(shares[name], hyper.discriminate_above[which])
        for which, name in enumerate(("specific", "general"))
    )
    return memory._replace(
        adapt=jnp.where(state.time % config.interval == 0, adapts, decisions.never(confidence.dtype)),
        discriminate=decisions.both(decisions.either(specific, general), learns),
    )


def _learn(config: Config, params: PyTree, state: State) -> State:
    """Adapts SNet by the rules that are due; the adaptation first."""
    hyper = params["tracker"]
    memory, head = there(state.memory), there(state.specific)
    rates = Rates(hyper.learning_rate[0], hyper.momentum[0], hyper.decay)

    def train(head: Head, samples: list[Sample], weights: list[Array], iterations: int) -> Head:
        maps, target = (jnp.stack([getattr(one, name) for one in samples]) for name in ("maps", "target"))
        together = Samples(maps, target, config.weight * jnp.stack(weights))
        return heat_map_net.go_on(head, together, rates, iterations, slope=config.output_slope)

    def adapt(head: Head) -> Head:
        weights = [jnp.full(config.grid, weight) for weight in hyper.adaptation_weights]
        return train(head, [memory.first, memory.best], weights, config.adaptation_iterations)

    def discriminate(head: Head) -> Head:
        anchor = memory.first if config.anchor == "first" else memory.best
        held, present = hyper.discrimination_weights
        weights = [jnp.full(config.grid, held), present * memory.present.background]
        return train(head, [anchor, memory.present], weights, config.discrimination_iterations)

    decisions = config.decisions
    head = decisions.apply(memory.adapt, adapt, head)
    head = decisions.apply(memory.discriminate, discriminate, head)
    confidence = decisions.choose(
        memory.adapt, jnp.asarray(hyper.learnt_above, memory.best_confidence.dtype), memory.best_confidence
    )
    never = decisions.never(confidence.dtype)
    memory = memory._replace(best_confidence=confidence, adapt=never, discriminate=never)
    return state._replace(specific=head, memory=memory, due=jnp.zeros((), jnp.bool_))


def _features(
    backbone: Backbone, config: Config, weights: Params, frame: Frame, region: Box
) -> dict[str, Array]:
    """All feature maps [h, w, C] of a region for each network, {"specific", "general"}."""
    size, layers = (config.input_size, config.input_size), config.layers
    describe = functools.partial(features.of_window, method="bicubic", border=config.region.border)
    maps = describe(backbone, weights, frame, region, size, tuple(layers.values()))
    return {name: maps[layer] for name, layer in layers.items()}
