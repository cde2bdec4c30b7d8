"""JPEG files decoded by simplejpeg, faster than by OpenCV, where it gives the same pixels.

It is an extra (`fast`), so that no result may depend on it: a video's first image is decoded both ways, and
only if they agree to the bit are the others that are written alike left to simplejpeg.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

type Decode = Callable[[bytes], np.ndarray | None]  # None: not an image for it


def decoder(data: bytes, image: np.ndarray) -> Decode | None:
    """A decoder for the images of a video.

    Args:
      data: the file of its first image.
      image: that image, [H, W, 3] RGB, as OpenCV gives it.

    Returns:
      What makes [H, W, 3] RGB uint8 of a file, or None of one that is not written like the first, or is
      damaged; None where simplejpeg is not installed, or does not give the first image to the bit.
    """
    if find_spec("simplejpeg") is None:
        return None
    simplejpeg: Any = import_module("simplejpeg")
    written = _written(simplejpeg, data)

    def decode(data: bytes) -> np.ndarray | None:
        if written is None or _written(simplejpeg, data) != written:
            return None
        try:
            # Strict: a file that is cut off is no image.
            made: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", strict=True)
        except ValueError:
            return None
        return made

    first = decode(data)
    return decode if first is not None and np.array_equal(first, image) else None


def _written(simplejpeg: Any, data: bytes) -> tuple[int, int, str, str] | None:
    """Height, width, colours and their sampling of a colour JPEG that is shown as it lies; None of others."""
    if data[:2] != b"\xff\xd8" or b"Exif\0" in data[: 1 << 16]:  # which may tell OpenCV to turn it
        return None
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (height, width, colours, sampling) if colours == "YCbCr" else None
