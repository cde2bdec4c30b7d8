"""The notebooks that differentiate through trackers, executed without weights and real sequences."""

import json

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Executes a notebook, its constants changed; gives the number of its pictures and what a probe says."""
    monkeypatch.delenv("MPLBACKEND", raising=False)  # another than the kernel's own would show no pictures
    folders = ("JTRACK_DATA", "JTRACK_WEIGHTS", "XDG_DATA_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    for name in folders:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))

    def execute(name, probe, changes=()):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in code), "kept without outputs"
        for old, new in changes:
            assert old in code[0].source
            code[0].source = code[0].source.replace(old, new)
        notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({probe}))"))
        kernels = KernelSpecManager(kernel_dirs=[])
        kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels)
        NotebookClient(
            notebook, km=kernel, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()  # a cell that fails raises
        assert {path.name for path in tmp_path.iterdir()} == set(folders), "nothing is left behind"
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        return pictures, json.loads(notebook.cells[-1].outputs[0].text)

    return execute


def test_features_are_learnt_that_follow_another_clip(executed):
    probe = """{"losses": losses, "held_out": [value for _, value in validations],
    "overlap": [float(overlaps[which].mean()) for which in ("before", "after")]}"""
    pictures, said = executed("learn_features", probe)
    assert pictures == 4
    assert said["losses"][-1] < 0.6 * said["losses"][0]
    assert said["held_out"][-1] < 0.9 * said["held_out"][0]
    before, after = said["overlap"]
    assert after > before + 0.03


def test_hyper_parameters_are_learnt_and_judged_on_other_clips(executed):
    probe = """{"losses": losses, "aucs": aucs.tolist(), "others": list(other.names),
    "of": list(learnt_from.names),
    "judged": {name: each.scored.measures["auc"] for name, each in judged["differentiable"].items()}}"""
    pictures, said = executed("learn_hyperparameters", probe, [("DRAWS = 24", "DRAWS = 8"), ("17)", "8)")])
    assert pictures == 2
    assert min(said["losses"]) < 0.85 * said["losses"][0]
    assert len(said["aucs"]) == 9
    assert not set(said["others"]) & set(said["of"])
    assert set(said["judged"]) == {"own numbers", "by sweep", "by gradient"}


def test_four_grey_levels_in_one_frame_move_hcft(executed):
    """HCFT alone: the other trackers take minutes to compile."""
    probe = """{"levels": float(np.abs(changed["hcft"] - image).max()),
    "moved": float(metrics.centre_error(found["hcft", "differentiable", "attacked"],
                                        found["hcft", "differentiable", "as it was"])[0]),
    "by_noise": float(metrics.centre_error(found["hcft", "differentiable", "noise"],
                                           found["hcft", "differentiable", "as it was"])[0])}"""
    pictures, said = executed("gradient_attack", probe, [("NAMES = list(SMALL)", 'NAMES = ["hcft"]')])
    assert pictures == 1
    assert said["levels"] <= 4
    assert said["moved"] > 5, "pixels, of a target of 30"
    assert said["moved"] > 2 * said["by_noise"]


def test_the_jacobian_says_where_tracks_from_shifted_boxes_go(executed):
    probe = """{"errors": list(ERRORS), "apart": np.median(apart, axis=1).tolist(),
    "singular": singular[0].tolist()}"""
    pictures, said = executed("first_box", probe)
    assert pictures == 2
    for error, apart in zip(said["errors"], said["apart"], strict=True):
        if error >= 0.5:  # pixels: below, HOG's bins make the track rough
            assert apart[0] < 0.2, error
            assert apart[4] < 0.35, error
    assert min(said["singular"]) > 0.5 and max(said["singular"]) < 2


def test_a_module_learns_from_boxes(executed):
    probe = """{"losses": losses, "mix": model.adaptor.mix[...].tolist(),
    "count": sum(leaf.size for leaf in learnt),
    "overlap": [float(overlaps[which].mean()) for which in ("before", "after")]}"""
    pictures, said = executed("tracker_layer", probe)
    assert pictures == 1
    assert said["losses"][-1] < 0.85 * said["losses"][0]
    assert said["count"] == 15
    moved = [abs(said["mix"][i][j] - (i == j)) for i in range(3) for j in range(3)]
    assert max(moved) > 0.02
    before, after = said["overlap"]
    assert after > before
