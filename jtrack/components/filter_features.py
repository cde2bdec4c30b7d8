"""What correlation filters see of an image without a network: gradient histograms and grey values by cells.

`describe` makes maps [h // cell, w // cell, C] of an image [h, w, 3], 0..255. Where an `inner` part of it is
given, (h, w) [2] int32 and traced, the maps are those of that part, and zero beyond.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from jtrack import checks
from jtrack.types import Array
from jtrack.vision.colour import grey
from jtrack.vision.hog import fhog


@dataclass(frozen=True)
class Hog:
    """Felzenszwalb's histograms, 31 channels, of the colour channel with the steepest gradient."""

    cell: int = 4  # pixels

    def __post_init__(self) -> None:
        checks.at_least(1, self, "cell")

    def describe(self, image: Array, inner: Array | None = None) -> Array:
        """Maps of an image."""
        return fhog(image, cell=self.cell, inner=inner)


@dataclass(frozen=True)
class SmoothHog(Hog):
    """`Hog` of the grey image whose features never jump: gradients are shared between directions.

    Of a colour image they would, where another channel becomes the steepest.
    """

    def describe(self, image: Array, inner: Array | None = None) -> Array:
        """Maps of an image."""
        return fhog(grey(image)[..., None], cell=self.cell, shared=True, inner=inner)


@dataclass(frozen=True)
class GreyHog(Hog):
    """`Hog` of the grey image in whole numbers, as the released code of KCF has it."""

    def describe(self, image: Array, inner: Array | None = None) -> Array:
        """Maps of an image."""
        return fhog(jnp.round(grey(image))[..., None], cell=self.cell, inner=inner)


@dataclass(frozen=True)
class HogAndGrey(Hog):
    """The 27 histograms of every pixel, without texture, and its grey value in -.5..0.5: DSST's features."""

    cell: int = 1

    def describe(self, image: Array, inner: Array | None = None) -> Array:
        """Maps of an image."""
        rows, columns = (side // self.cell for side in image.shape[:2])
        cells = grey(image)[: rows * self.cell, : columns * self.cell]
        mean = cells.reshape(rows, self.cell, columns, self.cell).mean((1, 3)) / 255 - 0.5
        if inner is not None:
            mean = jnp.where(_within(mean.shape, inner // self.cell), mean, 0)
        return jnp.concatenate([mean[..., None], super().describe(image, inner)[..., :27]], axis=-1)


@dataclass(frozen=True)
class LogGrey:
    """The logarithm of grey values, of mean 0 and variance 1, pixel by pixel: Bolme et al., CVPR 2010."""

    cell = 1

    def describe(self, image: Array, inner: Array | None = None) -> Array:
        """Maps [h, w, 1] of an image."""
        values = jnp.log1p(grey(image))
        part = jnp.ones(values.shape, jnp.bool_) if inner is None else _within(values.shape, inner)
        count = part.sum().astype(values.dtype)
        apart = jnp.where(part, values - jnp.where(part, values, 0).sum() / count, 0)
        # An even image has no contrast to be stretched.
        return (apart / jnp.sqrt(jnp.maximum((apart**2).sum() / count, 1e-6)))[..., None]


def _within(size: tuple[int, ...], inner: Array) -> Array:
    """Which cells of a map are in its top-left part (h, w) [2]: [h, w] bool."""
    rows, columns = (jnp.arange(n, dtype=inner.dtype) < end for n, end in zip(size, inner, strict=True))
    return rows[:, None] & columns[None, :]
