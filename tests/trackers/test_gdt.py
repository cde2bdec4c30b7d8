"""GDT's own rules, on the small network."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones, trackers
from jtrack.backbones import box_feature
from jtrack.components import motion, samples
from jtrack.components.features import Patches, Region
from jtrack.errors import JtrackError
from jtrack.learning import fc_head, gaussian_layer
from jtrack.run.advance import learn_where_due
from jtrack.trackers import gdt
from jtrack.train import objectness
from jtrack.types import Frame, as_arrays
from jtrack.vision import boxes
from jtrack.vision.crop import crop
from jtrack.weights import checkpoints, store

SIZE = (120, 150)
BOX = jnp.asarray((50.0, 40.0, 30.0, 24.0))
NET = backbones.get("tiny")
SMALL = {
    "hidden": 32,
    "units": 24,
    "candidates": 60,
    "first_iterations": 40,
    "batch": 32,
    "rotated_positives": 10,
}
KEY = jax.random.key(0)


def frame(seed=0, shift=(0, 0)):
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (24, 30, 3)).astype(np.uint8), np.ones((5, 5, 1), np.uint8))
    return Frame(jnp.asarray(np.roll(image, shift, (0, 1))), jnp.asarray(SIZE, jnp.int32))


@functools.cache
def build(profile="default", **changes):
    config, hyper = trackers.profile("gdt", profile, "tiny")
    small = {name: min(value, getattr(config, name)) for name, value in SMALL.items()}
    config = dataclasses.replace(config, **small | {"info": True} | changes)
    tracker = gdt.gdt(NET, config)
    params = {"backbone": store.load("tiny"), "tracker": as_arrays(hyper)}
    learn = jax.jit(tracker.learn) if tracker.learn else None
    return config, tracker, params, jax.jit(tracker.init), jax.jit(tracker.step), learn


@functools.cache
def first(profile="default", **changes):
    _, _, params, init, _, _ = build(profile, **changes)
    return init(params, KEY, frame(), BOX)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def drawn(hyper, key, box, positives, negatives):
    """Boxes on a target and beside it, and their labels."""
    near_key, far_key = jax.random.split(key)
    near = samples.around(near_key, box, positives, hyper.jitter, hyper.scale_jitter)
    far = samples.ring(far_key, box, negatives, hyper.ring, frame().size)
    return samples.labelled(near, far, box, hyper.overlap)


def target_of(hyper, state):
    """The target's Gaussians as candidates are scored with them."""
    return gaussian_layer.widened(state.target, state.background, hyper.variance_floor)


@pytest.mark.slow
def test_the_first_frame_teaches_the_target_from_its_surroundings():
    config, _, params, _, _, _ = build()
    state = first()
    look = config.features.describe(NET, params["backbone"], frame(), BOX, jnp.ones(1), 5.0)
    near, signs = drawn(params["tracker"], jax.random.key(9), BOX, 40, 80)
    values = fc_head.apply(state.head, look(0, near))
    target = target_of(params["tracker"], state)
    scores = np.asarray(gaussian_layer.score(values, target, state.background))
    on, beside = scores[np.asarray(signs) > 0], scores[np.asarray(signs) < 0]
    assert (on > 0).mean() > 0.9 and (beside < 0).mean() > 0.9
    classes = np.asarray(fc_head.logits(state.head, values)).argmax(axis=1)
    assert (classes[np.asarray(signs) > 0] == fc_head.OBJECT).mean() > 0.9


def test_phase_2_changes_every_layer_of_the_head_and_its_absence_none():
    raw = first("obj_general_only").head
    for a, b in zip(jax.tree.leaves(raw), jax.tree.leaves(first().head), strict=True):
        assert not np.array_equal(a, b)
    _, _, _, init, _, _ = build("obj_general_only")
    again = init(build()[2], KEY, frame(1), BOX).head
    assert same(raw, again), "the same start, whatever the frame"


