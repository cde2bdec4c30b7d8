"""The benchmark commands on a little data."""

import gzip
import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from bench import otb as bench
from jtrack import trackers
from jtrack.benchmark import metrics
from jtrack.data import otb, synthetic
from tests.conftest import ROOT

LENGTHS = {"Walk": 6, "Run": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two short sequences in OTB's layout, and published boxes: all right, and 30 px off."""
    folder = tmp_path_factory.mktemp("data")
    results = folder / "otb_benchmark" / "results"
    results.mkdir(parents=True)
    shown = {}
    for order, (name, frames) in enumerate(LENGTHS.items()):
        clip = synthetic.clip(frames=frames, size=(96, 128))
        images = folder / "otb" / name / "img"
        images.mkdir(parents=True)
        for index, image in enumerate(clip.frames, start=1):
            cv2.imwrite(str(images / f"{index:04d}.jpg"), image[:, :, ::-1])
        otb.write_boxes(images.parent / "groundtruth_rect.txt", clip.boxes)
        shift = [30 * order, 0, 0, 0]
        shown[name] = {"res": (clip.boxes + otb.ORIGIN + shift).tolist()}
    with gzip.open(results / "Other_OPE.json.gz", "wt") as file:
        json.dump(shown, file)
    return folder


def command(script, *arguments, environment=None):
    """Runs a script in a process of its own; its stdout."""
    line = [sys.executable, str(ROOT / "bench" / script), *map(str, arguments)]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, env=os.environ | (environment or {}), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(text):
    """Every Markdown table, as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in b.splitlines()] for b in blocks]


def test_otb_prints_the_scores_of_the_runs_it_keeps(data, tmp_path):
    choice = ("--profiles", "release2016,default", "--backbones", "tiny", "--sequences", "Walk,Run")
    where = ("--data", data, "--out", tmp_path / "runs", "--published", "Other", "--calibration")
    text = command("otb.py", *choice, *where, environment={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    scores, *reliability = tables(text)
    assert scores[0][1:] == ["hcft release2016 tiny", "hcft default tiny", "Other (published)"]
    assert [row[0] for row in scores[2:]] == ["Walk", "Run", "**mean**", "frames a second"]
    for column, name in enumerate(("hcft-release2016-tiny", "hcft-default-tiny"), start=1):
        (folder,) = (tmp_path / "runs").glob(name + "-*")
        pairs = []
        for row, sequence in enumerate(LENGTHS, start=2):
            kept = json.loads((folder / f"{sequence}.json").read_text())
            truth = np.loadtxt(data / "otb" / sequence / "groundtruth_rect.txt", delimiter=",") - otb.ORIGIN
            found = metrics.score(np.array(kept["targets"][0]["boxes"]), truth)
            assert scores[row][column] == f"{found.precision20:.3f} / {found.auc:.3f}"
            pairs.append((found.precision20, found.auc))
        assert scores[4][column] == "{:.3f} / {:.3f}".format(*np.mean(pairs, axis=0))
        assert float(scores[5][column]) > 0
    # Every overlap is 1, above all thresholds but the last; then one frame of five is right, the given one.
    assert scores[2][3] == f"1.000 / {20 / 21:.3f}"
    assert scores[3][3].startswith("0.200 / ")
    # All frames but the given ones are in the reliability tables, which close with the lost flag.
    assert [sum(int(row[1]) for row in table[2:]) for table in reliability] == [sum(LENGTHS.values()) - 2] * 2
    assert text.count("Lost against overlap < 0.2") == 2


def test_runs_are_made_once(data, tmp_path):
    built = trackers.create(backbone="tiny")
    first = bench.compete([built], ["Walk"], data=data, out=tmp_path)
    (path,) = tmp_path.rglob("Walk.json")
    stamp = path.stat().st_mtime_ns
    ((again,), _) = bench.compete([built], ["Walk", "Run"], data=data, out=tmp_path)
    assert path.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(again.boxes, first[0][0].boxes)
    assert sorted(p.name for p in path.parent.iterdir()) == ["Run.json", "Walk.json"]


def test_a_changed_parameter_or_changed_code_starts_anew(data, tmp_path, monkeypatch):
    built = trackers.create(backbone="tiny")
    numbers = built.params["tracker"]._replace(learning_rate=np.float32(0.5))
    changed = built._replace(params=built.params | {"tracker": numbers})
    bench.compete([built, changed], ["Walk"], data=data, out=tmp_path)
    assert len(list(tmp_path.rglob("Walk.json"))) == 2
    monkeypatch.setattr(bench, "code_digest", lambda: "another")
    bench.compete([built], ["Walk"], data=data, out=tmp_path)
    assert len(list(tmp_path.rglob("Walk.json"))) == 3


def test_the_code_digest_is_of_what_the_code_does(tmp_path, monkeypatch):
    module = tmp_path / "trackers" / "one.py"
    module.parent.mkdir()
    monkeypatch.setattr(bench.jtrack, "__file__", str(tmp_path / "__init__.py"))
    digests = []
    for text in ('"""Doc."""\nx = 1\n', "x = 1  # why\n", "x = 2\n"):
        module.write_text(text)
        digests.append(bench.code_digest.__wrapped__())
    assert digests[0] == digests[1] != digests[2]


def test_calibration_by_hand():
    truth = np.tile([0.0, 0.0, 10.0, 10.0], (5, 1))
    boxes = truth + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [20, 0, 0, 0], [20, 0, 0, 0], [4, 0, 0, 0]])
    run = bench.Run(boxes, np.array([1, 0.95, 0.92, 0.05, 0.35]), np.array([0, 0, 0, 1, 1], bool), None, {})
    text = bench.calibration([run], [truth])
    rows = {row[0]: row[1:] for row in tables(text)[0][2:]}
    assert rows["0.9-1.0"] == ["2", "0.94", "0.50"]
    assert rows["0.0-0.1"] == ["1", "0.05", "0.00"]
    assert rows["0.3-0.4"] == ["1", "0.35", "0.00"]  # an overlap of 60 / 140
    assert rows["0.5-0.6"] == ["0", "–", "–"]
    # (2 * |0.935 - 0.5| + 0.05 + 0.35) / 4; of two lost frames one is off, and so it is of two that are off.
    assert "error 0.318." in text
    assert "precision 0.50 (1 of 2), recall 0.50 (1 of 2)" in text


def test_published_boxes_of_other_frames_are_left_out(data):
    truths = {name: otb.load(data / "otb" / name).boxes for name in LENGTHS}
    walk, run = bench.published_scores(data, "Other", truths | {"Run": truths["Run"][:-1]})
    assert walk.precision20 == 1 and run is None
    assert bench.mean([walk, run]) is None


def test_trackers_prints_its_table(data, tmp_path):
    choice = ("--rounds", 1, "--frames", 4, "--contestants", "tiny:float32")
    text = command("trackers.py", *choice, "--sequence", data / "otb" / "Walk")
    ((_, _, row, _),) = tables(text)
    assert row[:2] == ["tiny float32", "random"]
    assert all(float(row[column]) > 0 for column in (2, 4, 5))
    assert "Walk, 128 x 96" in text
    assert float(re.search(r"`import jtrack`: ([\d.]+) s", text)[1]) > 0
