"""The toolkit's stored curves, against files that the test writes, and what the benchmark's paper prints."""

import json

import numpy as np
import pytest
import scipy.io

from jtrack.benchmark import stored_curves
from jtrack.data import otb
from jtrack.errors import JtrackError

NAMES = ["Deer", "Coke", "Fish"]


def write(folder, *, success=None, precision=None, trackers=("Near", "Far"), protocol="OPE", names=NAMES):
    """A folder of curves: of each tracker and sequence a constant, unless given."""
    folder.mkdir(exist_ok=True)
    shape = len(trackers), len(names)
    level = (np.arange(np.prod(shape)).reshape(*shape, 1) + 1) / 10
    cells = np.array([[name] for name in trackers], object)
    for kind, length, given in (("overlap", 21, success), ("error", 51, precision)):
        rows = np.broadcast_to(level, (*shape, length)) if given is None else given
        file = folder / f"x_aveSuccessRatePlot_{kind}_{protocol}.mat"
        scipy.io.savemat(file, {"aveSuccessRatePlot": rows, "nameTrkAll": cells})
    (folder / "sequence_order.json").write_text(json.dumps(names))
    return folder


def test_curves_become_scores(tmp_path):
    success = np.zeros((1, 3, 21))
    success[0, :, :11] = [[0.9], [0.5], [0.1]]  # above overlaps of 0 to .5
    precision = np.zeros((1, 3, 51))
    precision[0, :, 20:] = [[1.0], [0.5], [0.0]]
    folder = write(tmp_path / "curves", success=success, precision=precision, trackers=("Near",))
    (stored,) = stored_curves.read(folder)
    assert (stored.tracker, stored.protocol) == ("Near", "ope")
    scored = stored_curves.score(stored, ["Deer", "Coke", "Walking"], subset="some")
    assert set(scored.sequences) == {"Deer", "Coke"}
    assert scored.measures["auc"] == pytest.approx(0.7 * 11 / 21)
    assert scored.measures["precision20"] == pytest.approx(0.75)
    assert scored.measures["success50"] == pytest.approx(0.7) and scored.measures["success60"] == 0
    assert "mean_error" not in scored.measures
    np.testing.assert_allclose(scored.curves["precision"], precision[0, :2].mean(axis=0))
    # Coke is occluded, Deer is not.
    assert scored.attributes["OCC"] == ("Coke",)
    assert scored.by_attribute["OCC"]["auc"] == pytest.approx(0.5 * 11 / 21)


def test_sequences_without_curves_have_no_score(tmp_path):
    stored = stored_curves.read(write(tmp_path / "curves"))[0]
    assert stored_curves.score(stored, ["Walking"], subset="all") is None


def test_protocols_are_kept_apart(tmp_path):
    write(tmp_path / "curves")
    found = stored_curves.read(write(tmp_path / "curves", protocol="TRE"))
    assert [(each.tracker, each.protocol) for each in found] == [
        ("Near", "ope"),
        ("Far", "ope"),
        ("Near", "tre"),
        ("Far", "tre"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"success": np.full((2, 3, 21), 1.5)}, "no rates"),
        ({"success": np.full((2, 3, 21), np.nan)}, "no rates"),
        ({"success": np.zeros((2, 2, 21))}, r"the shape \(2, 2, 21\)"),
        ({"precision": np.zeros((2, 3, 21))}, r"the shape \(2, 3, 21\)"),
    ],
)
def test_damaged_curves_are_refused(tmp_path, changes, message):
    with pytest.raises(JtrackError, match=message):
        stored_curves.read(write(tmp_path / "curves", **changes))


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(JtrackError, match=r"no \*sequence_order\.json"):
        stored_curves.read(tmp_path)
    (tmp_path / "sequence_order.json").write_text('["Deer"]')
    with pytest.raises(JtrackError, match="holds no curves"):
        stored_curves.read(tmp_path)
    (tmp_path / "sequence_order.json").write_text('["../Deer"]')
    with pytest.raises(JtrackError, match="Deer"):
        stored_curves.read(tmp_path)


def test_the_benchmark_s_own_curves(data_folder):
    """Wu, Lim and Yang (CVPR 2013), figure 3: SCM .499, Struck .474, TLD .437; precision .649, .656, .608."""
    stored = stored_curves.read(data_folder / "otb_benchmark" / "curves")
    assert len(stored) == 3 * 29
    wanted = {"SCM": (0.499, 0.649), "Struck": (0.474, 0.656), "TLD": (0.437, 0.608)}
    for each in stored:
        if each.protocol == "ope" and each.tracker in wanted:
            measures = stored_curves.score(each, otb.lists()["cvpr13"], subset="cvpr13").measures
            assert (round(measures["auc"], 3), round(measures["precision20"], 3)) == wanted[each.tracker]
