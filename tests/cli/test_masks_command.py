"""`jtrack masks` as a user runs it."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("PIL.Image")


@pytest.fixture
def folders(tmp_path):
    """Two frames: a mask that is the true one, and one of which half is."""
    for name, shift in (("found", 10), ("truth", 0)):
        (tmp_path / name).mkdir()
        for frame in (1, 2):
            mask = np.zeros((40, 60), np.uint8)
            left = 10 + shift * (frame - 1)
            mask[10:30, left : left + 20] = 255
            cv2.imwrite(str(tmp_path / name / f"{frame:06d}.png"), mask)
    return tmp_path / "found", tmp_path / "truth"


def test_masks_and_boxes_side_by_side(jtrack, folders, tmp_path):
    said = jtrack("masks", *folders, "--json", tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["frames"] == 2
    # Overlaps 1 and a third: above 20 and 7 of 21 thresholds.
    expected = {"mean_iou": pytest.approx(2 / 3), "auc": pytest.approx(27 / 42), "success50": 0.5}
    assert content["masks"] == content["boxes"] == expected
    rows = [line.split() for line in said.stdout.splitlines() if line.strip().startswith(("masks", "boxes"))]
    assert [row[1:] for row in rows] == [["0.667", "0.643", "0.500"]] * 2


def test_masks_that_do_not_belong_together_are_refused(jtrack, folders, tmp_path):
    (folders[0] / "000002.png").unlink()
    said = jtrack("masks", *folders, "--json", tmp_path / "out.json", code=2)
    assert "none is called 000002" in said.stderr
    assert not (tmp_path / "out.json").exists()
