"""Overlap of regions: against counts by hand, vot-toolkit's own rasteriser, and shapely's areas."""

import warnings

import cv2
import numpy as np
import pytest

from jtrack.benchmark import metrics
from jtrack.benchmark.overlap import exact_overlap, pixel_overlap
from jtrack.data.vot_challenge import load_annotation
from jtrack.errors import JtrackError

SIZE = (64, 80)  # height, width: many of the regions below are cut


def boxes(number=400, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(-20, 70, (number, 2)), rng.uniform(0, 40, (number, 2))], axis=1)


def rotated(number=400, seed=1):
    """Rotated rectangles, as VOT annotates."""
    corner, size = np.split(boxes(number, seed), 2, axis=1)
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, number)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return (turn[:, None] @ (unit * size[:, None])[..., None])[..., 0] + corner[:, None] + size[:, None] / 2


def stars(number=400, seed=2, points=7):
    """Polygons that are seldom convex."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, (number, points)), axis=1)
    radius = rng.uniform(3, 30, (number, points))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return rng.uniform(-10, 70, (number, 1, 2)) + points


KINDS = {
    "boxes": boxes(),
    "boxes on halves": np.round(boxes(seed=5) * 2) / 2,
    "rotated": rotated(),
    "whole corners": np.round(rotated(seed=6)),
    "stars": stars(),
    "whole stars": np.round(stars(seed=7, points=10)),
}


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_pixels_are_those_of_the_vot_toolkit(first, second):
    """The toolkit's rasteriser on the same regions: equal to the last bit."""
    raster = pytest.importorskip("vot.region.raster", exc_type=Exception)
    shapes = pytest.importorskip("vot.region.shapes", exc_type=Exception)

    def regions(values):
        return [shapes.Rectangle(*row) if row.ndim == 1 else shapes.Polygon(row.tolist()) for row in values]

    pair = KINDS[first], KINDS[second]
    expected = [
        raster.calculate_overlap(a, b, (SIZE[1], SIZE[0]))
        for a, b in zip(regions(pair[0]), regions(pair[1]), strict=True)
    ]
    assert np.count_nonzero(expected) > 30
    np.testing.assert_array_equal(pixel_overlap(*pair, SIZE), expected)


@pytest.mark.parametrize("name", ["vot2015_bag", "vot2015_ball1"])
def test_pixels_of_real_annotations(data_folder, name):
    """VOT2015's polygons against the boxes about them, cut at the image, as the toolkit counts them."""
    raster = pytest.importorskip("vot.region.raster", exc_type=Exception)
    shapes = pytest.importorskip("vot.region.shapes", exc_type=Exception)
    folder = data_folder / "vot" / "vot2015" / name
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    truth = load_annotation(folder)
    height, width = cv2.imread(str(next(folder.glob("*.jpg")))).shape[:2]
    pairs = zip(truth.polygons, truth.boxes, strict=True)
    expected = [
        raster.calculate_overlap(shapes.Polygon(corners.tolist()), shapes.Rectangle(*box), (width, height))
        for corners, box in pairs
    ]
    assert 0.2 < min(expected) < 1
    np.testing.assert_array_equal(pixel_overlap(truth.polygons, truth.boxes, (height, width)), expected)


def test_pixels_by_hand():
    """A box of 4 x 4 pixels and the polygon of its corners, which draws its outline too: 5 x 5."""
    box, square = np.array([[2.0, 2, 4, 4]]), np.array([[[2.0, 2], [6, 2], [6, 6], [2, 6]]])
    assert pixel_overlap(box, square, (20, 20)) == 16 / 25
    assert pixel_overlap(box, [[3.0, 2, 4, 4]], (20, 20)) == 12 / 20
    # 20 by 20 image: of columns 18.. only 18 and 19 are seen.
    assert pixel_overlap([[18.0, 0, 4, 4]], [[19.0, 0, 4, 4]], (20, 20)) == 4 / 8
    assert pixel_overlap([[18.0, 0, 4, 4]], [[19.0, 0, 4, 4]]) == 12 / 20
    # A triangle: rows of 1, 2, 3, 4 pixels, its slanted edge included.
    triangle = np.array([[[0.0, 0], [3, 3], [0, 3]]])
    assert pixel_overlap(triangle, [[0.0, 0, 4, 4]], (20, 20)) == 10 / 16


def test_pixels_that_the_toolkit_does_not_count():
    """Named quirks: regions one pixel wide together are the same, and what shows one pixel is apart."""
    assert pixel_overlap([[3.0, 2, 1, 4]], [[3.0, 9, 1, 4]], (20, 20)) == 1
    assert pixel_overlap([[19.0, 2, 9, 4]], [[19.0, 2, 9, 4]], (20, 20)) == 0
    assert pixel_overlap([[3.0, 3, 0, 0]], [[2.0, 2, 5, 5]], (20, 20)) == 0


