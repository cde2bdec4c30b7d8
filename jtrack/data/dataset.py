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
from jtrack.errors import LONGEST_LIST, JtrackError, unknown_name
from jtrack.names import composed, match

# kind -> module of jtrack.data
KINDS = {
    "otb": "otb",
    "vot": "vot_challenge",
    "got": "got10k",
    "folder": "annotated",
    "tfds": "tfds",
    "synthetic": "synthetic",
}


@dataclass(frozen=True)
class Dataset:
    """Named sequences; nothing is read before it is asked for."""

    kind: str  # one of KINDS
    root: Path
    subset: str | None  # the benchmark's list the names are of ("cvpr13"); None for all there are
    names: tuple[str, ...]
    annotation: Callable[[str], Annotation]  # reads no image, but VOT's first one for its size
    sequence: Callable[[str], Sequence]
    missing: frozenset[str] = frozenset()  # names on the list that are not under `root`

    def __repr__(self) -> str:
        parts = [f"{len(self.names)} sequences"]
        parts += [f"list {self.subset!r}"] if self.subset else []
        parts += [f"{len(self.missing)} of the list missing"] if self.missing else []
        parts += [f"in {str(self.root)!r}"] if self.kind != "synthetic" else []
        return f"Dataset({self.kind!r}, {', '.join(parts)})"


def open_dataset(
    kind: str,
    root: str | Path | None = None,
    *,
    subset: str | None = None,
    sequences: Iterable[str] | None = None,
) -> Dataset:
    """Opens a dataset.

    Args:
      kind: one of `KINDS`.
      root: its folder; for "folder" also a single video with its boxes; not needed for "synthetic".
      subset: one of the benchmark's lists ("cvpr13"), splits ("val") or folders ("vot2015"); None for every
        sequence under `root`.
      sequences: names of the sequences wanted, in the order they shall be in; None for all.

    Returns:
      The dataset. Its two functions refuse names that are not in `names`.

    Raises:
      JtrackError: an unknown kind, subset or sequence; a folder that is missing, holds no sequence, or lacks
        a sequence that is wanted.
    """
    kind = match("kind of dataset", kind, KINDS)
    if root is None and kind != "synthetic":
        raise JtrackError(f"a dataset of kind {kind!r} needs its folder as root")
    root = Path() if root is None else Path(root).expanduser()
    if not root.is_dir() and not (kind == "folder" and root.is_file()):
        raise JtrackError(f"there is no folder {root} to open as a dataset")
    dataset: Dataset = import_module(f"jtrack.data.{KINDS[kind]}").dataset(root, subset)
    names = dataset.names if sequences is None else tuple(dict.fromkeys(sequences))
    names = tuple(_known(dataset, name) for name in names)
    if not names:
        raise JtrackError(f"no sequence of {root} is wanted: name at least one")
    if missing := [name for name in names if name in dataset.missing]:
        some = ", ".join(missing[:LONGEST_LIST]) + (", ..." if len(missing) > LONGEST_LIST else "")
        raise JtrackError(
            f"{root} lacks {len(missing)} of the {len(names)} sequences wanted of {subset or 'its list'}: "
            f"{some}: get them, or name the sequences that are there (--sequences)"
        )
    chosen = replace(dataset, names=names)
    return replace(
        chosen,
        annotation=lambda name: dataset.annotation(_known(chosen, name)),
        sequence=lambda name: dataset.sequence(_known(chosen, name)),
    )


def _known(dataset: Dataset, name: str) -> str:
    if name not in dataset.names:
        if same := [known for known in dataset.names if composed(known) == composed(name)]:
            return same[0]
        where = "the made-up clips" if dataset.kind == "synthetic" else dataset.root
        raise unknown_name(f"sequence of {where}", name, dataset.names)
    return name
