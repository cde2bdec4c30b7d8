"""The notebooks that evaluate trackers, executed without weights and real sequences."""

import pytest

from tests.test_differentiable_notebooks import executed

__all__ = ["executed"]  # a fixture

pytestmark = pytest.mark.slow


def test_trackers_are_evaluated_and_reported(executed):
    probe = """{"auc": {name: each.measures["auc"] for name, each in zip(chosen, scored)},
    "again": [each.made for each in again], "figures": len(list((folder / "report" / "figures").iterdir())),
    "own": [len(each.sequences) for each in own_scored]}"""
    pictures, said = executed(
        "evaluation", probe, [("FRAMES = 40", "FRAMES = 20"), ("CLIPS = 4", "CLIPS = 2")]
    )
    assert pictures == 1
    assert said["auc"]["HCFT on compact"] > 0.5
    assert said["again"] == [0, 0, 0] and said["figures"] > 3
    assert said["own"] == [2, 2, 2]


def test_layers_are_compared_alone_and_together(executed):
    probe = """{"auc": [each.scored.measures["auc"] for each in found.values()], "layers": layers,
    "sharp": sharpness, "swept": len(swept)}"""
    changes = [("FRAMES = 40", "FRAMES = 20"), ("CLIPS = 4", "CLIPS = 2")]
    pictures, said = executed("choosing_layers", probe, changes)
    assert pictures == 2
    assert said["layers"] == ["relu6", "relu4", "relu2"], "of compact, which comes with jtrack"
    assert len(set(said["auc"])) > 3 and said["auc"][0] > 0.5
    assert all(0 < share < 0.2 for shares in said["sharp"].values() for share in shares)
    assert said["swept"] == 5
