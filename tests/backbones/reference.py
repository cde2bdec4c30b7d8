"""An independent forward pass in NumPy: Caffe's layers from their definitions, in Caffe's layout.

Maps are [C, H, W], kernels [out, in, h, w], dense kernels [out, in] over (channel, row, column). A topology
is text, one layer a line: `name kind arguments [< inputs]`, where `s` is the stride, `p` the padding, `g` the
groups, `floor` the rounding of a pooling and `reflect` the border of a convolution.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def convolution(x, kernel, bias, *, stride=1, padding=0, groups=1, border="constant"):
    outputs, inputs, size, _ = kernel.shape
    assert x.shape[0] == inputs * groups
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)), mode=border)
    windows = sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    maps = []
    for g in range(groups):
        part = windows[g * inputs : (g + 1) * inputs]
        columns = part.transpose(0, 3, 4, 1, 2).reshape(inputs * size * size, -1)
        rows = kernel[g * outputs // groups : (g + 1) * outputs // groups].reshape(outputs // groups, -1)
        maps.append((rows @ columns).reshape(-1, *part.shape[1:3]))
    return np.concatenate(maps) + bias[:, None, None]


def pooling(x, *, window, stride, padding=0, ceil=True, reduce=np.max):
    _, height, width = x.shape

    def windows(length):
        count = (length + 2 * padding - window) / stride
        count = (math.ceil(count) if ceil else math.floor(count)) + 1
        starts = [i * stride - padding for i in range(count)]
        if ceil and padding and starts[-1] >= length:  # begins in the trailing padding
            starts.pop()
        return [slice(max(start, 0), min(start + window, length)) for start in starts]

    rows, columns = windows(height), windows(width)
    return np.stack([np.stack([reduce(x[:, r, c], axis=(1, 2)) for c in columns], -1) for r in rows], -2)


def response_norm(x, *, size=5, alpha=1e-4, beta=0.75):
    y = np.empty_like(x)
    for c in range(x.shape[0]):
        near = x[max(0, c - size // 2) : c + size // 2 + 1].astype(np.float64)
        y[c] = x[c] / (1 + alpha / size * (near**2).sum(0)) ** beta
    return y


def softmax(x):
    e = np.exp(x.ravel().astype(np.float64) - x.max())
    return e / e.sum()


def _number(words, letter, default):
    return next((int(w[1:]) for w in words if w[0] == letter and w[1:].isdigit()), default)


def forward(topology, weights, x, stop=None):
    """{name: output} of every layer up to `stop`; `weights` is {name: (kernel, bias)} in Caffe's layout."""
    outputs, previous = {"data": x}, "data"
    for line in filter(None, map(str.strip, topology.splitlines())):
        left, _, right = line.partition("<")
        name, kind, *words = left.split()
        inputs = [outputs[i] for i in right.split() or [previous]]
        stride, padding = _number(words, "s", 1), _number(words, "p", 0)
        first = inputs[0]
        match kind:
            case "conv":
                outputs[name] = convolution(
                    first,
                    *weights[name],
                    stride=stride,
                    padding=padding,
                    groups=_number(words, "g", 1),
                    border="reflect" if "reflect" in words else "constant",
                )
                assert outputs[name].shape[0] == int(words[0])
                assert weights[name][0].shape[2] == int(words[1])
            case "fc":
                outputs[name] = weights[name][0] @ first.ravel() + weights[name][1]
                assert outputs[name].size == int(words[0])
            case "relu":
                outputs[name] = np.maximum(first, 0)
            case "max":
                outputs[name] = pooling(
                    first, window=int(words[0]), stride=stride, padding=padding, ceil="floor" not in words
                )
            case "ave":
                outputs[name] = pooling(first, window=int(words[0]), stride=stride, reduce=np.mean)
            case "global":
                outputs[name] = first.mean((1, 2), keepdims=True)
            case "lrn":
                outputs[name] = response_norm(first)
            case "concat":
                outputs[name] = np.concatenate(inputs)
            case "softmax":
                outputs[name] = softmax(first)
        previous = name
        if name == stop:
            break
    return outputs


