"""DeepTrack: a small convolutional network learnt online from nothing (Li, Li and Porikli, TIP 2016).

A network of three image cues scores 1500 candidates around the last box; the best is the target. It is
trained on what it has seen itself: the target's patches over a long time, the background's over a short one,
each weighed by its overlap and by how far its frame is trusted, and only when the loss has grown (lazy
update).
There is no released code, and the paper's Algorithm 1 is a figure: what it leaves open is a field here.

Profiles (`PROFILES`): `paper`; `default`, what measures best; and `ABLATIONS`, which are `default` without a
part of the paper each.

Bytes per target: 3 KiB a stored patch and cue in float16, by default 1000 + 500 of three: 9.2 MB, and 159 KB
of network.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtrack import checks
from jtrack.backbones import Backbone
from jtrack.errors import unknown_name
from jtrack.learning import cue_network, iterative_sgd, sample_pool, structural_loss
from jtrack.learning.cue_network import SIDE, Network
from jtrack.learning.iterative_sgd import Batch, Rates
from jtrack.learning.sample_pool import Pool
from jtrack.types import Array, Box, Frame, Key, Output, Profile, Scalar, Tracker, Vector, variant
from jtrack.vision import boxes
from jtrack.vision.colour import grey, hsv
from jtrack.vision.contrast import gradient_magnitude, local_contrast, stretch
from jtrack.vision.crop import crop
from jtrack.vision.particles import gaussian_particles

CHUNK = 100  # candidates scored together: what the processor's cache holds
# Cues and the ranges they keep to, those of a quarter of full contrast at most or of three deviations.
CUES = {
    "contrast": (-3.0, 3.0),
    "contrast_wide": (-3.0, 3.0),
    "hue": (0.0, 1.0),
    "value": (0.0, 1.0),
    "grey": (0.0, 255.0),
    "redness": (-0.5, 0.5),
    "yellowness": (-0.5, 0.5),
    "gradient": (0.0, 64.0),
}
DARK = 0.2  # value below which colours fade out of redness and yellowness
GREY_CUES = ("contrast", "contrast_wide", "gradient")
COLOUR_CUES = ("hue", "value", "gradient")


@dataclasses.dataclass(frozen=True)
class Config:
    """What fixes shapes and control flow; static under jit."""

    grey_cues: tuple[str, ...] = GREY_CUES  # of a grey video, out of CUES
    colour_cues: tuple[str, ...] = COLOUR_CUES  # as many, of a video in colour
    cue_range: tuple[float, float] = (0.0, 10.0)  # of the network's input
    cue_scaling: Literal["region", "fixed"] = "region"  # that range is the region's own, or the cue's
    region: float = 5.0  # sides of the region that candidates are cut from, over the target's
    context: float = 1.0  # sides of what the network sees of a candidate, over the candidate's
    candidates: int = 1500  # a multiple of CHUNK
    readout: Literal["best", "mean"] = "best"  # the candidate, or the mean of those that score nearly as high
    positives: int = 1000  # capacity of the target's pool
    negatives: int = 500  # capacity of the background's pool
    negatives_per_frame: int = 150
    hard: float = 0.0  # share of them that are those with the highest scores; the others are drawn
    positives_per_frame: int = 1  # the estimated box, and others that overlap it by more than half
    first_positives: int = 50  # samples of the first frame that overlap the target by more than half
    first_negatives: int = 150  # ... and of its background
    batch: int = 64  # half target, of which half is mirrored, half background
    first_budget: int = 1000  # cycles of training on the first frame at most
    budget: int = 100  # ... on a later frame
    schedule: Literal["iterative", "joint"] = "iterative"
    importance: Literal["structural", "uniform"] = "structural"
    trust: bool = True  # whether frames are drawn by their quality (label noise)
    lazy: bool = True  # whether only a grown loss starts a training
    info: bool = False  # put candidates, scores, cues, quality, loss and what is due into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "candidates", "positives", "negatives", "batch", "positives_per_frame")
        checks.at_least(1, self, "negatives_per_frame", "first_positives", "first_negatives")
        checks.at_least(0, self, "first_budget", "budget")  # 0 leaves the network as it is
        checks.require(
            self.candidates > 0 and self.candidates % CHUNK == 0,
            f"deeptrack scores candidates {CHUNK} at a time: candidates must be a multiple of that, not "
            f"{self.candidates}",
        )
        checks.require(
            self.batch > 0 and self.batch % 4 == 0,
            f"a batch of deeptrack is a quarter target, a quarter mirrored target and half background: batch "
            f"must be a multiple of 4, not {self.batch}",
        )
        most = max(self.first_negatives, self.negatives_per_frame)
        checks.require(
            most <= self.negatives,
            f"a frame of deeptrack may add {most} samples of the background, but its pool holds only "
            f"{self.negatives}: raise negatives",
        )
        checks.require(
            len(self.grey_cues) == len(self.colour_cues) > 0,
            f"deeptrack has one network for grey and colour videos: it needs as many grey_cues "
            f"({len(self.grey_cues)}) as colour_cues ({len(self.colour_cues)})",
        )
        for cue in (*self.grey_cues, *self.colour_cues):
            if cue not in CUES:
                raise unknown_name("cue of deeptrack", cue, CUES)

    def for_target(self, box: Box, frame_size: tuple[int, int]) -> "Config":
        """The same config: no shape follows the target."""
        del box, frame_size
        return self


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept."""

    # [2] pixels: the candidates' standard deviation in x and y at least and at most
    position_limit: Vector = (0.0, 10.0)
    position_share: Scalar = 0.5  # () ... and, within these, over the target's height
    # "0.01 h" on s = h / 32 would be a third of the size: taken as one percent of it.
    scale_deviation: Scalar = 0.01  # () of the logarithm of the candidates' scale
    reach: Scalar = 1e6  # () sides of the target: standard deviation of its step, by which scores are weighed
    slope: Scalar = 1.0  # () of the importance (`structural_loss.importance`)
    beta: Scalar = 0.0025  # () squared errors up to it are cut; 0 cuts none
    tightening: Scalar = 3.0  # () u: on the target, those up to beta / (1 + u)
    decay: Scalar = 10.0  # () of the chance to draw the background of an earlier frame, per frame^2
    near_best: Scalar = 0.75  # () v: candidates above this share of the best score tell a frame's quality
    tolerance: Scalar = 5e-3  # () epsilon: training ends at this loss, and starts above twice this
    learning_rate: Scalar = 5e-2  # () r, of the cues
    fusion_rate: Scalar = 5e-3  # () of the fusion layer
    momentum: Scalar = 0.0  # ()
    # () norm to which a longer one is cut: the paper does not, and this never should
    longest_gradient: Scalar = 10.0
    # Fitted to overlap above one half on real sequences, for `default`.
    # [2] slope and middle of the logistic curve from the best score's log to the output's
    confidence: Vector = (0.95, 0.03)
    lost_below: Scalar = 0.2  # () `Output.score` under which the target counts as lost


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    box: Box  # [4] float32
    colour: Array  # () bool: whether the video is in colour
    network: Network
    positives: Pool
    negatives: Pool
    time: Array  # () int32: number of the frame
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


