"""How one video is run: order, overlap, learning where due, compilations, refusals."""

import threading
import time
from typing import NamedTuple

import fake
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.data import FrameError, FrameSource, Sequence, from_arrays
from jtrack.errors import JtrackError
from jtrack.run.advance import learn_where_due
from jtrack.run.inputs import canvas_of, check_boxes, to_frame
from jtrack.run.stream import stream, track
from jtrack.types import Array

RNG = np.random.default_rng(0)
MOVES = RNG.integers(0, 5, (9, 2))
BOXES = np.float32([[10, 20, 8, 9], [3, 4, 10, 12], [40, 5, 6, 7]])


def test_one_target_follows_the_law_and_learns_when_due():
    seen = []
    got = track(
        fake.video(MOVES),
        BOXES[0],
        tracker=fake.build(),
        on_frame=lambda index, image, outputs: seen.append((index, image, outputs)),
    )
    np.testing.assert_allclose(got.boxes, fake.path(BOXES[0], MOVES))
    np.testing.assert_allclose(got.scores, [1, *(1 / (1 + t) for t in range(1, 9))], rtol=1e-6)
    assert got.boxes.dtype == got.scores.dtype == np.float32 and got.lost.dtype == bool
    assert got.stopped is None and got.fps > 0 and got.label["tracker"] == "fake" and got.label["seed"] == 0
    assert [index for index, _, _ in seen] == list(range(9))
    for index, image, outputs in seen:
        np.testing.assert_array_equal(image, fake.video(MOVES)[index])
        assert len(outputs) == 1 and isinstance(outputs[0].box, np.ndarray)
    assert [float(outputs[0].info["memory"]) for _, _, outputs in seen[1:]] == fake.memories(BOXES[0], 9)


def test_lost_is_reported():
    moves = np.full((5, 2), 30)
    got = track(fake.video(moves), BOXES[0], tracker=fake.build())
    np.testing.assert_array_equal(got.lost, fake.path(BOXES[0], moves)[:, 0] >= 90)
    assert got.lost.any() and not got.lost.all()


def test_several_targets_equal_single_runs():
    info = []
    together = track(
        fake.video(MOVES),
        BOXES,
        tracker=fake.build(),
        on_frame=lambda index, image, outputs: info.append([o.info.get("memory") for o in outputs]),
    )
    assert together.boxes.shape == (9, 3, 4) and together.scores.shape == together.lost.shape == (9, 3)
    for lane, box in enumerate(BOXES):
        alone = track(fake.video(MOVES), box, tracker=fake.build())
        np.testing.assert_array_equal(together.boxes[:, lane], alone.boxes)
        np.testing.assert_array_equal(together.scores[:, lane], alone.scores)
        assert [float(row[lane]) for row in info[1:]] == fake.memories(box, 9)