def _vgg(pattern, *, rounding=""):
    lines, block, i = [], 1, 1
    for word in pattern.split():
        if word == "M":
            lines.append(f"pool{block} max 2 s2 {rounding}")
            block, i = block + 1, 1
        else:
            lines += [f"conv{block}_{i} conv {word} 3 p1", f"relu{block}_{i} relu"]
            i += 1
    return "\n".join(lines) + "\nfc6 fc 4096\nrelu6 relu\nfc7 fc 4096\nrelu7 relu\nfc8 fc 1000\nprob softmax"


_D = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"
_E = "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M"

_ALEXNET_HEAD = "fc6 fc 4096\nrelu6 relu\nfc7 fc 4096\nrelu7 relu\nfc8 fc 1000\nprob softmax"

CAFFENET = (
    """
conv1 conv 96 11 s4
relu1 relu
pool1 max 3 s2
norm1 lrn
conv2 conv 256 5 p2 g2
relu2 relu
pool2 max 3 s2
norm2 lrn
conv3 conv 384 3 p1
relu3 relu
conv4 conv 384 3 p1 g2
relu4 relu
conv5 conv 256 3 p1 g2
relu5 relu
pool5 max 3 s2
"""
    + _ALEXNET_HEAD
)

ALEXNET = (
    """
conv1 conv 96 11 s4
relu1 relu
norm1 lrn
pool1 max 3 s2
conv2 conv 256 5 p2 g2
relu2 relu
norm2 lrn
pool2 max 3 s2
conv3 conv 384 3 p1
relu3 relu
conv4 conv 384 3 p1 g2
relu4 relu
conv5 conv 256 3 p1 g2
relu5 relu
pool5 max 3 s2
"""
    + _ALEXNET_HEAD
)

ALEXNET_TORCHVISION = (
    """
conv1 conv 64 11 s4 p2
relu1 relu
pool1 max 3 s2 floor
conv2 conv 192 5 p2
relu2 relu
pool2 max 3 s2 floor
conv3 conv 384 3 p1
relu3 relu
conv4 conv 256 3 p1
relu4 relu
conv5 conv 256 3 p1
relu5 relu
pool5 max 3 s2 floor
"""
    + _ALEXNET_HEAD
)


def _googlenet():
    # Table 1 of the paper: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
    table = """
3a 64 96 128 16 32 32
3b 128 128 192 32 96 64
4a 192 96 208 16 48 64
4b 160 112 224 24 64 64
4c 128 128 256 24 64 64
4d 112 144 288 32 64 64
4e 256 160 320 32 128 128
5a 256 160 320 32 128 128
5b 384 192 384 48 128 128
"""
    text = """
conv1/7x7_s2 conv 64 7 s2 p3
conv1/relu_7x7 relu
pool1/3x3_s2 max 3 s2
pool1/norm1 lrn
conv2/3x3_reduce conv 64 1
conv2/relu_3x3_reduce relu
conv2/3x3 conv 192 3 p1
conv2/relu_3x3 relu
conv2/norm2 lrn
pool2/3x3_s2 max 3 s2
"""
    bottom = "pool2/3x3_s2"
    for row in table.split("\n")[1:-1]:
        name, *n = row.split()
        b = f"inception_{name}"
        text += f"""
{b}/1x1 conv {n[0]} 1 < {bottom}
{b}/relu_1x1 relu
{b}/3x3_reduce conv {n[1]} 1 < {bottom}
{b}/relu_3x3_reduce relu
{b}/3x3 conv {n[2]} 3 p1
{b}/relu_3x3 relu
{b}/5x5_reduce conv {n[3]} 1 < {bottom}
{b}/relu_5x5_reduce relu
{b}/5x5 conv {n[4]} 5 p2
{b}/relu_5x5 relu
{b}/pool max 3 s1 p1 < {bottom}
{b}/pool_proj conv {n[5]} 1
{b}/relu_pool_proj relu
{b}/output concat < {b}/relu_1x1 {b}/relu_3x3 {b}/relu_5x5 {b}/relu_pool_proj
"""
        bottom = f"{b}/output"
        if name == "3b":
            text += "pool3/3x3_s2 max 3 s2\n"
            bottom = "pool3/3x3_s2"
        if name == "4e":
            text += "pool4/3x3_s2 max 3 s2\n"
            bottom = "pool4/3x3_s2"
    return text + "pool5/7x7_s1 ave 7 s1\nloss3/classifier fc 1000\nprob softmax"


