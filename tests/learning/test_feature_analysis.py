"""Principal components against a decomposition, sparse codes against a minimiser, the rest by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jtrack.learning import feature_analysis
from jtrack.learning.feature_analysis import principal_components


def test_components_equal_those_of_an_svd():
    rng = np.random.default_rng(0)
    maps = (rng.normal(size=(9, 7, 12)) * np.arange(12, 0, -1)).astype(np.float32)
    samples = maps.reshape(-1, 12).astype(np.float64)
    centred = samples - samples.mean(0)
    _, _, loadings = np.linalg.svd(centred, full_matrices=False)
    got = np.asarray(principal_components(jnp.asarray(maps))).reshape(-1, 3)
    for k in range(3):
        want = centred @ (loadings[k] * np.sign(loadings[k][np.abs(loadings[k]).argmax()]))
        want = (want - want.min()) / (want.max() - want.min())
        np.testing.assert_allclose(got[:, k], want, atol=1e-4)


def test_constant_maps_give_a_black_picture():
    picture = principal_components(jnp.ones((4, 4, 8)))
    assert np.isfinite(np.asarray(picture)).all()
    np.testing.assert_allclose(picture, 0, atol=1e-6)


def sparse_problem():
    rng = np.random.default_rng(2)
    features = np.maximum(rng.normal(size=(60, 12)), 0).astype(np.float32)
    mask = (features[:, 3] + 0.5 * features[:, 7] > 0.8).astype(np.float32)
    return features, mask


@pytest.mark.parametrize("penalty", [0.0, 2.0, 8.0])
def test_sparse_coefficients_are_those_of_a_bounded_minimiser(penalty):
    features, mask = sparse_problem()

    def objective(c):
        error = features.astype(float) @ c - mask
        return error @ error + penalty * c.sum(), 2 * features.T.astype(float) @ error + penalty

    want = minimize(objective, np.zeros(12), jac=True, bounds=[(0, None)] * 12, tol=1e-12).x
    got = feature_analysis.sparse_coefficients(jnp.asarray(features), jnp.asarray(mask), penalty, steps=2000)
    np.testing.assert_allclose(got, want, atol=1e-3)
    assert (np.asarray(got) >= 0).all()


def test_a_larger_penalty_leaves_fewer_maps_and_at_last_none():
    features, mask = sparse_problem()
    highest = 2 * (features.T @ mask).max()
    counts = [
        int((feature_analysis.sparse_coefficients(jnp.asarray(features), jnp.asarray(mask), p) > 1e-4).sum())
        for p in (0.0, 0.2 * highest, 0.6 * highest, highest)
    ]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[2] > counts[3] == 0


def test_the_code_with_the_least_error_is_the_object():
    features, mask = sparse_problem()
    codes = np.zeros((3, 12), np.float32)
    codes[0, 0] = codes[2, 11] = 0.5
    codes[1] = feature_analysis.sparse_coefficients(jnp.asarray(features), jnp.asarray(mask), 0.5)
    errors = feature_analysis.reconstruction_errors(
        jnp.asarray(features), jnp.asarray(mask), jnp.asarray(codes)
    )
    want = [((mask - features @ code) ** 2).sum() for code in codes]
    np.testing.assert_allclose(errors, want, rtol=1e-4)
    assert int(jnp.argmin(errors)) == 1


def test_activations_are_sums_on_the_object():
    maps = np.random.default_rng(3).random((5, 6, 4)).astype(np.float32)
    mask = np.zeros((5, 6), np.float32)
    mask[1:3, 2:5] = 1
    got = feature_analysis.activations(jnp.asarray(maps), jnp.asarray(mask))
    np.testing.assert_allclose(got, maps[1:3, 2:5].sum((0, 1)), rtol=1e-5)


def test_the_saliency_of_a_map_is_what_it_sees():
    """Of a map that averages the red of the left half, three times its green, and nothing else."""

    def describe(image):
        left = image[:, :4]
        return jnp.stack([left[..., 0] - 3 * left[..., 1], left[..., 2]], axis=-1)

    image = jnp.asarray(np.random.default_rng(4).random((6, 8, 3)), jnp.float32)
    want = np.zeros((6, 8))
    want[:, :4] = 3
    np.testing.assert_allclose(feature_analysis.map_saliency(describe, image, 0), want)
    want[:, :4] = 1
    np.testing.assert_allclose(feature_analysis.map_saliency(describe, image, jnp.int32(1)), want)
