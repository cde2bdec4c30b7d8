"""Settings: what text means to each kind of field, what is refused, and how a difference is said."""

import hashlib
import itertools

import jax
import numpy as np
import pytest

from jtrack import settings, trackers
from jtrack.components.scale import Pyramid
from jtrack.components.update import EveryFrame
from jtrack.errors import JtrackError
from jtrack.learning.correlation_filter import Primal
from jtrack.learning.saliency_filter import UniformPrior
from jtrack.trackers.hcft import ReleasedScales
from jtrack.types import as_arrays
from jtrack.vision.cues import Stretched


def profile(tracker, name="default"):
    return trackers.profile(tracker, name, "none" if trackers.find(tracker).own_network else "tiny")


@pytest.mark.parametrize(
    ("tracker", "name", "text", "value"),
    [
        ("hcft", "learning_rate", "0.02", 0.02),
        ("hcft", "learning_rate", "2e-2", 0.02),
        ("hcft", "layer_weights", "1,0.5,.25", (1.0, 0.5, 0.25)),
        ("hcft", "layer_weights", "1", (1.0,)),
        ("gdt", "rotations", "", ()),
        ("fcnt", "learning_rate", "1e-8,1e-9", (1e-8, 1e-9)),
        ("fcnt", "label_edge", "inf", float("inf")),
        ("fcnt", "interval", "10", 10),
        ("fcnt", "specific", "none", None),
        ("fcnt", "specific", "relu3_4", "relu3_4"),
        ("hcft", "grid", "None", None),
        ("hcft", "grid", "24,32", (24, 32)),
        ("hcft", "layers", "relu5_4,relu4_4+relu3_4", (("relu5_4",), ("relu4_4", "relu3_4"))),
        ("hcft", "localisation", "Soft", "soft"),
        ("hcft", "info", "true", True),
        ("deeptrack", "label_noise", "False", False),
        ("deeptrack", "grey_cues", "grey,gradient", ("grey", "gradient")),
        ("hcft", "filters", "Primal", Primal()),
        ("hcft", "update", "everyframe", EveryFrame()),
        ("hcft", "scale", "none", None),
        ("hcft", "scale.size", "16,20", (16, 20)),
        ("cnn_svm", "saliency.prior", "UniformPrior", UniformPrior()),
        ("deeptrack", "cue_range", "Stretched", Stretched(-1.0, 1.0)),  # the limits that are there
    ],
)
def test_a_value_is_read_by_its_field(tracker, name, text, value):
    found = settings.parse(profile(tracker), name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("tracker", "setting", "said"),
    [
        ("hcft", "learning_rate", "'learning_rate' sets nothing: give NAME=VALUE"),
        (
            "hcft",
            "learning_rat=1",
            "unknown field of the profile 'learning_rat': did you mean",
        ),
        ("hcft", "scale.cont=3", "unknown field of scale 'cont': did you mean 'count'"),
        ("hcft", "learning_rate=fast", "learning_rate is 'fast': it must be a number$"),
        ("hcft", "learning_rate=nan", "learning_rate is 'nan': it must be a number$"),
        ("hcft", "learning_rate=", "learning_rate is '': it must be a number$"),
        ("hcft", "learning_rate=1,2", "learning_rate is '1,2': it must be a number$"),
        ("hcft", "layer_weights=1,x", "layer_weights is '1,x': it must be numbers with commas between$"),
        ("fcnt", "learning_rate=1", "learning_rate is '1': it must be 2 numbers with commas between$"),
        ("fcnt", "interval=2.5", "interval is '2.5': it must be a whole number$"),
        ("hcft", "grid=32", "grid is '32': it must be none or 2 whole numbers with commas between$"),
        ("hcft", "layers=", "each filter needs at least one layer"),
        ("hcft", "info=yes", "info is 'yes': it must be true or false$"),
        ("hcft", "localisation=peak", "localisation is 'peak': it must be cell or subcell or soft$"),
        ("hcft", "filters=Both", "filters is 'Both': it must be Dual or Primal or Bounded$"),
        ("hcft", "update.rate=2", r"update is ByScore\(\), which has no field 'rate'$"),
        ("hcft", "lost_below.x=1", "lost_below is 0.1, which has no field 'x'$"),
        ("gdt", "features.feature=fc6", "features.feature is 'fc6': it must be set from Python$"),
        ("cnn_svm", "samples=500", "samples of cnn_svm is 500, but a frame gives only 122"),
    ],
)
def test_what_a_field_does_not_take_is_refused(tracker, setting, said):
    with pytest.raises(JtrackError, match=said):
        settings.apply(profile(tracker), [setting])


