"""How near a run stays to published boxes, against hand computations."""

import numpy as np
import pytest

from bench import nearness
from jtrack.benchmark.results import INITIALISED, TRACKED, Results, Trajectory
from jtrack.data import open_dataset, synthetic
from jtrack.errors import JtrackError
from tests.data import otb_tree


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ((10, 10), (4, 4)),  # a window of 28 x 28 on 7 x 7 cells
        ((15, 14), (42 / 10, 39 / 9)),  # 42 x 39.2, on whole pixels
        ((10, 30), (4, 42 / 10)),  # upright: 28 x 42, half the padding in height
        ((80, 70), (4, 4)),  # large in its frame: 160 x 140, twice its sides
    ],
)
def test_a_cell_is_the_window_over_its_grid(target, expected):
    found = nearness.cell(np.array([7.0, 9.0, *target]), (200, 100))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_share_by_hand():
    truth = np.tile([10.0, 20.0, 6.0, 8.0], (40, 1))
    boxes = truth.copy()
    boxes[0] += 100  # the given box does not count
    boxes[1] += [4.2, -4.5, 0, 0]  # a cell in both directions
    boxes[2] += [-4.3, 0, 0, 0]  # more than one in x
    boxes[3] += [0, 4.6, 0, 0]  # in y
    boxes[4] += [3, 0, 4, 0]  # 5 at the centre
    boxes[5] += [3, 0, 2, 0]  # 4 at the centre
    boxes[30] += 50
    boxes[31] += 50  # the 31st after the first does not count
    assert nearness.share(boxes, truth, np.array([4.2, 4.5])) == pytest.approx(26 / 30)
    # A sequence that ends before: of three frames after the first one is near.
    assert nearness.share(boxes[:4], truth[:4], np.array([4.2, 4.5])) == pytest.approx(1 / 3)


def results(tracker, boxes):
    status = np.array([INITIALISED, *[TRACKED] * 5], np.uint8)
    return Results(tracker, "ope", {n: [Trajectory(b, status[: len(b)])] for n, b in boxes.items()})


def test_rows_have_every_sequence_and_the_means_over_those_that_there_are(tmp_path):
    for name in ("Walk", "Run"):
        otb_tree.write(tmp_path, name, synthetic.clip(frames=6, size=(96, 128)))
    dataset = open_dataset("otb", tmp_path)
    boxes = {name: dataset.annotation(name).boxes for name in dataset.names}
    moved = boxes["Walk"].copy()
    moved[2:4, 0] += 9
    run, part = results("own", {**boxes, "Walk": moved}), results("part", {"Run": boxes["Run"]})
    theirs = results("published", boxes)
    head, *rows, mean = nearness.rows({"a": run, "b": part}, theirs, dataset)
    assert head == ["", "cell, px", "a", "b"] and mean == ["**mean**", "", "0.80", "1.00"]
    figures = {row[0]: row[2:] for row in rows}
    assert figures == {"Walk": ["0.60", "–"], "Run": ["1.00", "1.00"]}
    width, height = dataset.annotation("Walk").boxes[0, 2:]
    cells = [np.floor(2.8 * side) / (np.floor(2.8 * side) // 4) for side in (width, height)]
    assert {row[1] for row in rows} == {"{:.2f} x {:.2f}".format(*cells)}
    with pytest.raises(JtrackError, match="Walk: 6 boxes of own, 5 of published"):
        nearness.shares(run, results("published", {"Walk": boxes["Walk"][:5]}), dataset)
