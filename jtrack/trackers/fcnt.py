"""FCNT: visual tracking with fully convolutional networks (Wang, Ouyang, Wang and Lu, ICCV 2015).

Two small networks predict the target's heat map from feature maps of a network for images, chosen in the
first frame for what they mean to this target: GNet from a deep layer, which knows the target's kind and is
never changed, and SNet from a shallower one, which tells the target from its like and is adapted. Boxes drawn
around the last one are scored on GNet's map; where that is warm elsewhere too (a distracter), on SNet's.

Profiles (`PROFILES`): `paper`, `release2015` and `release2016` (the authors' code at f2f5e03 and d2d9e72),
`default`, and the paper's ablations of `default`: one network alone (`general`, `specific`) and other shares
of the maps (`all`, `half`, `quarter`, `eighth`).

Bytes per target: with P cells and K maps, 4 P K for each of three remembered frames and 324 K M for GNet,
SNet and its velocity each: 22 MB with 46 x 46 cells, 384 maps and M = 32; `default` on GoogLeNet 17 MB, of
which its scale filter takes 0.3 MB.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import checks
from jtrack.backbones import Backbone
from jtrack.learning import caffe_sgd, heat_map_net, map_selection, scale_following
from jtrack.learning.caffe_sgd import Rates
from jtrack.learning.heat_map_net import HeatMapNet, Samples
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame, Key, Output, Profile, Scalar, Tracker, Vector, variant
from jtrack.vision import boxes, heat_map
from jtrack.vision.crop import crop
from jtrack.vision.particles import gaussian_particles
from jtrack.vision.resize import resize

CELL = 8  # pixels of the input per cell of a heat map: the stride of the shallower tap
FINENESS = 4  # samples per cell that candidates are scored on
RELEASED_CELLS = 46 * 46  # of the heat maps that the released rates are meant for
IDEAL = 0.524  # mean of a target's Gaussian over its box
UNIT = 64.0  # pixels: the side that the released code's scale 1 stands for


@dataclasses.dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    specific_tap: str  # SNet's layer, the paper's conv4-3
    general_tap: str  # GNet's, the paper's conv5-3
    nets: Literal["both", "general", "specific"] = "both"
    input_size: int = 368  # side of the region of interest, a multiple of CELL
    fraction: float = 0.75  # of the feature maps that are kept; 1 keeps all and selects nothing
    centred: bool = False  # whether each feature map is lessened by its mean in the first frame
    curvature: Literal["paper", "release"] = "paper"  # of the significance
    hidden: int = 32  # maps of the first layer of GNet and SNet
    selection_iterations: int = 100
    first_iterations: int = 50
    adaptation_iterations: int = 1
    discrimination_iterations: int = 10
    interval: int = 20  # frames between adaptations
    anchor: Literal["first", "best"] = "best"  # the frame a discrimination holds on to
    trigger: Literal["general", "specific"] = "specific"  # the map that tells when to discriminate
    weighed: bool = False  # whether a distracter counts for less where SNet is colder than GNet
    truncated: bool = True  # whether the target's Gaussian ends at its box
    geometry: Literal["released", "exact"] = "released"  # of the region: on whole pixels, or to the fraction
    border: Literal["zero", "edge"] = "zero"  # what lies outside the frame
    # How the size is found: by candidates of different scales, `gated` only from frame `interval` and if all
    # went well; or, once the place is found, by a filter over scales.
    scaling: Literal["always", "gated", "filter"] = "gated"
    particles: int = 600
    info: bool = False  # put maps, candidates and decisions into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "input_size", "hidden", "interval", "particles")
        checks.at_least(0, self, "selection_iterations", "first_iterations")
        checks.at_least(0, self, "adaptation_iterations", "discrimination_iterations")
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
    def grid(self) -> tuple[int, int]:
        """(h, w) of the heat maps."""
        return self.input_size // CELL, self.input_size // CELL

    @property
    def weight(self) -> float:
        """Of a cell's squared error: a coarse map's cells count for as many as they cover of the released."""
        return RELEASED_CELLS / (self.grid[0] * self.grid[1])

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """The same config: no shape follows the target."""
        del box, frame_size
        return self


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept. Pairs are (specific, general)."""

    # The rates are meant for VGG-16's activations in their raw magnitude. With these (about 40 and 10 in
    # the root mean square) they train GoogLeNet's within the released numbers of iterations.
    # [2] largest singular value that the first frame's features would be brought to on the released grid
    strength: Vector = (2.4e4, 6e3)
    selection_rate: Scalar = 1e-10  # () learning rate of the selection
    selection_momentum: Scalar = 0.6  # ()
    selection_decay: Vector = (5e-4, 0.1)  # [2]
    rate: Vector = (1e-7, 8e-7)  # [2] learning rate of SNet and GNet
    momentum: Vector = (0.6, 0.5)  # [2]
    decay: Scalar = 5e-4  # ()
    # [2] of the squared errors of the first frame and of the best one
    adaptation_weights: Vector = (0.5, 0.5)
    # [2] of those of the anchor and, beside the target, of the present frame
    discrimination_weights: Vector = (0.5, 0.5)
    position_deviation: Scalar = 10.0  # () pixels: of the candidates' centres, beside
    position_share: Scalar = 0.0  # () ... this share of the target's diagonal
    scale_deviation: Scalar = 0.004  # () of the logarithm of the candidates' scale
    area_exponent: Vector = (0.75, 0.7)  # [2] of a candidate's area in its score
    floor: Scalar = 0.1  # () heat below this share of the map's maximum counts as none
    distracter_floor: Vector = (0.1, 0.2)  # [2] ... when distracters are looked for
    # () heat beside the target over that inside from which there is a distracter
    distracter_share: Scalar = 0.2
    # () GNet's share of heat beside the target from which a frame is not the best one
    taught_below: Scalar = np.inf
    accepted_above: Scalar = 0.1  # () confidence below which the box stays
    trusted_above: Scalar = 0.35  # () confidence below which the size is kept and nothing is learnt
    # [4] least confidences for a scale search: any, large and small targets; and too sure
    scale_gates: Vector = (0.45, 0.4, 0.35, np.inf)
    scale_regularisation: Scalar = 0.01  # () of the scale filter
    scale_damping: Scalar = 0.3  # () how much of the change it finds is made, in the logarithm
    scale_learning_rate: Scalar = 0.01  # ()
    # [2] slope and middle of the logistic curve from the log heat inside to the score
    confidence: Vector = (3.0, 0.25)
    lost_below: Scalar = 0.1  # () score under which the target counts as lost


