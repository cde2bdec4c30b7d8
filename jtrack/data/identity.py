"""What tells one sequence from another of the same name, without decoding an image."""

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from jtrack.data.sequence import FrameSource, Sequence
from jtrack.errors import JtrackError


def digest(sequence: Sequence) -> str:
    """Sixteen hexadecimal digits for a sequence's annotation and for the files that its frames are kept in.

    Of the annotation the boxes, polygons and events count; of the files their names and their lengths in
    bytes. Pixels are not read, and times of change do not count, so that a copy has the same digest, and a
    frame that is missing, renamed or compressed anew gives another one.

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
    """Names and lengths of the files; of frames that are kept in no file of their own, what is known."""
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
