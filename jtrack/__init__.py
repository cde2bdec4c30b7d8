"""jtrack: classic CNN visual trackers as pure functions in JAX.

track = jtrack.track("video.mp4", (x, y, w, h))        # the whole job
tracker = jtrack.trackers.create("hcft")               # the pure functions behind it
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jtrack.errors import JtrackError
from jtrack.types import Box, Frame, Output, Tracker

if TYPE_CHECKING:
    from jtrack import backbones, data, trackers
    from jtrack.devices import configure_cpu, keep_memory
    from jtrack.run.batch import track_batch
    from jtrack.run.segmentation import saliency
    from jtrack.run.stream import Track, track

__version__ = "0.1.0"

# Imported at first use, so that `import jtrack` stays quick.
_LAZY = {
    "Track": "jtrack.run.stream",
    "backbones": "jtrack",
    "configure_cpu": "jtrack.devices",
    "data": "jtrack",
    "keep_memory": "jtrack.devices",
    "saliency": "jtrack.run.segmentation",
    "track": "jtrack.run.stream",
    "track_batch": "jtrack.run.batch",
    "trackers": "jtrack",
}

__all__ = [
    "Box",
    "Frame",
    "JtrackError",
    "Output",
    "Track",
    "Tracker",
    "backbones",
    "configure_cpu",
    "data",
    "keep_memory",
    "saliency",
    "track",
    "track_batch",
    "trackers",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'jtrack' has no attribute {name!r}")
    if _LAZY[name] == "jtrack":
        return import_module(f"jtrack.{name}")
    return getattr(import_module(_LAZY[name]), name)
