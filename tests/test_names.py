"""Names are found whatever their case, wherever users give them; results keep the name as it is known."""

import itertools

import pytest

from jtrack import backbones, data, devices, trackers
from jtrack.benchmark import protocol
from jtrack.data.dataset import KINDS
from jtrack.data.detection import open_detection
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.weights import store


def test_case_hyphen_and_underscore_do_not_matter():
    known = ["cnn_svm", "c5-c4", "vgg19"]
    for name in ("cnn_svm", "CNN-SVM", "Cnn_Svm"):
        assert match("tracker", name, known) == "cnn_svm"
    assert match("profile", "C5_C4", known) == "c5-c4"
    with pytest.raises(JtrackError, match="unknown tracker 'VGG_19': did you mean 'vgg19'"):
        match("tracker", "VGG_19", known)


@pytest.mark.parametrize("wrong", [None, 5, ["hcft"], {"hcft": 1}])
def test_what_is_no_name_is_refused(wrong):
    with pytest.raises(JtrackError, match="a tracker is given by its name"):
        match("tracker", wrong, ["hcft"])


def test_no_two_names_of_a_list_are_alike():
    lists = [trackers.names(), backbones.names(), protocol.names(), list(KINDS), backbones.PRECISIONS]
    for known in itertools.chain(lists, map(trackers.profiles, trackers.names())):
        assert [match("name", name.upper(), known) for name in known] == list(known)


def test_names_of_trackers_profiles_networks_and_precisions():
    bound = trackers.create("CNN-SVM", profile="SVM_Only", backbone="Tiny", precision="BFloat16")
    known = trackers.create("cnn_svm", profile="svm_only", backbone="tiny", precision="bfloat16")
    assert bound.label() == known.label()
    assert (bound.name, bound.profile, bound.backbone.name) == ("cnn_svm", "svm_only", "tiny")
    assert bound.backbone.precision == "bfloat16"
    assert trackers.profiles("HCFT") == trackers.profiles("hcft")
    assert trackers.default_backbone("DeepTrack") == "none"
    assert devices.usable_precision("FLOAT32") == "float32"
    for name in trackers.names():
        (net, *_) = trackers.networks(name)
        for profile in trackers.profiles(name)[:3]:
            found = trackers.profile(name, profile.upper(), net.upper())
            assert str(found) == str(trackers.profile(name, profile, net))


def test_names_of_protocols_datasets_and_weights(user_weights):
    assert protocol.load("OPE").name == "ope"
    assert data.open_dataset("Synthetic").kind == "synthetic"
    assert open_detection("Scenes:3").name == open_detection("scenes:3").name
    assert store.locate("GoogLeNet") is None and store.entry("GoogLeNet").name == "googlenet"
    assert store.load("HOG") == {}
    with pytest.raises(JtrackError, match="no weights of googlenet"):
        store.load("GoogLeNet")


@pytest.fixture
def user_weights(tmp_path, monkeypatch):
    """No weights anywhere."""
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(store, "user_folder", lambda: tmp_path / "own")
