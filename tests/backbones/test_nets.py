"""The networks against an independent forward pass, published shapes, and real weights."""

import re

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import JtrackError, backbones
from jtrack.backbones import layers
from jtrack.precision import PRECISIONS
from tests.backbones import reference

CONVOLUTIONAL = {
    "vgg16": ((67, 75), ("conv1_1", "relu2_2", "pool3", "conv5_3", "pool5")),
    "vgg19": ((64, 64), ("relu3_4", "relu4_4", "conv5_4")),
    "vgg16_torchvision": ((67, 75), ("conv1_1", "pool3", "relu5_3")),
    "vgg19_torchvision": ((35, 50), ("pool2", "relu4_4")),
    "vgg19_slim": ((67, 75), ("conv0", "relu1_1", "relu3_4", "conv4_4", "relu5_1")),
    "caffenet": ((99, 83), ("conv1", "pool1", "norm1", "conv2", "norm2", "relu3", "conv4", "pool5")),
    "caffenet_conv": ((64, 70), ("relu1", "conv5")),
    "rcnn_ilsvrc13": ((64, 70), ("norm2", "pool5")),
    "alexnet": ((99, 83), ("norm1", "pool1", "norm2", "conv5", "pool5")),
    "alexnet_torchvision": ((99, 83), ("pool1", "conv2", "relu4", "pool5")),
    "googlenet": (
        (64, 70),
        (
            "conv1/7x7_s2",
            "pool1/norm1",
            "conv2/relu_3x3",
            "inception_3a/5x5",
            "inception_3b",
            "inception_4e/output",
        ),
    ),
    "squeezenet": ((64, 70), ("conv1", "pool1", "fire2/concat", "fire5/expand3x3", "fire9", "conv10")),
}

# Whole classifiers, at their own size.
CLASSIFIERS = {
    "vgg16": ("fc6",),  # 103 million weights are enough; fc7 to prob are the same code in the others
    "caffenet": ("pool5", "fc6", "relu7", "fc8", "prob"),
    "alexnet_torchvision": ("relu6",),
    "googlenet": ("inception_5b/output", "pool5/7x7_s1", "loss3/classifier", "prob"),
    "squeezenet": ("pool10", "prob"),
}


def random_params(backbone, taps, seed=0):
    """He-normal kernels and biases that matter."""
    rng = np.random.default_rng(seed)
    params = {}
    for layer, shapes in backbone.template(taps=taps).items():
        kernel = rng.standard_normal(shapes["kernel"].shape, np.float32)
        kernel *= np.float32(np.sqrt(2 / np.prod(kernel.shape[:-1])))
        bias = 10 * rng.standard_normal(kernel.shape[-1:], np.float32)
        params[layer] = {"kernel": kernel, "bias": bias}
    return params


def caffe_layout(backbone, params):
    """{layer: (kernel, bias)}: convolutions [out, in, h, w], dense kernels [out, (channel, row, column)]."""
    weights = {}
    before = "data"
    for layer in backbone.layers:
        if layer in params:
            kernel, bias = params[layer]["kernel"], params[layer]["bias"]
            if kernel.ndim == 4:
                kernel = kernel.transpose(3, 2, 0, 1)
            else:
                shape = backbone.map_shape(before, backbone.preprocessing.size)
                if len(shape) == 3:
                    h, w, c = shape
                    kernel = kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(h * w * c, -1)
                kernel = kernel.T
            weights[layer] = (kernel, bias)
        before = layer
    return weights


def compare(name, size, taps):
    backbone = backbones.get(name)
    image = np.random.default_rng(1).uniform(0, 255, (*size, 3)).astype(np.float32)
    params = random_params(backbone, taps)
    maps = jax.jit(backbone.apply, static_argnums=2)(params, jnp.asarray(image)[None], taps)
    stop = max((backbone.resolve(tap) for tap in taps), key=backbone.layers.index)
    expected = reference.forward(
        reference.TOPOLOGIES[name], caffe_layout(backbone, params), reference.preprocess(name, image), stop
    )
    for tap in taps:
        y, x = expected[backbone.resolve(tap)], np.asarray(maps[tap])
        assert x.dtype == np.float32
        x = x[0].transpose(2, 0, 1) if x.ndim == 4 else x[0]
        assert x.shape == y.shape, tap
        assert backbone.map_shape(tap, size) == maps[tap].shape[1:]
        assert np.abs(x - y).max() <= 1e-4 * np.abs(y).max(), tap


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_taps_equal_the_reference(name):
    compare(name, *CONVOLUTIONAL[name])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_equal_the_reference(name):
    compare(name, backbones.get(name).preprocessing.size, CLASSIFIERS[name])


