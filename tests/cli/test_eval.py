"""`jtrack eval` as a user meets it."""

import json

import cv2
import numpy as np
import pytest

from jtrack.benchmark import results
from jtrack.data import synthetic
from jtrack.data.otb import ORIGIN

STILL = "class Still:\n    deterministic = True\n    def init(self, frame, box):\n        self.box = box\n"
STILL += "    def update(self, frame):\n        return self.box\n"


@pytest.fixture
def still(tmp_path):
    path = tmp_path / "still.py"
    path.write_text(STILL)
    return f"{path}:Still"


@pytest.fixture
def otb(tmp_path):
    """Two sequences in OTB's layout."""
    root = tmp_path / "otb"
    for name, seed in (("Walk", 0), ("Run", 1)):
        clip = synthetic.clip(frames=6, size=(96, 128), seed=seed)
        (root / name / "img").mkdir(parents=True)
        for index, image in enumerate(clip.frames, 1):
            cv2.imwrite(str(root / name / "img" / f"{index:04d}.jpg"), image[:, :, ::-1])
        np.savetxt(root / name / "groundtruth_rect.txt", clip.boxes + ORIGIN, delimiter=",")
    return root


def test_it_runs_says_where_and_goes_on(jtrack, otb, still, tmp_path):
    command = ["eval", "--tracker", still, "--dataset", "otb", "--root", otb, "--results", tmp_path / "out"]
    first = jtrack(*command, "--sequences", "Walk").stdout.splitlines()
    (run,) = (tmp_path / "out").glob("[!.]*")
    assert run.name.startswith("Still-")
    assert first[0] == "one-pass evaluation: 1 trial run"
    assert first[1].startswith("over 1 sequences: auc 0.") and "frames a second" in first[1]
    assert first[2] == f"results are in {run}"
    assert first[3] == f"next: jtrack score {run}"
    assert "jtrack report" in first[4]
    second = jtrack(*command).stdout.splitlines()
    assert second[0] == "one-pass evaluation: 1 trial run, 1 were there"
    (loaded,) = results.load(tmp_path / "out")
    assert set(loaded.trajectories) == {"Walk", "Run"}
    assert json.loads((run / "run.json").read_text())["root"] == str(otb)
    # What it says comes next, works.
    figures = tmp_path / "figures.json"
    jtrack("score", run, "--json", figures)
    scored = json.loads(figures.read_text())
    assert scored["tracker"] == "Still" and f"auc {scored['auc']:.4f}" in second[1]


def test_every_option_reaches_the_run(jtrack, otb, still, tmp_path):
    out = tmp_path / "out"
    options = ["--protocol", "region_noise", "--repeats", 2, "--seed", 5, "--limit-frames", 4]
    jtrack("eval", "--tracker", still, "--dataset", "otb", "--root", otb, "--results", out, *options)
    (loaded,) = results.load(out)
    assert loaded.protocol == "region_noise"
    assert (loaded.label["seed"], loaded.label["limit_frames"]) == (5, 4)
    assert {len(found) for found in loaded.trajectories.values()} == {2}
    assert {len(each.boxes) for found in loaded.trajectories.values() for each in found} == {4}


def test_jtracks_trackers_run(jtrack, otb, tmp_path):
    """One of jtrack's is filed by tracker, profile, network and digest."""
    where = ["--dataset", "otb", "--root", otb, "--results", tmp_path / "out", "--sequences", "Walk"]
    jtrack("eval", "--backbone", "tiny", "--limit-frames", 3, *where)
    (run,) = (tmp_path / "out").glob("[!.]*")
    assert run.name.startswith("hcft-default-tiny-")
    label = json.loads((run / "run.json").read_text())
    assert {"weights", "code", "jax", "hyper", "config", "machines", "sequences", "date"} <= set(label)


def test_the_protocol_is_the_datasets_own(jtrack, still, tmp_path):
    folder = tmp_path / "vot" / "bag"
    folder.mkdir(parents=True)
    for index in range(14):
        cv2.imwrite(str(folder / f"{index:08d}.jpg"), np.zeros((60, 90, 3), np.uint8))
    (folder / "groundtruth.txt").write_text("10,10,30,10,30,30,10,30\n" * 14)
    out = tmp_path / "out"
    said = jtrack(
        "eval", "--tracker", still, "--dataset", "vot", "--root", tmp_path / "vot", "--results", out
    )
    assert "accuracy 1.0000" in said.stdout
    assert sorted(path.name for path in out.glob("*/*/*/*.txt")) == ["bag_001.txt", "bag_time.txt"]
    (loaded,) = results.load(out)
    assert loaded.protocol == "baseline"


