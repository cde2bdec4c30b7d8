"""The registry of trackers: one row says what a tracker offers.

A new tracker is a file of this folder and a row here. `trackers.create` also takes a row that is not here.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jtrack.backbones import Backbone
from jtrack.trackers import cnn_svm, correlation, deeptrack, fcnt, gdt, hcft
from jtrack.types import Profile, Tracker
from jtrack.weights import store

# By HCFT's `default` on 17 sequences (docs/results.md): AUC .655, .646 (bfloat16), .592, .614. VGG-16 has a
# tenth of AlexNet's speed (docs/manual/measured.md). The last comes with jtrack: others are untried on it.
NETWORKS = ("googlenet", "vgg16_torchvision", "alexnet_torchvision", store.OWN)


class Row(NamedTuple):
    """What a tracker offers."""

    name: str
    factory: Callable[[Backbone, Any], Tracker]  # (backbone, config) -> the pure functions
    # Its profiles by their names. The first line of a function's docstring says what the profile is.
    profiles: Mapping[str, Callable[[Backbone], Profile[Any, Any]]]
    # The networks it takes by default, the best first: the first that is there. ("none",) for a tracker that
    # learns its own from the video.
    ranked: tuple[str, ...] = NETWORKS
    # config -> the names of the response maps in `Output.info`, which also has `response` and `window`.
    response_maps: Callable[[Any], list[str]] | None = None
    # A network -> the profile that its features are learnt through: `Output.info` has `response`, `window`.
    features: Callable[[Backbone], Profile[Any, Any]] | None = None
    saliency: Callable[[Any], bool] | None = None  # config -> whether `Output.info` has `saliency`, `window`
    # config -> whether the tracker begins with a network and a head trained for objectness.
    objectness: Callable[[Any], bool] | None = None
    # Refuses hyper-parameters that do not fit a config, (config, hyper), by a JtrackError.
    check: Callable[[Any, Any], None] | None = None

    @property
    def own_network(self) -> bool:
        """Whether it learns its own network from the video and takes no other."""
        return self.ranked == ("none",)

    @property
    def about(self) -> str:
        """What the tracker is, in one line: the first of its file."""
        return (getattr(inspect.getmodule(self.factory), "__doc__", None) or "").partition("\n")[0]

    def about_profile(self, profile: str) -> str:
        """What a profile is, in one line."""
        return (self.profiles[profile].__doc__ or "").partition("\n")[0]


ROWS = {
    row.name: row
    for row in (
        Row(
            *("hcft", hcft.hcft, hcft.PROFILES),
            response_maps=hcft.response_maps,
            features=hcft.through_filters,
            check=hcft.check,
        ),
        Row("fcnt", fcnt.fcnt, fcnt.PROFILES),
        Row("cnn_svm", cnn_svm.cnn_svm, cnn_svm.PROFILES, saliency=cnn_svm.has_saliency),
        Row("deeptrack", deeptrack.deeptrack, deeptrack.PROFILES, ranked=("none",)),
        Row("gdt", gdt.gdt, gdt.PROFILES, objectness=gdt.begins_with_objectness),
        Row("correlation", correlation.correlation, correlation.PROFILES, ranked=("none",)),
    )
}
DEFAULT = "hcft"  # for a user who names none