class Head(NamedTuple):
    """GNet or SNet on the feature maps chosen for it."""

    channels: Array  # [K] int32, the most significant first
    offset: Array  # [K] float32: what the features are lessened by
    gain: Array  # () float32: ... and then multiplied by
    net: HeatMapNet
    velocity: HeatMapNet | None  # of SNet's descent


class Sample(NamedTuple):
    """A frame as SNet learns it."""

    maps: Array  # [h, w, K] float32
    target: Array  # [h, w] float32
    background: Array  # [h, w] float32: 1 beside the target, 0 where its box touches a cell


class Memory(NamedTuple):
    """The frames SNet learns from."""

    first: Sample
    best: Sample  # the most confident since the last adaptation
    present: Sample
    best_confidence: Array  # () float32
    adapt: Array  # () bool
    discriminate: Array  # () bool


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
    time: Array  # () int32: number of the frame, 0 the first
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


# (specific, general) layers where other ones than the network's last of stride 8 and 16, the paper's conv4-3
# and conv5-3 of VGG-16, measured better (`python bench/fcnt.py --taps vgg19_slim`).
LAYERS: dict[str, tuple[str, str]] = {"vgg19_slim": ("relu4_2", "relu4_4")}


def layers_of(backbone: Backbone) -> tuple[str, str]:
    """The (specific, general) layers of a network."""
    stages = _there(backbone.stages)
    return LAYERS.get(backbone.name, (stages.stride8, stages.stride16))


