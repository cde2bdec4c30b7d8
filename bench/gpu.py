"""What jtrack does on one GPU, in under eight minutes: one line of JSON a section.

    python bench/gpu.py --out FOLDER            # FOLDER/gpu.jsonl, FOLDER/trace
    python bench/gpu.py --out FOLDER --smoke    # every section at a tiny size, on a CPU too
    python bench/gpu.py --out FOLDER --only step fcnt    # sections of these names, trackers or networks

Needs the checkout, no data and no weights: random weights take as long as trained ones. A section that fails
says so in its line (`error`) and the next one goes on; the exit status is then 1. After `--limit` seconds no
section begins: each of the rest is named in a line (`skipped`). The most telling sections come first.

Most of the time is the compiler's. Several of these may run at once on one card, each with its own --only,
--out and share of the memory (XLA_CLIENT_MEM_FRACTION). With GPU_BENCH_TURN=FILE for all they compile side by
side and time one after the other; XLA_FLAGS=--xla_gpu_autotune_level=0 keeps the compiler off the card.

Sections: `machine`, `matmul`, `host_to_device`, `dispatch`, `forward` (a network alone), `step` (a tracker's
lanes: what the engine asks of a device), `engine` (whole videos: what the host does included), `learn` (lanes
that are due, together and one by one), `golden` (boxes against those that a CPU made for the tests),
`against_cpu` (GoogLeNet's boxes against those of this machine's CPU) and `trace` (for Perfetto or XProf).
`engine` uses all devices, everything else the first.
"""

import argparse
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

# JAX reads it when it starts its devices: lanes by the hundred need most of the card.
os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", "0.9")

import jax
import jax.numpy as jnp
import numpy as np
from filelock import FileLock
from jax.sharding import SingleDeviceSharding

import jtrack
from jtrack import backbones, devices, trackers
from jtrack.checks import there
from jtrack.data import FrameSource, synthetic
from jtrack.precision import PRECISIONS
from jtrack.run.advance import learn_where_due
from jtrack.run.engine import AT_ONCE, Followed, Usage, follow, key_data, shared_canvas
from jtrack.run.inputs import to_frame
from jtrack.run.lane_memory import LaneMemory, fitting_lanes, lane_memory
from jtrack.run.lanes import Lanes, Seen, Target, programs
from jtrack.run.mesh import AXIS, mesh_of, placed
from jtrack.run.schedule import Job
from jtrack.run.shared_frames import SENT_AT_ONCE, SharedFrames, Wanted
from jtrack.run.stream import make_tracker
from jtrack.trackers import BoundTracker
from jtrack.types import Array, PyTree, Tracker, as_arrays

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "trackers" / "golden.json"
ALIKE = 0.05  # pixels: what the tests allow from one machine to another
DIFFERENT = 4  # targets of `step` that differ in their seed; the other lanes do what the first does


