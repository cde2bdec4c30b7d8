"""What is computed in follows the inputs, whatever JAX_ENABLE_X64 says."""

import json
import os
import subprocess
import sys

import pytest

from bench.golden_rows import rows
from tests.trackers import golden

# Shapes and types of everything that a tracker keeps and says, for inputs of a type; traced, not compiled.
TRACED = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from bench.golden_rows import create_reduced, rows
from jtrack.types import Frame

def types(tree):
    leaves = jax.tree.leaves(tree)
    return sorted({str(leaf.dtype) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)})

def like(tree, dtype):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), dtype), tree)

found = {}
for row in rows():
    bound = create_reduced(row)
    functions = bound.functions((30, 30, 30, 24), (120, 150))
    size = jax.ShapeDtypeStruct((2,), jnp.int32)
    for dtype, pixels in ((jnp.float32, jnp.uint8), (jnp.float64, jnp.uint8), (jnp.float64, jnp.float64)):
        if pixels == jnp.float64 and row.profile not in ("default", "differentiable"):
            continue  # frames of other kinds take the same way in every profile
        params, box = like(bound.params, dtype), jax.ShapeDtypeStruct((4,), dtype)
        frame = Frame(jax.ShapeDtypeStruct((120, 150, 3), pixels), size)
        state = jax.eval_shape(functions.init, params, jax.random.key(0), frame, box)
        after, output = jax.eval_shape(functions.step, params, state, frame)
        learnt = after if functions.learn is None else jax.eval_shape(functions.learn, params, after)
        name = f"{' '.join(row)} {jnp.dtype(dtype).name} {jnp.dtype(pixels).name}"
        found[name] = [types((state, after, learnt)), types(output), state == after == learnt]
print(json.dumps(found))
"""
RUN = """
import json, sys
from bench.golden_clip import clip
from bench.golden_rows import Row, create_reduced, record
frames, box = clip()
row = Row(*sys.argv[1:])
print(json.dumps(record(create_reduced(row), frames[:8], box)))
"""
# Patches that DeepTrack keeps are stored in half precision, whatever they are computed in.
ALLOWED = {"float32": {"float32", "complex64", "float16"}, "float64": {"float64", "complex128", "float16"}}


def with_x64(script, *arguments):
    """What a script prints as JSON, run with 64 bits allowed."""
    environment = {name: value for name, value in os.environ.items() if name != "JTRACK_WEIGHTS"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_states_and_outputs_are_of_the_inputs_type():
    traced = with_x64(TRACED)
    assert set(traced) == {
        f"{' '.join(row)} {kind}"
        for row in rows()
        for kind in ("float32 uint8", "float64 uint8", "float64 float64")
        if kind != "float64 float64" or row.profile in ("default", "differentiable")
    }
    wrong = {
        name: (kept, said)
        for name, (kept, said, stable) in traced.items()
        if not (set(kept) <= ALLOWED[name.split()[3]] and said == [name.split()[3]] and stable)
    }
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in rows() if row.profile == "default"], ids=" ".join)
def test_boxes_are_the_same_with_64_bits_allowed(row):
    kept = with_x64(RUN, *row)
    golden.check(row, kept["boxes"], kept["scores"], kept["lost"])
