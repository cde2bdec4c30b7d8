"""`jtrack sweep` as a user meets it."""

import csv
import shutil

import pytest

from jtrack.benchmark import results
from jtrack.cli.sweep import LANES_OF_CPU

DATASET = ("--dataset", "synthetic", "--sequences", "ladybird-4,ladybird-1", "--limit-frames", 4)
HOG = ("--tracker", "hcft", "--backbone", "hog")
RATES = ("--set", "learning_rate=0.01,0.02")


def runs(folder):
    return {path.name for path in folder.glob("hcft-*")}


def first_line(done):
    return done.stdout.splitlines()[0].partition(": ")[2]


@pytest.mark.slow
def test_a_sweep_and_single_runs_go_on_with_each_other(jtrack, tmp_path):
    out, plots = tmp_path / "results", tmp_path / "plots"
    jtrack("eval", *DATASET, *HOG, "--set", "learning_rate=0.02", "--results", out, "--lanes", LANES_OF_CPU)
    before = runs(out)
    widths = ("--set", "label_width=0.1,0.2")
    sweep = ("sweep", *DATASET, *HOG, *RATES, *widths, "--results", out, "--out", plots)
    said = jtrack(*sweep)
    assert first_line(said) == "6 trials run, 2 were there"
    assert "one-pass evaluation, 4 settings" in said.stdout
    assert "(base)" in said.stdout and "learning_rate=0.02" in said.stdout
    assert "none of 3 settings is shown to be better" in said.stdout or "is better than" in said.stdout
    assert "the number of sequences is 2" in said.stderr and "3 settings were compared" in said.stderr
    assert before < runs(out) and len(runs(out)) == 4
    again = jtrack(*sweep)  # also writes its files anew
    assert first_line(again) == "0 trials run, 8 were there"
    single = jtrack("eval", *DATASET, *HOG, "--set", "label_width=0.2", "--results", out)
    assert first_line(single) == "0 trials run, 2 were there"
    base = jtrack("eval", *DATASET, *HOG, "--results", out)
    assert first_line(base) == "0 trials run, 2 were there"
    assert len(runs(out)) == 4

    names = {path.name for path in plots.iterdir()}
    of_numbers = {
        f"sweep-{name}.{kind}" for name in ("learning_rate", "label_width") for kind in ("png", "pdf")
    }
    assert names == {"sweep.csv", *of_numbers}
    with (plots / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["setting"] == "" and {row["run"] for row in rows} == runs(out)
    loaded = {each.label.get("changes"): each for each in results.load(out)}
    assert {row["setting"] or None for row in rows} == set(loaded)
    scored = jtrack("score", out)
    assert "label_width=0.2" in " ".join(scored.stdout.split())


@pytest.mark.slow
def test_structure_and_draws(jtrack, tmp_path):
    given = ("--set", "scale=none,Pyramid", "--set", "learning_rate=0.005..0.05", "--draws", 3, "--seed", 2)
    said = jtrack("sweep", *DATASET, *HOG, *given, "--results", tmp_path, "--lanes", 3)
    assert first_line(said) == "8 trials run"
    loaded = results.load(tmp_path)
    rates = sorted(each.label["hyper"]["learning_rate"] for each in loaded)
    assert len(set(rates)) == 4 and rates[0] >= 0.005 and rates[-1] <= 0.05
    assert {each.label["seed"] for each in loaded} == {2}
    assert jtrack("sweep", *DATASET, *HOG, *given, "--results", tmp_path).stdout.count("8 were there") == 1


@pytest.mark.slow
def test_a_failure_of_one_setting_is_told_and_the_others_are_compared(jtrack, tmp_path):
    sweep = ("sweep", *DATASET, *HOG, *RATES, "--results", tmp_path)
    jtrack(*sweep)
    spoilt = next(each for each in results.load(tmp_path) if each.label.get("changes"))
    (run,) = (path for path in tmp_path.glob("hcft-*") if spoilt.label["digest"] in path.name)
    (run / "ope" / "ladybird-4.csv").write_text("nonsense")
    said = jtrack(*sweep, code=1)
    assert "jtrack: ladybird-4 failed in learning_rate=0.02: " in said.stderr
    assert "compared: 1 of 2 sequences)" in " ".join(said.stdout.split())
    assert "no setting could be compared with the base" in said.stdout
    shutil.rmtree(run)
    assert first_line(jtrack(*sweep)) == "2 trials run, 2 were there"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--set": "learning_rat=1,2"}, "unknown field of the profile 'learning_rat': did you mean"),
        (
            {"--set": "learning_rate=1..2"},
            "learning_rate is a range: say how many settings to draw by --draws",
        ),
        ({"--set": "layer_weights=1,2;1,1"}, "layer_weights"),
        ({"--set": "learning_rate=0.01,fast"}, "learning_rate is 'fast': it must be a number"),
        ({"--draws": 3}, "there are no 3 different settings to draw, only 2"),
        ({"--lanes": "many"}, "--lanes is many: give 1 or more, or auto"),
        ({"--lanes": "0"}, "--lanes is 0"),
        ({"--tracker": "opencv:mil"}, "unknown tracker of jtrack 'opencv:mil'"),
        ({"--protocol": "opee"}, "did you mean 'ope'"),
        ({"--seed": -1}, "seed"),
        ({"--out": "/proc/no"}, "cannot write /proc/no"),
    ],
)
def test_a_wrong_input_is_one_sentence(jtrack, tmp_path, change, message):
    options = dict(zip(HOG[::2], HOG[1::2], strict=True)) | {"--set": "learning_rate=0.02,0.03"}
    options |= {"--results": tmp_path / "out"} | change
    given = [part for pair in options.items() for part in pair]
    assert message in jtrack("sweep", *DATASET, *given, code=2).stderr
    assert not list(tmp_path.rglob("*.csv"))


def test_something_must_be_swept(jtrack):
    assert "--set" in jtrack("sweep", "--help").output
