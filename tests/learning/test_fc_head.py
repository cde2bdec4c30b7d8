"""The fully connected head against NumPy, plain descent on all its weights, and its own promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import caffe_sgd, fc_head
from jtrack.learning.caffe_sgd import Multiplier, Rates
from jtrack.learning.fc_head import NEW, TRAINED, Dense, Params

RATES = Rates(jnp.float32(0.02), jnp.float32(0.9), jnp.float32(5e-3))
ALIKE = Params(NEW, TRAINED, Dense(Multiplier(3.0, 2.0), Multiplier(1.0, 0.5)))


def head(inputs=20, hidden=12, out=6):
    return fc_head.init(jax.random.key(1), inputs, hidden, out)


def problem(count=30, inputs=20):
    """Two classes apart along a few features."""
    rng = np.random.default_rng(0)
    labels = (np.arange(count) % 3 == 0).astype(np.int32)
    features = rng.normal(size=(count, inputs)) + 1.5 * labels[:, None] * (np.arange(inputs) < 4)
    return jnp.asarray(features, jnp.float32), jnp.asarray(labels)


def test_the_forward_pass_is_numpys():
    params, (features, labels) = head(), problem()
    array = functools.partial(np.asarray, dtype=np.float64)
    hidden = np.maximum(array(features) @ array(params.fc6.kernel) + array(params.fc6.bias), 0)
    values = hidden @ array(params.fc7.kernel) + array(params.fc7.bias)
    assert (values < 0).any(), "before its ReLU"
    np.testing.assert_allclose(fc_head.apply(params, features), values, rtol=1e-4, atol=1e-5)
    scores = np.maximum(values, 0) @ array(params.objectness.kernel)
    found = fc_head.logits(params, jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    want = -np.log(chances[np.arange(len(scores)), labels]).mean()
    assert float(fc_head.loss(found, labels)) == pytest.approx(want, rel=1e-4)


def test_alexnets_layers_have_the_papers_sizes():
    shape = jax.eval_shape(lambda key: fc_head.init(key, 9216, 4096, 500), jax.random.key(0))
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(layer)) for layer in shape]
    assert sizes[:2] == [37_752_832, 2_048_500]


def test_a_networks_own_fc6_begins_the_head():
    rng = np.random.default_rng(3)
    fc6 = Dense(*(jnp.asarray(rng.normal(size=size), jnp.bfloat16) for size in ((20, 12), (12,))))
    found = fc_head.with_fc6(jax.random.key(0), fc6, 5)
    np.testing.assert_array_equal(found.fc6.kernel, np.asarray(fc6.kernel, np.float32))
    np.testing.assert_array_equal(found.fc6.bias, np.asarray(fc6.bias, np.float32))
    assert found.fc7.kernel.shape == (12, 5) and found.fc6.kernel.dtype == jnp.float32


def test_maps_are_averaged_flattened_in_order_and_brought_to_one_magnitude():
    maps = jnp.asarray(np.random.default_rng(1).uniform(0, 50, (3, 6, 6, 5)), jnp.float32)
    raw = fc_head.pool(maps, 3, normalised=False)
    want = np.asarray(maps).reshape(3, 3, 2, 3, 2, 5).mean((2, 4)).reshape(3, 45)
    np.testing.assert_allclose(raw, want, rtol=1e-4)
    found = np.asarray(fc_head.pool(maps, 3))
    np.testing.assert_allclose(np.sqrt((found**2).mean(axis=1)), 1, rtol=1e-5)
    np.testing.assert_allclose(found, want / np.sqrt((want**2).mean(1, keepdims=True)), rtol=1e-4)
    np.testing.assert_array_equal(fc_head.pool(maps, None, normalised=False), maps.reshape(3, -1))
    assert np.isfinite(fc_head.pool(jnp.zeros((2, 6, 6, 5)), 6)).all()


@pytest.mark.parametrize("max_gradient_norm", [None, 0.05])
def test_fine_tuning_is_caffes_descent_on_all_weights(max_gradient_norm):
    """fc6 is trained through the samples' inner products; here every weight is stepped as it stands."""
    start, (features, labels) = head(), problem()
    batches = np.random.default_rng(2).integers(0, 30, (40, 8)).astype(np.int32)  # some samples twice
    found, losses = jax.jit(fc_head.fine_tune)(
        start, features, labels, jnp.asarray(batches), RATES, ALIKE, max_gradient_norm=max_gradient_norm
    )

    def batch_loss(params, batch):
        return fc_head.loss(fc_head.logits(params, fc_head.apply(params, features[batch])), labels[batch])

    params, velocity, wanted = start, caffe_sgd.zero_velocity(start), []
    slope = jax.jit(jax.value_and_grad(batch_loss))
    for batch in batches:
        value, gradient = slope(params, batch)
        wanted.append(float(value))
        norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
        cut = min(1, (max_gradient_norm or norm) / norm)
        gradient = jax.tree.map(functools.partial(jnp.multiply, cut), gradient)
        params, velocity = caffe_sgd.step(params, velocity, gradient, RATES, ALIKE)
    np.testing.assert_allclose(losses, wanted, rtol=2e-2, atol=1e-4)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=2e-3)
    assert wanted[-1] < wanted[0]


def test_fine_tuning_can_be_differentiated():
    """The loss after training, by the learning rate, against a difference quotient."""
    start, (features, labels) = head(), problem()
    batches = jnp.asarray(np.random.default_rng(2).integers(0, 30, (6, 8)), jnp.int32)

    def after(rate):
        rates = RATES._replace(learning_rate=rate)
        tuned, _ = fc_head.fine_tune(start, features, labels, batches, rates, ALIKE)
        return fc_head.loss(fc_head.logits(tuned, fc_head.apply(tuned, features)), labels)

    at, width = jnp.float32(0.005), 2e-4
    quotient = (after(at + width) - after(at - width)) / (2 * width)
    assert abs(float(quotient)) > 0.1
    assert float(jax.grad(after)(at)) == pytest.approx(float(quotient), rel=0.05)
