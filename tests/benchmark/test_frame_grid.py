"""Chosen frames with boxes as a figure: what stands in its pixels, against what was given."""

import re
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from jtrack.benchmark.report.looks import look
from jtrack.benchmark.results import FAILED, INITIALISED, TRACKED, Results, Trajectory
from jtrack.benchmark.view import frame_grid
from jtrack.benchmark.view.frame_grid import DPI, GAP, MARGIN, WIDTH, Called
from jtrack.data import Sequence, from_arrays, open_dataset
from jtrack.errors import JtrackError
from tests.data import otb_tree

SIZES = {"Deer": (96, 128), "Fish": (120, 90)}  # (height, width)
FRAMES = 12


def grey(frame):
    return 40 + 10 * frame


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two sequences of flat grey frames, each its own, in OTB's layout."""
    root = tmp_path_factory.mktemp("otb")
    for name, size in SIZES.items():
        boxes = np.array([[20.0 + n, 30, 40, 30] for n in range(FRAMES)])
        images = [np.full((*size, 3), grey(n), np.uint8) for n in range(FRAMES)]
        otb_tree.write(root, name, Sequence(name, boxes, frames=from_arrays(images)))
    return open_dataset("otb", root)


def results(tracker, dataset, shift, names=tuple(SIZES)):
    status = np.array([INITIALISED, *[TRACKED] * (FRAMES - 1)], np.uint8)
    trials = {n: [Trajectory(np.add(dataset.annotation(n).boxes, [*shift, 0, 0]), status)] for n in names}
    return Results(tracker, "ope", trials)


def called(*found):
    return [Called(each.tracker, look(number), each) for number, each in enumerate(found)]


def made(drawn, folder):
    """The figure's PNG [H, W, 3] RGB."""
    frame_grid.save(drawn.figure, folder, "figure")
    return cv2.imread(str(folder / "figure.png"))[:, :, ::-1].astype(int)


def rgb(colour):
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def panel(picture, row, column, widths, heights):
    """A panel of the figure by hand: as wide in every row, below each other with gaps."""
    top = sum(heights[:row]) + row * GAP
    left = MARGIN + column * (widths + GAP)
    return picture[top : top + heights[row], left : left + widths]


def test_frames_and_boxes_stand_where_they_belong(dataset, tmp_path):
    near, far = results("near", dataset, (4, 3)), results("far", dataset, (25, 40))
    frames = {"Deer": [11, 0, 5], "Fish": [3]}
    drawn = frame_grid.draw(dataset, called(near, far), frames)
    picture = made(drawn, tmp_path)
    width = (WIDTH - MARGIN - 2 * GAP) // 3
    heights = [round(width * high / wide) for high, wide in SIZES.values()]
    assert picture.shape[1] == 7 * DPI and drawn.notes == []
    for row, (name, numbers) in enumerate(frames.items()):
        for column, number in enumerate(numbers):
            image = panel(picture, row, column, width, heights)
            # The frame, to its last pixel: a JPEG of one grey has that grey.
            assert image[-1, -1].tolist() == image[-1, 0].tolist() == [grey(number)] * 3
            scale = width / SIZES[name][1]
            # Of near's solid box the middle of each side; of far's first dash the beginning of its top.
            x, y, w, h = near.trajectories[name][0].boxes[number] * scale
            for at in ((x + w / 2, y), (x + w / 2, y + h), (x, y + h / 2), (x + w, y + h / 2)):
                assert image[int(at[1]), int(at[0])].tolist() == rgb(look(0).colour), (name, number, at)
            assert image[int(y - 6), int(x + w / 2)].tolist() != rgb(look(0).colour)
            x, y, w, h = far.trajectories[name][0].boxes[number] * scale
            assert image[int(y), int(x + 3)].tolist() == rgb(look(1).colour)
            # The annotation is white, where the others are not: its top-left corner.
            x, y, w, h = dataset.annotation(name).boxes[number] * scale
            assert image[int(y), int(x + w / 2)].tolist() == [255] * 3
    # The second row has one frame: beside it the page is white.
    assert (panel(picture, 1, 1, width, heights) == 255).all()
    # Below the rows the legend has every colour.
    legend = picture[sum(heights) + GAP :].reshape(-1, 3)
    assert all((legend == rgb(look(number).colour)).all(axis=1).any() for number in (0, 1))


def objects(pdf):
    """The dictionaries and unpacked streams of a PDF's objects."""
    for match in re.finditer(rb"\d+ 0 obj\n(.*?)\nendobj", pdf, re.S):
        head, _, stream = match[1].partition(b"\nstream\n")
        body = stream.rpartition(b"\nendstream")[0]
        yield head, zlib.decompress(body) if b"FlateDecode" in head else body


