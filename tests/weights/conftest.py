"""Weights folders of the test's own, and a small net to convert."""

from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """The user's own weights folder, empty, and no other; no weights are installed by pip."""
    from jtrack.weights import store

    monkeypatch.setattr(
        store.platformdirs, "user_data_dir", lambda *_, **__: str(tmp_path / "home" / "jtrack")
    )
    monkeypatch.delenv("JTRACK_WEIGHTS", raising=False)
    monkeypatch.setattr(store, "installed", lambda source: None)
    return tmp_path / "home" / "jtrack" / "weights"


@pytest.fixture
def net():
    """A net with a colour kernel, a grouped one, and a dense layer over a map of 2 x 3 x 5.

    `params` is as jtrack stores it, for RGB; `oihw` the same arrays as Caffe and PyTorch lay them out.
    """
    rng = np.random.default_rng(3)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    params = {
        "conv1": {"kernel": draw(3, 2, 3, 4), "bias": draw(4)},
        "conv2": {"kernel": draw(1, 1, 2, 5), "bias": draw(5)},
        "fc6": {"kernel": draw(2 * 3 * 5, 7), "bias": draw(7)},
        "fc7": {"kernel": draw(7, 2), "bias": draw(2)},
    }
    oihw = {}
    for layer, arrays in params.items():
        kernel = arrays["kernel"]
        if kernel.ndim == 4:
            weight = np.einsum("hwio->oihw", kernel)
        elif layer == "fc6":
            weight = np.einsum("hwco->ochw", kernel.reshape(2, 3, 5, 7)).reshape(7, 30)
        else:
            weight = np.einsum("io->oi", kernel)
        oihw[layer] = (np.ascontiguousarray(weight), arrays["bias"])
    return SimpleNamespace(params=params, oihw=oihw, flatten={"fc6": (2, 3, 5)})


@pytest.fixture
def assert_same():
    """Exact equality of two nets."""

    def check(found, wanted):
        assert found.keys() == wanted.keys()
        for layer, arrays in wanted.items():
            assert found[layer].keys() == arrays.keys()
            for part, array in arrays.items():
                assert found[layer][part].dtype == np.float32
                assert found[layer][part].flags.c_contiguous
                np.testing.assert_array_equal(found[layer][part], array)

    return check
