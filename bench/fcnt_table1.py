"""What two layers know of faces: a small version of Table 1 of FCNT (Wang et al., ICCV 2015).

    JTRACK_WEIGHTS=... python bench/fcnt_table1.py path/to/otb --backbone googlenet

Faces are those of David and Girl, everything else the other sequences of the folder; frames are drawn evenly.
Experiment 1, face or not: sparse codes of three faces of each identity. The reconstruction error of a mask,
over the mask's area, tells by a threshold, for which the paper gives none: here the best for these images,
and beside it the area under the curve. Experiment 2, whose face: a code from 20 frames each.
"""

import argparse
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jtrack import backbones
from jtrack.data import otb
from jtrack.learning import feature_analysis
from jtrack.run.inputs import canvas_of, to_frame
from jtrack.trackers import fcnt
from jtrack.vision import heat_map
from jtrack.vision.crop import crop
from jtrack.vision.grid import to_cells
from jtrack.vision.resize import resize
from jtrack.weights import store

FACES = ("David", "Girl")


def main() -> None:
    """Prints both accuracies of both layers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("otb", type=Path)
    parser.add_argument("--backbone", default="googlenet")
    parser.add_argument("--images", type=int, default=40, help="of each sequence")
    parser.add_argument("--penalty", type=float, default=0.05, help="over the one that leaves no map")
    options = parser.parse_args()
    taps = fcnt.layers_of(backbones.get(options.backbone))
    described = {
        name: describe(options.otb / name, options.backbone, taps, options.images)
        for name in otb.sequences(options.otb)
    }
    for which, tap in enumerate(taps):
        seen = {name: (maps[which], masks) for name, (maps, masks) in described.items()}
        accuracy, area = face_or_not(seen, options.penalty)
        whose = which_face(seen, options.penalty)
        print(f"{tap}: face or not {accuracy:.1%} (area under curve {area:.3f}), which face {whose:.1%}")


def describe(folder: Path, backbone: str, taps: tuple[str, ...], count: int) -> tuple[list, jax.Array]:
    """Feature maps of a sequence's target, [n, P, C] for each tap, and its masks [n, P]."""
    net, params, size, grid = backbones.get(backbone), store.load(backbone), (224, 224), (28, 28)
    sequence = otb.load(folder)
    chosen = np.linspace(0, len(sequence.boxes) - 1, min(count, len(sequence.boxes))).astype(int)

    @jax.jit
    def look(frame, box):
        side = 2 * jnp.sqrt(jnp.sum(box[2:] ** 2))
        region = jnp.concatenate([box[:2] + box[2:] / 2 - side / 2, jnp.full(2, side)])
        image = crop(frame, region, size, method="bicubic", border="zero")
        maps = net.apply(params, image[None], taps)
        cells = to_cells(box, region, grid)
        rows = heat_map.coverage(cells[1:2], cells[3:4], grid[0])[0]
        columns = heat_map.coverage(cells[0:1], cells[2:3], grid[1])[0]
        flat = [resize(maps[tap][0], grid, method="bicubic").reshape(grid[0] * grid[1], -1) for tap in taps]
        return flat, (rows[:, None] * columns[None, :]).ravel()

    found = []
    for index, image in enumerate(islice(sequence.frames, int(chosen[-1]) + 1)):
        box = sequence.boxes[index]
        if index in chosen and np.isfinite(box).all() and (box[2:] > 0).all():
            frame = to_frame(image, canvas_of(image.shape[:2]))
            found.append(jax.device_get(look(frame, jnp.asarray(box, jnp.float32))))
    return [np.stack([maps[i] for maps, _ in found]) for i in range(len(taps))], np.stack(
        [m for _, m in found]
    )


@jax.jit
def code(maps, masks, penalty):
    """The sparse code of some images [n, P, C] together, with a share of the penalty that leaves no map."""
    features, mask = maps.reshape(-1, maps.shape[-1]), masks.reshape(-1)
    scale = jnp.sqrt(jnp.mean(features**2))
    features = features / scale
    highest = 2 * jnp.max(features.T @ mask)
    return feature_analysis.sparse_coefficients(features, mask, penalty * highest, steps=300) / scale


def errors(maps, masks, codes):
    """Reconstruction errors [n, K] over the masks' areas."""
    found = jax.jit(jax.vmap(feature_analysis.reconstruction_errors, (0, 0, None)))(maps, masks, codes)
    return np.asarray(found) / masks.sum(axis=1, keepdims=True)


def face_or_not(seen, penalty):
    """Best accuracy, both kinds counting alike, and area under the curve."""
    first = 3
    codes = jnp.stack(
        [code(seen[n][0][i : i + 1], seen[n][1][i : i + 1], penalty) for n in FACES for i in range(first)]
    )
    faces = np.concatenate([errors(seen[n][0][first:], seen[n][1][first:], codes).min(1) for n in FACES])
    others = np.concatenate([errors(*seen[n], codes).min(1) for n in seen if n not in FACES])
    every = np.concatenate([faces, others])
    accuracy = max(((faces <= t).mean() + (others > t).mean()) / 2 for t in every)
    return accuracy, (faces[:, None] < others[None]).mean()


def which_face(seen, penalty):
    """The share of faces not learnt from that are given to the right one."""
    half = min(20, *(len(seen[n][0]) // 2 for n in FACES))
    codes = jnp.stack([code(seen[n][0][::2][:half], seen[n][1][::2][:half], penalty) for n in FACES])
    right = [errors(seen[n][0][1::2], seen[n][1][1::2], codes).argmin(1) == k for k, n in enumerate(FACES)]
    return np.concatenate(right).mean()


if __name__ == "__main__":
    main()
