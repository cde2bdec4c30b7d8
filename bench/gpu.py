"""What jtrack does on one GPU, in under eight minutes: one line of JSON a section.

    python bench/gpu.py --out FOLDER            # FOLDER/gpu.jsonl, FOLDER/trace
    python bench/gpu.py --out FOLDER --smoke    # every section at a tiny size, on a CPU too

Needs the checkout, no data and no weights: random weights take as long as trained ones. A section that fails
says so in its line (`error`) and the next one goes on; the exit status is then 1. After `--limit` seconds no
section begins: each of the rest is named in a line (`skipped`). The most telling sections come first.

Sections: `machine`, `matmul`, `host_to_device`, `dispatch`, `forward` (a network alone), `step` (a tracker on
lanes of targets, learning where due), `scan` (many frames in one dispatch), `track_batch` (what the host does
included), `golden` (boxes against those that a CPU made for the tests), `against_cpu` (GoogLeNet's boxes
against those of this machine's CPU) and `trace` (for Perfetto or XProf).
"""

import argparse
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# JAX reads it when it starts its devices: lanes by the hundred need most of the card.
os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", "0.9")

import jax
import jax.numpy as jnp
import numpy as np

import jtrack
from jtrack import backbones, devices, trackers
from jtrack.data import synthetic
from jtrack.run.advance import learn_where_due
from jtrack.run.batch import lane_executable  # no public name: one frame of many lanes
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import BoundTracker
from jtrack.types import Frame, PyTree, Tracker, as_arrays

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "trackers" / "golden.json"
ALIKE = 0.05  # pixels: what the tests allow from one machine to another


class Sizes(NamedTuple):
    """How large everything is."""

    frame: tuple[int, int]  # height and width
    matmul: int  # side of the matrices
    batch: int  # frames sent to the device at once, and images of a forward pass
    image: int  # side of the images of a forward pass
    networks: tuple[str, str, str]  # for a forward pass; for trackers; for GDT
    repeats: int  # timed calls
    scanned: int  # frames in one dispatch
    clip: int  # frames of a video
    lanes: tuple[int, ...]  # of steps, the most telling first
    many: int  # lanes of `track_batch`
    golden: tuple[str, ...]  # trackers
    short: bool  # whether trainings are cut short, as those of the golden boxes are


class Section(NamedTuple):
    """A line of the output: what is measured, and of what."""

    name: str
    measure: Callable[..., dict[str, Any]]  # (**facts) -> figures
    facts: dict[str, Any]


TRACKERS = ("hcft", "fcnt", "cnn_svm", "deeptrack", "gdt")
FULL = Sizes(
    frame=(360, 640),
    matmul=8192,
    batch=64,
    image=224,
    networks=("vgg19", "googlenet", "squeezenet"),
    repeats=10,
    scanned=32,
    clip=30,
    lanes=(64, 1, 256, 16),
    many=128,
    golden=TRACKERS,
    short=False,
)
# The golden boxes of the others are made by the same code, which costs minutes on a CPU.
SMOKE = Sizes(
    frame=(96, 128),
    matmul=64,
    batch=2,
    image=64,
    networks=("tiny", "tiny", "tiny"),
    repeats=2,
    scanned=3,
    clip=4,
    lanes=(2,),
    many=2,
    golden=("hcft",),
    short=True,
)


def sections(sizes: Sizes, out: Path) -> Iterator[Section]:
    """All sections, the most telling first."""
    deep, network, small = sizes.networks
    backbone = {"deeptrack": "none", "gdt": small}

    def steps(lanes: int) -> Iterator[Section]:
        for tracker in TRACKERS:
            facts = {"tracker": tracker, "network": backbone.get(tracker, network), "precision": "bfloat16"}
            yield Section("step", functools.partial(step, sizes), facts | {"lanes": lanes})

    yield Section("machine", machine, {})
    for dtype, precision in (("bfloat16", "default"), ("float32", "tensorfloat32"), ("float32", "highest")):
        yield Section("matmul", functools.partial(matmul, sizes), {"dtype": dtype, "precision": precision})
    yield Section("host_to_device", functools.partial(host_to_device, sizes), {})
    yield Section("dispatch", dispatch, {})
    for batch, precision in ((sizes.batch, "bfloat16"), (sizes.batch, "float32"), (1, "bfloat16")):
        facts = {"network": deep, "tap": "relu5_4", "batch": batch, "precision": precision}
        yield Section("forward", functools.partial(forward, sizes), facts)
    first, *rest = sizes.lanes
    yield from steps(first)
    for tracker in sizes.golden:
        yield Section("golden", golden, {"tracker": tracker})
    facts = {"network": network, "precision": "bfloat16", "lanes": 1, "frames": sizes.scanned}
    yield Section("scan", functools.partial(scan, sizes), facts)
    for name in ("hog", network):
        facts = {"network": name, "lanes": sizes.many}
        yield Section("track_batch", functools.partial(track_batch, sizes), facts)
    yield Section("against_cpu", functools.partial(against_cpu, sizes), {"network": network})
    facts = {"network": network, "lanes": first}
    yield Section("trace", functools.partial(trace, sizes, out / "trace"), facts)
    for lanes in rest:
        yield from steps(lanes)
    facts = {"tracker": "hcft", "network": deep, "precision": "bfloat16", "lanes": first}
    yield Section("step", functools.partial(step, sizes), facts)


