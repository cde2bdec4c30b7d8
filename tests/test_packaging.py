"""What is packed and what is said about it: licence, version, citation, hooks."""

import hashlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml

import jtrack
from tests.conftest import ROOT

# Of the text that the Apache Software Foundation publishes.
APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The wheel and the source distribution, opened."""
    out = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "hatchling", "build", "--directory", str(out)]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = out.glob(f"jtrack_jax-{jtrack.__version__}-py3-none-any.whl")
    (source,) = out.glob(f"jtrack_jax-{jtrack.__version__}.tar.gz")
    with zipfile.ZipFile(wheel) as files, tarfile.open(source) as sources:
        yield files, sources


def test_the_licence_is_the_published_text_and_packed(packed):
    wheel, source = packed
    name = f"jtrack_jax-{jtrack.__version__}"
    texts = [
        (ROOT / "LICENSE").read_bytes(),
        wheel.read(f"{name}.dist-info/licenses/LICENSE"),
        source.extractfile(f"{name}/LICENSE").read(),
    ]
    assert [hashlib.sha256(text).hexdigest() for text in texts] == [APACHE] * 3


def test_name_and_version_come_from_one_place(packed):
    wheel, source = packed
    name = f"jtrack_jax-{jtrack.__version__}"
    metadata = wheel.read(f"{name}.dist-info/METADATA").decode().splitlines()
    assert {"Name: jtrack-jax", f"Version: {jtrack.__version__}", "License-Expression: Apache-2.0"} <= set(
        metadata
    )
    assert "version" not in PROJECT and "version" in PROJECT["dynamic"]
    assert "jtrack = jtrack.cli:main" in wheel.read(f"{name}.dist-info/entry_points.txt").decode()
    for text in ("CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"):
        assert source.extractfile(f"{name}/{text}").read() == (ROOT / text).read_bytes()


def test_the_citation_names_the_papers_that_readme_links():
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert said["cff-version"] == "1.2.0" and said["license"] == PROJECT["license"]
    assert {"authors", "message", "title"} <= set(said)
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert [paper["notes"] for paper in said["references"]] == ["HCFT", "FCNT", "CNN-SVM", "DeepTrack", "GDT"]
    for paper in said["references"]:
        assert f"*{paper['title']}*" in readme
        assert ", ".join(author["family-names"] for author in paper["authors"]) + ":" in readme
        link = f"https://doi.org/{paper['doi']}" if "doi" in paper else paper["url"]
        assert f"({link})" in readme and isinstance(paper["year"], int)


def test_the_hooks_are_what_make_lint_runs_and_need_no_network():
    said = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in said["repos"]] == ["local"]
    hooks = {hook["id"]: hook for hook in said["repos"][0]["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)[1]
    for words in ("ruff check", "ruff format", "mypy"):
        assert words in lint and any(hook["entry"].startswith(words) for hook in hooks.values())


def test_the_changelog_has_this_version():
    text, number = (ROOT / "CHANGELOG.md").read_text("utf-8"), re.escape(jtrack.__version__)
    coming = rf"## \[Unreleased\]\n\nTo be {number},"
    assert re.search(rf"^({coming}|## \[{number}\] - \d{{4}}-\d\d-\d\d$)", text, flags=re.M)