def test_candidates_are_at_three_scales_of_one_aspect_within_the_radius():
    config, _, params, _, step, _ = build()
    hyper = params["tracker"]
    _, output = step(params, first(), frame())
    found = np.asarray(output.info["candidates"]).reshape(3, config.candidates, 4)
    step_size = max(0.02, 1 / 30)
    for level, scale in enumerate((1 - step_size, 1, 1 + step_size)):
        np.testing.assert_allclose(found[level, :, 2:], np.tile([30 * scale, 24 * scale], (60, 1)), rtol=1e-5)
    distance = np.linalg.norm(np.asarray(boxes.centre(found[1])) - [65, 52], axis=1)
    radius = max(float(hyper.radius[0]), float(hyper.radius[1]) * 720**0.5)
    assert distance[0] == pytest.approx(0, abs=1e-4) and distance.max() <= radius + 1e-3
    assert distance.max() > 0.9 * radius
    _, output = step(params, first()._replace(doubtful=jnp.asarray(True)), frame())
    wide = np.linalg.norm(np.asarray(boxes.centre(output.info["candidates"])) - [65, 52], axis=1)
    assert wide.max() > 1.3 * distance.max()


@pytest.mark.parametrize(
    ("size", "scales"),
    [
        ((100.0, 80.0), (0.98, 1, 1.02)),
        ((20.0, 10.0), (0.95, 1, 1.05)),
        ((1.0, 1.0), (0.5, 1, 1.5)),
    ],
)
def test_a_scale_step_is_two_percent_or_one_pixel(size, scales):
    found = motion.pyramid_scales(jnp.asarray((5.0, 5.0, *size)), jnp.float32(gdt.Hyper().scale_step))
    np.testing.assert_allclose(found, scales, rtol=1e-6)


def test_samples_are_near_the_target_or_apart_from_it_in_the_frame():
    hyper = as_arrays(gdt.Hyper())
    for box in (BOX, jnp.asarray((0.0, 0.0, 20.0, 60.0)), jnp.asarray((120.0, 90.0, 30.0, 30.0))):
        found, signs = drawn(hyper, KEY, box, 200, 400)
        overlap = np.asarray(boxes.iou(found, box[None]))
        signs = np.asarray(signs)
        np.testing.assert_array_equal(signs[:200], np.where(overlap[:200] > 0.8, 1, 0))
        assert (signs > 0).sum() > 120 and (overlap[signs < 0] < 0.3).all()
        np.testing.assert_array_equal(signs[200:], np.where(overlap[200:] < 0.3, -1, 0))
        centre = np.asarray(boxes.centre(found[200:]))
        assert (centre >= 0).all() and (centre <= [150, 120]).all()
        assert (signs < 0).sum() > 100


@pytest.mark.parametrize("kind", [Region, Patches])
def test_a_rotated_target_is_described_as_one_in_a_rotated_frame(kind):
    config, _, params, _, _, _ = build(features=kind(box_feature.feature_of("tiny")))
    square = np.asarray(frame().pixels)[:, 15:135]
    size = jnp.asarray((120, 120), jnp.int32)
    box = jnp.asarray((44.0, 44.0, 32.0, 32.0))
    quarter = Frame(jnp.asarray(np.rot90(square, -1)), size)
    wanted = box[None]
    turns = jnp.asarray((0.0, np.pi / 2), jnp.float32)
    look = config.features.describe(
        NET, params["backbone"], Frame(jnp.asarray(square), size), box, jnp.ones(2), 2.0, turns
    )
    for level, there in enumerate((Frame(jnp.asarray(square), size), quarter)):
        plain = config.features.describe(NET, params["backbone"], there, box, jnp.ones(1), 2.0)
        np.testing.assert_allclose(look(level, wanted), plain(0, wanted), rtol=0, atol=0.02)
    assert np.abs(look(0, wanted) - look(1, wanted)).max() > 0.2


