"""Which pixels are the target's: OpenCV's GrabCut from a saliency map, on the host (Hong et al., ICML 2015).

The most salient pixels are surely of the target, those around its box surely not, and GrabCut (Rother et al.,
2004) decides the others by their colours.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from jtrack import trackers
from jtrack.errors import JtrackError
from jtrack.run.stream import build, track
from jtrack.trackers import BoundTracker

SEEDS = 0.7  # of the largest saliency: from here on a pixel is surely of the target
MARGIN = 50  # pixels around the box that are surely background, at most
ROUNDS = 5


def saliency(
    image: np.ndarray,
    box: np.ndarray | Sequence[float],
    *,
    backbone: str | None = None,
    profile: str = "default",
    seed: int = 0,
) -> np.ndarray:
    """Which pixels tell an object from what is around it: CNN-SVM's saliency map of a single image.

    A linear SVM learns the box against the background around it, and what its positive weights ask for is
    projected back through the network.

    Args:
      image: uint8 [H, W, 3] RGB.
      box: [4] x, y, w, h of the object, in pixels, 0-based.
      backbone: one of `jtrack.backbones.names()`; None for googlenet where its weights are found, else hog.
      profile: of the tracker that makes saliency maps, CNN-SVM.
      seed: of the background's samples.

    Returns:
      [H, W] float32, not negative; zero farther than about three sides from the box's middle, and
      everywhere where no weight is positive.

    Raises:
      JtrackError: for a box that cannot be tracked, an unknown name, or a profile without saliency.
    """
    (able, *_) = trackers.names_with("saliency")
    bound = build(able, profile=profile, backbone=backbone, precision="float32")
    bound = bound._replace(config=dataclasses.replace(bound.config, info=True))
    check_saliency(bound)
    infos: list[dict[str, Any]] = []
    # The tracker learns the image in the first frame and is applied to the same image in the second.
    track(
        [image, image],
        box,
        tracker=bound,
        seed=seed,
        on_frame=lambda index, _, outputs: infos.append(outputs[0].info) if index else None,
    )
    size = image.shape[0], image.shape[1]
    return on_frame(np.asarray(infos[0]["saliency"]), np.asarray(infos[0]["window"]), size)


def check_saliency(bound: BoundTracker) -> None:
    """Refuses a tracker that makes no saliency map.

    Raises:
      JtrackError: naming the tracker and its profile.
    """
    if bound.row.saliency is None or not bound.row.saliency(bound.config):
        able = " or ".join(trackers.names_with("saliency"))
        raise JtrackError(
            f"{bound.name} {bound.profile} makes no saliency map, which masks need: "
            f"use {able} with the profile default or paper"
        )


def segment(
    image: np.ndarray, box: np.ndarray, saliency: np.ndarray, *, rounds: int = ROUNDS, margin: int = MARGIN
) -> np.ndarray:
    """The mask of a target.

    Args:
      image: uint8 [H, W, 3] RGB.
      box: [4] x, y, w, h of the target; the mask does not leave it.
      saliency: [H, W] float, not negative (`on_frame`).
      rounds: of GrabCut.
      margin: pixels around the box, as many as the image has, whose colours are the background's.

    Returns:
      bool [H, W]. The whole box where nothing in it is salient or there is no background around it; nothing
      where the box lies outside the image.

    Raises:
      JtrackError: if the saliency is not of the image's size.
    """
    height, width = image.shape[:2]
    if saliency.shape != (height, width):
        raise JtrackError(
            f"a saliency map of {' x '.join(map(str, saliency.shape))} does not belong to an image of "
            f"{height} x {width}: lay it on the frame first (jtrack.run.segmentation.on_frame)"
        )
    x, y, w, h = (float(value) for value in box)
    left, top = round(x), round(y)
    right, bottom = min(width, max(left + 1, round(x + w))), min(height, max(top + 1, round(y + h)))
    left, top = max(0, left), max(0, top)
    mask = np.zeros((height, width), np.bool_)
    if left >= right or top >= bottom:
        return mask
    inside = saliency[top:bottom, left:right]
    rows = slice(max(0, top - margin), min(height, bottom + margin))
    columns = slice(max(0, left - margin), min(width, right + margin))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    seeds = inside > SEEDS * inside.max()
    labels[top:bottom, left:right] = np.where(seeds, cv2.GC_FGD, cv2.GC_PR_FGD)
    part = np.ascontiguousarray(labels[rows, columns])
    if not inside.max() > 0 or not (part == cv2.GC_BGD).any():
        mask[top:bottom, left:right] = True
        return mask
    colours = np.ascontiguousarray(image[rows, columns, ::-1])
    # GrabCut's mixtures start from random numbers: the same image shall give the same mask.
    cv2.setRNGSeed(0)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(colours, part, (0, 0, 0, 0), background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    mask[rows, columns] = (part == cv2.GC_FGD) | (part == cv2.GC_PR_FGD)
    return mask


def on_frame(saliency: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Lays a map of a window on the frame.

    Args:
      saliency: [M, N], of the window's cells.
      window: [4] x, y, w, h in pixels; it may reach out of the frame.
      size: (height, width) of the frame.

    Returns:
      [H, W] float32, zero outside the window.
    """
    rows, columns = saliency.shape
    cell = np.array([window[2] / columns, window[3] / rows], np.float64)
    # A pixel's centre in cells; OpenCV counts from the first cell's centre.
    matrix = np.array(
        [
            [1 / cell[0], 0, (0.5 - window[0]) / cell[0] - 0.5],
            [0, 1 / cell[1], (0.5 - window[1]) / cell[1] - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.asarray(saliency, np.float32), matrix, size[::-1], flags=flags)


def segment_output(image: np.ndarray, box: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """The mask of what a tracker said of a frame, from `saliency` and `window` of its `Output.info`.

    Args:
      image: uint8 [H, W, 3] RGB.
      box: [4], the tracker's.
      info: of a tracker whose config asks for it; CNN-SVM's holds both.

    Returns:
      bool [H, W].

    Raises:
      JtrackError: a tracker that makes no saliency map.
    """
    if "saliency" not in info:
        raise JtrackError(
            "this output holds no saliency map to segment by: use "
            f"{' or '.join(trackers.names_with('saliency'))}, its config's `info` set to True"
        )
    size = image.shape[0], image.shape[1]
    salient = on_frame(np.asarray(info["saliency"]), np.asarray(info["window"]), size)
    return segment(image, box, salient)
