"""Makes docs/trackers.gif: the five trackers on jtrack's own clip, which README begins with.

python bench/moving_picture.py --backbone alexnet_torchvision

Needs Pillow (the extra `masks`).
"""

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import jtrack
from jtrack import draw, trackers
from jtrack.data import Sequence, synthetic

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("hcft", "fcnt", "cnn_svm", "deeptrack", "gdt")
SCALE = 1.5  # pixels of the picture to one of the clip: 480 x 360
EVERY = 4  # frames of the clip to one of the picture
PAUSE = 160  # milliseconds that it shows
TONES = 32  # colours of a picture beside those of the boxes


def main() -> None:
    """Tracks, draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", help="the network; the best installed by default")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "trackers.gif")
    chosen = parser.parse_args()
    clip = synthetic.clip(frames=chosen.frames)
    tracks = {}
    for name in NAMES:
        network = None if trackers.find(name).own_network else chosen.backbone
        bound = trackers.create(name, backbone=network)
        tracks[name] = jtrack.track(clip, clip.boxes[0], tracker=bound)
        print(f"{name} on {bound.backbone.name}: {tracks[name]}")
    first, *rest = pictures(clip, {name: track.boxes for name, track in tracks.items()})
    first.save(chosen.out, save_all=True, append_images=rest, duration=PAUSE, loop=0)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1e6:.1f} MB")


def pictures(clip: Sequence, tracked: dict[str, np.ndarray]) -> list[Image.Image]:
    """Every fourth frame with the boxes [T, 4] of all trackers, in few colours."""
    key = dict(zip(tracked, draw.COLOURS, strict=False)) | {"ground truth": draw.WHITE}
    found = []
    for index, image in enumerate(clip.frames):
        if index % EVERY:
            continue
        large = cv2.resize(image, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
        boxes = np.stack([each[index] for each in tracked.values()]) * SCALE
        truth = clip.boxes[index : index + 1] * SCALE
        drawn = draw.annotate(large, boxes, truth=truth, key=key, numbered=False)
        colours = palette(large, key.values())
        found.append(Image.fromarray(drawn).quantize(palette=colours, dither=Image.Dither.NONE))
    return found


def palette(image: np.ndarray, colours: Iterable[Collection[int]]) -> Image.Image:
    """What an image has, and the colours of boxes exactly."""
    own = Image.fromarray(image).quantize(TONES).getpalette()
    assert own is not None
    found = Image.new("P", (1, 1))
    found.putpalette([*own[: 3 * TONES], *(part for colour in (*colours, draw.DARK) for part in colour)])
    return found


if __name__ == "__main__":
    main()
