"""Profiles: what can be changed, and what is refused when a tracker is made."""

import dataclasses

import jax
import numpy as np
import pytest

import jtrack
from jtrack import backbones, trackers
from jtrack.backbones import box_feature
from jtrack.components import features, motion, salience
from jtrack.components.search_window import CentredWindow
from jtrack.errors import JtrackError
from jtrack.trackers import cnn_svm, correlation, deeptrack, fcnt, gdt, hcft
from jtrack.types import Profile, as_arrays

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (hcft, fcnt, cnn_svm, deeptrack, gdt, correlation)
}


def make(name, **changes):
    backbone = "none" if trackers.find(name).own_network else "tiny"
    return trackers.create(name, backbone=backbone, changes=changes)


@pytest.mark.parametrize("name", MODULES)
def test_defaults_are_plain_numbers_and_params_float32_arrays(name):
    module = MODULES[name]
    for value in module.Hyper():
        assert isinstance(value, float) or all(isinstance(part, float) for part in value)
    made = make(name).params["tracker"]
    assert all(type(leaf) is np.ndarray and leaf.dtype == np.float32 for leaf in made)
    assert made._fields == module.Hyper._fields
    # One name, one meaning: `replace` could not tell which is meant.
    assert not {field.name for field in dataclasses.fields(module.Config)} & set(module.Hyper._fields)


def test_a_profile_is_changed_by_names():
    before = trackers.profile("hcft", "default", "tiny")
    after = before.replace(input_size=(96, 96), learning_rate=0.5)
    assert (after.config.input_size, after.hyper.learning_rate) == ((96, 96), 0.5)
    back = after.replace(input_size=before.config.input_size, learning_rate=before.hyper.learning_rate)
    assert back == before and isinstance(after, Profile)
    with pytest.raises(JtrackError, match="unknown field of the profile 'learning_rat': did you"):
        before.replace(learning_rat=0.5)
    bound = make("hcft", input_size=(96, 96), learning_rate=0.5)
    assert bound.config.input_size == (96, 96) and bound.params["tracker"].learning_rate == np.float32(0.5)


@pytest.mark.parametrize(
    "name, changes, said",
    [
        ("hcft", {"localisation": "max"}, "unknown localisation of hcft 'max'"),
        ("hcft", {"grid": (0, 32)}, r"grid of hcft is \(0, 32\): it must be \(height, width\)"),
        ("hcft", {"input_size": (224,)}, r"input_size of hcft is \(224,\)"),
        ("hcft", {"layers": ()}, "each filter needs at least one layer"),
        ("hcft", {"filters": "primal"}, r"filters of hcft is 'primal': it must be one of Dual\(\), Primal"),
        ("hcft", {"update": True}, r"update of hcft is True: it must be one of EveryFrame\(\), ByScore"),
        ("hcft", {"learning_rate": "0.02"}, "learning_rate is '0.02': it must be a number"),
        ("hcft", {"learning_rate": None}, "learning_rate is None: it must be a number"),
        ("fcnt", {"learning_rate": 1e-7}, "learning_rate is 1e-07: it must be 2 numbers"),
        ("fcnt", {"scale_gates": (0.4, 0.3)}, r"scale_gates is \(0.4, 0.3\): it must be 4 numbers"),
        ("gdt", {"rotations": 0.5}, "rotations is 0.5: it must be several numbers"),
        ("hcft", {"layer_weights": (1.0, 0.5)}, "hcft has 3 filters but 2 layer_weights: give one weight a"),
        ("hcft", {"layers": (("relu5_4",),)}, "hcft has 1 filters but 3 layer_weights"),
        (
            "fcnt",
            {"candidate_scales": "gated"},
            "candidate_scales of fcnt is 'gated': it must be one of Same",
        ),
        ("hcft", {"learning_rate": "fast"}, "learning_rate is 'fast': it must be a number"),
        ("hcft", {"regularisation": float("nan")}, "regularisation is nan: it must not be NaN"),
        ("hcft", {"regularisation": 1e40}, r"regularisation is 1e\+40: it is too large for float32"),
        ("fcnt", {"input_size": 220}, "input_size of fcnt is 220: it must be a multiple of 8"),
        ("fcnt", {"fraction": 0.0}, "fraction of fcnt is 0.0: .* must be above 0"),
        ("fcnt", {"candidates": 0}, "candidates of fcnt is 0: it must be a whole number of at least 1"),
        ("fcnt", {"specific": None, "general": None}, "a layer for SNet, for GNet, or for both"),
        ("cnn_svm", {"samples": 500}, "samples of cnn_svm is 500, but a frame gives only 122"),
        ("cnn_svm", {"budget": 1.5}, "budget of cnn_svm is 1.5: it must be a whole number"),
        ("deeptrack", {"candidates": 101}, "must be a multiple of that, not 101"),
        ("deeptrack", {"batch": 30}, "batch must be a multiple of 4, not 30"),
        ("deeptrack", {"negatives": 10}, "its buffer holds only 10: raise negatives"),
        ("deeptrack", {"grey_cues": ("grey",)}, r"as many grey_cues \(1\) as colour_cues \(4\)"),
        ("deeptrack", {"grey_cues": ("gray",) * 4}, "unknown cue 'gray': did you mean 'grey'"),
        ("correlation", {"patch": (7, 64)}, r"patch of correlation is \(7, 64\): it must have 8 pixels"),
        ("correlation", {"patch": None, "perturbations": 8}, "perturbations need a fixed patch"),
        ("gdt", {"averaged": 601}, "averaged cannot be 601"),
        ("gdt", {"start": "trained"}, "unknown start of gdt 'trained'"),
    ],
)
def test_what_cannot_work_is_refused_when_the_tracker_is_made(name, changes, said):
    with pytest.raises(JtrackError, match=said):
        make(name, **changes)


