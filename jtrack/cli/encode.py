"""An annotated video as an MP4 file that browsers play: H.264, where this PyAV has an encoder for it."""

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from jtrack.data.decode import pyav

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

# The first that there is. Quality 20 shows no loss in drawings on pictures; a faster preset costs more space.
ENCODERS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libopenh264": {"b": "8M"},
    "h264_videotoolbox": {"b": "8M"},
    "mpeg4": {"q": "3"},
}
H264 = "h264"
BT709 = 1  # FFmpeg's number: the colours that players expect
FASTEST = 1000.0  # frames a second
LONGEST = 1001  # of a rate's denominator: 30000/1001 is kept as it is


def encoder_name() -> str:
    """The best encoder that this PyAV has."""
    av = pyav()
    return next(name for name in ENCODERS if name in av.codecs_available)


def plays_in_browsers(name: str) -> bool:
    """Whether what an encoder makes is H.264."""
    return H264 in name or name == "libx264"


@contextmanager
def encoding(path: Path, fps: float) -> Generator[Callable[[np.ndarray], None]]:
    """A function that appends uint8 [H, W, 3] RGB frames of one size to an MP4 file.

    Args:
      path: the file, which is written from the start.
      fps: frames a second.

    Raises:
      OSError: it cannot be written.
    """
    av = pyav()
    with ExitStack() as stack:
        # As an address of a file: a name may begin like a protocol. The index comes first, for the web.
        target, options = f"file:{os.path.abspath(path)}", {"movflags": "faststart"}
        container = stack.enter_context(av.open(target, "w", format="mp4", options=options))
        stream: VideoStream | None = None

        def write(image: np.ndarray) -> None:
            nonlocal stream
            image = _even(image)
            if stream is None:
                stream = _stream(container, fps, (image.shape[0], image.shape[1]))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))

        yield write
        if stream is not None:
            container.mux(stream.encode())


def _stream(container: "OutputContainer", fps: float, size: tuple[int, int]) -> "VideoStream":
    """The stream of pictures of a file, of which there is one."""
    name, rate = encoder_name(), frame_rate(fps)
    stream = cast("VideoStream", container.add_stream(name, rate, options=ENCODERS[name]))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.thread_type = "AUTO"  # several frames at once
    codec = stream.codec_context
    codec.colorspace = codec.color_primaries = codec.color_trc = BT709
    return stream


def frame_rate(fps: float) -> Fraction:
    """A rate as a file states it: a ratio of whole numbers of which neither is large."""
    fps = min(fps, FASTEST)
    return Fraction(fps).limit_denominator(LONGEST) or 1 / Fraction(1 / fps).limit_denominator(1)


def _even(image: np.ndarray) -> np.ndarray:
    """An image of even sides, its last row or column repeated: colours have half the resolution."""
    below, beside = image.shape[0] % 2, image.shape[1] % 2
    return np.ascontiguousarray(cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE))
