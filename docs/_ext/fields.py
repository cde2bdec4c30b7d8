"""Docstrings as the site shows them: code blocks are code, and the fields of a class have their comments.

jtrack writes shape, unit and meaning of a field beside it, as a comment; the reference prints them.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Comes before napoleon, which reads the sections `Args:` and `Attributes:`."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}


def _process(_app: Sphinx, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)
    if what == "class" and (found := list(fields(obj))):
        lines += ["", "Attributes:", *(f"  {name}: {said}" for name, said in found), ""]


def _skip(_app: Sphinx, _what: str, _name: str, obj: Any, skip: bool, _options: Any) -> bool | None:
    # A field of a NamedTuple says "Alias for field number 0".
    return True if type(obj).__name__ == "_tuplegetter" else skip or None


SECTIONS = re.compile(r"(Args|Attributes|Examples?|Raises|Returns|Yields):$")
BULLET = re.compile(r"( *)\* ")


def restructured(lines: list[str]) -> list[str]:
    """A docstring of plain text as reStructuredText.

    What is indented by four after a blank line is a literal block; a list stands between blank lines, at the
    margin; between single backticks there is code, as in Markdown; all else is as it stands.
    """
    found: list[str] = []
    prose: list[str] = []
    inside = False  # a literal block
    for number, line in enumerate(lines):
        if line.strip():
            after_blank = line.startswith("    ") and number > 0 and not lines[number - 1].strip()
            begins = after_blank and not inside and not _indented(lines[:number])
            if begins:
                prose += ["::", ""]
            inside = line.startswith("    ") and (begins or inside)
        if inside:
            found += [*_marked(_spaced(prose)), line]
            prose = []
        else:
            prose.append(line)
    return found + _marked(_spaced(prose))


def _indented(before: list[str]) -> bool:
    """Whether the text goes on in a section or a list, where an indent means another thing."""
    return next((line.startswith(" ") for line in reversed(before) if line.strip()), False)


def _spaced(prose: list[str]) -> list[str]:
    """Lines with blank ones around lists, and lists of the whole text at the margin."""
    found: list[str] = []
    margin: int | None = None  # of the list that is open
    by = 0  # how far it moves to the left
    for line in prose:
        indent = len(line) - len(line.lstrip())
        bullet = BULLET.match(line)
        if margin is None and bullet:
            before = found[-1] if found else ""
            margin = indent
            by = 0 if before.startswith(" ") or SECTIONS.match(before) else indent
            found += [""] if before.strip() else []
        elif margin is not None and line.strip() and indent <= margin and not bullet:
            margin = None
            found += [""] if found[-1].strip() else []
        found.append(line[by:] if margin is not None else line)
    return found


def _marked(prose: list[str]) -> list[str]:
    """Lines of prose with their code marked, and signs that would be marks escaped."""
    if not prose:
        return []
    parts = re.split(r"(`[^`]+`)", "\n".join(prose))
    for number in range(1, len(parts), 2):
        left = "" if re.search(r"(^|[\s'\"(\[{<:/-])$", parts[number - 1]) else "\\ "
        right = "" if re.match(r"$|[\s'\")\]}>/:.,;!?-]", parts[number + 1]) else "\\ "
        parts[number] = f"{left}`{parts[number]}`{right}"
    for number in range(0, len(parts), 2):
        # A star that is neither a bullet nor one of two, a bar, and an underscore that ends a word.
        signs = r"(?<!\*)(?<!^)(?<!^ )(?<!^  )(?<!^    )\*(?!\*)|\||(?<=\w)_(?!\w)"
        parts[number] = re.sub(signs, r"\\\g<0>", parts[number], flags=re.MULTILINE)
    return "".join(parts).split("\n")


def fields(owner: type) -> Iterator[tuple[str, str]]:
    """The fields of a NamedTuple or dataclass that have a comment, and what it says, in reStructuredText."""
    if not (hasattr(owner, "_fields") or hasattr(owner, "__dataclass_fields__")):
        return
    try:
        text = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):
        return
    lines = text.splitlines()
    for node in ast.parse(text).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = node.lineno - 1
            while lines[above - 1].strip().startswith("#"):
                above -= 1
            comments = [line.strip() for line in lines[above : node.lineno - 1]]
            comments += re.findall(r"\s(#\s.*)$", (lines[(node.end_lineno or node.lineno) - 1]))
            said = " ".join(comment.lstrip("# ").strip() for comment in comments)
            default = f" Default ``{ast.unparse(node.value)}``." if node.value else ""
            if said:
                yield node.target.id, " ".join(_marked([said])).rstrip(".") + "." + default
