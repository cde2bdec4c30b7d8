"""Packs: what comes out is what went in, to the last bit."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from jtrack.data import Annotation, FrameError, Sequence, from_arrays, open_dataset, otb
from jtrack.data.dataset import Dataset
from jtrack.errors import JtrackError
from tests.fuzz.limits import limited

pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
tfds = pytest.importorskip("jtrack.data.tfds")


def same(left, right):
    """Whether two sequences agree in everything."""
    assert (left.name, left.attributes, left.size) == (right.name, right.attributes, right.size)
    assert left.category == right.category
    assert (left.polygons is None) == (right.polygons is None)
    for one, other in ((left.boxes, right.boxes), (left.polygons, right.polygons)):
        if one is not None:
            assert one.shape == other.shape and one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()  # NaN too
    assert list(left.events) == list(right.events)
    for name, mark in left.events.items():
        assert right.events[name].dtype == bool
        np.testing.assert_array_equal(mark, right.events[name])
    assert (left.frames.length, left.frames.fps, left.frames.size) == (
        right.frames.length,
        right.frames.fps,
        right.frames.size,
    )
    for index, (one, other) in enumerate(zip(left.frames, right.frames, strict=True)):
        np.testing.assert_array_equal(one, other)
        if index == 1:
            np.testing.assert_array_equal(right.frames.pick(1), one)


@pytest.fixture
def folder(tmp_path):
    """OTB's layout with three kinds of image files."""
    rng = np.random.default_rng(0)
    for name, suffix in (("Walk", "jpg"), ("Run", "png"), ("Bolt", "bmp")):
        (tmp_path / "data" / name / "img").mkdir(parents=True)
        for number in range(1, 4):
            image = rng.integers(0, 256, (24, 32, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "data" / name / "img" / f"{number:04d}.{suffix}"), image)
        rows = rng.uniform(1, 20, (3, 4))
        np.savetxt(tmp_path / "data" / name / "groundtruth_rect.txt", rows, delimiter=",", fmt="%.17g")
    return tmp_path / "data"


def test_files_come_back_as_they_were(folder, tmp_path):
    dataset = open_dataset("otb", folder, sequences=["Walk", "Bolt", "Run"])
    said = []
    place = tfds.pack(dataset, tmp_path / "packed", progress=said.append)
    assert place == tmp_path / "packed" / "jtrack_sot" / "1.1.0"
    assert said == ["Walk", "Bolt", "Run"]
    packed = open_dataset("tfds", tmp_path / "packed")
    assert packed.names == ("Walk", "Bolt", "Run")
    for name in dataset.names:
        same(dataset.sequence(name), packed.sequence(name))
        known = packed.annotation(name)
        assert type(known) is Annotation and known.boxes.tobytes() == dataset.annotation(name).boxes.tobytes()
    assert packed.sequence("Bolt").attributes == otb.attributes("Bolt") != ()
    for name, suffix in (("Walk", "jpg"), ("Run", "png")):
        files = sorted((folder / name / "img").glob(f"*.{suffix}"))
        assert list(packed.sequence(name).frames.encoded()) == [file.read_bytes() for file in files]


