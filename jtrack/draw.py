"""Pictures of tracking: annotated frames, and response maps beside what they look at. OpenCV only.

Images are uint8 [H, W, 3] RGB, as everywhere; callers turn them to BGR where OpenCV writes or shows them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

SHORT_SIDE = 480  # smaller frames are enlarged by a whole factor towards it, so that text stays readable
PANEL = 224  # height of a picture of a response, in pixels
BAR = 24  # height of the title above it

# One colour a target, distinct from each other and on most grounds (Okabe and Ito's, brightened); RGB.
COLOURS = (
    (255, 200, 0),
    (64, 190, 255),
    (255, 110, 30),
    (20, 220, 150),
    (240, 130, 200),
    (250, 240, 70),
    (110, 130, 255),
    (190, 255, 120),
)
WHITE, RED, DARK = (255, 255, 255), (255, 60, 50), (24, 24, 28)
PEAK = (60, 200, 255)  # the cross on a map's maximum


def annotate(
    image: np.ndarray,
    boxes: np.ndarray,
    *,
    scores: np.ndarray | Sequence[float] | None = None,
    lost: np.ndarray | Sequence[bool] | None = None,
    truth: np.ndarray | None = None,
    caption: str = "",
    key: Mapping[str, Sequence[int]] | None = None,
    numbered: bool = True,
) -> np.ndarray:
    """Draws boxes on a frame, each in its target's colour.

    Args:
      image: uint8 [H, W, 3] RGB; not changed.
      boxes: [N, 4] x, y, w, h in pixels of the image.
      scores: [N], written above the boxes.
      lost: [N]; the box of a lost target is dashed and marked LOST.
      truth: [M, 4] ground truth, in white beneath the others.
      caption: written in the top-left corner.
      key: what colours mean, {words: RGB}; written in the bottom-left corner.
      numbered: write a number at each of several boxes.

    Returns:
      The annotated copy; a frame whose shorter side is under about 480 pixels is enlarged by a whole factor.
    """
    zoom = max(1, round(SHORT_SIDE / min(image.shape[:2])))
    picture = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    width = max(1, round(min(picture.shape[:2]) / 240))
    if truth is not None:
        for box in truth:
            _rectangle(picture, box * zoom, WHITE, width)
    for target, box in enumerate(boxes):
        colour = COLOURS[target % len(COLOURS)]
        gone = lost is not None and bool(lost[target])
        _rectangle(picture, box * zoom, colour, width, dashed=gone)
        words = [f"{target + 1}:"] if numbered and len(boxes) > 1 else []
        words += [] if scores is None else [f"{scores[target]:.2f}"]
        x, y = box[:2] * zoom
        words += ["LOST"] if gone else []
        if words:
            _text(picture, " ".join(words), (x, y - 2 * width), RED if gone else colour)
    if caption:
        _text(picture, caption, (4 * width, 0), WHITE, below=True)
    x = 4.0 * width
    for meaning, tone in (key or {}).items():
        _text(picture, meaning, (x, picture.shape[0]), tone)
        x += _text_width(picture, meaning) + 8 * width
    return picture


def tint(image: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Colours the pixels of targets, each in its target's colour.

    Args:
      image: uint8 [H, W, 3] RGB; not changed.
      masks: one bool [H, W] a target; none leaves the image as it is.

    Returns:
      The tinted copy.
    """
    picture = image.copy()
    for target, mask in enumerate(masks):
        colour = np.array(COLOURS[target % len(COLOURS)])
        picture[mask] = np.rint((picture[mask] + colour) / 2).astype(np.uint8)
    return picture


