"""What golden boxes are of: every profile of every tracker, on a network that costs nothing.

    python bench/golden_rows.py OUT.json [--real DATA/otb/Crossing] [--tracker NAME] [--profile NAME]

tracks the clip with each and writes boxes, scores and flags, to the bit: `bench/golden.py` runs it in a
process of its own for each commit. Therefore it asks nothing of jtrack but what is public (names,
`trackers.create`, `jtrack.track`).
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

import jtrack
from jtrack import trackers

# Long trainings cut short, and learning within the few frames of a clip: fields of a tracker's config, or of
# a part of it. What is smaller already stays. "new|old" is a field that was renamed, so that commits from
# before and after can be compared; "part.field" is left out where a config has no such part.
REDUCED: dict[str, dict[str, int]] = {
    "deeptrack": {"candidates": 100, "first_budget": 20, "budget": 1, "batch": 32},
    "fcnt": {"input_size": 96, "hidden": 4, "selection_iterations": 5, "interval": 4},
    "cnn_svm": {"candidates": 40, "first_samples": 24, "samples": 24, "budget": 48}
    | {"saliency.back_projected": 8, "saliency.grid": 96, "saliency.template": 24, "saliency.filters": 5},
    "gdt": {"hidden": 32, "units": 24, "candidates": 60, "first_iterations": 40, "batch": 32}
    | {"rotated_positives|turned_positives": 10},
}
# HCFT's ablations leave layers out, of which HOG has one: there they equal `release2016`.
ON_HOG = {"hcft": ("default", "paper", "release2016", "release2018")}
# A network in training jumps where a ReLU or a maximum turns over. With some seeds DeepTrack's `paper` comes
# so near to such a place that the last bit decides; with this one no row does.
SEED = 3
REAL_FRAMES = 12


class Row(NamedTuple):
    """A tracker, one of its profiles, and a network."""

    tracker: str
    profile: str
    backbone: str


def rows() -> list[Row]:
    """Every profile of every tracker on `tiny`, or on `none` where a tracker learns its own network."""
    table = []
    for name in trackers.names():
        backbone = _backbone(name, "tiny")
        table += [Row(name, profile, backbone) for profile in trackers.profiles(name)]
        table += [Row(name, profile, "hog") for profile in ON_HOG.get(name, ())]
    return table


def real_rows() -> list[Row]:
    """Each tracker's `default` on GoogLeNet."""
    return [Row(name, "default", _backbone(name, "googlenet")) for name in trackers.names()]


def _backbone(tracker: str, otherwise: str) -> str:
    return "none" if trackers.default_backbone(tracker) == "none" else otherwise


def create(row: Row) -> Any:
    """The tracker of a row, as it is."""
    return trackers.create(row.tracker, profile=row.profile, backbone=row.backbone)


def create_reduced(row: Row) -> Any:
    """The tracker of a row, its trainings cut short."""
    bound = create(row)
    if trained := bound.label().get("trained"):
        raise SystemExit(
            f"{' '.join(row)} begins with the trained weights {trained!r}, but golden boxes are of a random "
            f"head: move {trained}.safetensors out of the weights folders (`jtrack weights list` says where)"
        )
    return bound._replace(config=reduced(bound.config, REDUCED.get(row.tracker, {})))


def reduced(config: Any, changes: dict[str, int]) -> Any:
    """A config with fields changed, whether they are its own or a part's.

    Raises:
      SystemExit: neither the config nor a part of it has one of the fields.
    """
    left = {key: value for key, value in changes.items() if not _part_left_out(config, key)}
    config = _changed(config, left)
    if left:
        raise SystemExit(f"no field {min(left)} in {config}: add its new name to REDUCED in {__file__}")
    return config


def _part_left_out(config: Any, key: str) -> bool:
    """Whether a "part.field" names a part that the config could have but has not."""
    parts = (name.rpartition(".")[0] for name in key.split("|"))
    fields = _fields(config)
    return any(part in fields and fields[part] is None for part in parts)


def _changed(part: Any, left: dict[str, int]) -> Any:
    """A dataclass or named tuple with the fields changed that it or a part of it has; takes them from `left`.

    Those of one part change together: a config refuses some of them alone.
    """
    fields = _fields(part)
    changes: dict[str, Any] = {}
    for key in list(left):
        names = [name.rpartition(".")[2] for name in key.split("|")]
        if own := next((name for name in names if name in fields), None):
            changes[own] = min(fields[own], left.pop(key))
    for field, inner in fields.items():
        if field not in changes and (changed := _changed(inner, left)) is not inner:
            changes[field] = changed
    return _replace(part, changes) if changes else part


def _fields(part: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(part):
        return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return part._asdict() if hasattr(part, "_asdict") else {}


def _replace(part: Any, changes: dict[str, Any]) -> Any:
    return (
        dataclasses.replace(part, **changes) if dataclasses.is_dataclass(part) else part._replace(**changes)
    )


def record(bound: Any, frames: np.ndarray, box: np.ndarray) -> dict[str, Any]:
    """Tracks a clip; its boxes, scores and lost flags as lists, to the bit.

    Args:
      bound: the tracker.
      frames: uint8 [T, H, W, 3].
      box: [4] x, y, w, h in the first frame.

    Returns:
      {"boxes": [T][4], "scores": [T], "lost": [T] of 0 and 1}.
    """
    track = jtrack.track(frames, box, tracker=bound, seed=SEED)
    return {
        "boxes": track.boxes.tolist(),
        "scores": track.scores.tolist(),
        "lost": track.lost.astype(int).tolist(),
    }


def real_clip(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first frames of a sequence in OTB's layout, and the box in the first.

    Raises:
      SystemExit: the folder holds no such sequence.
    """
    images = sorted((folder / "img").glob("*.jpg"))[:REAL_FRAMES]
    if not images:
        raise SystemExit(f"no images {folder}/img/*.jpg: name the folder of the data by JTRACK_DATA")
    frames = np.stack([cv2.imread(str(image))[:, :, ::-1] for image in images])
    first = (folder / "groundtruth_rect.txt").read_text().split("\n")[0].replace(",", " ").split()
    return frames, np.float32(first) - np.float32([1, 1, 0, 0])  # files count pixels from 1


def main() -> None:
    """Reads the command line, tracks and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path, help="a sequence, for each `default` on GoogLeNet as it is")
    parser.add_argument("--tracker")
    parser.add_argument("--profile")
    parser.add_argument("--backwards", action="store_true", help="from the last row to the first")
    options = parser.parse_args()
    if options.real:
        table, make, (frames, box) = real_rows(), create, real_clip(options.real)
    else:
        from golden_clip import clip  # beside this file, whatever commit jtrack is of

        table, make, (frames, box) = rows(), create_reduced, clip()
    table = [row for row in table if options.tracker in (None, row.tracker)]
    table = [row for row in table if options.profile in (None, row.profile)]
    if not table:
        raise SystemExit(f"no row of tracker {options.tracker} and profile {options.profile}")
    found = {}
    for row in reversed(table) if options.backwards else table:
        print(" ".join(row), file=sys.stderr, flush=True)
        try:
            found[" ".join(row)] = record(make(row), frames, box)
        except Exception as error:
            found[" ".join(row)] = {"error": f"{type(error).__name__}: {error}"}
    options.out.write_text(json.dumps({"jtrack": jtrack.__file__, "rows": found}))


if __name__ == "__main__":
    main()
