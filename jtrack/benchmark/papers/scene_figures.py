"""A paper's figures of frames with everybody's boxes, of the sequences that there are images of.

It needs the extra `report`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from jtrack.benchmark.papers import Paper, Scenes
from jtrack.benchmark.papers.matching import Material, boxes_of
from jtrack.benchmark.report.embedding import data_url
from jtrack.benchmark.report.looks import look
from jtrack.benchmark.view import frame_grid, tracks
from jtrack.benchmark.view.frame_grid import Called
from jtrack.benchmark.view.pictures import jpeg
from jtrack.data import Annotation, Dataset
from jtrack.errors import JtrackError

SEQUENCES = 6  # of a figure whose sequences the paper's text does not name, of those that most runs have


class Shown(NamedTuple):
    """A figure as the page has it."""

    scenes: Scenes
    notes: list[str]  # what of it is the paper's, and what is missing
    address: str | None  # that holds its picture; None for none


def draw(
    paper: Paper, material: Material, images: Dataset | None, folder: Path, looks: dict[str, int]
) -> list[Shown]:
    """Writes the figures that there is something for into a folder, as PNG and PDF.

    Args:
      paper: see `jtrack.benchmark.papers.load`.
      material: with the boxes.
      images: OTB's sequences; those without images count as not there.
      folder: that is there.
      looks: the number of the look of each tracker by its name; new ones are added.
    """
    return [_draw(paper, scenes, material, images, folder, looks) for scenes in paper.scenes]


def _draw(
    paper: Paper,
    scenes: Scenes,
    material: Material,
    images: Dataset | None,
    folder: Path,
    looks: dict[str, int],
) -> Shown:
    called = [
        Called(name, look(looks.setdefault(name, len(looks))), found)
        for name, found in boxes_of(paper, scenes.methods, material)
    ]
    wanted = scenes.sequences or (() if images is None else images.names)
    pictured = [] if images is None else [name for name in wanted if _has_images(images, name)]
    if images is None or not pictured:
        return Shown(scenes, [_no_images(scenes)], None)
    runs = {name: _count(called, images.annotation(name)) for name in pictured}
    there = [name for name, count in runs.items() if count]
    if not there:
        return Shown(scenes, [f"There are images, but nobody's boxes, of {', '.join(pictured)}."], None)
    if not scenes.sequences:
        there = _evenly([name for name in there if runs[name] == max(runs.values())])
    drawn = frame_grid.draw(images, called, dict.fromkeys(there, ()))
    frame_grid.save(drawn.figure, folder, scenes.id)
    image = cv2.imread(str(folder / f"{scenes.id}.png"))
    assert image is not None
    address = data_url(jpeg(image[:, :, ::-1], image.shape[0]), "jpeg")
    return Shown(scenes, [*_origin(scenes, there), *(f"{note}." for note in drawn.notes)], address)


def _no_images(scenes: Scenes) -> str:
    of = f" of {', '.join(scenes.sequences)}" if scenes.sequences else ""
    return f"Images are missing{of}: give --images DIR, a folder of OTB's sequences with their frames."


def _has_images(images: Dataset, name: str) -> bool:
    try:
        images.sequence(name)
    except JtrackError:
        return False
    return True


def _count(called: Sequence[Called], annotation: Annotation) -> int:
    """How many runs have boxes of a sequence."""
    return sum(bool(tracks.fitting(each.results, annotation)[0]) for each in called)


def _evenly(names: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(names) - 1, min(SEQUENCES, len(names)))
    return [names[round(place)] for place in places]


def _origin(scenes: Scenes, there: Sequence[str]) -> list[str]:
    """What of a figure is the paper's own choice."""
    if not scenes.sequences:
        return ["Sequences and frames are chosen evenly: they are not the paper's, whose text names none."]
    said = ["Sequences are the paper's; frames are spread evenly, as its text names none."]
    if lacking := [name for name in scenes.sequences if name not in there]:
        said.append(f"There are no images, or nobody's boxes, of {', '.join(lacking)}.")
    return said
