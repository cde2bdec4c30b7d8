"""The one error a user meets: a sentence that says what, where, what was found and what to do."""

import difflib
from collections.abc import Iterable

LONGEST_LIST = 24  # names


class JtrackError(ValueError):
    """A wrong input, refused at the edge. The command line prints it as one line and exits with 2."""


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
