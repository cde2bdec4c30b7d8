"""jtrack's trackers in the GOT-10k toolkit (the extra `got`).

from got10k.experiments import ExperimentGOT10k
from jtrack.integrations.got10k_toolkit import GotTracker

experiment = ExperimentGOT10k("data/GOT-10k", subset="val")
tracker = GotTracker("hcft", backbone="googlenet")
experiment.run(tracker)
experiment.report([tracker.name])
"""

from itertools import count
from typing import Any

import numpy as np

from jtrack import trackers
from jtrack.benchmark.adapters import EvaluatedTracker, Session, evaluated
from jtrack.errors import missing_extra

try:
    from got10k.trackers import Tracker
except ImportError as error:
    raise missing_extra("running inside the GOT-10k toolkit", "got", error) from None


class GotTracker(Tracker):
    """A tracker as the toolkit calls it.

    Each target starts with the next seed, so that a repetition of a tracker that draws random numbers differs
    from the one before.
    """

    def __init__(
        self,
        tracker: str | EvaluatedTracker = trackers.DEFAULT,
        *,
        name: str | None = None,
        one_based: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """Finds the tracker.

        Args:
          tracker: as `jtrack.benchmark.adapters.evaluated` takes it, or what it has found.
          name: what the toolkit calls its folder of results, where it does not run again what is there;
            tracker, profile, network and trained weights if None, and a digest if the profile is changed.
          one_based: whether boxes count pixels from 1, as those of the toolkit's OTB experiments do.
          seed: of the first target.
          **options: of `evaluated`: profile, backbone, precision, weights, changes, models.

        Raises:
          JtrackError: there is no such tracker.
        """
        chosen = tracker if isinstance(tracker, EvaluatedTracker) else evaluated(tracker, **options)
        super().__init__(name or "-".join(chosen.identifier), is_deterministic=chosen.deterministic)
        self._chosen, self._seeds = chosen, count(seed)
        self._origin = np.array([1.0, 1.0, 0.0, 0.0]) if one_based else np.zeros(4)
        self._session: Session | None = None
        self._box = np.zeros(4)

    def init(self, image: Any, box: np.ndarray) -> None:
        """Starts on a target: a PIL image in RGB, and its box [4] x, y, w, h."""
        pixels = np.asarray(image)
        self._box = np.asarray(box, np.float64) - self._origin
        self._session = self._chosen.start(next(self._seeds))
        self._session.prepare(pixels, self._box)
        self._session.init(pixels, self._box)

    def update(self, image: Any) -> np.ndarray:
        """The box [4] in the next frame; where the tracker finds none, the one before."""
        assert self._session is not None, "init comes first"
        box = self._session.update(np.asarray(image)).box
        self._box = box if np.isfinite(box).all() else self._box
        return self._box + self._origin
