"""`jtrack export`: what it writes runs without jtrack, to the bit as in process."""

import errno
import itertools
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from bench.golden_rows import REDUCED, rows
from jtrack import settings, to_frame, trackers
from jtrack.data import synthetic
from jtrack.integrations import stablehlo
from tests.conftest import ROOT

pytest.importorskip("flatbuffers", reason="needs the extra export")

# The program of docs/howto/export.md is for these.
SIZE, BOX = (480, 640), (200, 150, 60, 60)
GIVEN = ("--size", "640x480", "--init", ",".join(map(str, BOX)))
HCFT = ("export", "--tracker", "hcft", "--backbone", "tiny", *GIVEN)

# Before it: nothing of jtrack can be imported, wherever it is installed.
BLOCK = """
import sys

class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "jtrack":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked)
try:
    import jtrack
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("jtrack can be imported")
"""
# After it.
KEEP = """
assert not [name for name in sys.modules if name.partition(".")[0] == "jtrack"]
np.save("boxes.npy", np.array(boxes))
"""


def program():
    """That of the page, as printed."""
    page = (ROOT / "docs" / "howto" / "export.md").read_text("utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (found,) = (snippet for snippet in snippets if "export.deserialize" in snippet)
    return found


def write_video(folder):
    """Seven frames of a slow clip, its target's middle moved to that of BOX in the first of them."""
    clip = synthetic.clip(frames=120, size=SIZE)
    x, y, width, height = clip.boxes[0]
    rows, columns = BOX[1] + (BOX[3] - height) / 2 - y, BOX[0] + (BOX[2] - width) / 2 - x
    frames = np.stack(list(itertools.islice(clip.frames, 7)))
    video = np.roll(frames, (round(rows), round(columns)), axis=(1, 2))
    np.save(folder / "video.npy", video)
    return video


def run_without_jtrack(folder):
    """The boxes that the page's program finds with `folder/exported` in `folder/video.npy`."""
    quick = str(int(jax.config.read("jax_disable_most_optimizations")))  # compiled as in this process
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = kept | {"JAX_DISABLE_MOST_OPTIMIZATIONS": quick}
    command = [sys.executable, "-I", "-c", BLOCK + program() + KEEP]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "boxes.npy")


def run_in_process(bound, video):
    """The boxes of the jitted functions of a tracker, and how often it learnt."""
    tracker = bound.functions(BOX, SIZE)
    step, learn = jax.jit(tracker.step), jax.jit(tracker.learn) if tracker.learn else None
    state = jax.jit(tracker.init)(
        bound.params, jax.random.key(0), to_frame(video[0], SIZE), np.array(BOX, np.float32)
    )
    boxes, learnt = [np.array(BOX, np.float32)], 0
    for image in video[1:]:
        state, output = step(bound.params, state, to_frame(image, SIZE))
        boxes.append(output.box)
        if learn is not None and state.due:
            state, learnt = learn(bound.params, state), learnt + 1
    return np.array(boxes), learnt


@pytest.mark.parametrize(
    ("tracker", "backbone"),
    [
        pytest.param(row.tracker, row.backbone, marks=[pytest.mark.slow] * (row.tracker != "hcft"))
        for row in rows()
        if row.profile == "default" and row.backbone != "hog"
    ],
)
def test_it_runs_without_jtrack_to_the_bit(jtrack, tmp_path, tracker, backbone):
    changes = [f"{name.partition('|')[0]}={value}" for name, value in REDUCED.get(tracker, {}).items()]
    options = [part for change in changes for part in ("--set", change)]
    chosen = ("--tracker", tracker, "--backbone", backbone, *options)
    said = jtrack("export", *chosen, *GIVEN, "--out", tmp_path / "exported").stdout
    video = write_video(tmp_path)

    bound = trackers.create(
        tracker, backbone=backbone, changes=lambda profile: settings.apply(profile, changes)
    )
    assert f"of {bound.called} on {backbone} into" in said
    expected, learnt = run_in_process(bound, video)
    np.testing.assert_array_equal(run_without_jtrack(tmp_path), expected)
    assert len(np.unique(expected, axis=0)) > 3
    assert (
        (learnt > 0)
        == (tmp_path / "exported" / "learn.stablehlo").exists()
        == (bound.functions(BOX, SIZE).learn is not None)
    )


@pytest.mark.slow
def test_for_one_platform_it_is_exact_on_a_large_network_too(jtrack, tmp_path, weights_folder, monkeypatch):
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    network = ("--tracker", "hcft", "--backbone", "googlenet")
    jtrack("export", *network, *GIVEN, "--platforms", "cpu", "--out", tmp_path / "exported")
    video = write_video(tmp_path)
    expected, _ = run_in_process(trackers.create("hcft", backbone="googlenet"), video)
    np.testing.assert_array_equal(run_without_jtrack(tmp_path), expected)


def avals(listed):
    return [(tuple(each["shape"]), each["dtype"]) for each in listed]


def names(listed):
    return [each["name"] for each in listed]


