"""Many frames as one function: the loop's boxes, and gradients through it."""

import functools
import itertools

import fake
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jtrack
from bench.golden_rows import REDUCED, reduced
from jtrack import data, trackers
from jtrack.components.update import EveryFrame
from jtrack.data import synthetic
from jtrack.errors import JtrackError
from jtrack.learning.correlation_filter import Dual
from jtrack.types import Frame

CLIP = synthetic.clip(frames=60, size=(96, 128))
VIDEO = np.stack(list(CLIP.frames))[:9]
SIZE = VIDEO.shape[1:3]
BOX = np.float32(CLIP.boxes[0])
# HCFT without a choice that has no derivative; small, so that it compiles quickly.
SMOOTH = {"localisation": "soft", "scale": None, "update": EveryFrame()}
SMOOTH |= {"input_size": (64, 64), "grid": (16, 16)}

MOVES = np.random.default_rng(2).integers(0, 5, (9, 2))
STARTS = np.float32([[10, 20, 8, 9], [3, 4, 10, 12]])  # the fake tracker learns in every 4th and 3rd frame


def bind(name, **changes):
    """A tracker on the small network, and its parameters."""
    bound = trackers.create(name, backbone="tiny", changes=changes)
    bound = bound._replace(config=reduced(bound.config, REDUCED.get(name, {})))
    return bound.functions(BOX, SIZE), bound.params


def begin(tracker, params, image, box):
    return jax.jit(tracker.init)(params, jax.random.key(0), jtrack.to_frame(image), jnp.asarray(box))


def jitted(tracker, **options):
    return jax.jit(functools.partial(jtrack.rollout, tracker, **options))


def assert_same(found, expected):
    """To the bit, a random key too."""

    def compare(a, b):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)

    jax.tree.map(compare, found, expected)


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def looped(tracker, params, state, images):
    """The states after every frame, and the outputs stacked, of one call of `advance` a frame."""
    step = jax.jit(functools.partial(jtrack.advance, tracker))
    states, outputs = [], []
    for image in images:
        state, output = step(params, state, jtrack.to_frame(image))
        states.append(state)
        outputs.append(output)
    return states, stacked(outputs)


def test_hcft_s_rollout_is_the_loop_to_the_bit():
    tracker, params = bind("hcft")
    state = begin(tracker, params, VIDEO[0], BOX)
    states, outputs = looped(tracker, params, state, VIDEO[1:])
    assert_same(jitted(tracker)(params, state, jtrack.to_frames(VIDEO[1:])), (states[-1], outputs))


@pytest.mark.slow
def test_fcnt_s_rollout_is_the_loop_to_the_bit_with_an_adaptation_among_the_frames():
    tracker, params = bind("fcnt", discriminate_above=(np.inf, np.inf))  # else it learns in every frame
    state = begin(tracker, params, VIDEO[0], BOX)
    states, outputs = looped(tracker, params, state, VIDEO[1:])
    kernels = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(each.specific)]) for each in states]
    adapted = [not np.array_equal(a, b) for a, b in itertools.pairwise(kernels)]
    assert any(adapted) and not all(adapted)
    assert_same(jitted(tracker)(params, state, jtrack.to_frames(VIDEO[1:])), (states[-1], outputs))


@pytest.mark.parametrize("box", STARTS)
@pytest.mark.parametrize("checkpoint", [True, False])
def test_boxes_and_learning_are_those_known_by_hand(box, checkpoint):
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    video = fake.video(MOVES)
    state = begin(tracker, params, video[0], box)
    after, outputs = jtrack.rollout(tracker, params, state, video[1:], checkpoint=checkpoint)
    np.testing.assert_array_equal(outputs.box, fake.path(box, MOVES)[1:])
    np.testing.assert_array_equal(outputs.info["memory"], fake.memories(box, len(MOVES)))
    assert after.count == len(MOVES) - 1


def test_frames_are_taken_in_any_form():
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    video = fake.video(MOVES)
    state = begin(tracker, params, video[0], STARTS[0])
    frames = jtrack.to_frames(video)
    forms = [frames, Frame(frames.pixels, frames.size[0]), list(video), data.from_arrays(video), iter(video)]
    forms += [jnp.asarray(video), video.astype(np.float32)]
    for form in forms:
        assert_same(
            jtrack.rollout(tracker, params, state, form), jtrack.rollout(tracker, params, state, video)
        )


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([], "frames has no frames: give at least one image"),
        (np.zeros((0, 9, 9, 3), np.float32), r"one at least: got \[0, 9, 9, 3\]"),
        ([np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], "is 8x9 but the first is 9x9"),
        (np.zeros((9, 9, 3), np.uint8), "is one image, not a video"),
        (jtrack.to_frame(VIDEO[0]), r"pixels \[128, 128, 3\] and size \[2\]: a rollout takes"),
        (Frame(np.zeros((0, 9, 9, 3)), np.int32([9, 9])), "at least one frame"),
        (Frame(np.zeros((3, 9, 9, 3)), np.zeros((2, 2), np.int32)), r"size \[2, 2\]"),
    ],
    ids=["none", "none of floats", "two sizes", "one image", "one frame", "no frame", "too few sizes"],
)
def test_what_is_no_video_is_refused_in_a_sentence(frames, said):
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    state = begin(tracker, params, VIDEO[0], STARTS[0])
    with pytest.raises(JtrackError, match=said):
        jtrack.rollout(tracker, params, state, frames)


