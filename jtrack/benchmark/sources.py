"""Results of any origin: runs of jtrack's own and published ones."""

from pathlib import Path

from jtrack.benchmark import ledger, published, results
from jtrack.benchmark.results import Results
from jtrack.errors import JtrackError


def open_results(path: str | Path) -> list[Results]:
    """Reads results, whoever made them.

    Args:
      path: the folder of a run of `jtrack eval`, or a results folder with several; a run in a file
        (`jtrack.benchmark.ledger`); or a file or folder of published results, as
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
        own = path.is_dir() and any(map(results.is_run, [path, *path.iterdir()]))
        return results.load(path) if own else published.read(path)
    except OSError as error:
        raise JtrackError(f"cannot read results {path}: {error.strerror or error}") from error
