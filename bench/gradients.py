"""Gradients of whole trackers against finite differences.

    python bench/gradients.py                                  # all trackers, a small smooth network
    python bench/gradients.py --networks tiny googlenet        # networks of kinks, ReLU and maxima
    python bench/gradients.py --profile default --steps 1e-6 1e-3

A tracker begins on the first frame of the golden clip and follows three more, learning among them, in
float64. Of a weighted sum of all boxes and scores, the derivative along random directions is taken by reverse
mode and by central differences, for the hyper-parameters (each moves by its own size), for the frames (by a
grey level) and for the first box (by a pixel), at several sizes of the step. Prints Markdown: the median over
directions of |difference - derivative| over the larger of the two.

Long trainings are cut short, DeepTrack has fewer cues and smaller buffers, CNN-SVM smaller maps. Weights are
random.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from golden_clip import clip

import jtrack
from jtrack import backbones, trackers
from jtrack.backbones.base import Backbone, Layer, Stages
from jtrack.backbones.layers import AveragePool, Conv
from jtrack.types import Array, Frame, PyTree, as_arrays

FRAMES = 4
# Not on whole pixels, where interpolation has kinks.
SHIFT = (0.137, 0.211, 0.313, 0.171)
REDUCED: dict[str, dict[str, Any]] = {
    "hcft": {"input_size": (96, 96)},
    "fcnt": {"input_size": 96, "hidden": 4, "selection_iterations": 5, "first_iterations": 10}
    | {"interval": 2, "candidates": 60},
    "cnn_svm": {"candidates": 40, "first_samples": 24, "samples": 16, "budget": 48}
    | {"saliency.back_projected": 8, "saliency.grid": 64, "saliency.template": 24, "saliency.filters": 5},
    "deeptrack": {"candidates": 100, "first_budget": 8, "budget": 2, "batch": 16, "first_positives": 20}
    | {"first_negatives": 40, "negatives_per_frame": 20, "positives": 60, "negatives": 60}
    | {"grey_cues": ("contrast", "gradient"), "colour_cues": ("value", "gradient")},
    "gdt": {"hidden": 32, "units": 24, "candidates": 60, "first_iterations": 10, "batch": 32}
    | {"rotated_positives": 10, "first_positives": 40, "first_negatives": 60},
    "correlation": {"patch": (64, 64)},
}


class Softplus(nnx.Module):
    """A ReLU without a kink."""

    def __call__(self, x: Array) -> Array:
        """Any shape -> the same."""
        return jax.nn.softplus(x)


def smooth() -> Iterator[Layer]:
    """A small network without kinks, of `tiny`'s shapes."""
    inputs = 3
    for block, width in enumerate((4, 8, 8, 12, 16), start=1):
        yield Layer(f"conv{block}", Conv(inputs, width, 3, padding=1))
        yield Layer(f"active{block}", Softplus())
        yield Layer(f"pool{block}", AveragePool(2, 2))
        inputs = width


STAGES = Stages(
    first="active3",
    stride4="active3",
    stride8="active4",
    stride16="active5",
    box="active4",
    box_size=(48, 48),
    region="active4",
    region_size=(128, 128),
)


class Differences(NamedTuple):
    """How far finite differences are from the derivative, by what moves: medians over directions."""

    hyper: float
    frames: float
    box: float


def network(name: str) -> Backbone:
    """A network by its name; `smooth` is that of this file."""
    if name != "smooth":
        return backbones.get(name)
    return Backbone("smooth", "float32", backbones.get("tiny").preprocessing, smooth, STAGES)


def objective(tracker: str, profile: str, backbone: Backbone) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """A number that depends on all boxes and scores, as a function of hyper-parameters, frames and box.

    Returns:
      The function, and its arguments: a NamedTuple of numbers, pixels [T, H, W, 3] and a box [4].
    """
    row = trackers.find(tracker)
    chosen = row.profiles[profile](backbone).replace(**REDUCED[tracker])
    images, box = clip()
    pixels = jnp.asarray(np.stack(images[:FRAMES]), jnp.float64)
    size = jnp.asarray(pixels.shape[1:3], jnp.int32)
    functions = row.factory(backbone, chosen.config.for_target(box, pixels.shape[1:3]))
    weights = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), backbone.random_params(0))

    def run(hyper: PyTree, pixels: Array, box: Array) -> Array:
        params = {"backbone": weights, "tracker": hyper}
        state = functions.init(params, jax.random.key(3), Frame(pixels[0], size), box)
        frames = Frame(pixels[1:], jnp.broadcast_to(size, (FRAMES - 1, 2)))
        _, outputs = jtrack.rollout(functions, params, state, frames)
        return jnp.sum(outputs.box @ jnp.asarray([0.1, 0.07, 0.03, -0.04])) + outputs.score.sum()

    first = jnp.asarray(box, jnp.float64) + jnp.asarray(SHIFT)
    return jax.jit(run), (as_arrays(chosen.hyper, np.float64), pixels, first)


def directions(args: tuple[Any, ...], which: int, rng: np.random.Generator) -> Any:
    """A random direction of one of the arguments; numbers move by their own size."""
    if which == 0:
        return jax.tree.map(lambda leaf: _own_size(leaf) * rng.normal(size=leaf.shape), args[0])
    return jnp.asarray(rng.normal(size=args[which].shape))


def _own_size(leaf: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(leaf), np.abs(leaf), 0)


def differences(
    run: Callable[..., Array], args: tuple[Any, ...], steps: Sequence[float], count: int
) -> dict[float, Differences]:
    """The differences at each size of the step."""
    gradient = jax.jit(jax.grad(run, argnums=(0, 1, 2)))(*args)
    found: dict[float, list[float]] = {step: [] for step in steps}
    for which in range(3):
        rng = np.random.default_rng(which)
        along = [directions(args, which, rng) for _ in range(count)]
        derivatives = [
            sum(np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient[which], one)), strict=True))
            for one in along
        ]
        for step in steps:
            apart = []
            for one, derivative in zip(along, derivatives, strict=True):
                ends = [_moved(args, which, one, sign * step) for sign in (1, -1)]
                difference = float(run(*ends[0]) - run(*ends[1])) / (2 * step)
                larger = max(abs(difference), abs(derivative), 1e-12)
                apart.append(abs(difference - derivative) / larger)
            found[step].append(float(np.median(apart)))
    return {step: Differences(*medians) for step, medians in found.items()}


def _moved(args: tuple[Any, ...], which: int, direction: Any, step: float) -> tuple[Any, ...]:
    def move(value: Any, along: Any) -> Any:
        return value + step * along

    return tuple(
        jax.tree.map(move, arg, direction) if index == which else arg for index, arg in enumerate(args)
    )


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trackers", nargs="+", default=trackers.names(), choices=trackers.names())
    parser.add_argument("--networks", nargs="+", default=["smooth"])
    parser.add_argument("--profile", default="differentiable")
    parser.add_argument("--steps", nargs="+", type=float, default=[1e-6, 1e-4])
    parser.add_argument("--directions", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print("| tracker | network | step | hyper-parameters | frames | first box |")
    print("| --- | --- | --: | --: | --: | --: |")
    for tracker in options.trackers:
        learns_its_own = trackers.default_backbone(tracker) == "none"
        for name in ["none"] if learns_its_own else options.networks:
            run, args = objective(tracker, options.profile, network(name))
            for step, found in differences(run, args, options.steps, options.directions).items():
                cells = " | ".join(f"{median:.1e}" for median in found)
                print(f"| {tracker} | {name} | {step:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
