"""The filter over scales against its closed form."""

import jax.numpy as jnp
import numpy as np

from jtrack.learning import scale_filter


def test_factors_run_from_large_to_small():
    factors = scale_filter.scale_factors(33, 1.02)
    np.testing.assert_allclose(factors[[0, 16, 32]], [1.02**16, 1, 1.02**-16], rtol=1e-6)


def test_label_peaks_at_factor_one():
    label = scale_filter.scale_label(33)
    assert label.argmax() == 16
    np.testing.assert_allclose(label[17], np.exp(-0.5 / (33 / np.sqrt(33) / 4) ** 2), rtol=1e-5)


def test_circular_shift_of_the_features_shifts_the_response():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(33, 20)).astype(np.float32)
    label = scale_filter.scale_label(33)
    model = scale_filter.train(jnp.asarray(features), jnp.asarray(label))
    np.testing.assert_allclose(scale_filter.respond(model, jnp.asarray(features), 1e-6), label, atol=1e-4)
    for k in (-3, 5):
        moved = scale_filter.respond(model, jnp.asarray(np.roll(features, k, 0)), 1e-6)
        np.testing.assert_allclose(moved, np.roll(label, k), atol=1e-4)
