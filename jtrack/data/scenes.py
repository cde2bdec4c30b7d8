"""Made-up scenes with objects and their exact boxes: boxed data that need no files.

Closed shapes with a texture, an outline and light of their own stand on a ground of other textures, which has
borders, blotches and lines that belong to no object. Each scene is a function of its number.
"""

import hashlib

import cv2
import numpy as np

from jtrack.data.detection import DetectionDataset, Example
from jtrack.errors import JtrackError

SIZE = (180, 240)  # height and width of a scene
_MOST = 10_000_000


def boxed(count: str) -> DetectionDataset:
    """So many scenes as a set.

    Args:
      count: a number as text, as `--data scenes:2000` has it.

    Raises:
      JtrackError: not a number from 1 to ten million.
    """
    if not count.isdecimal() or not 1 <= int(count) <= _MOST:
        raise JtrackError(f"scenes:{count} is not a number of scenes: give one such as scenes:2000")
    name = f"scenes:{int(count)}"
    return DetectionDataset(name, int(count), scene, hashlib.sha256(name.encode()).hexdigest()[:16])


def scene(number: int, size: tuple[int, int] = SIZE) -> Example:
    """Paints a scene.

    Args:
      number: from 0; the same number gives the same pixels, as long as NumPy and OpenCV are the same.
      size: height and width in pixels.

    Returns:
      The image and the boxes [n, 4] of its one to four objects, which lie wholly inside and at most touch.
    """
    rng = np.random.default_rng([number, *size])
    image = _ground(size, rng)
    boxes: list[np.ndarray] = []
    wanted = int(rng.integers(1, 5))
    for _ in range(12):
        outline = _outline(size, rng)
        low, high = outline.min(axis=0), outline.max(axis=0)
        box = np.concatenate([low, high - low])
        apart = all((low >= other[:2] + other[2:]).any() or (high <= other[:2]).any() for other in boxes)
        if apart and (low >= 0).all() and (high <= size[::-1]).all():
            _stand(image, outline, rng)
            boxes.append(box)
        if len(boxes) == wanted:
            break
    else:
        if not boxes:  # no shape found room: a disc in the middle always does
            turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            radius = min(size) / 5
            outline = np.array(size[::-1]) / 2 + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
            _stand(image, outline, rng)
            low, high = outline.min(axis=0), outline.max(axis=0)
            boxes.append(np.concatenate([low, high - low]))
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)))
    grain = rng.standard_normal(image.shape, np.float32)
    image = image * np.float32(rng.uniform(0.6, 1.15)) + np.float32(rng.uniform(1, 7)) * grain
    return Example(np.clip(np.rint(image), 0, 255).astype(np.uint8), np.array(boxes))


def _outline(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The corners [P, 2] of a closed shape: a disc with bulges, or a polygon, turned and stretched."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    if rng.random() < 0.6:
        radius = np.ones_like(turn)
        for wave in range(2, 6):
            radius += rng.normal(0, 0.45 / wave**1.3) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
        radius = np.maximum(radius, 0.35)
    else:
        corners = int(rng.integers(3, 8))
        turn = (
            np.sort(rng.uniform(0, 2 * np.pi / corners * 0.6, corners))
            + np.arange(corners) * 2 * np.pi / corners
        )
        radius = rng.uniform(0.7, 1.0, corners)
    points = radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points *= np.exp(rng.normal(0, 0.3, 2))
    angle = rng.uniform(0, 2 * np.pi)
    points @= np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points *= min(size) * np.exp(rng.uniform(np.log(0.08), np.log(0.3)))
    return points + rng.uniform([0, 0], size[::-1])


def _stand(image: np.ndarray, outline: np.ndarray, rng: np.random.Generator) -> None:
    """Paints an object on the image, with its shadow."""
    height, width = image.shape[:2]
    reach = np.ptp(outline, axis=0).max()
    shadow = _mask((height, width), outline + reach * rng.uniform(-0.12, 0.12, 2))
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(1.0, 0.06 * reach))[:, :, None]
    image *= 1 - rng.uniform(0.1, 0.6) * shadow
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int), [width, height])
    part = image[low[1] : high[1], low[0] : high[0]]
    outline = outline - low
    mask = _mask(part.shape[:2], outline)[:, :, None]
    paint = _texture(part.shape[:2], rng, grain=rng.uniform(0.15, 0.8) * reach)
    y, x = _grid(part.shape[:2])
    middle = outline.mean(axis=0) + rng.uniform(-0.25, 0.25, 2) * reach
    away = np.hypot(x - middle[0], y - middle[1]) / reach
    paint *= (1.15 - rng.uniform(0.1, 0.9) * away)[:, :, None]
    for _ in range(int(rng.integers(0, 4))):  # marks: parts of the object in another colour
        inner = outline.mean(axis=0) + rng.uniform(0.1, 0.45) * (outline - outline.mean(axis=0))
        inner = inner + rng.uniform(-0.25, 0.25, 2) * reach
        mark = _mask(part.shape[:2], inner)[:, :, None]
        paint += mark * (_colour(rng) - paint)
    if rng.random() < 0.6:
        line = np.zeros(part.shape[:2], np.float32)
        cv2.polylines(line, [_fixed(outline)], True, 1.0, max(1, int(0.05 * reach)), cv2.LINE_AA, 3)
        paint += line[:, :, None] * (_colour(rng) * 0.5 - paint)
    part += mask * (paint - part)