def response_maps(
    image: np.ndarray,
    box: np.ndarray,
    info: dict[str, Any],
    names: Sequence[str],
    *,
    title: str = "frame",
    target: int = 0,
) -> np.ndarray:
    """Lays out the search window, every layer's response and the combined response in a row.

    Each heat map runs from its own minimum (dark) to its maximum (bright), which its title states; a cross
    marks the maximum. All panels show the same part of the frame.

    Args:
      image: uint8 [H, W, 3] RGB, the frame.
      box: [4] x, y, w, h found in it.
      info: `window` [4] x, y, w, h of the search window, `responses` [L, M, N] by layer and `response` [M, N]
        combined, zero displacement in the middle (at M // 2, N // 2).
      names: of the L layers.
      title: of the first panel.
      target: its number, from 0, whose colour the box has.

    Returns:
      uint8 [PANEL + BAR, W, 3] RGB.
    """
    x, y, w, h = (float(value) for value in info["window"])
    scale = PANEL / h
    size = max(PANEL // 3, round(w * scale)), PANEL  # width, height
    scales = np.array([size[0] / w, scale])
    matrix = np.array([[1 / scales[0], 0, x + 0.5 / scales[0] - 0.5], [0, 1 / scale, y + 0.5 / scale - 0.5]])
    view = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    corner = (np.asarray(box[:2]) - [x, y]) * scales
    _rectangle(
        view, np.concatenate([corner, np.asarray(box[2:]) * scales]), COLOURS[target % len(COLOURS)], 2
    )
    panels = [_titled(view, title)]
    maps = [*zip(names, info["responses"], strict=True), ("combined", info["response"])]
    panels += [_titled(_heat(np.asarray(response), size), name, response.max()) for name, response in maps]
    gap = np.full((PANEL + BAR, 6, 3), DARK, np.uint8)
    return np.hstack([part for panel in panels for part in (panel, gap)][:-1])


def _heat(response: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A response [M, N] as a picture whose middle is zero displacement, its maximum marked."""
    rows, columns = response.shape
    low, high = float(response.min()), float(response.max())
    level = (response - low) / (high - low if high > low else 1.0)
    step = np.array([columns / size[0], rows / size[1]])  # cells a pixel
    shift = np.array([columns // 2, rows // 2]) - (np.array(size) / 2 - 0.5) * step
    matrix = np.array([[step[0], 0, shift[0]], [0, step[1], shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(
        level.astype(np.float32), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    picture = cv2.applyColorMap(np.rint(255 * large).astype(np.uint8), cv2.COLORMAP_INFERNO)
    peak = np.array(np.unravel_index(response.argmax(), response.shape))[::-1]
    at = np.rint((peak - shift) / step).astype(int).tolist()
    cv2.drawMarker(picture, at, PEAK[::-1], cv2.MARKER_CROSS, 14, 1, cv2.LINE_AA)
    return np.ascontiguousarray(picture[:, :, ::-1])


def _titled(panel: np.ndarray, name: str, value: float | None = None) -> np.ndarray:
    """A panel under a bar with its name, shortened to fit, and a value at the right."""
    bar = np.full((BAR, panel.shape[1], 3), DARK, np.uint8)
    right = "" if value is None else f"max {value:.2g}"
    room = panel.shape[1] - 12 - _width(right, 0.4)
    while len(name) > 1 and _width(name, 0.4) > room:
        name = name[:-1]
    for text, x in ((name, 4), (right, panel.shape[1] - 4 - _width(right, 0.4))):
        cv2.putText(bar, text, (x, BAR - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, WHITE, 1, cv2.LINE_AA)
    return np.vstack([bar, panel])


def _width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]


def _rectangle(
    picture: np.ndarray, box: np.ndarray, colour: Sequence[int], width: int, *, dashed: bool = False
) -> None:
    """Draws a box on a dark edge, in place and to a sixteenth of a pixel."""
    # OpenCV puts a pixel's centre at whole numbers, boxes at halves. Far away boxes are cut.
    x, y, w, h = (float(value) for value in np.nan_to_num(box))
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]) - 0.5
    corners = np.clip(corners, -1e5, 1e5)
    for tone, thickness in ((DARK, width + 2), (colour, width)):
        for start, stop in pairwise(corners):
            pieces = max(1, int(np.hypot(*(stop - start)) // (8 * width))) if dashed else 1
            steps = np.linspace(0, 1, 2 * min(pieces, 200) if dashed else 2)
            points = start + steps[:, None] * (stop - start)
            for a, b in zip(points[::2], points[1::2], strict=True):
                ends = np.rint(np.stack([a, b]) * 16).astype(int).tolist()
                cv2.line(picture, ends[0], ends[1], tone, thickness, cv2.LINE_AA, 4)


def _text(
    picture: np.ndarray, text: str, at: Sequence[float], colour: Sequence[int], *, below: bool = False
) -> None:
    """Writes text above (or below) a point on a dark ground, kept inside the picture, in place."""
    height, width = picture.shape[:2]
    scale, thick = _font(picture)
    (length, rise), drop = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    edge = 2 * thick
    x = int(np.clip(np.nan_to_num(at[0]), edge, max(edge, width - length - edge)))
    top = np.nan_to_num(at[1]) + edge if below else np.nan_to_num(at[1]) - rise - drop - edge
    y = int(np.clip(top, edge, height - rise - drop - edge)) + rise
    # On a dark ground, not outlined: the glyphs of a thicker pen are wider, and would not coincide.
    cv2.rectangle(picture, (x - edge, y - rise - edge), (x + length + edge, y + drop), DARK, cv2.FILLED)
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)


def _text_width(picture: np.ndarray, text: str) -> int:
    scale, thick = _font(picture)
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)[0][0]


def _font(picture: np.ndarray) -> tuple[float, int]:
    """Scale and thickness of text that is readable on a picture of this size."""
    scale = 0.55 * max(1.0, min(picture.shape[:2]) / SHORT_SIDE)
    return scale, max(1, round(1.4 * scale))


def sheet(pictures: Sequence[np.ndarray], title: str, *, targets: int = 1) -> np.ndarray:
    """Rows of `response_maps` below each other, under a title and above a key to their colours.

    Args:
      pictures: uint8 [H, W, 3] RGB, of any sizes.
      title: what they are of, shortened to fit.
      targets: how many there are; of several, the key names each in its colour.
    """
    rows = stack(pictures)
    width = rows.shape[1]
    head, foot = (np.full((height, width, 3), DARK, np.uint8) for height in (BAR + 12, BAR + 8))
    while len(title) > 1 and _width(title, 0.6) > width - 12:
        title = title[:-1]
    cv2.putText(head, title, (6, BAR), cv2.FONT_HERSHEY_SIMPLEX, 0.6, WHITE, 1, cv2.LINE_AA)
    x, base = 6, BAR - 3
    boxes = ["box: tracked"] if targets == 1 else [f"target {number + 1}" for number in range(targets)]
    key = [(words, COLOURS[number % len(COLOURS)]) for number, words in enumerate(boxes)]
    for words, colour in (*key, ("cross: peak", PEAK), ("lowest", WHITE)):
        cv2.putText(foot, words, (x, base), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        x += _width(words, 0.45) + 18
    bar = np.tile(np.linspace(0, 255, PANEL).round().astype(np.uint8), (BAR - 8, 1))
    room = max(0, min(PANEL, width - x - 6))
    foot[6 : BAR - 2, x - 8 : x - 8 + room] = cv2.applyColorMap(bar, cv2.COLORMAP_INFERNO)[:, :room, ::-1]
    words = "highest response of each map"
    cv2.putText(foot, words, (x + room, base), cv2.FONT_HERSHEY_SIMPLEX, 0.45, WHITE, 1, cv2.LINE_AA)
    return np.vstack([head, rows, foot])


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Puts pictures [H, W, 3] of any sizes below each other on a dark ground."""
    width = max(picture.shape[1] for picture in pictures)
    rows = []
    for picture in pictures:
        margin = np.full((picture.shape[0], width - picture.shape[1], 3), DARK, np.uint8)
        rows += [np.hstack([picture, margin]), np.full((6, width, 3), DARK, np.uint8)]
    return np.vstack(rows[:-1])
