"""HCFT `release2016` on VGG-16: jtrack beside a plain PyTorch program of the same algorithm.

    python bench/hcft_torch.py [--rounds 8] [--frames 8]

Each contestant is a process of its own and tracks the synthetic clip, a few frames a turn. They take
turns, so that whatever else the machine does meets all of them. The table gives medians of frames a
second over the turns without reading, and the mean overlap with the boxes of jtrack in float32. PyTorch
runs channels_last, on one thread and on as many as there are cores: the better one counts. Both use the
weights that the extra `nets` installs. Without PyTorch (extra `bench`) only jtrack is measured.
"""

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jtrack
from jtrack import devices, trackers
from jtrack.benchmark import metrics
from jtrack.data import synthetic
from jtrack.learning.filter_grid import FixedGrid
from jtrack.weights import store

NETWORK, PROFILE = "vgg16_torchvision", "release2016"
Step = Callable[[np.ndarray], np.ndarray]  # image -> box [4]


def clip() -> tuple[list[np.ndarray], np.ndarray]:
    """Images uint8 [H, W, 3] and the box in the first."""
    made = synthetic.clip()
    assert made.boxes is not None
    return list(made.frames), made.boxes[0]


def with_jtrack(image: np.ndarray, box: np.ndarray, precision: str) -> Step:
    """The tracker after its first frame; one call is a frame, its box waited for."""
    devices.configure_cpu()
    if devices.usable_precision(precision) != precision:
        raise SystemExit(f"{precision} is not to be trusted on this device")
    bound = trackers.create("hcft", profile=PROFILE, backbone=NETWORK, precision=precision)
    functions = bound.functions(box, image.shape[:2])
    params = jax.device_put(bound.params)
    state = jax.jit(functions.init)(params, jax.random.key(0), jtrack.to_frame(image), jnp.float32(box))
    step = jax.jit(functions.step, donate_argnums=1)

    def track(image: np.ndarray) -> np.ndarray:
        nonlocal state
        state, output = step(params, state, jtrack.to_frame(image))
        return np.asarray(output.box)

    return track


def torch_maps(taps: set[str], precision: str) -> Callable[[Any], dict[str, Any]]:
    """VGG-16 in PyTorch: an image [1, 3, h, w], RGB 0..255, to the maps {tap: [1, C, h', w']}."""
    import torch
    from torch.nn import functional

    dtype = getattr(torch, precision)
    own = store.network(NETWORK).preprocessing
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (own.mean, own.std))
    layers = []
    for name, arrays in store.load(NETWORK).items():
        kernel = torch.from_numpy(np.ascontiguousarray(arrays["kernel"].transpose(3, 2, 0, 1)))
        kernel = kernel.to(dtype, memory_format=torch.channels_last)
        relu = name.replace("conv", "relu")
        layers.append((relu, kernel, torch.from_numpy(np.array(arrays["bias"])).to(dtype)))
    last = max(i for i, (relu, _, _) in enumerate(layers) if relu in taps)

    def apply(image: Any) -> dict[str, Any]:
        x = ((image - mean) / std).to(dtype, memory_format=torch.channels_last)
        maps = {}
        for i, (relu, kernel, bias) in enumerate(layers[: last + 1]):
            if relu.endswith("_1") and i:
                x = functional.max_pool2d(x, 2, 2)
            x = functional.relu_(functional.conv2d(x, kernel, bias, padding=1))
            maps[relu] = x
        return {tap: maps[tap].float() for tap in taps}

    return apply