def test_the_pdf_holds_frames_as_pictures_and_boxes_as_lines(dataset, tmp_path):
    frames = {"Deer": [1, 2, 3], "Fish": [4, 5]}
    drawn = frame_grid.draw(dataset, called(results("near", dataset, (4, 3))), frames)
    height = made(drawn, tmp_path).shape[0]
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    page = [float(n) for n in re.search(rb"/MediaBox \[ ?([\d. ]+)\]", pdf)[1].split()]
    assert page == pytest.approx([0, 0, 7 * 72, height / DPI * 72], abs=0.01)
    found = list(objects(pdf))
    assert sum(b"/Subtype /Image" in head for head, _ in found) == 5
    content = max((body for _, body in found if b" RG" in body), key=len).decode("latin-1")
    strokes = " ".join(f"{value / 255:.4f}"[:5] for value in rgb(look(0).colour))
    colours = {" ".join(n[:5] for n in m.split()) for m in re.findall(r"([\d.]+ [\d.]+ [\d.]+) RG", content)}
    assert any(
        np.allclose([*map(float, c.split())], [*map(float, strokes.split())], atol=2e-3) for c in colours
    )
    before = (tmp_path / "figure.png").read_bytes(), pdf
    made(drawn, tmp_path)
    assert before == ((tmp_path / "figure.png").read_bytes(), (tmp_path / "figure.pdf").read_bytes())


def test_frames_that_are_not_named_are_spread_evenly(dataset, tmp_path):
    assert frame_grid.evenly_spread(101) == [20, 40, 60, 80, 100]
    assert frame_grid.evenly_spread(3) == [0, 1, 2]
    assert frame_grid.evenly_spread(1) == [0]
    drawn = frame_grid.draw(dataset, called(results("near", dataset, (4, 3))), {"Deer": []})
    picture = made(drawn, tmp_path)
    width = (WIDTH - MARGIN - 4 * GAP) // 5
    height = round(width * 96 / 128)
    greys = [panel(picture, 0, column, width, [height])[-1, -1, 0] for column in range(5)]
    assert greys == [grey(number) for number in (2, 4, 7, 9, 11)]


def test_a_run_without_a_box_is_left_out_and_named(dataset, tmp_path):
    near, far = results("near", dataset, (4, 3)), results("far", dataset, (25, 40), ["Deer"])
    (trial,) = far.trajectories["Deer"]
    boxes = np.where((np.arange(FRAMES) >= 6)[:, None], np.nan, trial.boxes)
    status = np.where(np.arange(FRAMES) >= 6, FAILED, trial.status).astype(np.uint8)
    far = replace(far, trajectories={"Deer": [replace(trial, boxes=boxes, status=status)]})
    drawn = frame_grid.draw(dataset, called(near, far), {"Deer": [2, 7, 9], "Fish": [1]})
    assert drawn.notes == ["far has no box in Deer (8, 10), Fish (all frames)"]
    picture = made(drawn, tmp_path)
    width = (WIDTH - MARGIN - 2 * GAP) // 3
    heights = [round(width * high / wide) for high, wide in SIZES.values()]
    there = [
        (panel(picture, 0, column, width, heights) == rgb(look(1).colour)).all(axis=2).any()
        for column in range(3)
    ]
    assert there == [True, False, False]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"Dear": [1]}, "did you mean 'Deer'"),
        ({"Deer": [1, 12]}, "Deer has no frame 13: its frames are 1 to 12"),
        ({"Deer": [-1]}, "Deer has no frame 0"),
        ({"Deer": [1] * 13}, "13 frames of Deer are too many for a row: name at most 12"),
        ({}, "1 to 40 sequences, not 0"),
        ({"Fish": [1]}, "no run has a box in these frames of Fish"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(dataset, frames, message):
    with pytest.raises(JtrackError, match=re.escape(message)):
        frame_grid.draw(dataset, called(results("near", dataset, (4, 3), ["Deer"])), frames)


def test_an_image_that_cannot_be_read_is_named(dataset, tmp_path):
    otb_tree.write(tmp_path, "Deer", dataset.sequence("Deer"))
    (tmp_path / "Deer" / "img" / "0003.jpg").write_bytes(b"")
    broken = open_dataset("otb", tmp_path)
    near = called(results("near", dataset, (4, 3)))
    with pytest.raises(JtrackError, match="cannot read frame 3 of Deer"):
        frame_grid.draw(broken, near, {"Deer": [1, 2]})


def test_long_names_make_more_lines_of_a_legend(dataset):
    found = [results(f"tracker {number} of a long name indeed", dataset, (4, 3)) for number in range(6)]
    few = frame_grid.draw(dataset, called(*found[:2]), {"Deer": [1]}).figure
    many = frame_grid.draw(dataset, called(*found), {"Deer": [1]}).figure
    assert many.bbox.height > few.bbox.height and many.bbox.width == few.bbox.width
    assert many.legends[0].get_window_extent().width <= WIDTH
    # What is below the panel holds the legend.
    bottom = many.axes[0].get_window_extent().y0
    assert many.legends[0].get_window_extent().y1 < bottom
