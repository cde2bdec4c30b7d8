"""How trackers are executed: one stream, or many sequences at once."""

from jtrack.run.batch import track_batch
from jtrack.run.stream import Track, stream, track

__all__ = ["Track", "stream", "track", "track_batch"]
