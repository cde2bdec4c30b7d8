"""Every tracker can be lowered for the accelerators it is meant for, where there is none at hand."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from bench.golden_rows import create_reduced, rows
from jtrack.run.advance import CHUNKS, advance_lanes
from jtrack.types import Frame

PLATFORMS = ("cuda", "tpu")
LANES = 2 * CHUNKS  # the fewest that learn in chunks
ROWS = [row for row in rows() if row.profile == "default"]


def shaped(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)


def calls(row, precision="float32"):
    """The functions of a tracker, each with its arguments."""
    bound = create_reduced(row)
    bound = bound._replace(backbone=dataclasses.replace(bound.backbone, precision=precision))
    functions = bound.functions((30, 30, 30, 24), (120, 150))
    frame = Frame(jax.ShapeDtypeStruct((120, 150, 3), jnp.uint8), jax.ShapeDtypeStruct((2,), jnp.int32))
    params, key = shaped(bound.params), jax.eval_shape(lambda: jax.random.key(0))
    box = jax.ShapeDtypeStruct((4,), jnp.float32)
    state = jax.eval_shape(functions.init, params, key, frame, box)
    found = {"init": (functions.init, (params, key, frame, box))}
    found["step"] = functions.step, (params, state, frame)
    if functions.learn is not None:
        found["learn"] = functions.learn, (params, state)
    return found


def products(function, arguments):
    """What each product and convolution is, in the program for a GPU, and the precision it asks for."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    found = re.findall(r"stablehlo\.(dot_general|convolution)\b(.*)", lowered.as_text())
    return [(kind, re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", rest)[-1]) for kind, rest in found]


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_functions_are_lowered(row):
    for function, arguments in calls(row).values():
        lowered = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
        assert lowered.platforms == PLATFORMS and lowered.mlir_module_serialized


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_lanes_with_hyper_parameters_of_their_own_are_lowered(row):
    bound = create_reduced(row)
    tracker = bound.functions((30, 30, 30, 24), (120, 150))
    _, (params, state, frame) = calls(row)["step"]

    def many(tree):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((LANES, *leaf.shape), leaf.dtype), tree)

    params = {"backbone": params["backbone"], "tracker": many(params["tracker"])}
    function = jax.jit(functools.partial(advance_lanes, tracker, each=True))
    arguments = params, many(state), many(frame), jax.ShapeDtypeStruct((LANES,), jnp.bool_)
    lowered = export.export(function, platforms=PLATFORMS)(*arguments)
    assert lowered.platforms == PLATFORMS and lowered.mlir_module_serialized
    states, _ = jax.tree.unflatten(lowered.out_tree, lowered.out_avals)
    assert shaped(states) == arguments[1]


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_float32_is_float32_on_a_gpu(row):
    for function, arguments in calls(row).values():
        assert {precision for _, precision in products(function, arguments)} == {"HIGHEST"}


# Of the products of a step, those of the network: its convolutions. DeepTrack writes its two a cue as matrix
# products. CNN-SVM's `default` takes its features from the maps of its saliency, a gradient in float32.
OF_THE_NETWORK = {"hcft tiny": 5, "hcft hog": 0, "fcnt tiny": 5, "cnn_svm tiny": 0, "gdt tiny": 4}
OF_THE_NETWORK |= {"deeptrack none": 8, "correlation none": 0}


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_tf32_is_asked_for_by_the_network_alone(row):
    found = products(*calls(row, "tf32")["step"])
    rounded = [kind for kind, precision in found if precision != "HIGHEST"]
    assert len(rounded) == OF_THE_NETWORK[f"{row.tracker} {row.backbone}"]
    assert {precision for _, precision in found} <= {"HIGHEST", "HIGH"}
    if row.tracker != "deeptrack":
        assert set(rounded) <= {"convolution"}
