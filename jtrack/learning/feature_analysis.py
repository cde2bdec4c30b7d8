"""Looking at what a network's layers see."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jtrack.types import Array


def principal_components(maps: Array, *, count: int = 3) -> Array:
    """Projects the channels of feature maps on their leading principal components.

    This is how HCFT's Figures 2 and 4 turn hundreds of channels into a colour picture: positions are the
    samples, channels the variables.

    Args:
      maps: [H, W, C] float32 with C >= count.
      count: components kept; 3 make a colour picture.

    Returns:
      [H, W, count] float32, each component scaled to 0..1 on its own (0 where it is constant) and signed so
      that its largest loading is positive.
    """
    height, width, channels = maps.shape
    samples = maps.reshape(-1, channels)
    centred = samples - samples.mean(0, keepdims=True)
    # The covariance is at most C x C, whatever the size of the picture.
    _, vectors = jnp.linalg.eigh(centred.T @ centred)
    leading = vectors[:, ::-1][:, :count]
    largest = jnp.take_along_axis(leading, jnp.abs(leading).argmax(0)[None], axis=0)
    projected = centred @ (leading * jnp.sign(largest))
    low, high = projected.min(0, keepdims=True), projected.max(0, keepdims=True)
    scaled = (projected - low) / jnp.where(high > low, high - low, 1.0)
    return scaled.reshape(height, width, count)


def sparse_coefficients(features: Array, mask: Array, penalty: Array | float, *, steps: int = 500) -> Array:
    """The few feature maps whose weighted sum is a target's mask, all weights positive.

    Minimises ||mask - features c||^2 + penalty ||c||_1 over c >= 0, the non-negative lasso of equation 1 of
    FCNT (Wang et al., ICCV 2015), by accelerated proximal gradient descent (FISTA, Beck and Teboulle 2009).

    Args:
      features: [P, C] float32: feature maps at P positions, of one image or of several below each other.
      mask: [P] float32: 1 on the object, 0 elsewhere.
      penalty: lambda, at least 0; the paper does not give it. At 2 max(features^T mask) and above no map is
        left.
      steps: of the descent.

    Returns:
      [C] float32, at least 0.
    """
    gram, goal = features.T @ features, features.T @ mask
    # The largest eigenvalue is at most the largest row sum.
    rate = 1 / jnp.maximum(2 * jnp.abs(gram).sum(axis=1).max(), 1e-20)

    def descend(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        last, ahead, time = carry
        slope = 2 * (gram @ ahead - goal) + penalty
        now = jnp.maximum(ahead - rate * slope, 0)
        later = (1 + jnp.sqrt(1 + 4 * time**2)) / 2
        return (now, now + (time - 1) / later * (now - last), later), None

    nothing = jnp.zeros_like(goal)
    (found, _, _), _ = lax.scan(descend, (nothing, nothing, jnp.array(1.0)), length=steps)
    return found


def reconstruction_errors(features: Array, mask: Array, coefficients: Array) -> Array:
    """How badly each of K sparse codes reconstructs an object's mask: ||mask - features c_k||^2.

    The least of them tells, by a threshold, whether an image shows the kind of object that the codes were
    made of (equation 2), and its index which one (equation 3).

    Args:
      features: [P, C].
      mask: [P].
      coefficients: [K, C], each of `sparse_coefficients`.

    Returns:
      [K].
    """
    return jnp.sum((mask[:, None] - features @ coefficients.T) ** 2, axis=0)


def activations(maps: Array, mask: Array) -> Array:
    """The activation of each feature map: the sum of its responses on the object.

    Their histogram is Figure 3 of FCNT: most maps have nothing to do with a given object.

    Args:
      maps: [h, w, C].
      mask: [h, w], 1 on the object.

    Returns:
      [C].
    """
    return jnp.einsum("hwc,hw->c", maps, mask)


def map_saliency(describe: Callable[[Array], Array], image: Array, channel: Array | int) -> Array:
    """Where a change of the image would raise a feature map the most (FCNT, Figure 2).

    Args:
      describe: from an image [H, W, 3] to feature maps [h, w, C].
      image: [H, W, 3] float32, 0..255.
      channel: which map, traced or not.

    Returns:
      [H, W] float32, at least 0: the largest derivative of the map's sum by the three colours of a pixel
      (Simonyan, Vedaldi and Zisserman 2014, section 3.1).
    """
    slope = jax.grad(lambda image: jnp.take(describe(image), channel, axis=-1).sum())(image)
    return jnp.abs(slope).max(axis=-1)
