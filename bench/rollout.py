"""What the gradient of a rollout keeps in memory, and how long it takes over the forward pass.

    python bench/rollout.py [--network googlenet] [--input 224] [--frames 8 32 128] [--timed 8] [--turns 3]

HCFT's `default`, random weights, images of 320 x 240; the gradient of the mean score with respect to the
hyper-parameters, with and without `checkpoint`. Memory is what the compiler says the program needs beside its
arguments: nothing of that size is run. Prints Markdown.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import timed_in_turns

import jtrack
from jtrack import backbones, trackers
from jtrack.types import Array, Frame, PyTree, Tracker, as_arrays

SIZE = (240, 320)
BOX = (100.0, 100.0, 40.0, 40.0)
Function = Callable[..., Any]


def build(network: str, side: int | None) -> tuple[Tracker, PyTree]:
    """The tracker's functions, and its parameters; `side` is that of the network's input."""
    backbone = backbones.get(network)
    chosen = trackers.profile("hcft", "default", network)
    if side is not None:
        chosen = chosen.replace(input_size=(side, side))
    taps = tuple(tap for group in chosen.config.layers for tap in group)
    row = trackers.find("hcft")
    params = {"backbone": backbone.random_params(0, taps=taps), "tracker": as_arrays(chosen.hyper)}
    return row.factory(backbone, chosen.config.for_target(BOX, SIZE)), params


def score(
    tracker: Tracker, hyper: PyTree, weights: PyTree, state: PyTree, frames: Frame, *, checkpoint: bool
) -> Array:
    """The mean score of a rollout."""
    params = {"backbone": weights, "tracker": hyper}
    return jtrack.rollout(tracker, params, state, frames, checkpoint=checkpoint)[1].score.mean()


def video(frames: int) -> Frame:
    """Noise."""
    rng = np.random.default_rng(0)
    return jtrack.to_frames(rng.integers(0, 256, (frames, *SIZE, 3), np.uint8))


def mebibytes(function: Function, *args: PyTree) -> float:
    """What a compiled function needs beside its arguments."""
    need = jax.jit(function).lower(*args).compile().memory_analysis()
    return (need.temp_size_in_bytes + need.output_size_in_bytes) / 2**20


def print_memory(gradients: dict[str, Function], args: tuple[PyTree, ...], lengths: list[int]) -> None:
    """The table of memory, by how many frames a rollout has."""
    print("\n| Gradient, MiB |", " | ".join(f"{length} frames" for length in lengths), "| a frame |")
    print("| --- |" + " --: |" * (len(lengths) + 1))
    for name, gradient in gradients.items():
        shapes = [jax.eval_shape(functools.partial(video, length)) for length in lengths]
        found = [mebibytes(gradient, *args, frames) for frames in shapes]
        growth = (found[-1] - found[0]) / (lengths[-1] - lengths[0])
        cells = [f"{each:.0f}" for each in found] + [f"{growth:.2f}"]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def print_times(
    forward: Function, gradients: dict[str, Function], args: tuple[PyTree, ...], turns: int
) -> None:
    """The table of times of one rollout."""
    works = {"forward": forward, **gradients}
    found = timed_in_turns(list(works.values()), *args, turns=turns)
    base = found[0]
    print("\n| | ms | over forward | ms of all processors | over forward |\n| --- | --: | --: | --: | --: |")
    for name, took in zip(works, found, strict=True):
        clock, busy = took.clock / base.clock, took.busy / base.busy
        print(f"| {name} | {took.clock:.0f} | {clock:.2f} | {took.busy:.0f} | {busy:.2f} |", flush=True)


def main() -> None:
    """Reads the command line and prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="googlenet")
    parser.add_argument("--input", type=int, help="side of the network's input; the profile's own without it")
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 32, 128], help="two lengths or more")
    parser.add_argument("--timed", type=int, default=8, help="frames of the rollouts that are timed")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if len(options.frames) < 2:
        parser.error("--frames: what a frame takes is the difference of two lengths")
    jtrack.keep_memory()
    tracker, params = build(options.network, options.input)
    frames = video(options.timed)
    first = Frame(frames.pixels[0], frames.size[0])
    state = jax.jit(tracker.init)(params, jax.random.key(0), first, jnp.asarray(BOX))
    args = params["tracker"], params["backbone"], state
    forward = functools.partial(score, tracker, checkpoint=True)
    gradients = {
        "with checkpoint": jax.grad(forward),
        "without": jax.grad(functools.partial(score, tracker, checkpoint=False)),
    }
    print(f"HCFT `default` on {options.network}; jax {jax.__version__} on {jax.devices()[0].device_kind}")
    print_memory(gradients, args, options.frames)
    print(f"\nTime of {options.timed} frames, medians of {options.turns}:")
    print_times(forward, gradients, (*args, frames), options.turns)


if __name__ == "__main__":
    main()
