"""CNN-SVM: where the time of a frame goes, and how good its masks are.

    python bench/cnn_svm.py [--nets alexnet,squeezenet,googlenet]

Neither needs data. The first table needs no weights: the parts of a frame of the synthetic clip for each
network and profile, each compiled alone, in milliseconds; random weights take as long as trained ones. The
second compares masks with boxes on clips whose masks are known, as the paper's segmentation experiment does:
both against the true masks, a box as the pixels that it covers.
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench import timing
from jtrack import backbones, devices, run, trackers
from jtrack.benchmark import mask_measures
from jtrack.cli.track import prepare
from jtrack.components import motion, scale
from jtrack.components.salience import Extracted
from jtrack.data import synthetic
from jtrack.learning import bayes_filter, incremental_svm, saliency_filter
from jtrack.run import segmentation
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import BoundTracker, cnn_svm
from jtrack.types import Frame, as_arrays
from jtrack.vision import boxes


def parts(name: str, profile: str, precision: str, turns: int) -> dict[str, float]:
    """Milliseconds of each part of a frame."""
    net = backbones.get(name, precision=devices.usable_precision(precision))
    config, values = trackers.profile("cnn_svm", profile, name)
    hyper = jax.tree.map(jnp.asarray, as_arrays(values))
    params = {"backbone": net.random_params(0, taps=(config.features.layer,)), "tracker": hyper}
    tracker = cnn_svm.cnn_svm(net, config)
    clip = synthetic.clip(frames=2)
    frame = to_frame(next(iter(clip.frames)), canvas_of(clip.frames.size))
    box, key = jnp.asarray(clip.boxes[0], jnp.float32), jax.random.key(0)
    assert tracker.learn is not None
    learn = tracker.learn
    state = jax.jit(tracker.init)(params, key, frame, box)
    candidates = motion.same_size_candidates(
        key, state.box, config.candidates, hyper.position_deviation, frame.size
    )
    # Random weights may find no positive candidate; the cost is that of a frame in which all are.
    some = candidates[: 1 if config.saliency is None else config.saliency.back_projected]
    weights = incremental_svm.weights(state.svm)
    features = jax.random.uniform(key, state.features.shape) * 1e-2
    labels = jnp.full(state.labels.shape, -1.0).at[0].set(1)
    ready = state._replace(features=features, labels=labels)

    def extract(params: dict, frame: Frame) -> Extracted:
        region = motion.region_around(state.box, hyper.margin)
        return config.features.extract(net, params["backbone"], frame, region)

    def timed(work: Callable[..., Any], *args: Any) -> float:
        return timing.timed(work, *args, turns=turns).clock

    rows = {
        f"describing {candidates.shape[0]} candidates": timed(
            lambda params, frame: extract(params, frame).describe(candidates), params, frame
        ),
        "a whole frame without learning": timed(tracker.step, params, state, frame),
        f"learning {config.samples} samples": timed(lambda state: learn(params, state), ready),
    }
    if config.saliency is not None:
        cells, model = config.saliency.grid, state.saliency
        cell = hyper.region * motion.side(state.box[2:]) / cells
        window = saliency_filter.window_around(boxes.centre(state.box), cell, cells)

        def salient(params: dict, frame: Frame) -> jax.Array:
            valid = jnp.ones(some.shape[0], jnp.bool_)
            return extract(params, frame).salience(some, valid, weights, window, cells)

        def filtering(salient: jax.Array) -> jax.Array:
            places = (boxes.centre(candidates) - boxes.centre(state.box)[None])[:, ::-1] / cell
            counted = jnp.linspace(1, 0, candidates.shape[0])
            rule = config.saliency.prior
            prior = saliency_filter.predict(model, places, counted, hyper.motion / cell, rule)
            likelihood = saliency_filter.likelihood(model, salient, state.box[2:][::-1] / cell)
            return bayes_filter.update(prior, likelihood)

        rows[f"saliency of {some.shape[0]} candidates, by itself"] = timed(salient, params, frame)
        rows["prior, likelihood and posterior"] = timed(filtering, jnp.ones((cells, cells)))
    if config.scale is not None:

        def follow(state: cnn_svm.State, frame: Frame) -> Any:
            box = state.box
            rates = {"regularisation": hyper.scale_regularisation} | {
                "learning_rate": hyper.scale_learning_rate
            }
            return scale.follow(config.scale, state.scale, frame, box, jnp.ones((), bool), **rates)

        rows["scale"] = timed(follow, state, frame)
    return rows


def profiles_of_time(nets: list[str], profiles: list[str], precisions: list[str], turns: int) -> None:
    """Prints a table a network."""
    for name in nets:
        found = {
            f"{profile}, {precision}": parts(name, profile, precision, turns)
            for profile in profiles
            for precision in precisions
        }
        print(f"\n{name} with random weights on {jax.devices()[0].device_kind}, milliseconds\n")
        print("| part | " + " | ".join(found) + " |\n| --- |" + " --: |" * len(found))
        for part in dict.fromkeys(part for rows in found.values() for part in rows):
            cells = (f"{rows[part]:.0f}" if part in rows else "–" for rows in found.values())
            print(f"| {part} | {' | '.join(cells)} |")
        rates = []
        for rows in found.values():
            whole = sum(took for part, took in rows.items() if part.startswith(("a whole", "learning")))
            rates.append(f"{1e3 / whole:.2f}")
        print(f"| frames a second, learning in each | {' | '.join(rates)} |", flush=True)


def segmentations(bound: BoundTracker, clips: int, frames: int) -> None:
    """Prints the success of masks and of boxes against the true masks of synthetic clips."""
    bound = bound._replace(config=dataclasses.replace(bound.config, info=True))
    print(f"\nMasks of {clips} synthetic clips of {frames} frames, {bound.backbone.name} {bound.profile}\n")
    print("| clip | mask AUC | box AUC | mean overlap, mask | box |\n| --- | --: | --: | --: | --: |")
    for seed in range(clips):
        arguments: dict[str, Any] = {"frames": 120, "size": (240, 320), "seed": seed}
        clip, truth = synthetic.clip(**arguments), synthetic.masks(**arguments)
        found: list[np.ndarray] = []

        def look(index: int, image: np.ndarray, said: list, found: list = found) -> None:
            if index:
                found.append(segmentation.segment_output(image, said[0].box, said[0].info))

        done = run.track(clip, clip.boxes[0], tracker=bound, end=frames, on_frame=look)
        true = np.stack(list(truth))[1 : 1 + len(found)]
        filled = mask_measures.filled(done.boxes[1:], true.shape[1:])
        both = [mask_measures.overlap(np.stack(found), true), mask_measures.overlap(filled, true)]
        (mask, _), (box, _) = (mask_measures.score(overlaps) for overlaps in both)
        print(
            f"| {seed} | {mask:.3f} | {box:.3f} | {both[0].mean():.3f} | {both[1].mean():.3f} |", flush=True
        )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default="alexnet,squeezenet,googlenet", help="networks to time")
    parser.add_argument("--profiles", default="paper,default", help="profiles to time")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--turns", type=int, default=5, help="of each part; medians are printed")
    parser.add_argument("--clips", type=int, default=3, help="clips to segment")
    parser.add_argument("--clip-frames", type=int, default=20)
    parser.add_argument("--backbone", default=None, help="network that segments")
    options = parser.parse_args()
    prepare("bfloat16" if "bfloat16" in options.precisions else "float32")
    if options.nets:
        nets, names, precisions = (
            text.split(",") for text in (options.nets, options.profiles, options.precisions)
        )
        profiles_of_time(nets, names, precisions, options.turns)
    if options.clips:
        bound = trackers.create("cnn_svm", backbone=options.backbone)
        segmentations(bound, options.clips, options.clip_frames)


if __name__ == "__main__":
    main()
