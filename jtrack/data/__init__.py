"""Sources of frames and annotated sequences."""

from jtrack.data.sequence import FrameError, FrameSource, Sequence, from_arrays, prefetch
from jtrack.data.video import open_source

__all__ = ["FrameError", "FrameSource", "Sequence", "from_arrays", "open_source", "prefetch"]