def _ground(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A ground [H, W, 3] float32 of up to three textures with straight borders, and lines over it."""
    height, width = size
    image = _texture(size, rng, grain=rng.uniform(20, 160))
    y, x = _grid(size)
    for _ in range(int(rng.integers(0, 3))):
        angle = rng.uniform(0, 2 * np.pi)
        offset = rng.uniform(0.2, 0.8) * width * np.cos(angle) + rng.uniform(0.2, 0.8) * height * np.sin(
            angle
        )
        side = np.clip(x * np.cos(angle) + y * np.sin(angle) - offset, 0, 1)[:, :, None]
        image += side * (_texture(size, rng, grain=rng.uniform(20, 160)) - image)
    for _ in range(int(rng.integers(0, 12))):
        first, second = (rng.uniform(-0.2, 1.2, (2, 2)) * [width, height]).astype(int).tolist()
        cv2.line(image, first, second, _colour(rng).tolist(), int(rng.integers(1, 5)), cv2.LINE_AA)
    return image


def _texture(size: tuple[int, int], rng: np.random.Generator, *, grain: float) -> np.ndarray:
    """A texture [h, w, 3] float32 around 0..255: a base colour, blotches of all sizes, perhaps stripes."""
    first, second = _colour(rng), _colour(rng)
    mix = np.zeros(size, np.float32)
    weight = 1.0
    while grain > 1.5 and weight > 0.05:
        coarse = [int(np.ceil(side / grain)) + 2 for side in size]
        field = rng.standard_normal(coarse, np.float32)
        mix += weight * cv2.resize(field, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        grain, weight = grain / 2.2, weight * rng.uniform(0.4, 0.9)
    if rng.random() < 0.4:
        y, x = _grid(size)
        angle, period = rng.uniform(0, np.pi), rng.uniform(5, 40)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        if rng.random() < 0.4:  # checks
            wave *= np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period)
        mix += rng.uniform(0.5, 2) * np.sign(wave) * np.abs(wave) ** rng.uniform(0.2, 1)
    share = 1 / (1 + np.exp(-rng.uniform(0.4, 2) * mix))[:, :, None]
    return first + share * (second - first)


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers [h, 1] and column numbers [1, w]."""
    return np.arange(size[0], dtype=np.float32)[:, None], np.arange(size[1], dtype=np.float32)[None]


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(15, 245, 3).astype(np.float32)


def _mask(size: tuple[int, int], outline: np.ndarray) -> np.ndarray:
    """How much of each pixel [h, w] lies inside a shape, in 0..1."""
    mask = np.zeros(size, np.float32)
    cv2.fillPoly(mask, [_fixed(outline)], 1.0, cv2.LINE_AA, 3)
    return mask


def _fixed(outline: np.ndarray) -> np.ndarray:
    """Corners in eighths of a pixel, from the first pixel's middle, as OpenCV draws them."""
    return np.rint((outline - 0.5) * 8).astype(np.int32)
