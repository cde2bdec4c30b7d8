"""The golden boxes, and how near a machine must come to them."""

import functools
import json

import numpy as np

from bench.golden import GOLDEN, KEPT

__all__ = ["KEPT", "check", "kept"]

PIXELS = 0.05  # and no more: where a row needs more, its clip decides something by the last bit
SCORE = 0.005


@functools.cache
def kept():
    """Every row's boxes, scores and lost flags."""
    return json.loads(GOLDEN.read_text())


def check(row, boxes, scores, lost):
    """Fails where a row's first frames are not those that `bench/golden.py --write` has kept."""
    expected = kept()[" ".join(row)]
    hint = f"{' '.join(row)}: if boxes were meant to move, run `python bench/golden.py --write`"
    assert len(expected["lost"]) == len(lost) == KEPT
    np.testing.assert_allclose(np.array(boxes), expected["boxes"], rtol=0, atol=PIXELS, err_msg=hint)
    np.testing.assert_allclose(np.array(scores), expected["scores"], rtol=0, atol=SCORE, err_msg=hint)
    np.testing.assert_array_equal(np.array(lost).astype(int), expected["lost"], err_msg=hint)
