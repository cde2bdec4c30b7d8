"""Frames a second of every tracker's `default` on the networks that come with pip, by `jtrack.track`.

    python bench/speeds.py                                     # VGG-16 in float32 and bfloat16, AlexNet
    python bench/speeds.py --networks googlenet:float32 --frames 60
    python bench/speeds.py --trackers hcft --against "scale=none" --rounds 5    # and with other settings

What is compiled is not counted, reading is. Contestants take turns; prints Markdown, medians over the rounds.
Run it on a quiet machine.
"""

import argparse
import functools
from pathlib import Path
from statistics import median

import jax

import jtrack
from bench.ledger import data_folder
from jtrack import settings, trackers
from jtrack.cli.track import prepare
from jtrack.data import otb

NETWORKS = "vgg16_torchvision:float32,vgg16_torchvision:bfloat16,alexnet_torchvision:float32"


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=NETWORKS, help="NETWORK:PRECISION, commas between them")
    parser.add_argument("--trackers", default=",".join(on_networks()), help="commas between them")
    parser.add_argument("--frames", type=int, default=30, help="of the video, the first included")
    parser.add_argument("--video", type=Path, default=data_folder() / "otb" / "MotorRolling", help="of OTB")
    parser.add_argument("--against", metavar="SETTINGS", help="NAME=VALUE, blanks between them")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    prepare("bfloat16")
    sequence = otb.load(options.video)
    height, width = sequence.frames.size
    print(f"{sequence.name}, {width} x {height}, {options.frames} frames; JAX {jax.__version__}\n")
    columns = options.networks.split(",")
    print(f"| Tracker | {' | '.join(columns)} |\n| --- |{' --: |' * len(columns)}", flush=True)
    ways = [[]] if options.against is None else [[], options.against.split()]
    for name in options.trackers.split(","):
        cells = []
        for column in columns:
            network, precision = column.split(":")
            bound = [
                trackers.create(
                    name,
                    backbone=network,
                    precision=precision,
                    changes=functools.partial(settings.apply, settings=way) if way else None,
                )
                for way in ways
            ]
            rates = [
                [
                    jtrack.track(sequence.frames, sequence.boxes[0], tracker=each, end=options.frames).fps
                    for each in bound
                ]
                for _ in range(options.rounds)
            ]
            cells.append(" against ".join(f"{median(way):.1f}" for way in zip(*rates, strict=True)))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def on_networks() -> list[str]:
    """The trackers that stand on a network that is chosen."""
    return [name for name in trackers.names() if not trackers.find(name).own_network]


if __name__ == "__main__":
    main()