@pytest.mark.slow
def test_a_target_that_turns_scores_higher_where_it_was_learnt_rotated():
    _, _, params, _, _, _ = build()
    turned = jnp.radians(jnp.asarray((22.0, -37.0)))
    scores = []
    for count in (SMALL["rotated_positives"], 0):
        config = build(rotated_positives=count)[0]
        state = first(rotated_positives=count)
        look = config.features.describe(NET, params["backbone"], frame(), BOX, jnp.ones(2), 2.0, turned)
        values = fc_head.apply(state.head, jnp.concatenate([look(0, BOX[None]), look(1, BOX[None])]))
        target = target_of(params["tracker"], state)
        scores.append(np.asarray(gaussian_layer.score(values, target, state.background)))
    assert (scores[0] > 0).all() and (scores[0] > scores[1] + 5).all()


def test_resized_boxes_are_too_small_or_too_large_to_be_the_target():
    found = samples.wrong_sizes(BOX, 10, 0.3)
    np.testing.assert_allclose(boxes.iou(found, BOX[None]), 0.3, rtol=1e-4)
    np.testing.assert_allclose(boxes.centre(found), np.tile([65, 52], (10, 1)), rtol=1e-5)
    assert (np.asarray(found[::2, 2]) < 30).all() and (np.asarray(found[1::2, 2]) > 30).all()


@pytest.mark.parametrize("name", ["tiny", "alexnet", "caffenet_conv"])
def test_a_box_cut_from_a_regions_map_is_the_box_passed_alone(name):
    """Exactly, where the region is the box: AlexNet's 3 x 3 maxima at every second cell are its pool5."""
    net, feature = backbones.get(name), box_feature.feature_of(name)
    params = {"backbone": net.random_params(0, taps=(feature.tap,))}
    config = gdt.Config(Region(feature))
    look = config.features.describe(net, params["backbone"], frame(), BOX, jnp.ones(1), 1.0)
    image = crop(frame(), BOX, feature.size)[None]
    alone = fc_head.pool(
        net.apply(params["backbone"], image, (feature.tap,))[feature.tap],
        box_feature.CELLS,
        normalised=not feature.own,
    )
    np.testing.assert_allclose(look(0, BOX[None]), alone, rtol=1e-3, atol=1e-4)


def test_alexnets_map_has_the_papers_size():
    assert backbones.get("alexnet").map_shape("pool5", (227, 227)) == (6, 6, 256)
    assert box_feature.width_of("alexnet") == 9216


def test_a_shifted_box_sees_the_shifted_image():
    """Cutting at a place of the map is looking there: the place of the target in a moved image fits best."""
    config, _, params, _, _, _ = build()
    still = config.features.describe(NET, params["backbone"], frame(), BOX, jnp.ones(1), 3.0)(0, BOX[None])[0]
    look = config.features.describe(NET, params["backbone"], frame(shift=(6, -8)), BOX, jnp.ones(1), 3.0)
    offsets = np.array([(x, y) for y in range(-12, 13, 2) for x in range(-12, 13, 2)], np.float32)
    moved = look(0, BOX[None] + jnp.asarray(np.pad(offsets, ((0, 0), (0, 2)))))
    apart = np.linalg.norm(np.asarray(moved) - np.asarray(still)[None], axis=1)
    np.testing.assert_allclose(offsets[apart.argmin()], (-8, 6), atol=2)


def test_in_a_doubtful_frame_nothing_is_learnt_bitwise():
    _, tracker, params, _, step, _ = build()
    state = first()
    # A target no candidate looks like: its Gaussians far off, and narrow.
    hopeless = state._replace(target=state.target._replace(mean=state.target.mean + 100))
    following, output = step(params, hopeless, frame())
    assert bool(output.lost) and not bool(following.due) and float(output.score) < 0.5
    after = jax.jit(functools.partial(learn_where_due, tracker.learn))(params, following)
    assert same(
        (after.head, after.target, after.background, after.reference),
        (hopeless.head, hopeless.target, hopeless.background, hopeless.reference),
    )
    # And one that scores well but does not look as it last did.
    values = fc_head.apply(state.head, state.reference[None])
    assert float(gaussian_layer.score(values, state.target, state.background)[0]) > 0
    unlike = state._replace(reference=jnp.zeros_like(state.reference))
    following, output = step(params, unlike, frame())
    assert float(output.info["similarity"]) <= 0.5 and float(output.info["scores"].max()) > 0
    assert bool(output.lost) and bool(following.doubtful) and not bool(following.due)
    after = jax.jit(functools.partial(learn_where_due, tracker.learn))(params, following)
    assert same(
        (after.head, after.target, after.background, after.reference),
        (unlike.head, unlike.target, unlike.background, unlike.reference),
    )