@pytest.mark.parametrize("first", ["boxes", "rotated", "stars"])
@pytest.mark.parametrize("second", ["boxes", "rotated", "stars"])
def test_areas_are_those_of_shapely(first, second):
    shapely = pytest.importorskip("shapely")

    def regions(values):
        rectangles = values.ndim == 2
        return [
            shapely.box(row[0], row[1], row[0] + row[2], row[1] + row[3])
            if rectangles
            else shapely.Polygon(row)
            for row in values
        ]

    pairs = list(zip(regions(KINDS[first]), regions(KINDS[second]), strict=True))
    expected = [
        a.intersection(b).area / a.union(b).area if a.is_valid and b.is_valid else -1 for a, b in pairs
    ]
    simple = np.array(expected) >= 0
    assert simple.sum() > 300
    ours = exact_overlap(KINDS[first], KINDS[second])
    np.testing.assert_allclose(ours[simple], np.array(expected)[simple], atol=1e-12)


def test_areas_of_boxes_and_of_convex_polygons():
    """Boxes against their closed form, rotated rectangles against OpenCV (in single precision)."""
    first, second = boxes(seed=3), boxes(seed=4)
    np.testing.assert_allclose(exact_overlap(first, second), metrics.overlap(first, second), atol=1e-12)

    first, second = rotated(100), rotated(100, seed=8)
    expected = []
    for a, b in zip(first.astype(np.float32), second.astype(np.float32), strict=True):
        common = cv2.intersectConvexConvex(a, b)[0]
        expected.append(common / (cv2.contourArea(a) + cv2.contourArea(b) - common))
    np.testing.assert_allclose(exact_overlap(first, second), expected, atol=1e-3)


def test_areas_by_hand():
    """An L against the square that fills it; the same polygon in either direction; a sliver beside it."""
    ell = np.array([[[0.0, 0], [4, 0], [4, 2], [2, 2], [2, 4], [0, 4]]])
    assert exact_overlap(ell, [[2.0, 2, 2, 2]]) == 0
    assert exact_overlap(ell, [[0.0, 0, 4, 4]]) == pytest.approx(12 / 16)
    assert exact_overlap(ell, ell[:, ::-1]) == pytest.approx(1)
    assert exact_overlap(ell, ell + 1e-9) == pytest.approx(1)
    assert exact_overlap([[0.0, 0, 0, 0]], [[0.0, 0, 0, 0]]) == 0


@pytest.mark.parametrize("function", [pixel_overlap, exact_overlap])
def test_what_is_not_finite_has_no_overlap(function):
    first = np.array([[1.0, 1, 5, 5], [np.nan] * 4, [1, 1, np.inf, 5]])
    np.testing.assert_array_equal(function(first, np.tile([1.0, 1, 5, 5], (3, 1))), [1, np.nan, np.nan])


def test_many_frames_are_drawn_in_parts():
    """Twice the rows that are drawn at once give the same as one frame at a time."""
    first = np.tile(rotated(40) * 30, (10, 1, 1))
    second = np.tile(rotated(40, seed=9) * 30, (10, 1, 1))
    whole = pixel_overlap(first, second)
    np.testing.assert_array_equal(whole[:40], whole[-40:])
    single = [pixel_overlap(a[None], b[None])[0] for a, b in zip(first[:40], second[:40], strict=True)]
    np.testing.assert_array_equal(whole[:40], single)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones((3, 4)), np.ones((4, 4)), "3 regions for 4 annotations"),
        (np.ones((3, 5)), np.ones((3, 4)), r"shape \[3, 5\]"),
        (np.ones((3, 2, 2)), np.ones((3, 4)), r"shape \[3, 2, 2\]"),
        ([[0, 0, 5, 1e9]], [[0, 0, 5, 5]], "give the size of the image"),
    ],
)
def test_wrong_regions(first, second, message):
    with pytest.raises(JtrackError, match=message):
        pixel_overlap(first, second)


def test_regions_beyond_single_precision_are_drawn_where_the_image_is():
    far = np.array([[1e100, 0, 5, 5], [0, 0, 1e100, 1e100], [-1e100, 0, 5, 5], [1e39, 1e39, 1, 1]])
    truth = np.tile([0.0, 0, 10, 10], (4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(pixel_overlap(far, truth, (20, 20)), [0, 0.25, 0, 0])
        with pytest.raises(JtrackError, match="give the size of the image, or correct the boxes"):
            pixel_overlap(far, truth)
