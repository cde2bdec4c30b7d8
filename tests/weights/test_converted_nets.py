"""The same random weights in PyTorch and, through a file of each source format, in jtrack: equal outputs."""

import numpy as np
import pytest
import scipy.io
from test_caffemodel import blob_legacy, blob_v2, layer_v1, layer_v2
from test_matconvnet import cell

from jtrack import backbones
from jtrack.weights import store

torch = pytest.importorskip("torch")
F = torch.nn.functional

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def weights(shapes, *, seed):
    """{name: (weight, bias)} as PyTorch lays them out, of a scale that keeps values near one."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:]))),
            rng.standard_normal(shape[0], np.float32) * np.float32(0.1),
        )
        for name, shape in shapes.items()
    }


def dense_shapes(inputs, outputs=1000):
    return {"fc6": (4096, inputs), "fc7": (4096, 4096), "fc8": (outputs, 4096)}


def vgg_shapes(depths):
    shapes, inputs = {}, 3
    for block, (width, depth) in enumerate(zip((64, 128, 256, 512, 512), depths, strict=True), start=1):
        for i in range(1, depth + 1):
            shapes[f"conv{block}_{i}"], inputs = (width, inputs, 3, 3), width
    return shapes | dense_shapes(512 * 7 * 7)


CAFFE_ALEXNET = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    **dense_shapes(256 * 6 * 6),
}
TORCHVISION_ALEXNET = {
    "conv1": (64, 3, 11, 11),
    "conv2": (192, 64, 5, 5),
    "conv3": (384, 192, 3, 3),
    "conv4": (256, 384, 3, 3),
    "conv5": (256, 256, 3, 3),
    **dense_shapes(256 * 6 * 6),
}


def tensors(net):
    return {name: (torch.from_numpy(weight), torch.from_numpy(bias)) for name, (weight, bias) in net.items()}


def classify(net, x):
    x = F.relu(F.linear(x.flatten(1), *net["fc6"]))
    return F.linear(F.relu(F.linear(x, *net["fc7"])), *net["fc8"])


def vgg_in_torch(net, x):
    net = tensors(net)
    convolutions = [name for name in net if name.startswith("conv")]
    for name, following in zip(convolutions, [*convolutions[1:], "end"], strict=True):
        x = F.relu(F.conv2d(x, *net[name], padding=1))
        if name[:5] != following[:5]:
            x = F.max_pool2d(x, 2)
    return classify(net, x)


def caffe_alexnet_in_torch(net, x):
    net = tensors(net)

    def shrink(x):
        return F.max_pool2d(F.local_response_norm(x, 5, 1e-4, 0.75), 3, 2, ceil_mode=True)

    x = shrink(F.relu(F.conv2d(x, *net["conv1"], stride=4)))
    x = shrink(F.relu(F.conv2d(x, *net["conv2"], padding=2, groups=2)))
    x = F.relu(F.conv2d(x, *net["conv3"], padding=1))
    x = F.relu(F.conv2d(x, *net["conv4"], padding=1, groups=2))
    x = F.relu(F.conv2d(x, *net["conv5"], padding=1, groups=2))
    return classify(net, F.max_pool2d(x, 3, 2, ceil_mode=True))


def torchvision_alexnet_in_torch(net, x):
    net = tensors(net)
    x = F.max_pool2d(F.relu(F.conv2d(x, *net["conv1"], stride=4, padding=2)), 3, 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, *net["conv2"], padding=2)), 3, 2)
    for name in ("conv3", "conv4", "conv5"):
        x = F.relu(F.conv2d(x, *net[name], padding=1))
    return classify(net, F.max_pool2d(x, 3, 2))


def write_caffemodel(path, net, *, v1):
    layer, blob = (layer_v1, blob_legacy) if v1 else (layer_v2, blob_v2)
    with path.open("wb") as file:
        for name, arrays in net.items():
            file.write(layer(name.encode(), [blob(array) for array in arrays]))


def write_matconvnet(path, net):
    layers = []
    for name, (weight, bias) in net.items():
        side = 3 if weight.ndim == 4 else 7 if name == "fc6" else 1  # dense layers are convolutions
        kernel = weight.reshape(len(weight), -1, side, side).transpose(2, 3, 1, 0)
        layers.append({"name": name, "type": "conv", "weights": cell([kernel, bias])})
    scipy.io.savemat(path, {"layers": cell(layers)})


def write_torch(path, net, hyper, *, zipped):
    names = dict(zip(net, hyper, strict=True))
    state = {
        f"{names[name]}.{part}": tensor
        for name, pair in tensors(net).items()
        for part, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    torch.save(state, path, _use_new_zipfile_serialization=zipped)


def assert_equal(name, path, image, wanted):
    """jtrack's fc8 through the converted file, against PyTorch's."""
    params, _ = store.made_from(path, name)
    path.unlink()  # half a gigabyte that pytest would keep
    found = backbones.get(name).apply(params, image[None], ("fc8",))["fc8"]
    wanted = wanted.numpy()
    assert np.abs(np.asarray(found) - wanted).max() <= 1e-4 * np.abs(wanted).max()


def image_of(side):
    return np.random.default_rng(11).integers(0, 256, (side, side, 3)).astype(np.float32)


def planes(image, mean, std=1):
    return torch.from_numpy(np.ascontiguousarray(((image - mean) / std).transpose(2, 0, 1)[None], np.float32))


@pytest.mark.slow
def test_vgg19_from_caffe(tmp_path):
    net, image = weights(vgg_shapes((2, 2, 4, 4, 4)), seed=19), image_of(224)
    write_caffemodel(tmp_path / "x.caffemodel", net, v1=True)
    bgr = planes(image[..., ::-1], np.array([103.939, 116.779, 123.68]))
    assert_equal("vgg19", tmp_path / "x.caffemodel", image, vgg_in_torch(net, bgr))


@pytest.mark.slow
def test_vgg16_from_matconvnet(tmp_path):
    net, image = weights(vgg_shapes((2, 2, 3, 3, 3)), seed=16), image_of(224)
    write_matconvnet(tmp_path / "x.mat", net)
    rgb = planes(image, np.array([123.68, 116.779, 103.939]))
    assert_equal("vgg16", tmp_path / "x.mat", image, vgg_in_torch(net, rgb))


def test_alexnet_from_torchvision(tmp_path):
    net, image = weights(TORCHVISION_ALEXNET, seed=1), image_of(224)
    hyper = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    write_torch(tmp_path / "x.pth", net, hyper, zipped=True)
    wanted = torchvision_alexnet_in_torch(net, planes(image, MEAN, STD))
    assert_equal("alexnet_torchvision", tmp_path / "x.pth", image, wanted)


def test_alexnet_from_caffe(tmp_path):
    net, image = weights(CAFFE_ALEXNET, seed=2), image_of(227)
    write_caffemodel(tmp_path / "x.caffemodel", net, v1=False)
    bgr = planes(image[..., ::-1], np.array([104, 117, 123]))
    assert_equal("alexnet", tmp_path / "x.caffemodel", image, caffe_alexnet_in_torch(net, bgr))
