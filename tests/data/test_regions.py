"""VOT's regions: boxes, polygons, masks and codes."""

import numpy as np
import pytest

from jtrack.data.regions import read_regions
from jtrack.errors import JtrackError


def read(tmp_path, text):
    (tmp_path / "groundtruth.txt").write_text(text)
    return read_regions(tmp_path / "groundtruth.txt")


def encode(mask, x, y):
    """A window's runs, by walking over its pixels one by one."""
    runs, value = [0], 0
    for pixel in mask.reshape(-1):
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    height, width = mask.shape
    return "m" + ",".join(map(str, [x, y, width, height, *runs]))


def test_boxes_are_kept_to_the_bit(tmp_path):
    found = read(tmp_path, "0.1,0.2,0.3,0.7\n")
    assert found.boxes.tolist() == [[0.1, 0.2, 0.3, 0.7]]  # 0.1 + 0.3 - 0.1 is not 0.3
    assert not found.polygonal
    np.testing.assert_allclose(found.polygons, [[[0.1, 0.2], [0.4, 0.2], [0.4, 0.9], [0.1, 0.9]]])


def test_boxes_and_polygons_in_one_file(tmp_path):
    found = read(tmp_path, "1,2,3,4\n5,0,10,5,5,10,0,5\n")
    assert found.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 10, 10]]
    assert found.polygonal


def test_frames_without_a_region_are_nan(tmp_path):
    found = read(tmp_path, "0\n5,0,10,5,5,10,0,5\nnan,nan,nan,nan\n2\n")
    assert np.isnan(found.boxes).all(axis=1).tolist() == [True, False, True, True]
    assert np.isnan(found.polygons).all(axis=(1, 2)).tolist() == [True, False, True, True]


@pytest.mark.parametrize("seed", range(8))
def test_masks_have_the_box_of_their_pixels(tmp_path, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((9, 7), int)
    top, left = rng.integers(0, 8), rng.integers(0, 6)
    mask[top : top + rng.integers(1, 5), left : left + rng.integers(1, 7)] = 1
    mask &= rng.random(mask.shape) < 0.7
    mask[top, left] = 1
    rows, columns = np.nonzero(mask)
    found = read(tmp_path, encode(mask, 20, 30) + "\n")
    low, size = (columns.min(), rows.min()), (np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert found.boxes.tolist() == [[20 + low[0], 30 + low[1], *size]]
    assert found.polygonal


def test_a_run_over_several_rows_reaches_both_sides(tmp_path):
    assert read(tmp_path, "m 10, 20, 5, 4, 3, 4, 13\n").boxes.tolist() == [[10, 20, 5, 2]]
    assert np.isnan(read(tmp_path, "m10,20,5,4,20\n1,2,3,4\n").boxes[0]).all()  # an empty mask


def test_a_huge_window_takes_no_memory(tmp_path):
    assert read(tmp_path, "m0,0,65536,2048,65536,1\n").boxes.tolist() == [[0, 1, 1, 1]]


def test_many_corners_and_frames_without_are_refused_before_they_take_memory(tmp_path):
    """Two megabytes that would have become 64 GiB: as many corners for every frame without a region."""
    with pytest.raises(JtrackError, match=r"has 100001 regions of 50000 corners: at most 16777216 corners"):
        read(tmp_path, ",".join(["1"] * 100_000) + "\n" + "0\n" * 100_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m0,0,2,2,-1,3\n", "is not a mask: its runs cover 2 pixels"),
        ("m0,0,2,2,1e99,1e99\n", r"is not a mask: its runs cover 2e\+99 pixels of a window of 2x2"),
        (
            "m1e99,0,2,2,1,1\n",
            r"is not a mask: its window 1e\+99,0,2,2 \(x, y, w, h\) is not within an image",
        ),
        ("m0,0,65536,65536,1,1\n", "is not a mask: its window 0,0,65536,65536 .* is not within an image"),
        ("m0,0,-2,2,1,1\n", "its window 0,0,-2,2 .* is not within an image"),
        ("m0,0,2,2,nan\n", "is not a mask: x, y, w, h and lengths of runs, all whole"),
        ("m0,0,2,2,a\n", "is not a line of numbers"),
        ("1,2,3,4,5,6,7\n", "has 7 numbers: a region has 4"),
        ("1,2,3,4\n1,2,3,4,5,6\n", "line 2 of .* has 3 corners and line 1 has 4"),
    ],
)
def test_refusals(tmp_path, text, message):
    with pytest.raises(JtrackError, match=message):
        read(tmp_path, text)
