"""FCNT: what its profiles say, what it learns and when, and what it does when nothing is to be seen."""

import dataclasses
import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones, trackers
from jtrack.components import motion
from jtrack.errors import JtrackError
from jtrack.learning import heat_map_memory
from jtrack.run.advance import learn_where_due
from jtrack.run.together import executable
from jtrack.trackers import fcnt
from jtrack.types import Frame, as_arrays
from jtrack.vision import boxes, grid, heat_map

TINY = backbones.get("tiny")
WEIGHTS = TINY.random_params(0)
BOX = (60.0, 50.0, 24.0, 20.0)
CANVAS = (128, 160)
QUICK = {"input_size": 96, "hidden": 4, "selection_iterations": 5, "info": True}


@functools.cache
def background(seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 140, (16, 20, 3))
    return np.kron(coarse, np.ones((8, 8, 1), int)).astype(np.uint8)


def frame(*places, size=(20, 24)):
    """A textured square at each place (x, y) on a dull background."""
    image = background().copy()
    rng = np.random.default_rng(9)
    texture = np.kron(rng.integers(0, 2, (5, 6, 3)) * 255, np.ones((4, 4, 1), int)).astype(np.uint8)
    for x, y in places:
        part = image[y : y + size[0], x : x + size[1]]
        part[:] = texture[: part.shape[0], : part.shape[1]]
    return Frame(jnp.asarray(image), jnp.asarray(CANVAS, jnp.int32))


def make(profile="default", weights=WEIGHTS, hyper=None, **changes):
    config, chosen = trackers.profile("fcnt", profile, "tiny")
    config = dataclasses.replace(config, **(QUICK | changes))
    chosen = as_arrays(chosen._replace(**(hyper or {})))
    return config, fcnt.fcnt(TINY, config), {"backbone": weights, "tracker": chosen}


@functools.cache
def bound(profile="default"):
    _, tracker, params = make(profile)
    return tracker, params, jax.jit(tracker.init), jax.jit(tracker.step)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_profiles_say_what_the_paper_and_the_releases_say():
    paper, early, late = (
        trackers.profile("fcnt", name, "vgg16") for name in ("paper", "release2015", "release2016")
    )
    for config, _ in (paper, early, late):
        assert (config.specific, config.general) == ("relu4_3", "relu5_3")
        assert config.input_size == 368 and config.grid == (46, 46)
        assert config.fraction * 512 == 384
        assert config.first_iterations == 50 and config.interval == 20
    structure = ("hidden", "selection_iterations", "adaptation_iterations", "discrimination_iterations")
    structure += ("candidates", "curvature", "anchor")
    assert [getattr(paper.config, name) for name in structure] == [
        36,
        50,
        3,
        3,
        600,
        1.0,
        "first",
    ]
    released = [32, 100, 1, 10, 600, -1.0, "best"]
    assert [getattr(early.config, name) for name in structure] == released
    assert [getattr(late.config, name) for name in structure] == [*released[:4], 700, *released[5:]]
    want = {
        "selection_learning_rate": (1e-10, 1e-10, 1e-10),
        "selection_decay": ((2.5e-3, 2.5e-3), (5e-4, 0.1), (5e-4, 0.1)),  # of which Caffe takes twice
        "learning_rate": ((1e-7, 1e-7), (1e-7, 8e-7), (1e-7, 8e-7)),
        "decay": (2.5e-3, 5e-4, 5e-4),
        "position_deviation": (10, 10, 0),
        "position_share": (0, 0, 1 / 7),
        "scale_deviation": (0.004, 0.004, 0.004),
        "distractor_share": (0.2, 0.2, 0.2),
        "discriminate_above": ((np.inf, 0.2), (0.2, np.inf), (0.2, np.inf)),
        "scale_gates": ((0.45, 0.4, 0.35, np.inf), (0.45, 0.4, 0.35, np.inf), (0.45, 0.4, 0.35, 0.49)),
    }
    for name, values in want.items():
        for profile, value in zip((paper, early, late), values, strict=True):
            np.testing.assert_allclose(getattr(profile.hyper, name), np.float32(value), err_msg=name)


