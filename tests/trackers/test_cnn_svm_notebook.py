"""CNN-SVM's notebook, executed as a newcomer would: without weights and data, in a folder of its own."""

import json

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PROBE = """
import json
print(json.dumps({
    "network": net.name, "residual": residual, "support": int(support.sum()),
    "learnt": int((labels != 0).sum()),
    "target": float(values[0]), "background": float(values[labels == -1].max()),
    "auc": accuracy.auc, "mask": float(mask_overlap.mean()), "box": float(box_overlap.mean()),
}))
"""


def test_the_notebook_runs_without_weights_and_shows_what_is_learnt(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks" / "cnn_svm.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "kept without outputs"
    monkeypatch.delenv("MPLBACKEND", raising=False)  # another than the kernel's own would show no pictures
    monkeypatch.setenv("NOTEBOOK_FRAMES", "10")
    folders = ("JTRACK_WEIGHTS", "JTRACK_DATA", "XDG_DATA_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    for name in folders:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    NotebookClient(
        notebook, km=kernel, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # a cell that fails raises
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 7
    said = json.loads(code[-1].outputs[0].text)
    assert said["network"] == "hog"
    assert said["residual"] < 1e-3 and 1 < said["support"] <= said["learnt"]
    assert said["target"] > 0.9 and said["background"] < -0.9, "one plane parts target and background"
    assert said["auc"] > 0.5 and said["mask"] > max(0.7, said["box"])
    assert {path.name for path in tmp_path.iterdir()} == set(folders)
