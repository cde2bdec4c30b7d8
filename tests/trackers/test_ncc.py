"""Another tracker than the package's: one file, one row, and everything works with it."""

from pathlib import Path

import numpy as np

import jtrack
from jtrack import trackers
from jtrack.benchmark import adapters, metrics
from jtrack.data import synthetic
from tests.trackers import ncc


def test_it_takes_few_lines():
    assert len(Path(ncc.__file__).read_text("utf-8").splitlines()) <= 120


def test_it_follows_a_target_that_grows():
    clip = synthetic.clip(size=(180, 240))
    done = jtrack.track(clip, clip.boxes[0], tracker=trackers.create(ncc.ROW), end=40)
    overlap = metrics.overlap(done.boxes, clip.boxes[:40])
    assert overlap.mean() > 0.7 and done.label["tracker"] == "ncc"
    assert np.std(done.boxes[:, 2]) > 0


def test_its_file_is_part_of_what_identifies_a_run(tmp_path, monkeypatch):
    bound = trackers.create(ncc.ROW)
    label = adapters.ours(bound).label
    assert label["tracker"] == "ncc"
    copy = tmp_path / "ncc.py"
    copy.write_text(Path(ncc.__file__).read_text("utf-8").replace("padding=3.0", "padding=2.5"))
    monkeypatch.setattr(adapters, "_file_of", lambda row: copy)
    assert adapters.ours(bound).label["code"] != label["code"]


def test_it_is_described():
    assert trackers.describe(ncc.ROW).startswith("Normalised cross-correlation")
    assert trackers.describe_profiles(ncc.ROW) == {"default": "Recommended."}
    assert trackers.networks(ncc.ROW) == ["none"]
