"""`jtrack list`: what there is to choose from, for people and in a pipe."""

import dataclasses
import os
import pty
import subprocess
import sys

import pytest

from jtrack import backbones, settings, trackers
from jtrack.benchmark import protocol
from jtrack.cli.listing import LAYOUTS
from jtrack.data.dataset import KINDS
from jtrack.weights import store

NAMES = {
    "trackers": trackers.names(),
    "backbones": backbones.names(),
    "datasets": list(KINDS),
    "protocols": protocol.names(),
    "profiles": [profile for name in trackers.names() for profile in trackers.profiles(name)],
}


def lines(jtrack, *arguments):
    """The columns of each line."""
    return [line.split("\t") for line in jtrack("list", *arguments).stdout.splitlines()]


@pytest.mark.parametrize("what", NAMES)
def test_a_line_each_with_the_name_first_and_what_it_is_last(jtrack, what):
    found = lines(jtrack, what)
    assert [line[0] for line in found] == NAMES[what]
    assert len({len(line) for line in found}) == 1
    assert all(len(line[-1]) > 10 for line in found)


def test_profiles_of_one_tracker(jtrack):
    found = lines(jtrack, "profiles", "CNN-SVM")
    assert [line[:2] for line in found] == [[name, "cnn_svm"] for name in trackers.profiles("cnn_svm")]
    assert "unknown tracker 'hctf': did you mean 'hcft'" in jtrack("list", "profiles", "hctf", code=2).stderr


@pytest.mark.parametrize("tracker", trackers.names())
def test_settings_are_what_set_takes(jtrack, tracker):
    """Each with its value makes the profile what it is; all that a profile has is listed."""
    backbone = "none" if trackers.find(tracker).own_network else "tiny"
    found = lines(jtrack, "settings", tracker, "--backbone", backbone)
    profile = trackers.profile(tracker, "default", backbone)
    values = {name: value for name, value, _ in found}
    assert settings.apply(profile, [f"{name}={value}" for name, value in values.items()]) == profile
    names = {field.name for field in dataclasses.fields(profile.config)} | set(profile.hyper._fields)
    assert {name for name in values if "." not in name} == names
    assert all(takes for _, _, takes in found)


def test_settings_say_what_they_take(jtrack):
    found = dict(((name, rest) for name, *rest in lines(jtrack, "settings", "hcft", "--backbone", "tiny")))
    assert found["lost_below"] == ["0.1", "a number"]
    assert found["scale"] == ["Pyramid", "none or ReleasedScales or Pyramid or SmoothPyramid"]
    assert found["scale.size"] == ["24,24", "2 whole numbers with commas between"]
    paper = dict(((name, rest) for name, *rest in lines(jtrack, "settings", "hcft", "--profile", "paper")))
    assert paper["filters"][0] == "Primal" and "scale.size" not in paper


def test_networks_say_whether_their_weights_are_here_and_who_takes_them(jtrack, monkeypatch, tmp_path):
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(store, "user_folder", lambda: tmp_path)
    (tmp_path / "googlenet.safetensors").touch()
    found = {name: (weights, takers) for name, weights, takers, _ in lines(jtrack, "backbones")}
    assert found["googlenet"][0] == "here" and found["vgg19"][0] == "not here"
    assert found["none"] == ("needs none", "deeptrack correlation")
    assert found["hog"] == ("needs none", "hcft fcnt cnn_svm gdt")


def test_every_tracker_profile_dataset_and_network_is_described():
    assert LAYOUTS.keys() == KINDS.keys()
    for name in trackers.names():
        assert list(trackers.describe_profiles(name)) == trackers.profiles(name)
        assert trackers.networks(name)
        assert trackers.describe(name).partition(":")[0].casefold() == name.replace("_", "-")
    assert backbones.describe("VGG19").startswith("VGG-19")


def test_a_terminal_shows_a_table(environment):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jtrack.cli", "list", "protocols"]
    done = subprocess.run(command, stdout=theirs, env=environment | {"COLUMNS": "100"}, check=False)
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "what it is" in text and "one-pass evaluation" in text and "\t" not in text