def test_failures_are_told_and_the_rest_is_kept(jtrack, otb, still, tmp_path):
    (otb / "Walk" / "img" / "0003.jpg").write_bytes(b"\xff\xd8 cut")
    command = ["eval", "--tracker", still, "--dataset", "otb", "--root", otb, "--results", tmp_path / "out"]
    done = jtrack(*command, code=1)
    assert "jtrack: Walk failed: " in done.stderr and "0003.jpg is truncated" in done.stderr
    assert "1 of 2 sequences failed" in done.stderr and "over 1 sequences" in done.stdout
    (loaded,) = results.load(tmp_path / "out")
    assert list(loaded.trajectories) == ["Run"] and list(loaded.failures) == ["Walk"]
    assert "Traceback" in next((tmp_path / "out").rglob("Walk.error")).read_text()


@pytest.mark.slow
def test_lanes_say_how_fast_all_of_them_were(jtrack, tmp_path):
    command = ["eval", "--dataset", "synthetic", "--limit-frames", "4", "--backbone", "hog", "--results"]
    many = jtrack(*command, tmp_path / "many", "--lanes", "3")
    assert "frames a second in 3 lanes, compilation and reading included" in many.stdout
    auto = jtrack(*command, tmp_path / "auto", "--lanes", "auto")  # on a CPU: one, timed
    assert "compilation" not in auto.stdout
    (one,), (other,) = results.load(tmp_path / "auto"), results.load(tmp_path / "many")
    assert [facts["lanes"] for facts in (*one.machines, *other.machines)] == [1, 3]
    for name, trials in one.trajectories.items():
        np.testing.assert_allclose(other.trajectories[name][0].boxes, trials[0].boxes, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--dataset": "otbs"}, "unknown kind of dataset 'otbs': did you mean 'otb'"),
        ({"--protocol": "opee"}, "did you mean 'ope'"),
        ({"--list": "cvpr31"}, "did you mean 'cvpr13'"),
        ({"--list": "cvpr13"}, "lacks 51 of the 51"),
        ({"--sequences": "Wakl"}, "did you mean 'Walk'"),
        ({"--root": "/nowhere"}, "there is no folder /nowhere"),
        ({"--tracker": "hctf"}, "did you mean 'hcft'"),
        ({"--tracker": "opencv:vit"}, "needs 1 model files"),
        ({"--results": "/proc/no"}, "cannot write /proc/no"),
        ({"--repeats": "0"}, "the number of repeats is 0"),
        ({"--limit-frames": "0"}, "the number of frames of a trial is 0"),
        ({"--lanes": "2"}, "runs in one lane only"),
        ({"--lanes": "0"}, "--lanes is 0: give 1 or more, or auto"),
        ({"--lanes": "many"}, "--lanes is many: give 1 or more, or auto"),
    ],
)
def test_a_wrong_input_is_one_sentence(jtrack, otb, still, tmp_path, change, message):
    options = {"--tracker": still, "--dataset": "otb", "--root": otb, "--results": tmp_path / "out"} | change
    done = jtrack("eval", *(part for pair in options.items() for part in pair), code=2)
    assert message in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.csv"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "response maps are those of a tracker's filters: Still has none, leave out --keep-maps or use"),
        (["--on", "ray"], "--keep-maps is for runs in this process: leave out --on"),
        (["--tracker", "hcft", "--backbone", "tiny", "--lanes", "2"], "one lane only: leave out --lanes or"),
    ],
)
def test_response_maps_that_cannot_be_kept_are_refused(jtrack, otb, still, tmp_path, more, message):
    given = ["--tracker", still, "--dataset", "otb", "--root", otb, "--results", tmp_path / "out"]
    assert message in jtrack("eval", *given, "--keep-maps", *more, code=2).stderr
    assert not (tmp_path / "out").exists()


def test_missing_options_are_named(jtrack):
    assert "--dataset" in jtrack("eval", "--help").output


def test_the_vot_entry_is_printed(jtrack):
    said = jtrack("vot", "entry", "--backbone", "hog", "--size", "320x240").stdout
    assert said.startswith("[hcft_default_hog]\n") and "--size=320x240" in said
    assert "is not a size: give WIDTHxHEIGHT" in jtrack("vot", "entry", "--size", "big", code=2).stderr
