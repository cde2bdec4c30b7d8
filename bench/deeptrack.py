"""DeepTrack: where the time of a frame goes.

    python bench/deeptrack.py

Needs no data: the parts of a frame of the synthetic clip, each compiled alone, in milliseconds of the clock
and of all processors; and how fast the clip is tracked, with the share of frames that are trained on.
"""

import argparse
import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.timing import timed
from jtrack import data, run, trackers
from jtrack.cli.track import prepare
from jtrack.data import synthetic
from jtrack.learning import structural_loss
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import deeptrack
from jtrack.types import Output, as_arrays

CYCLES = 10
FRAMES = 40  # of the clip that are tracked


def parts(profile: str) -> None:
    """Prints the time of each part of a frame."""
    config, values = trackers.profile("deeptrack", profile)
    numbers = jax.tree.map(jnp.asarray, as_arrays(values))
    clip = synthetic.clip(frames=2)
    image = next(iter(clip.frames))
    frame, box = to_frame(image, canvas_of(clip.frames.size)), jnp.asarray(clip.boxes[0], jnp.float32)
    key = jax.random.key(0)
    begin = jax.jit(lambda frame: deeptrack._init(config, numbers, key, frame, box))
    start = time.perf_counter()
    state = jax.block_until_ready(begin(frame))
    cold = time.perf_counter() - start
    start = time.perf_counter()
    jax.block_until_ready(begin(frame))
    warm = time.perf_counter() - start
    cues = jax.jit(lambda frame: deeptrack._cues(config, frame, box, state.colour))(frame)
    candidates = deeptrack._candidates(config, numbers, key, box, frame)

    def scores(precision: str) -> Callable[..., Any]:
        return lambda cues, candidates: structural_loss.score(
            deeptrack._score(config, precision, state.network, cues, candidates, box)
        )

    endless = numbers._replace(tolerance=jnp.float32(0))
    count = f"{config.candidates} candidates, {len(config.grey_cues)} cues"
    rows = {
        "cues": timed(lambda frame: deeptrack._cues(config, frame, box, state.colour), frame),
        "patches of the candidates": timed(
            lambda cues, windows: deeptrack._patches(config, cues, windows, box), cues, candidates
        ),
        f"scores of {count}, patches included, float32": timed(scores("float32"), cues, candidates),
        "... bfloat16": timed(scores("bfloat16"), cues, candidates),
        "training loss of a batch": timed(lambda state: deeptrack._loss(config, numbers, state, key), state),
        f"{CYCLES} cycles of training": timed(
            lambda state: deeptrack._learn(config, endless, state, CYCLES), state
        ),
        "a whole frame without training": timed(
            lambda state, frame: deeptrack._step(config, "float32", numbers, state, frame), state, frame
        ),
    }
    print(f"`{profile}`: first frame {warm:.1f} s, with compilation {cold:.1f} s\n")
    print("| Part | ms | ms of processors |\n| --- | --- | --- |")
    for name, (clock, busy) in rows.items():
        print(f"| {name} | {clock:.1f} | {busy:.1f} |")
    full, half = (np.asarray(jax.jit(scores(p))(cues, candidates)) for p in ("float32", "bfloat16"))
    place = int((full > full[half.argmax()]).sum()) + 1
    print(f"\nbfloat16's best candidate is float32's number {place}.\n")


def clip(profile: str) -> None:
    """Prints how fast the clip is tracked, and on how many of its frames the network is trained."""
    built = trackers.create("deeptrack", profile=profile)
    built = built._replace(config=dataclasses.replace(built.config, info=True))
    whole = synthetic.clip()
    frames = data.from_arrays(list(itertools.islice(whole.frames, FRAMES)))
    due: list[bool] = []

    def step(index: int, image: np.ndarray, said: list[Output]) -> None:
        if index:
            due.append(bool(said[0].info["due"]))

    worked = time.process_time()
    done = run.track(frames, whole.boxes[0], tracker=built, on_frame=step)
    worked = time.process_time() - worked
    print(
        f"`{profile}`: {FRAMES} frames of the clip at {done.fps:.1f} frames/s, {worked:.1f} s of processors "
        f"with compilation and the first frame; trained on {100 * statistics.mean(due):.0f} % of them.\n"
    )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profiles", default="default,paper")
    profiles = parser.parse_args().profiles.split(",")
    prepare("float32")
    for profile in profiles:
        parts(profile)
        clip(profile)


if __name__ == "__main__":
    main()
