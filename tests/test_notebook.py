"""The quickstart notebook, executed as a newcomer would: without weights, in a folder of its own."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "quickstart.ipynb"

PROBE = """
import json
import sys
print(json.dumps({
    "python": sys.executable, "network": network, "auc": accuracy.auc, "losses": losses,
    "held_out": [before, after], "slopes": [slope, quotient],
    "weights": np.stack(course).astype(float).tolist(),
}))
"""


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_the_notebook_runs_without_weights_and_learns(notebook, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # another than the kernel's own would show no pictures
    folders = ("JTRACK_WEIGHTS", "XDG_DATA_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    for name in folders:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    # Without folders to look in, "python3" is this interpreter, whatever kernels the user has installed.
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    NotebookClient(
        notebook, km=kernel, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # a cell that fails raises

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 7

    said = json.loads(code[-1].outputs[0].text)
    assert Path(said["python"]) == Path(sys.executable)
    assert said["network"] == "tiny"
    assert said["auc"] > 0.5
    assert said["losses"][-1] < 0.75 * said["losses"][0]
    assert said["held_out"][1] < said["held_out"][0]
    slope, quotient = said["slopes"]
    assert abs(quotient) > 0.1
    assert slope == pytest.approx(quotient, rel=0.02)
    assert said["weights"][0] == pytest.approx([1 / 3] * 3)
    assert sum(said["weights"][-1]) == pytest.approx(1)
    assert {path.name for path in tmp_path.iterdir()} == set(folders)
