"""How long one frame's samples take to learn: 60 additions to a model that holds 200 of 4096 values.

    python bench/incremental_svm.py [--held 200] [--added 60] [--size 4096] [--rounds 9]

Three kinds of data: `scattered`, independent samples, nearly all of which end on the margin; `overlapping`,
classes that no plane separates; and `tracking`, one target in front of many similar pieces of background, as
features of a network are: most are in reserve. Medians over rounds; compilation is not counted.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.learning import incremental_svm


def samples(kind: str, count: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features [count, size] of mean square norm about 1, and labels [count]."""
    labels = np.where(rng.random(count) < 0.4, 1.0, -1.0)
    if kind == "tracking":
        labels = np.where(np.arange(count) % 60 == 0, 1.0, -1.0)
        parts = np.abs(rng.standard_normal((20, size)))
        mixture = rng.dirichlet(np.full(20, 0.3), count) * np.where(labels > 0, 0.0, 1.0)[:, None]
        target = np.abs(rng.standard_normal(size))
        features = mixture @ parts + np.where(labels > 0, 1.0, 0.0)[:, None] * target
        features = np.maximum(features + 0.2 * rng.standard_normal((count, size)), 0)
    else:
        features = rng.standard_normal((count, size))
        if kind == "overlapping":
            features[:, 20:] *= 1e-2
        features[:, 0] += 0.5 * labels
    features /= np.sqrt((features**2).sum(axis=1).mean())
    return features.astype(np.float32), labels.astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--held", type=int, default=200)
    parser.add_argument("--added", type=int, default=60)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    add, shrink = jax.jit(incremental_svm.add), jax.jit(incremental_svm.shrink)
    held, device = options.held, jax.devices()[0].device_kind
    print(f"{options.added} additions to {held} samples of {options.size}, {device}\n")
    print("| data | add, ms | evict, ms | on the margin | KKT residual |")
    print("| --- | --: | --: | --: | --: |")
    for kind in ("scattered", "overlapping", "tracking"):
        features, labels = samples(kind, held + options.added, options.size, np.random.default_rng(0))
        x, y = jnp.asarray(features), jnp.asarray(labels)
        model = add(incremental_svm.empty(held + options.added, options.size), x[:held], y[:held], 10.0)
        grown, learning = timed(add, options.rounds, model, x[held:], y[held:], 10.0)
        _, evicting = timed(shrink, options.rounds, grown, held)
        margin = int((grown.role == incremental_svm.MARGIN).sum())
        residual = float(incremental_svm.kkt_residual(grown))
        print(f"| {kind} | {learning:.1f} | {evicting:.1f} | {margin} | {residual:.0e} |", flush=True)


def timed(work: Callable[..., Any], rounds: int, *arguments: Any) -> tuple[Any, float]:
    """What `work` returns, and its median time in milliseconds."""
    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        done = jax.block_until_ready(work(*arguments))
        spent.append(1e3 * (time.perf_counter() - began))
    return done, statistics.median(spent[1:])


if __name__ == "__main__":
    main()
