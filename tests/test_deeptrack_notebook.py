"""The notebook on DeepTrack, executed on a short clip and without real sequences."""

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
    "losses": [float(losses[0]), float(losses[-10:].mean())],
    "maps": [float(before.max()), float(after.max()), int(after.argmax())],
    "auc": accuracy.auc, "frames": len(images), "added": int(state.positives.added),
}))
"""


def test_the_notebook_runs_and_shows_what_is_learnt(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks" / "deeptrack.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "kept without outputs"

    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("NOTEBOOK_FRAMES", "12")
    for name in ("JTRACK_DATA", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    NotebookClient(
        notebook, km=kernel, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pictures = sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert pictures == 9
    said = json.loads(code[-1].outputs[0].text)
    assert said["losses"][1] < 0.2 * said["losses"][0]
    untrained, trained, place = said["maps"]
    assert trained > untrained + 1
    assert abs(place // 25 - 12) <= 3 and abs(place % 25 - 12) <= 3, "the target is in the middle of the map"
    assert said["auc"] > 0.4
    assert said["added"] == 201 + 4 * (said["frames"] - 1)