def made_up(name, seed):
    """A sequence that no file holds, with everything an annotation can have."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (4, 20, 30, 3), np.uint8)
    boxes = rng.normal(size=(4, 4)) / 3
    boxes[2] = np.nan
    events = {"occlusion": rng.random(4) < 0.5, "motion": np.array([True, False, False, True])}
    source = from_arrays(frames, name=name, fps=29.97)
    polygons = rng.normal(size=(4, 5, 2))
    return Sequence(name, boxes, polygons, ("SV", "OCC"), events, source.size, "dog", frames=source)


def of(sequences):
    """A dataset of sequences in memory."""
    table = {sequence.name: sequence for sequence in sequences}
    return Dataset("folder", ".", None, tuple(table), table.__getitem__, table.__getitem__)


def test_everything_an_annotation_has(tmp_path):
    plain = replace(made_up("plain", 1), polygons=None, attributes=(), events={})
    plain = replace(plain, frames=replace(plain.frames, fps=None))
    first = replace(made_up("first", 2), events={}, polygons=None)
    first = replace(first, boxes=first.boxes[:1])  # the box of the first frame alone
    sequences = [made_up("whole", 0), plain, first]
    tfds.pack(of(sequences), tmp_path)
    packed = open_dataset("tfds", tmp_path)
    for sequence in sequences:
        same(sequence, packed.sequence(sequence.name))


def test_polygons_of_real_sequences(tmp_path, data_folder):
    dataset = open_dataset("vot", data_folder / "vot", subset="vot2015", sequences=["vot2015_ball1"])
    tfds.pack(dataset, tmp_path)
    same(dataset.sequence("vot2015_ball1"), open_dataset("tfds", tmp_path).sequence("vot2015_ball1"))
    assert open_dataset("tfds", tmp_path, subset="vot2015").names == ("vot2015_ball1",)
    with pytest.raises(JtrackError, match=r"unknown split of .* 'val': known: vot2015"):
        open_dataset("tfds", tmp_path, subset="val")


def test_real_frames(tmp_path, data_folder):
    dataset = open_dataset("otb", data_folder / "otb", sequences=["Jogging-2", "Crossing"])
    tfds.pack(dataset, tmp_path)
    for name in dataset.names:
        same(dataset.sequence(name), open_dataset("tfds", tmp_path).sequence(name))


READ = """
import json, sys
heard = []
sys.addaudithook(lambda event, _: heard.append(event) if event.startswith("socket.") else None)
import tensorflow_datasets as tfds
source = tfds.builder("jtrack_sot", data_dir=sys.argv[1]).as_data_source(split="test")
record = source[0]
print(json.dumps({
    "length": len(source),
    "keys": sorted(record),
    "box": record["boxes"][0].tolist(),
    "frames": [len(frame) for frame in record["frames"]],
    "modules": sorted({"tensorflow", "jtrack", "jax"} & set(sys.modules)),
    "network": heard,
}))
"""


def test_it_is_read_without_jtrack_and_tensorflow(folder, tmp_path):
    dataset = open_dataset("otb", folder, sequences=["Walk", "Run"])
    tfds.pack(dataset, tmp_path / "packed")
    line = [sys.executable, "-c", READ, str(tmp_path / "packed")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    files = sorted((folder / "Walk" / "img").iterdir())
    assert found == {
        "length": 2,
        "keys": [
            *("attributes", "boxes", "category", "event_names", "events"),
            *("fps", "frames", "name", "polygons", "size"),
        ],
        "box": dataset.annotation("Walk").boxes[0].tolist(),
        "frames": [file.stat().st_size for file in files],
        "modules": [],
        "network": [],
    }


def test_the_builder_prepares_itself(folder, tmp_path):
    """As any builder of TensorFlow Datasets, by the name it is registered under."""
    import tensorflow_datasets

    dataset = open_dataset("otb", folder, sequences=["Run"])
    builder = tensorflow_datasets.builder("jtrack_sot", data_dir=str(tmp_path / "own"), dataset=dataset)
    builder.download_and_prepare()
    assert len(builder.as_data_source(split="test")) == 1
    same(dataset.sequence("Run"), open_dataset("tfds", tmp_path / "own").sequence("Run"))


def test_packs_are_not_replaced_unasked(folder, tmp_path):
    tfds.pack(open_dataset("otb", folder, sequences=["Walk"]), tmp_path / "packed")
    other = open_dataset("otb", folder, sequences=["Run"])
    with pytest.raises(JtrackError, match=r"1\.1\.0 exists: give another folder, or --overwrite"):
        tfds.pack(other, tmp_path / "packed")
    assert open_dataset("tfds", tmp_path / "packed").names == ("Walk",)
    tfds.pack(other, tmp_path / "packed", overwrite=True)
    assert open_dataset("tfds", tmp_path / "packed").names == ("Run",)
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["jtrack_sot"]


@pytest.mark.parametrize("old", [False, True])
def test_a_pack_is_whole_or_not_there(folder, tmp_path, old):
    out = tmp_path / "packed"
    if old:
        tfds.pack(open_dataset("otb", folder, sequences=["Bolt"]), out)
    (folder / "Run" / "img" / "0003.png").write_bytes(
        (folder / "Run" / "img" / "0003.png").read_bytes()[:-20]
    )
    with pytest.raises(FrameError, match="frame 2 of Run is truncated"):
        tfds.pack(open_dataset("otb", folder, sequences=["Walk", "Run"]), out, overwrite=old)
    assert [path.name for path in out.iterdir()] == (["jtrack_sot"] if old else [])
    if old:
        assert open_dataset("tfds", out).names == ("Bolt",)


KILLED = """
import os, signal, sys
from jtrack.data import open_dataset
from jtrack.data.tfds import pack
kill = lambda name: os.kill(os.getpid(), signal.SIGKILL)
pack(open_dataset("otb", sys.argv[1]), sys.argv[2], progress=kill)
"""


def test_a_killed_pack_is_not_there(folder, tmp_path):
    out = tmp_path / "packed"
    line = [sys.executable, "-c", KILLED, str(folder), str(out)]
    assert subprocess.run(line, capture_output=True, check=False).returncode < 0
    assert not (out / "jtrack_sot").exists()
    with pytest.raises(JtrackError, match="holds no pack"):
        open_dataset("tfds", out)
    tfds.pack(open_dataset("otb", folder), out)
    assert len(open_dataset("tfds", out).names) == 3


def test_a_sequence_beyond_a_record(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "LARGEST", 1000)
    with pytest.raises(JtrackError, match="Walk is too large to pack: its frames take more than 1000 bytes"):
        tfds.pack(open_dataset("otb", folder, sequences=["Walk"]), tmp_path / "packed")


def test_damaged_packs(folder, tmp_path):
    out = tmp_path / "packed"
    place = tfds.pack(open_dataset("otb", folder), out)
    metadata = json.loads((place / "metadata.json").read_text())
    (place / "metadata.json").write_text(json.dumps(metadata | {"names": ["Bolt", "../Run", "Walk"]}))
    with pytest.raises(JtrackError, match="is not the plain name of a folder"):
        open_dataset("tfds", out)
    (place / "metadata.json").write_text(json.dumps(metadata | {"names": ["Bolt"]}))
    with pytest.raises(JtrackError, match="is damaged: it names 1 sequences but holds 3"):
        open_dataset("tfds", out)
    (place / "metadata.json").write_text(json.dumps(metadata | {"names": ["Run", "Bolt", "Walk"]}))
    with pytest.raises(JtrackError, match="the record of Run is one of 'Bolt'"):
        open_dataset("tfds", out).sequence("Run")
    (place / "metadata.json").write_text(json.dumps(metadata))
    (shard,) = place.glob("*array_record*")
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(JtrackError, match=r"Walk in .* cannot be read .*: pack it again"):
        open_dataset("tfds", out).sequence("Walk")
    (place / "dataset_info.json").write_text("{")
    with pytest.raises(JtrackError, match=r"1\.1\.0 cannot be read .*: pack it again"):
        open_dataset("tfds", out)


@pytest.mark.parametrize(
    "metadata",
    [
        '{"kind": "otb"}',
        '{"kind": "otb", "names": null}',
        '{"kind": "otb", "names": 3}',
        '{"kind": "otb", "names": [1, 2, 3]}',
        '{"kind": "otb", "names": ["Bolt", "Run", "\\ud800"]}',
        '["names"]',
        "[" * 100_000,
        '{"names": ["Bolt", ',
        "\x00",
    ],
)
def test_a_damaged_list_of_names(folder, tmp_path, metadata):
    out = tmp_path / "packed"
    place = tfds.pack(open_dataset("otb", folder, sequences=["Bolt"]), out)
    (place / "metadata.json").write_text(metadata)
    with limited(), pytest.raises(JtrackError, match=r"the pack .*1\.1\.0 cannot be read .*: pack it again"):
        open_dataset("tfds", out)


@pytest.mark.parametrize("name", ["metadata.json", "dataset_info.json", "features.json"])
def test_a_pipe_in_a_pack(folder, tmp_path, name):
    out = tmp_path / "packed"
    place = tfds.pack(open_dataset("otb", folder, sequences=["Bolt"]), out)
    (place / name).unlink()
    os.mkfifo(place / name)
    with limited(), pytest.raises(JtrackError, match=r"it is a pipe|holds no pack"):
        open_dataset("tfds", out)
