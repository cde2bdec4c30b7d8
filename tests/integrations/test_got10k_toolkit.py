"""jtrack's trackers in the GOT-10k toolkit, by its own experiment on a small split."""

import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from jtrack.benchmark import adapters, got
from jtrack.data import open_dataset, synthetic
from tests.run import fake

pytestmark = pytest.mark.slow

NAMES = ("GOT-10k_Val_000001", "GOT-10k_Val_000002")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A split of two short sequences, with all the files the toolkit asks for."""
    root = tmp_path_factory.mktemp("got")
    for seed, name in enumerate(NAMES):
        clip = synthetic.clip(frames=8, size=(96, 128), seed=seed)
        folder = root / "val" / name
        folder.mkdir(parents=True)
        for index, image in enumerate(clip.frames, 1):
            cv2.imwrite(str(folder / f"{index:08d}.jpg"), image[:, :, ::-1])
        np.savetxt(folder / "groundtruth.txt", clip.boxes, fmt="%.4f", delimiter=",")
        for mark in ("absence", "cut_by_image"):
            np.savetxt(folder / f"{mark}.label", np.zeros(8), fmt="%d")
        np.savetxt(folder / "cover.label", np.full(8, 8), fmt="%d")
        (folder / "meta_info.ini").write_text("[METAINFO]\nresolution: (128, 96)\nurl: x\n")
    (root / "val" / "list.txt").write_text("\n".join(NAMES) + "\n")
    return root


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


def test_the_toolkits_own_experiment_runs_it(root, tmp_path, monkeypatch):
    pytest.importorskip("got10k")
    monkeypatch.setenv("MPLBACKEND", "agg")
    from got10k.experiments import ExperimentGOT10k

    from jtrack.integrations.got10k_toolkit import GotTracker

    (tmp_path / "bright.py").write_text(textwrap.dedent(BRIGHT))
    experiment = ExperimentGOT10k(str(root), "val", str(tmp_path / "results"), str(tmp_path / "reports"))
    tracker = GotTracker(f"{tmp_path / 'bright.py'}:Bright")
    assert tracker.name == "Bright" and tracker.is_deterministic
    experiment.run(tracker)
    data = open_dataset("got", root, subset="val")
    overlaps = []
    for name in NAMES:
        folder = tmp_path / "results" / "GOT-10k" / tracker.name / name
        assert [path.name for path in sorted(folder.iterdir())] == [f"{name}_001.txt", f"{name}_time.txt"]
        found = np.loadtxt(folder / f"{name}_001.txt", delimiter=",")
        sequence = data.sequence(name)
        moves = [[0, 0], *([i[:48].mean() / 64, i[48:].mean() / 64] for i in list(sequence.frames)[1:])]
        expected = np.tile(sequence.boxes[0], (8, 1))
        expected[:, :2] += np.cumsum(moves, axis=0)
        np.testing.assert_allclose(found, expected, atol=2e-3)
        overlaps.append(got.overlaps(found, sequence.boxes, sequence.size))
    performance = experiment.report([tracker.name])  # and the toolkit's figure is ours
    mine = got.score(np.concatenate(overlaps))
    assert performance[tracker.name]["overall"]["ao"] == pytest.approx(mine.ao, abs=1e-6)


def test_repetitions_have_seeds_of_their_own_and_boxes_may_count_from_one():
    pytest.importorskip("got10k")
    from jtrack.integrations.got10k_toolkit import GotTracker

    given = []

    def start(seed):
        session = adapters.ours(fake.build()).start(seed)
        real = session.init
        session.init = lambda image, box: given.append((seed, *box.tolist())) or real(image, box)
        return session

    evaluated = adapters.ours(fake.build())._replace(start=start)
    tracker = GotTracker(evaluated, one_based=True, seed=4)
    assert not tracker.is_deterministic
    frames = fake.video([(0, 0), (3, 2)])
    for _ in range(2):
        tracker.init(frames[0], np.array([11.0, 21, 12, 14]))
        np.testing.assert_allclose(tracker.update(frames[1]), [14, 23, 12, 14])
    assert sorted(set(given)) == [(4, 10, 20, 12, 14), (5, 10, 20, 12, 14)]


def test_without_the_toolkit_it_says_so():
    code = "import sys; sys.modules['got10k'] = None; import jtrack.integrations.got10k_toolkit"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "-e '.[got]'` in" in done.stderr.splitlines()[-1]