@pytest.mark.parametrize("name", reference.TOPOLOGIES)
def test_layers_are_the_reference_ones(name):
    lines = filter(None, map(str.strip, reference.TOPOLOGIES[name].splitlines()))
    assert backbones.get(name).layers == tuple(line.split()[0] for line in lines)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
        ("caffenet", 60_965_224),
        ("alexnet", 60_965_224),
        ("alexnet_torchvision", 61_100_840),
        ("googlenet", 6_998_552),
        ("squeezenet", 1_235_496),
    ],
)
def test_published_parameter_counts(name, parameters):
    assert sum(np.prod(x.shape) for x in jax.tree.leaves(backbones.get(name).template())) == parameters


@pytest.mark.parametrize(
    ("name", "tap", "size", "shape"),
    [
        ("vgg19", "relu5_4", 224, (14, 14, 512)),
        ("vgg19", "relu4_4", 224, (28, 28, 512)),
        ("vgg19", "relu3_4", 224, (56, 56, 256)),
        ("vgg16", "conv4_3", 368, (46, 46, 512)),
        ("vgg16", "conv5_3", 368, (23, 23, 512)),
        ("caffenet", "fc6", 227, (4096,)),
        ("alexnet", "pool5", 227, (6, 6, 256)),
        ("alexnet", "pool5", 256, (7, 7, 256)),
        ("googlenet", "conv2/3x3", 224, (56, 56, 192)),
        ("googlenet", "inception_3b", 224, (28, 28, 480)),
        ("googlenet", "inception_4e", 224, (14, 14, 832)),
        ("tiny", "relu3_4", 64, (16, 16, 8)),
        ("tiny", "relu4_4", 64, (8, 8, 12)),
        ("tiny", "relu5_4", 64, (4, 4, 16)),
    ],
)
def test_map_shapes(name, tap, size, shape):
    assert backbones.get(name).map_shape(tap, (size, size)) == shape


@pytest.mark.parametrize(
    ("size", "pool", "count"),
    [
        (55, (3, 2, 0, True), 27),
        (112, (3, 2, 0, True), 56),  # (112 - 3) / 2 is not whole: the last window reaches one beyond
        (112, (3, 2, 0, False), 55),
        (7, (2, 2, 0, True), 4),
        (7, (2, 2, 0, False), 3),
        (4, (3, 2, 1, True), 3),
        (5, (2, 3, 1, True), 2),  # rounding up gives 3, but the third would start at 5, beyond the input
        (6, (7, 1, 0, True), 0),
    ],
)
def test_pooled_size(size, pool, count):
    window, stride, padding, ceil = pool
    assert layers.pooled_size(size, window, stride, padding, ceil=ceil) == count
    if count:
        x = np.random.default_rng(0).standard_normal((1, size, size, 2)).astype(np.float32)
        pool = layers.MaxPool(window, stride, padding=padding, ceil=ceil)
        expected = reference.pooling(
            x[0].transpose(2, 0, 1), window=window, stride=stride, padding=padding, ceil=ceil
        )
        np.testing.assert_array_equal(pool(jnp.asarray(x))[0].transpose(2, 0, 1), expected)


def test_every_name_is_a_network_that_computes_what_it_says():
    for name in backbones.names():
        if name == "none":
            assert backbones.get(name).layers == ()
            continue
        backbone = backbones.get(name)
        assert hash(backbone) == hash(backbones.get(name)) and backbone == backbones.get(name)
        tap = backbone.layers[0]
        images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (2, 48, 40, 3)).astype(np.float32))
        y = backbone.apply(backbone.random_params(0, taps=(tap,)), images, (tap,))[tap]
        assert y.shape == (2, *backbone.map_shape(tap, (48, 40))) and y.dtype == jnp.float32
        assert np.isfinite(y).all() and np.std(y) > 0


