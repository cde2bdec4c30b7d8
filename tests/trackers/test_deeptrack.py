"""DeepTrack against what its paper says of it, and what users may meet."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jtrack import trackers
from jtrack.components import cue_patches, motion, samples
from jtrack.components.decisions import Hard
from jtrack.components.localisation import BestCandidate, MeanOfBest
from jtrack.errors import JtrackError
from jtrack.learning import cue_network, replay_buffer, structural_loss
from jtrack.run.advance import learn_where_due
from jtrack.run.together import executable
from jtrack.types import Frame
from jtrack.vision import boxes
from jtrack.vision.cues import AsFilmed, AsWarped, Fixed, Stretched

KEY = jax.random.key(0)
SIZE = (96, 128)
BOX = (40.0, 30.0, 24.0, 20.0)
# Shapes cut short; the rest is the profile's.
QUICK = {
    "candidates": 100,
    "positives": 60,
    "negatives": 90,
    "negatives_per_frame": 40,
    "first_positives": 20,
    "first_negatives": 50,
    "batch": 16,
    "first_budget": 60,
    "budget": 4,
}
NEVER, ALWAYS = 1e9, 0.0  # tolerances of the training loss


def frame(shift=(0, 0), *, colour=True, size=SIZE):
    """Noise with a bright disc on BOX, moved by (rows, columns)."""
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(40, 120, (24, 32, 3)), np.ones((4, 4, 1)))
    rows, columns = np.mgrid[:96, :128]
    disc = ((rows - 40 - shift[0]) / 10) ** 2 + ((columns - 52 - shift[1]) / 12) ** 2 < 1
    pixels[disc] = (250, 200, 60)
    if not colour:
        pixels[:] = pixels.mean(axis=-1, keepdims=True)
    return Frame(jnp.asarray(pixels.astype(np.uint8)), jnp.asarray(size, jnp.int32))


@functools.cache
def build(profile="default", **changes):
    bound = trackers.create("deeptrack", profile=profile)
    return bound._replace(config=dataclasses.replace(bound.config, **(QUICK | changes)))


@functools.cache
def tracker():
    bound = build()
    return bound.factory(bound.backbone, bound.config)


def params(**changes):
    hyper = {name: jnp.asarray(value, jnp.float32) for name, value in changes.items()}
    return {"backbone": {}, "tracker": build().params["tracker"]._replace(**hyper)}


def start(box=BOX, first=None, **changes):
    """Functions, params and the state after the first frame."""
    made = executable(tracker(), lanes=False)
    chosen = params(**changes)
    # The first frame is trained as ever: only later frames are to meet the tolerance.
    state = made.init(params(), KEY, first or frame(), jnp.asarray(box))
    return made.step, chosen, state


def leaves(tree):
    keys = jax.dtypes.prng_key
    return [
        np.asarray(jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, keys) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


def copied(state):
    """A state that survives the donation of another."""
    return jax.tree.map(jnp.copy, state)


def test_the_paper_s_numbers():
    config, hyper = trackers.profile("deeptrack", "paper")
    assert (config.candidates, config.positives, config.negatives) == (1500, 1000, 500)
    assert (config.positives_per_frame, config.negatives_per_frame) == (1, 150)
    assert config.grey_cues == ("contrast", "contrast_wide", "gradient")
    assert config.colour_cues == ("hue", "value", "gradient")
    assert (config.cue_range, config.localisation) == (Stretched(0, 10), BestCandidate())
    assert config.schedule == "iterative" and hyper.retrain_above == 2
    told = {"beta": 0.0025, "tightening": 3, "decay": 10, "near_best": 0.75, "tolerance": 0.005}
    told |= {"learning_rate": 0.05, "fusion_learning_rate": 0.005, "slope": 1}
    assert {name: float(getattr(hyper, name)) for name in told} == pytest.approx(told)


def test_unknown_profiles_and_networks_are_refused():
    with pytest.raises(JtrackError, match="profile of deeptrack 'papr'"):
        trackers.profile("deeptrack", "papr")
    with pytest.raises(JtrackError, match="learns its own network"):
        trackers.create("deeptrack", backbone="vgg19")


@pytest.mark.slow
def test_a_moving_target_is_followed():
    step, chosen, state = start()
    for t in range(1, 9):
        state, output = step(chosen, state, frame((t, 2 * t)))
    truth = jnp.asarray(BOX) + jnp.array([16.0, 8.0, 0.0, 0.0])
    assert boxes.iou(output.box, truth) > 0.5
    assert 0 <= output.score <= 1


def candidates(hyper, count, box=BOX):
    position = jnp.clip(hyper.position_share * box[3], *hyper.position_limit)
    scale = hyper.scale_deviation
    return motion.clipped_candidates(KEY, jnp.asarray(box), count, position, scale, frame().size)


def cues_of(config, image, box, colour=True):
    names = config.grey_cues, config.colour_cues
    return cue_patches.cues_around(image, jnp.asarray(box), jnp.asarray(colour), names, config.cue_range)


def test_candidates_are_gaussian_around_the_last_box():
    bound, box = build(), jnp.asarray(BOX)
    drawn = candidates(trackers.profile("deeptrack", "paper").hyper, 3000)
    np.testing.assert_array_equal(drawn[0], BOX)
    steps = np.asarray(boxes.centre(drawn) - boxes.centre(box)[None])
    # min(10, h / 2) = 10 pixels, cut by the frame's border at times.
    np.testing.assert_allclose(steps.std(axis=0), 10, rtol=0.06)
    scale = np.log(np.asarray(drawn[:, 2:]) / np.asarray(BOX[2:]))
    np.testing.assert_allclose(scale[:, 0], scale[:, 1], atol=1e-5)
    np.testing.assert_allclose(scale.std(), 0.01, rtol=0.06)
    assert bound.config.candidates == 100


def test_cues_of_the_frame_do_not_mute_what_lies_across_an_upright_target():
    """The same waves run down and across; of a target twice as high as wide the region halves one of them."""
    rows, columns = np.mgrid[:96, :128]
    waves = 120 + 50 * np.sin(rows / 5) + 50 * np.sin(columns / 5)
    pixels = np.repeat(waves[..., None], 3, axis=-1).astype(np.float32)
    image = Frame(jnp.asarray(pixels), jnp.asarray(SIZE, jnp.int32))
    box, names = jnp.asarray([60.0, 40.0, 8.0, 16.0]), (("gradient",), ("gradient",))

    def strength(geometry):
        scaling = Fixed(0, 1)
        cue = cue_patches.cues_around(image, box, jnp.asarray(False), names, scaling, geometry=geometry)
        return np.asarray(cue)[..., 0]

    warped, filmed = strength(AsWarped()), strength(AsFilmed())
    down, across = 50 / 5 * np.cos(rows / 5), 50 / 5 * np.cos(columns / 5)
    # Of the frame, for a pixel of the region: half a pixel down there, as SIDE pixels are 16.
    for found, share in ((filmed, 1), (warped, 0.5)):
        want = np.sqrt(np.mean((down**2 + (share * across) ** 2) / 4)) / 64
        assert np.sqrt(np.mean(found**2)) == pytest.approx(want, rel=0.05)


def test_a_first_frame_may_teach_the_target_alone():
    alone = samples.overlapping(KEY, jnp.asarray(BOX), 0)
    np.testing.assert_array_equal(alone, [BOX])
    profile = trackers.profile("deeptrack", "paper").replace(first_positives=0)
    assert profile.config.first_positives == 0


@pytest.mark.parametrize("profile", ["paper", "default"])
@pytest.mark.parametrize("colour", [True, False])
def test_cues_keep_to_their_range(profile, colour):
    config = trackers.profile("deeptrack", profile).config
    cues = cues_of(config, frame(colour=colour), BOX, colour)
    low, high = config.cue_range.low, config.cue_range.high
    assert cues.shape == (160, 160, len(config.grey_cues))
    assert cues.min() >= low and cues.max() <= high + 1e-5
    if profile == "paper":  # each cue fills it
        np.testing.assert_allclose(cues.min(axis=(0, 1)), low, atol=1e-5)
        np.testing.assert_allclose(cues.max(axis=(0, 1)), high, rtol=1e-5)


def test_patches_of_a_mirrored_frame_are_mirrored():
    config = trackers.profile("deeptrack", "default").config
    plain = frame((0, 5))
    mirrored = Frame(plain.pixels[:, ::-1], plain.size)
    shifted = jnp.asarray(BOX)[None] + jnp.array([[0.0, 0, 0, 0], [5, -3, 2, 2], [-20, 8, 0, 0]])

    def mirror(box):
        return box.at[..., 0].set(SIZE[1] - box[..., 0] - box[..., 2])

    found = []
    for image, box, windows in (
        (plain, jnp.asarray(BOX), shifted),
        (mirrored, mirror(jnp.asarray(BOX)), mirror(shifted)),
    ):
        found.append(cue_patches.patches_of(cues_of(config, image, box), windows, box))
    np.testing.assert_allclose(found[1], found[0][:, :, ::-1], atol=2e-3)


@pytest.mark.slow
def test_pools_fill_frame_by_frame():
    step, chosen, state = start(tolerance=NEVER)
    first = QUICK["first_positives"] + 1
    assert state.positives.added == first and state.negatives.added == QUICK["first_negatives"]
    for t in range(1, 4):
        state, _ = step(chosen, state, frame((0, t)))
    assert state.time == 3
    assert state.positives.added == first + 3 * build().config.positives_per_frame
    assert state.negatives.added == QUICK["first_negatives"] + 3 * QUICK["negatives_per_frame"]
    # 170 were added, 90 are kept: of the frames 1 (10 of them), 2 and 3.
    assert sorted(set(np.asarray(state.negatives.time).tolist())) == [1, 2, 3]
    assert (np.asarray(replay_buffer.weights(state.negatives, state.time, 0.0)) > 0).all()


def test_samples_lie_on_their_side_of_one_half():
    box, slow = jnp.asarray(BOX), jnp.asarray(BOX)[None] + jnp.zeros((100, 4))
    near = samples.overlapping(KEY, box, 20)
    assert (np.asarray(boxes.iou(near, box[None])) > 0.5).all()
    np.testing.assert_array_equal(near[0], BOX)
    far = samples.beside(KEY, box, 40, 2.0, candidates=slow, scores=jnp.zeros(100), hard=20)
    assert far.shape == (40, 4)
    assert (np.asarray(boxes.iou(far, box[None])) <= 0.5).all()


def test_background_of_the_first_frame_is_dense_around_the_target():
    box, region = jnp.asarray(BOX), trackers.profile("deeptrack", "default").config.region
    far = samples.beside(KEY, box, 500, (region - 1) / 2)
    overlap = np.asarray(boxes.iou(far, box[None]))
    assert overlap.min() >= 0 and overlap.max() <= 0.5
    step = np.abs(np.asarray(boxes.centre(far) - boxes.centre(box)[None])) / BOX[2:]
    assert step.max() <= (region - 1) / 2
    # |step| <= 1 on both axes where u |u| <= 1 / 2; half of that square or so overlaps by less than half.
    inside = (step < 1).all(axis=1)
    drawn = np.random.default_rng(0).uniform(-1, 1, (100000, 2))
    drawn = 2 * drawn * np.abs(drawn)
    shared = np.clip(1 - np.abs(drawn), 0, None).prod(axis=1)
    drawn = drawn[shared / (2 - shared) <= 0.5]
    assert inside.mean() == pytest.approx((np.abs(drawn) < 1).all(axis=1).mean(), abs=0.06)


@pytest.mark.slow
def test_half_precision_ranks_the_best_candidates_alike():
    _, _, state = start()
    hyper = params()["tracker"]
    drawn = candidates(hyper, 500, state.box)
    patches = cue_patches.patches_of(cues_of(build().config, frame((1, 2)), state.box), drawn, state.box)
    full, half = (
        structural_loss.score(
            cue_network.output(cue_network.with_convolutions_in(state.network, precision), patches)
        )
        for precision in ("float32", "bfloat16")
    )
    # The best are within a thousandth of each other and may change places, though no further than this.
    order = np.argsort(-np.asarray(full))
    assert np.argmax(half) in order[:3]
    assert len({*order[:20].tolist()} & {*np.argsort(-half)[:20].tolist()}) >= 17
    assert stats.spearmanr(half, full).statistic > 0.999
    found = [MeanOfBest().box(drawn, scores, hyper.near_best, Hard()) for scores in (full, half)]
    np.testing.assert_allclose(found[1], found[0], atol=0.1)


def test_colours_fade_in_the_dark():
    config = trackers.profile("deeptrack", "default").config
    grain = np.random.default_rng(0).integers(0, 8, (*SIZE, 3)).astype(np.uint8)
    bright = frame()
    dark = Frame(jnp.asarray(grain), bright.size)
    spread = [float(jnp.std(cues_of(config, image, BOX)[..., 1])) for image in (bright, dark)]
    assert spread[1] < 0.25 * spread[0]


def test_the_hardest_background_is_taken():
    box = jnp.asarray(BOX)
    away = jnp.asarray(BOX)[None] + 40.0 * jnp.eye(4)[:1] + jnp.linspace(0, 9, 100)[:, None] * jnp.eye(4)[1:2]
    scores = jax.random.uniform(KEY, (100,))
    far = samples.beside(KEY, box, 40, 2.0, candidates=away, scores=scores, hard=20)
    hardest = np.asarray(away)[np.argsort(-np.asarray(scores))[:20]]
    taken = {tuple(row) for row in np.asarray(far).tolist()}
    assert {tuple(row) for row in hardest.tolist()} <= taken


@pytest.mark.slow
def test_a_small_loss_trains_nothing_bitwise():
    step, chosen, state = start(tolerance=NEVER)
    before = copied(state.network)
    for t in range(3):
        state, _ = step(chosen, state, frame((0, t)))
        assert not state.due
    assert same(state.network, before)


@pytest.mark.slow
def test_a_grown_loss_trains():
    step, chosen, state = start(tolerance=ALWAYS)
    before = copied(state.network)
    state, _ = step(chosen, state, frame((0, 3)))
    assert not state.due, "what was due is done"
    assert not same(state.network, before)


@pytest.mark.slow
def test_the_lazy_rule_is_twice_the_tolerance():
    bound = build(info=True)
    made = bound.factory(bound.backbone, bound.config)
    one = jax.jit(made.step)
    _, _, state = start()
    _, output = one(params(), state, frame())
    loss = float(output.info["loss"])
    for share, due in ((0.49, True), (0.51, False)):
        following, _ = one(params(tolerance=share * loss), state, frame())
        assert bool(following.due) is due
    assert output.info["candidates"].shape == (100, 4) and output.info["scores"].shape == (100,)
    assert 0 <= output.info["quality"] <= 1


@pytest.mark.slow
def test_four_targets_at_once_are_four_runs():
    # Not so long that rounding grows: lanes are summed in another order.
    bound = build(first_budget=10)
    functions = bound.factory(bound.backbone, bound.config)
    made, lanes = executable(functions, lanes=False), executable(functions, lanes=True)
    targets = jnp.asarray([BOX, (10.0, 20.0, 30.0, 30.0), (80.0, 50.0, 22.0, 26.0), (60.0, 8.0, 18.0, 18.0)])
    keys = jax.random.split(KEY, 4)
    brief = params(tolerance=ALWAYS)
    together = lanes.init(params(), keys, frame(), targets)
    alone = [made.init(params(), key, frame(), box) for key, box in zip(keys, targets, strict=True)]
    together, output = lanes.step(brief, together, frame((0, 1)))
    for lane, before in enumerate(alone):
        state, single = made.step(brief, before, frame((0, 1)))
        np.testing.assert_allclose(output.box[lane], single.box, atol=0.3)
        np.testing.assert_allclose(output.score[lane], single.score, atol=0.03)
        for a, b in zip(jax.tree.leaves(together.network), jax.tree.leaves(state.network), strict=True):
            np.testing.assert_allclose(a[lane], b, atol=2e-3)


@pytest.mark.slow
def test_a_lane_that_is_not_due_stays_bitwise():
    _, _, state = start()
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)._replace(due=jnp.array([False, True]))
    learn = jax.jit(functools.partial(learn_where_due, tracker().learn))
    learnt = learn(params(tolerance=ALWAYS), states)
    still, moved = (jax.tree.map(lambda leaf, lane=lane: leaf[lane], (states, learnt)) for lane in (0, 1))
    assert same(*still)
    assert not same(moved[0].network, moved[1].network)


@pytest.mark.slow
def test_nothing_compiles_after_the_first_frame(compilations):
    step, chosen, state = start()
    state, _ = step(chosen, state, frame())
    later = [(params(tolerance=ALWAYS if t else NEVER), frame((t, 0), colour=bool(t))) for t in range(3)]
    with compilations() as seen:
        for given, image in later:
            state, _ = step(given, state, image)
    assert not seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("box", "colour"),
    [
        (BOX, False),
        ((0.0, 0.0, 20.0, 24.0), True),
        ((112.0, 80.0, 16.0, 16.0), True),
        ((60.0, 40.0, 5.0, 4.0), True),
    ],
    ids=["grey video", "corner", "far corner", "under 8 pixels"],
)
def test_awkward_targets_are_tracked_and_stay_sound(box, colour):
    step, chosen, state = start(box, frame(colour=colour))
    assert bool(state.colour) is colour
    for _ in range(3):
        state, output = step(chosen, state, frame(colour=colour))
    assert all(np.isfinite(leaf).all() for leaf in leaves((state, output)))
    centre, size = np.asarray(boxes.centre(output.box)), np.asarray(output.box[2:])
    assert (centre >= 0).all() and (centre <= SIZE[::-1]).all()
    assert np.linalg.norm(centre - np.asarray(boxes.centre(jnp.asarray(box)))) < max(box[2:])
    assert (size > 0.8 * np.asarray(box[2:])).all() and (size < 1.25 * np.asarray(box[2:])).all()


def test_a_target_that_leaves_lowers_the_score():
    step, chosen, state = start()
    for t in range(1, 4):
        state, output = step(chosen, state, frame((0, t)))
    seen = float(output.score)
    for t in range(4):
        state, output = step(chosen, state, frame((200, 0)))
        if t == 0:
            assert output.score < 0.5 * seen
    assert np.isfinite(output.box).all()


def test_training_that_diverges_stays_finite():
    made = executable(tracker(), lanes=False)
    wild = params(learning_rate=1e3, fusion_learning_rate=1e3, tolerance=ALWAYS)
    state = made.init(wild, KEY, frame(), jnp.asarray(BOX))
    state, output = made.step(wild, state, frame((0, 2)))
    assert all(np.isfinite(leaf).all() for leaf in leaves((state, output)))
