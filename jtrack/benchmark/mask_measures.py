"""How well masks agree with true masks: intersection over union, and its success rate.

Hong et al., "Online Tracking by Learning Discriminative Saliency Map with Convolutional Neural Network" (ICML
2015), score segmentations so; its success rate is the area under the success curve of the OTB toolkit, with
the overlap of masks for that of boxes.
"""

import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtrack.benchmark import metrics
from jtrack.data.folder import natural_key
from jtrack.data.image_header import is_truncated
from jtrack.errors import JtrackError, missing_extra
from jtrack.untrusted import PIXELS, listed, read_file, reading

SUFFIXES = frozenset({".png", ".bmp", ".pgm", ".pbm", ".tif", ".tiff"})  # none that loses what it stores
_LARGEST = PIXELS // 2  # pixels: decoding takes up to eight bytes for each
_LARGEST_FILE = 1 << 28  # bytes


class Agreement(NamedTuple):
    """How well masks agree with true ones, by pixels and by the boxes around them."""

    masks: np.ndarray  # [T] intersection over union of the pixels
    boxes: np.ndarray  # [T] the same of the smallest upright boxes around them


def overlap(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of boolean masks [..., H, W], broadcast; 1 where both are empty.

    Two empty masks agree that nothing is there.
    """
    masks, truth = np.asarray(masks, bool), np.asarray(truth, bool)
    if masks.shape[-2:] != truth.shape[-2:]:
        raise JtrackError(
            f"masks are {_size(masks.shape[-2:])} but the true ones {_size(truth.shape[-2:])}: they must be"
            " of the same images"
        )
    common = np.count_nonzero(masks & truth, axis=(-2, -1))
    union = np.count_nonzero(masks | truth, axis=(-2, -1))
    return np.divide(common, union, out=np.ones(np.shape(union)), where=union > 0)


def filled(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes as masks, the pixels whose centres they cover: so scored, boxes stand beside masks.

    Args:
      boxes: [..., 4] x, y, w, h in pixels, 0-based.
      size: (height, width) of the images.

    Returns:
      bool [..., H, W].
    """
    x, y, w, h = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)[..., None]
    rows, columns = (np.arange(length) + 0.5 for length in size)
    inside = (rows > y) & (rows < y + h), (columns > x) & (columns < x + w)
    return inside[0][..., :, None] & inside[1][..., None, :]


def success_rate(overlaps: np.ndarray, threshold: float = 0.5) -> float:
    """Fraction of overlaps [T] above a threshold."""
    return float(np.mean(np.asarray(overlaps) > threshold))


def score(overlaps: np.ndarray) -> tuple[float, np.ndarray]:
    """Area under the success curve of overlaps [T], and the curve [21] itself at 0, 0.05, ..., 1."""
    curve = metrics.success_curve(overlaps)
    return metrics.auc(curve), curve


def box_around(mask: np.ndarray) -> np.ndarray:
    """The smallest box [4] x, y, w, h around a mask [H, W] bool; zeros around an empty one."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros(4)
    corner = np.array([columns[0], rows[0]], np.float64)
    return np.concatenate([corner, [columns[-1] + 1, rows[-1] + 1] - corner])


def folder_agreement(
    folder: str | Path, truth: str | Path, *, label: int | None = None, true_label: int | None = None
) -> Agreement:
    """Agreement of each true mask of a folder with the mask of the same frame.

    Masks belong together by their names without suffix, if the folder has one for every true mask (which may
    then be annotated in some frames only); else in natural order, if there are as many.

    Args:
      folder: the masks.
      truth: the true masks.
      label: which label of the masks is the target; None: they are binary.
      true_label: the same of the true masks.

    Returns:
      Both overlaps, of the true masks in natural order; of two empty masks they are 1.

    Raises:
      JtrackError: if the masks do not belong together, differ in size, or cannot be read.
    """
    masks, true = files(folder), files(truth)
    by_name = {path.stem: path for path in masks}
    if all(path.stem in by_name for path in true):
        pairs = [(by_name[path.stem], path) for path in true]
    elif len(masks) == len(true):
        pairs = list(zip(masks, true, strict=True))
    else:
        missing = next(path for path in true if path.stem not in by_name)
        raise JtrackError(
            f"{folder} has {len(masks)} masks but {truth} {len(true)}, and none is called {missing.stem}:"
            " name them alike, or give as many"
        )
    overlaps = np.array([_overlaps(*pair, label, true_label) for pair in pairs])
    return Agreement(overlaps[:, 0], overlaps[:, 1])


def files(folder: str | Path) -> list[Path]:
    """The masks of a folder, in natural order of their names (2.png before 10.png); hidden files are not."""
    folder = Path(folder)
    if not folder.is_dir():
        raise JtrackError(f"there is no folder {folder} to read masks from")
    found = [path for path in listed(folder) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise JtrackError(f"there are no masks in {folder}: they are images {', '.join(sorted(SUFFIXES))}")
    if twice := [stem for stem, count in Counter(path.stem for path in found).items() if count > 1]:
        raise JtrackError(f"{folder} has several masks called {twice[0]}: keep one of them")
    return sorted(found, key=lambda path: natural_key(path.name))


def read(path: str | Path, *, label: int | None = None) -> np.ndarray:
    """Reads a mask.

    Args:
      path: an image of one channel, of a palette, or of equal channels.
      label: the target is where the image has this value (of a palette: this index). None: the image has one
        value besides 0, usually 255, and the target is there.

    Returns:
      [H, W] bool.

    Raises:
      JtrackError: if the file is not such an image, or has several values and no label is chosen.
    """
    values = _values(Path(path))
    if label is not None:
        return values == label
    found = np.unique(values[values > 0]) if values.dtype != bool else np.ones(1)
    if len(found) > 1:
        shown = ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
        raise JtrackError(f"mask {path} has the labels {shown}: say which is the target by its label")
    return values > 0


def _values(path: Path) -> np.ndarray:
    """Values [H, W] of an image file as they are stored: of a palette its indices."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra(f"reading mask {path}", "masks", error) from None
    data = read_file(path, largest=_LARGEST_FILE)
    if is_truncated(data):
        raise JtrackError(f"mask {path} is truncated ({len(data)} bytes): copy it again")
    wrong = reading(str(path), "remove or replace it", fault="is not a readable mask")
    with wrong, Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > _LARGEST:
            raise JtrackError(f"mask {path} is {image.width}x{image.height}: it is not an image of a video")
        values = np.asarray(image)
    if values.ndim == 3:
        colours = values[..., :3] if values.shape[2] > 2 else values[..., :1]
        if np.any(colours != colours[..., :1]):
            raise JtrackError(f"mask {path} is in colours: needed is a grey image, or one with a palette")
        values = colours[..., 0]
    return values


def _overlaps(mask: Path, truth: Path, label: int | None, true_label: int | None) -> tuple[float, float]:
    pair = read(mask, label=label), read(truth, label=true_label)
    if pair[0].shape != pair[1].shape:
        raise JtrackError(
            f"mask {mask} is {_size(pair[0].shape)} but {truth} {_size(pair[1].shape)} (width x height): they"
            " must be of the same images"
        )
    if not pair[0].any() and not pair[1].any():
        return 1.0, 1.0
    around = metrics.overlap(*(box_around(each) for each in pair))
    return float(overlap(*pair)), float(around)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
