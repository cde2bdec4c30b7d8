"""What every network is to the rest of jtrack: `Backbone`, pure functions over a plain pytree of weights.

A topology is a function that yields `Layer`s, as a Caffe file lists them. `Network` makes the Flax NNX module
of as many of them as the asked taps need. NNX objects do not leave this file.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtrack.errors import JtrackError, unknown_name
from jtrack.precision import PRECISIONS
from jtrack.types import Array, floating

Params = dict[str, dict[str, Any]]  # {layer: {"kernel", "bias"}}


class Layer(NamedTuple):
    """One line of a topology."""

    name: str
    op: nnx.Module
    inputs: tuple[str, ...] = ()  # names of earlier layers, or "data"; none: the line before


Topology = Callable[[], Iterator[Layer]]


@dataclass(frozen=True)
class Preprocessing:
    """From RGB 0..255 to what a network was trained on: (colour - mean) / std.

    Attributes:
      order: "RGB" or "BGR", the order of the channels in the first kernel; `mean` and `std` are in it.
      mean: in units of 0..255.
      std: in units of 0..255.
      size: (height, width) of the images of the classifier; other sizes are fine for convolutional taps.
    """

    order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int]

    def __call__(self, images: Array) -> Array:
        """[..., 3] RGB 0..255 -> [..., 3], the network's own."""
        x = images.astype(floating(images))
        if self.order == "BGR":
            x = x[..., ::-1]
        shape = (1,) * (x.ndim - 1) + (3,)
        mean, std = (jnp.array(v, x.dtype).reshape(shape) for v in (self.mean, self.std))
        return (x - mean) / std


# What torchvision's networks were trained on.
TORCHVISION = Preprocessing(
    "RGB", (255 * 0.485, 255 * 0.456, 255 * 0.406), (255 * 0.229, 255 * 0.224, 255 * 0.225), (224, 224)
)


class Stages(NamedTuple):
    """The layers of a network that trackers use, named by their purpose.

    A stride is in pixels of the image a cell of the layer's map.
    """

    first: str  # the first layer, after its ReLU
    stride4: str  # the last layer of this stride
    stride8: str
    stride16: str
    box: str  # describes the image of one box: the last map before any fully connected layer
    box_size: tuple[int, int]  # (height, width) of that image
    region: str  # the map of a region of the frame that boxes are cut from
    region_size: tuple[int, int]  # (height, width) of the image of a region of four sides of the target
    # `box` is the maximum of `region` over 3 x 3 cells with stride 2, so that boxes may be cut from `region`.
    pooled: bool = False
    fc6: str | None = None  # the first fully connected layer, after its ReLU, on `Preprocessing.size`


class Architecture(NamedTuple):
    """A network without its weights: one record, in the file of its family."""

    topology: Topology
    preprocessing: Preprocessing
    stages: Stages | None  # None: no tracker of images can stand on it
    untrained: bool = False  # whether its weights are random ones, always the same: for tests


class Network(nnx.Module):
    """The layers that some taps need."""

    def __init__(self, layers: Iterable[Layer], taps: tuple[str, ...] | None) -> None:
        plan: list[Layer] = []
        for layer in layers:
            previous = plan[-1].name if plan else "data"
            plan.append(layer._replace(inputs=layer.inputs or (previous,)))
        if taps is not None:
            needed = set(taps)
            for layer in reversed(plan):
                if layer.name in needed:
                    needed.update(layer.inputs)
            plan = [layer for layer in plan if layer.name in needed]
        self.layers = nnx.Dict({layer.name: layer.op for layer in plan})
        self.plan = tuple((layer.name, layer.inputs) for layer in plan)

    def __call__(self, x: Array) -> dict[str, Array]:
        """Preprocessed images [N, h, w, 3] -> the output of every layer."""
        outputs = {"data": x}
        for name, inputs in self.plan:
            outputs[name] = self.layers[name](*(outputs[i] for i in inputs))
            if 0 in outputs[name].shape[1:]:
                raise JtrackError(
                    f"images of {x.shape[1]} x {x.shape[2]} pixels are too small for the layer {name!r}: "
                    "enlarge them or tap an earlier layer"
                )
        return outputs


@functools.cache
def _abstract(topology: Topology, taps: tuple[str, ...] | None) -> tuple[Any, Network, Params]:
    """The network's NNX graph, the network itself and its weights, all without values."""
    network = nnx.eval_shape(lambda: Network(topology(), taps))
    graph, state = nnx.split(network)
    return graph, network, nnx.to_pure_dict(state).get("layers", {})


@functools.cache
def _map_shape(backbone: "Backbone", tap: str, size: tuple[int, int]) -> tuple[int, ...]:
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    taps = (tap,)
    maps = jax.eval_shape(lambda p, x: backbone.apply(p, x, taps), backbone.template(taps=taps), image)
    return maps[tap].shape[1:]


