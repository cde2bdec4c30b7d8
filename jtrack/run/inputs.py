"""What users give, checked and brought to one form: sources, images and boxes."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import data
from jtrack.data import FrameSource
from jtrack.data.folder import check_range
from jtrack.data.sequence import as_rgb
from jtrack.errors import JtrackError
from jtrack.types import Array, Frame

# Canvas sides are multiples of this. It wastes 7 % of a 1920 x 1080 frame and puts every size within 127
# pixels on one compilation; only crops are ever read, so that the waste is in sending the frame alone.
CANVAS_STEP = 128

type Source = str | Path | int | FrameSource | data.Sequence | Iterable[np.ndarray]

KINDS_OF_SOURCE = (
    "a video file, a folder of images, a pattern like 'img/*.jpg', an address, a camera's number, "
    "a FrameSource, a Sequence or images [T, H, W, 3]"
)


def canvas_of(size: tuple[int, int]) -> tuple[int, int]:
    """The canvas (height, width) of frames of a size: each side rounded up to a multiple of `CANVAS_STEP`."""
    height, width = (-(-side // CANVAS_STEP) * CANVAS_STEP for side in size)
    return height, width


def to_frame(image: np.ndarray | Array, canvas: tuple[int, int] | None = None) -> Frame:
    """Puts an image on the device, as the functions of a tracker take it.

    The image lies in the top-left corner of a canvas, the rest of which is black and never read. Images of
    one canvas share what is compiled.

    Args:
      image: uint8 or uint16, [H, W, 3] RGB, [H, W] or [H, W, 1] grey, or [H, W, 4] RGBA, whose alpha is
        dropped; of uint16 the upper eight bits are kept. Or, for gradients, floating-point [H, W, 3] RGB from
        0 to 255, whose dtype is kept; it may be traced by JAX, as may a uint8 [H, W, 3].
      canvas: (height, width), each at least the image's. None: those that `jtrack.track` uses, the image's
        rounded up to multiples of 128.

    Returns:
      The frame: `pixels` [*canvas, 3] and `size`, the image's height and width. The image may be changed
      afterwards.

    Raises:
      JtrackError: an image of another shape or dtype, or one larger than the canvas.

    Example:
      >>> import jtrack, numpy as np
      >>> jtrack.to_frame(np.zeros((48, 100, 3), np.uint8))
      Frame(pixels=uint8[128, 128, 3], size=[48, 100])
    """
    if isinstance(image, jax.core.Tracer) or _is_floating(image):
        if image.ndim != 3 or image.shape[2] != 3:
            raise JtrackError(
                f"a traced or floating-point image must be RGB [H, W, 3]: got {list(image.shape)}"
            )
    else:
        image = as_rgb(np.asarray(image))
    size = image.shape[0], image.shape[1]
    canvas = canvas_of(size) if canvas is None else canvas
    below, beside = canvas[0] - size[0], canvas[1] - size[1]
    if below < 0 or beside < 0:
        raise JtrackError(
            f"an image of {size[1]}x{size[0]} does not fit on a canvas of {canvas[1]}x{canvas[0]} "
            "(width x height): give a larger canvas, or none"
        )
    margins = (0, below), (0, beside), (0, 0)
    # A copy in any case: the device may read an array of the host later.
    pixels = np.pad(image, margins) if isinstance(image, np.ndarray) else jnp.pad(image, margins)
    return Frame(jax.device_put(pixels), jax.device_put(np.array(size, np.int32)))


def to_frames(images: Source | Array, canvas: tuple[int, int] | None = None) -> Frame:
    """Puts T images on the device at once, as `jtrack.rollout` takes them: all in memory, on one canvas.

    Args:
      images: whatever `jtrack.track` takes and that ends: a clip of `jtrack.data`, a list of images, an array
        [T, H, W, 3], a video's path. Or, for gradients, a floating-point array [T, H, W, 3] RGB from 0 to
        255, whose dtype is kept; it may be traced by JAX, as may a uint8 one.
      canvas: (height, width), as of `to_frame`.

    Returns:
      The frames: `pixels` [T, *canvas, 3] and `size` [T, 2], each image's height and width.

    Raises:
      JtrackError: there is no image, an image has another size than the first, or is none; as `to_frame`.

    Example:
      >>> import jtrack, numpy as np
      >>> jtrack.to_frames(np.zeros((5, 48, 100, 3), np.uint8))
      Frame(pixels=uint8[5, 128, 128, 3], size=int32[5, 2])
    """
    given: Any = images
    if isinstance(given, jax.core.Tracer) or _is_floating(given):
        if given.ndim != 4 or not len(given):
            raise JtrackError(
                "traced or floating-point images must be RGB [T, H, W, 3], one at least: "
                f"got {list(given.shape)}"
            )
        pixels = jnp.array(given)
    else:
        pixels = jnp.array(np.stack(list(open_frames(given))))
    frames: Frame = jax.vmap(functools.partial(to_frame, canvas=canvas))(pixels)
    return frames


def _is_floating(image: Any) -> bool:
    return hasattr(image, "dtype") and jnp.issubdtype(image.dtype, jnp.floating)


def check_boxes(
    boxes: np.ndarray | Sequence[Any], size: tuple[int, int], *, inside: bool, origin: int = 0
) -> np.ndarray:
    """Refuses boxes that cannot be tracked.

    Args:
      boxes: [..., 4] x, y, w, h in pixels, 0-based.
      size: (height, width) of the frame.
      inside: whether boxes must lie inside the frame, up to the one pixel annotators disagree by; otherwise
        they need only overlap it.
      origin: what the user calls the first pixel; boxes are said so in errors.

    Returns:
      The boxes as float32.

    Raises:
      JtrackError: for another shape, for values that are not finite, for a side under two pixels, and for
        boxes outside the frame.
    """
    array = _numbers(boxes)
    if array is None or array.ndim not in (1, 2) or array.shape[-1] != 4 or not array.size:
        shown = f"an array of shape {list(boxes.shape)}" if isinstance(boxes, np.ndarray) else repr(boxes)
        raise JtrackError(f"a box is four numbers x, y, w, h, or [N, 4] for N targets: got {shown:.80}")
    height, width = size
    for box in array.reshape(-1, 4):
        x, y, w, h = box
        shown = ",".join(f"{value:g}" for value in (x + origin, y + origin, w, h))
        if not np.isfinite(box).all():
            raise JtrackError(f"box {shown} (x,y,w,h) is not finite: give four numbers")
        if min(w, h) < 2:
            raise JtrackError(
                f"box {shown} (x,y,w,h) is too small: width and height must be 2 pixels or more"
            )
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if left >= right or top >= bottom:
            raise JtrackError(
                f"box {shown} (x,y,w,h) lies outside the frame, which is {width}x{height} pixels"
            )
        if inside and (min(x, y) < -1 or x + w > width + 1 or y + h > height + 1):
            raise JtrackError(
                f"box {shown} (x,y,w,h) lies partly outside the frame, which is {width}x{height} pixels: "
                f"the part inside is {left + origin:g},{top + origin:g},{right - left:g},{bottom - top:g}"
            )
    return array.astype(np.float32)


def _numbers(values: Any) -> np.ndarray | None:
    """An array of float64; None for what is no array of numbers."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return None