def _paper(backbone: Backbone) -> Profile:
    """The text: the numbers it prints."""
    del backbone
    return Profile(Config(), Hyper())


def _default(backbone: Backbone) -> Profile:
    """Recommended: fixed cue ranges, opponent colours, momentum, the mean of the best candidates.

    Cues keep fixed ranges around 0, so that what passes by does not change how the target looks, and hue,
    which is noise where colours are pale, gives way to two opponent colours. Momentum trains in fewer cycles.
    The box is the mean of the best candidates, weighed by how likely so long a step is, and each frame adds
    several overlapping patches of the target, and the background that scored highest. The first frame fills
    the background's pool, with much of it next to the target.
    """
    del backbone
    config = Config(
        grey_cues=("contrast", "contrast_wide", "grey", "gradient"),
        colour_cues=("value", "redness", "yellowness", "gradient"),
        cue_range=(-1.0, 1.0),
        cue_scaling="fixed",
        candidates=500,
        readout="mean",
        hard=0.5,
        positives_per_frame=4,
        first_positives=200,
        first_negatives=500,
        first_budget=250,
        budget=10,
    )
    return Profile(
        config,
        Hyper(reach=0.6, slope=10.0, decay=0.1, learning_rate=0.01, fusion_rate=0.01, momentum=0.9),
    )


