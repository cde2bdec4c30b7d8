"""`--set NAME=VALUE`: what is tracked with it, where its results go, and how tables call them."""

import json
import re

import pytest

TINY = ("--backbone", "tiny")
DATASET = ("--dataset", "synthetic", "--sequences", "ladybird-4", "--limit-frames", 3)


def test_a_changed_profile_is_tracked_and_said(jtrack, folder, box, tmp_path):
    init = ("track", folder, "--init", box, *TINY, "--out")
    plain = jtrack(*init, tmp_path / "plain.csv").stdout
    assert "; hcft default on tiny (float32)" in plain
    changed = jtrack(
        *init, tmp_path / "changed.csv", "--set", "window.padding=2", "--set", "scale=none"
    ).stdout
    assert "; hcft default window.padding=2 scale=none on tiny (float32)" in changed
    boxes = [(tmp_path / f"{name}.csv").read_text() for name in ("plain", "changed")]
    assert boxes[0] != boxes[1]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learning_rat=1", "unknown field of the profile 'learning_rat': did you mean 'learning_rate'?"),
        ("learning_rate=fast", "learning_rate is 'fast': it must be a number"),
        ("layer_weights=1,2", "hcft has 3 filters but 2 layer_weights"),
    ],
)
@pytest.mark.parametrize("command", ["track", "eval", "vot entry"])
def test_a_wrong_setting_is_one_sentence(jtrack, folder, box, tmp_path, command, setting, said):
    given = {"track": (folder, "--init", box), "eval": (*DATASET, "--results", tmp_path), "vot entry": ()}
    assert said in jtrack(*command.split(), *given[command], *TINY, "--set", setting, code=2).stderr


@pytest.mark.slow
def test_two_settings_never_share_results(jtrack, tmp_path):
    results = tmp_path / "results"

    def run(*settings):
        chosen = [part for setting in settings for part in ("--set", setting)]
        said = jtrack("eval", *DATASET, "--results", results, *TINY, *chosen).stdout
        return said.splitlines()[0].partition(": ")[2], set(results.glob("hcft-*"))

    made = "1 trial run"
    done, plain = run()
    assert done == made and len(plain) == 1
    assert run("lost_below=0.1") == ("0 trials run, 1 were there", plain)  # which it is already
    done, both = run("learning_rate=0.02", "temperature=0.1")
    assert done == made and len(both) == 2
    # However it is written.
    assert run("temperature=0.1", "learning_rate=2e-2") == ("0 trials run, 1 were there", both)

    labels = {folder: json.loads((folder / "run.json").read_text()) for folder in both}
    (of_plain,), (of_changed,) = plain, both - plain
    assert "changes" not in labels[of_plain]
    assert labels[of_changed]["changes"] == "learning_rate=0.02 temperature=0.1"
    assert labels[of_changed]["hyper"]["learning_rate"] == pytest.approx(0.02)

    figures = tmp_path / "figures.json"
    said = jtrack("score", of_changed, "--json", figures).stdout
    assert "hcft default learning_rate=0.02 temperature=0.1 tiny" in " ".join(said.split())
    assert json.loads(figures.read_text())["changes"] == "learning_rate=0.02 temperature=0.1"
    jtrack("score", of_plain, "--json", figures)
    assert json.loads(figures.read_text())["changes"] is None


def test_the_entry_for_the_vot_toolkit_sets_it_again(jtrack):
    said = jtrack("vot", "entry", *TINY, "--set", "scale=None", "--set", "layer_weights=1,0.50,0").stdout
    lines = dict(line.partition(" = ")[::2] for line in said.splitlines())
    assert lines["label"] == "hcft default scale=none layer_weights=1,0.5,0 tiny"
    assert lines["command"].endswith("--set=scale=none --set=layer_weights=1,0.5,0")
    # What the toolkits call their folders of results.
    sections = [
        jtrack("vot", "entry", *TINY, *chosen).stdout.splitlines()[0]
        for chosen in ((), ("--set", "layer_weights=0.5,1,0"), ("--set", "layer_weights=0,5.1,0"))
    ]
    assert sections[0] == "[hcft_default_tiny]" and len({*sections}) == 3
    assert all(re.fullmatch(r"\[hcft_default_tiny_[0-9a-f]{8}\]", section) for section in sections[1:])