def _paper(backbone: Backbone) -> Profile:
    """The text: the numbers it prints.

    Regions have 368 pixels, as the sizes of its maps say, not 386.
    Its confidence, the sum of the heat inside, cannot tell the scale (`heat_map.candidate_scores`): the
    exponents of the area are those of the released code. So is the momentum, of which it says nothing.
    """
    config = Config(
        *layers_of(backbone),
        hidden=36,
        selection_iterations=50,
        adaptation_iterations=3,
        discrimination_iterations=3,
        anchor="first",
        trigger="general",
        truncated=False,
        geometry="exact",
        scaling="always",
    )
    chosen = Hyper(
        selection_rate=1e-9,
        # beta of equation 7 is twice what Caffe is told.
        selection_decay=(2.5e-3, 2.5e-3),
        rate=(1e-7, 1e-7),
        decay=2.5e-3,
        adaptation_weights=(0.0, 1.0),
        discrimination_weights=(1.0, 1.0),
        floor=0.0,
        distracter_floor=(0.0, 0.0),
        accepted_above=0.0,
        trusted_above=0.0,
    )
    return Profile(config, chosen)


def _release2015(backbone: Backbone) -> Profile:
    """The authors' first code (f2f5e03)."""
    return Profile(Config(*layers_of(backbone), curvature="release"), Hyper())


def _release2016(backbone: Backbone) -> Profile:
    """The authors' later code (d2d9e72): 700 candidates, gates on the scale."""
    config = Config(*layers_of(backbone), curvature="release", particles=700)
    chosen = Hyper(position_deviation=0.0, position_share=1 / 7, scale_gates=(0.45, 0.4, 0.35, 0.49))
    return Profile(config, chosen)


def _default(backbone: Backbone) -> Profile:
    """Recommended: coarser maps, exact geometry, a scale filter, distracters handled more carefully.

    It makes the paper's numbers of updates, and has three rules of our own. No frame is the best one while
    GNet sees much heat beside the target: behind an occluder the best is the occluder, which SNet then learns
    to follow. A distracter hands over to SNet the less readily the colder SNet is itself. And the size comes
    from a scale filter.

    Later heat maps are blurred more than the first, whatever the size of the target, so that boxes that
    collect heat grow. The filter over gradient histograms does not; with a target that turns it is misled,
    which is why only part of the change it finds is made.
    """
    config = Config(
        *layers_of(backbone),
        input_size=224,
        centred=True,
        adaptation_iterations=3,
        discrimination_iterations=3,
        weighed=True,
        geometry="exact",
        border="edge",
        scaling="filter",
    )
    chosen = Hyper(
        position_deviation=0.0,
        position_share=1 / 7,
        taught_below=0.5,
        # The chance of an overlap above one half, fitted on GoogLeNet and OTB's sequences.
        confidence=(1.1, 0.12),
        lost_below=0.5,
    )
    return Profile(config, chosen)


PROFILES: dict[str, Callable[[Backbone], Profile]] = {
    "default": _default,
    "paper": _paper,
    "release2015": _release2015,
    "release2016": _release2016,
    "general": variant(_default, "Ablation of default: GNet alone.", nets="general"),
    "specific": variant(_default, "Ablation of default: SNet alone.", nets="specific"),
    "all": variant(_default, "Ablation of default: all feature maps, none left out.", fraction=1.0),
    "half": variant(_default, "Ablation of default: half of the feature maps.", fraction=0.5),
    "quarter": variant(_default, "Ablation of default: a quarter of the feature maps.", fraction=0.25),
    "eighth": variant(_default, "Ablation of default: an eighth of the feature maps.", fraction=0.125),
}


