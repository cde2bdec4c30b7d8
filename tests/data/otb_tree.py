"""A sequence as OTB's folders have it, made of a clip."""

from pathlib import Path

import cv2

from jtrack.data import Sequence, otb


def write(root: Path, name: str, clip: Sequence) -> Path:
    """Writes ROOT/NAME/img/0001.jpg ... and ROOT/NAME/groundtruth_rect.txt; returns ROOT/NAME."""
    images = root / name / "img"
    images.mkdir(parents=True)
    for index, image in enumerate(clip.frames, start=1):
        cv2.imwrite(str(images / f"{index:04d}.jpg"), image[:, :, ::-1])
    otb.write_boxes(images.parent / "groundtruth_rect.txt", clip.boxes)
    return images.parent
