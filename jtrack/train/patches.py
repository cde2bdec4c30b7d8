"""Patches of objects and of background, cut out of images with boxes: what an objectness network is shown.

A patch of an object is a window of high overlap with one of the boxes, of background one of low overlap with
all. As Caffe's users train AlexNet, a patch is kept larger than the network's input, 256 for 227, and the
network is shown a part of it, at a random place and perhaps mirrored; here the larger patch has a margin, so
that its middle, which is what is shown in a test, is the window itself.

Every patch is a function of (seed, step, place in the batch) alone: any step can be made again, by any number
of threads, and a training that was interrupted sees what it would have seen.
"""

import functools
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from jtrack.data.detection import DetectionDataset, Example
from jtrack.data.regions import overlap
from jtrack.errors import JtrackError
from jtrack.learning.fc_head import BACKGROUND, OBJECT

PER_IMAGE = 4  # patches of an image: half of them of objects
NEAR, FAR = 0.8, 0.3  # overlaps of an object's patches, from, and of the background's, below
SMALLEST = 16  # pixels: boxes less wide or high show nothing
KEPT = 256 / 227  # sides of the patch that is kept and the part that is shown
TRIES = 100  # images in a row that give no patch
_PROPOSED = 96  # windows from which those with the right overlap are taken
_ORDER, _TRAIN, _TEST = 0, 1, 2  # parts of the keys


class Batch(NamedTuple):
    """Patches and what they are."""

    images: np.ndarray  # [N, h, w, 3] uint8 RGB
    labels: np.ndarray  # [N] int32: `fc_head.OBJECT` or `fc_head.BACKGROUND`


class Patches(NamedTuple):
    """Where patches come from."""

    data: DetectionDataset
    indices: np.ndarray  # [n] int64: of the images of `data` that are used
    size: tuple[int, int]  # (h, w) of what the network is shown
    seed: int