def test_other_frames_of_the_same_shape_compile_nothing(compilations):
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    video = fake.video(MOVES)
    state = begin(tracker, params, video[0], STARTS[0])
    run = jitted(tracker)
    first, _ = run(params, state, jtrack.to_frames(video[1:5]))
    with compilations() as seen:
        last, _ = run(params, first, jtrack.to_frames(video[5:]))
    assert seen == []
    np.testing.assert_array_equal(last.box, fake.path(STARTS[0], MOVES)[-1])


def test_two_starts_under_vmap_are_two_rollouts():
    """The fake tracker's learning is due in other frames of each."""
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    frames = jtrack.to_frames(fake.video(MOVES))
    states = [begin(tracker, params, fake.video(MOVES)[0], box) for box in STARTS]
    mapped = jax.jit(jax.vmap(functools.partial(jtrack.rollout, tracker), (None, 0, None)))
    together = mapped(params, stacked(states), frames)
    assert_same(together, stacked([jtrack.rollout(tracker, params, state, frames) for state in states]))


def test_two_starts_of_hcft_under_vmap_are_two_rollouts():
    tracker, params = bind("hcft", **SMOOTH)
    frames = jtrack.to_frames(VIDEO[1:4])
    states = [begin(tracker, params, VIDEO[0], BOX + np.float32([shift, 0, 0, 0])) for shift in (0, 3)]
    run = functools.partial(jtrack.rollout, tracker)
    _, together = jax.jit(jax.vmap(run, (None, 0, None)))(params, stacked(states), frames)
    apart = stacked([jax.jit(run)(params, state, frames)[1] for state in states])
    np.testing.assert_allclose(together.box, apart.box, atol=1e-3)
    np.testing.assert_allclose(together.score, apart.score, atol=1e-4)


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_gradient_goes_through_learning_where_it_is_due_and_only_there(checkpoint):
    """Closed form: the last box moves with the rate by all moves; each learning halves the first memory."""
    tracker, params = fake.fake(None, fake.Config()), fake.build().params
    video = fake.video(MOVES)

    def last(rate, memory, box):
        state = begin(tracker, params, video[0], box)._replace(memory=memory)
        numbers = params | {"tracker": {"rate": rate}}
        after, _ = jtrack.rollout(tracker, numbers, state, video[1:], checkpoint=checkpoint)
        return after.box[:2].sum() + after.memory.sum()

    for box in STARTS:
        by_rate, by_memory = jax.grad(last, (0, 1))(jnp.float32(1), jnp.ones((1, 2)), box)
        assert int(by_rate) == MOVES[1:].sum()
        due = (len(MOVES) - 1) // (2 + int(box[2]) % 3)
        np.testing.assert_array_equal(by_memory, np.full((1, 2), 0.5**due))


@pytest.mark.slow
def test_the_gradient_is_the_same_without_checkpoint_which_saves_memory():
    """Of ridge filters: rounded to float32, the gradient of bounded ones is good to a few hundredths only."""
    tracker, params = bind("hcft", **SMOOTH, filters=Dual(), channels=None)
    state = begin(tracker, params, VIDEO[0], BOX)
    frames = jtrack.to_frames(VIDEO[1:])

    def compiled(checkpoint):
        def loss(params):
            _, outputs = jtrack.rollout(tracker, params, state, frames, checkpoint=checkpoint)
            return outputs.box.mean()

        return jax.jit(jax.grad(loss)).lower(params).compile()

    saved, kept = compiled(checkpoint=True), compiled(checkpoint=False)
    for a, b in zip(jax.tree.leaves(saved(params)), jax.tree.leaves(kept(params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())
    memory = [each.memory_analysis().temp_size_in_bytes for each in (saved, kept)]
    assert memory[0] < memory[1] / 2


@pytest.mark.slow
def test_gradients_agree_with_finite_differences_in_float64():
    """With respect to hyper-parameters and to pixels, in eight seeded directions each."""
    # Strict promotion is about float32: with 64 bits allowed every plain integer is another type.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        tracker, params = bind("hcft", **SMOOTH)
        params = jax.tree.map(functools.partial(jnp.asarray, dtype=jnp.float64), params)
        state = begin(tracker, params, VIDEO[0].astype(np.float64), BOX.astype(np.float64))
        truth = jnp.asarray(CLIP.boxes[1:4])

        @jax.jit
        def loss(hyper, pixels):
            _, outputs = jtrack.rollout(tracker, params | {"tracker": hyper}, state, pixels)
            return jnp.mean((outputs.box - truth) ** 2)

        inputs = params["tracker"], jnp.asarray(VIDEO[1:4], jnp.float64)
        gradient = jax.jit(jax.grad(loss, (0, 1)))(*inputs)
        rng = np.random.default_rng(0)
        # A step of pixels so small that hardly a ReLU or a maximum turns over.
        for which, step in ((0, 1e-5), (1, 1e-7)):
            errors = [relative_error(loss, inputs, gradient, which, step, rng) for _ in range(8)]
            assert np.median(errors) < 1e-6, (which, errors)


def relative_error(loss, inputs, gradient, which, step, rng):
    """A derivative along a direction, in proportion to what it changes, against a central difference."""
    direction = jax.tree.map(lambda leaf: leaf * rng.normal(size=leaf.shape), inputs[which])
    slope = sum(
        float((a * b).sum())
        for a, b in zip(jax.tree.leaves(gradient[which]), jax.tree.leaves(direction), strict=True)
    )

    def moved(by):
        value = jax.tree.map(lambda leaf, along: leaf + by * along, inputs[which], direction)
        return float(loss(*inputs[:which], value, *inputs[which + 1 :]))

    quotient = (moved(step) - moved(-step)) / (2 * step)
    assert abs(quotient) > 1e-6
    return abs(slope - quotient) / abs(quotient)
