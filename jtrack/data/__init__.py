"""Sources of frames, annotated sequences, and datasets of them."""

from jtrack.data.dataset import Dataset, open_dataset
from jtrack.data.sequence import Annotation, FrameError, FrameSource, Sequence, from_arrays, prefetch
from jtrack.data.video import open_source

__all__ = [
    "Annotation",
    "Dataset",
    "FrameError",
    "FrameSource",
    "Sequence",
    "from_arrays",
    "open_dataset",
    "open_source",
    "prefetch",
]