def test_the_papers_ablations_are_of_default_of_paper_and_of_the_release():
    for whole, prefix in (("default", ""), ("paper", "paper-"), ("release2016", "release2016-")):
        base = trackers.profile("fcnt", whole, "vgg16")
        kept = {name: trackers.profile("fcnt", prefix + name, "vgg16") for name in fcnt.ABLATIONS}
        assert kept["general"] == base.replace(specific=None)
        assert kept["specific"] == base.replace(general=None)
        shares = [kept[name].config.fraction * 512 for name in ("all", "half", "quarter", "eighth")]
        assert shares == [512, 256, 128, 64]


@pytest.mark.parametrize("size", [(24.0, 20.0), (40.0, 90.0)])
def test_the_ideal_map_of_paper_has_no_distractor_and_its_best_candidate_the_true_size(size):
    config, hyper = trackers.profile("fcnt", "paper", "vgg16")
    box = jnp.asarray([100.0, 80.0, *size])
    region = config.region.around(box, box[2:])
    ideal, _ = heat_map.label(box, region, config.grid, edge=config.label_edge)
    frame_size = jnp.asarray((480, 640))
    shown = heat_map.for_candidates(ideal, region, frame_size, upsampling=fcnt.UPSAMPLING)
    cells = (config.grid[0] * fcnt.UPSAMPLING,) * 2
    floors = zip(hyper.distractor_floor, hyper.area_exponent, strict=True)
    scales = np.geomspace(0.5, 2, 201, dtype=np.float32)
    candidates = boxes.scale_about_centre(jnp.broadcast_to(box, (201, 4)), jnp.asarray(scales)[:, None])
    for floor, exponent in floors:
        above = jnp.where(shown > floor, shown, 0)
        assert heat_map.distractor_share(above, grid.to_cells(box, region, cells)) < hyper.distractor_share
        heat = jnp.where(shown > hyper.floor, shown, 0)
        _, scores = heat_map.candidate_scores(heat, grid.to_cells(candidates, region, cells), exponent)
        assert scales[np.argmax(scores)] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_still_target_stays_where_it_is_in_paper(seed):
    config, tracker, params = make("paper", selection_iterations=50)
    init, step = jax.jit(tracker.init), jax.jit(tracker.step)
    state = init(params, jax.random.key(seed), frame((60, 50)), jnp.asarray(BOX))
    cell = 2 * np.hypot(*BOX[2:]) / config.grid[0]
    for _ in range(3):
        state, output = step(params, state, frame((60, 50)))
        np.testing.assert_allclose(output.box[:2], BOX[:2], atol=cell / 2)


def test_the_release_counts_the_first_frame():
    counted = {name: trackers.profile("fcnt", name, "tiny").config.first_number for name in fcnt.PROFILES}
    assert [name for name, first in counted.items() if first == 0] == [
        name for name in fcnt.PROFILES if not name.startswith(("paper", "release"))
    ]
    _, params, init, _ = bound("release2015")
    assert init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX)).time == 1


def test_the_paper_counts_more_than_270000_elements():
    vgg16 = backbones.get("vgg16")
    assert vgg16.map_shape("relu4_3", (368, 368)) == (46, 46, 512)
    assert vgg16.map_shape("relu5_3", (368, 368)) == (23, 23, 512)
    assert 23 * 23 * 512 == 270_848


@pytest.mark.parametrize("name", trackers.networks("fcnt"))
def test_every_network_has_its_two_layers(name):
    net = backbones.get(name)
    specific, general = (net.map_shape(tap, (368, 368)) for tap in fcnt.layers_of(net))
    assert specific[0] >= general[0] and len(specific) == len(general) == 3


def test_unknown_names_are_refused():
    with pytest.raises(JtrackError, match="profile of fcnt"):
        trackers.profile("fcnt", "release2017", "vgg16")
    with pytest.raises(JtrackError, match="backbone of fcnt"):
        trackers.profile("fcnt", "default", "none")


def test_the_region_is_a_square_of_twice_the_diagonal_and_follows_the_size():
    first = jnp.asarray(BOX[2:], jnp.float32)
    side = 2 * np.hypot(24, 20)
    region = motion.DiagonalRegion().around(jnp.asarray(BOX), first)
    np.testing.assert_allclose(region, [72 - side / 2, 60 - side / 2, side, side], rtol=1e-5)
    wider = motion.DiagonalRegion().around(jnp.asarray([60.0, 50.0, 48.0, 20.0]), first)
    np.testing.assert_allclose(wider[2:], [2 * side, side], rtol=1e-5)
    # Pixels from 73 - 31 to 73 + 31, counted from 1.
    released = motion.ReleasedDiagonalRegion().around(jnp.asarray(BOX), first)
    np.testing.assert_allclose(released, [41, 29, 63, 63])


