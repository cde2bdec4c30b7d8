"""How fast HCFT's `default` runs, how long the first box takes, and how long `import jtrack` takes.

    python bench/trackers.py [--rounds 5] [--frames 60] [--contestants vgg19:bfloat16,hog:float32]

Each contestant, a network in a precision, is a process of its own set up as `jtrack track` sets itself up,
and they take turns, so that whatever else the machine does meets all of them. A turn tracks a folder of JPEG
images, decoding included, compilation not; the table gives medians over turns. The first box is timed from
the start of a process to the first tracked box, with an empty compilation cache and once more with what that
left in it. Networks whose weights are not found get random ones, which take as long. A GPU is used where
there is one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import numpy as np

from jtrack import backbones, data, devices, run, trackers
from jtrack.cli.track import prepare
from jtrack.data import otb, synthetic
from jtrack.trackers import BoundTracker
from jtrack.types import as_arrays
from jtrack.weights import store

CONTESTANTS = "vgg19:bfloat16,vgg19_slim:bfloat16,vgg19_slim:float32,googlenet:float32,hog:float32"
TARGETS = {"vgg19": 6, "vgg19_slim": 25, "hog": 100}  # frames a second on two CPU cores
REAL = Path("../shared/data/otb/MotorRolling")  # 640 x 360
IMPORT = "import time; start = time.perf_counter(); import jtrack; print(time.perf_counter() - start)"


def images(real: Path, made: Path) -> tuple[Path, np.ndarray]:
    """A folder of images and the first box: a real sequence, or else the synthetic clip as JPEG files."""
    if real.is_dir():
        sequence = otb.load(real)
        return real / "img", sequence.boxes[0]
    clip = synthetic.clip()
    for index, image in enumerate(clip.frames):
        cv2.imwrite(str(made / f"{index:04d}.jpg"), image[:, :, ::-1])
    return made, clip.boxes[0]


def build(name: str, precision: str) -> BoundTracker:
    """HCFT's `default` on a network, whether its weights are there or not."""
    backbone = backbones.get(name, precision=devices.usable_precision(precision))
    chosen = trackers.profile("hcft", "default", name)
    taps = tuple(tap for group in chosen.config.layers for tap in group)
    weights = store.load(name) if name in store.available() else backbone.random_params(0, taps=taps)
    params = {"backbone": backbone.cast_params(weights), "tracker": as_arrays(chosen.hyper)}
    return BoundTracker(trackers.find("hcft"), "default", backbone, chosen.config, params)


def work(contestant: str, folder: str, box: Sequence[float], frames: int) -> None:
    """A contestant: tracks one frame and says what it is, then runs a turn for every line it is sent."""
    name, precision = contestant.split(":")
    prepare(precision)
    bound = build(name, precision)
    run.track(folder, box, tracker=bound, end=2)
    found = "stored" if store.locate(name) else "random"
    weights = found if bound.params["backbone"] else "none"
    print(bound.backbone.precision, weights, jax.devices()[0].device_kind, sep="\t", flush=True)
    for _ in sys.stdin:
        print(run.track(folder, box, tracker=bound, end=frames).fps, flush=True)


def start(arguments: list[str], cache: Path) -> tuple[subprocess.Popen[str], list[str], float]:
    """Starts a contestant: its process, what it says it is, and the seconds until its first box."""
    # Several processes share one GPU: none may take most of its memory at once.
    own = {"XDG_CACHE_HOME": str(cache), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | own,
    )
    said = answer(process)
    return process, said.split("\t"), time.perf_counter() - began


def answer(process: subprocess.Popen[str], *, line: str = "") -> str:
    """Sends a line, if any, and waits for the answer."""
    assert process.stdin and process.stdout
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    said = process.stdout.readline().strip()
    if not said:
        raise SystemExit("a contestant failed")
    return said


def stop(process: subprocess.Popen[str]) -> None:
    """Ends a contestant."""
    process.kill()
    process.communicate()


def import_seconds(rounds: int) -> float:
    """Median time of `import jtrack` in processes of their own."""
    times = [
        float(
            subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
        )
        for _ in range(rounds)
    ]
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts the contestants, lets them take turns and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--frames", type=int, default=60, help="frames in a turn")
    parser.add_argument("--contestants", default=CONTESTANTS, help="NETWORK:PRECISION, commas between them")
    parser.add_argument("--sequence", type=Path, default=REAL, help="a sequence in OTB's layout")
    parser.add_argument("--worker", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        contestant, folder, frames, *box = options.worker
        return work(contestant, folder, [float(value) for value in box], int(frames))

    contestants = options.contestants.split(",")
    running: list[tuple[subprocess.Popen[str], list[str], float, float]] = []
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        (scratch / "clip").mkdir()
        folder, box = images(options.sequence, scratch / "clip")
        source = data.open_source(folder)
        frames = min(options.frames, source.length or options.frames)
        try:
            for contestant in contestants:
                command = [contestant, str(folder), str(frames), *map(str, box)]
                cache = scratch / contestant.replace(":", "-")
                process, _, cold = start(command, cache)
                stop(process)
                process, about, warm = start(command, cache)
                running.append((process, about, cold, warm))
            rates: list[list[float]] = [[] for _ in contestants]
            for _ in range(options.rounds):
                for (process, *_), own in zip(running, rates, strict=True):
                    own.append(float(answer(process, line="go")))
        finally:
            for process, *_ in running:
                stop(process)

    devices_found = " and ".join(sorted({about[2] for _, about, *_ in running}))
    height, width = source.size
    print(f"`python bench/trackers.py --rounds {options.rounds} --frames {frames}`: HCFT `default`")
    print(f"{source.name}, {width} x {height}; jax {jax.__version__} on {devices_found}\n")
    print("| | weights | frames a second | target | first box s, cold | warm |")
    print("| --- | --- | --- | --- | --- | --- |")
    for contestant, (_, about, cold, warm), own in zip(contestants, running, rates, strict=True):
        name = contestant.split(":")[0]
        target = str(TARGETS.get(name, "–"))
        cells = [f"{name} {about[0]}", about[1], f"{statistics.median(own):.1f}", target]
        print("|", " | ".join([*cells, f"{cold:.1f}", f"{warm:.1f}"]), "|")
    print("| target | | | | 20 | 5 |\n")
    print(f"`import jtrack`: {import_seconds(options.rounds):.2f} s (target 2)")


if __name__ == "__main__":
    main()
