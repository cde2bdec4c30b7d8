"""The structure that keeps trackers small: parts with narrow signatures, counted."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jtrack
from jtrack import trackers

PACKAGE = Path(jtrack.__file__).parent
ROOT = PACKAGE.parent
TRACKERS = sorted((PACKAGE / "trackers").glob("*.py"))
WHOLE = {"config", "hyper", "numbers", "params", "state"}


def tree_of(path):
    return ast.parse(path.read_text("utf-8"))


def choices():
    """Fields of dataclasses in trackers/ and components/ that are a `bool` or a `Literal`."""
    found = []
    for path in [*TRACKERS, *sorted((PACKAGE / "components").glob("*.py"))]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and any(
                "dataclass" in ast.unparse(d) for d in node.decorator_list
            ):
                fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                found += [
                    f"{path.stem}.{node.name}.{ast.unparse(field.target)}"
                    for field in fields
                    if re.search(r"\bLiteral\b|\bbool\b", ast.unparse(field.annotation))
                ]
    return found


def wide_functions():
    """Private functions of trackers/ that take a whole config, hyper-parameters, state or params."""
    return [
        f"{path.stem}.{node.name}"
        for path in TRACKERS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.endswith("__")
        if WHOLE & {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    ]


def test_trackers_are_short():
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in TRACKERS}
    # 2,700 for the five trackers of the papers, their registry included, and 257 for the filters that they
    # are compared with: a file of three baselines, beside the five.
    assert sum(lines.values()) <= 2700 + 257, lines
    assert max(lines.values()) <= 560, lines


def test_profiles_choose_parts_and_few_switches():
    assert len(choices()) <= 12, choices()


def test_few_functions_take_everything():
    assert len(wide_functions()) <= 25, wide_functions()


def test_no_part_takes_everything():
    wide = [
        f"{path.stem}.{node.name}"
        for path in (PACKAGE / "components").glob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
        if WHOLE & {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    ]
    assert wide == []


def code_of(path):
    """The code of a file: of a notebook, its cells'."""
    if path.suffix != ".ipynb":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("folder", ["tests", "bench", "notebooks"])
def test_nothing_calls_a_private_function_of_a_tracker(folder):
    private = re.compile(rf"\b({'|'.join(trackers.names())})\._[a-z]")
    paths = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".ipynb")]
    assert paths
    assert [path.name for path in paths if private.search(code_of(path))] == []


def test_no_other_code_names_a_tracker():
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path in TRACKERS:
            continue
        tree = tree_of(path)
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docs = {
            ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)
        }
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} - docs
        words = {word for text in texts if isinstance(text, str) for word in re.findall(r"[\w-]+", text)}
        words = {word.lower().replace("-", "_") for word in words}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {part for alias in node.names for part in alias.name.split(".")}
                names |= set((getattr(node, "module", None) or "").split("."))
        if mentioned := set(trackers.names()) & (words | names):
            named[path.relative_to(PACKAGE).as_posix()] = sorted(mentioned)
    assert named == {}


def test_imports_point_one_way():
    """The layers of pyproject.toml: each room imports from those below it alone."""
    check = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports as check; sys.exit(check())",
    ]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_name_stands_for_two_things():
    # `hog` is one thing: the features, and the same as a network.
    seen = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        seen.setdefault(path.name, []).append(path.relative_to(PACKAGE).as_posix())
    twice = {name: paths for name, paths in seen.items() if len(paths) > 1}
    assert twice.keys() <= {"__init__.py", "hog.py"}, twice
