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
from jtrack import backbones, data, run, trackers
from jtrack.cli.track import prepare
from jtrack.components import cue_patches, motion
from jtrack.data import synthetic
from jtrack.learning import cue_network, iterative_sgd, structural_loss
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import deeptrack
from jtrack.types import Box, Frame, Output, as_arrays

CYCLES = 10
FRAMES = 40  # of the clip that are tracked


def parts(profile: str) -> None:
    """Prints the time of each part of a frame."""
    config, values = trackers.profile("deeptrack", profile)
    hyper = jax.tree.map(jnp.asarray, as_arrays(values))
    clip = synthetic.clip(frames=2)
    image = next(iter(clip.frames))
    frame, box = to_frame(image, canvas_of(clip.frames.size)), jnp.asarray(clip.boxes[0], jnp.float32)
    key = jax.random.key(0)
    net, params = backbones.get("none"), {"backbone": {}, "tracker": hyper}
    tracker = deeptrack.deeptrack(net, config)
    begin = jax.jit(lambda frame: tracker.init(params, key, frame, box))
    start = time.perf_counter()
    state = jax.block_until_ready(begin(frame))
    cold = time.perf_counter() - start
    start = time.perf_counter()
    jax.block_until_ready(begin(frame))
    warm = time.perf_counter() - start
    shown = config.grey_cues, config.colour_cues

    def cues_of(frame: Frame) -> jax.Array:
        return cue_patches.cues_around(frame, box, state.colour, shown, config.cue_range)

    def patches_of(cues: jax.Array, windows: Box) -> jax.Array:
        return cue_patches.patches_of(cues, windows, box)

    cues = jax.jit(cues_of)(frame)
    position = jnp.clip(hyper.position_share * box[3], *hyper.position_limit)
    candidates = motion.clipped_candidates(
        key, box, config.candidates, position, hyper.scale_deviation, frame.size
    )

    def scores(precision: str) -> Callable[..., Any]:
        network = cue_network.with_convolutions_in(state.network, precision)

        def score(cues: jax.Array, candidates: Box) -> jax.Array:
            chunks = candidates.reshape(-1, deeptrack.CHUNK, 4)
            outputs = jax.lax.map(
                lambda windows: cue_network.output(network, patches_of(cues, windows)), chunks
            )
            return structural_loss.score(outputs.reshape(-1, 2))

        return score

    def loss(state: deeptrack.State) -> jax.Array:
        batch = iterative_sgd.draw_batch(
            key, state.positives, state.negatives, state.time, count=config.batch, decay=hyper.decay
        )
        outputs = cue_network.output(state.network, batch.patches)
        return iterative_sgd.loss(outputs, batch, deeptrack.rates(hyper))

    endless = params | {"tracker": hyper._replace(tolerance=jnp.float32(0))}
    short = deeptrack.deeptrack(net, dataclasses.replace(config, budget=CYCLES))
    assert short.learn is not None
    train = short.learn
    count = f"{config.candidates} candidates, {len(config.grey_cues)} cues"
    rows = {
        "cues": timed(cues_of, frame),
        "patches of the candidates": timed(patches_of, cues, candidates),
        f"scores of {count}, patches included, float32": timed(scores("float32"), cues, candidates),
        "... bfloat16": timed(scores("bfloat16"), cues, candidates),
        "training loss of a batch": timed(loss, state),
        f"{CYCLES} cycles of training": timed(lambda state: train(endless, state), state),
        "a whole frame without training": timed(
            lambda state, frame: tracker.step(params, state, frame), state, frame
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
    bound = trackers.create("deeptrack", profile=profile)
    bound = bound._replace(config=dataclasses.replace(bound.config, info=True))
    whole = synthetic.clip()
    frames = data.from_arrays(list(itertools.islice(whole.frames, FRAMES)))
    due: list[bool] = []

    def step(index: int, image: np.ndarray, said: list[Output]) -> None:
        if index:
            due.append(bool(said[0].info["due"]))

    worked = time.process_time()
    done = run.track(frames, whole.boxes[0], tracker=bound, on_frame=step)
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