def test_targets_of_distinct_grids_run_apart_in_one_pass():
    build = fake.build(fake.Config(grid=None))
    boxes = BOXES[[0, 1, 0]] + np.float32([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    frames = from_arrays(iter(fake.video(MOVES)))  # can be read once only
    got = track(frames, boxes, tracker=build)
    for lane, box in enumerate(boxes):
        np.testing.assert_array_equal(got.boxes[:, lane], fake.path(box, MOVES))


class Due(NamedTuple):
    weights: Array
    key: Array
    due: Array


def test_learning_leaves_lanes_that_are_not_due_bitwise_alone():
    weights = RNG.standard_normal((4, 3, 2)).astype(np.float32)
    weights[1, 0] = [np.nan, -0.0]
    due = np.array([True, False, True, False])
    state = Due(jnp.asarray(weights), jax.random.split(jax.random.key(0), 4), jnp.asarray(due))

    def learn(params, state):
        key, _ = jax.random.split(state.key)
        return Due(state.weights * params, key, jnp.zeros_like(state.due))

    got = jax.jit(lambda params, state: learn_where_due(learn, params, state))(jnp.float32(3), state)
    assert np.array_equal(np.asarray(got.weights)[~due].view(np.int32), weights[~due].view(np.int32))
    np.testing.assert_allclose(np.asarray(got.weights)[due], weights[due] * 3)
    changed = (jax.random.key_data(got.key) != jax.random.key_data(state.key)).any(axis=1)
    np.testing.assert_array_equal(changed, due)
    assert not got.due.any()

    calls = []

    def counted(params, state):
        jax.debug.callback(lambda: calls.append(1))
        return learn(params, state)

    run = jax.jit(lambda params, state: learn_where_due(counted, params, state))
    jax.block_until_ready(run(jnp.float32(3), state._replace(due=jnp.zeros(4, bool))))
    jax.effects_barrier()
    assert not calls  # nobody is due: nothing is computed
    jax.block_until_ready(run(jnp.float32(3), state))
    jax.effects_barrier()
    assert calls


def test_second_video_of_the_canvas_compiles_nothing(compilations):
    build = fake.build(fake.Config(grid=23))
    with compilations() as first:
        track(fake.video(MOVES), BOXES[0], tracker=build)
    with compilations() as second:
        track(
            fake.video(MOVES[:4], size=(100, 70)), BOXES[2], tracker=fake.build(fake.Config(grid=23), rate=2)
        )
    assert first and not second
    with compilations() as lanes:
        track(fake.video(MOVES), BOXES, tracker=build)
    with compilations() as again:
        track(fake.video(MOVES, size=(100, 100)), BOXES[::-1], tracker=build)
    assert lanes and not again
    with compilations() as other_canvas:
        track(fake.video(MOVES, size=(60, 200)), BOXES[0], tracker=build)
    assert other_canvas


def test_live_says_each_box_before_the_next_frame_is_needed():
    shown = threading.Event()
    asked = []

    def camera():
        for index, image in enumerate(fake.video(MOVES)):
            if index >= 3:  # two frames may be read ahead: the one waiting and the one in hand
                assert shown.wait(timeout=30)
            asked.append(index)
            yield image

    tracker = fake.fake(None, fake.Config())
    running = stream(tracker, fake.build().params, camera(), BOXES[0], key=jax.random.key(0), live=True)
    for index in range(2):  # frame 3 is withheld until these are out
        _, (output,) = next(running)
        np.testing.assert_array_equal(output.box, fake.path(BOXES[0], MOVES)[index])
    shown.set()
    assert len(list(running)) == 7


def broken(moves, at):
    def read():
        yield from fake.video(moves)[:at]
        raise FrameError(f"frame {at} is broken", at)

    return FrameSource("broken", (60, 90), len(moves), 25.0, read)


@pytest.mark.parametrize("at", [1, 2, 5])
def test_unreadable_frame_keeps_what_was_tracked(at):
    got = track(broken(MOVES, at), BOXES[0], tracker=fake.build())
    np.testing.assert_array_equal(got.boxes, fake.path(BOXES[0], MOVES)[:at])
    assert got.stopped == f"frame {at} is broken"


def test_on_frame_can_stop():
    got = track(fake.video(MOVES), BOXES[:2], tracker=fake.build(), on_frame=lambda index, *_: index == 3)
    assert got.boxes.shape == (4, 2, 4) and "frame 3" in got.stopped


def test_range_of_frames():
    want = fake.path(BOXES[0], MOVES[2:6])
    sequence = Sequence("s", np.zeros((len(MOVES) + 1, 4)), frames=from_arrays(fake.video(MOVES)))
    for source in (fake.video(MOVES), from_arrays(iter(fake.video(MOVES))), sequence):
        got = track(source, BOXES[0], tracker=fake.build(), start=2, end=6)
        np.testing.assert_array_equal(got.boxes, want)
    with pytest.raises(JtrackError, match="select nothing"):
        track(fake.video(MOVES), BOXES[0], tracker=fake.build(), start=9)


def test_one_and_two_frames_have_no_rate():
    for length in (1, 2):
        got = track(fake.video(MOVES[:length]), BOXES[0], tracker=fake.build())
        assert len(got.boxes) == length and got.fps is None


def test_the_rate_is_that_of_tracking_alone():
    rates = [
        track(
            fake.video(MOVES),
            BOXES[0],
            tracker=fake.build(),
            on_frame=lambda *_, pause=pause: time.sleep(pause),
        ).fps
        for pause in (0, 0.5)
    ]
    # With the pauses counted, there were at most 2.
    assert min(rates) > 4


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((1, 2, 3), "four numbers"),
        ((1, 2, 3, np.nan), "not finite"),
        ((np.inf, 2, 3, 4), "not finite"),
        ((1, 2, 0, 4), "too small"),
        ((1, 2, 5, -4), "too small"),
        ((1, 2, 1, 1), "too small"),
        ((90, 2, 5, 5), "outside the frame, which is 90x60"),
        ((-9, 2, 5, 5), "outside the frame"),
        ((85, 50, 10, 20), "the part inside is 85,50,5,10"),
        ((-3, -4, 10, 20), "the part inside is 0,0,7,16"),
    ],
)
def test_box_that_cannot_be_tracked_is_refused(box, words):
    with pytest.raises(JtrackError, match=words):
        track(fake.video(MOVES), box, tracker=fake.build())


def test_boxes_within_a_pixel_of_the_frame_are_taken():
    check_boxes([-1, 0, 92, 61], (60, 90), inside=True)
    check_boxes([80, 50, 40, 40], (60, 90), inside=False)


def test_frame_on_its_canvas():
    assert canvas_of((240, 320)) == (256, 384) and canvas_of((128, 129)) == (128, 256)
    image = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    frame = to_frame(image, (8, 8))
    np.testing.assert_array_equal(frame.pixels[:5, :7], image)
    assert frame.pixels.shape == (8, 8, 3) and frame.size.tolist() == [5, 7]
    assert not np.asarray(frame.pixels)[5:].any() and not np.asarray(frame.pixels)[:, 7:].any()
