"""Videos decoded by PyAV, which is FFmpeg: opened without trust, frame by frame, and why that cannot be done.

A file is opened by Python and handed over as a stream of bytes: whatever its name is made of, and whatever
it says, FFmpeg opens nothing else. (A playlist may name any file or server.)
"""

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from jtrack.errors import JtrackError, missing_package
from jtrack.untrusted import PIXELS, reading, regular_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

PATIENCE = 15.0  # seconds that a server may be silent
PROTOCOLS = "http,https,rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto"  # what a stream may use; no files
BUFFER = 1 << 20  # bytes read at once: each read is a call of Python
STAMPS = 300  # packets whose time stamps tell the rate
STAMPS_BYTES = 1 << 25  # and no more than that is read for them, nor for the first picture
SAME = 0.01  # a declared rate this near to the measured one (relative) is right: stamps are rounded
INVALID = 1094995529  # FFmpeg's number for what is of no format it knows ("INDA")
LIMIT = {"max_pixels": str(PIXELS)}  # a frame may declare more than the file does
TEXT = frozenset({"ansi", "bintext", "idf", "xbin"})  # decoders that draw text as pictures


def pyav() -> ModuleType:
    """PyAV, which takes some hundredths of a second to import and is imported where a video is opened.

    Raises:
      JtrackError: it cannot be imported.
    """
    try:
        return import_module("av")
    except ImportError as error:
        raise missing_package("videos", "av", error) from error


class Probe(NamedTuple):
    """What is known of a video before it is read through."""

    size: tuple[int, int]  # (height, width) of its frames
    declared: int | None  # frames, as the file says; it may hold more or fewer
    fps: float | None  # as the time stamps say