def test_what_is_wanted_of_a_network_is_the_target_and_its_surroundings():
    region = jnp.asarray([0.0, 0.0, 96.0, 96.0])
    target, beside = map(np.asarray, heat_map.label(jnp.asarray([30.0, 40.0, 20.0, 24.0]), region, (12, 12)))
    touched = np.zeros((12, 12), bool)
    touched[5:8, 3:7] = True
    np.testing.assert_array_equal(beside, np.where(touched, 0, 1))
    assert target.max() > 0.8 and (target[~touched] < 0.02).all()


@pytest.mark.slow
def test_it_follows_a_target_and_learns_only_when_due():
    tracker, params, init, step = bound()
    learn = jax.jit(lambda params, state: learn_where_due(tracker.learn, params, state))
    state = init(params, jax.random.key(1), frame((60, 50)), jnp.asarray(BOX))
    general = state.general
    learnt = []
    for t in range(1, 43):
        place = 60 + t // 2, 50 + t // 4
        before = state.specific
        state, output = step(params, state, frame(place))
        assert same(state.specific, before)  # a step alone changes no network
        due = bool(state.due)
        assert due == bool(output.info["due"])
        assert due == ((t % 20 == 0 and bool(state.memory.adapt)) or bool(state.memory.discriminate))
        state = learn(params, state)
        assert same(state.specific, before) == (not due)
        assert not state.due
        learnt += [t] if due else []
        np.testing.assert_allclose(output.box[:2], place, atol=7)
    assert 20 in learnt and 40 in learnt
    assert same(state.general, general)
    assert np.isfinite(np.asarray(state.specific.net.kernel1)).all()
    assert learn._cache_size() == step._cache_size() == init._cache_size() == 1


@pytest.mark.slow
def test_a_distractor_is_noticed_and_does_not_take_the_box():
    tracker, params, init, step = bound()
    learn = jax.jit(tracker.learn)
    state = init(params, jax.random.key(2), frame((60, 50)), jnp.asarray(BOX))
    _, alone = step(params, state, frame((60, 50)))
    for t in range(5):
        state, output = step(params, state, frame((60, 50), (87, 63 + t)))
        if state.due:
            state = learn(params, state)
        np.testing.assert_allclose(output.box[:2], BOX[:2], atol=4)
    assert output.info["distractor"] > alone.info["distractor"]
    assert output.info["distractor"] > 0.2 and not output.info["general_decided"]


def test_a_distractor_counts_for_less_the_colder_snet_is():
    specific, general = jnp.full((3, 3), 0.2), jnp.full((3, 3), 0.8).at[0, 0].set(0.4)
    none = jnp.zeros((3, 3))
    assert heat_map.heat_ratio(specific, general, 1.0) == pytest.approx(0.25)
    assert heat_map.heat_ratio(general, specific, 1.0) == heat_map.heat_ratio(none, none, 1.0) == 1
    assert heat_map.heat_ratio(specific, general, 0.0) == 1
    weights = {name: trackers.profile("fcnt", name, "tiny").hyper.heat_ratio for name in fcnt.PROFILES}
    without = {name.partition("-")[0] for name, weight in weights.items() if weight == 0}
    assert without == {"paper", "release2015", "release2016"}


def test_a_frame_with_much_heat_beside_the_target_is_not_remembered_as_the_best():
    _, _, params = make()
    _, _, init, _ = bound()
    memory = init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX)).memory
    present = memory.first._replace(maps=memory.first.maps + 1)

    def best(share):
        may_be_best = jnp.asarray(share < params["tracker"].best_below)
        return heat_map_memory.remember(memory, present, jnp.float32(0.6), may_be_best=may_be_best)

    assert same(best(0.6).best, memory.best) and best(0.6).best_confidence == 0
    assert same(best(0.4).best, present) and best(0.4).best_confidence == pytest.approx(0.6)
    # A rule of `default` alone.
    assert np.isinf(trackers.profile("fcnt", "release2016", "tiny").hyper.best_below)


