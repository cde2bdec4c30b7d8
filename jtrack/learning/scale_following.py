"""The size of a target, followed by a filter over scales of its gradient histograms.

Once a tracker has found the place, a filter over scales (Danelljan et al., DSST, BMVC 2014) says how much
larger or smaller the target there is. FCNT's paper draws candidates of several sizes instead, whose scores
are nearly the same, and CNN-SVM's keeps the size.
"""

import jax
import jax.numpy as jnp

from jtrack.learning import scale_filter
from jtrack.learning.correlation_filter import blend
from jtrack.learning.scale_filter import ScaleFilter
from jtrack.types import Array, Box, Frame
from jtrack.vision import boxes
from jtrack.vision.colour import grey
from jtrack.vision.hog import fhog
from jtrack.vision.pyramid import pyramid
from jtrack.vision.windows import hann

FACTORS = scale_filter.scale_factors(33, 1.02)
PATCH = (24, 24)  # pixels that a scale is judged on
CONTEXT = 1.3  # sides of what they show, over the target's


def features(frame: Frame, box: Box) -> Array:
    """Gradient histograms [S, F] of the box and a little around it in all scales, windowed over them."""
    factors = jnp.asarray(FACTORS)
    patches = pyramid(frame, boxes.centre(box), box[2:] * CONTEXT, factors, PATCH)
    histograms = fhog(grey(patches)[..., None]).reshape(len(FACTORS), -1)
    return histograms * jnp.asarray(hann(len(FACTORS)))[:, None]


def learn(frame: Frame, box: Box) -> ScaleFilter:
    """A filter learnt of one frame alone."""
    return scale_filter.train(features(frame, box), jnp.asarray(scale_filter.scale_label(len(FACTORS))))


def follow(
    model: ScaleFilter,
    frame: Frame,
    box: Box,
    trusted: Array,
    *,
    regularisation: Array | float,
    rate: Array | float,
    damping: Array | float = 1.0,
) -> tuple[Box, ScaleFilter]:
    """The size of a target whose place is found.

    Args:
      model: the filter.
      frame: the frame.
      box: [4] the last size at the new place.
      trusted: () bool: where it is false, size and filter stay what they are.
      regularisation: () of the filter.
      rate: () at which the filter learns this frame.
      damping: () how much of the change it finds is made, in the logarithm.

    Returns:
      The box [4] about the same centre, neither vanishing nor larger than the frame, and the filter.
    """
    response = scale_filter.respond(model, features(frame, box), regularisation)
    smallest = jnp.max(2 / box[2:])
    largest = jnp.min(frame.size[::-1].astype(jnp.float32) / box[2:])
    # A size that is beyond the limits already stays.
    factor = jnp.clip(
        jnp.asarray(FACTORS)[jnp.argmax(response)] ** damping,
        jnp.minimum(smallest, 1),
        jnp.maximum(largest, 1),
    )
    size = jnp.where(trusted, box[2:] * factor, box[2:])
    box = boxes.from_centre(boxes.centre(box), size)
    learnt = blend(model, learn(frame, box), rate)
    return box, jax.tree.map(lambda old, new: jnp.where(trusted, new, old), model, learnt)
