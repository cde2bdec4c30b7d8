"""Training for objectness: it learns, goes on to the bit, and stops well."""

import csv
import dataclasses
import errno
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from jtrack import backbones
from jtrack.data.detection import joined, open_detection
from jtrack.errors import JtrackError
from jtrack.learning import fc_head
from jtrack.train import checkpoint, objectness
from jtrack.train.descent import Descent
from jtrack.train.objectness import DivergedError, Settings, train
from jtrack.weights import checkpoints as entries
from jtrack.weights import store

SMALL = Settings("tiny", hidden=16, out=8, batch=16, held_out=4, steps=7, keep_every=3)


def kept_in_memory(data):
    """For the tests' speed alone: each scene is painted once."""
    return dataclasses.replace(data, read=functools.cache(data.read))


@pytest.fixture(scope="module")
def scenes():
    return kept_in_memory(open_detection("scenes:30"))


@pytest.fixture(scope="module")
def weights():
    return backbones.get("tiny").random_params(0)


def same(left, right):
    """Whether two trainings ended with the same bits."""
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def of(done):
    return done.layers, done.head, done.held_out


# --- it learns --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_learns_what_an_object_is(tmp_path, weights):
    """On images held out: far above chance, and above a linear classifier on the feature before."""
    data = kept_in_memory(open_detection("scenes:600"))
    descent = Descent(rate=0.005)
    settings = Settings("tiny", hidden=64, out=32, batch=64, dropout=0.2, held_out=100, descent=descent)
    settings = dataclasses.replace(settings, steps=320, keep_every=160)
    done = train(settings, data, weights, tmp_path)
    # Of 400 patches: a standard deviation is .02.
    assert done.held_out.accuracy > 0.75
    assert done.held_out.accuracy > done.probe + 0.03
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 160, 320]
    assert float(rows[-1]["held_out_accuracy"]) == pytest.approx(done.held_out.accuracy, abs=1e-5)
    assert float(rows[-1]["loss"]) < float(rows[1]["loss"]) < 1.0
    assert 0.3 < float(rows[0]["held_out_accuracy"]) < 0.7  # before the first step


def test_crops_of_real_sequences_are_learnt_too(tmp_path, weights, data_folder):
    """Frames of sequences that are not evaluated, among scenes."""
    real = open_detection(f"vot:{data_folder / 'vot' / 'vot2015'}")
    data = joined([open_detection("scenes:20"), dataclasses.replace(real, length=10)])
    done = train(dataclasses.replace(SMALL, steps=3), data, weights, tmp_path)
    assert done.step == 3 and np.isfinite(done.held_out.loss)


# --- it goes on -------------------------------------------------------------------------------------------


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path, scenes, weights):
    straight = train(SMALL, scenes, weights, tmp_path / "straight")

    parts = [train(SMALL, scenes, weights, tmp_path / "parts", stop=lambda: True)]
    assert parts[0].step == 1
    ticks = iter([False, False, False, True])
    parts.append(train(SMALL, scenes, weights, tmp_path / "parts", stop=lambda: next(ticks)))
    assert parts[1].step == 5
    same(of(train(SMALL, scenes, weights, tmp_path / "parts")), of(straight))

    def killed(progress):
        if progress.step == 5:  # two steps after a checkpoint
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, scenes, weights, tmp_path / "killed", on_step=killed)
    assert checkpoint.about(tmp_path / "killed" / objectness.CHECKPOINT)["step"] == 3
    same(of(train(SMALL, scenes, weights, tmp_path / "killed")), of(straight))
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("straight", "killed")]
    assert [line.rpartition(",")[0] for line in logs[0]] == [line.rpartition(",")[0] for line in logs[1]]

    same(of(train(SMALL, scenes, weights, tmp_path / "killed")), of(straight))  # nothing is left to do
    longer = train(dataclasses.replace(SMALL, steps=9), scenes, weights, tmp_path / "killed")
    same(of(longer), of(train(dataclasses.replace(SMALL, steps=9), scenes, weights, tmp_path / "anew")))


def test_another_training_is_not_gone_on_with(tmp_path, scenes, weights):
    train(SMALL, scenes, weights, tmp_path)
    other = [
        (dataclasses.replace(SMALL, out=9), scenes, weights, "other out \\(8, now 9\\)"),
        (dataclasses.replace(SMALL, seed=1), scenes, weights, "other seed"),
        (dataclasses.replace(SMALL, freeze=True), scenes, weights, "other freeze"),
        (SMALL, open_detection("scenes:31"), weights, "other data"),
        (SMALL, scenes, backbones.get("tiny").random_params(1), "other weights"),
        (dataclasses.replace(SMALL, steps=5), scenes, weights, "has done 7 steps, 5 are wanted"),
    ]
    for settings, data, layers, match in other:
        with pytest.raises(JtrackError, match=match + ".*--overwrite to begin anew"):
            train(settings, data, layers, tmp_path)


