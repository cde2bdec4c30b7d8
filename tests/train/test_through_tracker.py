"""Learning through a tracker: the losses by hand, and descents that find what was hidden."""

import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import trackers
from jtrack.errors import JtrackError
from jtrack.train import clips, numbers, through_tracker
from jtrack.train.through_tracker import Settings, box_loss, place_loss
from jtrack.types import Output, Tracker
from tests.conftest import ROOT

SMALL = Settings(steps=6, batch=4, length=3, side=64, rate=0.1, keep_every=3)


def outputs(boxes, **info):
    boxes = jnp.asarray(boxes, jnp.float32)
    return Output(boxes, jnp.ones(len(boxes)), jnp.zeros(len(boxes), bool), info)


def place_by_hand(response, window, true, width, sharpness):
    """The cross-entropy of one frame."""
    rows, columns = response.shape
    per_pixel = np.array([rows, columns]) / window[3:1:-1]
    centre = true[:2] + true[2:] / 2 - window[:2] - window[2:] / 2
    place = centre[::-1] * per_pixel + np.array([rows // 2, columns // 2])
    sigma = width * np.sqrt(np.prod(true[2:][::-1] * per_pixel))
    y, x = np.mgrid[:rows, :columns]
    label = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * sigma**2))
    wanted = np.exp(sharpness * label)
    logits = sharpness * response / response.max()
    chances = np.log(0.9 * np.exp(logits) / np.exp(logits).sum() + 0.1 / response.size)
    return -(wanted / wanted.sum() * chances).sum()


def test_the_place_loss_is_a_cross_entropy():
    rng = np.random.default_rng(0)
    response = rng.random((3, 12, 10)).astype(np.float32)
    window = np.array([[10, 20, 60, 48], [12, 21, 60, 48], [15, 20, 30, 24]], np.float32)
    true = np.array([[30, 34, 16, 12], [45, 30, 16, 12], [20, 25, 16, 12]], np.float32)
    found = place_loss(
        outputs(true, response=jnp.asarray(response), window=jnp.asarray(window)), true, 0.1, 7.0
    )
    each = [place_by_hand(r, w, t, 0.1, 7.0) for r, w, t in zip(response, window, true, strict=True)]
    assert float(found) == pytest.approx(np.mean(each), rel=1e-4)
    # A target out of the window costs what any place costs; frames without a target do not count.
    true[0] = np.nan
    true[1] += [100, 0, 0, 0]
    found = place_loss(
        outputs(true, response=jnp.asarray(response), window=jnp.asarray(window)), true, 0.1, 7.0
    )
    assert float(found) == pytest.approx((each[2] - np.log(0.1 / 120)) / 2, rel=1e-4)
    slopes = jax.grad(
        lambda r: place_loss(outputs(true, response=r, window=jnp.asarray(window)), true, 0.1, 7.0)
    )(jnp.asarray(response))
    assert np.isfinite(slopes).all() and not slopes[:2].any() and np.abs(slopes[2]).max() > 0
    # The window is where a track has gone: it has a slope, too, and none that is not a number.
    slopes = jax.grad(
        lambda w: place_loss(outputs(true, response=jnp.asarray(response), window=w), true, 0.1, 7.0)
    )(jnp.asarray(window))
    assert np.isfinite(slopes).all() and not slopes[:2].any() and np.abs(slopes[2]).max() > 0


def test_the_place_loss_is_least_where_the_peak_is_the_target():
    y, x = np.mgrid[:16, :16]
    window = jnp.asarray([[0, 0, 64, 64]], jnp.float32)
    true = jnp.asarray([[24, 36, 16, 16]], jnp.float32)  # 8 pixels, 2 cells, below the middle

    def at(row, column):
        peak = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)[None].astype(np.float32)
        return float(place_loss(outputs(true, response=jnp.asarray(peak), window=window), true, 0.1, 20.0))

    losses = {(row, column): at(row, column) for row in range(7, 14) for column in range(5, 12)}
    assert min(losses, key=losses.get) == (
        11,
        8,
    )  # the middle is cell 8; the target's centre is at 44 = 32 + 12


def test_the_box_loss_is_distance_and_overlap():
    found = np.array([[10, 10, 20, 20], [50, 50, 20, 20], [0, 0, 5, 5]], np.float32)
    true = np.array([[12, 10, 20, 20], [90, 50, 20, 5], [np.nan] * 4], np.float32)
    first = 2 / 20 + 1 - (18 * 20) / (2 * 400 - 18 * 20)
    second = np.hypot(40, -7.5) / 10 + 1
    assert float(box_loss(outputs(found), jnp.asarray(true))) == pytest.approx((first + second) / 2, rel=1e-4)
    slopes = jax.grad(lambda box: box_loss(outputs(box), jnp.asarray(true)))(jnp.asarray(found))
    assert np.isfinite(slopes).all() and not slopes[2].any()


