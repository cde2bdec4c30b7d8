"""The API reference by reflection: a page names a package, and has everything public in it.

`<!-- reference: jtrack.vision -->` stands for the modules of a package, `<!-- profiles: hcft -->` and
`<!-- settings: hcft -->` for a tracker's, `<!-- front -->` for what `dir(jtrack)` shows, `<!-- commands -->`
for the help of every command. A public symbol without a docstring, and a module that no page has, are
warnings, so that `make docs` fails.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import typer
from sphinx.application import Sphinx
from sphinx.util import logging
from typer.testing import CliRunner

import jtrack
from jtrack import cli, settings, trackers

_LOG = logging.getLogger(__name__)
# A line of its own: a sentence may speak of one.
MARK = re.compile(r"^<!-- (front|reference|profiles|settings|commands)(?:: ([\w.]+))? -->$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Fills pages in as they are read, and looks at the whole package before and after."""
    app.connect("builder-inited", _look)
    app.connect("source-read", _fill)
    app.connect("env-check-consistency", _compare)
    app.connect("autodoc-process-docstring", _keep_colon, priority=100)  # before napoleon
    return {"parallel_read_safe": False}


def modules(package: str) -> list[str]:
    """The names of a package and of all public modules in it; of a module, its own."""
    found = importlib.import_module(package)
    inside = pkgutil.walk_packages(getattr(found, "__path__", ()), f"{package}.")
    return [package, *sorted(each.name for each in inside if "._" not in each.name)]


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a module defines, and the methods of the classes, by dotted name."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield name, value
            for inner, method in vars(value).items():
                if not inner.startswith("_") and isinstance(
                    method, property | staticmethod | classmethod | type(public)
                ):
                    yield f"{name}.{inner}", method
        elif callable(value) and hasattr(value, "__name__"):
            yield name, value


def undocumented(module: ModuleType) -> list[str]:
    """The public names of a module that say nothing of themselves; the module, if it does not."""
    silent = [] if module.__doc__ else [module.__name__]
    for name, value in public(module):
        text = getattr(value, "__doc__", None)
        # A NamedTuple and a dataclass without a docstring are given their signature as one.
        if not text or text.startswith(f"{name}("):
            silent.append(f"{module.__name__}.{name}")
    return silent


def _look(_app: Sphinx) -> None:
    for name in modules("jtrack"):
        for silent in undocumented(importlib.import_module(name)):
            _LOG.warning("%s is public and has no docstring", silent)


def _keep_colon(_app: Sphinx, what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """A property's first sentence stays one: napoleon takes what stands before a colon for a type."""
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", "; ")


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda found: WRITERS[found[1]](*filter(None, [found[2]])), source[0])


def _compare(_app: Sphinx, env: Any) -> None:
    shown = set()
    for page in env.found_docs:
        text = env.doc2path(page).read_text("utf-8")
        for kind, package in MARK.findall(text):
            shown |= set(modules(package)) if kind == "reference" else set()
    for name in sorted(set(modules("jtrack")) - shown - set(modules("jtrack.cli")) - {"jtrack"}):
        _LOG.warning("no page has the module %s: docs/api has a page for each package", name)


def reference(package: str) -> str:
    """A section a module, with what it defines: a name that it only passes on is where it comes from."""
    sections = [
        f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :ignore-module-all:\n```\n"
        for name in modules(package)
    ]
    return "\n".join(sections)


def front() -> str:
    """A table of what `dir(jtrack)` shows, with links to where it is documented."""
    known = {name: value for module in modules("jtrack") for name, value in _named(module)}
    rows = []
    for name in jtrack.__all__:
        value = getattr(jtrack, name)
        said = (inspect.getdoc(value) or "").partition("\n")[0].partition(". ")[0].rstrip(".")
        if inspect.ismodule(value):
            link = f"{{py:mod}}`{name} <{value.__name__}>`"
        elif known.get(f"{value.__module__}.{name}") is value:
            link = f"{{py:obj}}`{name} <{value.__module__}.{name}>`"
        else:  # another name of another package's class, of which a comment says what it holds
            link, said = f"`{name}`", _comment(name)
        rows.append(f"| {link} | {said} |")
    return "\n".join(["| Name | What it is |", "| --- | --- |", *rows])


def _named(module: str) -> Iterator[tuple[str, Any]]:
    for name, value in public(importlib.import_module(module)):
        yield f"{module}.{name}", value


def _comment(name: str) -> str:
    """The comment beside a name of `jtrack.types`."""
    found = re.search(rf"^{name} = .*?# (.*)$", inspect.getsource(jtrack.types), re.MULTILINE)
    return found[1] if found else ""


def profiles(tracker: str) -> str:
    """A table of a tracker's profiles: the first lines of their docstrings."""
    rows = [f"| `{name}` | {said} |" for name, said in trackers.describe_profiles(tracker).items()]
    return "\n".join(["| Profile | What it is |", "| --- | --- |", *rows])


def hyper_parameters(tracker: str) -> str:
    """A table of what `--set` can change in a tracker's `default`."""
    network = next(name for name in ("googlenet", "none") if name in trackers.networks(tracker))
    found = settings.describe(trackers.profile(tracker, "default", network))
    rows = [f"| `{name}` | `{value}` | {said} |" for name, (value, said) in found.items()]
    return "\n".join(["| Setting | In `default` | What it takes |", "| --- | --- | --- |", *rows])


def commands() -> str:
    """The help of every command, as a terminal of 78 columns shows it."""
    sections = []
    for name, said in cli.COMMANDS.items():
        helps = [_help(name)]
        helps += [_help(name, inner) for inner in _inner(name)]
        blocks = "\n".join(f"```text\n{text}\n```\n" for text in helps)
        sections.append(f"## `jtrack {name}`\n\n{said}\n\n{blocks}")
    return "\n".join(sections)


def _inner(name: str) -> list[str]:
    """The commands of a command."""
    file = importlib.import_module(f"jtrack.cli.{cli.FILES.get(name, name)}")
    return list(getattr(typer.main.get_command(file.app), "commands", ()))


def _help(*command: str) -> str:
    result = CliRunner().invoke(
        cli.app, [*command, "--help"], prog_name="jtrack", env={"COLUMNS": "78", "TERMINAL_WIDTH": "78"}
    )
    return "\n".join(line.rstrip() for line in result.output.splitlines()).strip()


WRITERS = {
    "front": front,
    "reference": reference,
    "profiles": profiles,
    "settings": hyper_parameters,
    "commands": commands,
}