def test_a_frame_that_scores_less_than_the_average_is_followed_but_not_learnt():
    _, _, params, _, step, _ = build()
    state = first()
    _, output = step(params, state, frame())
    best = float(output.info["scores"].max())
    assert best > 0
    for average, learnt in ((best / 0.76, True), (best / 0.74, False)):
        following, output = step(params, state._replace(average=jnp.float32(average)), frame())
        assert bool(following.due) == learnt and not bool(output.lost)
        kept = [same(getattr(following, each), getattr(state, each)) for each in ("target", "reference")]
        assert kept == [not learnt] * 2
        assert np.array_equal(following.box[2:], state.box[2:]) == (not learnt)
        # The average follows all the same, or a target that has changed for good is never learnt again.
        assert float(following.average) == pytest.approx(0.95 * average + 0.05 * best, rel=1e-4)


def test_what_lies_beyond_the_region_is_no_background():
    config, _, params, _, step, _ = build()
    region = boxes.scale_about_centre(BOX, config.features.size)
    boxes_there = jnp.asarray([BOX, BOX + jnp.asarray((30.0, 0, 0, 0)), BOX + jnp.asarray((40.0, 0, 0, 0))])
    assert samples.mostly_inside(boxes_there, region).tolist() == [True, True, False]
    # The target has moved: on one side there is background that was not looked at.
    begun = first()._replace(box=BOX - jnp.asarray((18.0, 0, 0, 0)))
    following, output = step(params, begun, frame())
    assert float(output.box[0]) > float(begun.box[0]) + 6
    signs = np.asarray(following.labels)
    assert 0 < (signs[16:] == -1).sum() < 48


def test_frames_that_are_learnt_change_the_gaussians_and_then_the_head():
    _, _, params, _, step, learn = build()
    state = first()
    following, output = step(params, state, frame())
    assert bool(following.due) and not bool(output.lost)
    assert same(following.head, state.head) and not same(following.target, state.target)
    values = fc_head.apply(state.head, following.batch)
    new, _ = gaussian_layer.of_both(values, following.labels, params["tracker"].least_variance)
    wanted = gaussian_layer.update(state.target, new, 0.95)
    np.testing.assert_allclose(following.target.mean, wanted.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(following.target.variance, wanted.variance, rtol=1e-3, atol=1e-6)
    after = learn(params, following)
    assert not bool(after.due) and same(after.target, following.target)
    for layer in ("fc6", "fc7"):
        assert not same(getattr(after.head, layer), getattr(state.head, layer))


def test_one_small_step_raises_what_it_climbs():
    _, _, params, _, step, learn = build()
    following, _ = step(params, first(), frame(shift=(1, 1)))

    def height(state):
        values = fc_head.apply(state.head, state.batch)
        target = target_of(params["tracker"], state)
        return float(gaussian_layer.objective(values, state.labels, target, state.background))

    plain = params | {"tracker": params["tracker"]._replace(decay=jnp.float32(0))}
    assert height(learn(plain, following)) > height(following)


@pytest.mark.slow
def test_four_targets_at_once_are_four_runs():
    _, tracker, params, init, step, learn = build()
    starts = [BOX, (20.0, 30.0, 24.0, 30.0), (90.0, 60.0, 33.0, 21.0), (70.0, 20.0, 20.0, 40.0)]
    starts = jnp.asarray([jnp.asarray(box) for box in starts])
    singles = [
        init(params, key, frame(), box) for key, box in zip(jax.random.split(KEY, 4), starts, strict=True)
    ]
    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles)
    lanes, outputs = jax.jit(jax.vmap(tracker.step, in_axes=(None, 0, None)))(params, lanes, frame())
    lanes = jax.jit(jax.vmap(tracker.learn, in_axes=(None, 0)))(params, lanes)
    for lane, state in enumerate(singles):
        following, output = step(params, state, frame())
        learnt = learn(params, following)
        np.testing.assert_allclose(outputs.box[lane], output.box, atol=1e-2)
        for several, one in zip(jax.tree.leaves(lanes.head), jax.tree.leaves(learnt.head), strict=True):
            np.testing.assert_allclose(several[lane], one, atol=1e-4 + 1e-3 * np.abs(one).max())