@pytest.mark.slow
def test_lanes_equal_single_runs_and_wait_for_each_other_unchanged():
    _, tracker, params = make()
    places = np.array([[60, 50], [10, 12], [120, 90], [40, 96]])
    targets = np.array([[x, y, 24, 20] for x, y in places], np.float32)
    keys = jax.random.split(jax.random.key(0), 4)
    scene = [frame(*(places + np.array([[t, t // 2], [t, 0], [-t, -t], [0, -t]]))) for t in range(4)]
    lanes, single = executable(tracker, lanes=True), executable(tracker, lanes=False)
    together = lanes.init(params, keys, scene[0], targets)
    alone = [single.init(params, keys[i], scene[0], targets[i]) for i in range(4)]
    for image in scene[1:]:
        before = np.array(together.specific.net.bias2)[:, 0]
        together, said = lanes.step(params, together, image)
        # A lane that is not due stays to the last bit.
        changed = np.array(together.specific.net.bias2)[:, 0] != before
        np.testing.assert_array_equal(changed, said.info["due"])
        for i in range(4):
            alone[i], output = single.step(params, alone[i], image)
            np.testing.assert_allclose(said.box[i], output.box, atol=0.05)
            np.testing.assert_allclose(said.score[i], output.score, atol=5e-3)
    for i in range(4):
        kernel = np.asarray(alone[i].specific.net.kernel1)
        np.testing.assert_allclose(together.specific.net.kernel1[i], kernel, atol=2e-2 * np.abs(kernel).max())


def test_a_dead_network_stays_and_says_lost():
    _, params, init, step = bound()
    state = init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))
    dead = state._replace(
        specific=state.specific._replace(net=jax.tree.map(jnp.zeros_like, state.specific.net)),
        general=state.general._replace(net=jax.tree.map(jnp.zeros_like, state.general.net)),
    )
    after, output = step(params, dead, frame((80, 50)))
    assert output.lost and output.score < 0.01 and not after.due
    np.testing.assert_array_equal(output.box, BOX)
    assert output.info["distractor"] == 0


def test_features_that_are_no_numbers_stay_and_say_lost():
    _, params, init, step = bound()
    broken = params | {"backbone": jax.tree.map(lambda leaf: leaf * jnp.nan, WEIGHTS)}
    state = init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))
    for first in (state, init(broken, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))):
        after, output = step(broken, first, frame((60, 50)))
        np.testing.assert_array_equal(output.box, BOX)
        assert output.lost and not after.due and np.isfinite(output.score)
        floats = [leaf for leaf in jax.tree.leaves(after) if leaf.dtype == jnp.float32]
        assert all(np.isfinite(leaf).all() for leaf in floats)
    _, seen = step(params, after._replace(specific=state.specific, general=state.general), frame((60, 50)))
    assert not seen.lost  # the next good frame is tracked again


def test_a_target_at_the_border_keeps_its_centre_inside():
    _, params, init, step = bound()
    state = init(params, jax.random.key(0), frame((130, 100)), jnp.asarray([130.0, 100.0, 24.0, 20.0]))
    for t in range(12):
        state, output = step(params, state, frame((130 + t, 100 + t)))
        centre = np.asarray(output.box[:2] + output.box[2:] / 2)
        assert (centre >= 0).all() and (centre <= [160, 128]).all()


@pytest.mark.slow
def test_scale_is_searched_from_frame_20_on_if_all_went_well():
    _, _, params = make("release2016")
    _, _, init, step = bound("release2015")
    state = init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))
    early, late = (trackers.profile("fcnt", f"release{year}", "tiny").hyper for year in (2015, 2016))

    def opens(hyper, least, width):
        return bool(motion.scale_opens(jnp.float32(least), jnp.float32(width), hyper.scale_gates))

    assert opens(early, 0.46, 30.0) and opens(early, 0.495, 30.0)
    assert opens(late, 0.46, 30.0) and not opens(late, 0.495, 30.0)  # never in doubt: never scaled
    assert opens(early, 0.41, 50.0) and not opens(early, 0.41, 30.0)  # large
    assert opens(early, 0.36, 15.0) and not opens(early, 0.36, 30.0)  # small
    for width in (50.0, 15.0):
        assert opens(early, 0.495, width) and not opens(late, 0.495, width)
    for time, opened in ((19, False), (20, True), (21, False)):
        eager = params | {
            "tracker": params["tracker"]._replace(scale_gates=jnp.float32([-1, -1, -1, jnp.inf]))
        }
        after, _ = step(eager, state._replace(time=jnp.int32(time - 1)), frame((60, 50)))
        assert bool(after.scaling) == opened
    _, output = step(params, state, frame((60, 50)))
    np.testing.assert_array_equal(output.info["candidates"][:, 2], 24)
    _, output = step(params, state._replace(scaling=jnp.asarray(True)), frame((60, 50)))
    scales = np.log(np.asarray(output.info["candidates"][1:, 2]) / 24)
    assert np.std(scales) == pytest.approx(0.004, rel=0.1)


