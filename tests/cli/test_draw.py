"""Pictures: boxes where they belong, heat maps aligned with what they look at."""

import numpy as np
import pytest

from jtrack import draw

GREY = np.full((240, 320, 3), 128, np.uint8)


def test_box_is_drawn_on_its_edges():
    zoom = 2
    picture = draw.annotate(GREY, np.array([[100.0, 80, 60, 40]]))
    assert picture.shape == (240 * zoom, 320 * zoom, 3) and (GREY == 128).all()
    rows, columns = np.nonzero((picture == draw.COLOURS[0]).all(axis=2))
    # Lines two pixels wide, centred on the edges.
    assert abs((columns.min() + columns.max() + 1) / 2 - (100 + 30) * zoom) <= 0.5
    assert abs((rows.min() + rows.max() + 1) / 2 - (80 + 20) * zoom) <= 0.5
    assert abs(columns.max() - columns.min() - 60 * zoom) <= 2 and abs(np.ptp(rows) - 40 * zoom) <= 2


def coloured(picture, colour):
    return int((np.abs(picture.astype(int) - colour).max(axis=2) < 8).sum())


def test_lost_is_dashed_and_said():
    box = np.array([[100.0, 80, 60, 40]])
    kept, lost = (draw.annotate(GREY, box, scores=[0.5], lost=[flag]) for flag in (False, True))
    assert 0 < coloured(lost, draw.COLOURS[0]) < 0.8 * coloured(kept, draw.COLOURS[0])
    assert coloured(lost, draw.RED) > 0 and not coloured(kept, draw.RED)


def test_every_target_has_its_colour_and_truth_is_white():
    boxes = np.array([[20.0 + 70 * n, 80, 40, 40] for n in range(4)])
    picture = draw.annotate(GREY, boxes, truth=np.add(boxes[:1], [0, 60, 0, 0]))
    assert all(coloured(picture, colour) > 50 for colour in (*draw.COLOURS[:4], draw.WHITE))
    assert not coloured(picture, draw.COLOURS[4])


@pytest.mark.parametrize(
    "box", [[-500, -500, 10, 10], [310, 230, 100, 100], [np.nan] * 4, [1e30, 0, 1e30, 5], [5, 5, 0, 0]]
)
def test_hopeless_boxes_do_no_harm(box):
    draw.annotate(GREY, np.array([box]), scores=[np.nan], lost=[True], caption="x" * 300)
    window, response = np.array([-50.0, -50, 80, 80]), np.zeros((9, 8))
    draw.response_maps(
        GREY, np.array(box), {"window": window, "response": response, "responses": response[None]}, ["a" * 90]
    )


@pytest.mark.parametrize("grid", [(56, 56), (57, 41)])
@pytest.mark.parametrize("cell", [(0, 0), (11, -7)])
def test_heat_map_lies_over_what_it_looks_at(grid, cell):
    """A bright dot in the frame, and a response with its peak at the dot's displacement."""
    window = np.array([60.0, 40, 164, 164 * grid[0] / grid[1]])
    step = window[[3, 2]] / grid  # pixels a cell: rows, columns
    response = np.zeros(grid)
    response[grid[0] // 2 + cell[0], grid[1] // 2 + cell[1]] = 1
    dot = window[:2] + window[2:] / 2 + step[::-1] * cell[::-1]
    rows, columns = np.mgrid[:240, :320] + 0.5
    glow = np.exp(-((columns - dot[0]) ** 2 + (rows - dot[1]) ** 2) / (2 * 3**2))
    image = np.repeat(np.rint(255 * glow).astype(np.uint8)[..., None], 3, axis=2)
    info = {"window": window, "response": response, "responses": response[None]}
    picture = draw.response_maps(image, np.array([0.0, 0, 2, 2]), info, ["layer"])[draw.BAR :].astype(float)
    width = round(draw.PANEL * grid[1] / grid[0])
    frame, layer, combined = (picture[:, n * (width + 6) :][:, :width].sum(axis=2) for n in range(3))
    np.testing.assert_array_equal(layer, combined)

    def middle(panel):
        panel = np.maximum(panel - 0.3 * panel.max(), 0)
        rows, columns = np.indices(panel.shape)
        return np.array([(rows * panel).sum(), (columns * panel).sum()]) / panel.sum()

    np.testing.assert_allclose(middle(frame), middle(layer), rtol=0, atol=1.5)


def test_stack_keeps_every_picture():
    small, large = np.full((10, 20, 3), 50, np.uint8), np.full((15, 40, 3), 99, np.uint8)
    picture = draw.stack([small, large])
    assert picture.shape == (10 + 6 + 15, 40, 3)
    assert (picture[:10, :20] == 50).all() and (picture[16:] == 99).all()


def test_a_key_is_written_in_its_colours_in_the_bottom_left_corner():
    picture = draw.annotate(GREY, np.empty((0, 4)), key={"tracked": draw.COLOURS[0], "truth": draw.WHITE})
    changed = np.argwhere((picture != draw.annotate(GREY, np.empty((0, 4)))).any(-1))
    assert changed[:, 0].min() > 0.9 * picture.shape[0] and changed[:, 1].max() < 0.7 * picture.shape[1]
    for colour in (draw.COLOURS[0], draw.WHITE):
        assert (np.abs(picture.astype(int) - colour).sum(-1) < 30).any()


def test_a_sheet_has_its_rows_between_title_and_colour_bar():
    rows = [np.full((40, 900, 3), value, np.uint8) for value in (90, 160)]
    sheet = draw.sheet(rows, "a title that is much longer than the picture is wide " * 5)
    assert sheet.shape[1] == 900
    body = draw.stack(rows)
    top = next(y for y in range(len(sheet)) if (sheet[y] == 90).all())
    np.testing.assert_array_equal(sheet[top : top + len(body)], body)
    foot = sheet[top + len(body) :].astype(int).sum(-1)
    ramp = [row for row in foot if np.count_nonzero(np.diff(row[300:700]) > 0) > 60]
    assert len(ramp) > 10  # brighter and brighter
    assert draw.sheet([np.zeros((10, 60, 3), np.uint8)], "narrow").shape[1] == 60


def test_a_target_has_its_colour_in_its_row_and_in_the_key():
    info = {"window": np.array([60.0, 40, 160, 160]), "response": np.eye(8), "responses": np.eye(8)[None]}
    box = np.array([100.0, 80, 60, 40])
    rows = [draw.response_maps(GREY, box, info, ["layer"], target=target) for target in (0, 1)]
    for target, row in enumerate(rows):
        assert coloured(row, draw.COLOURS[target]) > 100 and not coloured(row, draw.COLOURS[1 - target])
    sheet = draw.sheet(rows, "two", targets=2)
    foot = sheet[sheet.shape[0] - draw.BAR - 8 :, :300]
    assert all(coloured(foot, draw.COLOURS[target]) > 5 for target in (0, 1))
    assert not coloured(draw.sheet(rows, "one")[-draw.BAR - 8 :, :80], draw.COLOURS[1])
