"""A made-up video with exact ground truth: a ladybird walks over a forest floor.

An unsteady camera follows it and zooms, it turns as its path does, walks under a leaf, and a cloud passes. So
it shows what a tracker meets (translation, scale change, rotation, partial occlusion, illumination change,
clutter of the target's own colour) with nothing but NumPy and OpenCV.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from jtrack.data.dataset import Dataset
from jtrack.data.sequence import FrameSource, Sequence
from jtrack.errors import JtrackError

VIEW = 240.0  # world units across the shorter side of a frame at zoom 1
BODY = np.array([32.0, 24.0])  # semi-axes of the ladybird's outline, an ellipse, in world units
LEAF = np.array([60.0, 17.0])  # half the length and half the greatest width of the leaf
WALK = 512.0  # world units from the first frame to the last, along x
LIGHT = np.array([0.55, 0.84])  # direction in which shadows fall
# The clips that make a dataset: how many frames, of which height and width, and the seed.
CLIPS = {
    "ladybird-1": (120, (240, 320), 0),
    "ladybird-2": (120, (240, 320), 1),
    "ladybird-3": (60, (240, 320), 2),  # twice as fast
    "ladybird-4": (120, (120, 160), 3),
}


class Pose(NamedTuple):
    """Where everything is in each of the T frames (or in one, without T), in world units and radians."""

    body: np.ndarray  # [T, 2] x, y of the ladybird's centre
    angle: np.ndarray  # [T] of its heading, from the x axis towards the y axis (clockwise as seen)
    camera: np.ndarray  # [T, 2] x, y of the view's centre
    zoom: np.ndarray  # [T]
    cloud: np.ndarray  # [T, 2] x of the front and the back edge of the cloud's shadow, in widths of the view


class Scene(NamedTuple):
    """What is painted once: float32 pictures, in pixels of the frame at zoom 1."""

    detail: float  # pixels per world unit
    origin: np.ndarray  # [2] x, y of the ground's corner in the world
    ground: np.ndarray  # [h, w, 3] RGB
    body: np.ndarray  # [h, w, 4] RGB and alpha in 0..1
    leaf: np.ndarray  # [h, w, 4]
    leaf_at: np.ndarray  # [2] x, y of the leaf's centre in the world


def dataset(root: Path, subset: str | None) -> Dataset:
    """Gives `CLIPS` as a dataset, which needs no files: `root` is not looked at.

    Raises:
      JtrackError: if a subset is asked for.
    """
    if subset is not None:
        raise JtrackError(f"the synthetic dataset has no list {subset!r}: leave it out")

    def sequence(name: str) -> Sequence:
        frames, size, seed = CLIPS[name]
        made = clip(frames=frames, size=size, seed=seed)
        return replace(made, name=name, frames=replace(made.frames, name=name))

    return Dataset("synthetic", root, None, tuple(CLIPS), sequence, sequence)


def clip(*, frames: int = 120, size: tuple[int, int] = (240, 320), seed: int = 0) -> Sequence:
    """Makes the clip.

    Frames are painted while iterating. The same arguments give the same pixels, bit by bit, as long as NumPy
    and OpenCV are the same.

    Args:
      frames: how many, at least 2. The story is the same in any number, so fewer frames mean faster motion:
        at 120 and the default size the ladybird, some 60 x 50 px, moves by up to 6 px a frame.
      size: height and width in pixels, at least 48 each.
      seed: of the textures, the clutter and the phases of the motion.

    Returns:
      The sequence: `boxes` [T, 4] float64, the exact axis-aligned boxes of the ladybird's outline, covered or
      not, always inside the frame; `events` mark the frames where at least 15 % of it is covered
      ("occlusion"), it is in less than 0.85 of the full light ("illumination"), its scale differs from the
      first frame's by more than 15 % ("scale"), its heading by more than 20 degrees ("rotation").

    Raises:
      JtrackError: if there are too few frames or they are too small.
    """
    pose, scene, view = _prepare(frames, size, seed)
    detail = scene.detail

    def read() -> Iterator[np.ndarray]:
        for moment in zip(*pose, strict=True):
            yield _paint(Pose(*moment), scene, size)

    events = {
        "occlusion": _covered(pose, scene.leaf_at) >= 0.15,
        "illumination": _light(pose.cloud, _on_screen(pose)[:, 0] / view[0] + 0.5) < 0.85,
        "scale": np.abs(pose.zoom / pose.zoom[0] - 1) > 0.15,
        "rotation": np.abs(pose.angle - pose.angle[0]) > np.radians(20),
    }
    boxes = detail * _boxes(pose, view)

    def pick(index: int) -> np.ndarray:
        return _paint(Pose(*(part[index] for part in pose)), scene, size)

    source = FrameSource("synthetic", size, frames, 30.0, read, pick)
    return Sequence("synthetic", boxes, events=events, size=size, frames=source)


def masks(*, frames: int = 120, size: tuple[int, int] = (240, 320), seed: int = 0) -> np.ndarray:
    """The pixels of the ladybird that are seen in the clip of the same arguments: no leaf lies over them.

    Returns:
      bool [T, H, W].

    Raises:
      JtrackError: as `clip`.
    """
    pose, scene, _ = _prepare(frames, size, seed)
    found = np.zeros((frames, *size), np.bool_)
    for index in range(frames):
        body, angle, camera, zoom, _ = (part[index] for part in pose)
        picture = np.zeros((*size, 3), np.float32)
        for sprite, world, turn, value in (
            (scene.body, body, float(angle), 1),
            (scene.leaf, scene.leaf_at, np.pi / 2, 0),
        ):
            flat = sprite.copy()
            flat[:, :, :3] = value
            place = zoom * scene.detail * (world - camera) + np.array(size[::-1]) / 2
            _lay(picture, flat, place, turn, float(zoom))
        found[index] = picture[:, :, 0] > 0.5
    return found


def _prepare(frames: int, size: tuple[int, int], seed: int) -> tuple[Pose, Scene, np.ndarray]:
    """The motion, what is painted once, and the view's width and height in world units."""
    height, width = size
    if frames < 2 or min(size) < 48:
        raise JtrackError(
            f"a clip of {frames} frames of {width}x{height} px is too small: 2 of 48x48 at least"
        )
    rng = np.random.default_rng(seed)
    detail = min(size) / VIEW  # pixels per world unit at zoom 1
    view = np.array([width, height]) / detail
    phases = rng.uniform(0, 2 * np.pi, 3)
    pose = _story(np.linspace(0, 1, frames), view, phases)
    leaf_at = _story(np.array([0.56]), view, phases).body[0] + [0, -12]
    low, high = pose.camera.min(axis=0) - 0.75 * view, pose.camera.max(axis=0) + 0.75 * view
    ground = _ground(high - low, detail, rng)
    scene = Scene(detail, low, ground, _body(detail), _leaf(detail, rng), leaf_at)
    return pose, scene, view


