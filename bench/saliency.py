"""Makes the picture of a saliency map that README.md shows: an image with its box, the map, and the mask.

    python bench/saliency.py docs/saliency.jpg [--image FILE --box X,Y,W,H] [--backbone googlenet]

Without an image it is a frame of the synthetic clip.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import jtrack
from jtrack import draw
from jtrack.data import synthetic
from jtrack.run import segmentation

HEIGHT = 300  # pixels of the picture


def picture(image: np.ndarray, box: np.ndarray, backbone: str | None) -> np.ndarray:
    """Three panels side by side, uint8 [H, W, 3] RGB."""
    found = jtrack.saliency(image, box, backbone=backbone)
    level = np.clip(255 * found / max(float(found.max()), 1e-12), 0, 255).astype(np.uint8)
    heat = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[:, :, ::-1]
    mixed = (0.25 * image + 0.75 * heat).astype(np.uint8)
    mask = segmentation.segment(image, box, found)
    panels = [draw.annotate(image, box[None]), mixed, draw.tint(image, [mask])]
    width = round(HEIGHT * image.shape[1] / image.shape[0])
    return np.hstack([cv2.resize(panel, (width, HEIGHT), interpolation=cv2.INTER_AREA) for panel in panels])


def main() -> None:
    """Reads the command line and writes the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--image", type=Path, help="any image, with --box")
    parser.add_argument("--box", help="X,Y,W,H of the object in it")
    parser.add_argument("--backbone", help="network; googlenet where its weights are found, else hog")
    options = parser.parse_args()
    if bool(options.image) != bool(options.box):
        parser.error("--image and --box belong together")
    if options.image:
        stored = cv2.imread(str(options.image))
        if stored is None:
            parser.error(f"{options.image} is not a readable image")
        image, box = stored[:, :, ::-1], np.array([float(value) for value in options.box.split(",")])
    else:
        clip = synthetic.clip(size=(360, 480))
        image, box = next(iter(clip.frames)), clip.boxes[0]
    made = picture(np.ascontiguousarray(image), box, options.backbone)
    cv2.imwrite(str(options.picture), made[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(f"wrote {options.picture}, {made.shape[1]} x {made.shape[0]}")


if __name__ == "__main__":
    main()
