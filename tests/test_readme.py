"""README.md and the manual as their readers use them: what is printed runs, and tables are the code's.

The commands of a block run one after the other by bash, in a folder of their own with the user's files that
the pages name (`video.mp4`, `frames/`, `DATA/otb` ...): small ones, made here. No command is rewritten. There
are no weights. `jtrack` and `python` are those of this checkout.
"""

import functools
import gzip
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

import jtrack
from jtrack.cli import app
from jtrack.data import otb, synthetic
from jtrack.data.dataset import KINDS
from tests.conftest import ROOT
from tests.data import otb_tree

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "manual").glob("*.md"))]
README = "\n".join(page.read_text("utf-8") for page in PAGES)
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
INLINE = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", PROSE)]
SUBCOMMANDS = ("list", "train", "vot", "weights")  # have commands of their own

# Commands that no test can run, with the reason. Everything else is run.
NOT_RUN = {
    "python3 -m venv .venv": "makes an environment, and these tests run in one",
    ". .venv/bin/activate": "likewise",
    "python -m pip install -e '.[nets]'": "needs a package index",
    "python -m pip install -e '.[report,masks]'": "needs a package index",
    "jtrack track 0 --show": "needs a camera and a display",
    "jtrack weights fetch googlenet": "downloads",
    "jtrack weights convert VGG_ILSVRC_19_layers.caffemodel --as vgg19": "needs a file of 548 MiB",
    "jtrack train objectness --data tfds:voc/2007 --backbone alexnet --out trained": "needs VOC 2007",
    "jtrack train features --data images:photographs --out trained": "takes an hour; a small one is tested",
    "jtrack train tracker --data otb:DATA/otb --learn learning_rate --learn label_width --out numbers": (
        "takes long; a small one is tested"
    ),
}
# What a command leaves behind, as a pattern.
MADE = {
    "jtrack demo": "demo/tracked.mp4",
    "jtrack track video.mp4": "out.mp4",
    "jtrack eval --dataset otb": "results/*/**/*.txt",
    "jtrack report": "report/report.html",
    "jtrack view": "pages/*.html",
    "jtrack paper": "paper-hcft/report.html",
    "jtrack sweep": "sweep/sweep-learning_rate.pdf",
    "jtrack pack": "packed/jtrack_sot/**/*.array_record*",
    "jtrack eval --tracker my_tracker.py:MyTracker": "mine/*MyTracker*/**/*.txt",
    "jtrack eval --tracker opencv:mil": "mine/*mil*/**/*.txt",
    "jtrack vot entry": "trackers.ini",
    "jtrack train objectness": "trained/tiny_objectness.safetensors",
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def plain(line):
    """A command without its comment."""
    return re.sub(r"\s+#.*", "", line)


SHELL = [[plain(line) for line in block.splitlines() if line.strip()] for block in blocks("sh")]
COMMANDS = [command for block in SHELL for command in block]
RUN = [kept for block in SHELL if (kept := [command for command in block if command not in NOT_RUN])]
PYTHON = blocks("python")


def table(heading):
    """The rows of the table whose first heading this is, as lists of cells."""
    _, _, rest = README.partition(f"| {heading} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    assert rows, heading
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def codes(text):
    return re.findall(r"`([^`]+)`", text)


@functools.cache
def help_of(*command):
    """What `--help` prints."""
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, (command, result.output, result.exception)
    return result.output


def path_of(words):
    """The names of a command and of its command."""
    return tuple(words[1 : 3 if words[1] in SUBCOMMANDS else 2])


def options(words):
    return [word.partition("=")[0] for word in words if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)]


# --- What README says is so -------------------------------------------------------------------------------


def test_every_block_is_looked_at():
    languages = re.findall(r"^```(\w*)$", README, flags=re.M)
    assert {language for language in languages if language} == {"sh", "python"}
    assert languages.count("") == len(SHELL) + len(PYTHON)


def test_the_lists_of_this_file_fit_readme():
    assert set(NOT_RUN) <= set(COMMANDS)
    assert [sum(line in snippet for line in HOLDS) for snippet in PYTHON] == [1] * len(PYTHON)
    assert all(any(line in snippet for snippet in PYTHON) for line in HOLDS)
    for start in MADE:
        assert any(command.startswith(start) for block in RUN for command in block), start


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("jtrack ")])
def test_the_help_knows_a_command(command):
    words = shlex.split(command)
    said = help_of(*path_of(words))
    for option in options(words):
        assert re.search(rf"{option}\b", said), option


def test_commands_and_options_in_sentences_exist():
    known = " ".join(help_of(*path) for path in {path_of(shlex.split(c)) for c in COMMANDS if "jtrack " in c})
    for code in INLINE:
        words = code.split()
        if words[0] == "jtrack" and len(words) > 1:
            help_of(*path_of(words))
        for option in options(words):
            assert re.search(rf"{option}\b", known), code


