"""FCNT's notebook, executed as a newcomer would: without weights and data, in a folder of its own."""

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PROBE = "print(network, float(fits['general']), float(fits['specific']), scored.auc)"


def test_the_notebook_runs_without_weights_and_learns(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks" / "fcnt.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)  # kept without outputs
    monkeypatch.delenv("MPLBACKEND", raising=False)  # another than the kernel's own would show no pictures
    folders = ("JTRACK_WEIGHTS", "JTRACK_DATA", "XDG_DATA_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    for name in folders:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    NotebookClient(
        notebook, km=kernel, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # a cell that fails raises
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 6
    network, general, specific, auc = code[-1].outputs[0].text.split()
    assert network == "tiny"
    assert float(general) == pytest.approx(0, abs=0.2) and float(specific) == pytest.approx(0, abs=0.3)
    assert float(auc) > 0.5
    assert {path.name for path in tmp_path.iterdir()} == set(folders)