def test_images_of_a_batch_do_not_meet():
    backbone = backbones.get("tiny")
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (3, 40, 56, 3)).astype(np.float32))
    params = backbone.random_params(0)
    together = backbone.apply(params, images, ("relu4_4",))["relu4_4"]
    for i in range(3):
        alone = backbone.apply(params, images[i : i + 1], ("relu4_4",))["relu4_4"]
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-5, atol=1e-4)


def test_only_the_asked_layers_need_weights():
    backbone = backbones.get("vgg19")
    taps = ("relu1_2",)
    assert set(backbone.template(taps=taps)) == {"conv1_1", "conv1_2"}
    params = backbone.random_params(0, taps=taps)
    images = jnp.zeros((1, 32, 32, 3))
    assert backbone.apply(params, images, taps)["relu1_2"].shape == (1, 32, 32, 64)
    with pytest.raises(JtrackError, match=r"lack 1 of the 3 layers that relu2_1 need, first 'conv2_1'"):
        backbone.apply(params, images, ("relu2_1",))


def test_random_params_do_not_depend_on_the_taps():
    backbone = backbones.get("tiny")
    some, everything = backbone.random_params(3, taps=("conv3_4",)), backbone.random_params(3)
    assert set(some) == {"conv1_2", "conv2_2", "conv3_4"}
    for layer in some:
        np.testing.assert_array_equal(some[layer]["kernel"], everything[layer]["kernel"])
    kernel = np.asarray(backbones.get("vgg19_slim").random_params(0)["conv4_2"]["kernel"])
    assert abs(kernel.std() / np.sqrt(2 / (9 * 128)) - 1) < 0.01


def test_cast_once_or_at_every_call():
    backbone = backbones.get("tiny", precision="bfloat16")
    params = backbone.random_params(0, taps=("conv1_2",))
    cast = backbone.cast_params(params)
    assert params["conv1_2"]["kernel"].dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(cast)} == {jnp.dtype(jnp.bfloat16)}
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32))
    a, b = (backbone.apply(p, images, ("conv1_2",))["conv1_2"] for p in (params, cast))
    assert a.dtype == jnp.float32
    np.testing.assert_array_equal(a, b)


def test_gradient_with_respect_to_weights_and_image():
    backbone = backbones.get("tiny")
    params = backbone.random_params(0, taps=("conv3_4",))
    image = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32))

    def loss(params, image):
        return (backbone.apply(params, image, ("conv3_4",))["conv3_4"] ** 2).mean()

    gradients = jax.grad(loss, argnums=(0, 1))(params, image)
    direction = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(x.size).standard_normal(x.shape).astype(np.float32)),
        (params, image),
    )
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradients, direction)))
    step = 1e-3
    after, before = (
        loss(*jax.tree.map(lambda x, d, s=s: x + s * d, (params, image), direction)) for s in (step, -step)
    )
    assert abs((after - before) / (2 * step) / slope - 1) < 1e-2


