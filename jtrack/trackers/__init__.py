"""The trackers, each a file, and how one is put together from names.

    tracker = jtrack.trackers.create("hcft", profile="default", backbone="googlenet")

For the parts themselves: `hcft.hcft(backbone, config)` makes the pure functions, and
`profile("hcft", "default", backbone)` is a named pair of structure and hyper-parameters.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jtrack import backbones, settings
from jtrack.backbones import Backbone
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.trackers import registry
from jtrack.trackers.registry import DEFAULT, Row
from jtrack.types import Profile, Tracker, as_arrays
from jtrack.weights import checkpoints, store

__all__ = [
    "DEFAULT",
    "BoundTracker",
    "Changes",
    "Row",
    "create",
    "default_backbone",
    "describe",
    "describe_profiles",
    "find",
    "names",
    "names_with",
    "networks",
    "profile",
    "profiles",
]


# What is to be different in a profile: values by their names, as `Profile.replace` takes them, or a function.
Changes = Mapping[str, Any] | Callable[[Profile[Any, Any]], Profile[Any, Any]]


class BoundTracker(NamedTuple):
    """A tracker put together: its structure, its hyper-parameters and its weights."""

    row: Row
    profile: str
    backbone: Backbone
    config: Any  # the tracker's Config; static under jit
    params: dict[str, Any]  # {"backbone": weights, "tracker": hyper-parameters}
    trained: str | None = None  # the name of the weights, if a network and its head trained for objectness
    changes: str = ""  # what `create` was asked to change in the profile, as `jtrack.settings` says it

    def __repr__(self) -> str:
        count = sum(np.size(leaf) for leaf in jax.tree.leaves(self.params["backbone"]))
        trained = "" if self.trained is None else f" of {self.trained}"
        network = f"{self.backbone.name} ({self.backbone.precision}, {count:,} weights{trained})"
        return f"BoundTracker({self.called} on {network})"

    @property
    def name(self) -> str:
        """The tracker's."""
        return self.row.name

    @property
    def called(self) -> str:
        """The tracker, its profile and what is changed in it."""
        return " ".join(filter(None, (self.name, self.profile, self.changes)))

    @property
    def factory(self) -> Callable[[Backbone, Any], Tracker]:
        """What makes the pure functions of a backbone and a config."""
        return self.row.factory

    def for_target(self, box: Sequence[float] | np.ndarray, frame_size: tuple[int, int]) -> Any:
        """The config with all shapes fixed for a first box (x, y, w, h) and frames of (height, width)."""
        return self.config.for_target(box, frame_size)

    def for_lanes(self, boxes: np.ndarray, frame_sizes: np.ndarray) -> Any:
        """The config of one compiled step for many targets, whose shapes hold the largest of them.

        Args:
          boxes: [N, 4] the first boxes (x, y, w, h).
          frame_sizes: [N, 2] (height, width) of the frames of each.
        """
        return self.config.for_lanes(boxes, frame_sizes)

    def functions(self, box: Sequence[float] | np.ndarray, frame_size: tuple[int, int]) -> Tracker:
        """The pure functions for a target.

        Args:
          box: x, y, w, h of the target in the first frame, in pixels, 0-based.
          frame_size: (height, width) of the frames.
        """
        return self.factory(self.backbone, self.for_target(box, frame_size))

    def label(self) -> dict[str, str]:
        """What identifies a result: names, versions, and a digest of everything that shapes the numbers."""
        from jtrack import __version__

        facts = {
            "tracker": self.name,
            "profile": self.profile,
            "backbone": self.backbone.name,
            "precision": self.backbone.precision,
            "jtrack": __version__,
            "jax": jax.__version__,
            "weights": store.digest(self.params["backbone"]),
        }
        if self.backbone.lacking:
            facts["lacking"] = " ".join(self.backbone.lacking)  # layers that a profile may have wanted
        if self.trained is not None:
            facts["trained"] = self.trained
        if self.changes:
            facts["changes"] = self.changes
        hyper = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(self.params["tracker"])]
        text = repr((sorted(facts.items()), self.config, hyper))
        return facts | {"digest": hashlib.sha256(text.encode()).hexdigest()[:16]}


def names() -> list[str]:
    """The trackers there are."""
    return list(registry.ROWS)


def names_with(offer: str) -> list[str]:
    """The trackers that offer `response_maps`, `features`, `saliency` or `objectness` (`Row`).

    Raises:
      JtrackError: nothing is called so.
    """
    offer = match("offer of trackers", offer, ("response_maps", "features", "saliency", "objectness"))
    return [name for name, row in registry.ROWS.items() if getattr(row, offer) is not None]


def profiles(tracker: str | Row) -> list[str]:
    """The profiles of a tracker.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    return list(find(tracker).profiles)


def describe(tracker: str | Row) -> str:
    """What a tracker is, in one line: its name and paper.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    return find(tracker).about


def describe_profiles(tracker: str | Row) -> dict[str, str]:
    """The profiles of a tracker, with what each is in one line.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    row = find(tracker)
    return {name: row.about_profile(name) for name in row.profiles}


def networks(tracker: str | Row) -> list[str]:
    """The networks a tracker can stand on, of `jtrack.backbones.names()`.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    own = find(tracker).own_network
    return [name for name, net in backbones.ARCHITECTURES.items() if (net.stages is None) == own]