# --- a step -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_step_is_caffes_on_the_loss_of_the_head(tmp_path, scenes, weights):
    """Without dropout: the gradient of `fc_head`'s own loss, ten times the rate for the head."""
    settings = dataclasses.replace(SMALL, dropout=0.0, steps=1)
    done = train(settings, scenes, weights, tmp_path)
    start = objectness.initial(settings, weights)
    shown, _ = objectness.split(scenes, (48, 48), held=4, seed=0)
    ((_, batch),) = objectness.stream(shown, 16, start=0, stop=1)

    def loss(layers, head):
        maps = backbones.get("tiny").apply(layers, jnp.asarray(batch.images), ("relu4_4",))["relu4_4"]
        features = fc_head.pool(maps, 6)
        return fc_head.loss(fc_head.logits(head, fc_head.apply(head, features)), batch.labels)

    slopes = jax.grad(loss, argnums=(0, 1))(start["backbone"], start["head"])
    for layer, parts in start["backbone"].items():
        assert np.any(slopes[0][layer]["kernel"])  # all layers learn
        for part, (faster, decay) in {"kernel": (1, 5e-4), "bias": (2, 0)}.items():
            want = parts[part] - 1e-3 * faster * (slopes[0][layer][part] + decay * parts[part])
            np.testing.assert_allclose(done.layers[layer][part], want, rtol=1e-4, atol=1e-6)
    for name in entries.HEAD:
        dense, slope = getattr(start["head"], name), getattr(slopes[1], name)
        kernel = dense.kernel - 1e-2 * (slope.kernel + 5e-4 * dense.kernel)
        np.testing.assert_allclose(getattr(done.head, name).kernel, kernel, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            getattr(done.head, name).bias, dense.bias - 2e-2 * slope.bias, rtol=1e-4, atol=1e-6
        )


def test_a_frozen_network_stays_as_it_is(tmp_path, scenes, weights):
    done = train(dataclasses.replace(SMALL, freeze=True), scenes, weights, tmp_path)
    assert sorted(done.layers) == ["conv1_2", "conv2_2", "conv3_4", "conv4_4"]
    same(done.layers, {layer: weights[layer] for layer in done.layers})
    assert not np.array_equal(done.head.fc7.kernel, objectness.initial(SMALL, weights)["head"].fc7.kernel)


def test_dropout_leaves_out_a_share_and_keeps_the_mean():
    unit = fc_head.Dense(jnp.eye(400), jnp.zeros(400))
    head = fc_head.Params(unit, unit, fc_head.Dense(jnp.ones((400, 2)), jnp.zeros(2)))
    scores = objectness._scores(head, jnp.ones((200, 400)), 0.5, jax.random.key(0))[:, 0]
    np.testing.assert_allclose(np.asarray(scores) % 4, 0)  # what is left of 400 counts four times
    np.testing.assert_allclose(np.asarray(scores) / 4, 100, atol=45)  # binomial: 5 standard deviations
    np.testing.assert_allclose(scores.mean(), 400, rtol=0.02)
    assert len(np.unique(scores)) > 10


def test_alexnets_own_fc6_is_taken_with_its_rates():
    """Algorithms of the paper: fc6 has 37 752 832 parameters, fc7 of 500 numbers 2 048 500."""
    template = backbones.get("alexnet").template()
    settings = Settings("alexnet")
    start = jax.eval_shape(lambda layers: objectness.initial(settings, layers), template)
    count = {name: sum(leaf.size for leaf in getattr(start["head"], name)) for name in entries.HEAD}
    assert count == {"fc6": 37_752_832, "fc7": 2_048_500, "objectness": 1002}
    assert sorted(start["backbone"]) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    factors = objectness.multipliers("alexnet", start)
    assert [getattr(factors["head"], name).kernel.rate for name in entries.HEAD] == [1, 10, 10]
    assert factors["backbone"]["conv1"]["bias"] == (2.0, 0.0)
    assert objectness.multipliers("googlenet", {"backbone": {}})["head"].fc6.kernel.rate == 10


# --- it stops well ----------------------------------------------------------------------------------------


