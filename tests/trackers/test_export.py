"""Every tracker can be lowered for the accelerators it is meant for, where there is none at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from bench.golden_rows import create_reduced, rows
from jtrack.types import Frame

PLATFORMS = ("cuda", "tpu")
ROWS = [row for row in rows() if row.profile == "default"]


def shaped(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_functions_are_lowered(row):
    bound = create_reduced(row)
    functions = bound.functions((30, 30, 30, 24), (120, 150))
    frame = Frame(jax.ShapeDtypeStruct((120, 150, 3), jnp.uint8), jax.ShapeDtypeStruct((2,), jnp.int32))
    params, key = shaped(bound.params), jax.eval_shape(lambda: jax.random.key(0))
    box = jax.ShapeDtypeStruct((4,), jnp.float32)
    state = jax.eval_shape(functions.init, params, key, frame, box)
    calls = [(functions.init, (params, key, frame, box)), (functions.step, (params, state, frame))]
    if functions.learn is not None:
        calls.append((functions.learn, (params, state)))
    for function, arguments in calls:
        lowered = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
        assert lowered.platforms == PLATFORMS and lowered.mlir_module_serialized
