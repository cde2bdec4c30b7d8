"""The benchmark of training for objectness, on next to nothing."""

import re
import shutil
import subprocess
import sys

import pytest

from bench.objectness import weak_boxes
from jtrack.data.detection import open_detection
from jtrack.weights import checkpoints, store
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_it_prints_a_row_a_network_and_keeps_the_entries(tmp_path):
    options = ["--backbone", "tiny", "--data", "scenes:12", "--steps", "3", "--batch", "8", "--held-out", "3"]
    line = [sys.executable, str(ROOT / "bench" / "objectness.py"), *options, "--out", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    percent, second = r"\d+\.\d%", r"\d+\.\d\d"
    assert re.search(rf"\| tiny \| {percent} \| {percent} \| {percent} \| {second}, {second} \|", done.stdout)
    for way in ("head_alone", "all_layers"):
        assert checkpoints.load(tmp_path / way / "tiny_objectness.safetensors").header["steps"] == "3"


def test_labelled_images_get_boxes(tmp_path, data_folder, weights_folder, monkeypatch):
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    if store.locate("googlenet") is None:
        pytest.skip("no weights of googlenet")
    source = data_folder / "imagenet_val"
    rows = (source / "labels.txt").read_text().splitlines()[:3]
    (tmp_path / "images").mkdir()
    for row in rows:
        shutil.copy(source / "images" / row.split()[0], tmp_path / "images")
    (tmp_path / "labels.txt").write_text("\n".join(rows))
    data = open_detection(f"folder:{weak_boxes(tmp_path, tmp_path / 'out')}")
    assert data.length == 3
    for index in range(3):
        image, boxes, _ = data.read(index)
        (x, y, w, h) = boxes[0]
        assert x >= 0 and y >= 0 and x + w <= image.shape[1] and y + h <= image.shape[0] and w * h > 500