@dataclass(frozen=True)
class Backbone:
    """A network as pure functions; frozen and hashable, so static under jit.

    Weights are plain nested dicts keyed by the Caffe layer names, {layer: {"kernel", "bias"}}. The kernel of
    a convolution is [h, w, inputs / groups, outputs], of a fully connected layer [inputs, outputs] with the
    rows in the (row, column, channel) order of the map before it. They stay float32 whatever the precision,
    unless `cast_params` has cast them once for all.

    A tap is a Caffe layer name: "conv5_4" is the convolution before its ReLU, "relu5_4" after it; a block
    that ends in "<block>/output" or "<block>/concat" may be called "<block>".

    Attributes:
      name: as `backbones.get` knows it.
      precision: of the convolutions and fully connected layers (`jtrack.precision`).
      preprocessing: the network's own; `apply` does it.
      topology: yields the layers.
      stages: which layer serves which purpose.
      lacking: layers whose weights are not here.
      remedy: how they could be had, as a sentence ends.
    """

    name: str
    precision: str
    preprocessing: Preprocessing
    topology: Topology
    stages: Stages | None = None
    lacking: tuple[str, ...] = ()
    remedy: str = ""

    def without(self, lacking: tuple[str, ...], remedy: str = "") -> "Backbone":
        """The same network of which some layers have no weights: none of its stages stands on them.

        Args:
          lacking: names of layers.
          remedy: how their weights could be had, as a sentence ends.
        """
        stages = self.stages
        if (
            stages is not None
            and stages.fc6 is not None
            and set(lacking) & set(self.template(taps=(stages.fc6,)))
        ):
            stages = stages._replace(fc6=None)
        return dataclasses.replace(self, stages=stages, lacking=lacking, remedy=remedy)

    @property
    def layers(self) -> tuple[str, ...]:
        """The name of every tap, shallow to deep."""
        _, network, _ = _abstract(self.topology, None)
        return tuple(name for name, _ in network.plan)

    def resolve(self, tap: str) -> str:
        """The layer a tap means.

        Args:
          tap: a layer's name, or a block's.

        Returns:
          The layer's name.

        Raises:
          JtrackError: the network has no such layer.
        """
        layers = self.layers
        for name in (tap, f"{tap}/output", f"{tap}/concat"):
            if name in layers:
                return name
        raise unknown_name(f"layer of {self.name}", tap, layers)

    def _resolved(self, taps: tuple[str, ...] | None) -> tuple[str, ...] | None:
        # Sorted, so that one graph serves the same taps in any order.
        return None if taps is None else tuple(sorted({self.resolve(tap) for tap in taps}))

    def apply(self, params: Params, images: Array, taps: tuple[str, ...]) -> dict[str, Array]:
        """The maps of some layers. Nothing deeper than the deepest of them is computed.

        Args:
          params: the weights, float32 or as `cast_params` made them; layers that the taps do not need may be
            missing.
          images: [N, h, w, 3] RGB, 0..255.
          taps: names of layers.

        Returns:
          {tap: [N, h', w', C]}, or [N, C] after a fully connected layer; float64 if images or weights are,
          else float32.

        Raises:
          JtrackError: an unknown tap, weights that lack a layer, images too small for a tap or of the wrong
            size for a fully connected one.
        """
        graph, _, template = _abstract(self.topology, self._resolved(taps))
        missing = [layer for layer in template if layer not in params]
        if missing and set(missing) <= set(self.lacking):
            raise JtrackError(
                f"{', '.join(taps)} of {self.name} needs {', '.join(missing)}, which its weights here lack"
                + (f": {self.remedy}" if self.remedy else "")
            )
        if missing:
            raise JtrackError(
                f"the weights given to {self.name} lack {len(missing)} of the {len(template)} layers that "
                f"{', '.join(taps)} need, first {missing[0]!r}: load the weights of {self.name}"
            )
        weights = self.cast_params({layer: params[layer] for layer in template})
        network = nnx.merge(graph, {"layers": weights} if weights else {})
        network.set_attributes(precision=PRECISIONS[self.precision], raise_if_not_found=False)
        maps = network(self.preprocessing(images))
        # Maps are float32 where the convolutions are bfloat16.
        dtype = floating(images, *jax.tree.leaves(weights))
        return {tap: maps[self.resolve(tap)].astype(dtype) for tap in taps}

    def template(self, *, taps: tuple[str, ...] | None = None) -> Params:
        """The weights as `jax.ShapeDtypeStruct`s, float32.

        Args:
          taps: only what these need; everything when not given.

        Returns:
          {layer: {"kernel", "bias"}}.
        """
        _, _, template = _abstract(self.topology, self._resolved(taps))
        return {layer: dict(weights) for layer, weights in template.items()}

    def random_params(self, seed: int, *, taps: tuple[str, ...] | None = None) -> Params:
        """He-normal kernels and zero biases from NumPy, for tests and timing.

        Args:
          seed: the same seed gives a layer the same weights, whatever the taps.
          taps: only what these need; everything when not given.

        Returns:
          {layer: {"kernel", "bias"}}, float32.
        """
        template = self.template(taps=taps)
        params = {}
        for index, layer in enumerate(self.layers):
            if layer in template:
                shape = template[layer]["kernel"].shape
                kernel = np.random.default_rng([seed, index]).standard_normal(shape, np.float32)
                kernel *= np.float32(np.sqrt(2 / np.prod(shape[:-1])))
                params[layer] = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(shape[-1:], jnp.float32)}
        return params

    def cast_params(self, params: Params) -> Params:
        """The weights in the precision's dtype: done once at load, `apply` need not do it for every image.

        Args:
          params: the weights, in any floating dtype.

        Returns:
          The same tree in bfloat16, or in float32; float64 weights stay so.
        """
        half = self.precision == "bfloat16"
        return jax.tree.map(lambda x: x.astype(jnp.bfloat16 if half else floating(x)), params)

    def map_shape(self, tap: str, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape of a map, found without computing it.

        Args:
          tap: a layer's name.
          size: (height, width) of the images.

        Returns:
          (h', w', C), or (C,) after a fully connected layer.
        """
        return _map_shape(self, tap, size)

    def stride(self, tap: str) -> int:
        """The stride of a layer that is a map: pixels of the image between its cells."""
        small, large = (self.map_shape(tap, (side, side))[0] for side in (256, 512))
        return 256 // (large - small)
