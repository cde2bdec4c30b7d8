"""jtrack's trackers in the VOT toolkit: its entry, and answers to a real TraX client."""

import configparser
import json
import os
import shlex
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from jtrack.benchmark.adapters import evaluated
from jtrack.data import synthetic
from jtrack.errors import JtrackError
from jtrack.integrations import vot_toolkit

pytestmark = pytest.mark.slow


@pytest.fixture
def clip(tmp_path):
    clip = synthetic.clip(frames=6, size=(96, 128))
    files = []
    for index, image in enumerate(clip.frames):
        files.append(tmp_path / f"{index}.png")
        cv2.imwrite(str(files[-1]), image[:, :, ::-1])
    return clip, files


def test_the_entry_starts_the_tracker(monkeypatch):
    monkeypatch.setenv("JTRACK_WEIGHTS", "/somewhere")
    found = evaluated("hcft", backbone="hog")
    options = {"tracker": "hcft", "backbone": "hog"}
    text = vot_toolkit.entry(found, options, [(480, 640), (240, 320), (470, 630), (240, 320)])
    parser = configparser.ConfigParser()
    parser.read_string(text)
    entry = parser["hcft_default_hog"]
    assert entry["protocol"] == "trax" and entry["label"] == "hcft default hog"
    assert int(entry["timeout"]) > 30 and entry["env_JTRACK_WEIGHTS"] == "/somewhere"
    command = shlex.split(entry["command"])
    assert command[:5] == [sys.executable, "-m", "jtrack.cli", "vot", "serve"]
    assert command[5:] == ["--tracker=hcft", "--backbone=hog", "--size=320x240", "--size=640x480"]


def test_warming_up_compiles_what_frames_of_that_size_need():
    found = evaluated("hcft", backbone="hog")
    vot_toolkit.warm_up(found, [(96, 128)])
    import jax

    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compiled.extend([event] * ("backend_compile" in event))
    )
    session = found.start(0)
    image = np.zeros((90, 120, 3), np.uint8)  # of the same canvas
    session.init(image, np.array([30.0, 30, 30, 30]))
    session.update(image)
    assert not compiled


def test_without_trax_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "trax", None)
    with pytest.raises(JtrackError, match=r"needs vot-trax, .* -e '\.\[vot\]'"):
        vot_toolkit.serve(evaluated("hcft", backbone="hog"))


CLIENT = """
    import json, subprocess, sys
    from trax.client import Client
    from trax.image import BufferImage, FileImage
    from trax.region import Rectangle

    command, box, files = json.loads(sys.argv[1])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client = Client((process.stdin.fileno(), process.stdout.fileno()), log=lambda line: None)
    said = []
    for targets in (1, 2):
        given = [(Rectangle.create(*box), {})] * targets
        objects, _ = client.initialize({"color": FileImage.create(files[0])}, given, {})
        said.append([(list(region.bounds()), dict(about)) for region, about in objects])
        for number, path in enumerate(files[1:]):
            image = BufferImage.create(open(path, "rb").read()) if number % 2 else FileImage.create(path)
            objects, _ = client.frame({"color": image}, {}, [])
            said.append([(list(region.bounds()), dict(about)) for region, about in objects])
    client.quit()
    json.dump(said, open(sys.argv[2], "w"))
"""


BRIGHT = """
    import numpy as np

    class Bright:
        deterministic = True
        def init(self, frame, box):
            self.box = np.array(box)
        def update(self, frame):
            self.box[:2] += frame[:48].mean() / 64, frame[48:].mean() / 64
            return self.box
"""


def test_a_trax_client_gets_what_the_tracker_says(clip, tmp_path):
    """The client of the toolkit's own library, in a process of its own."""
    pytest.importorskip("trax")
    clip, files = clip
    out, tracker = tmp_path / "said.json", tmp_path / "bright.py"
    tracker.write_text(textwrap.dedent(BRIGHT))
    (tmp_path / "client.py").write_text(textwrap.dedent(CLIENT))
    command = [sys.executable, "-m", "jtrack.cli", "vot", "serve", "--tracker", f"{tracker}:Bright"]
    box = clip.boxes[0].round().tolist()  # TraX sends four decimals
    asked = json.dumps([[*command, "--size", "128x96"], box, [str(path) for path in files]])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "client.py"), asked, str(out)],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    moves = [[0, 0], *([i[:48].mean() / 64, i[48:].mean() / 64] for i in list(clip.frames)[1:])]
    expected = np.tile(box, (6, 1))
    expected[:, :2] += np.cumsum(moves, axis=0)
    said = json.loads(out.read_text())
    for targets, frames in ((1, said[:6]), (2, said[6:])):  # the second time, two targets start anew
        boxes = np.array([[region for region, _ in objects] for objects in frames])
        np.testing.assert_allclose(boxes, np.tile(expected[:, None], (1, targets, 1)), atol=1e-3)
    assert float(said[0][0][1]["confidence"]) == 1
