"""Principal components against a singular value decomposition."""

import jax.numpy as jnp
import numpy as np

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
