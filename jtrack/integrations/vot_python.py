"""jtrack's trackers called by the VOT toolkit, without TraX: its `protocol = python` (vot-toolkit >= 0.9).

    jtrack vot entry --protocol python --backbone googlenet >> workspace/trackers.ini

The toolkit starts a Python process, imports `Targets` there and calls it: no sockets, no second parser. The
targets that begin in one frame run as lanes of one vmapped step.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jtrack import settings, trackers
from jtrack.data.folder import read_image
from jtrack.errors import JtrackError
from jtrack.run.inputs import canvas_of, check_boxes, to_frame
from jtrack.run.stream import build, first_output, make_tracker
from jtrack.run.together import Together
from jtrack.types import Output, Tracker

type Files = str | Mapping[str, str]  # an image's path, or one a channel
type Region = tuple[float, float, float, float]  # x, y, w, h
type Status = tuple[Region, dict[str, float]]


class Targets:
    """A tracker as the toolkit calls it: any number of targets, which may begin in any frame."""

    multiobject = True

    def __init__(
        self,
        tracker: str = trackers.DEFAULT,
        profile: str = "default",
        backbone: str | None = None,
        precision: str = "float32",
        weights: str | None = None,
        changes: str = "",
        seed: int | str = 0,
    ) -> None:
        """Builds the tracker; all arguments may be texts, as `arg_...` in trackers.ini has them.

        Args:
          tracker: as `jtrack.track` takes it, and so `profile`, `backbone`, `precision` and `weights`.
          profile: see `tracker`.
          backbone: see `tracker`.
          precision: see `tracker`.
          weights: see `tracker`.
          changes: of the profile, as `--set` takes them, with spaces between.
          seed: of the first target's randomness; others get keys split from it.

        Raises:
          JtrackError: there is no such tracker, or it does not fit.
        """
        changing = functools.partial(settings.apply, settings=changes.split()) if changes else None
        self._bound = build(
            tracker,
            profile=profile,
            backbone=backbone,
            precision=precision,
            weights=weights,
            changes=changing,
        )
        self._params = jax.device_put(self._bound.params)
        self._seed = int(seed)
        self._canvas = (0, 0)
        self._begun: list[Together] = []
        self._compiled: set[tuple[tuple[Tracker, ...], tuple[int, int]]] = set()

    def init(
        self, frame: Files, new: Sequence[tuple[Region, dict]], properties: object = None
    ) -> list[Status]:
        """Begins anew, on the targets of a sequence's first frame.

        Args:
          frame: the image's path, or one a channel, of which `color` is read.
          new: the targets' boxes in pixels, 0-based, and what else the toolkit says of them.
          properties: not looked at.

        Returns:
          Of each target its box, and its score as `confidence`.

        Raises:
          JtrackError: an image cannot be read, or a box cannot be tracked.
        """
        image = _read(frame)
        self._begun.clear()
        self._canvas = canvas_of((image.shape[0], image.shape[1]))
        return self._begin(image, new)

    def update(
        self, frame: Files, new: Sequence[tuple[Region, dict]] = (), properties: object = None
    ) -> list[Status]:
        """Tracks all targets into the next frame, and begins on new ones: as `init` takes and gives them."""
        image = _read(frame)
        sent = to_frame(image, self._canvas)
        found = [(together, together.step(sent)) for together in self._begun]
        said = [_status(output) for together, outputs in found for output in together.receive(outputs)]
        return said + self._begin(image, new)

    def _begin(self, image: np.ndarray, new: Sequence[tuple[Region, dict]]) -> list[Status]:
        if not new:
            return []
        boxes = np.array([region for region, _ in new], np.float32)
        size = (image.shape[0], image.shape[1])
        boxes = check_boxes(boxes[0] if len(new) == 1 else boxes, size, inside=False)
        targets = boxes.reshape(-1, 4)
        bound = self._bound
        made = [make_tracker(bound.factory, bound.backbone, bound.for_target(box, size)) for box in targets]
        key = jax.random.key(self._seed)
        if self._begun:
            key = jax.random.fold_in(key, len(self._begun))
        sent = to_frame(image, self._canvas)
        if (kind := (tuple(made), self._canvas)) not in self._compiled:
            # The next frames are not to wait for a compilation.
            trial = Together(made, self._params, key, sent, boxes)
            trial.receive(trial.step(sent))
            self._compiled.add(kind)
        self._begun.append(Together(made, self._params, key, sent, boxes))
        return [_status(first_output(box)) for box in targets]


def _read(frame: Files) -> np.ndarray:
    if isinstance(frame, str):
        return read_image(Path(frame))
    if "color" not in frame:
        raise JtrackError(
            f"the toolkit gives the channels {', '.join(frame)} of a frame: jtrack's trackers need color"
        )
    return read_image(Path(frame["color"]))


def _status(output: Output) -> Status:
    box: Any = np.where(np.isfinite(output.box), output.box, 0.0).tolist()  # empty: overlaps nothing
    return tuple(box), {"confidence": float(output.score)}