def probe(source: Path | str) -> Probe:
    """Decodes the first frame.

    Args:
      source: a file's path, or a stream's address.

    Raises:
      JtrackError: it cannot be decoded; the message says why.
    """
    av = pyav()
    with video_stream(source) as stream:
        # The index of an MP4 or AVI counts all frames. Other files are asked for the stamps of the first
        # few hundred packets; a stream would make us wait for them.
        wanted = STAMPS if isinstance(source, Path) and not stream.frames else 0
        first, stamps, taken = None, list[int](), 0
        for packet in _packets(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            stamps += [] if stamp is None or not wanted else [stamp]
            taken += packet.size
            if first is None:
                first = next(iter(_decoded(packet) or ()), None)
            if taken > STAMPS_BYTES or (first is not None and len(stamps) >= wanted):
                break
        if first is None:
            raise JtrackError(
                f"{shown(source)} has no frame that can be decoded ({stream.codec_context.name}): copy it "
                "again, or convert it"
            )
        return Probe(
            _rgb(first, av.video.reformatter.VideoReformatter()).shape[:2],
            stream.frames or None,
            _rate(stream, stamps),
        )


def _rate(stream: "VideoStream", stamps: list[int]) -> float | None:
    """Frames a second: as declared, unless the time stamps say otherwise."""
    rate = stream.average_rate or stream.guessed_rate
    declared = float(rate) if rate else None
    span = max(stamps) - min(stamps) if stamps else 0
    if span and stream.time_base:
        measured = (len(stamps) - 1) / float(span * stream.time_base)
        if not declared or abs(declared - measured) > SAME * measured:
            return measured
    return declared


def pictures(source: Path | str, *, live: bool = False) -> Generator[np.ndarray]:
    """Decodes a video from its first frame, each frame as uint8 [H, W, 3] RGB, turned as the file asks for.

    A part that cannot be decoded is left out, with a warning at the end.

    Args:
      source: a file's path, or a stream's address.
      live: decode each frame as it comes, rather than several at once.

    Raises:
      JtrackError: a source that cannot be opened, or can no longer be read.
    """
    av = pyav()
    damaged, frames = 0, 0  # parts, and what came out of the others
    with video_stream(source) as stream:
        stream.thread_type = "SLICE" if live else "AUTO"
        reformatter = av.video.reformatter.VideoReformatter()
        try:
            for frame in _frames(stream):
                if frame is None:
                    damaged += 1
                else:
                    yield _rgb(frame, reformatter)
                    frames += 1
        finally:
            if damaged:
                warnings.warn(
                    f"{shown(source)} is damaged: {damaged} part{'s' * (damaged > 1)} of it could not be "
                    f"decoded and left out, beside {frames} frames",
                    stacklevel=2,
                )


def count_frames(path: Path) -> int:
    """How many frames of a file can be decoded, for which all are.

    Raises:
      JtrackError: it cannot be opened, or not be read to its end.
    """
    with video_stream(path) as stream:
        stream.thread_type = "AUTO"
        return sum(frame is not None for frame in _frames(stream))


def _frames(stream: "VideoStream") -> "Iterator[VideoFrame | None]":
    """All frames; None for a part that is damaged."""
    for packet in _packets(stream):
        found = _decoded(packet)
        if found is None:
            yield None
        for frame in found or ():
            yield None if frame.is_corrupt else frame  # such a one is put together from others


def _packets(stream: "VideoStream") -> "Iterator[Packet]":
    return cast("InputContainer", stream.container).demux(stream)


def _decoded(packet: "Packet") -> "list[VideoFrame] | None":
    """The frames that come out with a packet; None if it is damaged.

    A packet that was cut off would give a picture that is partly grey.
    """
    av = pyav()
    if packet.is_corrupt:
        return None
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return None


def _rgb(frame: "VideoFrame", reformatter: "VideoReformatter") -> np.ndarray:
    """A frame as uint8 [H, W, 3], upright: cameras say by a number how they were held."""
    image = reformatter.reformat(frame, format="rgb24").to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def shown(source: Path | str) -> str:
    """A source as messages and results name it: an address without the password in it."""
    return str(source) if isinstance(source, Path) else re.sub(r"//[^/@]*@", "//", source)


@contextmanager
def video_stream(source: Path | str) -> "Generator[VideoStream]":
    """Opens the first video stream of a file or of a server.

    Raises:
      JtrackError: there is none that can be decoded, or it can no longer be read; the message says why.
    """
    with ExitStack() as stack:
        stack.enter_context(reading(f"video {shown(source)}"))
        stack.enter_context(_in_words(source))
        if isinstance(source, Path):
            file = stack.enter_context(regular_file(source).open("rb"))
            start = file.read(12)
            file.seek(0)
            container = _opened(
                source, start, file, options={"protocol_whitelist": "", **LIMIT}, buffer_size=BUFFER
            )
        else:
            options = {"protocol_whitelist": PROTOCOLS, "rtsp_transport": "tcp", **LIMIT}
            container = _opened(source, b"", source, options=options, timeout=PATIENCE)
        stack.enter_context(container)
        yield _checked(container, source)


@contextmanager
def _in_words(source: Path | str) -> Generator[None]:
    """Says FFmpeg's errors without the address, which may hold a password."""
    av = pyav()
    try:
        yield
    except av.error.FFmpegError as error:
        waited = isinstance(error, av.error.ExitError)
        why = f"nothing came for {PATIENCE:g} seconds" if waited else error.strerror
        raise JtrackError(f"video {shown(source)} cannot be read ({why})") from None


def _opened(source: Path | str, start: bytes, target: Any, **how: Any) -> "InputContainer":
    """Opens a container, or says what the file is instead."""
    av = pyav()
    try:
        return av.open(target, "r", **how)
    except av.error.FFmpegError as error:
        # Errors of the disk or the server say themselves what they are.
        if isinstance(error, OSError) or (isinstance(source, str) and error.errno != INVALID):
            raise
    if isinstance(source, str):
        what = "sends no video"
    elif not start:
        what = "is empty: copy it again"
    elif start[4:8] == b"ftyp":  # an MP4, whose index is written last
        what = "is incomplete: its index (moov) is missing, as in a recording that was cut off: copy it again"
    else:
        what = "is not a video that can be decoded: check what it is, or convert it"
    raise JtrackError(f"{shown(source)} {what}")


def _checked(container: "InputContainer", source: Path | str) -> "VideoStream":
    """The first stream of pictures, if there is a decoder for it."""
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        kinds = " and ".join(sorted({each.type for each in container.streams}))
        raise JtrackError(f"{shown(source)} has no video, only {kinds or 'an empty container'}: give a video")
    stream = streams[0]
    codec = stream.codec_context
    if codec is None:
        raise JtrackError(
            f"{shown(source)} cannot be decoded: there is no decoder for its video{_codec(stream)}: "
            "convert it to H.264"
        )
    if codec.name in TEXT or container.format.name.endswith("_pipe"):
        kind = "text" if codec.name in TEXT else "one image"
        raise JtrackError(f"{shown(source)} is {kind}, not a video")
    if codec.width * codec.height > PIXELS:
        raise JtrackError(
            f"{shown(source)} declares frames of {codec.width}x{codec.height}: at most {PIXELS} pixels are "
            "read of a frame"
        )
    codec.options = LIMIT
    return stream


def _codec(stream: "VideoStream") -> str:
    """The codec of a stream without a decoder, in brackets, as FFmpeg or else the file calls it.

    PyAV gives such a stream no codec; FFmpeg's own description of the file has it, which is a message of its
    log. Where neither has a name for it (in Matroska), "".
    """
    log = pyav().logging
    level = log.get_level()
    log.set_level(log.INFO)
    try:
        text = cast("InputContainer", stream.container).dumps_format()
    finally:
        log.set_level(level)
    found = re.search(rf"Stream #0:{stream.index}\b.*Video: (\w+)(?:.*? \((.+?) / 0x)?", text)
    name = "" if found is None else found[2] if found[1] == "none" else found[1]
    return f" ({name})" if name else ""