def test_a_training_that_diverges_keeps_the_last_good_state(tmp_path, scenes, weights):
    train(dataclasses.replace(SMALL, steps=3), scenes, weights, tmp_path)
    wild = dataclasses.replace(SMALL, descent=Descent(rate=1e6), steps=30)
    said = (
        r"at step \d+: the loss is .*checkpoint, of step 3, is kept in .*go on with a lower rate than 1e\+06"
    )
    with pytest.raises(DivergedError, match=said):
        train(wild, scenes, weights, tmp_path)
    assert checkpoint.about(tmp_path / objectness.CHECKPOINT)["step"] == 3
    done = train(SMALL, scenes, weights, tmp_path)
    assert done.step == 7 and np.isfinite(done.held_out.loss)
    same(of(done), of(train(SMALL, scenes, weights, tmp_path / "calm")))
    slower = dataclasses.replace(SMALL, descent=Descent(rate=1e-4), steps=8)
    assert train(slower, scenes, weights, tmp_path).history == [[0, 1e-3, 20_000], [7, 1e-4, 20_000]]


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, scenes, weights, monkeypatch):
    save = checkpoint.save_file

    def full(tensors, file, header):
        if json.loads(header["about"])["step"] > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, file, header)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(
        JtrackError, match=r"cannot write the checkpoint .*No space left.*the one before is kept"
    ):
        train(SMALL, scenes, weights, tmp_path)
    monkeypatch.undo()
    assert checkpoint.about(tmp_path / objectness.CHECKPOINT)["step"] == 3
    same(
        of(train(SMALL, scenes, weights, tmp_path)),
        of(train(SMALL, scenes, weights, tmp_path / "never_full")),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"identity": 3},
        {"step": "3"},
        {"step": True},
        {"step": -1},
        {"probe": None},
        {"seconds": []},
        {"history": [1]},
        {"history": [[1, 2]]},
        {"history": [[1, None, 3]]},
    ],
)
def test_a_checkpoint_that_says_nonsense(tmp_path, scenes, weights, change):
    path = tmp_path / objectness.CHECKPOINT
    train(SMALL, scenes, weights, tmp_path, stop=lambda: True)
    about = checkpoint.about(path)
    with safe_open(path, framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(arrays, path, {"about": json.dumps(about | change)})
    with pytest.raises(JtrackError, match=r"checkpoint\.safetensors says something else .*: delete it"):
        train(SMALL, scenes, weights, tmp_path)


def test_a_log_that_cannot_be_written_is_said(tmp_path, scenes, weights):
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(JtrackError, match=r"cannot write .*log\.csv: .*the last checkpoint is kept"):
        train(SMALL, scenes, weights, tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"batch": 30}, "batch is 30: give a multiple of 4"),
        ({"steps": 0}, "steps is 0: give a number above 0"),
        ({"descent": Descent(rate=float("nan"))}, "rate is nan: give a number above 0"),
        ({"dropout": 1.0}, "dropout is 1.0: give a share"),
        ({"backbone": "none"}, "unknown network for objectness 'none'"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, scenes, weights, change, match):
    with pytest.raises(JtrackError, match=match):
        train(dataclasses.replace(SMALL, **change), scenes, weights, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- what is kept -----------------------------------------------------------------------------------------


def test_the_entry_says_where_it_comes_from(tmp_path, scenes, weights):
    done = train(SMALL, scenes, weights, tmp_path / "run")
    path = tmp_path / "tiny_objectness.safetensors"
    objectness.keep(path, done, command="jtrack train objectness --data scenes:30")
    entry = entries.load(path)
    assert entry.backbone == "tiny"
    same(entry.layers, done.layers)
    same(
        [entry.head[name]["kernel"] for name in entries.HEAD],
        [getattr(done.head, n).kernel for n in entries.HEAD],
    )
    header = entry.header
    assert (header["data"], header["data_digest"]) == ("scenes:30", scenes.digest)
    assert header["command"] == "jtrack train objectness --data scenes:30"
    assert (header["steps"], header["name"]) == ("7", "tiny_objectness")
    assert float(header["accuracy"]) == pytest.approx(done.held_out.accuracy, abs=1e-4)
    assert float(header["accuracy_before"]) == pytest.approx(done.probe, abs=1e-4)
    assert set(json.loads(header["versions"])) == {"jtrack", "jax", "optax"}
    kept = done.layers | {f"head/{name}": entry.head[name] for name in entries.HEAD}
    assert header["params_sha256"] == store.digest(kept)
