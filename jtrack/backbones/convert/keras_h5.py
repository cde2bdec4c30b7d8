"""To be written."""

from pathlib import Path

import numpy as np


def read(path: Path, limit: int) -> dict[str, dict[str, np.ndarray]]:
    """To be written."""
    raise NotImplementedError
