"""`--weights`: a network that `jtrack train objectness` has made, given to the commands that track."""

import json
import shlex

import jax
import numpy as np
import pytest
from cli_tools import FRAMES

from jtrack import backbones, run, trackers
from jtrack.backbones import box_feature
from jtrack.learning import fc_head
from jtrack.weights import checkpoints


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """An entry that no folder of weights holds."""
    head = fc_head.init(jax.random.key(5), box_feature.width_of("tiny"), 16, 10)
    layers = {layer: arrays._asdict() for layer, arrays in head._asdict().items()}
    path = tmp_path_factory.mktemp("trained") / "mine.safetensors"
    net = jax.tree.map(np.asarray, backbones.get("tiny").random_params(3))
    checkpoints.write(path, "tiny", net, jax.tree.map(np.asarray, layers), {"data": "made up"})
    return path


@pytest.mark.slow
def test_track_begins_with_them(jtrack, folder, box, entry, tmp_path):
    """The backbone is theirs."""
    out = tmp_path / "boxes.json"
    target = ("--init", box, "--tracker", "gdt", "--out", out)
    said = jtrack("track", folder, *target, "--weights", entry).stdout
    assert "gdt default on tiny" in said
    found = np.array(json.loads(out.read_text())["targets"][0]["boxes"])
    first = [float(side) for side in box.split(",")]
    want = run.track(folder, first, tracker="gdt", weights=entry)
    np.testing.assert_allclose(found, want.boxes, rtol=0, atol=6e-7)
    assert want.label["weights"] == trackers.create("gdt", weights=entry).label()["weights"]
    plain = run.track(folder, first, tracker="gdt", backbone="tiny")
    assert np.abs(plain.boxes[-1] - want.boxes[-1]).max() > 1e-3
    (many,) = run.track_batch([(folder, first)], tracker="gdt", weights=entry)
    assert many.label == want.label and want.label["trained"] == "mine"


@pytest.mark.slow
def test_eval_keeps_which(jtrack, entry, tmp_path):
    options = ("--dataset", "synthetic", "--results", tmp_path / "results", "--limit-frames", FRAMES)
    jtrack("eval", *options, "--tracker", "gdt", "--weights", entry, "--sequences", "ladybird-1")
    (kept,) = (tmp_path / "results").glob("gdt-default-tiny-*/run.json")
    label = json.loads(kept.read_text())
    assert trackers.create("gdt", weights=entry).label()["weights"] in json.dumps(label)


def test_the_vot_entry_names_their_file_whole(jtrack, entry, monkeypatch):
    """The toolkit starts trackers in a folder of its own."""
    monkeypatch.chdir(entry.parent)
    said = jtrack("vot", "entry", "--tracker", "gdt", "--weights", entry.name).stdout
    assert said.startswith("[gdt_default_tiny_mine]\n"), "not the name of another head's"
    command = next(line for line in said.splitlines() if line.startswith("command = "))
    assert f"--weights={entry}" in shlex.split(command)


def test_by_name_the_vot_entry_names_their_folder_whole(jtrack, entry, monkeypatch):
    monkeypatch.chdir(entry.parent.parent)
    monkeypatch.setenv("JTRACK_WEIGHTS", entry.parent.name)
    said = jtrack("vot", "entry", "--tracker", "gdt", "--weights", "mine").stdout
    assert "--weights=mine" in said and f"env_JTRACK_WEIGHTS = {entry.parent}\n" in said


def test_the_got10k_toolkit_keeps_their_results_apart(entry):
    """It does not run again what is in the tracker's folder."""
    pytest.importorskip("got10k")
    from jtrack.integrations.got10k_toolkit import GotTracker

    assert GotTracker("gdt", weights=entry).name == "gdt-default-tiny-mine"
    assert GotTracker("gdt", backbone="tiny").name == "gdt-default-tiny"


@pytest.mark.slow
def test_hog_by_their_choice_is_not_excused(jtrack, folder, box, tmp_path):
    head = fc_head.init(jax.random.key(5), box_feature.width_of("hog"), 16, 10)
    layers = {layer: arrays._asdict() for layer, arrays in head._asdict().items()}
    path = tmp_path / "hog_objectness.safetensors"
    checkpoints.write(path, "hog", {}, jax.tree.map(np.asarray, layers), {"data": "made up"})
    done = jtrack("track", folder, "--init", box, "--tracker", "gdt", "--weights", path, "--end", 2)
    assert "gdt default on hog" in done.stdout and "no weights of googlenet" not in done.stderr


def test_who_does_not_use_them_says_so(jtrack, folder, box, entry, tmp_path):
    track = ("track", folder, "--init", box, "--out", tmp_path / "boxes.csv", "--weights")
    assert "hcft uses no network trained for objectness" in jtrack(*track, entry, code=2).stderr
    assert "no weights 'nowhere'" in jtrack(*track, "nowhere", "--tracker", "gdt", code=2).stderr
    options = ("--dataset", "synthetic", "--results", tmp_path / "results", "--weights", entry)
    assert "it takes no" in jtrack("eval", *options, "--tracker", "opencv:mil", code=2).stderr
    assert not list(tmp_path.rglob("*.csv"))