class Sizes(NamedTuple):
    """How large everything is."""

    frame: tuple[int, int]  # height and width
    matmul: int  # side of the matrices
    batch: int  # frames sent to the device at once, and images of a forward pass
    image: int  # side of the images of a forward pass
    networks: tuple[str, str, str]  # for a forward pass; for trackers; for GDT
    repeats: int  # timed calls
    dispatches: int  # timed calls of `step`, each of `AT_ONCE` frames
    clip: int  # images that all videos are made of
    lanes: tuple[int, ...]  # of steps, the most telling first
    due: tuple[int, ...]  # lanes that learn
    length: int  # frames of the longest video of `engine`
    videos: tuple[tuple[int, int], ...]  # of `engine`: how many, and targets in each
    store: int | None  # bytes of their frames that a device keeps; None: as the engine chooses
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
    dispatches=5,  # 40 frames, in which FCNT adapts twice
    clip=30,
    lanes=(64, 256, 1, 16),
    due=(1, 4, 8, 32),
    length=120,
    videos=((128, 1), (6, 20)),  # as OPE and as TRE have them
    store=None,
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
    dispatches=1,
    clip=4,
    lanes=(2,),
    due=(1, 2),
    length=6,
    videos=((3, 1), (1, 3)),
    store=32 << 20,
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

    first, *rest = sizes.lanes
    yield Section("machine", machine, {})
    for precision in PRECISIONS:
        yield Section("matmul", functools.partial(matmul, sizes), {"precision": precision})
    yield Section("host_to_device", functools.partial(host_to_device, sizes), {})
    yield Section("dispatch", dispatch, {})
    for batch, precision in (*((sizes.batch, precision) for precision in PRECISIONS), (1, "bfloat16")):
        facts = {"network": deep, "tap": "relu5_4", "batch": batch, "precision": precision}
        yield Section("forward", functools.partial(forward, sizes), facts)
    facts = {"tracker": "hcft", "network": deep, "precision": "bfloat16", "lanes": first}
    yield Section("step", functools.partial(step, sizes), facts)
    yield from steps(first)
    for tracker in sizes.golden:
        yield Section("golden", golden, {"tracker": tracker})
    for name, precision in ((network, "bfloat16"), ("hog", "float32")):
        for videos, targets in sizes.videos:
            facts = {"tracker": "hcft", "network": name, "precision": precision, "lanes": first}
            facts |= {"videos": videos, "targets": targets}
            yield Section("engine", functools.partial(engine, sizes), facts)
    facts = {"network": network, "lanes": first}
    yield Section("learn", functools.partial(learn, sizes), facts)
    yield Section("against_cpu", functools.partial(against_cpu, sizes), {"network": network})
    for lanes in rest:
        yield from steps(lanes)
    yield Section("trace", functools.partial(trace, sizes, out / "trace"), facts)


def wanted(section: Section, words: Sequence[str]) -> bool:
    """Whether every word is the section's name or one of its facts."""
    return all(word in (section.name, *map(str, section.facts.values())) for word in words)


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


# Held while something is timed.
TURN: AbstractContextManager[Any] = (
    FileLock(os.environ["GPU_BENCH_TURN"]) if "GPU_BENCH_TURN" in os.environ else nullcontext()
)


def seconds(work: Callable[..., Any], *args: Any, repeats: int) -> float:
    """Seconds a call, of calls that follow each other; compiled and called once before it counts."""
    jax.block_until_ready(work(*args))
    with TURN:
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
        "devices": jax.local_device_count(),
        "platform": device.platform,
        "driver": device.client.platform_version,
        "jax": jax.__version__,
        "jtrack": jtrack.__version__,
        "memory_MiB": memory >> 20,
        "cpus": os.cpu_count(),
    }


def matmul(sizes: Sizes, *, precision: str) -> dict[str, Any]:
    """The rate of one large product, as networks of a precision ask for it."""
    side = sizes.matmul
    # Random numbers: a chip that draws less power on equal ones would seem faster than it is.
    x = jax.random.normal(jax.random.key(0), (side, side), jnp.float32)
    x = x.astype(jnp.bfloat16) if precision == "bfloat16" else x
    product = jax.jit(functools.partial(jnp.dot, precision=PRECISIONS[precision]))
    taken = seconds(product, x, x, repeats=sizes.repeats)
    return {"side": side, "tflops": round(2 * side**3 / taken / 1e12, 3)}


