"""The trackers, each a file, and how one is put together from names.

    tracker = jtrack.trackers.create("hcft", profile="default", backbone="googlenet")

For the parts themselves: `hcft.hcft(backbone, config)` makes the pure functions, and
`hcft.profile(name, backbone)` is a named pair of structure and numbers.
"""

import hashlib
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from jtrack import backbones
from jtrack.backbones import Backbone, objectness, store
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.trackers import cnn_svm, deeptrack, fcnt, gdt, hcft
from jtrack.types import Tracker, as_arrays

_MODULES: dict[str, ModuleType] = {
    "hcft": hcft,
    "fcnt": fcnt,
    "cnn_svm": cnn_svm,
    "deeptrack": deeptrack,
    "gdt": gdt,
}


class Built(NamedTuple):
    """A tracker put together: its structure, its numbers and its weights."""

    name: str
    profile: str
    backbone: Backbone
    config: Any  # the tracker's Config; static under jit
    params: dict[str, Any]  # {"backbone": weights, "tracker": numbers}
    make: Callable[[Backbone, Any], Tracker]
    trained: str | None = None  # the entry that a network and its head, trained for objectness, are of

    def __repr__(self) -> str:
        count = sum(np.size(leaf) for leaf in jax.tree.leaves(self.params["backbone"]))
        trained = "" if self.trained is None else f" of {self.trained}"
        network = f"{self.backbone.name} ({self.backbone.precision}, {count:,} weights{trained})"
        return f"Built({self.name} {self.profile} on {network})"

    def for_target(self, box: Sequence[float] | np.ndarray, frame_size: tuple[int, int]) -> Any:
        """The config with all shapes fixed for a first box (x, y, w, h) and frames of (height, width)."""
        return self.config.for_target(box, frame_size)

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
        if self.trained is not None:
            facts["trained"] = self.trained
        numbers = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(self.params["tracker"])]
        text = repr((sorted(facts.items()), self.config, numbers))
        return facts | {"digest": hashlib.sha256(text.encode()).hexdigest()[:16]}


def names() -> list[str]:
    """The trackers there are."""
    return list(_MODULES)


def profiles(name: str) -> list[str]:
    """The profiles of a tracker.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    return list(_module(name).PROFILES)


def describe(name: str) -> str:
    """What a tracker is, in one line: its name and paper.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    return (_module(name).__doc__ or "").partition("\n")[0]


def describe_profiles(name: str) -> dict[str, str]:
    """The profiles of a tracker, with what each is in one line.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    name = match("tracker", name, _MODULES)
    known = tomllib.loads((resources.files(__name__) / "profiles.toml").read_text("utf-8"))[name]
    return {profile: known[profile] for profile in profiles(name)}


def networks(name: str) -> list[str]:
    """The networks a tracker can stand on, of `jtrack.backbones.names()`.

    Raises:
      JtrackError: there is no tracker of this name.
    """
    return list(_module(name).BACKBONES)


def create(
    name: str = "hcft",
    *,
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
    weights: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Built:
    """Puts a tracker together from names.

    Args:
      name: one of `names()`.
      profile: one of `profiles(name)`.
      backbone: one of `jtrack.backbones.names()`; None for `default_backbone(name)`.
      precision: `float32` or `bfloat16`, of the network's forward pass only.
      weights: of GDT: a network trained for objectness and its head (`backbones.objectness`), by name or by
        the path of its file. None for the backbone's own entry, NETWORK_objectness, in the weights folders;
        where there is none, too, GDT starts from a random head, and says so once.
      changes: fields of the profile's config and its hyper-parameters that are to be different.

    Raises:
      JtrackError: an unknown name, a change that the tracker cannot work with, weights that are not there, or
        weights that the tracker would not use.
    """
    name = match("tracker", name, _MODULES)
    module = _MODULES[name]
    profile = match(f"profile of {name}", profile, module.PROFILES)
    if backbone is not None:
        backbone = match("backbone", backbone, backbones.names())
    entry = None if weights is None else objectness.load(weights)
    trained = Path(weights).name.removesuffix(store.SUFFIX) if weights is not None else None
    if entry is not None and backbone not in (None, entry.backbone):
        raise JtrackError(f"{weights} holds {entry.backbone}, not {backbone}: leave the backbone away")
    wanted = entry.backbone if entry else backbone or default_backbone(name)
    net = backbones.get(wanted, precision=precision)
    chosen = module.profile(profile, net.name).replace(**(changes or {}))
    if getattr(chosen.config, "start", None) == "objectness":
        if entry is None and (entry := _trained_for_objectness(net.name)) is not None:
            trained = objectness.name_for(net.name)
    elif entry is not None:
        raise JtrackError(
            f"profile {profile!r} of {name} uses no network trained for objectness: leave the weights "
            f"{str(weights)!r} away, or choose a profile of gdt that begins with them"
        )
    layers = net.cast_params(entry.layers if entry else store.load(net.name))
    if entry is not None:
        layers |= {f"{gdt.HEAD}{layer}": arrays for layer, arrays in entry.head.items()}
    params = {"backbone": layers, "tracker": as_arrays(chosen.hyper)}
    return Built(name, profile, net, chosen.config, params, getattr(module, name), trained)


def _trained_for_objectness(backbone: str) -> objectness.Entry | None:
    """A network's own entry, if there is one."""
    name = objectness.name_for(backbone)
    if objectness.find(name):
        return objectness.load(name)
    if backbone in store.manifest():  # the others know nothing of images anyway
        warnings.warn(
            f"no weights {name!r} in the weights folders: gdt starts from a random head, the paper's 'no "
            f"obj-general'; `jtrack train objectness --backbone {backbone}` makes them",
            stacklevel=3,
        )
    return None


def default_backbone(name: str = "hcft") -> str:
    """The network a tracker gets if none is asked for.

    `none` for one that learns its own; else `googlenet` where its weights are found, else `hog`, which needs
    none.
    """
    if "none" in _module(name).BACKBONES:
        return "none"
    return "googlenet" if "googlenet" in store.available() else "hog"


def _module(name: str) -> ModuleType:
    return _MODULES[match("tracker", name, _MODULES)]
