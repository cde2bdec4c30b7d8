"""The benchmark commands, on little data."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from bench import ablations, fcnt_table1, speeds, workers
from jtrack.data import otb, synthetic
from tests.conftest import ROOT

SEQUENCES = ("David", "Girl", "Crossing")


def command(script, *arguments, **environment):
    line = [sys.executable, str(ROOT / "bench" / script), *map(str, arguments)]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A folder with one short sequence in OTB's layout."""
    folder = tmp_path_factory.mktemp("otb")
    clip = synthetic.clip(frames=4, size=(96, 128))
    (folder / "Walk" / "img").mkdir(parents=True)
    for index, image in enumerate(clip.frames, start=1):
        cv2.imwrite(str(folder / "Walk" / "img" / f"{index:04d}.jpg"), image[:, :, ::-1])
    otb.write_boxes(folder / "Walk" / "groundtruth_rect.txt", clip.boxes)
    return folder


def looks(key, parts, noise):
    """Feature maps [n, P, C] of which some sum up to the mask [n, P], and the masks."""
    rng = np.random.default_rng(key)
    masks = np.zeros((8, 30), np.float32)
    masks[:, 10:20] = 1
    maps = noise * rng.random((8, 30, 6), np.float32)
    maps[:, :, parts] += masks[:, :, None] / len(parts)
    return maps, masks


def test_table_1_tells_faces_by_maps_they_share_and_whose_by_maps_they_do_not():
    # Map 0 belongs to all faces, 1 to David's, 2 to Girl's and 3 to what is no face.
    seen = {
        "David": looks(0, [0, 1], 0.01),
        "Girl": looks(1, [0, 2], 0.01),
        "Suv": looks(2, [3], 0.01),
        "Skiing": looks(3, [3], 0.01),
    }
    assert fcnt_table1.face_or_not(seen, 0.05) == pytest.approx((1, 1))
    assert fcnt_table1.which_face(seen, 0.05) == 1
    # Where all look alike there is nothing to tell them by.
    alike = {name: looks(key, [0], 0.0) for key, name in enumerate(seen)}
    accuracy, area = fcnt_table1.face_or_not(alike, 0.05)
    assert accuracy == pytest.approx(0.5) and area == 0
    assert fcnt_table1.which_face(alike, 0.05) == 0.5


@pytest.mark.slow
def test_table_1_of_real_faces(data_folder, weights_folder, tmp_path):
    missing = [name for name in SEQUENCES if not (data_folder / "otb" / name).is_dir()]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {data_folder / 'otb'}")
    for name in SEQUENCES:
        (tmp_path / name).symlink_to(data_folder / "otb" / name)
    text = command("fcnt_table1.py", tmp_path, "--images", 8, JTRACK_WEIGHTS=str(weights_folder))
    found = re.findall(
        r"^(\S+): face or not ([\d.]+)% \(area under curve ([\d.]+)\), which face ([\d.]+)%$", text, re.M
    )
    assert [layer for layer, *_ in found] == ["inception_3b/output", "inception_4e/output"]
    for _, face, area, whose in found:
        assert 50 <= float(face) <= 100 and 0 <= float(area) <= 1
        assert float(whose) > 50  # than by chance
    assert float(found[1][2]) > 0.7  # a deep layer knows a face from a pedestrian


@pytest.mark.slow
def test_speeds_are_printed():
    text = command("fcnt.py", "--contestants", "tiny:float32", "--frames", 4)
    first, parts = rows(text)[2], rows(text)[5:]
    assert first[:2] == ["tiny float32", "random"]
    assert all(float(cell) > 0 for cell in first[2:5])
    assert [row[0] for row in parts] == [
        "first frame: selection of a layer's maps",
        "first frame: training of a network",
        "a heat map",
        "adaptation",
        "discrimination",
    ]
    assert all(float(row[1]) >= 0 for row in parts)


@pytest.mark.slow
def test_whole_runs_are_timed(walk):
    """By default, of the trackers whose network can be chosen."""
    assert speeds.on_networks() == ["hcft", "fcnt", "cnn_svm", "gdt"]
    options = ("--trackers", "hcft", "--networks", "tiny:float32", "--frames", 3, "--against", "scale=none")
    _, _, row = rows(command("speeds.py", *options, "--video", walk / "Walk"))
    assert row[0] == "hcft"
    assert all(float(rate) > 0 for rate in row[1].split(" against "))