def _squeezenet():
    text = "conv1 conv 64 3 s2\nrelu_conv1 relu\npool1 max 3 s2\n"
    for fire, squeeze, expand in (
        (2, 16, 64),
        (3, 16, 64),
        (4, 32, 128),
        (5, 32, 128),
        (6, 48, 192),
        (7, 48, 192),
        (8, 64, 256),
        (9, 64, 256),
    ):
        f = f"fire{fire}"
        text += f"""
{f}/squeeze1x1 conv {squeeze} 1
{f}/relu_squeeze1x1 relu
{f}/expand1x1 conv {expand} 1
{f}/relu_expand1x1 relu
{f}/expand3x3 conv {expand} 3 p1 < {f}/relu_squeeze1x1
{f}/relu_expand3x3 relu
{f}/concat concat < {f}/relu_expand1x1 {f}/relu_expand3x3
"""
        if fire in (3, 5):
            text += f"pool{fire} max 3 s2\n"
    return text + "conv10 conv 1000 1\nrelu_conv10 relu\npool10 global\nprob softmax"


SLIM = """
conv0 conv 3 1
conv1_1 conv 16 3 p1 reflect
relu1_1 relu
conv1_2 conv 16 3 p1 reflect
relu1_2 relu
pool1 max 2 s2 floor
conv2_1 conv 32 3 p1 reflect
relu2_1 relu
conv2_2 conv 32 3 p1 reflect
relu2_2 relu
pool2 max 2 s2 floor
conv3_1 conv 64 3 p1 reflect
relu3_1 relu
conv3_2 conv 64 3 p1 reflect
relu3_2 relu
conv3_3 conv 64 3 p1 reflect
relu3_3 relu
conv3_4 conv 64 3 p1 reflect
relu3_4 relu
pool3 max 2 s2 floor
conv4_1 conv 128 3 p1 reflect
relu4_1 relu
conv4_2 conv 128 3 p1 reflect
relu4_2 relu
conv4_3 conv 128 3 p1 reflect
relu4_3 relu
conv4_4 conv 128 3 p1 reflect
relu4_4 relu
pool4 max 2 s2 floor
conv5_1 conv 128 3 p1 reflect
relu5_1 relu
"""

TOPOLOGIES = {
    "vgg16": _vgg(_D),
    "vgg19": _vgg(_E),
    "vgg16_torchvision": _vgg(_D, rounding="floor"),
    "vgg19_torchvision": _vgg(_E, rounding="floor"),
    "vgg19_slim": SLIM,
    "caffenet": CAFFENET,
    "caffenet_conv": CAFFENET.partition("fc6")[0],
    "rcnn_ilsvrc13": CAFFENET.partition("fc8")[0] + "fc-rcnn fc 200",
    "alexnet": ALEXNET,
    "alexnet_torchvision": ALEXNET_TORCHVISION,
    "googlenet": _googlenet(),
    "squeezenet": _squeezenet(),
}


def preprocess(name, image):
    """[h, w, 3] RGB 0..255 -> [3, h, w] as each network's authors prepare it."""
    x = image.astype(np.float32)
    if name.endswith("torchvision"):
        x = (x / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    elif name == "vgg19_slim":
        x = x / 255
    elif name.startswith("vgg"):
        x = x - np.float32([123.68, 116.779, 103.939])
    else:
        x = x[..., ::-1] - np.float32([104, 117, 123])
    return x.transpose(2, 0, 1).astype(np.float32)