def with_torch(image: np.ndarray, box: np.ndarray, precision: str) -> Step:
    """As `with_jtrack`: the released code's steps, written with what PyTorch offers."""
    import torch
    from torch.nn import functional

    bound = trackers.create("hcft", profile=PROFILE, backbone=NETWORK)
    config, hyper = bound.for_target(box, image.shape[:2]), bound.params["tracker"]
    grid, taps = config.grid, [layer for group in config.layers for layer in group]
    network = torch_maps(set(taps), precision)
    hann = torch.from_numpy(np.outer(*map(np.hanning, grid)).astype(np.float32))
    target = jnp.asarray(box[2:], jnp.float32)
    window = np.asarray(config.window.size(target, np.asarray(image.shape[:2])))
    label = config.window.label(target, jnp.asarray(window), jnp.asarray(hyper.label_width), FixedGrid(grid))
    label = torch.fft.rfft2(torch.from_numpy(np.array(label)))
    energy_scale = 1 / (grid[0] * grid[1])

    def spectra(image: np.ndarray, centre: np.ndarray) -> list[Any]:
        corner = np.floor(centre + 1) - np.floor(window / 2)
        columns, rows = (
            np.clip(np.arange(start, start + length), 0, side - 1).astype(int)
            for start, length, side in zip(corner, window, image.shape[1::-1], strict=True)
        )
        patch = torch.from_numpy(image[rows[:, None], columns[None]]).permute(2, 0, 1)[None].float()
        maps = network(functional.interpolate(patch, config.input_size, mode="bilinear", antialias=True))
        sized = (functional.interpolate(maps[tap], grid, mode="bilinear", antialias=True) for tap in taps)
        return [torch.fft.rfft2(map_[0] * hann) for map_ in sized]

    def train(sample: Any) -> tuple[Any, Any]:
        energy = (sample.abs() ** 2).mean(0) * energy_scale
        return label / (energy + float(hyper.regularisation)), sample

    centre = np.asarray(config.window.first_centre(jnp.asarray(box, jnp.float32)))
    with torch.inference_mode():
        filters = [train(sample) for sample in spectra(image, centre)]

    def track(image: np.ndarray) -> np.ndarray:
        nonlocal centre, filters
        with torch.inference_mode():
            response = sum(
                float(weight)
                * torch.fft.irfft2(dual * (sample * template.conj()).mean(0) * energy_scale, s=grid)
                for weight, (dual, template), sample in zip(
                    hyper.layer_weights, filters, spectra(image, centre), strict=True
                )
            )
            peak = np.array(np.unravel_index(int(response.argmax()), grid))
            moved = np.where(peak > np.array(grid) // 2, peak - grid, peak)
            centre = centre + 4 * moved[::-1].astype(np.float32)
            rate = float(hyper.learning_rate)
            filters = [
                tuple(old + rate * (new - old) for old, new in zip(*both, strict=True))
                for both in zip(filters, map(train, spectra(image, centre)), strict=True)
            ]
        return np.concatenate([centre - box[2:] / 2, box[2:]])

    return track


def work(library: str, precision: str, threads: int, frames: int) -> None:
    """A contestant: for every line it is sent, tracks the next frames and prints their seconds and boxes."""
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
    images, box = clip()
    step = (with_jtrack if library == "jtrack" else with_torch)(images[0], box, precision)
    following: Iterator[np.ndarray] = iter(images[1:])
    print(json.dumps([0.0, [step(next(following)).tolist()]]), flush=True)  # compiled
    for _ in sys.stdin:
        part = list(itertools.islice(following, frames))
        start = time.perf_counter()
        boxes = [step(image).tolist() for image in part]
        print(json.dumps([time.perf_counter() - start, boxes]), flush=True)


def main() -> None:
    """Starts the contestants, lets them take turns and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--frames", type=int, default=8, help="frames a turn")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        library, precision, threads = options.work
        work(library, precision, int(threads), options.frames)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    contestants = [("jtrack", precision, cores) for precision in ("float32", "bfloat16")]
    if importlib.util.find_spec("torch"):
        counts = sorted({1, cores})
        contestants += [("torch", p, n) for p in ("float32", "bfloat16") for n in counts]
    command = [sys.executable, __file__, "--frames", str(options.frames), "--work"]
    running = [
        subprocess.Popen(
            [*command, *map(str, each)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for each in contestants
    ]
    rates: list[list[float]] = [[] for _ in running]
    boxes: list[list[list[float]]] = [[] for _ in running]
    for turn in range(options.rounds + 1):
        for k, process in enumerate(running):
            assert process.stdin and process.stdout
            if turn:
                process.stdin.write("go\n")
                process.stdin.flush()
            seconds, new = json.loads(process.stdout.readline())
            boxes[k] += new
            if turn and new:
                rates[k].append(len(new) / seconds)
    for process in running:
        process.communicate()
    print("| HCFT release2016 on VGG-16 | threads | frames a second | overlap with jtrack's float32 boxes |")
    print("| --- | --- | --- | --- |")
    for (library, precision, threads), rate, found in zip(contestants, rates, boxes, strict=True):
        overlap = metrics.overlap(np.array(found), np.array(boxes[0])).mean()
        print(f"| {library} {precision} | {threads} | {statistics.median(rate):.2f} | {overlap:.3f} |")


if __name__ == "__main__":
    main()