@pytest.mark.slow
def test_a_rollout_s_gradient_is_measured():
    found = rows(command("rollout.py", "--network", "tiny", "--frames", 2, 4, "--timed", 2, "--turns", 1))
    saved, kept, forward, *gradients = found[2:4] + found[6:]
    assert (
        [row[0] for row in (saved, kept)] == [row[0] for row in gradients] == ["with checkpoint", "without"]
    )
    assert 0 < float(saved[-1]) < float(kept[-1]) / 4  # MiB a frame
    assert forward[2] == forward[4] == "1.00"
    assert all(float(row[2]) > 1 for row in gradients)


@pytest.mark.slow
def test_layers_are_compared(walk):
    where = ("--data", walk, "--sequences", "Walk", "--every", 2)
    _, _, row = rows(command("fcnt.py", "--taps", "tiny", "--layers", "relu4_4", *where))
    assert row[:3] == ["relu4_4", "SNet", "12 of 28 x 28"]
    assert 0 < float(row[3].rstrip("%")) <= 100
    assert 0 <= float(row[4]) <= 1 and 0 <= float(row[5]) < 5


@pytest.mark.slow
def test_parts_of_a_frame_are_timed():
    found = rows(
        command("gdt.py", "--nets", "tiny", "--profiles", "default", "--precisions", "float32", "--turns", 1)
    )
    assert [row[0] for row in found[2:]] == [
        "first frame, s",
        "first frame with compilation, s",
        "describing 600 candidates",
        "the head on them",
        "a whole frame without learning",
        "one step of the head",
        "frames a second, learning in each",
    ]
    assert all(float(row[1]) >= 0 for row in found[2:]) and float(found[-1][1]) > 0


@pytest.mark.slow
def test_masks_stand_beside_boxes():
    clip = ("--clips", 1, "--clip-frames", 3, "--backbone", "tiny")
    *_, found = rows(command("cnn_svm.py", "--nets", "", *clip))
    assert found[0] == "0" and all(0 <= float(cell) <= 1 for cell in found[1:])


@pytest.mark.slow
def test_ablations_are_kept_and_not_made_twice(walk, tmp_path):
    where = ("--data", walk, "--sequences", "Walk", "--out", tmp_path)
    what = ("fcnt", "--backbone", "tiny", "--repeats", 2, "--profiles")
    first = command("ablations.py", *what, "general", *where)
    _, _, row = rows(first)
    assert row[0] == "general" and all(re.fullmatch(r"[01]\.\d{3} ± 0\.\d{3}", cell) for cell in row[1:3])
    (folder,) = tmp_path.glob("fcnt-*")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.txt")}
    assert before and command("ablations.py", *what, "general", *where) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.txt")} == before


def test_the_spread_is_that_of_the_seeds():
    values = [0.8, 0.85, 0.7]
    assert ablations.spread(values) == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert ablations.spread([0.5]) == "0.500"


@pytest.mark.slow
def test_parts_of_hcft_s_frame_are_timed():
    found = rows(command("frame_time.py", "--networks", "tiny:float32", "--turns", 1))
    assert [row[:2] for row in found[2:]] == [
        ["tiny, float32", way] for way in ("release2016", "before", "now")
    ]
    for _, _, frame, passes, rest, *_, rate, share in found[2:]:
        assert abs(float(frame) - float(passes) - float(rest)) <= 1
        assert float(rate) > 0 and share.endswith("%")


@pytest.mark.slow
def test_workers_of_ray_are_timed_beside_processes(walk):
    pytest.importorskip("ray", reason="needs the extra cluster")
    found = rows(command("workers.py", "--data", walk, "--trackers", "hcft", "--frames", 4, "--turns", 1))
    assert [row[0] for row in found[2:]] == ["hcft on hog", "**all**"]
    plain, start, ray, ray_start, ratio = found[2][1:]
    assert float(start) > 0 and float(ray_start) > 0
    assert [row[1::2] for row in found[3:]] == [[plain, ray, f"**{ratio}**"]]
    assert workers.ratio(10.0, 11.5) == "1.15" and workers.ratio(-0.1, 1.0) == "–"