def test_the_manifest_names_what_is_there(jtrack, tmp_path):
    folder = tmp_path / "exported"
    jtrack("export", "--tracker", "fcnt", "--backbone", "tiny", *GIVEN, "--out", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    functions, bound = manifest["functions"], trackers.create("fcnt", backbone="tiny")
    assert manifest["label"] == bound.label()
    assert manifest["canvas"] == list(SIZE) and manifest["target"] == "any"
    files = [function["file"] for function in functions.values()]
    assert {file.name for file in folder.iterdir()} == {"manifest.json", manifest["weights"], *files}

    for function in functions.values():
        program = jax.export.deserialize(bytearray((folder / function["file"]).read_bytes()))
        assert program.platforms == tuple(manifest["platforms"]) == ("cpu", "cuda", "tpu")
        for found, listed in ((program.in_avals, "arguments"), (program.out_avals, "results")):
            assert [(aval.shape, aval.dtype.name) for aval in found] == avals(function[listed])
            assert len(set(names(function[listed]))) == len(found)

    params = [each for each in functions["step"]["arguments"] if each["name"].startswith("params/")]
    weights = load_file(folder / manifest["weights"])
    assert weights.keys() == set(names(params))
    assert [(weights[each].shape, weights[each].dtype.name) for each in names(params)] == avals(params)
    rate = bound.params["tracker"].learning_rate
    np.testing.assert_array_equal(weights["params/tracker/learning_rate"], rate)
    state = functions["init"]["results"]
    assert state == functions["learn"]["results"] and {"state/box", "state/key"} <= set(names(state))
    frame = [
        {"name": "frame/pixels", "shape": [*SIZE, 3], "dtype": "uint8"},
        {"name": "frame/size", "shape": [2], "dtype": "int32"},
    ]
    key = {"name": "key", "shape": [2], "dtype": "uint32"}
    box = {"name": "box", "shape": [4], "dtype": "float32"}
    assert functions["init"]["arguments"] == [*params, key, *frame, box]
    assert functions["step"]["arguments"] == [*params, *state, *frame]
    assert functions["learn"]["arguments"] == [*params, *state]
    outputs = functions["step"]["results"][len(state) :]
    assert names(outputs) == ["output/box", "output/score", "output/lost"]


def test_the_target_is_any_only_where_no_shape_follows_it():
    def exported(profile, box):
        return stablehlo.export(trackers.create("hcft", profile=profile, backbone="tiny"), box, SIZE, ["cpu"])

    one, other = (exported("default", box) for box in (BOX, (10, 20, 90, 40)))
    assert one.manifest == other.manifest and one.manifest["target"] == "any"
    for name, program in one.programs.items():
        assert program.mlir_module_serialized == other.programs[name].mlir_module_serialized
    one, other = (exported("paper", box) for box in (BOX, (10, 20, 90, 40)))
    assert one.manifest["target"] == list(BOX) and other.manifest["target"] == [10, 20, 90, 40]
    assert one.programs["step"].in_avals != other.programs["step"].in_avals


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--platforms", "cpu,cude"), "unknown platform 'cude': did you mean 'cuda'?"),
        (("--platforms", ","), "an export is for one platform or more: name some of cpu, cuda, tpu"),
        (("--init", "600,80,60,90"), "box 600,80,60,90 (x,y,w,h) lies partly outside the frame"),
        (("--init", "120,80"), "--init '120,80' is not a box: give X,Y,W,H"),
        (("--size", "640"), "--size '640' is not a size: give WIDTHxHEIGHT"),
        (("--precision", "bfloat16"), "bfloat16 is right on a CPU only where jtrack has set XLA's flags"),
    ],
)
def test_a_wrong_input_is_one_sentence_and_writes_nothing(jtrack, tmp_path, wrong, said):
    assert said in jtrack(*HCFT, "--out", tmp_path / "exported", *wrong, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_replaced_only_if_asked(jtrack, tmp_path):
    for name in ("learn.stablehlo", "notes.txt"):  # of another tracker, and the user's
        (tmp_path / name).write_text("")
    assert "is not empty: give another, or --overwrite" in jtrack(*HCFT, "--out", tmp_path, code=2).stderr
    assert len(list(tmp_path.iterdir())) == 2
    jtrack(*HCFT, "--out", tmp_path, "--overwrite")
    made = {"init.stablehlo", "step.stablehlo", "weights.safetensors", "manifest.json"}
    assert {file.name for file in tmp_path.iterdir()} == made | {"notes.txt"}


def test_a_full_disk_leaves_no_file(jtrack, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stablehlo, "save_file", full)
    said = jtrack(*HCFT, "--out", tmp_path / "exported", code=2).stderr
    assert "cannot write the export" in said and "No space left on device" in said
    assert not list((tmp_path / "exported").iterdir())


def test_bfloat16_is_exported_for_a_gpu(jtrack, tmp_path):
    jtrack(*HCFT, "--precision", "bfloat16", "--platforms", "cuda", "--out", tmp_path)
    weights = load_file(tmp_path / "weights.safetensors")
    kernels = [array.dtype.name for name, array in weights.items() if name.endswith("/kernel")]
    assert kernels and set(kernels) == {"bfloat16"}


def test_several_targets_are_refused():
    with pytest.raises(ValueError, match="an export is of one target: got 2 boxes"):
        stablehlo.export(trackers.create("hcft", backbone="tiny"), [BOX, BOX], SIZE)


def test_the_extra_is_named(jtrack, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    said = jtrack(*HCFT, "--out", tmp_path / "exported", code=2).stderr
    assert "an export needs flatbuffers, which" in said and "-e '.[export]'" in said
    assert not list(tmp_path.iterdir())
