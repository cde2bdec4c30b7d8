"""The descent cue by cue against its definition, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import cue_network, iterative_sgd, structural_loss
from jtrack.learning.cue_network import HIDDEN
from jtrack.learning.iterative_sgd import Batch, Rates

CUES = 2
RATE, FUSION_RATE, MOMENTUM = 0.02, 0.01, 0.8
RATES = Rates(*map(jnp.float32, (RATE, FUSION_RATE, MOMENTUM, 0.0025, 3.0, 1e6)))


@pytest.fixture(scope="module")
def network():
    return cue_network.random_network(jax.random.key(0), CUES, (-1, 1))


@pytest.fixture(scope="module")
def batch():
    return draw(jax.random.key(1))


def draw(key, count=8):
    """Half bright patches, the target, half dark ones."""
    label = structural_loss.label((jnp.arange(count) % 2).astype(jnp.float32))
    level = label[:, :1, None, None] - 0.5
    patches = level + 0.3 * jax.random.normal(key, (count, 32, 32, CUES))
    return Batch(patches, label, jnp.linspace(0.2, 1, count))


iterative_cycle = jax.jit(iterative_sgd.iterative_cycle)
joint_cycle = jax.jit(iterative_sgd.joint_cycle)
train = jax.jit(
    lambda key, network, rates, tolerance, budget, schedule="iterative": iterative_sgd.train(
        key, network, draw, rates, tolerance=tolerance, budget=budget, schedule=schedule
    ),
    static_argnums=(4, 5),
)


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def close(found, expected, **tolerance):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def by_the_book(network, velocity, batch):
    """One cycle: each cue in turn takes its step, then the whole fusion layer is masked to that cue."""
    for k in range(CUES):

        def own(cue, k=k):
            seen = cue_network.hidden(cue, batch.patches[..., k])
            error = cue_network.own_output(cue, seen) - batch.label
            lost = structural_loss.truncated(error, batch.label, beta=0.0025, tightening=3.0)
            return (batch.importance * lost).sum() / len(lost)

        speed = jax.tree.map(
            lambda v, g: MOMENTUM * v + g, velocity.cues[k], jax.jit(jax.grad(own))(network.cues[k])
        )
        moved = jax.tree.map(lambda p, v: p - RATE * v, network.cues[k], speed)
        network = network._replace(cues=(*network.cues[:k], moved, *network.cues[k + 1 :]))
        velocity = velocity._replace(cues=(*velocity.cues[:k], speed, *velocity.cues[k + 1 :]))

        def whole(fusion, bias, network=network):
            error = cue_network.output(network._replace(fusion=fusion, fusion_bias=bias), batch.patches)
            error = error - batch.label
            lost = structural_loss.truncated(error, batch.label, beta=0.0025, tightening=3.0)
            return (batch.importance * lost).sum() / len(lost)

        kernel, bias = jax.jit(jax.grad(whole, (0, 1)))(network.fusion, network.fusion_bias)
        mine = (jnp.arange(CUES * HIDDEN) // HIDDEN == k)[:, None]
        speed = jnp.where(mine, MOMENTUM * velocity.fusion + kernel, velocity.fusion)
        bias_speed = MOMENTUM * velocity.fusion_bias + bias
        network = network._replace(
            fusion=jnp.where(mine, network.fusion - FUSION_RATE * speed, network.fusion),
            fusion_bias=network.fusion_bias - FUSION_RATE * bias_speed,
        )
        velocity = velocity._replace(fusion=speed, fusion_bias=bias_speed)
    return network, velocity


@pytest.mark.slow
def test_a_cycle_is_the_book_s(network, batch):
    found, expected = (network, zeros(network)), (network, zeros(network))
    for _ in range(2):
        *found, lost = iterative_cycle(*found, batch, RATES)
        expected = by_the_book(*expected, batch)
        close(found, expected, rtol=1e-3, atol=1e-6)
    after = iterative_sgd.loss(cue_network.output(found[0], batch.patches), batch, RATES)
    np.testing.assert_allclose(lost, after, rtol=1e-5)


def test_a_step_of_one_cue_leaves_the_others_alone(network, batch):
    deaf = network.cues[1]._replace(dense_bias=jnp.full(HIDDEN, -1e4))
    network = network._replace(cues=(network.cues[0], deaf))
    moved, _, _ = iterative_cycle(network, zeros(network), batch, RATES)
    other = batch._replace(patches=batch.patches.at[..., 1].multiply(0.5))
    again, _, _ = iterative_cycle(network, zeros(network), other, RATES)
    assert same(moved.cues[0], again.cues[0])
    # Cue 1 says nothing, so its columns have no gradient; cue 0's steps do not touch them.
    assert same(moved.fusion[HIDDEN:], network.fusion[HIDDEN:])
    assert not same(moved.fusion[:HIDDEN], network.fusion[:HIDDEN])
    assert same(moved.cues[1][:6], network.cues[1][:6])


def test_a_joint_step_descends_the_fused_loss(network, batch):
    def whole(network):
        return iterative_sgd.loss(cue_network.output(network, batch.patches), batch, RATES)

    gradient = jax.jit(jax.grad(whole))(network)
    moved, speed, lost = joint_cycle(network, zeros(network), batch, RATES)
    expected = jax.tree.map(lambda p, g: p - RATE * g, network.cues, gradient.cues)
    close(moved.cues, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(moved.fusion, network.fusion - FUSION_RATE * gradient.fusion, rtol=1e-4)
    assert all(same(a.head, b.head) for a, b in zip(moved.cues, network.cues, strict=True))
    close(speed, gradient, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(lost, whole(moved), rtol=1e-5)


def test_a_long_gradient_is_cut(network, batch):
    rates = RATES._replace(max_gradient_norm=jnp.float32(1e-3), momentum=jnp.float32(0))
    wild = batch._replace(importance=1e4 * batch.importance)
    moved, _, _ = iterative_cycle(network, zeros(network), wild, rates)
    for before, after in zip(network.cues, moved.cues, strict=True):
        steps = jax.tree.map(
            lambda a, b: np.sum(np.square(np.subtract(a, b, dtype=np.float64))), before, after
        )
        np.testing.assert_allclose(sum(jax.tree.leaves(steps)) ** 0.5, RATE * 1e-3, rtol=0.02)


@pytest.mark.parametrize("schedule", iterative_sgd.CYCLES)
def test_training_ends_at_the_tolerance(network, schedule):
    done = train(jax.random.key(2), network, RATES, jnp.float32(0.02), 300, schedule)
    assert 1 < done.cycles < 300
    assert done.loss <= 0.02
    fresh = draw(jax.random.key(9), 64)
    assert iterative_sgd.loss(cue_network.output(done.network, fresh.patches), fresh, RATES) < 0.06


def test_a_lucky_batch_does_not_end_a_training_that_a_mean_ends(network):
    """The losses that training meets, one budget longer each time, and their moving mean by hand."""
    reached = [float(train(jax.random.key(2), network, RATES, jnp.float32(0), n).loss) for n in range(1, 7)]
    mean = reached[0]
    for loss in reached[1:]:
        mean = 0.25 * loss + 0.75 * mean
    done = iterative_sgd.train(
        jax.random.key(2), network, draw, RATES, tolerance=jnp.float32(0), budget=6, loss_rate=0.25
    )
    np.testing.assert_allclose(done.loss, mean, rtol=1e-4)
    assert done.cycles == 6 and mean > min(reached)


def test_training_ends_with_the_budget(network):
    done = train(jax.random.key(2), network, RATES, jnp.float32(0), 3)
    assert done.cycles == 3 and done.loss > 0
    none = train(jax.random.key(2), network, RATES, jnp.float32(0), 0)
    assert none.cycles == 0 and same(none.network, network)


def test_what_is_cut_by_the_norm_teaches_nothing(network):
    """If all errors lie under the threshold the loss is 0 and the network stays bitwise."""
    done = train(jax.random.key(2), network, RATES._replace(beta=jnp.float32(1e6)), jnp.float32(0), 9)
    assert done.cycles == 1 and done.loss == 0 and same(done.network, network)


@pytest.mark.parametrize("schedule", iterative_sgd.CYCLES)
def test_a_training_of_fixed_length_is_that_without_a_tolerance_to_reach(network, schedule):
    key = jax.random.key(3)
    ended = train(key, network, RATES, jnp.float32(0), 5, schedule)
    fixed = jax.jit(
        lambda network: iterative_sgd.train(
            key, network, draw, RATES, tolerance=None, budget=5, schedule=schedule
        )
    )(network)
    assert int(fixed.cycles) == int(ended.cycles) == 5
    close(fixed.network, ended.network, rtol=1e-5, atol=1e-6)


def test_a_training_of_fixed_length_has_a_derivative(network):
    """With respect to the learning rate, against a central difference, on a network of rounded corners."""

    def reached(rate):
        rates = RATES._replace(cue=rate)
        done = iterative_sgd.train(
            jax.random.key(3), network, draw, rates, tolerance=None, budget=3, corner=0.05
        )
        return done.loss

    slope = float(jax.jit(jax.grad(reached))(RATES.cue))
    run, step = jax.jit(reached), 0.05 * RATES.cue
    difference = float((run(RATES.cue + step) - run(RATES.cue - step)) / (2 * step))
    assert slope == pytest.approx(difference, rel=0.02)