# `default` with something else in the place of a part of the paper.
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "one-cue": (
        "gradients alone instead of several cues",
        {"grey_cues": ("gradient",), "colour_cues": ("gradient",)},
    ),
    "uniform": ("no structural importance, all samples count alike", {"importance": "uniform"}),
    "slope-1": ("structural importance as printed", {"slope": 1.0}),
    "sigma-10": (
        "background weighed by its age as printed, so that only the last frame's counts",
        {"decay": 10.0},
    ),
    "untruncated": ("small errors are not cut off", {"beta": 0.0}),
    "ageless": ("background is drawn whatever its age", {"decay": 0.0}),
    "trusting": ("no label noise, all frames are trusted alike", {"trust": False}),
    "eager": ("no lazy update, every frame trains", {"lazy": False}),
    "joint": ("all cues are trained at once on the fused loss", {"schedule": "joint"}),
}
PROFILES: dict[str, Callable[[Backbone], Profile]] = {"default": _default, "paper": _paper}
for _name, (_about, _changes) in ABLATIONS.items():
    PROFILES[_name] = variant(_default, f"Ablation of default: {_about}.", **_changes)


def deeptrack(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: `none`: the network is learnt from the video alone. Its precision is that of scoring.
      config: structure.

    Returns:
      A `Tracker`. Its score is a logistic curve of the best candidate's (`Hyper.confidence`).
    """

    def init(params: dict, key: Key, frame: Frame, box: Box) -> State:
        return _init(config, params["tracker"], key, frame, box)

    def step(params: dict, state: State, frame: Frame) -> tuple[State, Output]:
        return _step(config, backbone.precision, params["tracker"], state, frame)

    def learn(params: dict, state: State) -> State:
        return _learn(config, params["tracker"], state, config.budget)

    return Tracker(init, step, learn)


def _init(config: Config, hyper: Hyper, key: Key, frame: Frame, box: Box) -> State:
    key, weights_key, near_key, far_key = jax.random.split(key, 4)
    cues = len(config.grey_cues)
    shape = SIDE, SIDE, cues
    state = State(
        box=box,
        colour=_in_colour(frame, box),
        network=cue_network.random_network(weights_key, cues, config.cue_range),
        positives=sample_pool.empty(config.positives, shape),
        negatives=sample_pool.empty(config.negatives, shape),
        time=jnp.zeros((), jnp.int32),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )
    image = _cues(config, frame, box, state.colour)
    sure = jnp.ones((), jnp.float32)
    positives = _foreground(near_key, box, config.first_positives)
    none = jnp.zeros(0, jnp.float32)
    nobody = jnp.broadcast_to(box, (0, 4))
    far = _background(config, config.first_negatives, far_key, box, nobody, none)
    state = _remember(config, hyper, state, image, box, (positives, far), sure)
    return _learn(config, hyper, state, config.first_budget)


def _step(config: Config, precision: str, hyper: Hyper, state: State, frame: Frame) -> tuple[State, Output]:
    key, search_key, near_key, far_key, draw_key = jax.random.split(state.key, 5)
    image = _cues(config, frame, state.box, state.colour)
    candidates = _candidates(config, hyper, search_key, state.box, frame)
    outputs = _score(config, precision, state.network, image, candidates, state.box)
    scores = structural_loss.score(outputs)
    step = (boxes.centre(candidates) - boxes.centre(state.box)[None]) / jnp.sqrt(state.box[2:].prod())
    likely = jnp.exp(-jnp.sum(step**2, axis=-1) / (2 * hyper.reach**2))
    scores = scores * jnp.where(scores > 0, likely, 1)
    best = jnp.argmax(scores)
    box = candidates[best] if config.readout == "best" else _mean(hyper, candidates, scores)
    overlap = boxes.iou(candidates, box[None])
    quality = _quality(config, hyper, outputs, scores, overlap)

    near = _foreground(near_key, box, config.positives_per_frame - 1)
    far = _background(config, config.negatives_per_frame, far_key, box, candidates, scores)
    state = state._replace(time=state.time + 1, key=key)
    state = _remember(config, hyper, state, image, state.box, (near, far), quality)
    loss = _loss(config, hyper, state, draw_key)
    due = loss > 2 * hyper.tolerance if config.lazy else jnp.ones((), jnp.bool_)

    slope, middle = hyper.confidence
    score = jax.nn.sigmoid(slope * (jnp.log(jnp.maximum(scores[best], 0.01)) - middle))
    info = {}
    if config.info:
        info = {"candidates": candidates, "scores": scores, "cues": image}
        info |= {"quality": quality, "loss": loss, "due": due}
    return state._replace(box=box, due=due), Output(box, score, score < hyper.lost_below, info)


def _learn(config: Config, hyper: Hyper, state: State, budget: int) -> State:
    key, train_key = jax.random.split(state.key)
    done = iterative_sgd.train(
        train_key,
        state.network,
        lambda key: _draw(config, hyper, state, key),
        _rates(hyper),
        tolerance=hyper.tolerance,
        budget=budget,
        schedule=config.schedule,
    )
    return state._replace(network=done.network, key=key, due=jnp.zeros((), jnp.bool_))


def _rates(hyper: Hyper) -> Rates:
    return Rates(
        hyper.learning_rate,
        hyper.fusion_rate,
        hyper.momentum,
        hyper.beta,
        hyper.tightening,
        hyper.longest_gradient,
    )


def _in_colour(frame: Frame, box: Box) -> Array:
    """Whether the target or what is around it has colour at all: a grey video has three equal channels."""
    patch = crop(frame, boxes.scale_about_centre(box, 5.0), (SIDE, SIDE))
    return jnp.ptp(patch, axis=-1).max() > 8


def _region(config: Config, box: Box) -> Box:
    """The window [4] around a box that candidates are cut from."""
    return boxes.scale_about_centre(box, config.region)


def _cues(config: Config, frame: Frame, box: Box, colour: Array) -> Array:
    """The cues [R, R, K] of the region around a box: SIDE pixels to `context` sides of the target.

    Smoothing is the paper's .1 h and .15 h, by the target's height in these pixels.
    """
    target = SIDE / config.context
    side = round(config.region * target)
    window = _region(config, box)
    image = crop(frame, window, (side, side), method="imresample", max_shrink=frame.pixels.shape[0] / target)
    light = grey(image)
    hue, saturation, value = jnp.moveaxis(hsv(image), -1, 0)
    # In the dark saturation is noise: it counts less there.
    angle, chroma = 2 * jnp.pi * hue, saturation * value * (1 + DARK) / (value + DARK)
    known = {
        "contrast": lambda: local_contrast(light, 0.1 * target, 0.1 * target),
        "contrast_wide": lambda: local_contrast(light, 0.15 * target, 0.15 * target),
        "hue": lambda: hue,
        "value": lambda: value,
        "grey": lambda: light,
        "redness": lambda: chroma * jnp.cos(angle),
        "yellowness": lambda: chroma * jnp.sin(angle),
        "gradient": lambda: gradient_magnitude(light),
    }
    low, high = config.cue_range

    def scaled(name: str) -> Array:
        cue = known[name]()
        if config.cue_scaling == "region":
            return low + stretch(cue, high - low)
        bottom, top = CUES[name]
        return low + (high - low) * jnp.clip((cue - bottom) / (top - bottom), 0, 1)

    made = {name: scaled(name) for name in sorted({*config.grey_cues, *config.colour_cues})}
    greys, colours = (
        jnp.stack([made[name] for name in names], axis=-1) for names in (config.grey_cues, config.colour_cues)
    )
    return jnp.where(colour, colours, greys)


def _patches(config: Config, image: Array, windows: Box, box: Box) -> Array:
    """Cuts windows [N, 4] of the frame, with their context, out of the cues [R, R, K] around a box."""
    windows = boxes.scale_about_centre(windows, config.context)
    region = _region(config, box)
    unit = SIDE / (config.context * box[2:])
    within = jnp.concatenate(
        [(windows[:, :2] - region[None, :2]) * unit[None], windows[:, 2:] * unit[None]], axis=-1
    )
    whole = Frame(image, jnp.array(image.shape[:2], jnp.int32))
    return jax.vmap(lambda window: crop(whole, window, (SIDE, SIDE)))(within)


def _candidates(config: Config, hyper: Hyper, key: Key, box: Box, frame: Frame) -> Box:
    """Candidates [N, 4] around the last box, itself the first; their centres stay in the frame."""
    deviation = jnp.clip(hyper.position_share * box[3], *hyper.position_limit)
    drawn = gaussian_particles(key, box, config.candidates, std_xy=deviation, std_scale=hyper.scale_deviation)
    drawn = drawn.at[0].set(box)
    extent = frame.size[::-1].astype(jnp.float32)
    # A target of less than two pixels, or larger than the frame, could never grow or shrink back.
    factor = jnp.clip(drawn[:, 2:], 2.0, jnp.maximum(extent, 2.0)[None]) / drawn[:, 2:]
    smallest, largest = factor.max(axis=-1, keepdims=True), factor.min(axis=-1, keepdims=True)
    size = drawn[:, 2:] * jnp.where(smallest > 1, smallest, largest)
    centre = jnp.clip(boxes.centre(drawn), 0, extent[None])
    return boxes.from_centre(centre, size)


def _score(
    config: Config, precision: str, network: Network, image: Array, candidates: Box, box: Box
) -> Array:
    """The network's outputs [N, 2] for the candidates."""
    network = cue_network.with_convolutions_in(network, precision)

    def outputs(windows: Box) -> Array:
        return cue_network.output(network, _patches(config, image, windows, box))

    return lax.map(outputs, candidates.reshape(-1, CHUNK, 4)).reshape(-1, 2)


def _importance(config: Config, hyper: Hyper, overlap: Array) -> Array:
    if config.importance == "uniform":
        return jnp.ones_like(overlap)
    return structural_loss.importance(overlap, hyper.slope)


def _quality(config: Config, hyper: Hyper, outputs: Array, scores: Array, overlap: Array) -> Array:
    """How far the labels of this frame are trusted ()."""
    if not config.trust:
        return jnp.ones((), jnp.float32)
    label = structural_loss.label(overlap)
    losses = structural_loss.truncated(outputs - label, label, beta=hyper.beta, tightening=hyper.tightening)
    weights = _importance(config, hyper, overlap)
    return structural_loss.quality(scores, losses, weights, share=hyper.near_best)


def _mean(hyper: Hyper, candidates: Box, scores: Array) -> Box:
    """The mean box [4] of the candidates that score nearly as high as the best."""
    best = scores.max()
    weights = jnp.maximum(scores - hyper.near_best * jnp.abs(best), 0)
    weights = jnp.where(weights.sum() > 0, weights, (scores == best).astype(jnp.float32))
    weights = weights / weights.sum()
    size = jnp.exp(weights @ jnp.log(candidates[:, 2:]))
    return boxes.from_centre(weights @ boxes.centre(candidates), size)


def _foreground(key: Key, box: Box, count: int) -> Box:
    """The box itself and others that overlap it by more than half [1 + count, 4]."""
    near = gaussian_particles(key, box, 4 * count, std_xy=box[2:] / 8, std_scale=0.05)
    inside = jnp.where(boxes.iou(near, box[None]) > 0.5, 1, 0)
    # The target itself stands in where too few overlap it.
    near = jnp.where(inside[:, None] > 0, near, box[None])[lax.top_k(inside, count)[1]]
    return jnp.concatenate([box[None], near])


def _background(config: Config, count: int, key: Key, box: Box, candidates: Box, scores: Array) -> Box:
    """Boxes [count, 4] that overlap the target by at most half: candidates, and if too few, others.

    A slow target's candidates may all be on it; the others are spread over the region, dense around the
    target: what is far from it is soon learnt, and teaches nothing of where it ends.
    """
    spread_key, choice_key = jax.random.split(key)
    reach = box[2:] * (config.region - config.context) / 2
    shift = jax.random.uniform(spread_key, (4 * count, 2), minval=-1, maxval=1)
    shift = shift * jnp.abs(shift) * reach[None]
    others = jnp.concatenate([box[None, :2] + shift, jnp.broadcast_to(box[2:], shift.shape)], axis=-1)
    every = jnp.concatenate([candidates, others])
    usable = boxes.iou(every, box[None]) <= 0.5
    rank = jax.random.uniform(choice_key, (len(every),)).at[: len(candidates)].add(1)
    hard = round(config.hard * count) if len(candidates) else 0
    if hard:
        hardest = lax.top_k(jnp.where(usable[: len(scores)], scores, -jnp.inf), hard)[1]
        rank = rank.at[hardest].add(2)
    return every[lax.top_k(jnp.where(usable, rank, -1), count)[1]]


def _remember(
    config: Config,
    hyper: Hyper,
    state: State,
    image: Array,
    region_of: Box,
    samples: tuple[Box, Box],
    quality: Array,
) -> State:
    """Puts patches of the target and of the background of one frame into the pools.

    Args:
      config: structure.
      hyper: hyper-parameters.
      state: whose `time` is the frame's.
      image: the cues [R, R, K].
      region_of: the box they are around.
      samples: boxes of the target [n, 4], the estimated box first, and of the background [m, 4].
      quality: () how far the frame is trusted.
    """
    target = samples[0][0]
    pools = []
    for pool, windows in zip((state.positives, state.negatives), samples, strict=True):
        weight = _importance(config, hyper, boxes.iou(windows, target[None]))
        patches = _patches(config, image, windows, region_of)
        pools.append(sample_pool.add(pool, patches, weight, quality, state.time))
    return state._replace(positives=pools[0], negatives=pools[1])


def _draw(config: Config, hyper: Hyper, state: State, key: Key) -> Batch:
    """A batch: a quarter of the target, the same mirrored, and half of the background."""
    positive_key, negative_key = jax.random.split(key)
    quarter, half = config.batch // 4, config.batch // 2
    ages = sample_pool.weights(state.positives, state.time, 0.0)
    of_target = sample_pool.draw(positive_key, ages, quarter)
    ages = sample_pool.weights(state.negatives, state.time, hyper.decay)
    of_background = sample_pool.draw(negative_key, ages, half)
    target = state.positives.patches[of_target]
    patches = jnp.concatenate([target, target[:, :, ::-1], state.negatives.patches[of_background]])
    weight = state.positives.importance[of_target]
    is_target = jnp.arange(config.batch) < half
    return Batch(
        patches.astype(jnp.float32),
        structural_loss.label(is_target.astype(jnp.float32)),
        jnp.concatenate([weight, weight, state.negatives.importance[of_background]]),
    )


def _loss(config: Config, hyper: Hyper, state: State, key: Key) -> Array:
    """The fused loss () of a freshly drawn batch."""
    batch = _draw(config, hyper, state, key)
    return iterative_sgd.loss(cue_network.output(state.network, batch.patches), batch, _rates(hyper))