class Drift(NamedTuple):
    """What a tracker does that knows nothing but how far a target walks: by `shift` pixels a frame."""

    shift: jax.Array
    other: jax.Array


def drifting():
    """A tracker that moves its box by a hyper-parameter, whatever it sees."""

    def init(params, key, frame, box):
        del params, key, frame
        return box

    def step(params, state, frame):
        del frame
        moved = state + jnp.concatenate([params["tracker"].shift, jnp.zeros(2)])
        return moved, Output(moved, jnp.ones(()), jnp.zeros((), bool), {})

    return Tracker(init, step, None)


class Walks:
    """A source whose targets all walk alike."""

    digest, name, parts = "walks", "walks", ()

    def batch(self, pool, seed, step, size, frames, side):
        del pool
        rng = np.random.default_rng([seed, step])
        start = np.concatenate([rng.uniform(10, 20, (size, 1, 2)), np.full((size, 1, 2), 16.0)], axis=2)
        boxes = start + np.arange(frames)[None, :, None] * np.array([3.0, -1.0, 0, 0])
        return clips.Clips(np.zeros((size, frames, side, side, 3), np.uint8), boxes.astype(np.float32))


@pytest.mark.parametrize("steepest", [None, 0.1])
def test_a_descent_finds_how_targets_walk(tmp_path, steepest, optax_promotes):
    done = through_tracker.learn(
        drifting(),
        lambda learnt: {"tracker": Drift(learnt, jnp.zeros(()))},
        box_loss,
        np.zeros(2, np.float32),
        Walks(),
        Walks(),
        Settings(steps=60, batch=2, length=3, side=8, rate=0.2, keep_every=30),
        seed=0,
        folder=tmp_path,
        identity={},
        steepest=steepest,
    )
    np.testing.assert_allclose(done.state.learnt, [3, -1], atol=0.2)
    assert done.held_out["overlap"] > 0.85


@pytest.mark.slow
def test_numbers_of_a_tracker_are_learnt_and_go_on(tmp_path, optax_promotes):
    """HCFT on tiny, interrupted once: numbers move, and stay positive."""
    bound = trackers.create(
        "hcft", profile="differentiable", backbone="tiny", changes={"input_size": (64, 64), "scale": None}
    )
    sources = clips.open_source(["scenes:20"])
    settings = numbers.Settings(("label_width", "learning_rate"), following=SMALL)
    seen = []
    stopped = {"on_step": seen.append, "stop": lambda: len(seen) == 2}
    _, done = numbers.train(bound, settings, *sources, tmp_path, **stopped)
    assert done.step == 3
    learnt, done = numbers.train(bound, settings, *sources, tmp_path)
    assert list(learnt) == ["label_width", "learning_rate"] and done.step == SMALL.steps
    for name, value in learnt.items():
        assert value > 0 and value != pytest.approx(float(getattr(bound.params["tracker"], name)), rel=1e-3)
    with pytest.raises(JtrackError, match="other learnt"):
        numbers.train(bound, numbers.Settings(("label_width",), following=SMALL), *sources, tmp_path)


def test_numbers_that_cannot_be_learnt_are_refused():
    own = trackers.create("hcft", profile="differentiable", backbone="tiny").params["tracker"]
    assert "learning_rate" in numbers.chosen(own, ())
    with pytest.raises(JtrackError, match="hyper-parameter"):
        numbers.chosen(own, ["learning_rat"])
    with pytest.raises(JtrackError, match="learning_rate is not above 0"):
        numbers.chosen(own._replace(learning_rate=jnp.zeros(())), ["learning_rate"])


DEVICES = """
import jax, numpy as np, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.train.test_through_tracker import Walks, drifting, Drift, box_loss, Settings, through_tracker, jnp
jax.config.update("jax_numpy_dtype_promotion", "standard")
assert jax.device_count() == 4
done = through_tracker.learn(
    drifting(), lambda learnt: {"tracker": Drift(learnt, jnp.zeros(()))}, box_loss, np.zeros(2, np.float32),
    Walks(), Walks(), Settings(steps=8, batch=8, length=3, side=8, rate=0.2, keep_every=8), seed=0,
    folder=Path(sys.argv[1]), identity={},
)
print(*np.asarray(done.state.learnt))
"""


def test_devices_share_a_batch_and_change_nothing(tmp_path, monkeypatch, optax_promotes):
    done = through_tracker.learn(
        drifting(),
        lambda learnt: {"tracker": Drift(learnt, jnp.zeros(()))},
        box_loss,
        np.zeros(2, np.float32),
        Walks(),
        Walks(),
        Settings(steps=8, batch=8, length=3, side=8, rate=0.2, keep_every=8),
        seed=0,
        folder=tmp_path / "one",
        identity={},
    )
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    ran = subprocess.run(
        [sys.executable, "-c", DEVICES, str(tmp_path / "four"), str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = np.array(ran.stdout.split()[-2:], np.float32)
    np.testing.assert_allclose(found, done.state.learnt, rtol=1e-5)