def _story(time: np.ndarray, view: np.ndarray, phases: np.ndarray) -> Pose:
    """The motion at times [T] in 0..1."""
    turn = 2 * np.pi * time
    wave = 1.25 * turn + phases[0]
    body = np.stack([WALK * time, 43 * np.sin(wave)], axis=1)
    angle = np.arctan2(43 * 1.25 * 2 * np.pi * np.cos(wave), WALK)
    zoom = np.exp(0.32 * np.sin(turn))
    sway = view * [0.2, 0.14] * np.sin(np.stack([1.25 * turn + phases[1], 2 * turn + phases[2]], axis=1))
    cloud = (time[:, None] - [0.64, 0.84]) / 0.12 * 1.6 - 0.3
    return Pose(body, angle, body - sway / zoom[:, None], zoom, cloud)


def _on_screen(pose: Pose) -> np.ndarray:
    """The ladybird's centre [T, 2] in the view, from the view's centre."""
    return pose.zoom[:, None] * (pose.body - pose.camera)


def _boxes(pose: Pose, view: np.ndarray) -> np.ndarray:
    """Axis-aligned boxes [T, 4] of the turned ellipse, in closed form."""
    along = np.stack([np.cos(pose.angle), np.sin(pose.angle)], axis=1) * BODY[0]
    across = np.stack([np.sin(pose.angle), np.cos(pose.angle)], axis=1) * BODY[1]
    half = pose.zoom[:, None] * np.hypot(along, across)
    return np.concatenate([_on_screen(pose) + view / 2 - half, 2 * half], axis=1)


