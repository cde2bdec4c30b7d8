"""The trackers, each a file, and how one is put together from names.

    tracker = jtrack.trackers.create("hcft", profile="default", backbone="googlenet")

For the parts themselves: `hcft.hcft(backbone, config)` makes the pure functions, and
`hcft.profile(name, backbone)` is a named pair of structure and numbers.
"""

import hashlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from jtrack import backbones
from jtrack.backbones import Backbone, store
from jtrack.errors import unknown_name
from jtrack.trackers import cnn_svm, deeptrack, fcnt, gdt, hcft
from jtrack.types import Tracker

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


def create(
    name: str = "hcft",
    *,
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
) -> Built:
    """Puts a tracker together from names.

    Args:
      name: one of `names()`.
      profile: one of `profiles(name)`.
      backbone: one of `jtrack.backbones.names()`; None for `default_backbone(name)`.
      precision: `float32` or `bfloat16`, of the network's forward pass only.

    Raises:
      JtrackError: an unknown name, or weights that are not there.
    """
    module = _module(name)
    if profile not in module.PROFILES:
        raise unknown_name(f"profile of {name}", profile, module.PROFILES)
    net = backbones.get(backbone or default_backbone(name), precision=precision)
    chosen = module.profile(profile, net.name)
    params = {"backbone": net.cast_params(store.load(net.name)), "tracker": chosen.numbers}
    return Built(name, profile, net, chosen.config, params, getattr(module, name))


def default_backbone(name: str = "hcft") -> str:
    """The network a tracker gets if none is asked for.

    `none` for one that learns its own; else `googlenet` where its weights are found, else `hog`, which needs
    none.
    """
    if "none" in _module(name).BACKBONES:
        return "none"
    return "googlenet" if "googlenet" in store.available() else "hog"


def _module(name: str) -> ModuleType:
    if name not in _MODULES:
        raise unknown_name("tracker", name, _MODULES)
    return _MODULES[name]
