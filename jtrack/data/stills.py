"""Still images turned into short clips with boxes: videos of a target, where there are only pictures.

A part of a picture is the target. Either the picture moves as a whole, as under a camera, or the target is
cut out along a rounded outline and moves over another picture. It is translated, scaled, rotated and
stretched from frame to frame; others like it may walk beside it, something may pass in front of it; light,
colour, blur and grain change. A box has the target's centre, width and height; it is not turned with
it. Each clip is a function of its pictures and of random numbers alone.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

from jtrack.data.detection import Example

VERSION = 1  # of how clips are made: a training goes on with the clips that it began with
SMALLEST = 16  # pixels of a picture: narrower boxes show nothing
SIDES = (0.12, 0.34)  # of a target over that of a frame, or of a picture: from, to
TRIED = 4  # parts of a picture at random, of which the one with the strongest edges is taken
FAST = 0.3  # share of clips with three times the motion
PASTED, BESIDE, HIDDEN, GREY = 0.5, 0.5, 0.5, 0.1  # shares of clips
# How much changes from frame to frame, as standard deviations: logarithms of size and aspect, radians, and
# how far parts of the target are displaced against each other, over its side.
SIZE, ASPECT, ANGLE, BEND = 0.06, 0.04, 0.15, 0.05
# Logarithms of the light, of its exponent (gamma), of each colour, and of the light across the frame.
LIGHT, GAMMA, COLOUR, SHADE = 0.08, 0.1, 0.05, 0.1
_NO_MAP: Any = None  # OpenCV's second map, where the first has both coordinates
_NODES = 5  # a side, between which displacements are interpolated


class Clip(NamedTuple):
    """Frames of a target."""

    pixels: np.ndarray  # [T, S, S, 3] uint8 RGB
    boxes: np.ndarray  # [T, 4] float64 x, y, w, h in pixels, 0-based


class _Cut(NamedTuple):
    """A part of a picture, perhaps with an outline."""

    image: np.ndarray  # [h, w, 3] uint8
    centre: np.ndarray  # [2] x, y of its middle
    size: np.ndarray  # [2] w, h
    mask: np.ndarray | None  # [h, w] float32 in 0..1; None for the whole picture


class _Path(NamedTuple):
    """Where something is in each of T frames."""

    places: np.ndarray  # [T, 2] x, y of its middle
    forms: np.ndarray  # [T, 2, 2] from pixels of the picture to those of the frame
    scales: np.ndarray  # [T, 2] of width and height
    bends: np.ndarray  # [T, n, n, 2] pixels that parts of the frame, n a side, are displaced by (x, y)


def animate(
    picture: Example, others: list[np.ndarray], *, frames: int, side: int, rng: np.random.Generator
) -> Clip:
    """Makes a clip.

    Args:
      picture: the image the target is of: in one of its boxes, or anywhere where it has none.
      others: [h, w, 3] uint8 two images, to walk over and to be hidden by.
      frames: T, the first included.
      side: S, height and width of a frame.
      rng: a source of random numbers.
    """
    box = _chosen(picture, rng)
    whole, part = min(picture.image.shape[:2]), np.sqrt(box[2:].prod())
    # What fills the picture, or is next to nothing of it, is shown in its size over another one.
    pasted = rng.random() < PASTED or not SIDES[0] <= part / whole <= SIDES[1]
    target = _cut(picture.image, box, outlined=pasted, rng=rng)
    if target.mask is None:  # the picture about fills the frame
        sides = side * part / whole * rng.uniform(0.9, 1.3)
    else:
        sides = side * np.exp(rng.uniform(*np.log(SIDES)))
    zoom = sides / part
    pace = sides * (3 if rng.random() < FAST else 1)
    path = _wander(rng.uniform(0.35, 0.65, 2) * side, zoom, frames, pace, sides, side, rng)
    canvas = np.empty((frames, side, side, 3), np.float32)
    if target.mask is None:
        _draw(canvas, target, path)
    else:
        ground = _cut(others[0], np.r_[0, 0, others[0].shape[1::-1]], outlined=False, rng=rng)
        wide = side / ground.size.min() * rng.uniform(1.0, 1.6)
        _draw(canvas, ground, _wander(np.full(2, side / 2), wide, frames, 0.5 * pace, sides, side, rng))
    if rng.random() < BESIDE:
        like = _cut(picture.image, _part(picture.image, rng), outlined=True, rng=rng)
        away = path.places[0] + _turned(rng) * rng.uniform(1.0, 1.8) * sides
        size = sides / np.sqrt(like.size.prod()) * rng.uniform(0.7, 1.3)
        _draw(canvas, like, _wander(away, size, frames, pace, sides, side, rng))
    if target.mask is not None:
        _draw(canvas, target, path)
    if frames > 1 and rng.random() < HIDDEN:
        before = _cut(others[1], _part(others[1], rng), outlined=True, rng=rng)
        size = sides / np.sqrt(before.size.prod()) * rng.uniform(0.4, 0.9)
        met, direction = int(rng.integers(1, frames)), _turned(rng) * rng.uniform(0.3, 0.8) * sides
        passing = (np.arange(frames) - met)[:, None] * direction + path.places[met]
        passing += _turned(rng) * rng.uniform(0, 0.3) * sides
        _draw(canvas, before, _still(passing, size))
    sizes = path.scales * target.size
    return Clip(_filmed(canvas, rng), np.concatenate([path.places - sizes / 2, sizes], axis=1))


def _chosen(picture: Example, rng: np.random.Generator) -> np.ndarray:
    """The target's box [4] in a picture: an annotated one that shows something, or any part."""
    extent = np.array(picture.image.shape[1::-1], np.float64)
    low = np.clip(picture.boxes[:, :2], 0, extent)
    high = np.clip(picture.boxes[:, :2] + picture.boxes[:, 2:], 0, extent)
    boxes = np.concatenate([low, high - low], axis=1)
    usable = boxes[(boxes[:, 2:] >= SMALLEST).all(axis=1) & (boxes[:, 2:] <= 0.8 * extent).all(axis=1)]
    if len(usable):
        return usable[rng.integers(len(usable))]
    parts = [_part(picture.image, rng) for _ in range(TRIED)]
    return max(parts, key=lambda box: _edges(picture.image, box))


