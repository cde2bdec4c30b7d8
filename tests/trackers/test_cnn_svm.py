"""CNN-SVM's own rules, on the small network."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones, trackers
from jtrack.errors import JtrackError
from jtrack.learning import incremental_svm
from jtrack.run.advance import learn_where_due
from jtrack.trackers import cnn_svm
from jtrack.types import Frame, as_arrays
from jtrack.vision import boxes
from jtrack.vision.crop import crop
from jtrack.weights import store

SIZE = (120, 150)
BOX = jnp.asarray((50.0, 40.0, 30.0, 24.0))
NET = backbones.get("tiny")
SMALL = {"candidates": 40, "first_samples": 24, "samples": 24, "budget": 48, "info": True}
SMALL_MAPS = {"grid": 96, "template": 24, "filters": 3, "back_projected": 8}


def frame(seed=0, shift=(0, 0)):
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (24, 30, 3)).astype(np.uint8), np.ones((5, 5, 1), np.uint8))
    return Frame(jnp.asarray(np.roll(image, shift, (0, 1))), jnp.asarray(SIZE, jnp.int32))


GREY = Frame(jnp.full((*SIZE, 3), 128, jnp.uint8), jnp.asarray(SIZE, jnp.int32))


@functools.cache
def build(profile="default"):
    config, hyper = trackers.profile("cnn_svm", profile, "tiny")
    config = dataclasses.replace(config, **SMALL)
    if config.saliency is not None:
        config = dataclasses.replace(config, saliency=dataclasses.replace(config.saliency, **SMALL_MAPS))
    tracker = cnn_svm.cnn_svm(NET, config)
    params = {"backbone": store.load("tiny"), "tracker": as_arrays(hyper)}
    return config, tracker, params, jax.jit(tracker.init), jax.jit(tracker.step), jax.jit(tracker.learn)


BOTH = pytest.mark.parametrize("profile", ["paper", "default"])


@functools.cache
def first(profile="default"):
    _, _, params, init, _, _ = build(profile)
    return init(params, jax.random.key(0), frame(), BOX)


def values(tree):
    keys = jax.dtypes.prng_key
    return [np.asarray(x) for x in jax.tree.leaves(tree) if not jax.dtypes.issubdtype(x.dtype, keys)]


def test_the_first_frame_teaches_its_one_positive_and_background_alone():
    config, _, params, _, _, _ = build("paper")
    state = first("paper")
    labels, role = np.asarray(state.svm.labels), np.asarray(state.svm.role)
    used = role != incremental_svm.FREE
    assert labels[0] == 1 and (labels[1:][used[1:]] == -1).all()
    assert 1 < used.sum() <= config.budget
    assert float(incremental_svm.kkt_residual(state.svm)) < 1e-3
    # Features are scaled to a mean norm of 1, and the target is on its side.
    assert np.linalg.norm(state.svm.features[0]) == pytest.approx(1, abs=0.5)
    assert float(incremental_svm.decide(state.svm, state.svm.features[:1])[0]) > 0
    assert int(state.saliency.stored) == 1 and float(state.saliency.filters[0].max()) > 0
    assert float(state.saliency.posterior.sum()) == pytest.approx(1, abs=1e-4)
    assert not bool(state.due) and params["tracker"].overlap == np.float32(0.3)


def test_a_step_lays_ready_the_target_and_background_that_overlaps_by_less_than_delta():
    config, _, params, _, step, learn = build("paper")
    state, output = step(params, first("paper"), frame())
    assert bool(state.due) and not bool(output.lost) and float(state.labels[0]) == 1
    overlap = np.asarray(boxes.iou(output.info["candidates"], output.box[None]))
    scores = np.asarray(output.info["scores"])
    background = overlap < 0.3
    count = min(background.sum(), config.samples - 1)
    assert (np.asarray(state.labels)[1:] == -1).sum() == count and (np.asarray(state.labels)[1:] <= 0).all()
    weights = np.asarray(incremental_svm.weights(first("paper").svm))
    ready = np.asarray(state.features)[1 : 1 + count] @ weights + float(first("paper").svm.bias)
    np.testing.assert_allclose(np.sort(ready), np.sort(scores[background])[-count:], atol=1e-3)
    after = learn(params, state)
    assert not bool(after.due)
    assert (np.asarray(after.svm.role) != incremental_svm.FREE).sum() <= config.budget
    assert int(after.svm.role[0]) != incremental_svm.FREE
    assert float(incremental_svm.kkt_residual(after.svm)) < 1e-3


@pytest.mark.slow
@BOTH
def test_maps_are_densities_and_saliency_lies_where_positive_candidates_are(profile):
    config, _, params, _, step, _ = build(profile)
    before = first(profile)
    state, output = step(params, before, frame(shift=(1, 2)))
    info = {name: np.asarray(value) for name, value in output.info.items()}
    assert info["saliency"].min() >= 0 and info["saliency"].max() > 0
    for name in ("prior", "posterior"):
        assert info[name].sum() == pytest.approx(1, abs=1e-3) and info[name].min() >= 0
    # The peak is the box's centre, to a fraction of a cell.
    cell = info["window"][2] / config.saliency.grid
    row, column = np.unravel_index(info["posterior"].argmax(), info["posterior"].shape)
    place = info["window"][:2] + (np.array([column, row]) + 0.5) * cell
    np.testing.assert_allclose(np.asarray(boxes.centre(output.box)), place, atol=0.51 * cell)
    # The next prior starts from there: seen from its middle cell the target is where the peak was.
    seen = np.asarray(state.saliency.posterior.shape) // 2 + np.asarray(state.saliency.offset)
    np.testing.assert_allclose(seen, (row, column), atol=0.51)
    # Nothing outside the union of positive candidates.
    positive = info["candidates"][info["scores"] > float(params["tracker"].threshold)]
    x = info["window"][0] + (np.arange(config.saliency.grid) + 0.5) * cell
    y = info["window"][1] + (np.arange(config.saliency.grid) + 0.5) * cell
    inside = np.zeros((config.saliency.grid, config.saliency.grid), bool)
    for left, top, w, h in positive:
        inside |= ((y > top - 0.01) & (y < top + h + 0.01))[:, None] & (
            (x > left - 0.01) & (x < left + w + 0.01)
        )[None]
    assert (info["saliency"][~inside] == 0).all()


@pytest.mark.slow
def test_without_a_positive_candidate_nothing_but_the_key_changes():
    _, _, params, _, step, _ = build()
    state = first()
    hopeless = state._replace(svm=state.svm._replace(bias=jnp.float32(-1e3)))
    for image in (frame(7), GREY):
        following, output = step(params, hopeless, image)
        assert bool(output.lost) and not bool(following.due) and float(output.score) < 0.01
        for a, b in zip(values(following), values(hopeless), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not (jax.random.key_data(following.key) == jax.random.key_data(hopeless.key)).all()
    np.testing.assert_array_equal(output.box, BOX)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["paper", "svm_only"])
def test_without_a_positive_candidate_the_papers_box_is_the_best_one_and_nothing_is_learnt(profile):
    _, _, params, init, step, _ = build(profile)
    state = init(params, jax.random.key(0), frame(), BOX)
    hopeless = state._replace(svm=state.svm._replace(bias=jnp.float32(-1e3)))
    following, output = step(params, hopeless, frame(shift=(3, 2)))
    best = output.info["candidates"][np.argmax(output.info["scores"])]
    np.testing.assert_array_equal(output.box, best)
    np.testing.assert_array_equal(following.box, best)
    assert (np.asarray(best) != np.asarray(BOX)).any()
    assert bool(output.lost) and not bool(following.due)
    kept = following._replace(box=hopeless.box)
    for a, b in zip(values(kept), values(hopeless), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_papers_map_is_of_all_candidates():
    config, _ = trackers.profile("cnn_svm", "paper", "tiny")
    assert config.saliency.back_projected == config.candidates + 1
    assert trackers.profile("cnn_svm", "no_prior", "tiny").config.saliency.back_projected == 121


def test_no_positive_weight_leaves_the_prior_to_decide():
    _, _, params, _, step, _ = build()
    state = first()
    blind = state._replace(
        svm=state.svm._replace(features=jnp.zeros_like(state.svm.features), bias=jnp.float32(1))
    )
    following, output = step(params, blind, frame())
    assert float(output.info["saliency"].max()) == 0 and not bool(output.lost)
    np.testing.assert_allclose(output.info["posterior"], output.info["prior"], atol=1e-7)
    assert all(np.isfinite(leaf).all() for leaf in values(following))


def test_the_template_is_the_mean_of_the_last_frames():
    config, _, params, _, step, _ = build()
    state = first()
    seen = [np.asarray(state.saliency.filters[0])]
    for t in range(4):
        state, output = step(params, state, frame(shift=(t % 2, 0)))
        expected = np.mean(seen[-config.saliency.filters :], axis=0)
        np.testing.assert_allclose(output.info["template"], expected, atol=1e-6 * expected.max())
        if bool(state.due):
            seen.append(
                np.asarray(state.saliency.filters[(int(state.saliency.stored) - 1) % config.saliency.filters])
            )
    assert int(state.saliency.stored) == len(seen) > config.saliency.filters


def test_the_best_candidate_is_the_target_without_saliency():
    _, _, params, init, step, _ = build("svm_only")
    state = init(params, jax.random.key(0), frame(), BOX)
    state, output = step(params, state, frame())
    best = np.asarray(output.info["scores"]).argmax()
    np.testing.assert_allclose(output.box, output.info["candidates"][best], atol=1e-4)
    assert set(output.info) == {"candidates", "scores"}


@pytest.mark.slow
def test_four_targets_at_once_are_four_runs():
    _, tracker, params, init, step, learn = build()
    starts = jnp.asarray([BOX, (20.0, 30.0, 24.0, 30.0), (90.0, 60.0, 33.0, 21.0), (10.0, 80.0, 20.0, 20.0)])
    states = [init(params, jax.random.key(0), frame(), box) for box in starts]
    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def run(lanes):
        lanes, output = jax.vmap(tracker.step, (None, 0, None))(params, lanes, frame(shift=(1, 1)))
        return learn_where_due(tracker.learn, params, lanes), output

    lanes, together = jax.jit(run)(lanes)
    for lane, start in enumerate(states):
        state, output = step(params, start, frame(shift=(1, 1)))
        state = learn(params, state) if bool(state.due) else state
        np.testing.assert_allclose(together.box[lane], output.box, atol=1e-2)
        weights = incremental_svm.weights(jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes.svm))
        np.testing.assert_allclose(weights, incremental_svm.weights(state.svm), atol=1e-2)


def test_half_way_to_the_background_a_candidate_is_followed_but_nothing_is_learnt():
    _, _, params, _, step, _ = build()
    _, output = step(params, first(), frame())
    excess = float(output.info["scores"].max()) + 0.3
    doubtful = first()._replace(svm=first().svm._replace(bias=first().svm.bias - excess))
    following, output = step(params, doubtful, frame())
    assert float(output.info["scores"].max()) < 0 and not bool(output.lost) and float(output.score) < 0.5
    assert not bool(following.due) and int(following.saliency.stored) == int(doubtful.saliency.stored)
    np.testing.assert_array_equal(following.box[2:], doubtful.box[2:])
    assert np.abs(np.asarray((following.box - doubtful.box)[:2])).max() > 0


def test_a_frame_that_scores_less_than_the_average_is_followed_but_not_learnt():
    _, _, params, _, step, _ = build()
    _, output = step(params, first(), frame())
    bias = first().svm.bias - output.info["scores"].max() + 0.6
    svm = first().svm._replace(bias=bias)
    for average, learnt in ((0.78, True), (0.82, False)):  # three quarters of it: .585, .615
        before = first()._replace(average=jnp.float32(average), svm=svm)
        following, output = step(params, before, frame())
        assert bool(following.due) == learnt and not bool(output.lost)
        assert int(following.saliency.stored) == int(before.saliency.stored) + learnt
        assert np.any(np.asarray(following.box[2:]) != before.box[2:]) == learnt
        assert np.any(np.asarray(following.scale.numerator) != before.scale.numerator) == learnt
        assert np.any(np.asarray(following.saliency.posterior) != before.saliency.posterior)
        # The average follows all the same, or a target that has changed for good is never learnt again.
        assert float(following.average) == pytest.approx(0.95 * average + 0.05 * 0.6, abs=1e-4)


def test_without_a_threshold_every_frame_with_a_positive_candidate_is_learnt():
    _, _, params, _, step, _ = build("paper")
    before = first("paper")._replace(average=jnp.float32(1))
    _, output = step(params, before, frame())
    barely = before.svm._replace(bias=before.svm.bias - output.info["scores"].max() + 0.01)
    following, output = step(params, before._replace(svm=barely), frame())
    assert 0 < float(output.info["scores"].max()) < 0.05 and bool(following.due)


def test_candidates_are_cut_from_one_pass_over_their_surroundings():
    """With a region's image of one pixel a pixel: cells are means of the map of what `crop` shows."""
    config, _, params, _, step, _ = build()
    _, output = step(params, first(), frame())
    size = np.asarray(BOX[2:])
    side = np.sqrt(size.prod())
    region = boxes.from_centre(boxes.centre(first().box), jnp.asarray(size + 3 * side))
    image = crop(frame(), region, config.features.input_size)
    layer = config.features.layer
    whole = np.asarray(NET.apply(params["backbone"], image[None], (layer,))[layer][0], np.float64)
    fine = np.kron(whole, np.ones((60, 60, 1)))  # so many points a cell
    step_y, step_x = np.asarray(region[2:])[::-1] / fine.shape[:2]
    for candidate, score in zip(output.info["candidates"][:5], output.info["scores"][:5], strict=True):
        x, y, w, h = np.asarray(candidate) - np.array([*np.asarray(region[:2]), 0, 0])
        rows = np.linspace(y, y + h, config.features.cells + 1) / step_y
        columns = np.linspace(x, x + w, config.features.cells + 1) / step_x
        cells = [
            fine[round(a) : round(b), round(c) : round(d)].mean((0, 1))
            for a, b in itertools.pairwise(rows)
            for c, d in itertools.pairwise(columns)
        ]
        features = np.concatenate(cells) * float(first().feature_scale)
        expected = features @ np.asarray(incremental_svm.weights(first().svm)) + float(first().svm.bias)
        assert float(score) == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_the_size_follows_a_target_that_grows():
    _, _, params, _, step, _ = build()
    state = first()
    for t in range(1, 7):
        zoom, centre = 1.03**t, np.asarray(boxes.centre(first().box))
        window = np.array([*(centre - centre / zoom), SIZE[1] / zoom, SIZE[0] / zoom], np.float32)
        image = Frame(crop(frame(), jnp.asarray(window), SIZE), jnp.asarray(SIZE, jnp.int32))
        state, _ = step(params, state, image)
    assert 1.1 < float(state.box[2:][0] / BOX[2]) < 1.25
    assert float(state.box[2:][1] / state.box[2:][0]) == pytest.approx(24 / 30, rel=1e-4)


