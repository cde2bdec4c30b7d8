"""`jtrack score`: what it prints and writes, and what it refuses."""

import gzip
import json
import os

import numpy as np
import pytest

from jtrack.benchmark import layouts, protocol
from jtrack.benchmark.results import open_store
from jtrack.data import otb
from jtrack.data.dataset import open_dataset

LENGTHS = {"Walk": 6, "Run": 5, "Jogging-1": 4}


@pytest.fixture
def root(tmp_path):
    """Annotations alone, as the toolkit keeps them: the target moves 3 px a frame."""
    folder = tmp_path / "annotations"
    (folder / "anno").mkdir(parents=True)
    (folder / "att").mkdir()
    for name, frames in LENGTHS.items():
        otb.write_boxes(folder / "anno" / f"{name}.txt", path_of(frames))
        marks = "1,0,0,0,0,0,0,0,0,0,0" if name == "Walk" else "1,0,1,0,0,0,0,0,0,0,0"
        (folder / "att" / f"{name}.txt").write_text(marks)
    return folder


@pytest.fixture
def results(tmp_path):
    """Published results: all right on Walk and 10 px off, an overlap of 1/3, on the others."""
    folder = tmp_path / "results"
    folder.mkdir()
    write(folder / "Mine_OPE.json.gz", {"Walk": 0, "Run": 10, "Jogging-1": 10})
    return folder


def path_of(frames):
    return np.array([10.0, 10, 20, 20]) + np.outer(np.arange(frames) * 3, [1, 0, 0, 0])


def write(path, shifts, *, fps=50.0, cut=0):
    content = {}
    for name, shift in shifts.items():
        boxes = path_of(LENGTHS.get(name, 5))[: -cut or None] + np.array([shift, 0, 0, 0]) + otb.ORIGIN
        content[name] = {"type": "rect", "res": boxes.tolist(), "fps": fps, "startFrame": 1}
    with gzip.open(path, "wt") as file:
        json.dump(content, file)