def test_what_is_set_twice_is_refused():
    with pytest.raises(JtrackError, match="learning_rate is set twice, to '1' and to '2'"):
        settings.apply(profile("hcft"), ["learning_rate=1", "learning_rate=2"])


def test_values_that_are_right_together_are_set_together():
    changed = settings.apply(profile("cnn_svm"), ["candidates=20", "samples=10"])
    assert (changed.config.candidates, changed.config.samples) == (20, 10)
    for order in itertools.permutations(["scale.step=1.1", "scale=ReleasedScales"]):
        assert settings.apply(profile("hcft"), order).config.scale == ReleasedScales(step=1.1)
    without = profile("hcft", "release2016")
    with pytest.raises(JtrackError, match=r"scale is none, .* set scale=ReleasedScales or scale=Pyramid"):
        settings.apply(without, ["scale.count=5"])
    assert settings.apply(without, ["scale.count=5", "scale=Pyramid"]).config.scale == Pyramid(count=5)


@pytest.mark.parametrize("tracker", trackers.names())
def test_the_difference_of_two_profiles_changes_one_into_the_other(tracker):
    profiles = {name: profile(tracker, name) for name in trackers.profiles(tracker)}
    for (one, before), (other, after) in itertools.product(profiles.items(), repeat=2):
        texts = [f"{name}={text}" for name, text in settings.difference(before, after).items()]
        assert not (texts and one == other)
        if (one, other) in IMPOSSIBLE:
            continue
        found = settings.apply(before, texts)
        assert found.config == after.config
        for value, expected in zip(as_arrays(found.hyper), as_arrays(after.hyper), strict=True):
            np.testing.assert_array_equal(value, expected)


# A part takes over what it has no default for, and patches without cells are not what a region can have.
IMPOSSIBLE = {
    (name, other) for name in ("paper", "svm_only", "no_prior") for other in ("default", "differentiable")
}


def digest_without_changes(bound):
    """The digest of a label, as it was before profiles could be changed by text."""
    facts = {name: value for name, value in bound.label().items() if name != "digest"}
    hyper = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(bound.params["tracker"])]
    return hashlib.sha256(repr((sorted(facts.items()), bound.config, hyper)).encode()).hexdigest()[:16]


def test_the_label_says_what_is_changed_and_nothing_if_nothing_is():
    plain, same, other = (
        trackers.create("hcft", backbone="tiny", changes=changes)
        for changes in (
            None,
            {"lost_below": 0.1},
            lambda each: settings.apply(each, ["learning_rate=0.02"]),
        )
    )
    names = {"tracker", "profile", "backbone", "precision", "jtrack", "jax", "weights", "digest"}
    assert set(plain.label()) == names and plain.label() == same.label()
    assert plain.label()["digest"] == digest_without_changes(plain)
    assert other.label()["changes"] == "learning_rate=0.02"
    assert other.label()["digest"] != plain.label()["digest"]
    assert "hcft default learning_rate=0.02 on tiny" in repr(other)


def test_a_difference_is_said_as_float32():
    before = profile("hcft")
    after = before.replace(learning_rate=np.float32(0.1), layer_weights=np.array([1, 0.5, 1 / 3]))
    assert settings.difference(before, after) == {
        "layer_weights": "1,0.5,0.33333334",
        "learning_rate": "0.1",
    }
    assert settings.difference(before, before.replace(lost_below=np.float32(0.1))) == {}
