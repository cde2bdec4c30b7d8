"""What the host costs where the tracker costs nothing: frames a second through the lanes.

    python bench/lanes.py                             # frames in memory
    python bench/lanes.py --images DATA/otb/*/img     # JPEGs on disk, beside the decoder's own rate
    python bench/lanes.py --memory googlenet          # what a lane of each tracker takes
    PYTHONPATH=OTHER python bench/lanes.py            # the same of another checkout

`apart` is a video for every lane, as in one-pass evaluation; `shared` a video for sixteen lanes, as with the
starts of TRE or the shifts of SRE. Prints Markdown: the median of `--rounds` runs, after one that compiles.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jtrack
from jtrack import backbones, trackers
from jtrack.data import FrameSource
from jtrack.trackers import BoundTracker, Row
from jtrack.types import Array, Box, Frame, Key, Output, PyTree, Tracker

SIZE = (480, 640)
BOX = (40.0, 40.0, 20.0, 20.0)  # in the smallest of OTB's videos, too
SHARING = 16  # lanes of a video


class State(NamedTuple):
    """The box."""

    box: Array  # [4]


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""

    def for_target(self, box: Any, frame_size: Any) -> "Config":
        """The same."""
        del box, frame_size
        return self

    def for_lanes(self, boxes: Any, frame_sizes: Any) -> "Config":
        """The same."""
        del boxes, frame_sizes
        return self


def still(backbone: Any, config: Config) -> Tracker:
    """A tracker that looks at one pixel and keeps the box."""
    del backbone, config

    def init(params: PyTree, key: Key, frame: Frame, box: Box) -> State:
        del params, key, frame
        return State(box)

    def step(params: PyTree, state: State, frame: Frame) -> tuple[State, Output]:
        del params
        seen = frame.pixels[0, 0, 0].astype(jnp.float32) / 255
        return state, Output(state.box, seen, seen < 0, {})

    return Tracker(init, step, None)


def bound() -> BoundTracker:
    """The tracker put together."""
    params = {"backbone": {}, "tracker": {}}
    return BoundTracker(Row("still", still, {}), "default", backbones.get("tiny"), Config(), params)


def in_memory(frames: int) -> FrameSource:
    """A video of a few images again and again."""
    images = [np.full((*SIZE, 3), number, np.uint8) for number in range(16)]

    def pick(number: int) -> np.ndarray:
        return images[number % len(images)]

    return FrameSource("memory", SIZE, frames, None, lambda: map(pick, range(frames)), pick)


def rate(sources: list[FrameSource], lanes: int, rounds: int) -> tuple[float, int]:
    """Frames a second of all lanes (median), and how many frames there were."""
    pairs = [(source, BOX) for source in sources]
    tracker = bound()
    jtrack.track_batch(pairs, tracker=tracker, lanes=lanes)
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        done = jtrack.track_batch(pairs, tracker=tracker, lanes=lanes)
        taken.append(time.perf_counter() - start)
    frames = sum(len(track.boxes) for track in done)
    return frames / statistics.median(taken), frames


def decoding(folders: list[FrameSource], rounds: int) -> float:
    """Frames a second that the image decoder alone gives, in as many threads as there are cores."""
    picks = [(source.pick, number) for source in folders for number in range(source.length or 0)]
    taken = []
    with ThreadPoolExecutor() as threads:
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in threads.map(lambda each: each[0](each[1]), picks):
                pass
            taken.append(time.perf_counter() - start)
    return len(picks) / statistics.median(taken)


def memory(network: str) -> None:
    """Bytes of a lane of each tracker's `default`, as the compiler says of one target's step."""
    from jtrack.run.lane_memory import lane_memory

    print("\n| Tracker | State, MiB | Working memory, MiB |\n| --- | --: | --: |")
    for name in trackers.names():
        built = trackers.create(name, backbone="none" if trackers.find(name).own_network else network)
        need = lane_memory(built.functions(BOX, SIZE), built.params, (576, 768))
        state, working = need.state / 2**20, need.working / 2**20
        print(f"| {name} on {built.backbone.name} | {state:.1f} | {working:.1f} |", flush=True)


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="folders of images")
    parser.add_argument("--frames", type=int, default=300, help="of a video in memory")
    parser.add_argument("--lanes", type=int, nargs="*", default=[16, 128])
    parser.add_argument("--memory", metavar="NETWORK", help="only what a lane takes on this network")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if hasattr(jtrack, "keep_memory"):  # as the commands do; other checkouts may have none
        jtrack.keep_memory()
    print(
        f"JAX {jax.__version__}, {jax.local_device_count()} {jax.devices()[0].device_kind}, {jtrack.__file__}"
    )
    if options.memory:
        memory(options.memory)
        return
    print("\n| Frames | Lanes | Frames/s |\n| --- | --: | --: |")
    for lanes in options.lanes:
        apart = [in_memory(options.frames) for _ in range(lanes)]
        shared = [apart[number // SHARING] for number in range(lanes)]
        for name, sources in (("apart", apart), ("shared", shared)):
            figure, _ = rate(sources, lanes, options.rounds)
            print(f"| in memory, {name} | {lanes} | {figure:.0f} |", flush=True)
    if options.images:
        folders = [jtrack.data.open_source(str(folder)) for folder in options.images]
        print(f"| JPEG, decoder alone | | {decoding(folders, options.rounds):.0f} |", flush=True)
        for lanes in options.lanes:
            figure, _ = rate(folders, min(lanes, len(folders)), options.rounds)
            print(f"| JPEG, apart | {min(lanes, len(folders))} | {figure:.0f} |", flush=True)


if __name__ == "__main__":
    main()
