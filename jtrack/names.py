"""Names that users give: of trackers, profiles, networks, protocols and kinds of datasets."""

import unicodedata
from collections.abc import Iterable

from jtrack.errors import JtrackError, unknown_name


def match(kind: str, name: str, known: Iterable[str]) -> str:
    """Finds the known name that a user means.

    Upper and lower case are the same, and so are `-` and `_`: `CNN-SVM` means `cnn_svm`.

    Args:
      kind: what the name names, as an error should say it (`"tracker"`, `"profile of hcft"`).
      name: the name as the user wrote it.
      known: the names there are; no two of them differ by case or `-` alone.

    Returns:
      The name as it is known, which results are labelled with.

    Raises:
      JtrackError: none of the known names is meant.

    Example:
      >>> match("tracker", "CNN-SVM", ["hcft", "cnn_svm"])
      'cnn_svm'
    """
    choices = list(known)
    if not isinstance(name, str):
        raise JtrackError(f"a {kind} is given by its name, not as {name!r:.60}: known: {', '.join(choices)}")
    by_form = {_form(choice): choice for choice in choices}
    found = by_form.get(_form(name))
    if found is None:
        raise unknown_name(kind, name, choices)
    return found


def composed(name: str) -> str:
    """A name in the one Unicode form (NFC) that names are compared in: a Mac writes `é` as two characters."""
    return unicodedata.normalize("NFC", name)


def _form(name: str) -> str:
    return composed(name.casefold()).replace("-", "_")
