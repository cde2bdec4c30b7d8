"""The cues of a region around a box, and the patches of boxes in it: what a network of cues is shown."""

import jax
import jax.numpy as jnp

from jtrack.learning.cue_network import SIDE
from jtrack.types import Array, Box, Frame
from jtrack.vision import boxes, cues
from jtrack.vision.crop import crop
from jtrack.vision.cues import AsFilmed, AsWarped, Fixed, Stretched


def in_colour(frame: Frame, box: Box) -> Array:
    """Whether the target or what is around it has colour at all: a grey video has three equal channels."""
    patch = crop(frame, boxes.scale_about_centre(box, 5.0), (SIDE, SIDE))
    return jnp.ptp(patch, axis=-1).max() > 8


def cues_around(
    frame: Frame,
    box: Box,
    colour: Array,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    scaling: Stretched | Fixed,
    *,
    geometry: AsWarped | AsFilmed = AsWarped(),
    region: float = 5.0,
    context: float = 1.0,
) -> Array:
    """The cues [R, R, K] of a region around a box.

    Args:
      frame: the frame.
      box: [4].
      colour: () bool: whether the video is in colour.
      names: K cues of `vision.cues` for a grey video, and K for one in colour.
      scaling: their range.
      geometry: whether cues are those of the region, whose target is a square, or of the frame.
      region: sides of the region over the box's.
      context: sides of the box that SIDE pixels stand for.
    """
    target = SIDE / context
    side = round(region * target)
    window = boxes.scale_about_centre(box, region)
    image = crop(frame, window, (side, side), method="imresample", max_shrink=frame.pixels.shape[0] / target)
    made = cues.of_image(image, {*names[0], *names[1]}, target, geometry.aspect(box))
    scaled = {name: scaling.scale(cue, name) for name, cue in made.items()}
    greys, colours = (jnp.stack([scaled[name] for name in chosen], axis=-1) for chosen in names)
    return jnp.where(colour, colours, greys)


def patches_of(image: Array, windows: Box, box: Box, *, region: float = 5.0, context: float = 1.0) -> Array:
    """Patches [N, SIDE, SIDE, K] of windows [N, 4] of the frame, out of the cues around a box.

    Args:
      image: [R, R, K] of `cues_around` this box.
      windows: [N, 4].
      box: [4].
      region: as of `cues_around`.
      context: as of `cues_around`; as much is shown of each window.
    """
    windows = boxes.scale_about_centre(windows, context)
    around = boxes.scale_about_centre(box, region)
    pixels_per_unit = SIDE / (context * box[2:])
    within = jnp.concatenate(
        [(windows[:, :2] - around[None, :2]) * pixels_per_unit[None], windows[:, 2:] * pixels_per_unit[None]],
        axis=-1,
    )
    whole = Frame(image, jnp.array(image.shape[:2], jnp.int32))
    return jax.vmap(lambda window: crop(whole, window, (SIDE, SIDE)))(within)