@pytest.mark.parametrize(
    ("name", "megabytes"),
    [("googlenet", 24.2), ("alexnet", 162), ("squeezenet", 24.2), ("caffenet_conv", 12.4)],
)
def test_a_target_costs_what_is_stated_and_no_copy_of_the_network(name, megabytes):
    net = backbones.get(name)
    config, hyper = trackers.profile("gdt", "default", name)
    params = {"backbone": net.template(), "tracker": as_arrays(hyper)}
    image = Frame(jax.ShapeDtypeStruct((240, 320, 3), jnp.uint8), jax.ShapeDtypeStruct((2,), jnp.int32))
    box = jax.ShapeDtypeStruct((4,), jnp.float32)
    state = jax.eval_shape(gdt.gdt(net, config).init, params, KEY, image, box)
    count = sum(leaf.size * 4 for leaf in jax.tree.leaves(state._replace(key=None)))
    assert count / 1e6 == pytest.approx(megabytes, rel=0.03)
    width, hidden, units = box_feature.width_of(name), *state.head.fc7.kernel.shape
    head = 4 * (width * hidden + hidden * units + 3 * units + hidden + 2)
    batch = 4 * width * (config.positives + config.negatives + 1)
    assert count == pytest.approx(head + batch, rel=1e-3)


def test_pretrained_uses_the_networks_own_layers_or_its_map():
    config, tracker, _, _, _, _ = build("pretrained")
    assert tracker.learn is None and first("pretrained").head is None
    assert first("pretrained").target.mean.shape == (box_feature.width_of("tiny"),)
    net = backbones.get("alexnet")
    config, hyper = trackers.profile("gdt", "pretrained", "alexnet")
    params = {"backbone": net.template(), "tracker": as_arrays(hyper)}
    feature, sizes = config.features.feature, (9216, config.hidden, config.units)
    head, _ = jax.eval_shape(
        lambda given: gdt.first_head(KEY, given, "pretrained", feature, sizes), params["backbone"]
    )
    assert head.fc6.kernel.shape == (9216, 4096) and head.fc7.kernel.shape == (4096, 4096)
    assert gdt.gdt(net, config).learn is not None


def test_rows_of_table_1_are_of_default_and_of_paper_with_equal_heads():
    for whole, prefix in (("default", ""), ("paper", "paper-")):
        base = trackers.profile("gdt", whole, "alexnet")
        rows = {name: trackers.profile("gdt", prefix + name, "alexnet") for name in gdt.ABLATIONS}
        for row in rows.values():
            same_head = base.config.hidden, base.config.units, base.config.features
            assert (row.config.hidden, row.config.units, row.config.features) == same_head
            assert row.hyper == base.hyper
        assert rows["no_bp"] == base.replace(online_steps=0)
        assert rows["no_obj_general"] == base.replace(start="random")
        assert rows["obj_general_only"] == base.replace(first_iterations=0)
        assert rows["pretrained"] == base.replace(start="pretrained", first_iterations=0)
        for name in ("no_obj_general", "obj_general_only", "pretrained"):
            assert rows[f"{name}_no_bp"] == rows[name].replace(online_steps=0)
    # The head that `jtrack train objectness` makes.
    assert base.config.hidden == objectness.Settings("tiny").hidden


def test_the_mean_of_a_map_stands_in_for_an_fc7_that_the_network_lacks():
    config, _ = trackers.profile("gdt", "paper-pretrained", "tiny")
    channels = backbones.get("tiny").map_shape(config.features.feature.tap, config.features.feature.size)[-1]
    assert first("paper-pretrained").target.mean.shape == (channels,)


