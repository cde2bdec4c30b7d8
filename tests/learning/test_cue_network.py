"""DeepTrack's network against plain correlations, and its gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from jtrack.learning import cue_network


def hyper(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def network():
    """Three cues whose biases and last layers are not zero either."""
    random = cue_network.random_network(jax.random.key(0), 3)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: leaf if leaf.ndim > 1 else jnp.asarray(rng.normal(0, 0.1, leaf.shape), jnp.float32),
        random,
    )


@pytest.fixture(scope="module")
def patches():
    return jnp.asarray(np.random.default_rng(1).uniform(0, 10, (5, 32, 32, 3)), jnp.float32)


def reference_layer(maps, kernel, bias):
    """Correlation, bias, ReLU, 2 x 2 maximum, in float64: [h, w, c] -> [h', w', c']."""
    out = np.stack(
        [
            sum(correlate(maps[..., i], kernel[..., i, o], "valid") for i in range(maps.shape[-1])) + bias[o]
            for o in range(kernel.shape[-1])
        ],
        axis=-1,
    )
    out = np.maximum(out, 0)
    height, width, count = out.shape
    return out.reshape(height // 2, 2, width // 2, 2, count).max(axis=(1, 3))


def reference_hidden(net, patch):
    maps = reference_layer(patch[..., None], net.kernel1, net.bias1)
    maps = reference_layer(maps, net.kernel2, net.bias2)
    return np.maximum(maps.ravel() @ net.dense + net.dense_bias, 0)


def reference(network, patch):
    features = [reference_hidden(net, patch[..., k]) for k, net in enumerate(network.cues)]
    return np.concatenate(features) @ network.fusion + network.fusion_bias


def double(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_counts_are_the_paper_s(network):
    assert [hyper(cue) for cue in network.cues] == [13244] * 3
    first = network.cues[0]
    layers = (first[:2], first[2:4], first[4:6], first[6:])
    assert [hyper(layer) for layer in layers] == [2040, 10602, 584, 18]
    assert hyper((network.fusion, network.fusion_bias)) == 50


def test_maps_have_the_paper_s_shapes(network, patches):
    net = network.cues[0]
    maps = cue_network._convolve(patches[..., :1], net.kernel1, net.bias1)
    assert maps.shape == (5, 10, 10, 12)
    assert cue_network._convolve(maps, net.kernel2, net.bias2).shape == (5, 2, 2, 18)
    assert cue_network.hidden(net, patches[..., 0]).shape == (5, 8)
    assert cue_network.output(network, patches).shape == (5, 2)


def test_outputs_are_those_of_plain_correlations(network, patches):
    found = cue_network.output(network, patches)
    expected = [reference(double(network), patch) for patch in double(patches)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_cue_by_itself_goes_through_its_own_last_layer(network, patches):
    net = network.cues[1]
    found = cue_network.own_output(net, cue_network.hidden(net, patches[..., 1]))
    of_patch = reference_hidden(double(net), double(patches)[2, ..., 1])
    np.testing.assert_allclose(found[2], of_patch @ double(net).head + double(net).head_bias, rtol=1e-4)


def test_gradients_are_finite_differences_of_plain_correlations(network, patches):
    network = network._replace(cues=network.cues[:1], fusion=network.fusion[:8])
    patches = patches[:2, ..., :1]
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(2, 2))

    def loss(network):
        return jnp.sum(jnp.asarray(weights, jnp.float32) * cue_network.output(network, patches))

    def plain(network):
        return sum(weights[n] @ reference(network, patch) for n, patch in enumerate(double(patches)))

    gradient = jax.jit(jax.grad(loss))(network)
    # So small a step that next to no maximum changes its place.
    exact, step = double(network), 1e-8
    leaves, tree = jax.tree.flatten(exact)
    for i, slope in enumerate(jax.tree.leaves(gradient)):
        direction = rng.normal(size=leaves[i].shape)
        sides = [
            plain(tree.unflatten([*leaves[:i], leaves[i] + sign * step * direction, *leaves[i + 1 :]]))
            for sign in (1, -1)
        ]
        quotient = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose((double(slope) * direction).sum(), quotient, rtol=1e-3, atol=1e-5)


def test_networks_of_several_targets_run_at_once(patches):
    networks = [cue_network.random_network(jax.random.key(seed), 3) for seed in range(4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)
    together = jax.vmap(cue_network.output, (0, None))(stacked, patches)
    alone = [cue_network.output(network, patches) for network in networks]
    np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-4, atol=1e-5)


def test_half_precision_stays_close_and_says_so_in_float32(network, patches):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), network)
    found = cue_network.output(half, patches.astype(jnp.bfloat16))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, cue_network.output(network, patches), atol=0.1)


def test_convolutions_alone_can_be_halved(network, patches):
    half = cue_network.with_convolutions_in(network, "bfloat16")
    assert {leaf.dtype for cue in half.cues for leaf in cue[:4]} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for cue in half.cues for leaf in cue[4:]} == {jnp.dtype(jnp.float32)}
    found = cue_network.output(half, patches)
    exact = [reference(double(network), patch) for patch in double(patches)]
    # What is rounded late is rounded to 1 part in 256: these few sums must be closer than that.
    assert np.abs(found - np.array(exact)).max() < 0.02 * np.abs(exact).max()
    np.testing.assert_array_equal(
        cue_network.output(cue_network.with_convolutions_in(network, "float32"), patches),
        cue_network.output(network, patches),
    )


def test_first_outputs_are_alike_for_any_range_of_patches():
    key = jax.random.key(4)
    noise = jax.random.uniform(jax.random.key(5), (40, 32, 32, 1))
    small = cue_network.output(cue_network.random_network(key, 1, (0, 1)), noise)
    large = cue_network.output(cue_network.random_network(key, 1, (0, 10)), 10 * noise)
    np.testing.assert_allclose(small, large, atol=1e-5)


def test_rounded_corners_are_sharp_in_the_limit(network, patches):
    plain = cue_network.output(network, patches)
    apart = [
        jnp.abs(cue_network.output(network, patches, corner=c) - plain).max() for c in (1e-3, 1e-2, 1e-1)
    ]
    assert 0 < apart[0] < apart[1] < apart[2]
    assert apart[0] < 0.02 * jnp.abs(plain).max()
    values = jnp.linspace(-1, 1, 9)
    np.testing.assert_allclose(
        cue_network.rectified(values, 0.1), 0.1 * np.log1p(np.exp(np.linspace(-1, 1, 9) / 0.1)), rtol=1e-5
    )