def test_hcft_refuses_the_wrong_number_of_weights_when_it_begins_too():
    bound = make("hcft")
    params = bound.params | {
        "tracker": bound.params["tracker"]._replace(layer_weights=np.ones(2, np.float32))
    }
    frame = jtrack.to_frame(np.zeros((64, 64, 3), np.uint8))
    tracker = bound.functions((10, 10, 20, 20), (64, 64))
    with pytest.raises(JtrackError, match="hcft has 3 filters but 2 layer_weights"):
        jax.eval_shape(tracker.init, params, jax.random.key(0), frame, np.ones(4, np.float32))


def test_arrays_of_arrays_are_taken_as_they_are():
    made = as_arrays(gdt.Hyper(rotations=(0.5, -0.5)))
    again = as_arrays(made)
    assert all(np.array_equal(one, other) for one, other in zip(made, again, strict=True))


def test_a_part_is_refused_like_a_config():
    with pytest.raises(JtrackError, match=r"padding of a search window is 0\.5: it must be above 1"):
        CentredWindow(padding=0.5)
    with pytest.raises(JtrackError, match=r"step between scales is 1\.0: it must be above 1"):
        hcft.ReleasedScales(step=1.0)
    with pytest.raises(JtrackError, match=r"cells of ProjectedRegion is 0: it must be a whole number"):
        salience.ProjectedRegion("relu5", 0, (64, 64))
    with pytest.raises(JtrackError, match="unknown border of a region 'zeros'"):
        motion.DiagonalRegion(border="zeros")
    with pytest.raises(JtrackError, match=r"size 1.0 and first_size 5.0 must be above 1"):
        features.Region(box_feature.feature_of("tiny"), size=1.0)
    with pytest.raises(
        JtrackError, match=r"unknown localisation of Saliency 'subcel': did you mean 'subcell'"
    ):
        cnn_svm.Saliency(localisation="subcel")


def test_a_network_that_a_tracker_cannot_stand_on_is_refused_as_a_name_and_as_itself():
    for name, net in (("hcft", "none"), ("deeptrack", "tiny")):
        for backbone in (net, backbones.get(net)):
            with pytest.raises(JtrackError, match=f"backbone of {name}.* '{net}'"):
                trackers.profile(name, "default", backbone)
