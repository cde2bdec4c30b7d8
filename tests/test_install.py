"""What importing jtrack loads and touches, each time in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PACKAGES = sorted(f"jtrack.{path.parent.name}" for path in (ROOT / "jtrack").glob("*/__init__.py"))
LIBRARY = ", ".join(name for name in PACKAGES if name != "jtrack.cli")
HEAVY = {"typer", "rich", "requests", "matplotlib", "torch", "h5py", "tensorflow", "scipy", "sklearn"}
# What jtrack stands on imports what it likes and may change the environment, as OpenCV does for Qt.
BASE = "import cv2, flax.nnx, jax, numpy, optax"
PROBE = """
import json, os, sys
network = []
sys.addaudithook(lambda event, _: network.append(event) if event.startswith("socket.") else None)
{before}
modules, environment = set(sys.modules), dict(os.environ)
network.clear()
import {names}
new, changed, heard = set(sys.modules) - modules, set(os.environ.items()) ^ environment.items(), [*network]
import jax
print(json.dumps({{
    "modules": sorted({{name.partition(".")[0] for name in new}}),
    "changed": sorted(name for name, _ in changed),
    "network": heard,
    "devices": jax._src.xla_bridge.backends_are_initialized(),
}}))
"""


def probe(names, *, before="", environment=None):
    """What the import of modules did, after other imports."""
    code = PROBE.format(names=names, before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_jtrack_loads_nothing_heavy():
    found = probe("jtrack")
    assert "jtrack" in found["modules"]
    assert "jax" not in found["modules"]  # a second, and the command's help needs none of it
    assert not HEAVY & set(found["modules"])


@pytest.mark.parametrize("names", ["jtrack", LIBRARY])
def test_import_touches_no_device_network_or_environment(names):
    found = probe(names, before=BASE)
    assert "jtrack" in found["modules"]
    assert not HEAVY & set(found["modules"])
    assert found["changed"] == found["network"] == []
    assert not found["devices"]


def test_the_probe_sees_what_it_looks_for(tmp_path):
    lines = [
        "import os, socket, jax, typer",
        "os.environ['SEEN'] = '1'",
        "socket.socket().close()",
        "jax.devices()",
    ]
    (tmp_path / "rude.py").write_text("\n".join(lines))
    found = probe("rude", environment=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert {"rude", "typer"} <= set(found["modules"])
    assert "SEEN" in found["changed"]
    assert "socket.__new__" in found["network"]
    assert found["devices"]


def test_import_works_in_a_bare_environment():
    bare = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    assert "jtrack" in probe(LIBRARY, environment=bare)["modules"]
