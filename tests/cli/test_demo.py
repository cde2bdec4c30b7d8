"""`jtrack demo` with a tracker that is asked for."""

import dataclasses
import itertools
import re

import cv2
import numpy as np
import pytest

from jtrack.data import from_arrays, synthetic


@pytest.mark.slow
def test_a_tracker_without_response_maps(jtrack, tmp_path, monkeypatch):
    whole = synthetic.clip(size=(120, 160))
    frames = from_arrays(list(itertools.islice(whole.frames, 6)), fps=30.0)
    brief = dataclasses.replace(whole, boxes=whole.boxes[:6], frames=frames)
    monkeypatch.setattr(synthetic, "clip", lambda: brief)
    out = tmp_path / "demo"
    said = jtrack("demo", "--out", out, "--tracker", "deeptrack").stdout
    assert sorted(path.name for path in out.iterdir()) == ["boxes.csv", "tracked.mp4"]
    assert "deeptrack default on none" in said
    assert float(re.search(r"mean overlap ([\d.]+)", said)[1]) > 0.5
    assert "weights fetch" not in said
    assert len(np.loadtxt(out / "boxes.csv", delimiter=",", skiprows=1)) == 6
    assert cv2.VideoCapture(str(out / "tracked.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 6


def test_a_tracker_that_is_not_there_is_one_sentence(jtrack, tmp_path):
    said = jtrack("demo", "--out", tmp_path / "demo", "--tracker", "deeptrak", code=2).stderr
    assert "unknown tracker 'deeptrak': did you mean 'deeptrack'?" in said and said.count("\n") == 1
