"""The structural truncated loss against the paper's definitions, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack.learning import structural_loss

TARGET, BACKGROUND = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])


def test_importance_ends_where_the_text_s_formula_does():
    overlap = jnp.linspace(0, 1, 11)
    found = structural_loss.importance(overlap)
    np.testing.assert_allclose(found, np.abs(2 / (1 + np.exp(-(overlap - 0.5))) - 1), atol=1e-7)
    np.testing.assert_allclose(found[jnp.array([0, 10])], 0.244919, atol=1e-6)
    assert found[5] == 0
    np.testing.assert_allclose(found, found[::-1], atol=1e-7)
    np.testing.assert_allclose(structural_loss.importance(jnp.array([0.0, 1.0]), 10), 0.986614, atol=1e-6)


def test_labels_change_above_one_half():
    labels = structural_loss.label(jnp.array([0.0, 0.5, 0.5001, 1.0]))
    np.testing.assert_array_equal(labels, [[0, 1], [0, 1], [1, 0], [1, 0]])


@pytest.mark.parametrize(("label", "threshold"), [(BACKGROUND, 0.0025), (TARGET, 0.000625)])
def test_small_errors_are_cut_and_the_target_s_are_four_times_smaller(label, threshold):
    def loss(error):
        return structural_loss.truncated(error, label, beta=0.0025, tightening=3.0)

    for factor in (0.99, 1.01):
        error = jnp.array([0.6, -0.8]) * (factor * threshold) ** 0.5
        kept = factor > 1
        np.testing.assert_allclose(loss(error), factor * threshold if kept else 0, rtol=1e-5)
        np.testing.assert_allclose(jax.grad(loss)(error), 2 * error if kept else [0, 0], rtol=1e-6)


def test_nothing_is_cut_without_a_threshold():
    error = jnp.array([[1e-6, 0.0], [0.0, 0.0], [3.0, -4.0]])
    found = structural_loss.truncated(error, jnp.zeros((3, 2)), beta=0.0, tightening=3.0)
    np.testing.assert_allclose(found, [1e-12, 0, 25], rtol=1e-6)


def test_score_of_the_ideal_outputs_and_where_it_grows():
    np.testing.assert_allclose(structural_loss.score(jnp.stack([TARGET, BACKGROUND])), [np.e, 0], rtol=1e-6)
    slope = jax.vmap(jax.grad(structural_loss.score))
    first = jnp.array([-3.0, -1.1, -0.9, 0.0, 2.0])
    grows = slope(jnp.stack([first, jnp.zeros(5)], axis=-1))[:, 0] > 0
    np.testing.assert_array_equal(grows, [False, False, True, True, True])


def test_score_of_a_wild_output_is_finite():
    wild = jnp.array([[1e6, -1e6], [-1e6, 1e6]])
    assert np.isfinite(structural_loss.score(wild)).all()


def test_quality_is_the_mean_over_those_near_the_best():
    scores = jnp.array([1.0, 0.76, 0.75, 0.1])
    losses, weights = jnp.array([0.0, 0.5, 1.0, 1.0]), jnp.array([1.0, 0.4, 1.0, 1.0])
    found = structural_loss.quality(scores, losses, weights, share=0.75)
    np.testing.assert_allclose(found, 1 - 0.5 * 0.4 / 2, rtol=1e-6)


def test_quality_without_a_positive_score_is_that_of_the_best_alone():
    scores = jnp.array([-0.1, -0.2, -3.0])
    found = structural_loss.quality(scores, jnp.array([0.3, 9.0, 9.0]), jnp.ones(3), share=0.75)
    np.testing.assert_allclose(found, 0.7, rtol=1e-6)


def test_quality_stays_between_zero_and_one():
    found = structural_loss.quality(jnp.ones(2), jnp.array([50.0, 70.0]), jnp.ones(2), share=0.75)
    assert found == 0
