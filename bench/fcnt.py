"""FCNT: where the time of a frame goes, and which layers suit its two networks.

    python bench/fcnt.py                                   # speed; needs no data
    python bench/fcnt.py --taps vgg19_slim --data DATA/otb

The first prints first frame, frames a second and parts of a frame on the synthetic clip, networks without
stored weights with random ones. The second asks each layer alone, as GNet is used: a network trained in the
first frame on the maps chosen from that layer, put back on the target in every frame, finds it again or not.
Both print Markdown.
"""

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.ablations import SHORT
from bench.timing import timed
from jtrack import backbones, data, devices, trackers
from jtrack.benchmark import metrics
from jtrack.cli.track import prepare
from jtrack.components import features, motion
from jtrack.data import Sequence, synthetic
from jtrack.learning import heat_map_net, map_selection
from jtrack.learning.caffe_sgd import Rates
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import fcnt
from jtrack.types import Box, Frame, Tracker, as_arrays
from jtrack.vision import heat_map
from jtrack.vision.resize import resize
from jtrack.weights import store

CONTESTANTS = "vgg16:bfloat16,vgg19_slim:float32,googlenet:float32"
CANDIDATE_TAPS = {
    "vgg19_slim": "relu3_2 relu3_4 relu4_1 relu4_2 relu4_3 relu4_4 relu5_1",
    "googlenet": "conv2/relu_3x3 inception_3a/output inception_3b/output inception_4a/output "
    "inception_4b/output inception_4c/output inception_4d/output inception_4e/output inception_5b/output",
    "squeezenet": "fire4/concat fire5/concat fire6/concat fire7/concat fire8/concat fire9/concat",
}


def weights_of(backbone: backbones.Backbone) -> tuple[Any, str]:
    """A network's weights, cast, and whether they are stored or random."""
    known = backbone.name in store.available()
    weights = store.load(backbone.name) if known else backbone.random_params(0)
    return backbone.cast_params(weights), "stored" if store.locate(backbone.name) else "random"