def run(table: Iterator[Section], limit: float, say: Callable[[dict[str, Any]], None]) -> bool:
    """Measures section by section until the limit, and says what came out; whether none failed."""
    began = time.perf_counter()
    good = True
    for name, measure, facts in table:
        start = time.perf_counter()
        line = {"section": name, **facts, "at_s": round(start - began, 1)}
        if start - began > limit:
            say(line | {"skipped": f"the {limit:g} seconds of --limit were over"})
            continue
        try:
            line |= measure(**facts)
        except Exception as error:
            traceback.print_exc()
            line["error"] = f"{type(error).__name__}: {str(error)[:300]}"
            good = False
        say(line | {"took_s": round(time.perf_counter() - start, 1)})
    return good


def seconds(work: Callable[..., Any], *args: Any, repeats: int) -> float:
    """Seconds a call, of calls that follow each other; compiled and called once before it counts."""
    jax.block_until_ready(work(*args))
    start = time.perf_counter()
    for _ in range(repeats):
        result = work(*args)
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / repeats


def machine() -> dict[str, Any]:
    """What this runs on."""
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    return {
        "card": device.device_kind,
        "platform": device.platform,
        "driver": device.client.platform_version,
        "jax": jax.__version__,
        "jtrack": jtrack.__version__,
        "memory_MiB": memory >> 20,
        "cpus": os.cpu_count(),
    }


def matmul(sizes: Sizes, *, dtype: str, precision: str) -> dict[str, Any]:
    """The rate of one large product."""
    side = sizes.matmul
    x = jnp.ones((side, side), dtype)
    taken = seconds(jax.jit(lambda x: jnp.dot(x, x, precision=precision)), x, repeats=sizes.repeats)
    return {"side": side, "tflops": round(2 * side**3 / taken / 1e12, 3)}


def host_to_device(sizes: Sizes) -> dict[str, Any]:
    """The rate at which frames reach the device."""
    frames = np.zeros((sizes.batch, *canvas_of(sizes.frame), 3), np.uint8)
    taken = seconds(jax.device_put, frames, repeats=sizes.repeats)
    return {"MiB": round(frames.nbytes / 2**20, 2), "GBps": round(frames.nbytes / taken / 1e9, 2)}


def dispatch(*, calls: int = 1000) -> dict[str, Any]:
    """What a call costs that does nothing, one waiting for the other's result."""
    add = jax.jit(lambda x: x + 1)
    x = jax.block_until_ready(add(jnp.zeros(())))
    start = time.perf_counter()
    for _ in range(calls):
        x = add(x)
    jax.block_until_ready(x)
    return {"us": round(1e6 * (time.perf_counter() - start) / calls, 1)}


def forward(sizes: Sizes, *, network: str, tap: str, batch: int, precision: str) -> dict[str, Any]:
    """A network alone, up to a layer."""
    net = backbones.get(network, precision=devices.usable_precision(precision))
    weights = jax.device_put(net.cast_params(net.random_params(0, taps=(tap,))))
    images = jnp.ones((batch, sizes.image, sizes.image, 3))
    compiled = jax.jit(lambda weights, x: net.apply(weights, x, (tap,))[tap]).lower(weights, images).compile()
    taken = seconds(compiled, weights, images, repeats=sizes.repeats)
    figures = {"side": sizes.image, "used": net.precision, "ms": round(1e3 * taken, 3)}
    return figures | {"tflops": round(operations(compiled) / taken / 1e12, 3)} | memory_of(compiled)


def operations(compiled: Any) -> float:
    """Floating-point operations of a program, as XLA counts them: a loop's body once."""
    return (compiled.cost_analysis() or {}).get("flops", 0.0)


