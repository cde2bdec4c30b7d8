"""What GDT's first phase learns: accuracy on images held out, before and after training.

    JTRACK_WEIGHTS=... python bench/objectness.py --backbone googlenet --data scenes:600 --out runs/objectness
    ... --data tfds:voc/2007 --steps 20000          # on an accelerator
    ... --imagenet path/to/imagenet_val             # labelled images get boxes first

Before: a linear classifier (ridge regression) on the feature the head stands on. After: the head alone
trained on the frozen network, and all layers. What is trained stays in --out as entries that
`JTRACK_WEIGHTS` may name; a second call goes on.

Images with labels but without boxes (`images/`, and lines `NAME LABEL` in `labels.txt`) get one box each,
around the largest region where GoogLeNet's class activation map is above a quarter of its maximum (Zhou et
al., CVPR 2016): weak boxes, good enough to learn from, not to be judged by.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import jax
import numpy as np

from jtrack import backbones
from jtrack.data.detection import joined, open_detection
from jtrack.data.folder import read_image
from jtrack.train import objectness
from jtrack.weights import checkpoints as entries
from jtrack.weights import store

SIDE = 256  # of the images that activation maps are made of


def main() -> None:
    """Prints a row a network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", nargs="+", default=["googlenet"])
    parser.add_argument("--data", action="append", default=[], help="as of jtrack train objectness")
    parser.add_argument("--imagenet", type=Path, help="a folder with images/ and labels.txt")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--held-out", type=int, default=150)
    parser.add_argument("--head-only", action="store_true", help="leave out the training of all layers")
    parser.add_argument("--out", type=Path, default=Path("runs/objectness"))
    options = parser.parse_args()
    specs = options.data or ["scenes:600"]
    if options.imagenet:
        specs.append(f"folder:{weak_boxes(options.imagenet, options.out / 'weak_boxes')}")
    data = joined([open_detection(spec) for spec in specs])
    print(f"{data.name}: {data.length} images, {options.steps} steps of {options.batch} patches\n")
    print("| Network | Before, linear classifier | Head alone | All layers | Seconds a step (head, all) |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.backbone:
        settings = objectness.Settings(
            name,
            steps=options.steps,
            batch=options.batch,
            held_out=options.held_out,
            descent=objectness.CAFFE._replace(rate=options.rate),
            keep_every=50,
        )
        ways = [True] if options.head_only else [True, False]
        done, seconds = zip(
            *(run(replace(settings, freeze=way), data, options.out) for way in ways), strict=True
        )
        after = " | ".join(f"{one.held_out.accuracy:.1%}" for one in done) + (" | –" if len(done) < 2 else "")
        took = ", ".join("–" if second is None else f"{second:.2f}" for second in seconds)
        print(f"| {name} | {done[0].probe:.1%} | {after} | {took} |", flush=True)


def run(settings, data, out: Path) -> tuple[objectness.Trained, float | None]:
    """Trains and keeps the entry; also the median time of a step, if any was made."""
    times = [time.perf_counter()]
    place = out / ("head_alone" if settings.freeze else "all_layers") / entries.name_for(settings.backbone)
    done = objectness.train(
        settings,
        data,
        store.load(settings.backbone),
        place,
        on_step=lambda _: times.append(time.perf_counter()),
    )
    objectness.keep(place.with_suffix(store.SUFFIX), done, command="bench/objectness.py")
    return done, float(np.median(np.diff(times))) if len(times) > 2 else None


def weak_boxes(source: Path, out: Path) -> Path:
    """Copies labelled images and puts a box beside each; what is there is not made again."""
    net, weights = backbones.get("googlenet"), store.load("googlenet")
    classifier = np.asarray(weights["loss3/classifier"]["kernel"]).reshape(-1, 1000)
    tap = "inception_5b/output"
    maps = jax.jit(lambda images: net.apply(weights, images, (tap,))[tap])
    out.mkdir(parents=True, exist_ok=True)
    for row in (source / "labels.txt").read_text().splitlines():
        name, label = row.split()
        if (out / name).with_suffix(".txt").is_file():
            continue
        image = read_image(source / "images" / name)
        square = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        heat = np.asarray(maps(square[None]))[0] @ classifier[:, int(label)]
        heat = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        _, _, regions, _ = cv2.connectedComponentsWithStats((heat > 0.25 * heat.max()).astype(np.uint8))
        x, y, w, h, _ = regions[1:][regions[1:, cv2.CC_STAT_AREA].argmax()]
        (out / name).write_bytes((source / "images" / name).read_bytes())
        (out / name).with_suffix(".txt").write_text(f"{x},{y},{w},{h}\n")
    return out


if __name__ == "__main__":
    main()
