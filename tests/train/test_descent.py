"""The optimiser against Caffe's recurrence, and the linear probe against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import RidgeCV

from jtrack.learning.caffe_sgd import Multiplier
from jtrack.train.descent import CAFFE, Descent, caffe_sgd
from jtrack.train.probe import ridge_accuracy


def test_the_optimiser_is_caffes_with_its_step_policy():
    """Two blobs, random gradients, the rate divided twice: the recurrence written out in NumPy."""
    rng = np.random.default_rng(0)
    descent = Descent(rate=0.1, rate_every=4, momentum=0.9, decay=0.01)
    factors = {"kernel": Multiplier(10.0, 1.0), "bias": Multiplier(20.0, 0.0)}
    weights = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    found = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), weights)
    optimiser = caffe_sgd(descent, factors)
    state = optimiser.init(found)
    velocity = {name: np.zeros_like(blob) for name, blob in weights.items()}
    for step in range(10):
        slopes = {name: rng.normal(size=blob.shape) for name, blob in weights.items()}
        updates, state = optimiser.update(
            jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), slopes), state, found
        )
        found = optax.apply_updates(found, updates)
        rate = 0.1 / 10 ** (step // 4)
        for name, (faster, decayed) in factors.items():
            slope = slopes[name] + 0.01 * decayed * weights[name]
            velocity[name] = 0.9 * velocity[name] + rate * faster * slope
            weights[name] = weights[name] - velocity[name]
            np.testing.assert_allclose(found[name], weights[name], rtol=1e-4, atol=1e-5)


def test_the_rate_falls_as_caffes_users_have_it():
    rates = [float(CAFFE.rate_at(step)) for step in (0, 19_999, 20_000, 40_000, 99_999)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-7])
    assert (CAFFE.momentum, CAFFE.decay) == (0.9, 0.0005)


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_the_probe_is_ridge_regression_with_leave_one_out(noise):
    rng = np.random.default_rng(1)
    labels, test_labels = rng.integers(0, 2, 120), rng.integers(0, 2, 400)
    direction = rng.normal(size=300) / np.sqrt(300)

    def features(of):
        return (of[:, None] * direction * 6 + noise * rng.normal(size=(len(of), 300))).astype(np.float32)

    x, test = features(labels), features(test_labels)
    centred = (x - x.mean(axis=0)).astype(np.float64)
    strengths = np.linalg.eigvalsh(centred @ centred.T).max() * 10.0 ** np.arange(-6, 1)
    # Centred by hand: scikit-learn's own intercept is left out with each sample.
    signs = 2.0 * labels - 1
    model = RidgeCV(strengths, fit_intercept=False).fit(centred, signs - signs.mean())
    told = model.predict(test - x.mean(axis=0)) + signs.mean() > 0
    assert ridge_accuracy(x, labels, test, test_labels) == np.mean(told == test_labels)
    assert ridge_accuracy(x, labels, x, labels) > 0.9
