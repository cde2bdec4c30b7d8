"""The notebook on GDT, executed on a short clip, without real sequences or networks."""

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
    "network": bound.backbone.name,
    "losses": [float(losses[0]), float(losses[-10:].mean())],
    "maps": {name: [float(scores.max()), int(scores.argmax())] for name, scores in maps.items()},
    "auc": accuracy.auc, "learnt": float(learnt.mean()), "moved": float(np.abs(means[-1] - means[0]).max()),
}))
"""


def test_the_notebook_runs_and_shows_what_is_learnt(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks" / "gdt.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "kept without outputs"

    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("NOTEBOOK_FRAMES", "30")
    for name in ("JTRACK_DATA", "JTRACK_WEIGHTS", "XDG_DATA_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    NotebookClient(
        notebook, km=kernel, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pictures = sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert pictures == 7
    said = json.loads(code[-1].outputs[0].text)
    assert said["network"] == "hog"
    assert said["losses"][1] < 0.2 * said["losses"][0]
    top, place = said["maps"]["after"]
    assert top > 0 and abs(place // 21 - 10) <= 2 and abs(place % 21 - 10) <= 2, "the target is in the middle"
    assert said["auc"] > 0.4 and said["learnt"] > 0.25 and said["moved"] > 0