def test_profiles_without_backpropagation_learn_gaussians_alone():
    for name in gdt.PROFILES:
        without = name.endswith("no_bp") or name.endswith("pretrained")
        assert (build(name)[1].learn is None) == without
    _, _, params, _, step, _ = build("no_bp")
    following, _ = step(params, first("no_bp"), frame())
    assert not bool(following.due) and following.batch is None
    assert not same(following.target, first("no_bp").target)
    with pytest.raises(JtrackError, match="unknown backbone of gdt 'none'"):
        trackers.create("gdt", backbone="none")


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A network trained for objectness, in a weights folder."""
    monkeypatch.setenv("JTRACK_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    head = fc_head.init(jax.random.key(5), box_feature.width_of("tiny"), 16, 10)
    layers = {
        layer: {part: np.asarray(array) for part, array in arrays._asdict().items()}
        for layer, arrays in head._asdict().items()
    }
    trained = jax.tree.map(lambda x: 0.5 * np.asarray(x), NET.random_params(3))
    path = tmp_path / "tiny_objectness.safetensors"
    checkpoints.write(path, "tiny", trained, layers, {"data": "made up"})
    return path, trained, head


def test_a_network_trained_for_objectness_is_found_or_named(stored):
    path, trained, head = stored
    for made in (
        trackers.create("gdt", backbone="tiny"),
        trackers.create("gdt", weights="tiny_objectness"),
        trackers.create("gdt", weights=path),
    ):
        assert made.backbone.name == "tiny"
        weights = made.params["backbone"]
        np.testing.assert_array_equal(weights["conv1_2"]["kernel"], trained["conv1_2"]["kernel"])
        np.testing.assert_array_equal(weights["head/fc6"]["kernel"], head.fc6.kernel)
    plain = trackers.create("gdt", profile="no_obj_general", backbone="tiny")
    assert not any(layer.startswith("head/") for layer in plain.params["backbone"])
    assert made.label()["weights"] != plain.label()["weights"]
    made = made._replace(config=dataclasses.replace(made.config, first_iterations=0))
    state = jax.jit(made.factory(NET, made.config).init)(made.params, KEY, frame(), BOX)
    assert same(state.head, head), "phase 1 alone: the head as it was stored"


def test_weights_that_do_not_fit_are_refused(stored, tmp_path):
    path, trained, _ = stored
    with pytest.raises(JtrackError, match="no weights 'elsewhere' trained for objectness"):
        trackers.create("gdt", weights="elsewhere")
    with pytest.raises(JtrackError, match="holds tiny, not googlenet"):
        trackers.create("gdt", backbone="googlenet", weights=path)
    for name, profile in (("hcft", "default"), ("gdt", "no_obj_general")):
        with pytest.raises(JtrackError, match="uses no network trained for objectness"):
            trackers.create(name, profile=profile, weights=path)
    store.write(tmp_path / "plain.safetensors", jax.tree.map(np.asarray, trained), {"name": "tiny"})
    with pytest.raises(JtrackError, match="holds no network trained for objectness"):
        trackers.create("gdt", weights=tmp_path / "plain.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:500])
    with pytest.raises(JtrackError, match="damaged"):
        trackers.create("gdt", weights=tmp_path / "cut.safetensors")
    entry = checkpoints.load(path)
    short = {layer: dict(arrays) for layer, arrays in entry.head.items()}
    short["fc7"]["kernel"] = short["fc7"]["kernel"][1:]
    checkpoints.write(tmp_path / "short.safetensors", "tiny", trained, short, {})
    with pytest.raises(JtrackError, match="fc7 does not take 16 numbers"):
        trackers.create("gdt", weights=tmp_path / "short.safetensors")


def test_a_real_network_without_phase_1_says_so(monkeypatch, weights_folder, tmp_path):
    monkeypatch.setenv("JTRACK_WEIGHTS", str(weights_folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.warns(UserWarning, match="starts from a random head"):
        trackers.create("gdt", backbone="squeezenet")
