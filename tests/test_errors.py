"""The sentences about an unknown name and about a missing extra."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from jtrack.errors import EXTRAS, missing_extra, unknown_name
from tests.conftest import ROOT


def test_a_short_list_is_shown_whole_with_the_nearest_name():
    message = str(unknown_name("tracker", "hctf", ["hcft", "fcnt"]))
    assert message == "unknown tracker 'hctf': did you mean 'hcft'? known: hcft, fcnt"


def test_of_a_long_list_the_nearest_names_are_shown():
    layers = [f"conv{n}_{k}" for n in range(1, 11) for k in range(1, 11)]
    message = str(unknown_name("layer of net", "conv5-4", layers))
    assert "did you mean 'conv5_4'" in message
    assert "conv1_1, ..., conv10_10" in message
    assert len(message) < 200


def test_nothing_near():
    assert "did you mean" not in str(unknown_name("tracker", "zzz", ["hcft"]))


def test_a_missing_extra_names_packages_and_commands_quoted_for_zsh():
    error = ModuleNotFoundError("No module named 'plotly'")
    assert str(missing_extra("a report", "report", error)) == (
        "a report needs matplotlib, jinja2 and plotly, which cannot all be imported (No module named "
        "'plotly'): run `python -m pip install -e '.[report]'` in jtrack's checkout, or `python -m pip "
        "install matplotlib jinja2 plotly`"
    )
    error = ModuleNotFoundError("No module named 'PIL'")
    assert str(missing_extra("reading masks", "masks", error)) == (
        "reading masks needs pillow, which cannot be imported (No module named 'PIL'): run `python -m pip "
        "install -e '.[masks]'` in jtrack's checkout, or `python -m pip install pillow`"
    )


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_has_the_packages_of_pyproject(extra):
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = [
        [Requirement(package).name for package in packages] for packages in (declared[extra], EXTRAS[extra])
    ]
    assert names[0] == names[1]


def handlers(path):
    """Every `except ImportError` of a file, what it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler) and "ImportError" in ast.unparse(node.type or node):
            yield "\n".join(map(ast.unparse, node.body))


def test_every_missing_import_is_said_in_that_sentence():
    """Of the package and of bench: the sentence is built in one place."""
    found = {
        f"{path.relative_to(ROOT)}: {body}": "missing_extra(" in body or "missing_package(" in body
        for path in [*(ROOT / "jtrack").rglob("*.py"), *(ROOT / "bench").glob("*.py")]
        for body in handlers(path)
    }
    assert len(found) >= 9  # keras, mat, masks, report, tfds twice, got, vot, bench
    assert not [where for where, well in found.items() if not well]


def test_nobody_is_sent_to_the_distribution_of_others():
    """What the package index calls `jtrack` is not this project."""
    wrong = re.compile(r"pip install [^\n`]*[\"' ]jtrack(?!-jax)\b(?!')|\bjtrack\[")
    texts = [path for suffix in ("md", "toml", "cff") for path in ROOT.glob(f"*.{suffix}")]
    for folder in ("jtrack", "bench", "docs", "notebooks", "tests", "weights"):
        texts += [path for suffix in ("py", "md", "ipynb") for path in (ROOT / folder).rglob(f"*.{suffix}")]
    texts.remove(Path(__file__))
    assert len(texts) > 200
    assert not [path for path in texts if wrong.search(path.read_text("utf-8"))]