def _covered(pose: Pose, leaf: np.ndarray) -> np.ndarray:
    """How much of the ladybird [T] the leaf covers, in 0..1."""
    grid = np.linspace(-1, 1, 41)
    unit = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    points = BODY * unit[np.hypot(*unit.T) <= 1]
    cos, sin = np.cos(pose.angle)[:, None], np.sin(pose.angle)[:, None]
    x = pose.body[:, :1] + points[:, 0] * cos - points[:, 1] * sin
    y = pose.body[:, 1:] + points[:, 0] * sin + points[:, 1] * cos
    return np.mean(_leaf_depth(y - leaf[1], x - leaf[0]) > 0, axis=1)


def _light(cloud: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Light in 0.45..1 at `x`, in widths of the view from its left edge, under a cloud [..., 2]."""
    under = _smooth((cloud[..., 0] - x) / 0.3) * _smooth((x - cloud[..., 1]) / 0.3)
    return 1 - 0.55 * under


def _smooth(x: np.ndarray) -> np.ndarray:
    """A smooth step from 0 at 0 to 1 at 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _paint(pose: Pose, scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """One frame, uint8 [H, W, 3]; `pose` is of one moment."""
    height, width = size
    zoom, angle = float(pose.zoom), float(pose.angle)

    def place(world: np.ndarray) -> np.ndarray:
        return zoom * scene.detail * (world - pose.camera) + [width / 2, height / 2]

    middle = scene.origin + np.array(scene.ground.shape[1::-1]) / scene.detail / 2
    frame = _warp(scene.ground, place(middle), 0, zoom, size)
    _lay(frame, _shadow(scene.body, 0.5), place(pose.body + 4 * LIGHT), angle, zoom)
    _lay(frame, scene.body, place(pose.body), angle, zoom)
    _lay(frame, _shadow(scene.leaf, 0.4), place(scene.leaf_at + 7 * LIGHT), np.pi / 2, zoom)
    _lay(frame, scene.leaf, place(scene.leaf_at), np.pi / 2, zoom)
    frame *= _light(pose.cloud, (np.arange(width) + 0.5) / width).astype(np.float32)[:, None]
    return np.clip(frame + 0.5, 0, 255).astype(np.uint8)


def _shadow(sprite: np.ndarray, darkness: float) -> np.ndarray:
    return sprite * np.array([0, 0, 0, darkness], np.float32)


def _warp(
    image: np.ndarray, centre: np.ndarray, angle: float, zoom: float, size: tuple[int, int]
) -> np.ndarray:
    """Draws `image`, turned and zoomed about its centre, with that at `centre` of a frame; zeros around."""
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    inverse = np.array([[cos, sin], [-sin, cos]])  # from the frame to the image
    shift = np.array(image.shape[1::-1]) / 2 - 0.5 + inverse @ (0.5 - centre)
    matrix = np.concatenate([inverse, shift[:, None]], axis=1)
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _lay(frame: np.ndarray, sprite: np.ndarray, centre: np.ndarray, angle: float, zoom: float) -> None:
    """Draws a sprite [h, w, 4] (RGB and alpha 0..1) over the frame, in place."""
    reach = np.hypot(*sprite.shape[:2]) * zoom / 2 + 2
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach), frame.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    part = frame[low[1] : high[1], low[0] : high[0]]
    layer = _warp(sprite, centre - low, angle, zoom, part.shape[:2])
    part[...] = part + layer[:, :, 3:] * (layer[:, :, :3] - part)


def _noise(shape: tuple[int, int], cell: float, rng: np.random.Generator, octaves: int = 4) -> np.ndarray:
    """Cloudy noise [H, W] of mean 0 and deviation 1, whose largest clouds measure `cell` pixels."""
    height, width = shape
    total: np.ndarray = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1)
        grid = rng.normal(size=(int(height / step) + 2, int(width / step) + 2)).astype(np.float32)
        total = total + cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 1.6**octave
    return (total - total.mean()) / total.std()