def zoomed(factor):
    """The textured square of `BOX` magnified about its middle."""
    image = frame((60, 50)).pixels
    turn = cv2.getRotationMatrix2D((72, 60), 0, factor)
    return Frame(
        jnp.asarray(cv2.warpAffine(np.asarray(image), turn, (160, 128))), jnp.asarray(CANVAS, jnp.int32)
    )


def test_the_size_follows_a_target_that_grows_and_keeps_while_it_is_doubtful():
    _, params, init, step = bound()
    state = init(params, jax.random.key(0), zoomed(1.0), jnp.asarray(BOX))
    np.testing.assert_allclose(step(params, state, zoomed(1.0))[1].box[2:], BOX[2:], rtol=0.02)
    for t in range(1, 21):
        state, output = step(params, state, zoomed(1.012**t))
    assert output.box[2] / 24 == pytest.approx(1.012**20, rel=0.1)
    assert output.box[2] / output.box[3] == pytest.approx(24 / 20, rel=1e-4)
    # A threshold no confidence reaches: the same frames leave the size and what is learnt of it.
    doubtful = params | {"tracker": params["tracker"]._replace(learnt_above=np.float32(2))}
    state = init(doubtful, jax.random.key(0), zoomed(1.0), jnp.asarray(BOX))
    before = state.scale
    for t in range(1, 6):
        state, output = step(doubtful, state, zoomed(1.02**t))
    np.testing.assert_allclose(output.box[2:], BOX[2:], rtol=1e-5)
    assert same(state.scale, before)


def test_candidates_are_spread_as_said():
    _, params, init, step = bound("release2015")
    state = init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))
    _, output = step(params, state, frame((60, 50)))
    candidates = np.asarray(output.info["candidates"])
    assert candidates.shape == (600, 4)
    np.testing.assert_array_equal(candidates[0], BOX)
    np.testing.assert_allclose((candidates[1:, :2] - BOX[:2]).std(0), 10, rtol=0.1)
    np.testing.assert_allclose((candidates[1:, :2] - BOX[:2]).mean(0), 0, atol=1.5)


@pytest.mark.slow
def test_one_network_alone_tracks_and_gnet_never_learns():
    for nets, other in (("general", "specific"), ("specific", "general")):
        _, tracker, params = make(**{other: None})
        assert (tracker.learn is None) == (nets == "general")
        state = jax.jit(tracker.init)(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))
        assert (state.general is None, state.specific is None) == (nets == "specific", nets == "general")
        step = jax.jit(tracker.step)
        for t in range(3):
            state, output = step(params, state, frame((60 + t, 50)))
        np.testing.assert_allclose(output.box[:2], (62, 50), atol=6)
        assert not (nets == "general" and state.due)


def test_diagnostics_are_there_when_asked_for():
    _, params, init, step = bound()
    state = init(params, jax.random.key(0), frame((60, 50)), jnp.asarray(BOX))
    _, output = step(params, state, frame((60, 50)))
    shapes = {name: value.shape for name, value in output.info.items()}
    assert shapes["specific_heat"] == shapes["general_heat"] == (12, 12)
    assert shapes["specific_maps"] == (9,) and shapes["general_maps"] == (12,)  # .75 of 12 and of 16
    assert shapes["candidates"] == (600, 4) and shapes["region"] == (4,)
    for name in ("confidence", "distractor", "specific_distractor", "general_decided", "due"):
        assert shapes[name] == ()