def _part(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A box [4] anywhere within an image."""
    extent = np.array(image.shape[1::-1], np.float64)
    aspect = np.exp(0.35 * np.clip(rng.standard_normal(), -2, 2))
    side = np.exp(rng.uniform(*np.log(SIDES))) * extent.min()
    size = np.minimum(np.maximum(side * np.array([aspect, 1 / aspect]) ** 0.5, SMALLEST), 0.8 * extent)
    return np.concatenate([rng.uniform(0, extent - size), size])


def _edges(image: np.ndarray, box: np.ndarray) -> float:
    """How strong the edges in a box [4] are: the mean gradient of the grey values."""
    low, high = np.floor(box[:2]).astype(int), np.ceil(box[:2] + box[2:]).astype(int)
    grey = image[low[1] : high[1], low[0] : high[0]].mean(axis=-1)
    return float(sum(np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1)))


def _cut(image: np.ndarray, box: np.ndarray, *, outlined: bool, rng: np.random.Generator) -> _Cut:
    """A part of an image: the image with the part's place, or with a mask of a rounded outline in it."""
    centre, size = box[:2] + box[2:] / 2, box[2:]
    if not outlined:
        return _Cut(image, centre, size, None)
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    corners = rng.uniform(2, 5)  # of a superellipse: from a disc to nearly a rectangle
    radius = (np.abs(np.cos(turn)) ** corners + np.abs(np.sin(turn)) ** corners) ** (-1 / corners)
    for wave in range(2, 5):
        radius = radius * (1 + rng.normal(0, 0.12 / wave) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi)))
    outline = radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outline -= (outline.max(axis=0) + outline.min(axis=0)) / 2
    outline *= size / np.ptp(outline, axis=0)  # it touches all four sides of the box
    mask = np.zeros(image.shape[:2], np.float32)
    points = np.rint((outline + centre) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 1.0, cv2.LINE_AA, 4)
    return _Cut(image, centre, size, cv2.GaussianBlur(mask, (0, 0), 0.02 * float(size.min()) + 0.5))