def profile(tracker: str | Row, name: str, backbone: str | Backbone = "none") -> Profile[Any, Any]:
    """A profile of a tracker on a network.

    Args:
      tracker: one of `names()`, or a row.
      name: one of `profiles(tracker)`.
      backbone: the network, or its name: one of `networks(tracker)`.

    Raises:
      JtrackError: an unknown name, or a network that the tracker cannot stand on.

    Example:
      >>> from jtrack import trackers
      >>> trackers.profile("hcft", "release2016", "vgg19").config.layers
      (('relu5_4',), ('relu4_4',), ('relu3_4',))
    """
    row = find(tracker)
    make = row.profiles[match(f"profile of {row.name}", name, row.profiles)]
    found = _network(row, backbone if isinstance(backbone, str) else backbone.name)
    return make(found if isinstance(backbone, str) else backbone)


def _network(row: Row, name: str, precision: str = "float32") -> Backbone:
    """A network that a tracker can stand on."""
    what = f"backbone of {row.name}" + (", which learns its own network," if row.own_network else "")
    return store.network(match(what, name, networks(row)), precision=precision)


def create(
    tracker: str | Row = DEFAULT,
    *,
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
    weights: str | Path | None = None,
    changes: Changes | None = None,
) -> BoundTracker:
    """Puts a tracker together from names.

    Args:
      tracker: one of `names()`, or a row of one's own.
      profile: one of `profiles(tracker)`.
      backbone: one of `jtrack.backbones.names()`; None for `default_backbone(tracker)`.
      precision: one of `jtrack.precision.PRECISIONS`, of the network's forward pass only.
      weights: a network trained for objectness and its head (`weights.checkpoints`), by name or by the path
        of its file, for a tracker that begins with them (gdt). None for the backbone's own checkpoint,
        NETWORK_objectness, in the weights folders; where there is none, too, the tracker starts from a random
        head, and says so once.
      changes: what is to be different in the profile: values of its config's fields and its hyper-parameters,
        those of a part as `part.field`; or a function from the profile to another.

    Raises:
      JtrackError: an unknown name, a change that the tracker cannot work with, weights that are not there, or
        weights that the tracker would not use.

    Example:
      >>> from jtrack import trackers
      >>> trackers.create("hcft", profile="paper", backbone="tiny", changes={"learning_rate": 0.02})
      BoundTracker(hcft paper learning_rate=0.02 on tiny (float32, 5,692 weights))
    """
    row = find(tracker)
    profile = match(f"profile of {row.name}", profile, row.profiles)
    if backbone is not None:
        backbone = match("backbone", backbone, backbones.names())
    checkpoint = None if weights is None else checkpoints.load(weights)
    trained = Path(weights).name.removesuffix(store.SUFFIX) if weights is not None else None
    if checkpoint is not None and backbone not in (None, checkpoint.backbone):
        raise JtrackError(f"{weights} holds {checkpoint.backbone}, not {backbone}: leave the backbone away")
    network = checkpoint.backbone if checkpoint else backbone or default_backbone(row)
    net = _network(row, network, precision)
    named = row.profiles[profile](net)
    chosen = changes(named) if callable(changes) else named.replace(**(changes or {}))
    if row.objectness is not None and row.objectness(chosen.config):
        if checkpoint is None and (checkpoint := _trained_for_objectness(row.name, net.name)) is not None:
            trained = checkpoints.name_for(net.name)
    elif checkpoint is not None:
        able = " or ".join(names_with("objectness"))
        raise JtrackError(
            f"profile {profile!r} of {row.name} uses no network trained for objectness: leave the weights "
            f"{str(weights)!r} away, or choose a profile of {able} that begins with them"
        )
    if row.check is not None:
        row.check(chosen.config, chosen.hyper)
    layers = net.cast_params(checkpoint.layers if checkpoint else store.load(net.name))
    if checkpoint is not None:
        layers |= {f"{checkpoints.PREFIX}{layer}": arrays for layer, arrays in checkpoint.head.items()}
    params = {"backbone": layers, "tracker": as_arrays(chosen.hyper)}
    changed = " ".join(f"{name}={value}" for name, value in settings.difference(named, chosen).items())
    return BoundTracker(row, profile, net, chosen.config, params, trained, changed)


def _trained_for_objectness(tracker: str, backbone: str) -> checkpoints.Checkpoint | None:
    """A network's own checkpoint, if there is one."""
    name = checkpoints.name_for(backbone)
    if checkpoints.find(name):
        return checkpoints.load(name)
    if backbone in store.manifest():  # the others know nothing of images anyway
        warnings.warn(
            f"no weights {name!r} in the weights folders: {tracker} starts from a random head; "
            f"`jtrack train objectness --backbone {backbone}` makes them",
            stacklevel=3,
        )
    return None


def default_backbone(tracker: str | Row = DEFAULT) -> str:
    """The network a tracker gets if none is asked for: the first of its row's whose weights are there."""
    there = store.available()
    return next(name for name in find(tracker).ranked if name in there)


def find(tracker: str | Row) -> Row:
    """The row of a tracker, by its name; a row is itself.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    return tracker if isinstance(tracker, Row) else registry.ROWS[match("tracker", tracker, registry.ROWS)]