def memory_of(compiled: Any) -> dict[str, int]:
    """What a program takes beside its results."""
    analysis = compiled.memory_analysis()
    found = {"temporary_MiB": analysis.temp_size_in_bytes, "arguments_MiB": analysis.argument_size_in_bytes}
    return {name: size >> 20 for name, size in found.items()}


@functools.cache
def build(sizes: Sizes, tracker: str, network: str, precision: str) -> BoundTracker:
    """A tracker's `default` with random weights, on the device."""
    net = backbones.get(network, precision=devices.usable_precision(precision))
    chosen = trackers.profile(tracker, "default", network)
    config = chosen.config
    if sizes.short:
        from golden_rows import REDUCED, reduced  # beside this file

        config = reduced(config, REDUCED.get(tracker, {}))
    # VGG's fully connected layers hold half a gigabyte, and HCFT asks for none.
    taps = ("relu5_4",) if network.startswith("vgg") else None
    weights = net.cast_params(net.random_params(0, taps=taps))
    params = jax.device_put({"backbone": weights, "tracker": as_arrays(chosen.hyper)})
    return BoundTracker(trackers.find(tracker), "default", net, config, params)


@functools.cache
def clip(frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [T, H, W, 3] and the target's box in the first; one second of the made-up video."""
    made = synthetic.clip(frames=30, size=size)
    return np.stack([image for image, _ in zip(made.frames, range(frames), strict=False)]), made.boxes[0]


class Lanes(NamedTuple):
    """Lanes at work: each has its own target, key and frames, all of them equal but for the key."""

    params: PyTree
    state: PyTree
    frames: list[Frame]  # there and back, so that they can be repeated without a jump
    init_s: float  # compilation included


def begin(sizes: Sizes, bound: BoundTracker, lanes: int) -> tuple[Tracker, Lanes]:
    """Lanes that have been given their first frame."""
    images, box = clip(sizes.clip, sizes.frame)
    canvas = canvas_of(sizes.frame)

    def spread(image: np.ndarray) -> Frame:
        frame = to_frame(image, canvas)
        return Frame(*(jnp.array(jnp.broadcast_to(part, (lanes, *part.shape))) for part in frame))

    forth = [spread(image) for image in images[:4]]
    tracker = bound.functions(box, sizes.frame)
    keys = jax.random.split(jax.random.key(0), lanes)
    start = time.perf_counter()
    state = lane_executable(tracker).init(
        bound.params, keys, forth[0], np.tile(box.astype(np.float32), (lanes, 1))
    )
    jax.block_until_ready(state)
    return tracker, Lanes(bound.params, state, forth[1:] + forth[-2::-1], time.perf_counter() - start)


def step(sizes: Sizes, *, tracker: str, network: str, precision: str, lanes: int) -> dict[str, Any]:
    """A frame of every lane: what `jtrack.track_batch` asks of the device, with learning where it is due."""
    bound = build(sizes, tracker, network, precision)
    functions, (params, state, frames, init_s) = begin(sizes, bound, lanes)
    active = np.ones(lanes, bool)
    start = time.perf_counter()
    compiled = lane_executable(functions).step.lower(params, state, frames[0], active).compile()
    compile_s = time.perf_counter() - start
    count = max(sizes.repeats, len(frames))
    state, output = compiled(params, state, frames[0], active)
    jax.block_until_ready(output)
    start = time.perf_counter()
    for index in range(count):
        state, output = compiled(params, state, frames[(index + 1) % len(frames)], active)
    jax.block_until_ready((state, output))
    taken = (time.perf_counter() - start) / count
    if not np.isfinite(output.box).all():
        raise ArithmeticError("the boxes are not finite")
    program = compiled.as_text()
    return {
        "profile": bound.profile,
        "used": bound.backbone.precision,
        "ms": round(1e3 * taken, 3),
        "fps": round(lanes / taken, 1),
        "init_s": round(init_s, 1),
        "compile_s": round(compile_s, 1),
        "gflop": round(operations(compiled) / 1e9, 3),
        "fusions": program.count(" fusion("),
        "whiles": program.count(" while("),
        "cudnn": program.count("cudnn"),
    } | memory_of(compiled)


def scan(sizes: Sizes, *, network: str, precision: str, lanes: int, frames: int) -> dict[str, Any]:
    """HCFT through many frames that are on the device already, in one call."""
    tracker, (params, state, images, _) = begin(sizes, build(sizes, "hcft", network, precision), lanes)
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *images)
    step_lanes = jax.vmap(tracker.step, (None, 0, 0))

    @functools.partial(jax.jit, donate_argnums=1)
    def through(params: PyTree, state: PyTree, stacked: Frame) -> PyTree:
        def one(state: PyTree, index: jax.Array) -> tuple[PyTree, jax.Array]:
            frame = jax.tree.map(lambda part: part[index % len(images)], stacked)
            state, output = step_lanes(params, state, frame)
            return learn_where_due(tracker.learn, params, state), output.box

        return jax.lax.scan(one, state, jnp.arange(frames))

    state, boxes = jax.block_until_ready(through(params, state, stacked))
    calls = 3
    start = time.perf_counter()
    for _ in range(calls):
        state, boxes = through(params, state, stacked)
    jax.block_until_ready(boxes)
    return {"tracker": "hcft", "ms_a_frame": round(1e3 * (time.perf_counter() - start) / calls / frames, 3)}


