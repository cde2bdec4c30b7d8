"""GDT: where the time of a frame goes, and how fast a clip is tracked.

    python bench/gdt.py [--nets alexnet,squeezenet,googlenet] [--profiles default,paper]

Needs neither data nor weights: the parts of a frame of the synthetic clip, each compiled alone, in
milliseconds; random weights take as long as trained ones.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bench import timing
from jtrack import backbones, devices, trackers
from jtrack.cli.track import prepare
from jtrack.components import motion
from jtrack.data import synthetic
from jtrack.learning import fc_head
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import gdt
from jtrack.types import as_arrays


def parts(name: str, profile: str, precision: str, turns: int) -> dict[str, float]:
    """Milliseconds of each part of a frame; the first frame's in seconds."""
    net = backbones.get(name, precision=devices.usable_precision(precision))
    config, values = trackers.profile("gdt", profile, name)
    hyper = jax.tree.map(jnp.asarray, as_arrays(values))
    feature = config.features.feature
    taps = (feature.tap, *(("fc6", "fc7") if feature.own else ()))
    params = {"backbone": net.cast_params(net.random_params(0, taps=taps)), "tracker": hyper}
    tracker = gdt.gdt(net, config)
    clip = synthetic.clip(frames=2)
    frame = to_frame(next(iter(clip.frames)), canvas_of(clip.frames.size))
    box, key = jnp.asarray(clip.boxes[0], jnp.float32), jax.random.key(0)
    init = jax.jit(tracker.init)
    start = time.perf_counter()
    state = jax.block_until_ready(init(params, key, frame, box))
    cold = time.perf_counter() - start
    start = time.perf_counter()
    jax.block_until_ready(init(params, key, frame, box))
    warm = time.perf_counter() - start
    scales = motion.pyramid_scales(box, hyper.scale_step)
    radius, limit = motion.search_radius(box[2:], hyper.radius), config.features.limit(box[2:])
    candidates = motion.spiral_candidates(box, config.candidates, radius, scales, frame.size, limit)

    def describe(params: dict, frame: Any, wanted: Any) -> Any:
        look = config.features.describe(net, params["backbone"], frame, box, scales)
        return jax.vmap(look)(jnp.arange(3), wanted)

    def timed(work: Callable[..., Any], *args: Any) -> float:
        return timing.timed(work, *args, turns=turns).clock

    seen = jax.jit(describe)(params, frame, candidates)
    seen = seen.reshape(-1, seen.shape[-1])
    count = len(seen)
    rows = {
        "first frame, s": warm,
        "first frame with compilation, s": cold,
        f"describing {count} candidates": timed(describe, params, frame, candidates),
        "the head on them": timed(fc_head.values, state.head, seen),
        "a whole frame without learning": timed(tracker.step, params, state, frame),
    }
    if tracker.learn is not None:
        rows["one step of the head"] = timed(tracker.learn, params, state)
    return rows


def main() -> None:
    """Prints a table a network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default="alexnet,squeezenet,googlenet")
    parser.add_argument("--profiles", default="default,paper")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--turns", type=int, default=5, help="of each part; medians are printed")
    options = parser.parse_args()
    prepare("bfloat16" if "bfloat16" in options.precisions else "float32")
    for name in options.nets.split(","):
        found = {
            f"{profile}, {precision}": parts(name, profile, precision, options.turns)
            for profile in options.profiles.split(",")
            for precision in options.precisions.split(",")
        }
        print(f"\n{name} with random weights on {jax.devices()[0].device_kind}, milliseconds\n")
        print("| part | " + " | ".join(found) + " |\n| --- |" + " --: |" * len(found))
        for part in dict.fromkeys(part for rows in found.values() for part in rows):
            cells = (
                f"{rows[part]:.{1 if part.endswith(', s') else 0}f}" if part in rows else "–"
                for rows in found.values()
            )
            print(f"| {part} | {' | '.join(cells)} |")
        rates = []
        for rows in found.values():
            whole = rows["a whole frame without learning"] + rows.get("one step of the head", 0)
            rates.append(f"{1e3 / whole:.2f}")
        print(f"| frames a second, learning in each | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main()