def speed(contestants: list[str], profile: str, frames: int) -> None:
    """Prints first frame, rates and the time of each part, of networks in a precision."""
    print(f"`{profile}`, synthetic clip of {frames} frames; times of learning are of frames that learn.\n")
    print("| | weights | first frame s | frames/s, median | mean | learns in | ms: step | crop and network |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    parts = []
    for contestant in contestants:
        name, precision = contestant.split(":")
        backbone = backbones.get(name, precision=devices.usable_precision(precision))
        config, values = trackers.profile("fcnt", profile, name)
        weights, found = weights_of(backbone)
        params = {"backbone": weights, "tracker": jax.tree.map(jnp.asarray, as_arrays(values))}
        tracker = fcnt.fcnt(backbone, config)
        assert tracker.learn is not None
        init, step, learn = jax.jit(tracker.init), jax.jit(tracker.step), jax.jit(tracker.learn)
        clip = synthetic.clip(frames=frames)
        pictures = [to_frame(image, canvas_of(clip.frames.size)) for image in clip.frames]
        key, box = jax.random.key(0), jnp.asarray(clip.boxes[0], jnp.float32)
        start = time.perf_counter()
        state = jax.block_until_ready(init(params, key, pictures[0], box))
        first = time.perf_counter() - start
        jax.block_until_ready((step(params, state, pictures[0]), learn(params, state)))
        times, learnt = [], 0
        for picture in pictures[1:]:
            start = time.perf_counter()
            state, output = step(params, state, picture)
            if state.due:
                state, learnt = learn(params, state), learnt + 1
            jax.block_until_ready((state, output))
            times.append(time.perf_counter() - start)
        took = timed(tracker.step, params, state, pictures[-1]).clock
        region = config.region.around(state.box, state.size)
        describe = timed(
            lambda *args, own=(backbone, config): maps_of(own[0], own[1], *args),
            params["backbone"],
            pictures[-1],
            region,
        ).clock
        print(
            f"| {name} {backbone.precision} | {found} | {first:.1f} | {1 / statistics.median(times):.1f} "
            f"| {1 / statistics.mean(times):.1f} | {learnt / len(times):.0%} | {took:.0f} | {describe:.0f} |",
            flush=True,
        )
        parts.append((contestant, profile_of_learning(config, tracker, params, state)))
    print("\n| ms |", " | ".join(name for name, _ in parts), "|\n| --- |", " --- |" * len(parts))
    for row in parts[0][1]:
        print(f"| {row} |", " | ".join(f"{rows[row]:.0f}" for _, rows in parts), "|")


def maps_of(
    backbone: backbones.Backbone, config: fcnt.Config, weights: Any, frame: Frame, region: Box
) -> dict[str, jax.Array]:
    """Both layers' maps of a region, on the grid of the heat maps."""
    size, layers = (config.input_size, config.input_size), tuple(config.layers.values())
    how = {"method": "bicubic", "border": config.region.border}
    maps = features.of_window(backbone, weights, frame, region, size, layers, **how)
    return {name: resize(maps[layer], config.grid, method="bicubic") for name, layer in config.layers.items()}


def profile_of_learning(
    config: fcnt.Config, tracker: Tracker, params: dict, state: fcnt.State
) -> dict[str, float]:
    """Milliseconds of the parts that the small networks take."""
    head, memory, hyper = state.specific, state.memory, params["tracker"]
    assert head is not None and memory is not None and tracker.learn is not None
    learn = tracker.learn
    yes, no = jnp.asarray(True), jnp.asarray(False)

    def learning(adapt: jax.Array, discriminate: jax.Array) -> float:
        due = state._replace(memory=memory._replace(adapt=adapt, discriminate=discriminate))
        return timed(lambda state: learn(params, state), due).clock

    maps, target = memory.first.maps, memory.first.target
    rates = Rates(hyper.learning_rate[0], hyper.momentum[0], hyper.decay)
    selection = Rates(hyper.selection_learning_rate, hyper.selection_momentum, hyper.selection_decay[0])
    rounds, count = config.selection_iterations, config.first_iterations
    samples = heat_map_net.Samples(maps[None], target[None], jnp.ones((1, *config.grid)))
    return {
        "first frame: selection of a layer's maps": timed(
            lambda maps: map_selection.train(jax.random.key(0), maps, target, selection, rounds)[0], maps
        ).clock,
        "first frame: training of a network": timed(
            lambda net: heat_map_net.train(net, net, samples, rates, count), head.net
        ).clock,
        "a heat map": timed(lambda net, maps: heat_map_net.heat_map(net, maps[None]), head.net, maps).clock,
        "adaptation": learning(yes, no),
        "discrimination": learning(no, yes),
    }


def taps(name: str, layers: list[str], profile: str, root: Path, sequences: list[str], every: int) -> None:
    """Prints what a network on each layer alone finds."""
    backbone = backbones.get(name)
    weights, _ = weights_of(backbone)
    dataset = data.open_dataset("otb", root, sequences=sequences)
    config, values = trackers.profile("fcnt", profile, name)
    used = (config.specific, config.general)
    print(f"{name}, `{profile}`, every {every}th frame of {', '.join(dataset.names)}.\n")
    print("Overlap and centre error (of the target's diagonal) of the box found; beside: heat beside the")
    print("true box over that inside; half: share of the maps that hold half the significance.\n")
    print("| Layer | | maps | half | overlap | centre error | beside |\n" + "| --- " * 7 + "|", flush=True)
    for layer in layers:
        alone = dataclasses.replace(
            config, specific=None, general=layer, candidate_scales=motion.GatedCandidates(), info=True
        )
        params = {"backbone": weights, "tracker": jax.tree.map(jnp.asarray, as_arrays(values))}
        tracker = fcnt.fcnt(backbone, alone)
        steps = jax.jit(tracker.init), jax.jit(tracker.step)
        found = [ask(steps, params, dataset.sequence(own), every) for own in dataset.names]
        overlap, error, beside = (float(np.mean([row[i] for row in found])) for i in range(3))
        share = float(np.mean([half(backbone, alone, params, dataset.sequence(s)) for s in dataset.names]))
        role = {0: "SNet", 1: "GNet"}.get(used.index(layer), "") if layer in used else ""
        size = backbone.map_shape(layer, (config.input_size, config.input_size))
        print(
            f"| {layer} | {role} | {size[2]} of {size[0]} x {size[1]} | {share:.0%} | {overlap:.3f} "
            f"| {error:.3f} | {beside:.2f} |",
            flush=True,
        )


def ask(steps: tuple[Any, Any], params: dict, sequence: Sequence, every: int) -> tuple[float, float, float]:
    """Mean overlap, centre error and median heat beside the target, each frame asked from the one before."""
    init, step = steps
    state, found = None, []
    for number, image in enumerate(sequence.frames):
        if number and number % every:
            continue
        frame = to_frame(image, canvas_of(image.shape[:2]))
        truth = jnp.asarray(sequence.boxes[number], jnp.float32)
        if state is None:
            state = init(params, jax.random.key(0), frame, truth)
        elif np.isfinite(truth).all():
            last = jnp.asarray(sequence.boxes[number - 1], jnp.float32)
            state, output = step(params, state._replace(box=last), frame)
            apart = (output.box + jnp.roll(output.box, -2) / 2 - truth - jnp.roll(truth, -2) / 2)[:2]
            error = float(jnp.linalg.norm(apart) / jnp.linalg.norm(truth[2:]))
            overlap = float(metrics.overlap(np.asarray(output.box)[None], np.asarray(truth)[None])[0])
            found.append((overlap, error, min(float(output.info["distractor"]), 10.0)))
    overlaps, errors, beside = zip(*found, strict=True)
    return statistics.mean(overlaps), statistics.mean(errors), statistics.median(beside)


def half(backbone: backbones.Backbone, config: fcnt.Config, params: dict, sequence: Sequence) -> float:
    """The share of a layer's maps that hold half the positive significance in the first frame."""

    @jax.jit
    def worth(params: dict, frame: Frame, box: Box) -> jax.Array:
        hyper = params["tracker"]
        region = boxed(box)
        maps = maps_of(backbone, config, params["backbone"], frame, region)["general"]
        target, _ = heat_map.label(box, region, config.grid, edge=config.label_edge)
        maps = maps - hyper.centring * maps.mean((0, 1), keepdims=True)
        gain = hyper.spectral_norm[1] / (heat_map_net.spectral_norm(maps) * config.weight**0.5)
        rate = config.weight * hyper.selection_learning_rate
        rates = Rates(rate, hyper.selection_momentum, hyper.selection_decay[1])
        net, _ = map_selection.train(
            jax.random.key(0), maps * gain, target, rates, config.selection_iterations
        )
        return map_selection.significance(net, maps * gain, target, curvature=config.curvature)

    image = next(iter(sequence.frames))
    frame = to_frame(image, canvas_of(image.shape[:2]))
    found = np.sort(np.maximum(worth(params, frame, jnp.asarray(sequence.boxes[0], jnp.float32)), 0))[::-1]
    return float(np.searchsorted(found.cumsum(), found.sum() / 2) + 1) / len(found)


def boxed(box: Box) -> Box:
    """The square of twice the target's diagonal around it."""
    side = 2 * jnp.sqrt(jnp.sum(box[2:] ** 2))
    return jnp.concatenate([box[:2] + box[2:] / 2 - side / 2, jnp.full(2, side)])


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contestants", default=CONTESTANTS, help="NETWORK:PRECISION, commas between them")
    parser.add_argument("--profile", default="default", help="of speeds and layers")
    parser.add_argument("--frames", type=int, default=60, help="of the clip that speeds are measured on")
    parser.add_argument("--data", type=Path, help="folder of OTB's sequences")
    parser.add_argument("--sequences", default=",".join(SHORT))
    parser.add_argument("--taps", help="a network: compare its layers instead")
    parser.add_argument("--layers", help="which, commas between them")
    parser.add_argument("--every", type=int, default=5, help="frames between two that a layer is asked")
    options = parser.parse_args()
    if options.taps and not options.data:
        parser.error("--taps needs --data, the folder of OTB's sequences")
    sequences = options.sequences.split(",")
    if options.taps:
        layers = (options.layers or CANDIDATE_TAPS.get(options.taps, "").replace(" ", ",")).split(",")
        if not all(layers):
            parser.error(f"--layers is needed: which layers of {options.taps} to compare")
        taps(options.taps, layers, options.profile, options.data, sequences, options.every)
    else:
        contestants = options.contestants.split(",")
        prepare("bfloat16" if "bfloat16" in options.contestants else "float32")
        speed(contestants, options.profile, options.frames)


if __name__ == "__main__":
    main()
