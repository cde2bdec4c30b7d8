"""Learning a tracker's numbers by gradient: its hyper-parameters, through clips that it follows.

What is descended is the logarithm of each number over the profile's own, so that all are positive and a step
changes each by a share. The loss is rough: where a track hangs between two places it is steep over a
thousandth of a number. So the gradient of each clip is cut to a length first (`STEEPEST`), or the mean would
follow the few that are like that.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.errors import JtrackError, unknown_name
from jtrack.trackers import BoundTracker
from jtrack.train import loop, through_tracker
from jtrack.train.clips import Source
from jtrack.types import Array, PyTree
from jtrack.weights import store

STEEPEST = 0.1  # the longest gradient of a clip
FOLLOWED = through_tracker.Settings(steps=100, length=8, rate=0.05, keep_every=25)


@dataclass(frozen=True)
class Settings:
    """How numbers are learnt."""

    names: tuple[str, ...] = ()  # of hyper-parameters; () for all that are positive
    seed: int = 0  # of the clips
    following: through_tracker.Settings = FOLLOWED


def train(
    bound: BoundTracker,
    settings: Settings,
    source: Source,
    held_out: Source,
    folder: Path,
    *,
    on_step: Callable[[loop.Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, np.ndarray], loop.Done]:
    """Learns some hyper-parameters of a tracker, or goes on with it.

    Args:
      bound: the tracker, of its profile `differentiable`.
      settings: how.
      source: of the clips to learn from.
      held_out: of the clips to judge by.
      folder: of the checkpoint and the log.
      on_step: as of `loop.descend`.
      stop: as of `loop.descend`.

    Returns:
      The numbers, and where the training ended.

    Raises:
      DivergedError: a figure is not finite.
      JtrackError: a name that is no positive hyper-parameter, a tracker whose shapes follow the target, a
        folder that holds another training.
    """
    names = check(bound, settings)
    own = bound.params["tracker"]
    first = {name: jnp.zeros_like(getattr(own, name)) for name in names}

    def params_of(logs: PyTree) -> PyTree:
        return bound.params | {"tracker": _times(own, logs)}

    done = through_tracker.learn(
        bound.factory(bound.backbone, bound.config),
        params_of,
        through_tracker.box_loss,
        first,
        source,
        held_out,
        settings.following,
        seed=settings.seed,
        folder=folder,
        identity=_identity(bound, settings, names, source),
        steepest=STEEPEST,
        on_step=on_step,
        stop=stop,
    )
    learnt = _times(own, done.state.learnt)
    return {name: np.asarray(getattr(learnt, name)) for name in names}, done


def check(bound: BoundTracker, settings: Settings) -> tuple[str, ...]:
    """Refuses what cannot be learnt, before anything is computed.

    Returns:
      The names of the hyper-parameters that are learnt.

    Raises:
      JtrackError: as of `train`.
    """
    through_tracker.check(settings.following)
    if settings.seed < 0 or not settings.following.steps:
        wrong = "seed" if settings.seed < 0 else "steps"
        raise JtrackError(f"{wrong} is {getattr(settings, wrong, 0)}: give a larger number")
    own = bound.params["tracker"]
    names = chosen(own, settings.names)
    box, size = np.array([[8.0, 8.0, 32.0, 32.0]]), np.full((1, 2), settings.following.side)
    if bound.for_lanes(box, size) is not bound.config:
        raise JtrackError(
            f"{bound.called} has shapes that follow the target: give the profile `differentiable`"
        )
    return names


def chosen(own: Any, names: Sequence[str]) -> tuple[str, ...]:
    """The hyper-parameters that are learnt: those named, or all that are positive.

    Raises:
      JtrackError: there is none of this name, or it is not positive.
    """
    positive = tuple(
        name for name in own._fields if np.size(getattr(own, name)) and np.all(getattr(own, name) > 0)
    )
    for name in names:
        if name not in own._fields:
            raise unknown_name("hyper-parameter", name, own._fields)
        if name not in positive:
            raise JtrackError(f"{name} is not above 0, and only its logarithm could be learnt: leave it out")
    return tuple(names) or positive


def _times(own: Any, logs: Mapping[str, Array]) -> Any:
    """Hyper-parameters, some of them times the exponentials of logarithms."""
    return own._replace(**{name: getattr(own, name) * jnp.exp(log) for name, log in logs.items()})


def _identity(
    bound: BoundTracker, settings: Settings, names: tuple[str, ...], source: Source
) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    followed = dataclasses.asdict(settings.following)
    del followed["keep_every"]
    return followed | {
        "tracker": bound.label()["digest"],
        "backbone": bound.backbone.name,
        "weights": store.digest(jax.device_get(bound.params["backbone"]))[:16],
        "learnt": " ".join(names),
        "seed": settings.seed,
        "data": source.digest,
    }
