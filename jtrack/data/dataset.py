"""A dataset: named sequences under one root folder, in the layout of a benchmark.

    dataset = jtrack.data.open_dataset("otb", "data/otb", subset="cvpr13")
    for name in dataset.names:
        sequence = dataset.sequence(name)

Each layout is a file of this package with a function `dataset(root, subset)`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from jtrack.data.sequence import Annotation, Sequence
from jtrack.errors import JtrackError, unknown_name

# kind -> module of jtrack.data
KINDS = {"otb": "otb", "vot": "vot"}


@dataclass(frozen=True)
class Dataset:
    """Named sequences; nothing is read before it is asked for."""

    kind: str  # one of KINDS
    root: Path
    subset: str | None  # the benchmark's list the names are of ("cvpr13"); None for all there are
    names: tuple[str, ...]
    annotation: Callable[[str], Annotation]  # reads no image
    sequence: Callable[[str], Sequence]


def open_dataset(
    kind: str, root: str | Path, *, subset: str | None = None, sequences: Iterable[str] | None = None
) -> Dataset:
    """Opens a dataset.

    Args:
      kind: one of `KINDS`.
      root: its folder.
      subset: one of the benchmark's lists; None for every sequence under `root`.
      sequences: names of the sequences wanted, in the order they shall be in; None for all.

    Raises:
      JtrackError: an unknown kind, subset or sequence; a folder that is missing or holds no sequence.
    """
    if kind not in KINDS:
        raise unknown_name("kind of dataset", kind, KINDS)
    root = Path(root)
    if not root.is_dir():
        raise JtrackError(f"there is no folder {root} to open as a dataset")
    dataset: Dataset = import_module(f"jtrack.data.{KINDS[kind]}").dataset(root, subset)
    if sequences is None:
        return dataset
    wanted = tuple(dict.fromkeys(sequences))
    for name in wanted:
        if name not in dataset.names:
            raise unknown_name(f"sequence of {root}", name, dataset.names)
    return replace(dataset, names=wanted)