def split(data: DetectionDataset, size: tuple[int, int], *, held: int, seed: int) -> tuple[Patches, Patches]:
    """Parts the images into those to train on and those held out, by chance; a video is not torn apart.

    Args:
      data: images with boxes.
      size: (h, w) of the network's input.
      held: how many are held out, about; of few images a fifth.
      seed: of the parting and of the patches.

    Raises:
      JtrackError: fewer than two images, or videos.
    """
    kin = np.array([data.kin(index) for index in range(data.length)])
    groups = np.unique(kin)
    if len(groups) < 2:
        raise JtrackError(f"{data.name} has {len(groups)} images or videos: two at least, one is held out")
    order = np.random.default_rng([seed, _ORDER]).permutation(groups)
    count = min(held, max(1, data.length // 5))
    sizes = np.cumsum(np.bincount(np.searchsorted(groups, kin))[np.searchsorted(groups, order)])
    # As many groups as have `count` images, but not all.
    first = min(int(np.searchsorted(sizes, count)) + 1, len(groups) - 1)
    out = np.isin(kin, order[:first])
    judged = np.flatnonzero(out)
    if len(judged) > count:  # of a long video some frames, evenly
        judged = judged[np.linspace(0, len(judged) - 1, count).astype(int)]
    return Patches(data, np.flatnonzero(~out), size, seed), Patches(data, judged, size, seed)


def stream(
    patches: Patches, batch: int, *, start: int, stop: int, threads: int = 4
) -> Generator[tuple[int, Batch]]:
    """Batches for training: for each step in [start, stop) its number and its patches.

    Each epoch takes the images in a new random order. Half of a batch are objects.

    Args:
      patches: of the images to train on.
      batch: patches in each, a multiple of `PER_IMAGE`.
      start: the first step.
      stop: the step to end before.
      threads: that read images; the patches do not depend on it.

    Raises:
      JtrackError: an image that cannot be read, no image with a usable box.
    """
    images = batch // PER_IMAGE
    with ThreadPoolExecutor(threads, thread_name_prefix="jtrack-patches") as pool:
        for step in range(start, stop):
            slots = range(images)
            yield step, _batch(list(pool.map(functools.partial(_training, patches, images, step), slots)))


def in_order(patches: Patches, batch: int) -> Generator[Batch]:
    """The patches of every image once, always the same, each the middle of what is kept.

    Args:
      patches: of the images held out.
      batch: patches in each, but the last, which may have fewer.
    """
    images = max(1, batch // PER_IMAGE)
    for first in range(0, len(patches.indices), images):
        chosen = range(first, min(first + images, len(patches.indices)))
        yield _batch([_testing(patches, number) for number in chosen])


def _batch(parts: list[Batch]) -> Batch:
    return Batch(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _training(patches: Patches, images: int, step: int, slot: int) -> Batch:
    """The patches of one image of a step."""
    epoch, place = divmod(step * images + slot, len(patches.indices))
    index = patches.indices[_order(len(patches.indices), patches.seed, epoch)[place]]
    rng = np.random.default_rng([patches.seed, _TRAIN, step, slot])
    picture, windows, labels = _found(patches, int(index), rng)
    large = [_cut(picture.image, window, patches.size) for window in windows]
    return Batch(np.stack([_part(image, patches.size, rng) for image in large]), labels)


def _testing(patches: Patches, number: int) -> Batch:
    rng = np.random.default_rng([patches.seed, _TEST, number])
    picture, windows, labels = _found(patches, int(patches.indices[number]), rng)
    return Batch(
        np.stack([_part(_cut(picture.image, w, patches.size), patches.size) for w in windows]), labels
    )


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch + 1]).permutation(count)


def _found(patches: Patches, index: int, rng: np.random.Generator) -> tuple[Example, np.ndarray, np.ndarray]:
    """An image, its windows and their labels: of this image, or of another if it has no usable box."""
    for _ in range(TRIES):
        picture = patches.data.read(index)
        if (windows := draw(picture, rng)) is not None:
            labels = np.repeat(np.array([OBJECT, BACKGROUND], np.int32), PER_IMAGE // 2)
            return picture, windows, labels
        index = int(rng.choice(patches.indices))
    raise JtrackError(
        f"{TRIES} images in a row of {patches.data.name} have no box that patches can be cut for (at least "
        f"{SMALLEST} pixels a side, with background around it): give data with boxes around objects"
    )


# --- windows ----------------------------------------------------------------------------------------------


def draw(picture: Example, rng: np.random.Generator) -> np.ndarray | None:
    """Windows of an image: `PER_IMAGE` / 2 of objects, then as many of background.

    Those of objects overlap a box by `NEAR` or more; those of background overlap every box by less than `FAR`
    and lie by half or more within the image, and by less than `FAR` in a crowd. Half of them are beside a box
    and of about its size, the others anywhere, from .3 to 1.65 times as large as a box.

    Args:
      picture: an image and its boxes.
      rng: a source of random numbers.

    Returns:
      [PER_IMAGE, 4] float64; None where the image has no usable box or no background.
    """
    height, width = picture.image.shape[:2]
    extent = np.array([width, height], np.float64)
    low = np.clip(picture.boxes[:, :2], 0, extent)
    high = np.clip(picture.boxes[:, :2] + picture.boxes[:, 2:], 0, extent)
    boxes = np.concatenate([low, high - low], axis=1)
    usable = boxes[(boxes[:, 2:] >= SMALLEST).all(axis=1)]
    if not len(usable):
        return None
    half = PER_IMAGE // 2
    objects = usable[rng.integers(len(usable), size=half)]
    near = _moved(np.repeat(objects, _PROPOSED, axis=0), 0.1, 0.1, rng).reshape(half, _PROPOSED, 4)
    fits = overlap(near, objects[:, None]) >= NEAR
    # The first that fits; the box itself where none does.
    shown = np.where(fits.any(axis=1)[:, None], near[np.arange(half), fits.argmax(axis=1)], objects)

    like = usable[rng.integers(len(usable), size=2 * _PROPOSED)]
    beside = _moved(like[:_PROPOSED], 0.8, 0.4, rng)
    sizes = np.maximum(like[_PROPOSED:, 2:] * np.exp(rng.uniform(-1.2, 0.5, (_PROPOSED, 1))), SMALLEST)
    anywhere = np.concatenate([rng.uniform(0, extent, (_PROPOSED, 2)) - sizes / 2, sizes], axis=1)
    far = np.stack([beside, anywhere], axis=1).reshape(-1, 4)  # by turns
    fits = (overlap(far[:, None], boxes[None]).max(axis=1) < FAR) & (_share(far, np.r_[0, 0, extent]) >= 0.5)
    for crowd in picture.crowds:
        fits &= _share(far, crowd) < FAR
    fits &= (far[:, 2:] >= SMALLEST).all(axis=1)
    background = far[fits][:half]
    return None if len(background) < half else np.concatenate([shown, background])


def _share(boxes: np.ndarray, within: np.ndarray) -> np.ndarray:
    """The shares [n] of boxes' areas [n, 4] that lie within another box [4]."""
    low, high = within[:2], within[:2] + within[2:]
    sides = np.clip(boxes[:, :2] + boxes[:, 2:], low, high) - np.clip(boxes[:, :2], low, high)
    return np.prod(sides, axis=1) / np.prod(boxes[:, 2:], axis=1)


def _moved(boxes: np.ndarray, shift: float, stretch: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes moved by normal shares of their sides and scaled by a lognormal factor about their centres."""
    sizes = boxes[:, 2:] * np.exp(stretch * rng.standard_normal((len(boxes), 1)))
    centres = boxes[:, :2] + boxes[:, 2:] / 2 + shift * boxes[:, 2:] * rng.standard_normal((len(boxes), 2))
    return np.concatenate([centres - sizes / 2, sizes], axis=1)


def _cut(image: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The patch that is kept: the window with its margin, to whole pixels; the border is repeated outside."""
    kept = tuple(round(side * KEPT) for side in size)
    centre, half = window[:2] + window[2:] / 2, window[2:] * KEPT / 2
    low = np.floor(centre - half + 0.5).astype(int)
    high = np.maximum(np.floor(centre + half + 0.5).astype(int), low + 1)
    rows, columns = (
        np.clip(np.arange(low[axis], high[axis]), 0, image.shape[1 - axis] - 1) for axis in (1, 0)
    )
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if len(rows) != part.shape[0] or len(columns) != part.shape[1]:
        part = image[rows[:, None], columns[None]]
    shrunk = part.shape[0] * part.shape[1] > kept[0] * kept[1]
    return cv2.resize(part, (kept[1], kept[0]), interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR)


def _part(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator | None = None) -> np.ndarray:
    """What the network is shown: a random part, perhaps mirrored; the middle without `rng`."""
    room = image.shape[0] - size[0], image.shape[1] - size[1]
    top, left = (side // 2 for side in room) if rng is None else (int(rng.integers(s + 1)) for s in room)
    part = image[top : top + size[0], left : left + size[1]]
    return part[:, ::-1] if rng is not None and rng.random() < 0.5 else part