def test_names_of_the_package_exist():
    names = {name for code in INLINE for name in re.findall(r"^jtrack(?:\.\w+)+", code)}
    assert len(names) > 4
    for name in names:
        parts = name.split(".")[1:]
        found = jtrack
        for part in parts:
            if inspect.ismodule(found) and not hasattr(found, part):
                found = importlib.import_module(f"{found.__name__}.{part}")
            else:
                found = getattr(found, part)


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).is_file(), (page.name, target)
    rooms = re.findall(r"^    (\S+/\S*) ", README, flags=re.M)
    assert len(rooms) > 10
    for room in rooms:
        assert (ROOT / room).exists(), room


def test_the_table_of_extras_is_that_of_pyproject():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = {codes(name)[0]: cells[-1].replace("`", "").split(", ") for name, *cells in table("Extra")}
    expected = {}
    for extra, packages in declared.items():
        required = [Requirement(package) for package in packages]
        own = re.findall(r"jtrack-jax\[(.*?)\]", " ".join(packages))
        joined = own[0].split(",") if own else []
        expected[extra] = joined + [each.name for each in required if each.name != "jtrack-jax"]
    assert found == expected


def test_the_tables_of_trackers_and_datasets():
    rows = {
        codes(name)[0]: codes(profiles) for name, _, profiles in table("Tracker | How it works | Profiles")
    }
    assert list(rows) == jtrack.trackers.names()
    for name, profiles in rows.items():
        assert set(profiles) <= set(jtrack.trackers.profiles(name)) | {"default"}
    of_hcft = [profile for cell, _ in table("Profile of `hcft`") for profile in codes(cell)]
    assert of_hcft == jtrack.trackers.profiles("hcft")
    assert [codes(kind)[0] for kind, _ in table("`--dataset`")] == list(KINDS)
    assert [codes(name)[0] for name, _ in table("Tracker | Paper")] == jtrack.trackers.names()


# --- What README says works -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Nobody's weights, an empty cache that the tests share, and the commands of this checkout."""
    home = tmp_path_factory.mktemp("home")
    programs = home / "bin"
    programs.mkdir()
    for name, start in (("jtrack", "-m jtrack.cli"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start} "$@"\n')
        (programs / name).chmod(0o755)
    dropped = ("DISPLAY", "JTRACK_WEIGHTS", "XLA_FLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
    }


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The user's files, in the folder where the commands run."""
    monkeypatch.chdir(tmp_path)
    clip = synthetic.clip(frames=6, size=(240, 360))
    writer = cv2.VideoWriter("video.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (360, 240))
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(clip.frames):
        writer.write(image[:, :, ::-1])
        cv2.imwrite(f"frames/{index:04d}.jpg", image[:, :, ::-1])
    writer.release()
    np.save("video.npy", np.stack(list(synthetic.clip(frames=3, size=(480, 640)).frames)))
    published = {}
    for seed, name in enumerate(("Deer", "Fish")):
        clip = synthetic.clip(frames=8, size=(96, 128), seed=seed)
        otb_tree.write(tmp_path / "DATA" / "otb", name, clip)
        published[name] = {"res": (clip.boxes + otb.ORIGIN).tolist()}
    (tmp_path / "CF2_OPE.json.gz").write_bytes(gzip.compress(json.dumps(published).encode()))
    for folder, shift in (("truth", 0), ("masks", 2)):
        (tmp_path / folder).mkdir()
        for index in range(3):
            mask = np.zeros((60, 80), np.uint8)
            mask[20:40, 30 + shift : 50 + shift] = 255
            cv2.imwrite(f"{folder}/{index:04d}.png", mask)
    (own,) = (snippet for snippet in PYTHON if "class MyTracker" in snippet)
    (tmp_path / "my_tracker.py").write_text(own)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("commands", RUN, ids=[block[0] for block in RUN])
def test_a_block_of_commands_runs_as_printed(commands, files, environment):
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        for start, pattern in MADE.items():
            if command.startswith(start):
                assert [path for path in files.glob(pattern) if path.stat().st_size], command


# What holds after a snippet of that line, asked in the same process.
HOLDS = {
    "track = jtrack.track(": "track.boxes.shape == (6, 4) and track.scores.shape == track.lost.shape == (6,)",
    "jtrack.track_batch(": "[track.boxes.shape for track in tracks] == [(8, 4), (8, 4)]",
    "jtrack.rollout(": "0 < score < 1 and abs(gradient.learning_rate) > 0",
    "class MyTracker": "MyTracker().init(None, 1) is None",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", HOLDS)
@pytest.mark.usefixtures("files")
def test_a_snippet_runs_as_printed(line, environment):
    snippet = next(snippet for snippet in PYTHON if line in snippet)
    done = subprocess.run(
        ["python", "-c", f"{snippet}\nassert {HOLDS[line]}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