def track_batch(sizes: Sizes, *, network: str, lanes: int) -> dict[str, Any]:
    """HCFT through videos in memory, the second time, when everything is compiled."""
    bound = build(sizes, "hcft", network, "float32")
    images, box = clip(sizes.clip, sizes.frame)
    jobs = [(images, box)] * lanes
    jtrack.track_batch(jobs, tracker=bound, lanes=lanes)
    start = time.perf_counter()
    jtrack.track_batch(jobs, tracker=bound, lanes=lanes)
    taken = time.perf_counter() - start
    return {"tracker": "hcft", "frames": len(images), "fps": round(lanes * len(images) / taken, 1)}


def golden(*, tracker: str) -> dict[str, Any]:
    """The boxes of `default` on the tests' clip against those that a CPU made."""
    from golden_clip import clip as golden_clip
    from golden_rows import create_reduced, record, rows

    row = next(row for row in rows() if (row.tracker, row.profile) == (tracker, "default"))
    kept = np.array(json.loads(GOLDEN.read_text())[" ".join(row)]["boxes"])
    made = golden_clip()
    found = record(create_reduced(row), made.frames[: len(kept)], made.box)
    return {"network": row.backbone} | apart(np.array(found["boxes"]), kept)


def against_cpu(sizes: Sizes, *, network: str) -> dict[str, Any]:
    """HCFT's boxes on the default device against those on this machine's CPU, the weights the same."""
    bound = build(sizes, "hcft", network, "float32")
    images, box = clip(sizes.clip, sizes.frame)
    here = jtrack.track(images, box, tracker=bound).boxes
    cpu = jax.devices("cpu")[0]
    # The setting and not its context manager, which the thread that sends frames would not see.
    before = jax.config.jax_default_device
    jax.config.update("jax_default_device", cpu)
    try:
        there = jtrack.track(images, box, tracker=bound._replace(params=jax.device_get(bound.params))).boxes
    finally:
        jax.config.update("jax_default_device", before)
    return {"tracker": "hcft", "frames": len(images)} | apart(here, there)


def apart(here: np.ndarray, there: np.ndarray) -> dict[str, Any]:
    """The largest difference of boxes [T, 4], and the first frame where it is more than the tests allow."""
    largest = np.abs(here - there).max(axis=1)
    parted = np.flatnonzero(~(largest <= ALIKE))
    first = int(parted[0]) if parted.size else None
    return {"apart_px": round(float(largest.max()), 5), "parted_at_frame": first}


def trace(sizes: Sizes, folder: Path, *, network: str, lanes: int) -> dict[str, Any]:
    """A profile of some frames of HCFT, compiled beforehand."""
    bound = build(sizes, "hcft", network, "bfloat16")
    tracker, (params, state, frames, _) = begin(sizes, bound, lanes)
    advance, active = lane_executable(tracker).step, np.ones(lanes, bool)
    state, output = jax.block_until_ready(advance(params, state, frames[0], active))
    with jax.profiler.trace(str(folder)):
        for frame in frames[1:]:
            state, output = advance(params, state, frame, active)
        jax.block_until_ready(output)
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        raise FileNotFoundError(f"the profiler left nothing in {folder}")
    return {"tracker": "hcft", "files": len(files), "kB": sum(path.stat().st_size for path in files) // 1000}


def main() -> None:
    """Reads the command line and runs the sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.jsonl and of the trace")
    parser.add_argument("--smoke", action="store_true", help="every section at a tiny size")
    parser.add_argument("--limit", type=float, default=400.0, help="seconds after which no section begins")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    devices.keep_memory()
    with (options.out / "gpu.jsonl").open("w") as file:

        def say(line: dict[str, Any]) -> None:
            text = json.dumps(line)
            print(text, flush=True)
            print(text, file=file, flush=True)

        good = run(sections(SMOKE if options.smoke else FULL, options.out), options.limit, say)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
