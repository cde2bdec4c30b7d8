"""Image cues: maps of an image's brightness, colour and contrast, which are the input of a small network."""

from collections.abc import Iterable
from dataclasses import dataclass

import jax.numpy as jnp

from jtrack.errors import unknown_name
from jtrack.types import Array, Box
from jtrack.vision.colour import grey, hsv
from jtrack.vision.contrast import gradient_magnitude, local_contrast, stretch

# The range (lowest, highest) of each cue that `Fixed` maps: all values of hue, value and grey; three standard
# deviations of the contrasts; half of the largest redness, yellowness and a quarter of the largest gradient.
RANGES = {
    "contrast": (-3.0, 3.0),
    "contrast_wide": (-3.0, 3.0),
    "hue": (0.0, 1.0),
    "value": (0.0, 1.0),
    "grey": (0.0, 255.0),
    "redness": (-0.5, 0.5),
    "yellowness": (-0.5, 0.5),
    "gradient": (0.0, 64.0),
}
DARK = 0.2  # value below which colours fade out of redness and yellowness


@dataclass(frozen=True)
class Stretched:
    """Each cue fills low..high by its own range in the image."""

    low: float
    high: float

    def scale(self, cue: Array, name: str) -> Array:
        """A cue [H, W] in low..high."""
        del name
        return self.low + stretch(cue, self.high - self.low)


@dataclass(frozen=True)
class Fixed:
    """Each cue's range of `RANGES` becomes low..high; what is beyond is clipped."""

    low: float
    high: float

    def scale(self, cue: Array, name: str) -> Array:
        """A cue [H, W] in low..high, by its name."""
        bottom, top = RANGES[name]
        return self.low + (self.high - self.low) * jnp.clip((cue - bottom) / (top - bottom), 0, 1)


@dataclass(frozen=True)
class AsWarped:
    """Cues are made of the region as it is cut: its target a square, whatever it is in the frame."""

    def aspect(self, box: Box) -> Array | float:
        """How many times as wide smoothing is across as down, and how differences across count."""
        del box
        return 1.0


@dataclass(frozen=True)
class AsFilmed:
    """Cues are those of the frame, by their smoothing and differences: as wide across as down there."""

    def aspect(self, box: Box) -> Array | float:
        """As of `AsWarped`: the height over the width () of the box [4] that became a square."""
        return box[3] / box[2]


def check(names: Iterable[str]) -> None:
    """Refuses a name that is no cue's.

    Raises:
      JtrackError: names it and those there are.
    """
    for name in names:
        if name not in RANGES:
            raise unknown_name("cue", name, RANGES)


def of_image(
    image: Array, names: Iterable[str], target: float, aspect: Array | float = 1.0
) -> dict[str, Array]:
    """Cues [H, W] of an image.

    Contrast is smoothed by the paper's .1 h and .15 h (Li, Li and Porikli, TIP 2016, II-B).

    Args:
      image: [H, W, 3] RGB 0..255.
      names: of `RANGES`.
      target: h, the target's height in pixels of the image.
      aspect: () how many times as much as down the image is stretched across.

    Returns:
      The cues by their names, in the order of the alphabet.
    """
    light = grey(image)
    hue, saturation, value = jnp.moveaxis(hsv(image), -1, 0)
    # In the dark saturation is noise: it counts less there.
    angle, chroma = 2 * jnp.pi * hue, saturation * value * (1 + DARK) / (value + DARK)
    known = {
        "contrast": lambda: local_contrast(light, 0.1 * target, 0.1 * target, aspect=aspect),
        "contrast_wide": lambda: local_contrast(light, 0.15 * target, 0.15 * target, aspect=aspect),
        "hue": lambda: hue,
        "value": lambda: value,
        "grey": lambda: light,
        "redness": lambda: chroma * jnp.cos(angle),
        "yellowness": lambda: chroma * jnp.sin(angle),
        "gradient": lambda: gradient_magnitude(light, aspect=aspect),
    }
    return {name: known[name]() for name in sorted(names)}
