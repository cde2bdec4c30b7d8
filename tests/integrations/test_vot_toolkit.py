"""jtrack's trackers in the VOT toolkit: its entry, and answers to a real TraX client."""

import configparser
import importlib
import json
import os
import shlex
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from jtrack import track, trackers
from jtrack.benchmark.adapters import evaluated
from jtrack.cli.options import changes
from jtrack.data import synthetic
from jtrack.errors import JtrackError
from jtrack.integrations import vot_python, vot_toolkit

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


def test_the_entry_by_python_says_what_the_class_takes():
    options = {"tracker": "hcft", "profile": "default", "backbone": "hog", "precision": "float32"}
    found = evaluated("hcft", backbone="hog", changes=changes(["learning_rate=0.02", "scale.count=9"]))
    parser = configparser.ConfigParser()
    parser.read_string(vot_toolkit.python_entry(found, options))
    (section,) = parser.sections()
    entry = parser[section]
    assert entry["protocol"] == "python" and entry["convert"] == "rectangle"
    module, _, name = entry["command"].partition(":")
    assert getattr(importlib.import_module(module), name) is vot_python.Targets
    arguments = {key[4:]: value for key, value in entry.items() if key.startswith("arg_")}
    assert arguments == options | {"changes": "scale.count=9 learning_rate=0.02"}
    with pytest.raises(JtrackError, match="--protocol trax, which serves any"):
        vot_toolkit.python_entry(evaluated("opencv:mil"), {"tracker": "opencv:mil"})


def test_the_toolkit_calls_it_with_several_targets(clip, tmp_path, monkeypatch):
    """In a process that the toolkit starts; the third target begins in the third frame."""
    pytest.importorskip("vot")
    flag = "JAX_DISABLE_MOST_OPTIMIZATIONS"  # as tests/conftest.py has it for this process
    monkeypatch.setenv(flag, os.environ.get(flag, "1"))
    from vot.dataset import load_sequence
    from vot.region import Rectangle
    from vot.tracker import ObjectQuery, Tracker

    clip, files = clip
    folder = tmp_path / "walk"
    (folder / "color").mkdir(parents=True)
    for index, file in enumerate(files, start=1):
        file.rename(folder / "color" / f"{index:08}.png")
    (folder / "groundtruth.txt").write_text("".join(f"{x},{y},{w},{h}\n" for x, y, w, h in clip.boxes))
    (folder / "sequence").write_text(
        "channels.color=color/%08d.png\nchannel.default=color\nfps=30\nformat=default\n"
        f"length={len(files)}\nname=walk\nwidth=128\nheight=96\n"
    )
    box = clip.boxes[0]
    targets = {"here": (box, 0), "beside": (box + np.float32([3, 2, 0, 0]), 0), "late": (clip.boxes[2], 2)}
    queries = [ObjectQuery(Rectangle(*each.tolist()), {}, offset) for each, offset in targets.values()]
    arguments = {"arg_tracker": "hcft", "arg_backbone": "hog", "arg_changes": "learning_rate=0.02"}
    patience = {"timeout": str(vot_toolkit.TIMEOUT)}
    tracker = Tracker(
        "hcft",
        str(tmp_path),
        "jtrack.integrations.vot_python:Targets",
        protocol="python",
        **arguments,
        **patience,
    )
    with tracker.runtime() as runtime:
        done = runtime.run(load_sequence(str(folder)), queries)

    bound = trackers.create("hcft", backbone="hog", changes=changes(["learning_rate=0.02"]))
    first = track(clip, np.stack([box, targets["beside"][0]]), tracker=bound)
    late = track(clip, clip.boxes[2], tracker=bound, start=2)
    expected = [(first.boxes[:, 0], first.scores[:, 0]), (first.boxes[:, 1], first.scores[:, 1])]
    expected.append((late.boxes, late.scores))
    for said, (boxes, scores), (_, offset) in zip(done.objects, expected, targets.values(), strict=True):
        tracked = said[offset:]
        found = np.array([[where.x, where.y, where.width, where.height] for where, _ in tracked])
        np.testing.assert_array_equal(found.astype(np.float32), boxes)
        np.testing.assert_array_equal(np.float32([about["confidence"] for _, about in tracked]), scores)
    assert len(done.times) == len(files)


def test_what_the_class_cannot_track_it_refuses(clip):
    _, files = clip
    targets = vot_python.Targets("hcft", backbone="tiny")
    with pytest.raises(JtrackError, match="channels depth of a frame"):
        targets.init({"depth": str(files[0])}, [((10.0, 10.0, 20.0, 20.0), {})])
    with pytest.raises(JtrackError, match="width"):
        targets.init({"color": str(files[0])}, [((10.0, 10.0, 0.0, 20.0), {})])
