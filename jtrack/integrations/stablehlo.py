"""A tracker as programs that run without jtrack: StableHLO, serialised by `jax.export` (the extra `export`).

    bound = jtrack.trackers.create("hcft")
    write(export(bound, (120, 80, 60, 90), (480, 640)), Path("exported"))

The folder then holds `init`, `step` and, where the tracker has one, `learn`, as `NAME.stablehlo`; the
weights; and `manifest.json`. A program takes a list of arrays and returns one. Every array has a name, and
the names are the wiring: an argument is the weight, the input or the latest result of its name. README shows
the few lines that run it.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.export import Exported
from jax.export import export as lower
from jax.tree_util import DictKey, keystr, tree_leaves_with_path
from safetensors import SafetensorError
from safetensors.numpy import save_file

from jtrack.errors import JtrackError, missing_extra
from jtrack.names import match
from jtrack.run.inputs import check_boxes
from jtrack.trackers import BoundTracker
from jtrack.types import Frame, PyTree, Tracker
from jtrack.whole import replacing

PLATFORMS = ("cpu", "cuda", "tpu")
MANIFEST = "manifest.json"
SUFFIX = ".stablehlo"
WEIGHTS = "weights.safetensors"
WIRING = "an argument is the weight, the input or the latest result of its name"
WHEN = {
    "init": "in the first frame",
    "step": "in every other frame",
    "learn": "after a step whose result state/due is true",
}


class Export(NamedTuple):
    """What is written: programs of flat lists of arrays, the weights, and what all of it is."""

    programs: dict[str, Exported]  # init, step and perhaps learn
    weights: dict[str, np.ndarray]  # the params by their names, hyper-parameters too
    manifest: dict[str, Any]


class _Function(NamedTuple):
    """A function of a tracker, with the shapes of what it takes and returns, by name."""

    call: Callable[..., PyTree]
    arguments: dict[str, PyTree]
    results: dict[str, PyTree]


def export(
    bound: BoundTracker,
    box: np.ndarray | Sequence[float],
    size: tuple[int, int],
    platforms: Sequence[str] = PLATFORMS,
) -> Export:
    """Lowers the functions of a tracker for some platforms, none of which needs to be at hand.

    Of most profiles one export serves every target in frames of up to this size. In others, such as HCFT's
    `paper`, shapes follow the target: the export is then for targets of the size of this one, and the
    manifest's `target` is its box instead of "any".

    Args:
      bound: the tracker.
      box: x, y, w, h of the target in the first frame, in pixels, 0-based.
      size: (height, width) of the canvas. A smaller image lies in its top-left corner.
      platforms: of `PLATFORMS`.

    Raises:
      JtrackError: an unknown platform, a box that is not inside the canvas, several boxes, bfloat16 for a
        CPU, or flatbuffers is not installed.
    """
    _check_flatbuffers()
    chosen = _check_platforms(platforms, bound.backbone.precision)
    target = check_boxes(box, size, inside=True)
    if target.ndim > 1:
        raise JtrackError(f"an export is of one target: got {len(target)} boxes")
    config = bound.for_target(target, size)
    functions = _functions(bound.factory(bound.backbone, config), bound.params, size)
    programs = {name: _lower(each, chosen) for name, each in functions.items()}
    manifest = {
        "label": bound.label(),
        "target": "any" if config == bound.config else target.tolist(),
        "canvas": list(size),
        "platforms": list(chosen),
        "calling_convention": programs["init"].calling_convention_version,  # of `jax.export`
        "weights": WEIGHTS,
        "wiring": WIRING,
        "functions": {name: _described(name, each) for name, each in functions.items()},
    }
    names = (each["name"] for each in _arrays({"params": bound.params}))
    arrays = (np.asarray(leaf, order="C") for leaf in jax.tree.leaves(bound.params))
    return Export(programs, dict(zip(names, arrays, strict=True)), manifest)


def write(exported: Export, folder: Path) -> None:
    """Writes an export: all files are there whole before the first takes its place.

    Args:
      exported: what `export` made.
      folder: made if need be; files of an earlier export are replaced.

    Raises:
      JtrackError: a file cannot be written, as on a full disk.
    """
    programs = {name + SUFFIX: program.serialize() for name, program in exported.programs.items()}
    texts = {MANIFEST: json.dumps(exported.manifest, indent=1).encode() + b"\n"}
    try:
        with ExitStack() as stack:
            for name, content in (texts | programs).items():  # the first takes its place last
                stack.enter_context(replacing(folder / name)).write_bytes(content)
            save_file(exported.weights, stack.enter_context(replacing(folder / WEIGHTS)))
        for stale in set(folder.glob(f"*{SUFFIX}")) - {folder / name for name in programs}:
            stale.unlink()
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JtrackError(f"cannot write the export {folder}: {reason}") from None


def _check_flatbuffers() -> None:
    """Refuses to begin what could not be written: `jax.export` serialises with it."""
    try:
        import_module("flatbuffers")
    except ImportError as error:
        raise missing_extra("an export", "export", error) from None


def _check_platforms(platforms: Sequence[str], precision: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(match("platform", name, PLATFORMS) for name in platforms))
    if not chosen:
        raise JtrackError(f"an export is for one platform or more: name some of {', '.join(PLATFORMS)}")
    if "cpu" in chosen and precision == "bfloat16":
        raise JtrackError(
            "bfloat16 is right on a CPU only where jtrack has set XLA's flags: leave cpu out of the "
            "platforms, or take float32"
        )
    return chosen


def _functions(tracker: Tracker, params: PyTree, size: tuple[int, int]) -> dict[str, _Function]:
    """The functions of a tracker in frames of a size (height, width)."""
    shaped: Any = jax.ShapeDtypeStruct
    params, key = jax.eval_shape(lambda: (params, jax.random.key(0)))
    frame, box = Frame(shaped((*size, 3), np.uint8), shaped((2,), np.int32)), shaped((4,), np.float32)
    state = jax.eval_shape(tracker.init, params, key, frame, box)
    _, output = jax.eval_shape(tracker.step, params, state, frame)
    begun = {"params": params, "state": state}
    first = {"params": params, "key": key, "frame": frame, "box": box}
    found = {
        "init": _Function(tracker.init, first, {"state": state}),
        "step": _Function(tracker.step, begun | {"frame": frame}, {"state": state, "output": output}),
    }
    if tracker.learn is not None:
        found["learn"] = _Function(tracker.learn, begun, {"state": state})
    return found


def _lower(function: _Function, platforms: tuple[str, ...]) -> Exported:
    """The program of a function: of a list of arrays, all of which it takes whether it needs them or not."""
    wanted, form = jax.tree.flatten(tuple(function.arguments.values()))

    def flat(*arrays: jax.Array) -> list[jax.Array]:
        typed = [
            jax.random.wrap_key_data(array) if _is_key(leaf) else array
            for array, leaf in zip(arrays, wanted, strict=True)
        ]
        return jax.tree.leaves(_raw(function.call(*jax.tree.unflatten(form, typed))))

    return lower(jax.jit(flat, keep_unused=True), platforms=platforms)(*jax.eval_shape(_raw, wanted))


def _described(name: str, function: _Function) -> dict[str, Any]:
    """What the manifest says of a function."""
    arguments, results = _arrays(function.arguments), _arrays(function.results)
    return {"file": name + SUFFIX, "when": WHEN[name], "arguments": arguments, "results": results}


def _arrays(trees: dict[str, PyTree]) -> list[dict[str, Any]]:
    """The arrays of trees in order; each is named by the path to it, `state/filters/0/numerator`."""
    return [
        {
            "name": keystr((DictKey(name), *path), simple=True, separator="/"),
            "shape": list(leaf.shape),
            "dtype": leaf.dtype.name,
        }
        for name, tree in trees.items()
        for path, leaf in tree_leaves_with_path(jax.eval_shape(_raw, tree))
    ]


def _raw(tree: PyTree) -> PyTree:
    """The tree with plain uint32 arrays in place of PRNG keys, whose dtype is JAX's own."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _is_key(leaf: Any) -> bool:
    return bool(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key))
