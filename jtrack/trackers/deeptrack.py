"""DeepTrack: a small convolutional network learnt online from nothing (Li, Li and Porikli, TIP 2016).

A network of three image cues scores 1500 candidates around the last box; the best is the target. It is
trained on patches of the video itself: the target's of a long time, the background's of a short one, each
weighed by its overlap and by the quality of its frame, and only when the loss has grown (lazy
update).
There is no released code, and the paper's Algorithm 1 is a figure: what it leaves open is a field here.

Profiles (`PROFILES`): `paper`; `default`, what measures best; `differentiable`; and `ABLATIONS`, which are
`default` without a part of the paper each.

Bytes per target: 3 KiB a stored patch and cue in float16, by default 1000 + 500 of three: 9.2 MB, and 159 KB
of network.
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
from jtrack.components import calibration, cue_patches, motion, samples
from jtrack.components.decisions import Hard, Soft
from jtrack.components.localisation import BestCandidate, MeanOfBest
from jtrack.components.shapes import FixedShapes
from jtrack.learning import cue_network, iterative_sgd, replay_buffer, structural_loss
from jtrack.learning.cue_network import SIDE, Network
from jtrack.learning.iterative_sgd import Rates
from jtrack.learning.replay_buffer import ReplayBuffer
from jtrack.learning.structural_loss import Structural, Uniform
from jtrack.precision import PRECISIONS
from jtrack.types import Array, Box, Frame, Key, Output, Profile, PyTree, Scalar, Tracker, Vector, ablations
from jtrack.vision import boxes, cues
from jtrack.vision.cues import AsFilmed, AsWarped, Fixed, Stretched

CHUNK = 100  # candidates scored together: what the processor's cache holds


@dataclass(frozen=True)
class Config(FixedShapes):
    """What fixes shapes and control flow; static under jit."""

    # Of `vision.cues`, for a grey video, and as many for one in colour.
    grey_cues: tuple[str, ...] = ("contrast", "contrast_wide", "gradient")
    colour_cues: tuple[str, ...] = ("hue", "value", "gradient")
    cue_range: Stretched | Fixed = Stretched(0.0, 10.0)  # of the network's input
    geometry: AsWarped | AsFilmed = (
        AsWarped()
    )  # of the cues: the region's, whose target is a square, or the frame's
    region: float = 5.0  # sides of the region that candidates are cut from, over the target's
    context: float = 1.0  # sides of what the network sees of a candidate, over the candidate's
    candidates: int = 1500  # a multiple of CHUNK
    localisation: BestCandidate | MeanOfBest = BestCandidate()
    positives: int = 1000  # capacity of the target's replay buffer
    negatives: int = 500  # capacity of the background's
    negatives_per_frame: int = 150
    hard: float = 0.0  # share of them that are those with the highest scores; the others are drawn
    positives_per_frame: int = 1  # the estimated box, and others that overlap it by more than half
    first_positives: int = 50  # of the first frame, beside the target; they overlap it by more than half
    first_negatives: int = 150  # ... and of its background
    batch: int = 64  # half target, of which half is mirrored, half background
    first_budget: int = 1000  # cycles of training on the first frame at most
    budget: int = 100  # ... on a later frame
    decisions: Hard | Soft = Hard()  # of the best candidate; soft, trainings have a fixed length, too
    schedule: Literal["iterative", "joint"] = "iterative"
    importance: Structural | Uniform = Structural()
    label_noise: bool = True  # whether frames are drawn by their quality
    info: bool = False  # put candidates, scores, cues, quality, loss and what is due into `Output.info`

    def __post_init__(self) -> None:
        checks.choices(self)
        checks.at_least(1, self, "candidates", "positives", "negatives", "batch", "positives_per_frame")
        checks.at_least(1, self, "negatives_per_frame", "first_negatives")
        checks.at_least(0, self, "first_positives", "first_budget", "budget")  # 0 leaves the network as it is
        checks.require(
            self.candidates % CHUNK == 0,
            f"deeptrack scores candidates {CHUNK} at a time: candidates must be a multiple of that, not "
            f"{self.candidates}",
        )
        checks.require(
            self.batch % 4 == 0,
            f"a batch of deeptrack is a quarter target, a quarter mirrored target and half background: batch "
            f"must be a multiple of 4, not {self.batch}",
        )
        most = max(self.first_negatives, self.negatives_per_frame)
        checks.require(
            most <= self.negatives,
            f"a frame of deeptrack may add {most} samples of the background, but its buffer holds only "
            f"{self.negatives}: raise negatives",
        )
        checks.require(
            len(self.grey_cues) == len(self.colour_cues) > 0,
            f"deeptrack has one network for grey and colour videos: it needs as many grey_cues "
            f"({len(self.grey_cues)}) as colour_cues ({len(self.colour_cues)})",
        )
        cues.check((*self.grey_cues, *self.colour_cues))


class Hyper(NamedTuple):
    """Numeric hyper-parameters: traced, so they can be swept."""

    # [2] pixels: the candidates' standard deviation in x and y at least and at most
    position_limit: Vector = (0.0, 10.0)
    position_share: Scalar = 0.5  # () the same over the target's height, within these limits
    # "0.01 h" on s = h / 32 would be a third of the size: taken as one percent of it.
    scale_deviation: Scalar = 0.01  # () of the logarithm of the candidates' scale
    # () sides of the target: standard deviation of its step, by which scores are weighed
    motion_deviation: Scalar = 1e6
    slope: Scalar = 1.0  # () of the importance (`structural_loss.importance`)
    beta: Scalar = 0.0025  # () squared errors up to it are cut; 0 cuts none
    tightening: Scalar = 3.0  # () u: on the target, those up to beta / (1 + u)
    decay: Scalar = 10.0  # () of the chance to draw the background of an earlier frame, per frame^2
    near_best: Scalar = 0.75  # () v: candidates above this share of the best score tell a frame's quality
    tolerance: Scalar = 5e-3  # () epsilon: training ends at this loss
    loss_rate: Scalar = (
        1.0  # () of the moving mean of the batches' losses that it ends by; 1: by the last batch's
    )
    learning_rate: Scalar = 5e-2  # () r, of the cues
    fusion_learning_rate: Scalar = 5e-3  # () of the fusion layer
    momentum: Scalar = 0.0  # ()
    retrain_above: Scalar = 2.0  # () losses above so many tolerances start a training; negative: every frame
    # () to which a longer gradient is clipped: the paper does not, and this never should
    max_gradient_norm: Scalar = 10.0
    # Fitted to overlap above one half on real sequences, for `default`.
    # [2] slope and middle of the logistic curve from the best score's log to the output's
    confidence: Vector = (0.95, 0.03)
    lost_below: Scalar = 0.2  # () `Output.score` under which the target counts as lost


class State(NamedTuple):
    """What is learnt and remembered of one target."""

    box: Box  # [4] float32
    colour: Array  # () bool: whether the video is in colour
    network: Network
    positives: ReplayBuffer
    negatives: ReplayBuffer
    time: Array  # () int32: number of the frame
    key: Key
    due: Array  # () bool: whether `learn` is to be applied


def _paper(backbone: Backbone) -> Profile[Config, Hyper]:
    """The text: the numbers it prints.

    What is read into them is not settled by experiment: the range of a cue in each region (`cue_range`), cues
    of the warped region (`geometry`), a slope of 1 although importance is said to reach 1 (`slope`), the many
    positives of the first frame, the best candidate, and a training that one batch may end (`loss_rate`).
    """
    del backbone
    return Profile(Config(), Hyper())


def _default(backbone: Backbone) -> Profile[Config, Hyper]:
    """Recommended: fixed cue ranges, opponent colours, momentum, the mean of the best candidates.

    Cues keep fixed ranges around 0, so that what passes by does not change how the target looks, and hue,
    which is noise where colours are pale, gives way to two opponent colours. Momentum trains in fewer cycles.
    The box is the mean of the best candidates, weighed by how likely so long a step is, and each frame adds
    several overlapping patches of the target, and the background that scored highest. The first frame fills
    the background's buffer, with much of it next to the target.
    """
    del backbone
    config = Config(
        grey_cues=("contrast", "contrast_wide", "grey", "gradient"),
        colour_cues=("value", "redness", "yellowness", "gradient"),
        cue_range=Fixed(-1.0, 1.0),
        candidates=500,
        localisation=MeanOfBest(),
        hard=0.5,
        positives_per_frame=4,
        first_positives=200,
        first_negatives=500,
        first_budget=250,
        budget=10,
    )
    return Profile(
        config,
        Hyper(
            motion_deviation=0.6,
            slope=10.0,
            decay=0.1,
            learning_rate=0.01,
            fusion_learning_rate=0.01,
            momentum=0.9,
        ),
    )


def _differentiable(backbone: Backbone) -> Profile[Config, Hyper]:
    """Of default, without what has no derivative: trainings of fixed length in every frame, a soft peak.

    The network's corners are rounded: the steps of a training jump where a ReLU turns over. Frames are drawn
    alike, whatever their quality, errors are not truncated, and patches are kept in full precision. Constants
    of the derivative: the candidates and samples that are drawn, which of them count as target, the batches,
    whether the video is in colour, and `Output.lost`.
    """
    changes: dict[str, Any] = {
        "decisions": Soft(),
        "localisation": BestCandidate(),
        "label_noise": False,
        "first_budget": 100,
        "budget": 3,
        "beta": 0.0,
        "retrain_above": -1.0,
    }
    return _default(backbone).replace(**changes)


# `default` with something else in the place of a part of the paper.
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "one-cue": (
        "gradients alone instead of several cues",
        {"grey_cues": ("gradient",), "colour_cues": ("gradient",)},
    ),
    "uniform": ("no structural importance, all samples count alike", {"importance": Uniform()}),
    "slope-1": ("structural importance as printed", {"slope": 1.0}),
    "sigma-10": (
        "background weighed by its age as printed, so that only the last frame's counts",
        {"decay": 10.0},
    ),
    "untruncated": ("small errors are not cut off", {"beta": 0.0}),
    "ageless": ("background is drawn whatever its age", {"decay": 0.0}),
    "trusting": ("no label noise, all frames are drawn alike", {"label_noise": False}),
    "eager": ("no lazy update, every frame trains", {"retrain_above": -1.0}),
    "joint": ("all cues are trained at once on the fused loss", {"schedule": "joint"}),
}
PROFILES: dict[str, Callable[[Backbone], Profile[Config, Hyper]]] = {
    "default": _default,
    "differentiable": _differentiable,
    "paper": _paper,
    **ablations("default", _default, ABLATIONS),
}


def deeptrack(backbone: Backbone, config: Config) -> Tracker:
    """Makes the tracker's functions.

    Args:
      backbone: `none`: the network is learnt from the video alone. Its precision is that of scoring.
      config: structure.

    Returns:
      A `Tracker`. Its score is a logistic curve of the best candidate's (`Hyper.confidence`).
    """
    return Tracker(
        init=functools.partial(_init, config),
        step=functools.partial(_step, config, backbone.precision),
        learn=functools.partial(_learn, config, config.budget),
    )


def _init(config: Config, params: PyTree, key: Key, frame: Frame, box: Box) -> State:
    key, weights_key, near_key, far_key = jax.random.split(key, 4)
    shape, dtype = (SIDE, SIDE, len(config.grey_cues)), box.dtype
    empty = functools.partial(replay_buffer.empty, half=not config.decisions.differentiable)
    state = State(
        box=box,
        colour=cue_patches.in_colour(frame, box),
        network=cue_network.random_network(
            weights_key, shape[2], (config.cue_range.low, config.cue_range.high), dtype
        ),
        positives=empty(config.positives, shape, dtype),
        negatives=empty(config.negatives, shape, dtype),
        time=jnp.zeros((), jnp.int32),
        key=key,
        due=jnp.zeros((), jnp.bool_),
    )
    image = _cues(config, frame, box, state.colour)
    near = samples.overlapping(near_key, box, config.first_positives)
    margin = (config.region - config.context) / 2
    far = samples.beside(far_key, box, config.first_negatives, margin)
    state = _remember(config, params["tracker"], state, image, box, (near, far), jnp.ones((), dtype))
    return _learn(config, config.first_budget, params, state)


def _step(config: Config, precision: str, params: PyTree, state: State, frame: Frame) -> tuple[State, Output]:
    hyper = params["tracker"]
    key, search_key, near_key, far_key, draw_key = jax.random.split(state.key, 5)
    image = _cues(config, frame, state.box, state.colour)
    candidates = motion.clipped_candidates(
        search_key,
        state.box,
        config.candidates,
        jnp.clip(hyper.position_share * state.box[3], *hyper.position_limit),
        hyper.scale_deviation,
        frame.size,
    )
    network = state.network
    if precision == "bfloat16":
        network = cue_network.with_convolutions_in(network, "bfloat16")
    corner = config.decisions.width

    def classify(windows: Box) -> Array:
        patches = _patches(config, image, windows, state.box)
        return cue_network.output(network, patches, PRECISIONS[precision], corner=corner)

    outputs = lax.map(classify, candidates.reshape(-1, CHUNK, 4)).reshape(-1, 2)
    scores = structural_loss.score(outputs)
    step = (boxes.centre(candidates) - boxes.centre(state.box)[None]) / jnp.sqrt(state.box[2:].prod())
    likely = jnp.exp(-jnp.sum(step**2, axis=-1) / (2 * hyper.motion_deviation**2))
    scores = scores * jnp.where(scores > 0, likely, 1)
    highest = scores[jnp.argmax(scores)]
    box = config.localisation.box(candidates, scores, hyper.near_best, config.decisions)
    quality = jnp.ones((), scores.dtype)
    if config.label_noise:
        overlap = boxes.iou(candidates, box[None])
        label = structural_loss.label(overlap)
        losses = structural_loss.truncated(
            outputs - label, label, beta=hyper.beta, tightening=hyper.tightening
        )
        weights = config.importance.of(overlap, hyper.slope)
        quality = structural_loss.quality(scores, losses, weights, share=hyper.near_best)

    near = samples.overlapping(near_key, box, config.positives_per_frame - 1)
    hard = round(config.hard * config.negatives_per_frame)
    margin = (config.region - config.context) / 2
    far = samples.beside(
        far_key, box, config.negatives_per_frame, margin, candidates=candidates, scores=scores, hard=hard
    )
    state = state._replace(time=state.time + 1, key=key)
    state = _remember(config, hyper, state, image, state.box, (near, far), quality)
    batch = iterative_sgd.draw_batch(
        draw_key, state.positives, state.negatives, state.time, count=config.batch, decay=hyper.decay
    )
    predicted = cue_network.output(state.network, batch.patches, corner=corner)
    loss = iterative_sgd.loss(predicted, batch, rates(hyper))
    due = loss > hyper.retrain_above * hyper.tolerance

    slope, middle = hyper.confidence
    confidence = calibration.logistic(jnp.log(jnp.maximum(highest, 0.01)), slope, middle)
    info = {}
    if config.info:
        info = {"candidates": candidates, "scores": scores, "cues": image}
        info |= {"quality": quality, "loss": loss, "due": due}
    lost = confidence < hyper.lost_below
    return state._replace(box=box, due=due), Output(box, confidence, lost, info)


def _learn(config: Config, budget: int, params: PyTree, state: State) -> State:
    """Trains the network on what the buffers hold, for `budget` cycles at most."""
    hyper = params["tracker"]
    key, train_key = jax.random.split(state.key)
    memory: dict[str, Any] = {"positives": state.positives, "negatives": state.negatives, "time": state.time}
    draw = functools.partial(iterative_sgd.draw_batch, **memory, count=config.batch, decay=hyper.decay)
    done = iterative_sgd.train(
        train_key,
        state.network,
        draw,
        rates(hyper),
        tolerance=None if config.decisions.differentiable else hyper.tolerance,
        loss_rate=hyper.loss_rate,
        corner=config.decisions.width,
        budget=budget,
        schedule=config.schedule,
    )
    return state._replace(network=done.network, key=key, due=jnp.zeros((), jnp.bool_))


def rates(hyper: Hyper) -> Rates:
    """The learning rates and the loss's parameters of the training."""
    return Rates(
        hyper.learning_rate,
        hyper.fusion_learning_rate,
        hyper.momentum,
        hyper.beta,
        hyper.tightening,
        hyper.max_gradient_norm,
    )


