"""Normalised cross-correlation with scale: what another tracker takes, made of jtrack's parts."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

from jtrack.components import calibration, motion, scale, update
from jtrack.components.decisions import Hard
from jtrack.components.scale import Pyramid
from jtrack.components.search_window import SquareWindow
from jtrack.components.shapes import FixedShapes
from jtrack.learning import peak
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.trackers import Row
from jtrack.types import Array, Box, Output, Profile, Scalar, Tracker, Vector
from jtrack.vision import boxes, grid
from jtrack.vision.colour import grey
from jtrack.vision.crop import crop
from jtrack.vision.heat_map import coverage


@dataclass(frozen=True)
class Config(FixedShapes):
    window: SquareWindow = SquareWindow(padding=3.0)
    cells: int = 64  # of the search window's image a side
    scale: Pyramid = Pyramid()
    info: bool = False


class Hyper(NamedTuple):
    learning_rate: Scalar = 0.02
    update_threshold: Scalar = 0.75
    average_rate: Scalar = 0.05
    scale_regularisation: Scalar = 0.01
    scale_learning_rate: Scalar = 0.02
    confidence: Vector = (8.0, 0.5)
    lost_below: Scalar = 0.2


class State(NamedTuple):
    box: Box
    template: Array  # [cells, cells]: the search window in grey, the target in its middle
    average: Array  # () of the correlation
    scale: ScaleFilter


def look(config, frame, box):
    """The search window around a box and its image in grey."""
    size = config.window.size(box[2:], frame.size)
    window = config.window.around(boxes.centre(box), size)
    return window, grey(crop(frame, window, (config.cells, config.cells)))


def correlate(a, b):
    """For every circular shift s the sum over x of a(x) b(x + s)."""
    product = jnp.conj(jnp.fft.rfft2(a)) * jnp.fft.rfft2(b)
    return jnp.fft.irfft2(product, s=(a.shape[0], a.shape[1]))


def ncc(template, mask, image):
    """The correlation coefficient of a template under a mask with an image, for every shift."""
    count = jnp.maximum(mask.sum(), 1)
    image = image - image.mean()
    inner = mask * (template - (mask * template).sum() / count)
    energy = correlate(mask, image**2) - correlate(mask, image) ** 2 / count
    norm = jnp.sqrt(jnp.sum(inner**2) * jnp.maximum(energy, 1e-3) + 1e-3)
    return correlate(inner, image) / norm


def init(config, params, key, frame, box):
    _, template = look(config, frame, box)
    return State(box, template, jnp.zeros((), box.dtype), scale.begin(config.scale, frame, box))


def step(config, params, state, frame):
    hyper, cells = params["tracker"], config.cells
    window, image = look(config, frame, state.box)
    x, y, w, h = grid.to_cells(state.box, window, (cells, cells))
    mask = coverage(y[None], h[None], cells).T * coverage(x[None], w[None], cells)
    response = ncc(state.template, mask, image)
    displacement = peak.refine(response, peak.largest(response))
    moved = boxes.centre(state.box) + displacement[::-1] * window[2] / cells
    box = boxes.from_centre(motion.keep_in_frame(moved, frame.size), state.box[2:])
    highest = jnp.clip(response.max(), 0, 1)
    allowed = Hard().reaches(highest, hyper.update_threshold * state.average)
    box, model = scale.follow(
        config.scale,
        state.scale,
        frame,
        box,
        allowed,
        scale.Rates(hyper.scale_regularisation, hyper.scale_learning_rate),
    )
    _, seen = look(config, frame, box)
    learnt = state.template + hyper.learning_rate * (seen - state.template)
    template = Hard().choose(allowed, learnt, state.template)
    average = update.averaged(state.average, highest, hyper.average_rate)
    confidence = calibration.logistic(highest, *hyper.confidence)
    info = {"response": response} if config.info else {}
    lost = confidence < hyper.lost_below
    return State(box, template, average, model), Output(box, confidence, lost, info)


def tracker(backbone, config):
    return Tracker(functools.partial(init, config), functools.partial(step, config), None)


def default(backbone):
    """Recommended."""
    return Profile(Config(), Hyper())


ROW = Row("ncc", tracker, {"default": default}, ranked=("none",))