def _walk(spread: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random walk over the first axis that begins at 0."""
    steps = spread * rng.standard_normal(shape)
    steps[0] = 0
    return np.cumsum(steps, axis=0)


def _turned(rng: np.random.Generator) -> np.ndarray:
    """A direction [2] of length 1."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _wander(
    start: np.ndarray,
    zoom: float,
    frames: int,
    pace: float,
    sides: float,
    side: int,
    rng: np.random.Generator,
) -> _Path:
    """A path whose velocity, scale, aspect and angle change little by little; it stays in the frame.

    Args:
      start: [2] x, y.
      zoom: scale in the first frame.
      frames: T.
      pace: pixels: the velocity's standard deviation is a tenth of it, a frame.
      sides: pixels of the target's side, by which it bends.
      side: of a frame.
      rng: a source of random numbers.
    """
    speed = 0.1 * pace * rng.standard_normal(2) + np.cumsum(0.04 * pace * rng.standard_normal((frames, 2)), 0)
    shifts = np.clip(speed, -0.35 * pace, 0.35 * pace)
    places = start + np.cumsum(shifts, axis=0) - shifts[0]
    low, high = 0.15 * side, 0.85 * side
    places = low + np.abs((places - low + high - low) % (2 * (high - low)) - (high - low))  # as off a mirror
    size, aspect, angle = (_walk(spread, (frames,), rng) for spread in (SIZE, ASPECT, ANGLE))
    scales = zoom * np.exp(size[:, None] + aspect[:, None] * np.array([0.5, -0.5]))
    cos, sin = np.cos(angle), np.sin(angle)
    forms = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2) * scales[:, None, :]
    return _Path(places, forms, scales, _walk(BEND * sides, (frames, _NODES, _NODES, 2), rng))


def _still(places: np.ndarray, zoom: float) -> _Path:
    """A path without rotation or change of size."""
    scales = np.full((len(places), 2), zoom)
    return _Path(places, scales[:, :, None] * np.eye(2), scales, np.zeros((len(places), 2, 2, 2)))


def _draw(canvas: np.ndarray, cut: _Cut, path: _Path) -> None:
    """Draws something into every frame, over what is there."""
    side = canvas.shape[1]
    # Shrunk beforehand, so that the warp, which looks at four pixels, leaves none out.
    shrink = min(1.0, float(path.scales[0].mean()) * 1.2)
    image, mask = (None if one is None else _resized(one, shrink) for one in (cut.image, cut.mask))
    assert image is not None
    ratio = np.array(image.shape[1::-1]) / np.array(cut.image.shape[1::-1])
    middles = np.arange(side, dtype=np.float32) + 0.5
    pixels = np.stack(np.meshgrid(middles, middles), axis=-1)  # [S, S, 2] x, y
    for frame, place, form, bend in zip(canvas, path.places, path.forms, path.bends, strict=True):
        flow = cv2.resize(bend.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        row, column = np.clip(place[::-1].astype(int), 0, side - 1)
        away = pixels - flow + (flow[row, column] - place).astype(np.float32)  # the middle stays where it is
        # Pixel centres lie at halves in boxes, at whole numbers for OpenCV.
        back = np.linalg.inv(form / ratio[None, :]).T.astype(np.float32)
        maps = away @ back + (cut.centre * ratio - 0.5).astype(np.float32)
        drawn = cv2.remap(image, maps, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        if mask is None:
            frame[:] = drawn
        else:
            part = cv2.remap(mask, maps, _NO_MAP, cv2.INTER_LINEAR)[:, :, None]
            frame[:] += part * (drawn.astype(np.float32) - frame)


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return image
    size = [max(1, round(length * factor)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _filmed(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames [T, S, S, 3] uint8 under changing light, with blur and grain."""
    frames = len(canvas)
    if rng.random() < GREY:
        canvas = np.repeat(canvas.mean(axis=-1, keepdims=True), 3, axis=-1)
    colour = np.exp(0.08 * rng.standard_normal(3) + _walk(COLOUR, (frames, 3), rng))
    light = np.exp(_walk(LIGHT, (frames,), rng) + 0.15 * rng.standard_normal())
    gamma = np.exp(_walk(GAMMA, (frames,), rng))
    across = _walk(SHADE, (frames, 2), rng)  # of the light, from the middle to the borders
    places = np.linspace(-1, 1, canvas.shape[1], dtype=np.float32)
    offset = np.float32(10 * rng.standard_normal())
    blurs = np.maximum(rng.uniform(-0.5, 1.3) + 0.5 * rng.standard_normal(frames), 0)
    grain = np.float32(rng.uniform(0, 5))
    filmed = np.empty(canvas.shape, np.uint8)
    for index, frame in enumerate(canvas):
        blurred = cv2.GaussianBlur(frame, (0, 0), blurs[index]) if blurs[index] > 0.2 else frame
        rows, columns = (np.exp(np.float32(share) * places) for share in across[index])
        gains = (255 * light[index] * colour[index]).astype(np.float32)
        lit = (np.maximum(blurred, 0) / np.float32(255)) ** np.float32(gamma[index])
        lit *= rows[:, None, None] * columns[None, :, None] * gains
        lit += grain * rng.standard_normal(frame.shape, np.float32) + offset
        filmed[index] = np.clip(np.rint(lit), 0, 255)
    return filmed