def _ground(extent: np.ndarray, detail: float, rng: np.random.Generator) -> np.ndarray:
    """The forest floor, float32 [H, W, 3]: soil and moss, pebbles, blades of grass and red berries."""
    width, height = np.ceil(extent * detail).astype(int)
    soil = _noise((height, width), 60 * detail, rng)[:, :, None]
    grain = _noise((height, width), 5 * detail, rng, octaves=3)[:, :, None]
    moss = _smooth(_noise((height, width), 90 * detail, rng)[:, :, None] * 0.9 + 0.3)
    image = np.array([112, 88, 62], np.float32) + 14 * soil + 13 * grain
    image += moss * (np.array([84, 112, 52], np.float32) + 10 * soil + 20 * grain - image)
    image = np.clip(image, 0, 255)
    area = extent[0] * extent[1]

    for _ in range(int(area / 1500)):
        centre, radius = rng.uniform(0, extent), rng.uniform(2.5, 9)
        tone = np.array([150, 142, 130]) * rng.uniform(0.6, 1.15) + rng.uniform(-12, 12, 3)
        flatness, angle = rng.uniform(0.6, 0.95), rng.uniform(0, 180)
        _blob(image, centre, radius, flatness=flatness, angle=angle, tone=tone, detail=detail)
    for _ in range(int(area / 900)):
        start, heading = rng.uniform(0, extent), rng.uniform(0, 2 * np.pi)
        bend = heading + rng.uniform(-1, 1)
        length = rng.uniform(15, 45)
        knots = np.linspace(0, 1, 9)[:, None]
        first, second = ([np.cos(a), np.sin(a)] for a in (heading, bend))
        line = start + length * (knots * (1 - knots / 2) * first + knots**2 / 2 * np.array(second))
        tone = np.array([98, 132, 52]) * rng.uniform(0.6, 1.3) + [rng.uniform(-15, 40), 0, 0]
        thick = max(1, round(rng.uniform(1, 2.6) * detail))
        for offset, colour in ((2.0, tone * 0.3), (0.0, tone)):
            points = np.round((line + offset * LIGHT) * detail * 16).astype(np.int32)
            cv2.polylines(image, [points], False, colour.tolist(), thick, cv2.LINE_AA, 4)
    for _ in range(int(area / 16000)):
        tone = np.array([190, 38, 34]) * rng.uniform(0.8, 1.1)
        _blob(image, rng.uniform(0, extent), rng.uniform(5, 9), tone=tone, detail=detail)
    return cv2.GaussianBlur(image, (0, 0), 0.5)


def _blob(
    image: np.ndarray,
    centre: np.ndarray,
    radius: float,
    *,
    flatness: float = 1.0,
    angle: float = 0.0,
    tone: np.ndarray,
    detail: float,
) -> None:
    """Draws something round, lit from one side, with its shadow."""
    for shift, scale, light in ((0.3, 1.08, 0.3), (0.0, 1.0, 0.8), (-0.12, 0.78, 1.0), (-0.3, 0.35, 1.3)):
        at = np.round((centre + shift * radius * LIGHT) * detail * 16).astype(int).tolist()
        axes = np.round(radius * scale * np.array([1, flatness]) * detail * 16).astype(int).tolist()
        colour = (np.array([95, 90, 60]) if shift > 0 else tone) * light
        cv2.ellipse(image, at, axes, angle, 0, 360, colour.tolist(), -1, cv2.LINE_AA, 4)


