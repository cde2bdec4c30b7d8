"""Where the time of one of HCFT's frames goes, and how near its networks come to the machine's own rate.

    python bench/frame_time.py
    python bench/frame_time.py --networks googlenet:float32 --turns 15

`before` is the `default` of two forward passes a frame, `now` that of one. Of a whole step, the network's
passes and the rest (cutting out, filters, scale, learning) are told apart by timing the passes alone. A pass
is compared with the product of two square matrices in the same precision, the machine's own rate; it counts
the multiplications of plain convolutions, of which `backbones/winograd.py` saves some. All take turns; prints
Markdown, medians. Run it on a quiet machine.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jtrack
from jtrack import settings, trackers
from jtrack.cli.track import prepare
from jtrack.components.passes import TwoPasses
from jtrack.data import synthetic

NETWORKS = (
    "googlenet:float32,vgg16_torchvision:float32,vgg16_torchvision:bfloat16,alexnet_torchvision:float32"
)
BEFORE = ("passes=TwoPasses", "input_size=224,224", "channels=none", "filters=Dual", "learning_rate=0.01")
WAYS = {"release2016": ("release2016", ()), "before": ("default", BEFORE), "now": ("default", ())}
SIDE = 4096  # of the matrices
Call = Callable[[], Any]


class Part(NamedTuple):
    """A way to track on a network: what is timed of it."""

    network: str
    way: str
    step: Call
    forward: Call  # one pass
    passes: int  # a frame
    flop: float  # of one pass


def part(network: str, precision: str, way: str, images: list[Any], box: Any) -> Part:
    """A step and a pass, compiled."""
    profile, changes = WAYS[way]
    bound = trackers.create(
        "hcft",
        profile=profile,
        backbone=network,
        precision=precision,
        changes=functools.partial(settings.apply, settings=changes) if changes else None,
    )
    first, second = (jtrack.to_frame(image) for image in images)
    functions, config = bound.functions(box, images[0].shape[:2]), bound.config
    params = jax.device_put(bound.params)
    state = jax.jit(functions.init)(params, jax.random.key(0), first, jnp.float32(box))
    step = jax.jit(functions.step).lower(params, state, second).compile()
    taps = tuple(layer for group in config.layers for layer in group)
    image = 255 * jax.random.uniform(jax.random.key(0), (1, *config.input_size, 3), jnp.float32)
    traced = jax.jit(lambda weights, x: bound.backbone.apply(weights, x, taps)).trace(
        params["backbone"], image
    )
    forward = traced.lower().compile()
    # Other platforms have the plain convolutions, whose multiplications are counted.
    plain = traced.lower(lowering_platforms=("cuda",))
    return Part(
        f"{network}, {precision}",
        way,
        lambda: step(params, state, second),
        lambda: forward(params["backbone"], image),
        1 + isinstance(config.passes, TwoPasses),
        (plain.cost_analysis() or {}).get("flops", 0.0),
    )


def product(precision: str) -> Call:
    """The product of two square matrices."""
    x = jax.random.normal(jax.random.key(0), (SIDE, SIDE), jnp.dtype(precision))
    multiply = jax.jit(jnp.dot).lower(x, x).compile()
    return lambda: multiply(x, x)


def medians(calls: dict[Any, Call], turns: int) -> dict[Any, float]:
    """Seconds of each call, which take turns; the first turn does not count."""
    taken: dict[Any, list[float]] = {key: [] for key in calls}
    for _ in range(turns + 1):
        for key, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            taken[key].append(time.perf_counter() - start)
    return {key: statistics.median(times[1:]) for key, times in taken.items()}


def main() -> None:
    """Reads the command line and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=NETWORKS, help="NETWORK:PRECISION, commas between them")
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    prepare("bfloat16")
    clip = synthetic.clip(frames=120, size=(360, 640))
    assert clip.boxes is not None
    images = [image for image, _ in zip(clip.frames, range(2), strict=False)]
    chosen = [name.split(":") for name in options.networks.split(",")]
    parts = [
        part(network, precision, way, images, clip.boxes[0]) for network, precision in chosen for way in WAYS
    ]
    calls: dict[Any, Call] = {precision: product(precision) for precision in {each for _, each in chosen}}
    calls |= {(each.network, each.way, "step"): each.step for each in parts}
    calls |= {(each.network, each.way, "pass"): each.forward for each in parts}
    found = medians(calls, options.turns)
    print(
        "| Network | Profile | Frame, ms | Passes, ms | Rest, ms | A pass, GFLOP | GFLOP/s | Of a product's |"
    )
    print("| --- | --- |" + " --: |" * 6)
    for each in parts:
        whole, one = (found[each.network, each.way, what] for what in ("step", "pass"))
        rate = each.flop / one
        largest = 2 * SIDE**3 / found[each.network.split(", ")[1]]
        passes = each.passes * one
        cells = [f"{1e3 * whole:.0f}", f"{1e3 * passes:.0f}", f"{1e3 * (whole - passes):.0f}"]
        cells += [f"{each.flop / 1e9:.1f}", f"{rate / 1e9:.0f}", f"{rate / largest:.0%}"]
        print(f"| {each.network} | {each.way} | {' | '.join(cells)} |")
    for precision in sorted({each for _, each in chosen}):
        rate = 2 * SIDE**3 / found[precision]
        print(f"\nA product of {SIDE} x {SIDE} matrices in {precision}: {rate / 1e9:.0f} GFLOP/s.")


if __name__ == "__main__":
    main()