def open_frames(source: Source, *, start: int | None = None, end: int | None = None) -> FrameSource:
    """Opens whatever `track` accepts as a source, from frame `start` to before frame `end`.

    Raises:
      JtrackError: for something else, or a source that cannot be opened.
    """
    if isinstance(source, str | Path | int):
        return data.open_source(source, start=start, end=end)
    if isinstance(source, data.Sequence):
        source = source.frames
    frames = source if isinstance(source, FrameSource) else data.from_arrays(_images(source))
    if start is None and end is None:
        return frames
    first, last = check_range(frames.name, start, end, frames.length)
    length = None if frames.length is None or last is None else last - first
    pick, encoded = frames.pick, frames.encoded
    return replace(
        frames,
        length=length,
        declared=None,
        read=lambda: islice(frames, first, last),
        pick=None if pick is None else lambda number: pick(first + number),
        encoded=None if encoded is None else lambda: islice(encoded(), first, last),
        files=frames.files[first:last],
    )


def _images(source: Any) -> Iterable[np.ndarray]:
    """Refuses what is no iterable of images, as far as can be told before they are read."""
    if isinstance(source, data.Dataset):
        raise JtrackError(
            f"{source!r} is no source of frames: give one of its sequences, dataset.sequence(NAME)"
        )
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | Path):
        raise JtrackError(
            f"a {type(source).__name__} of paths is no source of frames: give {KINDS_OF_SOURCE}; "
            "track_batch takes several videos"
        )
    shape = getattr(source, "shape", None)
    if shape is not None and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise JtrackError(
            f"an array of shape {list(shape)} is one image, not a video: give images [T, H, W, 3], or a list "
            "of images"
        )
    if not isinstance(source, Iterable):
        raise JtrackError(f"a {type(source).__name__} is no source of frames: give {KINDS_OF_SOURCE}")
    return source