def _sprite_grid(half: np.ndarray, detail: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x [1, w] and y [h, 1] in world units of a sprite's pixels, with a margin of two pixels."""
    count = 2 * (np.ceil(half * detail).astype(int) + 2)
    x, y = ((np.arange(n) + 0.5 - n / 2) / detail for n in count)
    return x[None, :], y[:, None]


def _body(detail: float) -> np.ndarray:
    """The ladybird as a sprite, heading along x."""
    x, y = _sprite_grid(BODY, detail)
    u, v = np.broadcast_arrays(x / BODY[0], y / BODY[1])
    radius = np.hypot(u, v)
    edge = 1 / detail  # width of a soft edge, in world units

    def disc(at: tuple[float, float], reach: float) -> np.ndarray:
        distance = np.hypot((u - at[0]) * BODY[0], (v - at[1]) * BODY[1])
        return np.clip((reach * BODY[1] - distance) / edge + 0.5, 0, 1)

    colour = np.empty((*u.shape, 3), np.float64)
    colour[:] = [206, 34, 24]

    def paint(mask: np.ndarray, tone: list[float]) -> None:
        colour[:] += mask[:, :, None] * (np.array(tone) - colour)

    black, white = [26.0, 22.0, 24.0], [236.0, 230.0, 214.0]
    paint(np.clip((0.035 - np.abs(v)) * BODY[1] / edge + 0.5, 0, 1), black)
    for spot in ((-0.08, 0.52), (-0.08, -0.52), (-0.5, 0.3), (-0.5, -0.3), (0.26, 0.38), (0.26, -0.38)):
        paint(disc(spot, 0.19), black)
    paint(disc((0.47, 0.0), 0.22), black)
    paint(np.clip((u - 0.52 - 0.12 * v**2) * BODY[0] / edge + 0.5, 0, 1), black)
    for cheek in ((0.68, 0.4), (0.68, -0.4)):
        paint(disc(cheek, 0.17), white)
    dome = np.sqrt(np.clip(1 - radius**2, 0, 1))[:, :, None]
    colour *= 0.55 + 0.5 * dome
    colour += 90 * np.exp(-((u + 0.15) ** 2 + (v + 0.42) ** 2) / 0.03)[:, :, None]
    # The distance to the outline, to first order: the value of r - 1 over the length of its gradient.
    slope = np.hypot(u / BODY[0], v / BODY[1]) / np.maximum(radius, 1e-6)
    alpha = np.clip((1 - radius) / np.maximum(slope, 1e-6) / edge + 0.5, 0, 1)
    return np.dstack([np.clip(colour, 0, 255), alpha]).astype(np.float32)


def _leaf_depth(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """How far inside the leaf a point is, in world units across it; not positive outside."""
    bow = np.clip(1 - (along / LEAF[0]) ** 2, 0, 1)
    return LEAF[1] * bow**0.8 - np.abs(across)


def _leaf(detail: float, rng: np.random.Generator) -> np.ndarray:
    """A fallen leaf as a sprite, its midrib along x."""
    x, y = _sprite_grid(LEAF, detail)
    u, v = np.broadcast_arrays(x, y)
    mottle = _noise(u.shape, 16 * detail, rng)[:, :, None]
    veins = np.abs(((u - 0.9 * np.abs(v)) / 11) % 1 - 0.5) * 11
    rib = np.maximum(np.clip(1.6 - np.abs(v), 0, 1), 0.55 * np.clip(1.0 - veins, 0, 1))[:, :, None]
    colour = np.array([188, 142, 48]) + 13 * mottle - 1.1 * v[:, :, None]
    colour += rib * (np.array([226, 196, 120]) - colour)
    alpha = np.clip(_leaf_depth(u, v) * detail + 0.5, 0, 1) * (np.abs(u) < LEAF[0])
    return np.dstack([np.clip(colour, 0, 255), alpha]).astype(np.float32)