@pytest.mark.slow
def test_nothing_compiles_after_the_first_frame_that_learns():
    """Another target, place and image, frames that learn and frames that do not."""
    _, tracker, params, init, _, _ = build()
    compiled = []

    def whole(params, state, image):
        compiled.append(1)  # runs when traced
        state, output = tracker.step(params, state, image)
        return learn_where_due(tracker.learn, params, state), output

    run = jax.jit(whole)
    state, learnt = first(), []
    images = (frame(), frame(shift=(1, 0)), GREY, frame(9), frame(shift=(2, 1)))
    for image in images:
        before = np.asarray(state.svm.alpha)
        state, _ = run(params, state, image)
        learnt.append(not np.array_equal(before, state.svm.alpha))
    other = init(params, jax.random.key(5), frame(3), jnp.asarray((20.0, 30.0, 24.0, 30.0)))
    run(params, other, frame(3))
    assert any(learnt) and not all(learnt) and len(compiled) == 1 and run._cache_size() == 1


def test_features_of_every_network_exist():
    for name in trackers.networks("cnn_svm"):
        net = backbones.get(name)
        for profile, fully_connected in (("paper", net.stages.fc6 is not None), ("default", False)):
            used = trackers.profile("cnn_svm", profile, net).config.features
            assert len(net.map_shape(used.layer, used.input_size)) == (1 if fully_connected else 3)
            assert (used.cells is None) == fully_connected
    with pytest.raises(JtrackError, match="profile of cnn_svm"):
        trackers.profile("cnn_svm", "papers", "tiny")
    with pytest.raises(JtrackError, match="backbone of cnn_svm"):
        trackers.profile("cnn_svm", "paper", "none")
