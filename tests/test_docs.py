"""The documentation: pages run from top to bottom as printed, and the site's reference misses nothing."""

import re
import subprocess
import sys
import types

import pytest

from bench import accuracy_speed
from jtrack import trackers
from tests.conftest import ROOT
from tests.test_readme import environment, files, help_of, options, path_of

__all__ = ["environment", "files"]  # fixtures

sys.path.append(str(ROOT / "docs" / "_ext"))
DOCS = ROOT / "docs"
PAGES = sorted([DOCS / "start.md", DOCS / "concepts.md", DOCS / "faq.md", *(DOCS / "howto").glob("*.md")])
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\w+\.py)\n")  # the first line of a block that the reader saves

# Lines of commands that no test can run, with the reason.
NOT_RUN = {
    "python3 -m venv .venv": "makes an environment, and these tests run in one",
    ". .venv/bin/activate": "likewise",
    "python -m pip install -e '.[nets]'": "needs a package index",
    "python -m pip install -e '.[cuda]'": "needs a package index and a GPU",
    "jtrack demo": "tests/test_readme.py runs it",
    "jtrack weights convert VGG_ILSVRC_19_layers.caffemodel --as vgg19": "needs a file of 548 MiB",
}
# What a page leaves behind.
MADE = {
    "start": ["boxes.csv", "out.mp4"],
    "video": ["boxes.csv", "out.mp4", "two.csv"],
    "tracker": ["mine/*Still*/**/*.txt", "mine/*hcft*/**/*.txt"],
    "network": ["trained/compact.safetensors", "trained.csv"],
    "dataset": ["mine/walk.csv", "results/*/**/*.txt"],
    "sweep": ["results/*/run.json"],
    "export": ["exported/step.stablehlo"],
    "gpu": ["results/*/run.json"],
}


def blocks(page):
    """The commands and snippets of a page, in their order: language and text."""
    return FENCE.findall(page.read_text("utf-8"))


def runs(text):
    """A block of commands without those that cannot be run."""
    return "".join(line for line in text.splitlines(keepends=True) if line.rstrip() not in NOT_RUN)


def test_the_lists_of_this_file_fit_the_pages():
    lines = {line for page in PAGES for _, text in blocks(page) for line in text.splitlines()}
    assert set(NOT_RUN) <= lines
    assert set(MADE) <= {page.stem for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_a_page_runs_from_top_to_bottom(page, files, environment):
    quickly = environment | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # as tests/conftest.py compiles
    for language, text in blocks(page):
        if language == "python" and (name := NAMED.match(text)):
            (files / name[1]).write_text(text)
            continue
        program = ["python", "-c", text] if language == "python" else ["bash", "-ec", runs(text)]
        done = subprocess.run(program, env=quickly, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    for pattern in MADE.get(page.stem, ()):
        assert [path for path in files.glob(pattern) if path.stat().st_size], pattern


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_in_sentences_exist(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    known = " ".join(help_of(name) for name in ("track", "eval", "sweep", "export", "report", "score"))
    for code in re.findall(r"`([^`]+)`", prose):
        words = code.split()
        if words[0] == "jtrack" and len(words) > 1:
            help_of(*path_of(words))
        for option in options(words):
            assert re.search(rf"{option}\b", known), code


@pytest.mark.parametrize("name", trackers.names())
def test_every_tracker_has_a_page_with_its_figure(name):
    page = (DOCS / "trackers" / f"{name}.md").read_text("utf-8")
    assert f"<!-- profiles: {name} -->" in page and f"<!-- settings: {name} -->" in page
    assert f"](../figures/{name}.svg)" in page and (DOCS / "figures" / f"{name}.svg").is_file()
    assert f"({name}.md)" in (DOCS / "trackers" / "index.md").read_text("utf-8")


def test_accuracy_against_speed_is_the_ledgers(data_folder):
    page = accuracy_speed.PAGE.read_text("utf-8")
    found = accuracy_speed.table(accuracy_speed.rows(data_folder))
    assert f"<!-- table: accuracy-speed -->\n{found}\n<!-- end of table -->" in page


def test_speeds_are_those_of_the_pages_that_are_named():
    for point in accuracy_speed.POINTS:
        if point.fps is not None:
            text = (ROOT / point.source).read_text("utf-8")
            assert re.search(rf"\b{point.fps:g}\b", text), point


# --- The site ---------------------------------------------------------------------------------------------


def test_every_module_has_a_page_of_the_reference():
    """As the build would say; here without building."""
    import api_reference

    shown = {
        name
        for page in (DOCS / "api").glob("*.md")
        for kind, package in api_reference.MARK.findall(page.read_text("utf-8"))
        if kind == "reference"
        for name in api_reference.modules(package)
    }
    missing = (
        set(api_reference.modules("jtrack")) - shown - set(api_reference.modules("jtrack.cli")) - {"jtrack"}
    )
    assert not missing


def test_what_says_nothing_of_itself_is_found():
    import api_reference

    module = types.ModuleType("made_up", "It says what it is.")
    source = '''
import dataclasses, typing
def silent(): pass
def spoken():
    """It speaks."""
def _private(): pass
@dataclasses.dataclass
class Bare:
    x: int
class Pair(typing.NamedTuple):
    y: int
class Told:
    """It speaks."""
    def mute(self): pass
    @property
    def value(self): return 1
'''
    exec(source, vars(module))
    assert api_reference.undocumented(module) == [
        "made_up.silent",
        "made_up.Bare",
        "made_up.Pair",
        "made_up.Told.mute",
        "made_up.Told.value",
    ]
    assert api_reference.undocumented(types.ModuleType("quiet")) == ["quiet"]


def test_fields_have_their_comments_and_defaults():
    import fields

    from jtrack.types import Frame

    said = dict(fields.fields(Frame))
    assert said["size"] == "[2] int32: height and width of the valid part."
    assert list(said) == list(Frame._fields)


def test_a_docstring_becomes_restructured_text():
    import fields

    text = """It does `this`s and a*b.

    code = 1  # `kept`

Two:
  * one | two
    goes on
Args:
  x: *stars."""
    assert fields.restructured(text.split("\n")) == [
        "It does ``this``\\ s and a\\*b.",
        "",
        "::",
        "",
        "    code = 1  # `kept`",
        "",
        "Two:",
        "",
        "* one \\| two",
        "  goes on",
        "",
        "Args:",
        "  x: \\*stars.",
    ]
