"""jtrack: classic CNN visual trackers as pure functions in JAX."""

from jtrack.errors import JtrackError
from jtrack.types import Box, Frame, Output, Tracker

__version__ = "0.1.0"

__all__ = ["Box", "Frame", "JtrackError", "Output", "Tracker"]
