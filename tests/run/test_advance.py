"""One frame at a time: a step, and learning where it is due."""

import functools
import inspect

import fake
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jtrack
from jtrack.run.advance import advance, advance_lanes
from jtrack.types import Frame

MOVES = np.random.default_rng(2).integers(0, 5, (9, 2))
BOXES = np.float32([[10, 20, 8, 9], [3, 4, 10, 12], [40, 5, 6, 7]])  # due every 4th, 3rd and 2nd frame


def run(step, tracker, params, images, box):
    """Boxes, and what `info` shows of the memory, of every frame after the first."""
    frames = [jtrack.to_frame(image) for image in images]
    state = jax.jit(tracker.init)(params, jax.random.key(0), frames[0], np.asarray(box, np.float32))
    boxes, memories = [np.asarray(box, np.float32)], []
    for frame in frames[1:]:
        state, output = step(params, state, frame)
        boxes.append(np.asarray(output.box))
        memories.append(float(output.info.get("memory", 0)))
    return np.array(boxes), memories


@pytest.mark.parametrize("box", BOXES)
def test_it_steps_and_learns_where_due(box):
    tracker = fake.fake(None, fake.Config())
    step = jax.jit(functools.partial(advance, tracker))
    boxes, memories = run(step, tracker, fake.build().params, fake.video(MOVES), box)
    np.testing.assert_array_equal(boxes, fake.path(box, MOVES))
    assert memories == fake.memories(box, len(MOVES))
    assert step._cache_size() == 1


def test_a_tracker_that_does_not_learn_apart_only_steps():
    tracker = fake.fake(None, fake.Config(learns=False))
    boxes, memories = run(
        functools.partial(advance, tracker), tracker, fake.build().params, fake.video(MOVES), BOXES[0]
    )
    np.testing.assert_array_equal(boxes, fake.path(BOXES[0], MOVES))
    assert set(memories) == {1024.0}


def states(tracker, params):
    frame = jtrack.to_frame(fake.video(MOVES)[0])
    keys = jax.random.split(jax.random.key(0), len(BOXES))
    return jax.jit(jax.vmap(tracker.init, (None, 0, None, 0)))(params, keys, frame, BOXES)


def test_lanes_and_vmap_equal_single_targets():
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    lanes = mapped = states(tracker, params)
    together = jax.jit(functools.partial(advance_lanes, tracker))
    apart = jax.jit(jax.vmap(functools.partial(advance, tracker), (None, 0, None)))
    for t in range(1, len(MOVES)):
        frame = jtrack.to_frame(fake.video(MOVES)[t])
        lanes, outputs = together(params, lanes, frame)
        mapped, others = apart(params, mapped, frame)
        for found in (outputs, others):
            np.testing.assert_array_equal(found.box, [fake.path(box, MOVES)[t] for box in BOXES])
            want = [fake.memories(box, len(MOVES))[t - 1] for box in BOXES]
            np.testing.assert_array_equal(found.info["memory"], want)


def test_lanes_with_frames_of_their_own_and_one_that_has_none():
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    before = states(tracker, params)
    images = np.stack([fake.video(MOVES)[t] for t in (1, 2, 3)])
    frames = Frame(jnp.asarray(images), jnp.asarray([[60, 90]] * 3, jnp.int32))
    after, outputs = advance_lanes(tracker, params, before, frames, jnp.array([True, False, True]))
    moved = BOXES[:, :2] + MOVES[1:4]
    np.testing.assert_array_equal(after.box[:, :2], np.where([[1], [0], [1]], moved, BOXES[:, :2]))
    np.testing.assert_array_equal(outputs.box[::2, :2], moved[::2])
    assert after.count.tolist() == [1, 0, 1]


def test_a_loop_gives_what_track_gives():
    bound = fake.build()
    tracker = bound.functions(BOXES[0], (60, 90))
    seen = []
    whole = jtrack.track(
        fake.video(MOVES),
        BOXES[0],
        tracker=bound,
        on_frame=lambda index, image, outputs: seen.append(outputs[0].info.get("memory")),
    )
    step = jax.jit(functools.partial(jtrack.advance, tracker))
    boxes, memories = run(step, tracker, bound.params, fake.video(MOVES), BOXES[0])
    np.testing.assert_array_equal(boxes, whole.boxes)
    assert memories == seen[1:]


def test_its_docstring_says_what_to_use_for_lanes():
    assert "jtrack.run.advance.advance_lanes" in inspect.getdoc(jtrack.advance)
