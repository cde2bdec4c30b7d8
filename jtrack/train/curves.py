"""The curves of a training: what its logs say, as a picture."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jtrack.data.text import read_text
from jtrack.errors import missing_extra
from jtrack.untrusted import reading
from jtrack.whole import replacing

HELD_OUT = "held_out_"


def read(path: Path) -> dict[str, np.ndarray]:
    """The columns of a log [n], NaN where it has no value; {} where there is no log.

    Raises:
      JtrackError: it is damaged.
    """
    if not path.is_file():
        return {}
    with reading(f"the log {path}", "delete it"):
        header, *rows = csv.reader(read_text(path).splitlines())
        values = [[float(cell) if cell else np.nan for cell in row] for row in rows]
        table = np.array(values, np.float64).reshape(len(rows), len(header))
    return dict(zip(header, table.T, strict=True))


def draw(path: Path, logs: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Draws the figures of some phases: those of its steps, and of what is held out, over the steps.

    Args:
      path: the PNG.
      logs: phase -> the columns of its log.

    Raises:
      JtrackError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("the picture of a training", "report", error) from None
    panels = [
        (phase, columns, name)
        for phase, columns in logs.items()
        for name in columns
        if name not in ("step", "seconds") and not name.startswith(HELD_OUT)
    ]
    figure = Figure(figsize=(4.2 * max(1, len(panels)), 3.2), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axis, (phase, columns, name) in zip(axes, panels, strict=False):
        axis.plot(columns["step"], columns[name], "k.-", label="steps")
        if (held := columns.get(HELD_OUT + name)) is not None:
            axis.plot(columns["step"], held, "o-", color="tab:blue", markersize=4, label="held out")
        axis.set(title=f"{phase}: {name}", xlabel="step")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)
