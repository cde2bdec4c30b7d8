"""Results of any origin: runs of jtrack's own and published ones."""

import warnings
from pathlib import Path

from jtrack.benchmark import ledger, published, results
from jtrack.benchmark.results import Results
from jtrack.errors import JtrackError, printable
from jtrack.untrusted import listed, warn_left_out

FEW = 5  # names in a warning


def open_results(path: str | Path) -> list[Results]:
    """Reads results, whoever made them.

    Args:
      path: the folder of a run of `jtrack eval`, or a results folder with several; a run in a file
        (`jtrack.benchmark.ledger`), or a folder of such; or a file or folder of published results, as
        `jtrack.benchmark.published` describes them.

    Returns:
      One `Results` a tracker (in one configuration) and protocol.

    Raises:
      JtrackError: if there are none, or they are damaged or of a newer version of jtrack.
    """
    path = Path(path)
    if path.name.endswith(ledger.SUFFIX) and path.is_file():
        return ledger.read(path)
    try:
        folders = [child for child in listed(path) if child.is_dir()] if path.is_dir() else []
        kept = listed(path, "*" + ledger.SUFFIX) if path.is_dir() else []
        if kept:
            return _ledger(path, kept)
        runs = [folder for folder in (path, *folders) if results.is_run(folder)]
        if not runs:
            return published.read(path)
        if path not in runs and (others := [folder.name for folder in folders if folder not in runs]):
            few = ", ".join(map(printable, others[:FEW])) + ", ..." * (len(others) > FEW)
            why = "no run of jtrack, give it alone"
            warnings.warn(f"left out of {printable(path)}: {few}: {why}", stacklevel=2)
        return results.load(path)
    except OSError as error:
        raise JtrackError(f"cannot read results {path}: {error.strerror or error}") from error


def _ledger(folder: Path, files: list[Path]) -> list[Results]:
    """The runs of a ledger. A file that cannot be read costs its own run, and a warning says so."""
    found, refused = list[Results](), list[JtrackError]()
    for file in files:
        try:
            found.extend(ledger.read(file))
        except JtrackError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    warn_left_out(refused, folder)
    return found