def fcnt(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: the network described in `jtrack.backbones`.
      config: structure.

    Returns:
      A `Tracker`; `learn` adapts SNet, and is None without one. Its score is a logistic curve of the heat in
      the box (`Hyper.confidence`), calibrated for `default` as the chance of an overlap above one half. A
      distracter that is as warm as the target has as high a score.
    """
    return Tracker(
        init=functools.partial(_init, backbone, config),
        step=functools.partial(_step, backbone, config),
        learn=None if config.nets == "general" else functools.partial(_learn, config),
    )


def _init(backbone: Backbone, config: Config, params: dict, key: Key, frame: Frame, box: Box) -> State:
    hyper = params["tracker"]
    key, specific_key, general_key = jax.random.split(key, 3)
    state = State(
        box=box,
        size=box[2:],
        specific=None,
        general=None,
        memory=None,
        scale=None,
        least_confidence=jnp.float32(0.5),
        scaling=jnp.asarray(config.scaling == "always"),
        time=jnp.zeros((), jnp.int32),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )
    region = _region(config, state, box)
    maps = {name: _finite(map_) for name, map_ in _describe(backbone, config, params, frame, region).items()}
    target, background = _wanted(config, box, region)
    specific = general = memory = None
    if "specific" in maps:
        specific, chosen = _first_head(config, hyper, 0, specific_key, maps["specific"], target)
        sample = Sample(chosen, target, background)
        no = jnp.zeros((), jnp.bool_)
        memory = Memory(sample, sample, sample, jnp.zeros(()), no, no)
    if "general" in maps:
        general, _ = _first_head(config, hyper, 1, general_key, maps["general"], target)
        general = general._replace(velocity=None)
    scale = scale_following.learn(frame, box) if config.scaling == "filter" else None
    return state._replace(specific=specific, general=general, memory=memory, scale=scale)


def _first_head(
    config: Config, hyper: Hyper, which: int, key: Key, maps: Array, target: Array
) -> tuple[Head, Array]:
    """Chooses the feature maps out of [h, w, C] that matter and trains a network on them.

    Returns:
      The network with what it stands on, and its input [h, w, K].
    """
    selection_key, net_key = jax.random.split(key)
    offset = jnp.mean(maps, axis=(0, 1)) if config.centred else jnp.zeros(maps.shape[-1])
    maps = maps - offset.reshape(1, 1, -1)
    strength = heat_map_net.strength(maps) * config.weight**0.5
    gain = jnp.where(strength > 1e-6, hyper.strength[which] / jnp.maximum(strength, 1e-6), 0.0)
    maps = maps * gain
    channels = _select(config, hyper, which, selection_key, maps, target)
    chosen = jnp.take(maps, channels, axis=-1)
    first = heat_map_net.random_net(net_key, len(channels), config.hidden)
    sample = Samples(chosen[None], target[None], jnp.full((1, *config.grid), config.weight))
    net, velocity, _ = heat_map_net.train(
        first, caffe_sgd.still(first), sample, _rates(hyper, which), config.first_iterations
    )
    return Head(channels, offset[channels], gain, net, velocity), chosen


def _select(config: Config, hyper: Hyper, which: int, key: Key, maps: Array, target: Array) -> Array:
    """The indices [K] of the feature maps [h, w, C] that are kept."""
    count = maps.shape[-1]
    kept = max(1, round(config.fraction * count))
    if kept == count:
        return jnp.arange(count, dtype=jnp.int32)
    rate = config.weight * hyper.selection_rate
    rates = Rates(rate, hyper.selection_momentum, hyper.selection_decay[which])
    net, _ = map_selection.train(key, maps, target, rates, config.selection_iterations)
    worth = map_selection.significance(net, maps, target, curvature=config.curvature)
    return map_selection.select(worth, kept)


def _rates(hyper: Hyper, which: int) -> Rates:
    return Rates(hyper.rate[which], hyper.momentum[which], hyper.decay)


def _step(
    backbone: Backbone, config: Config, params: dict, state: State, frame: Frame
) -> tuple[State, Output]:
    hyper = params["tracker"]
    key, draw_key = jax.random.split(state.key)
    region = _region(config, state, state.box)
    maps = _describe(backbone, config, params, frame, region, state)
    heat = _heat(config, state, maps)
    shown = {name: _shown(hyper, heat[name], region, frame) for name in heat}
    candidates = _candidates(config, hyper, draw_key, state, frame)
    on_map = _on_fine_map(config, candidates, region)
    found = {
        name: _best(shown[name], on_map, hyper.area_exponent[which])
        for which, name in enumerate(("specific", "general"))
    }
    # Both are asked at the box that GNet would choose.
    at = on_map[found["general"][0]]
    shares = {
        name: heat_map.distracter_share(_above(shown[name], hyper.distracter_floor[which]), at)
        for which, name in enumerate(("specific", "general"))
    }
    switched = shares["general"] * _warmth(config, heat) >= hyper.distracter_share
    index, confidence = _pick(switched, found["specific"], found["general"])
    refused = confidence <= hyper.accepted_above
    index, confidence = _pick(refused, found["specific"], (index, confidence))
    described = jnp.stack([jnp.isfinite(map_).all() for map_ in maps.values()]).all()
    confidence = jnp.where(described, confidence, 0.0)
    box = _accept(hyper, state.box, candidates[index], confidence)
    decided = jnp.where(switched | refused, 0, 1)
    score = jnp.where(described, _score(config, hyper, heat, decided, box, region), 0.0)
    if state.scale is not None:
        trusted = confidence >= hyper.trusted_above
        box, scale = scale_following.follow(
            state.scale,
            frame,
            box,
            trusted,
            regularisation=hyper.scale_regularisation,
            rate=hyper.scale_learning_rate,
            damping=hyper.scale_damping,
        )
        state = state._replace(scale=scale)

    state = _count(config, hyper, state, confidence)._replace(box=box, key=key)
    distracted = shares[config.trigger] >= hyper.distracter_share
    teaches = shares["general"] < hyper.taught_below
    state = _remember(config, hyper, state, maps, region, confidence, teaches, distracted)
    info = {}
    if config.info:
        info = {f"{name}_heat": heat[name] for name in maps} | {
            "region": region,
            "candidates": candidates,
            "confidence": confidence,
            "distracter": shares["general"],
            "specific_distracter": shares["specific"],
            "general_decided": decided == 1,
            "due": state.due,
        }
        info |= {f"{name}_maps": head.channels for name, head in _heads(state).items()}
    lost = (score < hyper.lost_below) | (confidence <= hyper.accepted_above)
    return state, Output(box, score, lost, info)


def _learn(config: Config, params: dict, state: State) -> State:
    """Adapts SNet by the rules that are due; the adaptation first."""
    hyper = params["tracker"]
    memory, head = _there(state.memory), _there(state.specific)

    def train(head: Head, samples: list[Sample], weights: list[Array], iterations: int) -> Head:
        together = Samples(
            jnp.stack([sample.maps for sample in samples]),
            jnp.stack([sample.target for sample in samples]),
            config.weight * jnp.stack(weights),
        )
        net, velocity, _ = heat_map_net.train(
            head.net, _there(head.velocity), together, _rates(hyper, 0), iterations
        )
        return head._replace(net=net, velocity=velocity)

    def adapt(head: Head) -> Head:
        weights = [jnp.full(config.grid, weight) for weight in hyper.adaptation_weights]
        return train(head, [memory.first, memory.best], weights, config.adaptation_iterations)

    def discriminate(head: Head) -> Head:
        anchor = memory.first if config.anchor == "first" else memory.best
        held, present = hyper.discrimination_weights
        weights = [jnp.full(config.grid, held), present * memory.present.background]
        return train(head, [anchor, memory.present], weights, config.discrimination_iterations)

    head = jax.lax.cond(memory.adapt, adapt, lambda head: head, head)
    head = jax.lax.cond(memory.discriminate, discriminate, lambda head: head, head)
    confidence = jnp.where(memory.adapt, hyper.trusted_above, memory.best_confidence)
    no = jnp.zeros((), jnp.bool_)
    memory = memory._replace(best_confidence=confidence, adapt=no, discriminate=no)
    return state._replace(specific=head, memory=memory, due=no)


def _region(config: Config, state: State, box: Box) -> Box:
    """The region of interest [4] around a box: in the first frame a square of twice the target's diagonal."""
    diagonal = jnp.sqrt(jnp.sum(state.size**2))
    sides = 2 * diagonal / state.size * box[2:]
    middle = boxes.centre(box)
    if config.geometry == "exact":
        return boxes.from_centre(middle, sides)
    middle, half = jnp.round(middle + 1), jnp.round(sides / 2)  # of pixels counted from 1
    return jnp.concatenate([middle - half - 1, 2 * half + 1])


def _describe(
    backbone: Backbone, config: Config, params: dict, frame: Frame, region: Box, state: State | None = None
) -> dict[str, Array]:
    """Feature maps of a region for each network, {"specific", "general"}.

    Returns:
      All maps [h, w, C] as they are; or, given a state, those chosen [h, w, K], multiplied by their gain.
    """
    size = config.input_size, config.input_size
    image = crop(frame, region, size, method="bicubic", border=config.border)
    taps = {"specific": config.specific_tap, "general": config.general_tap}
    if config.nets != "both":
        taps = {config.nets: taps[config.nets]}
    every = backbone.apply(params["backbone"], image[None], tuple(taps.values()))
    maps = {name: every[tap][0] for name, tap in taps.items()}
    if state is not None:
        for name, head in _heads(state).items():
            chosen = jnp.take(maps[name], head.channels, axis=-1)
            maps[name] = (chosen - head.offset.reshape(1, 1, -1)) * head.gain
    return {name: resize(map_, config.grid, method="bicubic") for name, map_ in maps.items()}


def _finite(values: Array) -> Array:
    return jnp.where(jnp.isfinite(values), values, 0)


def _heads(state: State) -> dict[str, Head]:
    both = {"specific": state.specific, "general": state.general}
    return {name: head for name, head in both.items() if head is not None}


def _wanted(config: Config, box: Box, region: Box) -> tuple[Array, Array]:
    """The heat map [h, w] of a target in a region, and the cells [h, w] it does not touch."""
    cells = heat_map.on_map(box, region, config.grid)
    target = heat_map.resampled_gaussian(cells, config.grid, truncated=config.truncated, fineness=CELL)
    rows = heat_map.coverage(cells[1:2], cells[3:4], config.grid[0])[0]
    columns = heat_map.coverage(cells[0:1], cells[2:3], config.grid[1])[0]
    touched = (rows[:, None] > 0) & (columns[None, :] > 0)
    return target, jnp.where(touched, 0.0, 1.0)


def _heat(config: Config, state: State, maps: dict[str, Array]) -> dict[str, Array]:
    """Both networks' heat maps [h, w]; one alone stands in for the other."""
    heat = {
        name: _finite(heat_map_net.heat_map(head.net, maps[name][None])[0])
        for name, head in _heads(state).items()
    }
    if config.nets != "both":
        return {"specific": heat[config.nets], "general": heat[config.nets]}
    return heat


def _warmth(config: Config, heat: dict[str, Array]) -> Array:
    """How far SNet can stand in for GNet (), in [0, 1]: its warmest cell over GNet's."""
    if not config.weighed:
        return jnp.ones(())
    specific, general = (jnp.maximum(heat[name].max(), 1e-6) for name in ("specific", "general"))
    return jnp.minimum(specific / general, 1.0)


def _shown(hyper: Hyper, heat: Array, region: Box, frame: Frame) -> Array:
    """A heat map as candidates see it: fine, over its maximum, without small values or what is no frame."""
    heat = heat / jnp.maximum(heat.max(), 1e-6)
    fine = heat_map.enlarge(heat, FINENESS)
    inside = [
        (start + (jnp.arange(n, dtype=jnp.float32) + 0.5) * (side / n))
        for start, side, n in ((region[1], region[3], fine.shape[0]), (region[0], region[2], fine.shape[1]))
    ]
    rows, columns = (
        (place > 0) & (place < extent)
        for place, extent in zip(inside, frame.size.astype(jnp.float32), strict=True)
    )
    return jnp.where(rows[:, None] & columns[None, :], _above(fine, hyper.floor), 0)


def _above(heat: Array, floor: Array) -> Array:
    """The heat map without values up to a floor."""
    return jnp.where(heat > floor, heat, 0)


def _candidates(config: Config, hyper: Hyper, key: Key, state: State, frame: Frame) -> Box:
    """Candidates [N, 4] around the last box, itself the first; their centres stay in the frame."""
    diagonal = jnp.sqrt(jnp.sum(state.box[2:] ** 2))
    deviation = hyper.position_deviation + hyper.position_share * diagonal
    scale = jnp.where(state.scaling, hyper.scale_deviation, 0.0)
    drawn = gaussian_particles(key, state.box, config.particles, std_xy=deviation, std_scale=scale)
    drawn = drawn.at[0].set(state.box)
    extent = frame.size[::-1].astype(jnp.float32)
    # A target of less than two pixels, or larger than the frame, could never grow or shrink back.
    sensible = jnp.all((drawn[:, 2:] >= 2) & (drawn[:, 2:] <= extent[None]), axis=1, keepdims=True)
    size = jnp.where(sensible, drawn[:, 2:], state.box[None, 2:])
    return boxes.from_centre(jnp.clip(boxes.centre(drawn), 0, extent[None]), size)


def _on_fine_map(config: Config, box: Box, region: Box) -> Box:
    height, width = config.grid
    return heat_map.on_map(box, region, (height * FINENESS, width * FINENESS))


def _best(heat: Array, candidates: Box, exponent: Array) -> tuple[Array, Array]:
    """Index and confidence () of the best candidate on a map."""
    confidences, scores = heat_map.candidate_scores(heat, candidates, exponent)
    best = jnp.argmax(scores)
    return best, confidences[best]


def _pick(condition: Array, then: tuple[Array, Array], otherwise: tuple[Array, Array]) -> tuple[Array, Array]:
    index, confidence = (jnp.where(condition, a, b) for a, b in zip(then, otherwise, strict=True))
    return index, confidence


def _accept(hyper: Hyper, last: Box, found: Box, confidence: Array) -> Box:
    """The new box: a doubtful one keeps the size, a hopeless one the place too."""
    keeping = boxes.from_centre(boxes.centre(found), last[2:])
    box = jnp.where(confidence < hyper.trusted_above, keeping, found)
    return jnp.where(confidence > hyper.accepted_above, box, last)


def _count(config: Config, hyper: Hyper, state: State, confidence: Array) -> State:
    """Counts the frame, and opens the search for scale where the profile has it gated."""
    time = state.time + 1
    least = jnp.minimum(state.least_confidence, confidence)
    scaling = state.scaling
    if config.scaling == "gated":
        sure, large, small, too_sure = hyper.scale_gates
        width = state.size[0] / UNIT
        opened = ((least > sure) & (least <= too_sure)) | ((least > large) & (width > 0.6))
        opened = opened | ((least > small) & (width < 0.3))
        scaling = scaling | (opened & (time == config.interval))
    return state._replace(time=time, least_confidence=least, scaling=scaling)


def _remember(
    config: Config,
    hyper: Hyper,
    state: State,
    maps: dict[str, Array],
    region: Box,
    confidence: Array,
    teaches: Array,
    distracted: Array,
) -> State:
    """Keeps what SNet may learn from this frame, and says whether it should."""
    memory = state.memory
    if memory is None:
        return state
    target, background = _wanted(config, state.box, region)
    present = Sample(_finite(maps["specific"]), target, background)
    trusted = confidence > hyper.trusted_above
    better = trusted & teaches & (confidence > memory.best_confidence)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), present, memory.best)
    best_confidence = jnp.where(better, confidence, memory.best_confidence)
    adapt = (state.time % config.interval == 0) & (best_confidence > hyper.trusted_above)
    discriminate = distracted & trusted
    memory = Memory(memory.first, best, present, best_confidence, adapt, discriminate)
    return state._replace(memory=memory, due=adapt | discriminate)


def _score(
    config: Config, hyper: Hyper, heat: dict[str, Array], decided: Array, box: Box, region: Box
) -> Array:
    """How warm the box is on the map that decided: a logistic curve of the heat over that of a target."""
    chosen = jnp.where(decided == 0, heat["specific"], heat["general"])
    cells = heat_map.on_map(box, region, config.grid)
    mean, _ = heat_map.candidate_scores(jnp.maximum(chosen, 0), cells[None], 1.0)
    slope, middle = hyper.confidence
    return jax.nn.sigmoid(slope * jnp.log(jnp.maximum(mean[0] / IDEAL, 1e-6) / middle))


def _there[T](value: T | None) -> T:
    assert value is not None
    return value