def lines(text):
    """Words of the lines of a table."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_json_and_table(jtrack, root, results, tmp_path):
    out = tmp_path / "out.json"
    said = jtrack("score", results / "Mine_OPE.json.gz", "--root", root, "--json", out)
    content = json.loads(out.read_text())
    assert {key: content[key] for key in ("tracker", "profile", "protocol", "list")} == {
        "tracker": "Mine",
        "profile": None,
        "protocol": "ope",
        "list": "all",
    }
    assert list(content["sequences"]) == list(open_dataset("otb", root).names)
    walk, run = content["sequences"]["Walk"], content["sequences"]["Run"]
    assert (walk["frames"], run["frames"]) == (6, 5)
    assert walk["auc"] == pytest.approx(20 / 21) and walk["precision20"] == 1
    assert run["auc"] == pytest.approx((20 + 4 * 7) / 5 / 21)  # 7 of 21 thresholds are below a third
    assert walk["fps"] == run["fps"] == pytest.approx(50)
    every = [each["auc"] for each in content["sequences"].values()]
    assert content["auc"] == pytest.approx(np.mean(every)) and content["precision20"] == 1
    assert content["intervals"]["auc"][0] <= content["auc"] <= content["intervals"]["auc"][1]
    assert content["attributes"]["IV"]["sequences"] == 3
    assert content["attributes"]["SV"]["auc"] == pytest.approx(np.mean(every[:2]))
    assert len(content["curves"]["success"]) == 21
    table = lines(said.stdout)
    assert table["Walk"][:3] == ["6", "0.952", "1.000"]
    assert table["overall"][:3] == ["15", f"{content['auc']:.3f}", "1.000"]
    assert table["IV"][:2] == ["3", f"{content['auc']:.3f}"]
    assert max(len(line.rstrip()) for line in said.stdout.splitlines()[:-1]) <= 80
    jtrack("score", results / "Mine_OPE.json.gz", "--root", root, "--json", out)  # again: replaced
    assert json.loads(out.read_text()) == content


def test_the_published_example(jtrack, data_folder, tmp_path):
    """The command of the README, and what comes out."""
    folder, out = data_folder / "otb_benchmark", tmp_path / "out.json"
    file = folder / "results" / "CF2_OPE.json.gz"
    jtrack("score", file, "--root", folder / "annotations", "--list", "cvpr13", "--json", out)
    content = json.loads(out.read_text())
    assert (content["tracker"], content["protocol"], content["list"]) == ("CF2", "ope", "cvpr13")
    assert content["auc"] == pytest.approx(0.6047, abs=0.0005)
    assert content["precision20"] == pytest.approx(0.8907, abs=0.0005)
    assert len(content["sequences"]) == 51
    assert content["sequences"]["Tiger1"]["frames"] == 349


def test_several_results_are_compared(jtrack, root, results, tmp_path):
    write(results / "Better_OPE.json.gz", dict.fromkeys(LENGTHS, 0))
    out = tmp_path / "out.json"
    said = jtrack("score", results, "--root", root, "--json", out)
    assert [each["tracker"] for each in json.loads(out.read_text())] == ["Better", "Mine"]
    better, mine = (said.stdout.index(name) for name in ("Better", "Mine"))
    assert better < mine  # the best first
    assert "0.952 [0.952, 0.952]" in said.stdout
    second = json.loads(out.read_text())[1]
    assert second["behind"] == pytest.approx(second["auc"] - 20 / 21)
    low, high = second["intervals"]["behind"]
    assert f"{second['behind']:.3f} [{low:.3f}, {high:.3f}]" in said.stdout


def test_only_some_sequences(jtrack, root, results, tmp_path):
    out = tmp_path / "out.json"
    file = results / "Mine_OPE.json.gz"
    jtrack("score", file, "--root", root, "--sequences", "Run,Walk", "--json", out)
    content = json.loads(out.read_text())
    assert (list(content["sequences"]), content["list"]) == (["Run", "Walk"], "selection")
    said = jtrack("score", file, "--root", root, "--sequences", "Rum", code=2)
    assert "did you mean 'Run'" in said.stderr


def test_what_is_left_out_is_said(jtrack, root, results):
    write(results / "Mine_OPE.json.gz", {"Walk": 0, "Swim": 0, "Dive": 0})
    said = jtrack("score", results, "--root", root)
    assert "ope is scored on 1 of 3 sequences, those of Mine" in said.stderr
    assert "Mine, ope: left out 2 sequences without an annotation" in said.stderr
    assert lines(said.stdout)["overall"][0] == "6"


@pytest.mark.parametrize("chosen", [(), ("--sequences", "Walk,Run,Jogging-1")])
def test_a_damaged_annotation_costs_its_own_sequence(jtrack, root, results, tmp_path, chosen):
    (root / "anno" / "Run.txt").write_text("11,11,20\n")
    out = tmp_path / "out.json"
    with pytest.warns(UserWarning, match=r"left out: line 1 of .*Run\.txt has 3 numbers: a box is"):
        said = jtrack("score", results, "--root", root, "--json", out, *chosen)
    assert sorted(json.loads(out.read_text())["sequences"]) == ["Jogging-1", "Walk"]
    assert "Run" not in lines(said.stdout) and lines(said.stdout)["overall"][0] == "10"
    for name in LENGTHS:
        (root / "anno" / f"{name}.txt").write_text("")
    said = jtrack("score", results, "--root", root, *chosen, code=2)
    assert "anno" in said.stderr and said.stderr.count("\n") == 1


def test_results_are_compared_on_the_sequences_they_all_have(jtrack, root, results, tmp_path):
    """Else one who was run on the easy sequences alone would lead."""
    write(results / "Most_OPE.json.gz", {"Walk": 0, "Run": 0})
    out = tmp_path / "out.json"
    said = jtrack("score", results, "--root", root, "--json", out)
    assert all(sorted(each["sequences"]) == ["Run", "Walk"] for each in json.loads(out.read_text()))
    assert "on 2 of 3 sequences, those of all 2 results, of which Most has the fewest, 2" in said.stderr
    assert "2 sequences" in said.stdout


def test_one_of_few_sequences_neither_leads_nor_shrinks_the_comparison(jtrack, root, results, tmp_path):
    write(results / "Worse_OPE.json.gz", dict.fromkeys(LENGTHS, 15))
    out = tmp_path / "out.json"
    jtrack("score", results, "--root", root, "--json", out)
    alone = {each["tracker"]: each for each in json.loads(out.read_text())}
    write(results / "Part_OPE.json.gz", {"Walk": 0})
    said = jtrack("score", results, "--root", root, "--json", out)
    assert "Part, ope, is not ranked: 1 of 3 sequences only" in said.stderr
    assert "ranked: 1 of 3 sequences)" in " ".join(said.stdout.split())  # the name is on the line above
    assert said.stdout.index("Mine") < said.stdout.index("Worse") < said.stdout.index("Part")
    mine, worse, part = json.loads(out.read_text())
    assert mine == alone["Mine"] and worse == alone["Worse"]
    assert (mine["unranked"], part["unranked"]) == (None, "1 of 3 sequences")
    assert part["auc"] > mine["auc"] and "behind" not in part and list(part["sequences"]) == ["Walk"]


def test_runs_of_the_first_frames_are_not_ranked_among_whole_ones(jtrack, root, tmp_path):
    """The first frames are the easy ones: a run of 3 frames led one that was lost in the fourth."""
    runs = tmp_path / "runs"
    for tracker, limit, shift in (("hcft", None, 10), ("fcnt", 3, 0), ("gdt", 3, 5)):
        run(runs, root, tracker, limit, shift)
    out = tmp_path / "out.json"
    said = jtrack("score", runs, "--root", root, "--json", out)
    assert "fcnt (3 frames), ope, is not ranked: first 3 frames only" in said.stderr
    table = " ".join(said.stdout.split())
    assert table.index("hcft") < table.index("fcnt (not ranked: first 3 frames)")
    found = {each["tracker"]: each["unranked"] for each in json.loads(out.read_text())}
    assert found == {"hcft": None, "fcnt": "first 3 frames", "gdt": "first 3 frames"}
    # Among themselves they are of equal frames; and a limit that cuts nothing is none.
    said = jtrack("score", *(path for path in runs.iterdir() if path.name[0] in "fg"), "--root", root)
    assert "not ranked" not in said.stderr + said.stdout
    run(runs, root, "deeptrack", 6, 0)
    jtrack("score", runs, "--root", root, "--json", out)
    found = {each["tracker"]: each["unranked"] for each in json.loads(out.read_text())}
    assert found["deeptrack"] is None and found["fcnt"] == "first 3 frames"


def test_runs_have_the_names_that_a_report_gives_them(jtrack, root, tmp_path):
    runs = tmp_path / "runs"
    for tracker, backbone, shift in (("hcft", "hog", 0), ("hcft", "vgg19", 2), ("gdt", "vgg19", 4)):
        run(runs, root, tracker, None, shift, backbone=backbone)
    said = jtrack("score", runs, "--root", root)
    rows = [line.split("  ")[0].strip() for line in said.stdout.splitlines()[-4:]]
    assert [row for row in rows if row] == ["hcft hog", "hcft vgg19", "gdt"]
    assert "intervals over 3 sequences are narrower than they should be" in said.stderr


def run(folder, root, tracker, limit, shift, **label):
    """A run as `jtrack eval` keeps it."""
    rule, dataset = protocol.load("ope"), open_dataset("otb", root)
    label = {"tracker": tracker, "dataset": "otb", "limit_frames": limit} | label
    store = open_store(folder, label, {})
    for name in dataset.names:
        (trial,) = protocol.trials(rule, dataset.annotation(name), limit=limit)
        boxes = path_of(trial.end) + np.array([shift, 0, 0, 0])
        boxes[0] = trial.box
        store.write(rule, trial, layouts.tracked(boxes))


def test_one_result_that_cannot_be_scored_does_not_cost_the_others(jtrack, root, results, tmp_path):
    write(results / "Short_OPE.json.gz", dict.fromkeys(LENGTHS, 0), cut=1)
    out = tmp_path / "out.json"
    said = jtrack("score", results, "--root", root, "--json", out, code=1)
    assert "Short has 3 boxes of Jogging-1, whose annotation has 4" in said.stderr
    assert said.stderr.rstrip().endswith("; 1 are scored")
    assert json.loads(out.read_text())["tracker"] == "Mine"


def test_a_run_of_ones_own(jtrack, root, tmp_path):
    rule = protocol.load("ope")
    store = open_store(tmp_path / "runs", {"tracker": "hcft", "profile": "default"}, {})
    dataset = open_dataset("otb", root)
    for name in dataset.names:
        (trial,) = protocol.trials(rule, dataset.annotation(name))
        store.write(rule, trial, layouts.tracked(dataset.annotation(name).boxes.copy()))
    out = tmp_path / "out.json"
    said = jtrack("score", tmp_path / "runs", "--root", root, "--json", out)
    content = json.loads(out.read_text())
    assert (content["tracker"], content["profile"], content["fps"]) == ("hcft", "default", None)
    assert content["precision20"] == 1 and content["digest"] == store.folder.name.rsplit("-")[-1]
    assert said.stdout.startswith("hcft default, ope, all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--json", "/dev/null/out.json"), "/dev/null is not a folder"),
        (("--json", "out.txt"), "its name must end in .json"),
        (("--protocol", "sre"), "unknown protocol of these results 'sre'"),
        (("--list", "cvpr14"), "cvpr13"),
        (("--dataset", "otbb"), "did you mean 'otb'"),
        (("--root", "nowhere"), "nowhere"),
    ],
)
def test_bad_options_are_one_sentence(jtrack, root, results, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    given = ("score", results, *(() if "--root" in arguments else ("--root", root)), *arguments)
    assert message in jtrack(*given, code=2).stderr


def test_the_folder_of_annotations_is_needed(jtrack, results):
    said = jtrack("score", results, code=2)
    assert "not known where the annotations of Mine are: give --root" in said.stderr


def test_a_folder_that_cannot_be_written_is_refused_at_once(jtrack, root, results, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):  # as root: a file where a folder should be
        locked.rmdir()
        locked.write_text("")
    said = jtrack("score", results, "--root", root, "--json", locked / "out.json", code=2)
    assert "cannot write" in said.stderr and not said.stdout


def test_broken_results_are_one_sentence(jtrack, root, results):
    file = results / "Mine_OPE.json.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "does not hold one list of boxes" in jtrack("score", file, "--root", root, code=2).stderr
    (results / "Walk_Mine.mat").write_bytes(bytes(100))
    assert (
        "Walk_Mine.mat does not hold the OTB toolkit's results"
        in jtrack("score", results / "Walk_Mine.mat", "--root", root, code=2).stderr
    )
    write(file, {"Swim": 0})
    said = jtrack("score", file, "--root", root, code=2)
    assert "results of Mine are of Swim, the annotations of" in said.stderr


def test_a_run_of_a_list_that_is_a_folder_is_found_again(jtrack, data_folder, tmp_path):
    sequences = ["--sequences", "vot2015_ball1", "--limit-frames", "12", "--protocol", "unsupervised"]
    where = ["--root", data_folder / "vot", "--list", "vot2015", "--results", tmp_path / "runs"]
    jtrack("eval", "--tracker", "opencv:mil", "--dataset", "vot", *where, *sequences)
    assert "unsupervised" in jtrack("score", tmp_path / "runs").stdout


def test_names_are_shown_as_they_are(jtrack, root, tmp_path):
    """Rich took `[red]` for markup, `[/]` ended in a traceback, and an escape code reached the terminal."""
    for file in ("anno", "att"):
        (root / file / "Walk.txt").rename(root / file / "Seq[red] [b].txt")
    run(tmp_path / "runs", root, "T[red] [/] :car: \x1b[2J\n!", None, 0)
    said = jtrack("score", tmp_path / "runs", "--root", root)
    assert r"T[red] [/] :car: \x1b[2J\n!, ope, all" in said.stdout
    assert "Seq[red] [b]" in said.stdout
    assert "\x1b" not in said.stdout + said.stderr
    run(tmp_path / "runs", root, "T[red] [/] :car: \x1b[2J\n?", 3, 0)
    said = jtrack("score", tmp_path / "runs", "--root", root)
    assert r"jtrack: T[red] [/] :car: \x1b[2J\n? (3 frames), ope, is not ranked" in said.stderr
    assert "T[red]" in said.stdout and "\x1b" not in said.stdout + said.stderr


def test_markup_in_the_names_of_trackers(jtrack, root, results):
    names = ("a[red]", "[bold]b", "c[", "d\\[", "[e]")
    for name in names:
        write(results / f"{name}_OPE.json.gz", dict.fromkeys(LENGTHS, 0))
    table = lines(jtrack("score", results, "--root", root).stdout)
    assert table.keys() >= {*names, "Mine"}
    assert table["c["][:3] == ["0.952", "[0.952,", "0.952]"]
