"""jtrack: classic CNN visual trackers as pure functions in JAX.

track = jtrack.track("video.mp4", (x, y, w, h))        # the whole job
tracker = jtrack.trackers.create("hcft")               # the pure functions behind it
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jtrack.errors import JtrackError

if TYPE_CHECKING:
    from jtrack import backbones, data, trackers, types
    from jtrack.devices import configure_cpu, keep_memory
    from jtrack.run.advance import advance
    from jtrack.run.batch import track_batch
    from jtrack.run.inputs import to_frame, to_frames
    from jtrack.run.rollout import rollout
    from jtrack.run.segmentation import saliency
    from jtrack.run.stream import Track, track
    from jtrack.types import Box, Frame, Output, Tracker

__version__ = "0.1.0"

# Imported at first use, so that `import jtrack` and the command's help stay quick: JAX takes a second.
_LAZY = {
    "Box": "jtrack.types",
    "Frame": "jtrack.types",
    "Output": "jtrack.types",
    "Track": "jtrack.run.stream",
    "Tracker": "jtrack.types",
    "advance": "jtrack.run.advance",
    "backbones": "jtrack",
    "configure_cpu": "jtrack.devices",
    "data": "jtrack",
    "keep_memory": "jtrack.devices",
    "rollout": "jtrack.run.rollout",
    "saliency": "jtrack.run.segmentation",
    "to_frame": "jtrack.run.inputs",
    "to_frames": "jtrack.run.inputs",
    "track": "jtrack.run.stream",
    "track_batch": "jtrack.run.batch",
    "trackers": "jtrack",
    "types": "jtrack",
}

__all__ = [
    "Box",
    "Frame",
    "JtrackError",
    "Output",
    "Track",
    "Tracker",
    "advance",
    "backbones",
    "configure_cpu",
    "data",
    "keep_memory",
    "rollout",
    "saliency",
    "to_frame",
    "to_frames",
    "track",
    "track_batch",
    "trackers",
    "types",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'jtrack' has no attribute {name!r}")
    if _LAZY[name] == "jtrack":
        return import_module(f"jtrack.{name}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """What is public: the rest, and submodules that happen to be imported, may change at any time."""
    return sorted([*__all__, "__version__"])
