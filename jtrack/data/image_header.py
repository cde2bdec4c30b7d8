"""What an image file says of itself before it is decoded: its size, and whether its end is there.

A file of a few kilobytes may declare billions of pixels, which a decoder would allocate.
"""

import re
import struct

from jtrack.errors import JtrackError
from jtrack.untrusted import PIXELS

KINDS = "JPEG, PNG, BMP, TIFF, WebP, PNM or GIF"

# Markers of a JPEG that begin a frame and state its size: all of C0 to CF but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA


def check_header(data: bytes, what: str) -> None:
    """Refuses an image file that lacks its end, is of no known kind, or declares too many pixels.

    Args:
      data: the whole file.
      what: names it in errors.

    Raises:
      JtrackError: it must not be decoded.
    """
    if is_truncated(data):
        raise JtrackError(f"{what} is truncated ({len(data)} bytes): copy it again")
    size = declared_size(data)
    if size is None or min(size) < 1:
        raise JtrackError(
            f"{what} is not a readable image ({len(data)} bytes, no {KINDS}): remove or replace it"
        )
    height, width = size
    if height * width > PIXELS:
        raise JtrackError(
            f"{what} declares {width}x{height} pixels: at most {PIXELS} pixels are read of an image, make it "
            "smaller"
        )


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that an image file declares; None for a file of no known kind or without a size."""
    for begins, size in _SIZES.items():
        if data.startswith(begins):
            try:
                return size(data)
            except (struct.error, IndexError, ValueError):  # it ends before it says
                return None
    return None


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG file lacks its end. Decoders fill the missing part with grey and say nothing."""
    if data.startswith(b"\xff\xd8"):
        scan, _ = _jpeg(data)
        return data.find(b"\xff\xd9", scan) < 0
    if data.startswith(b"\x89PNG"):
        return not _png_is_whole(data)
    return False


def _png_is_whole(data: bytes) -> bool:
    """Whether the parts of a PNG reach its end, one by one: decoders allocate what a part declares."""
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if kind == b"IEND":
            return position <= len(data)
    return False


def _jpeg(data: bytes) -> tuple[int, tuple[int, int] | None]:
    """Where the entropy-coded part begins, and the size. Before it, a thumbnail may hold an end marker."""
    position, size = 2, None
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _FRAMES and position + 9 <= len(data):
            size = struct.unpack_from(">HH", data, position + 5)
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _SCAN:
            break
    return position, size


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(height), abs(width)  # rows from the top have a negative height


def _tiff(data: bytes) -> tuple[int, int]:
    """The size in the first directory of a TIFF file."""
    order, large = "<" if data.startswith(b"II") else ">", b"+" in data[2:4]  # BigTIFF has longer offsets
    (first,) = struct.unpack_from(order + ("Q" if large else "I"), data, 8 if large else 4)
    (count,) = struct.unpack_from(order + ("Q" if large else "H"), data, first)
    begin, step = first + (8 if large else 2), 20 if large else 12
    sides = {}
    for entry in range(begin, min(begin + step * count, len(data)), step):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (256, 257):
            at = entry + (12 if large else 8)
            if tag in sides:
                return 0, 0  # decoders do not agree which of two counts
            (sides[tag],) = struct.unpack_from(order + {3: "H", 16: "Q"}.get(kind, "I"), data, at)
    return sides.get(257, 0), sides.get(256, 0)


def _webp(data: bytes) -> tuple[int, int] | None:
    match data[8:16]:
        case b"WEBPVP8X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        case b"WEBPVP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"WEBPVP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        case _:
            return None
    return height, width


def _pnm(data: bytes) -> tuple[int, int] | None:
    gap = rb"(?:\s|#[^\r\n]*[\r\n])+"  # a comment ends where the first decoder takes it to end
    found = re.match(rb"P[1-6]" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})", data[:4096])
    return (int(found[2]), int(found[1])) if found else None


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


_SIZES = {
    b"\xff\xd8": lambda data: _jpeg(data)[1],
    b"\x89PNG": _png,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
    b"RIFF": _webp,
    b"P": _pnm,
    b"GIF8": _gif,
}
