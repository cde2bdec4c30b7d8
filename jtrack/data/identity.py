"""What tells one sequence from another of the same name, without decoding an image."""

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from jtrack.data.sequence import FrameSource, Sequence
from jtrack.errors import JtrackError


def digest(sequence: Sequence) -> str:
    """Sixteen hexadecimal digits for a sequence's annotation and for the files that its frames are kept in.

    Boxes, polygons and events of the annotation count, and the name and length in bytes of each file. Pixels
    and times of change do not: a copy has the same digest. A frame that is missing, renamed or compressed
    again changes it.

    Raises:
      JtrackError: a file of the sequence is missing.
    """
    total = hashlib.sha256()
    arrays = {"boxes": sequence.boxes, "polygons": sequence.polygons} | dict(sequence.events)
    for name, array in arrays.items():
        if array is not None:
            rows = np.ascontiguousarray(array)
            total.update(f"{name} {rows.dtype} {rows.shape}\n".encode())
            total.update(rows.tobytes())
    for part in _frames(sequence.frames):
        total.update(json.dumps(part).encode())  # quoted, so that no name can pass for another and a length
    return total.hexdigest()[:16]


def _frames(frames: FrameSource) -> Iterable[tuple[str, int]]:
    """Name and length of each file; for frames without files of their own, their number and size."""
    if frames.files:
        try:
            return [(path.name, path.stat().st_size) for path in frames.files]
        except OSError as error:
            raise JtrackError(
                f"cannot read {error.filename}, a frame of {frames.name}: {error.strerror}"
            ) from None
    if frames.encoded is not None:
        return [("", len(data)) for data in frames.encoded()]
    return [("frames", frames.length or 0), *(("side", side) for side in frames.size)]