@pytest.mark.parametrize(("precision", "asked"), PRECISIONS.items())
@pytest.mark.parametrize(("name", "tap"), [("tiny", "relu6"), ("squeezenet", "conv10")])
def test_products_ask_a_gpu_for_the_precision(precision, asked, name, tap):
    """All of them: those of layers with a stride and of gradients, derived before or after a jit, too."""
    backbone = backbones.get(name, precision=precision)
    images = jax.ShapeDtypeStruct((1, *backbone.preprocessing.size, 3), jnp.float32)

    @jax.jit
    def total(images, params):
        return backbone.apply(params, images, (tap,))[tap].sum()

    for function in (total, jax.grad(total)):
        arguments = images, backbone.template(taps=(tap,))
        lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
        found = re.findall(r"stablehlo\.(?:dot_general|convolution)\b.*", lowered.as_text())
        assert len(found) >= len(backbone.template(taps=(tap,)))
        assert {re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", product)[-1] for product in found} == {asked.name}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: backbones.get("vgg91"), "unknown backbone 'vgg91': did you mean 'vgg19'"),
        (lambda b: backbones.get("tiny", precision="float16"), "did you mean 'bfloat16'"),
        (lambda b: b.resolve("relu_5_4"), "unknown layer of tiny 'relu_5_4': did you mean 'relu5_4'"),
        (
            lambda b: backbones.get("caffenet_conv").map_shape("fc6", (227, 227)),
            "known: conv1, relu1, .*pool5$",
        ),
        (lambda b: b.map_shape("fc6", (100, 64)), "takes 64 values, found a map of 4 x 2 x 16"),
        (
            lambda b: backbones.get("googlenet").map_shape("pool5/7x7_s1", (64, 64)),
            "images of 64 x 64 pixels are too small for the layer 'pool5/7x7_s1'",
        ),
        (lambda b: backbones.get("alexnet").map_shape("conv1", (10, 20)), "10 x 20 pixels are too small"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(JtrackError, match=message):
        call(backbones.get("tiny"))


def from_npz(path):
    """{layer: {"kernel", "bias"}} of a file of Caffe-layout arrays NAME_W and NAME_b."""
    arrays = np.load(path, allow_pickle=False)
    return {
        name.removesuffix("_W"): {
            "kernel": arrays[name].transpose(2, 3, 1, 0),
            "bias": arrays[name.removesuffix("_W") + "_b"],
        }
        for name in arrays.files
        if name.endswith("_W")
    }


def test_caffenet_reproduces_caffe(weights_folder):
    """Dense conv1 and conv2 against the activations Caffe computed for one image."""
    backbone = backbones.get("caffenet_conv")
    params = from_npz(weights_folder / "caffenet_dense_conv1-2_and_biases.npz")
    caffe = np.load(weights_folder / "caffenet_reference_activations_one_image.npz")
    mean = np.float32(backbone.preprocessing.mean)
    image = (caffe["input"].transpose(1, 2, 0) + mean)[..., ::-1]
    taps = ("conv1", "norm1", "conv2", "norm2")
    maps = backbone.apply(params, jnp.asarray(image)[None], taps)
    for tap in taps:
        expected = caffe[tap].transpose(1, 2, 0)
        found = np.asarray(maps[tap])[0]
        assert found.shape == expected.shape
        # Caffe applies its ReLU in place: the stored "conv1" is after it.
        if expected.min() == 0:
            found = np.maximum(found, 0)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999, tap


def classify(name, params, data_folder, count, *, size):
    """The fraction of ImageNet validation images whose class has the highest probability."""
    folder = data_folder / "imagenet_val"
    labels = np.loadtxt(folder / "labels.txt", dtype=str)[:count]
    backbone = backbones.get(name)
    predict = jax.jit(lambda p, x: backbone.apply(p, x, ("prob",))["prob"].argmax(-1))
    hits = 0
    for start in range(0, len(labels), 20):
        rows = labels[start : start + 20]
        images = [cv2.imread(str(folder / "images" / row[0])) for row in rows]
        offset = (images[0].shape[0] - size) // 2
        crop = slice(offset, offset + size)
        batch = np.stack([image[crop, crop, ::-1] for image in images]).astype(np.float32)
        hits += int((np.asarray(predict(params, jnp.asarray(batch))) == rows[:, 1].astype(int)).sum())
    return hits / len(labels)


def googlenet_params(weights_folder):
    params = from_npz(weights_folder / "bvlc_googlenet.npz")
    classifier = params["loss3/classifier"]
    classifier["kernel"] = classifier["kernel"].reshape(1024, 1000)
    return params


def test_googlenet_classifies(weights_folder, data_folder):
    assert classify("googlenet", googlenet_params(weights_folder), data_folder, 40, size=224) >= 0.6


@pytest.mark.accuracy
def test_googlenet_top1(weights_folder, data_folder):
    top1 = classify("googlenet", googlenet_params(weights_folder), data_folder, 400, size=224)
    assert abs(top1 - 0.665) <= 0.005


@pytest.mark.accuracy
def test_squeezenet_top1(weights_folder, data_folder):
    params = from_npz(weights_folder / "squeezenet_v1.1.npz")
    # 58.3 % of a thousand; four hundred of them leave a standard error of 2.5 %.
    assert abs(classify("squeezenet", params, data_folder, 400, size=227) - 0.583) <= 0.05