def host_to_device(sizes: Sizes) -> dict[str, Any]:
    """The rate at which frames reach the device: in one piece, as the engine sends them, and otherwise."""
    frames = np.zeros((sizes.batch, *shared_canvas(sizes.frame), 3), np.uint8)
    device = jax.local_devices()[0]
    with ThreadPoolExecutor(4) as threads:

        def four(parts: list[np.ndarray]) -> list[Array]:
            return list(threads.map(jax.device_put, parts))

        pieces = np.array_split(frames, -(-len(frames) // SENT_AT_ONCE[0]))
        ways = {
            "GBps": seconds(jax.device_put, frames, repeats=sizes.repeats),
            "GBps_pieces": seconds(
                lambda: [jax.device_put(piece) for piece in pieces], repeats=sizes.repeats
            ),
            "GBps_four_threads": seconds(four, np.array_split(frames, 4), repeats=sizes.repeats),
        }
    if any(memory.kind == "pinned_host" for memory in device.addressable_memories()):
        pinned = jax.device_put(frames, SingleDeviceSharding(device, memory_kind="pinned_host"))
        put = functools.partial(jax.device_put, device=SingleDeviceSharding(device, memory_kind="device"))
        ways["GBps_pinned"] = seconds(put, pinned, repeats=sizes.repeats)
    rates = {name: round(frames.nbytes / taken / 1e9, 2) for name, taken in ways.items()}
    return {"MiB": round(frames.nbytes / 2**20, 2)} | rates


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
    images = 255 * jax.random.uniform(jax.random.key(0), (batch, sizes.image, sizes.image, 3), jnp.float32)
    function = jax.jit(lambda weights, x: net.apply(weights, x, (tap,))[tap])
    compiled = function.lower(weights, images).compile()
    taken = seconds(compiled, weights, images, repeats=sizes.repeats)
    figures = {"side": sizes.image, "used": net.precision, "ms": round(1e3 * taken, 3)}
    return (
        figures
        | {"tflops": round(operations(function, weights, images) / taken / 1e12, 3)}
        | memory_of(compiled)
    )


def operations(function: Callable[..., Any], *args: Any) -> float:
    """Floating-point operations of a call, as XLA's CPU backend counts them before it compiles.

    A GPU's does not count the calls of libraries, which are most of them. A loop's body counts once.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), args)
    with jax.default_device(jax.devices("cpu")[0]):
        lowered = jax.jit(function).lower(*shapes)
    return (lowered.cost_analysis() or {}).get("flops", 0.0)


def note(text: str) -> None:
    """Says on standard error what begins, so that one that is stopped shows where it was."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


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
    """Images uint8 [T, H, W, 3] and the target's boxes [T, 4]; one second of the made-up video."""
    made = synthetic.clip(frames=30, size=size)
    images = np.stack([image for image, _ in zip(made.frames, range(frames), strict=False)])
    return images, made.boxes[:frames].astype(np.float32)


def video(sizes: Sizes, length: int) -> tuple[FrameSource, np.ndarray]:
    """A video in memory and the target's boxes [T, 4]: the clip there and back, so that nothing jumps."""
    images, boxes = clip(sizes.clip, sizes.frame)
    order = np.resize(np.r_[: len(images), len(images) - 2 : 0 : -1], length)

    def pick(number: int) -> np.ndarray:
        image: np.ndarray = images[order[number]]
        return image

    source = FrameSource("clip", sizes.frame, length, None, lambda: map(pick, range(length)), pick)
    return source, boxes[order]


def functions_of(sizes: Sizes, bound: BoundTracker) -> Tracker:
    """A tracker's functions, the same every time, so that what was compiled of them is found again."""
    _, boxes = clip(sizes.clip, sizes.frame)
    return make_tracker(bound.factory, bound.backbone, bound.for_target(boxes[0], sizes.frame))


@functools.cache
def memory_of_lane(sizes: Sizes, tracker: str, network: str, precision: str) -> LaneMemory:
    """What a lane takes."""
    bound = build(sizes, tracker, network, precision)
    return lane_memory(functions_of(sizes, bound), bound.params, shared_canvas(sizes.frame))


@functools.cache
def fitting(sizes: Sizes, tracker: str, network: str, precision: str) -> int:
    """How many lanes the engine would choose."""
    bound = build(sizes, tracker, network, precision)
    return fitting_lanes(functions_of(sizes, bound), bound.params, shared_canvas(sizes.frame), mesh_of())


class Work(NamedTuple):
    """Lanes at work on one device, in a video that begins anew without a jump.

    What the pool holds has no public name; it is what is waited for, and what a program is compiled for.
    """

    pool: Lanes
    pixels: Array  # its frames
    slots: np.ndarray  # [T] int32, where each of them is
    init_s: float  # for the first target, compilation included
    admit_ms: float  # for each of those after it

    def frames(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Some frames of all lanes, as `Lanes.advance` takes them: slots and active, both [K, L]."""
        slots = self.slots[np.arange(start, start + count) % len(self.slots)]
        slots = np.tile(slots[:, None], (1, self.pool.count))
        return slots, np.ones(slots.shape, bool)

    def advance(self, start: int, count: int) -> Seen:
        """Advances all lanes by some frames, in one dispatch."""
        return self.pool.advance(self.pixels, *self.frames(start, count))


def begin(sizes: Sizes, bound: BoundTracker, lanes: int) -> Work:
    """Lanes that have been given their first frame."""
    mesh = mesh_of(jax.local_devices()[:1])
    source, boxes = video(sizes, 2 * sizes.clip - 2)
    numbers = range(len(boxes))
    with SharedFrames(mesh, shared_canvas(sizes.frame), len(boxes)) as frames:
        wanted = [Wanted(0, source, number) for number in numbers]
        found = frames.bring(wanted, {id(source): [numbers]})
    slots = np.array([found[0, id(source), number] for number in numbers], np.int32)
    pool = Lanes(functions_of(sizes, bound), bound.params, mesh, lanes)
    size, hyper = np.array(sizes.frame, np.int32), jax.device_get(bound.params["tracker"])

    def admit(seed: int) -> float:
        target = Target(np.int32(seed % lanes), slots[0], size, boxes[0], key_data(seed), hyper)
        start = time.perf_counter()
        pool.admit(frames.pixels, [target])
        jax.block_until_ready(pool.held)
        return time.perf_counter() - start

    first, *others = map(admit, range(DIFFERENT))
    return Work(pool, frames.pixels, slots, first, 1e3 * float(np.mean(others)))


def compile_advance(work: Work, at_once: int) -> tuple[Any, float]:
    """The program of some frames in one dispatch, and the seconds it took; `Work.advance` finds it again."""
    pool = work.pool
    frames = jax.device_put(work.frames(1, at_once), placed(pool.mesh, None, AXIS))
    advance: Any = programs(pool.tracker, pool.mesh).advance
    start = time.perf_counter()
    compiled = advance.lower(pool.weights, pool.held, work.pixels, *frames).compile()
    return compiled, time.perf_counter() - start


def rate(work: Work, at_once: int, calls: int) -> float:
    """Seconds a frame of all lanes."""
    jax.block_until_ready(work.advance(1, at_once))
    with TURN:
        start = time.perf_counter()
        for call in range(1, calls + 1):
            seen = work.advance(1 + call * at_once, at_once)
        jax.block_until_ready((seen, work.pool.held))
        taken = (time.perf_counter() - start) / calls / at_once
    if not np.isfinite(seen.box).all():
        raise ArithmeticError("the boxes are not finite")
    return taken


def step_operations(sizes: Sizes, bound: BoundTracker) -> float:
    """Floating-point operations of one target's step."""
    functions, (images, boxes) = functions_of(sizes, bound), clip(sizes.clip, sizes.frame)
    frame = to_frame(images[0], shared_canvas(sizes.frame))
    state = jax.eval_shape(functions.init, bound.params, jax.random.key(0), frame, boxes[0])
    return operations(functions.step, bound.params, state, frame)


def step(sizes: Sizes, *, tracker: str, network: str, precision: str, lanes: int) -> dict[str, Any]:
    """A frame of every lane as the engine asks for it, `AT_ONCE` a dispatch; for HCFT one a dispatch, too."""
    note(f"{tracker} {network}: beginning with {lanes} lanes")
    bound = build(sizes, tracker, network, precision)
    work = begin(sizes, bound, lanes)
    note(f"{tracker} {network}: compiling")
    compiled, compile_s = compile_advance(work, AT_ONCE)
    note(f"{tracker} {network}: timing")
    taken = rate(work, AT_ONCE, sizes.dispatches)
    flop = lanes * step_operations(sizes, bound)
    figures: dict[str, Any] = {
        "profile": bound.profile,
        "used": bound.backbone.precision,
        "at_once": AT_ONCE,
        "ms": round(1e3 * taken, 3),
        "fps": round(lanes / taken, 1),
    }
    if tracker == "hcft":
        figures["ms_k1"] = round(1e3 * rate(work, 1, AT_ONCE * sizes.dispatches), 3)
    program, memory = compiled.as_text(), memory_of_lane(sizes, tracker, network, precision)
    figures |= {
        "init_s": round(work.init_s, 1),
        "admit_ms": round(work.admit_ms, 3),
        "compile_s": round(compile_s, 1),
        "gflop": round(flop / 1e9, 3),  # of a frame of all lanes, without what is learnt now and then
        "tflops": round(flop / taken / 1e12, 3),
        "fusions": program.count(" fusion("),
        "whiles": program.count(" while("),
        "cudnn": program.count("cudnn"),
        "lane_KiB": memory.a_lane >> 10,
        "state_KiB": memory.state >> 10,
    }
    return figures | memory_of(compiled)


def parcels(sizes: Sizes, videos: int, targets: int) -> list[list[Job]]:
    """Jobs by video, the longest first: in each, targets that begin one after the other, as those of TRE."""
    found = []
    for index in range(videos):
        length = sizes.length - index * sizes.length // (2 * videos)
        source, boxes = video(sizes, length)
        starts = [number * length // targets for number in range(targets)]
        found.append([Job(source, boxes[start], start, length, seed=start) for start in starts])
    return found


def engine(
    sizes: Sizes, *, tracker: str, network: str, precision: str, lanes: int, videos: int, targets: int
) -> dict[str, Any]:
    """Whole videos in memory, when everything is compiled, and what that has used."""
    bound = build(sizes, tracker, network, precision)
    functions, jobs, usage = functions_of(sizes, bound), parcels(sizes, videos, targets), Usage()

    def through(jobs: list[list[Job]], usage: Usage | None = None) -> list[Followed]:
        canvas = shared_canvas(sizes.frame)
        options: dict[str, Any] = {"lanes": lanes, "store": sizes.store, "usage": usage}
        return list(follow(functions, bound.params, jobs, canvas, **options))

    through(jobs[:1])
    with TURN:
        start = time.perf_counter()
        done = through(jobs, usage)
        taken = time.perf_counter() - start
    if not all(np.isfinite(each.boxes).all() for each in done) or any(each.stopped for each in done):
        raise ArithmeticError("targets were not followed to their end by finite boxes")
    frames = sum(len(each.boxes) for each in done)
    return {
        "used": bound.backbone.precision,
        "frames": frames,
        "fps": round(frames / taken, 1),
        "used_share": round(usage.taken / usage.steps, 3),
        "decoded": usage.decoded,
        "sent": usage.sent,
        "fitting_lanes": fitting(sizes, tracker, network, precision),
    }


def learn(sizes: Sizes, *, network: str, lanes: int) -> dict[str, Any]:
    """FCNT's adaptation in lanes that are due: as `learn_where_due` chooses, one by one, and of one alone."""
    bound = build(sizes, "fcnt", network, "bfloat16")
    functions, (images, boxes) = functions_of(sizes, bound), clip(sizes.clip, sizes.frame)
    learn_one = there(functions.learn)
    frame = to_frame(images[0], shared_canvas(sizes.frame))
    state = jax.jit(functions.init)(bound.params, jax.random.key(0), frame, boxes[0])

    def due(state: PyTree, mask: Any) -> PyTree:
        return state._replace(due=jnp.array(mask), memory=state.memory._replace(adapt=jnp.array(mask)))

    def spread(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (lanes, *jnp.shape(leaf))), tree)

    def ms(work: Callable[..., Any], *args: Any) -> float:
        return round(1e3 * seconds(work, *args, repeats=sizes.repeats), 3)

    params = {**bound.params, "tracker": spread(bound.params["tracker"])}
    chosen = jax.jit(functools.partial(learn_where_due, learn_one, each=True))
    single = jax.jit(functools.partial(one_by_one, learn_one))
    states = {count: due(spread(state), np.arange(lanes) < count) for count in sizes.due}
    return {
        "tracker": "fcnt",
        "alone_ms": ms(jax.jit(learn_one), bound.params, due(state, True)),
        "due": list(states),
        "chosen_ms": [ms(chosen, params, some) for some in states.values()],
        "one_by_one_ms": [ms(single, params, some, count) for count, some in states.items()],
    }


def one_by_one(learn: Callable[..., PyTree], params: PyTree, states: PyTree, count: Any) -> PyTree:
    """The first lanes learn, so many, one after the other; the hyper-parameters have a lane axis, too."""

    def learn_next(lane: Any, states: PyTree) -> PyTree:
        take = functools.partial(jax.tree.map, lambda leaf: leaf[lane])
        learnt = learn({**params, "tracker": take(params["tracker"])}, take(states))
        return jax.tree.map(lambda leaf, new: leaf.at[lane].set(new), states, learnt)

    after: PyTree = jax.lax.fori_loop(0, count, learn_next, states)
    return after


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
    images, boxes = clip(sizes.clip, sizes.frame)
    here = jtrack.track(images, boxes[0], tracker=bound).boxes
    cpu = jax.devices("cpu")[0]
    # The setting and not its context manager, which the thread that sends frames would not see.
    before = jax.config.jax_default_device
    jax.config.update("jax_default_device", cpu)
    try:
        bound = bound._replace(params=jax.device_get(bound.params))
        elsewhere = jtrack.track(images, boxes[0], tracker=bound).boxes
    finally:
        jax.config.update("jax_default_device", before)
    return {"tracker": "hcft", "frames": len(images)} | apart(here, elsewhere)


def apart(here: np.ndarray, there: np.ndarray) -> dict[str, Any]:
    """The largest difference of boxes [T, 4], and the first frame where it is more than the tests allow."""
    largest = np.abs(here - there).max(axis=1)
    parted = np.flatnonzero(~(largest <= ALIKE))
    first = int(parted[0]) if parted.size else None
    return {"apart_px": round(float(largest.max()), 5), "parted_at_frame": first}


def trace(sizes: Sizes, folder: Path, *, network: str, lanes: int) -> dict[str, Any]:
    """A profile of some frames of HCFT, compiled beforehand."""
    bound = build(sizes, "hcft", network, "bfloat16")
    work = begin(sizes, bound, lanes)
    jax.block_until_ready(work.advance(1, AT_ONCE))
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready((work.advance(1 + AT_ONCE, AT_ONCE), work.pool.held))
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
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="a name, tracker, network")
    parser.add_argument("--limit", type=float, default=400.0, help="seconds after which no section begins")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    devices.keep_memory()
    with (options.out / "gpu.jsonl").open("w") as file:

        def say(line: dict[str, Any]) -> None:
            text = json.dumps(line)
            print(text, flush=True)
            print(text, file=file, flush=True)

        table = sections(SMOKE if options.smoke else FULL, options.out)
        chosen = (section for section in table if wanted(section, options.only))
        good = run(chosen, options.limit, say)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
