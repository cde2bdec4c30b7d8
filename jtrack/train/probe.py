"""How well a linear classifier tells two classes on given features: what training is compared with."""

import numpy as np


def ridge_accuracy(x: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """The accuracy of a ridge regression to -1 and 1, as strong as leaving one sample out finds best.

    Args:
      x: [n, D] features.
      labels: [n] in {0, 1}.
      test: [m, D] features.
      test_labels: [m] in {0, 1}.

    Returns:
      The share of `test` that is classified rightly, in 0..1.
    """
    targets = 2.0 * labels - 1
    middle, offset = x.mean(axis=0), targets.mean()
    centred = (x - middle).astype(np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values = np.maximum(values, 0)
    projected = vectors.T @ (targets - offset)

    def left_out(strength: float) -> float:
        """The mean square of each sample's error when it is left out, in closed form (Allen's PRESS)."""
        inverse = 1 / (values + strength)
        diagonal = (vectors**2) @ inverse
        return float(np.mean((vectors @ (inverse * projected) / diagonal) ** 2))

    best = min(values.max() * 10.0 ** np.arange(-6, 1), key=left_out)
    weights = centred.T @ (vectors @ (projected / (values + best)))
    return float(np.mean(((test - middle) @ weights + offset > 0) == (test_labels == 1)))
