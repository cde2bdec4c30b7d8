"""VGG-19 to conv5_4 at 224 x 224: jtrack against PyTorch, in float32 and in bfloat16.

    python bench/backbones.py [--rounds 12] [--batch 1]

Each contestant is a process of its own, so that no thread pool disturbs another's, and they take turns, so
that whatever else the machine does meets all of them. A turn is one pass to warm the caches and three that
are timed; the table gives medians over all turns, and the cosine of conv5_4 with jtrack's float32. All use
the same random weights. PyTorch runs channels_last on as many threads as there are cores; without it
(the extra `bench`), only jtrack is measured. A GPU is used by both where there is one.
"""

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import backbones, devices
from jtrack.errors import missing_extra

TAP = "conv5_4"
SIZE = (224, 224)
TIMED = 3
CONTESTANTS = [
    (library, precision) for library in ("jtrack", "torch") for precision in ("float32", "bfloat16")
]


def images(batch: int) -> np.ndarray:
    """[batch, 224, 224, 3] RGB 0..255."""
    return np.random.default_rng(0).uniform(0, 255, (batch, *SIZE, 3)).astype(np.float32)


def jtrack_pass(precision: str, batch: int) -> tuple[str, Callable[[], np.ndarray], Callable[[], object]]:
    """What it runs on, the map, and one forward pass that waits for its end."""
    devices.configure_cpu()
    if devices.usable_precision(precision) != precision:
        raise SystemExit(f"{precision} is not to be trusted on this device")
    backbone = backbones.get("vgg19", precision=precision)
    params = backbone.cast_params(backbone.random_params(0, taps=(TAP,)))
    x = jnp.asarray(images(batch))
    forward = jax.jit(lambda p, x: backbone.apply(p, x, (TAP,))[TAP])
    device = jax.devices()[0]
    name = f"{jax.__version__} on {device.device_kind}"
    return name, lambda: np.asarray(forward(params, x)), lambda: forward(params, x).block_until_ready()


def torch_pass(precision: str, batch: int) -> tuple[str, Callable[[], np.ndarray], Callable[[], object]]:
    """As `jtrack_pass`; the images are preprocessed beforehand, which favours PyTorch a little."""
    import torch

    jax.config.update("jax_platforms", "cpu")
    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    torch.backends.cudnn.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = backbones.get("vgg19")
    modules = []
    for layer, weights in backbone.random_params(0, taps=(TAP,)).items():
        kernel = torch.from_numpy(np.array(weights["kernel"]).transpose(3, 2, 0, 1).copy())
        convolution = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        convolution.weight.data, convolution.bias.data = kernel, torch.zeros(kernel.shape[0])
        if modules and layer.endswith("_1"):
            modules.append(torch.nn.MaxPool2d(2, 2, ceil_mode=True))
        modules += [convolution, torch.nn.ReLU(inplace=True)]
    kind = {"memory_format": torch.channels_last, "dtype": getattr(torch, precision), "device": device}
    network = torch.nn.Sequential(*modules[:-1]).eval().to(**kind)
    mean = np.float32(backbone.preprocessing.mean)
    x = torch.from_numpy((images(batch) - mean).transpose(0, 3, 1, 2).copy()).to(**kind)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            y = network(x)
            if device == "cuda":
                torch.cuda.synchronize()
            return y

    name = f"{torch.__version__} on {torch.cuda.get_device_name() if device == 'cuda' else 'cpu'}"
    return name, lambda: run().float().permute(0, 2, 3, 1).cpu().numpy(), run


def work(library: str, precision: str, batch: int, path: str) -> None:
    """A contestant: says what it is, stores its map, then runs a turn for every line it is sent."""
    name, compute, forward = (jtrack_pass if library == "jtrack" else torch_pass)(precision, batch)
    np.save(path, compute())
    print(name, flush=True)
    for _ in sys.stdin:
        forward()
        times = []
        for _ in range(TIMED):
            start = time.perf_counter()
            forward()
            times.append(time.perf_counter() - start)
        print(*times, flush=True)


def ask(process: subprocess.Popen[str], *, line: str = "") -> str:
    """Sends a line, if any, and waits for the answer."""
    assert process.stdin and process.stdout
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    answer = process.stdout.readline().strip()
    if not answer:
        raise SystemExit(f"{' '.join(process.args[2:6])} failed")
    return answer


def main() -> None:
    """Starts the contestants, lets them take turns and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12, help="turns of each contestant")
    parser.add_argument("--batch", type=int, default=1, help="images in a pass")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        library, precision, path = options.worker
        return work(library, precision, options.batch, path)

    contestants = CONTESTANTS
    try:
        importlib.metadata.version("torch")  # importing it here would take memory from those that are timed
    except ImportError as error:
        contestants = [c for c in CONTESTANTS if c[0] != "torch"]
        print(f"Only jtrack is measured: {missing_extra('the comparison with PyTorch', 'bench', error)}\n")
    # Several processes share one GPU: none may take most of its memory at once.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    processes, names, maps = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for contestant in contestants:
                path = str(Path(folder) / f"{'-'.join(contestant)}.npy")
                command = [sys.executable, __file__, "--worker", *contestant, path]
                command += ["--batch", str(options.batch)]
                processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
                    )
                )
                names.append(ask(processes[-1]))
                maps.append(np.load(path).ravel().astype(np.float64))
            times: list[list[float]] = [[] for _ in contestants]
            for _ in range(options.rounds):
                for process, own in zip(processes, times, strict=True):
                    own.extend(map(float, ask(process, line="go").split()))
        finally:
            for process in processes:
                process.kill()

    medians = [statistics.median(own) for own in times]
    print(f"VGG-19 to {TAP}, {options.batch} x {SIZE[0]} x {SIZE[1]}, {options.rounds} turns of {TIMED}\n")
    print("| | median ms | least ms | / torch float32 | / torch bfloat16 | cosine | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for contestant, own, median, found, name in zip(contestants, times, medians, maps, names, strict=True):
        ratios = [f"{median / other:.2f}" for other in medians[2:]] or ["", ""]
        cosine = found @ maps[0] / np.sqrt((found @ found) * (maps[0] @ maps[0]))
        cells = [" ".join(contestant), f"{1e3 * median:.1f}", f"{1e3 * min(own):.1f}", *ratios]
        print("|", " | ".join([*cells, f"{cosine:.5f}", name]), "|")


if __name__ == "__main__":
    main()
