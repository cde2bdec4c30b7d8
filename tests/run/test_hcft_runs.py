"""A real tracker through every way of running it: alone, many targets, many sequences."""

import numpy as np
import pytest

from jtrack import trackers
from jtrack.data import synthetic
from jtrack.run import track, track_batch


@pytest.fixture(scope="module")
def clip():
    return synthetic.clip(frames=40)


@pytest.mark.slow
def test_eight_targets_of_different_sizes_equal_eight_single_runs(clip, compilations):
    bound = trackers.create(backbone="tiny")
    x, y, w, h = clip.boxes[0]
    rng = np.random.default_rng(5)
    sizes = rng.uniform(0.6, 1.5, (8, 2)) * [w, h]
    centres = np.add([x + w / 2, y + h / 2], rng.uniform(-15, 15, (8, 2)))
    boxes = np.concatenate([centres - sizes / 2, sizes], axis=1)
    together = track(clip, boxes, tracker=bound, end=5)
    alone = [track(clip, boxes[0], tracker=bound, end=5)]
    with compilations() as seen:  # the next targets, of other sizes, compile nothing
        alone += [track(clip, box, tracker=bound, end=5) for box in boxes[1:]]
    assert not seen
    for lane, single in enumerate(alone):
        np.testing.assert_allclose(together.boxes[:, lane], single.boxes, rtol=0, atol=0.01)
        np.testing.assert_allclose(together.scores[:, lane], single.scores, rtol=0, atol=1e-3)
        np.testing.assert_array_equal(together.lost[:, lane], single.lost)


@pytest.mark.slow
def test_batch_equals_single_runs(clip):
    bound = trackers.create(backbone="tiny")
    small = synthetic.clip(frames=30, size=(220, 300), seed=1)  # on the same canvas
    jobs = [
        (list(sequence.frames)[:length], sequence.boxes[0]) for sequence, length in ((clip, 5), (small, 3))
    ]
    for got, job in zip(track_batch(jobs, tracker=bound), jobs, strict=True):
        alone = track(*job, tracker=bound)
        np.testing.assert_allclose(got.boxes, alone.boxes, rtol=0, atol=0.01)
        np.testing.assert_allclose(got.scores, alone.scores, rtol=0, atol=1e-3)
