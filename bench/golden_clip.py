"""The short clip that golden boxes are of: the same pixels on every machine, made of integers alone.

A textured target crosses a textured ground that moves the other way, grows a little, and passes a distractor
of its own texture in other colours. Its light falls halfway through.
"""

from typing import NamedTuple

import numpy as np

FRAMES = 12
SIZE = (120, 150)  # height and width
TARGET = (24, 30)  # height and width in the first frame
ONE = 256  # positions and scales are in 256ths, so that no machine rounds them in its own way


class Clip(NamedTuple):
    """Frames and where the target is in the first."""

    frames: np.ndarray  # [T, H, W, 3] uint8
    box: np.ndarray  # [4] float32: x, y, w, h, 0-based


def clip() -> Clip:
    """Paints the clip."""
    height, width = SIZE
    ground = _noise((height + 16, width + 32), cell=9, seed=1, low=50, high=170)
    # One row and column more than are drawn: the last ones blend with them.
    target = _noise((TARGET[0] + 1, TARGET[1] + 1), cell=6, seed=2, low=0, high=255)
    distractor = target[:, :, ::-1]
    frames = []
    for time in range(FRAMES):
        frame = _window(ground, 100 * time, 180 * time, ONE, SIZE)
        _paste(frame, distractor, (62 * ONE - 230 * time, 96 * ONE - 420 * time), ONE)
        _paste(frame, target, (30 * ONE + 380 * time, 30 * ONE + 610 * time), ONE + 3 * time)
        light = ONE if time < FRAMES // 2 else 200
        frames.append((frame * light // ONE).astype(np.uint8))
    return Clip(np.stack(frames), np.float32([30, 30, TARGET[1], TARGET[0]]))


def _noise(size: tuple[int, int], *, cell: int, seed: int, low: int, high: int) -> np.ndarray:
    """Smooth random colours [H, W, 3] in low..high: random at each `cell` pixels, linear between."""
    rows, columns = (side // cell + 2 for side in size)
    # The raw stream of a bit generator is what NumPy promises never to change.
    raw = np.random.PCG64(seed).random_raw(rows * columns * 3) >> np.uint64(56)
    lattice = raw.astype(np.int64).reshape(rows, columns, 3)
    return low + _window(lattice, 0, 0, ONE // cell, size) * (high - low) // 255


def _window(image: np.ndarray, y: int, x: int, step: int, size: tuple[int, int]) -> np.ndarray:
    """Samples [H, W, 3] of an image, bilinear, from (y, x) in steps of `step`, both in 256ths of a pixel."""
    rows, columns = y + step * np.arange(size[0]), x + step * np.arange(size[1])
    row, column = rows // ONE, columns // ONE
    down, right = (rows % ONE)[:, None, None], (columns % ONE)[None, :, None]
    row_after = np.minimum(row + 1, image.shape[0] - 1)
    column_after = np.minimum(column + 1, image.shape[1] - 1)

    def across(index: np.ndarray) -> np.ndarray:
        left_part = image[np.ix_(index, column)] * (ONE - right)
        return left_part + image[np.ix_(index, column_after)] * right

    return (across(row) * (ONE - down) + across(row_after) * down) // ONE**2


def _paste(frame: np.ndarray, sprite: np.ndarray, at: tuple[int, int], scale: int) -> None:
    """Draws a sprite over the frame, in place; `at` is its top-left corner (y, x), in 256ths as the scale."""
    top, left = (-(-value // ONE) for value in at)
    # A pixel p shows the sprite at (p - at) / scale.
    step = ONE * ONE // scale
    height, width = (((side - 1) * scale) // ONE for side in sprite.shape[:2])
    y, x = ((first * ONE - value) * ONE // scale for first, value in zip((top, left), at, strict=True))
    frame[top : top + height, left : left + width] = _window(sprite, y, x, step, (height, width))