def _cues(config: Config, frame: Frame, box: Box, colour: Array) -> Array:
    """The cues [R, R, K] of the region around a box: SIDE pixels to `context` sides of the target."""
    return cue_patches.cues_around(
        frame,
        box,
        colour,
        (config.grey_cues, config.colour_cues),
        config.cue_range,
        geometry=config.geometry,
        region=config.region,
        context=config.context,
    )


def _patches(config: Config, image: Array, windows: Box, box: Box) -> Array:
    """Cuts windows [N, 4] of the frame, with their context, out of the cues [R, R, K] around a box."""
    return cue_patches.patches_of(image, windows, box, region=config.region, context=config.context)


def _remember(
    config: Config,
    hyper: Hyper,
    state: State,
    image: Array,
    region_of: Box,
    windows: tuple[Box, Box],
    quality: Array,
) -> State:
    """Puts patches of the target and of the background of one frame into the buffers.

    Args:
      config: structure.
      hyper: hyper-parameters.
      state: whose `time` is the frame's.
      image: the cues [R, R, K].
      region_of: the box they are around.
      windows: boxes of the target [n, 4], the estimated box first, and of the background [m, 4].
      quality: () of the frame's labels.
    """
    target = windows[0][0]
    buffers = []
    for buffer, own in zip((state.positives, state.negatives), windows, strict=True):
        weight = config.importance.of(boxes.iou(own, target[None]), hyper.slope)
        patches = _patches(config, image, own, region_of)
        buffers.append(replay_buffer.add(buffer, patches, weight, quality, state.time))
    return state._replace(positives=buffers[0], negatives=buffers[1])
