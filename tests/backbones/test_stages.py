"""Each network says which of its layers serves which purpose; another network is one file and one row."""

import jax
import numpy as np
import pytest

from jtrack import backbones, trackers
from jtrack.backbones import box_feature
from jtrack.backbones.base import Architecture, Layer, Preprocessing, Stages
from jtrack.backbones.layers import Conv, MaxPool, Relu
from jtrack.data import synthetic
from jtrack.types import Frame

STANDING = [name for name in backbones.names() if backbones.get(name).stages is not None]


@pytest.mark.parametrize("name", [name for name in STANDING if name not in ("hog", "tiny")])
def test_layers_have_the_strides_that_they_are_named_for(name):
    net = backbones.get(name)
    found = [net.stride(layer) for layer in (net.stages.stride4, net.stages.stride8, net.stages.stride16)]
    assert found == [4, 8, 16]
    assert net.stride(net.stages.first) <= 4


@pytest.mark.parametrize("name", STANDING)
def test_layers_exist_in_the_images_they_are_meant_for(name):
    net = backbones.get(name)
    for layer, size in (
        (net.stages.first, (64, 64)),
        (net.stages.box, net.stages.box_size),
        (net.stages.region, net.stages.region_size),
    ):
        assert net.map_shape(layer, size)[0] >= 6  # at least the cells that GDT's head asks for
    if net.stages.fc6 is not None:
        assert len(net.map_shape(net.stages.fc6, net.preprocessing.size)) == 1


def test_a_region_shows_a_box_about_as_large_as_its_own_image_does():
    # Four sides of the target in a region: a side in it, beside a box's image.
    for name in STANDING:
        stages = backbones.get(name).stages
        assert 0.5 < stages.region_size[0] / 4 / stages.box_size[0] <= 1, name


def test_gdts_feature_follows_from_the_stages():
    for name, tap, stride, pools, own in (
        ("alexnet", "pool5", 32, "relu5", True),
        ("caffenet_conv", "pool5", 32, "relu5", False),
        ("vgg16", "relu5_3", 16, None, False),
        ("googlenet", "inception_4c/output", 16, None, False),
        ("hog", "hog", 4, None, False),
    ):
        feature = box_feature.feature_of(name)
        assert (feature.tap, feature.stride, feature.pooled_from, feature.own) == (tap, stride, pools, own)


def strided():
    """Three strided convolutions."""
    yield Layer("conv_a", Conv(3, 6, 5, stride=4, padding=2))
    yield Layer("relu_a", Relu())
    yield Layer("conv_b", Conv(6, 8, 3, stride=2, padding=1))
    yield Layer("relu_b", Relu())
    yield Layer("pool_c", MaxPool(2, 2))


MINE = Architecture(
    strided,
    Preprocessing("RGB", (128, 128, 128), (64, 64, 64), (96, 96)),
    Stages(
        first="relu_a",
        stride4="relu_a",
        stride8="relu_b",
        stride16="pool_c",
        box="relu_b",
        box_size=(64, 64),
        region="relu_b",
        region_size=(128, 128),
    ),
    untrained=True,
)


@pytest.mark.parametrize("name", [name for name in trackers.names() if not trackers.find(name).own_network])
def test_another_network_is_one_record_and_one_row(monkeypatch, name):
    monkeypatch.setitem(backbones.ARCHITECTURES, "mine", MINE)
    assert "mine" in backbones.names() and "mine" in trackers.networks(name)
    assert backbones.describe("mine") == "Three strided convolutions."
    bound = trackers.create(name, backbone="mine")
    clip = synthetic.clip(frames=2)
    functions = bound.functions(clip.boxes[0], clip.frames.size)
    pixels = jax.ShapeDtypeStruct((*clip.frames.size, 3), np.uint8)
    frame = Frame(pixels, jax.ShapeDtypeStruct((2,), np.int32))
    box = jax.ShapeDtypeStruct((4,), np.float32)
    state = jax.eval_shape(functions.init, bound.params, jax.random.key(0), frame, box)
    after, output = jax.eval_shape(functions.step, bound.params, state, frame)
    assert output.box.shape == (4,)
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, state)
