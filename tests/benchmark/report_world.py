"""A small benchmark on disk, and trackers scored on it, for the tests of the report."""

import cv2
import numpy as np

from jtrack.benchmark import scoring
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory
from jtrack.data import open_dataset, otb, synthetic

FRAMES = {"Deer": 24, "Coke": 20, "Fish": 16}  # names of OTB, so that they have attributes
HOSTILE = '<img src=x onerror="alert(1)"> & $x_1$ </script>'


def build(root, *, images=True):
    """Writes the sequences in OTB's layout."""
    for number, (name, frames) in enumerate(FRAMES.items()):
        clip = synthetic.clip(frames=frames, size=(96, 128), seed=number)
        (root / name / "img").mkdir(parents=True)
        otb.write_boxes(root / name / "groundtruth_rect.txt", clip.boxes)
        for index, image in enumerate(clip.frames if images else (), start=1):
            cv2.imwrite(str(root / name / "img" / f"{index:04d}.jpg"), image[:, :, ::-1])
    return open_dataset("otb", root)


def run(tracker, drift, truth, *, protocol="ope", trials=1, seconds=None, profile=None, label=None):
    """Results that leave the target by `drift` pixels a frame."""

    def trial(boxes):
        steps = np.arange(len(boxes))[:, None] * [drift, 0.0, 0, 0]
        status = np.full(len(boxes), TRACKED, np.uint8)
        status[0] = INITIALISED
        timed = None if seconds is None else np.full(len(boxes), seconds)
        return Trajectory(boxes + steps, status, seconds=timed)

    found = {name: [trial(annotation.boxes) for _ in range(trials)] for name, annotation in truth.items()}
    return Results(tracker, protocol, found, profile=profile, label=label or {})


def failing(tracker, truth, at):
    """Results of a supervised run that failed once a sequence, at frame `at`."""
    found = {}
    for name, annotation in truth.items():
        boxes, status = (
            np.add(annotation.boxes, [2.0, 0, 0, 0]),
            np.full(len(annotation.boxes), TRACKED, np.uint8),
        )
        status[[0, at + 5]], status[at], status[at + 1 : at + 5] = INITIALISED, FAILED, SKIPPED
        boxes[at : at + 5] = np.nan
        found[name] = [Trajectory(boxes, status)]
    return Results(tracker, "baseline", found)


def scored(dataset):
    """Three trackers under OPE, two of them under SRE and as a supervised run."""
    truth = scoring.annotations(dataset)
    label = {"backbone": "vgg19", "digest": "0123456789abcdef", "versions": {"jax": "0.12"}}
    runs = [
        run("steady", 0.5, truth, seconds=0.02, label=label),
        run(HOSTILE, 1.0, truth, seconds=0.01, label={"files": [HOSTILE]}),
        run("_lost", 4.0, truth),
        run("steady", 0.6, truth, protocol="sre", trials=12, label=label),
        run(HOSTILE, 0.4, truth, protocol="sre", trials=12),
        failing("steady", truth, 6),
        failing(HOSTILE, truth, 8),
    ]
    return [scoring.score(each, truth, resamples=50) for each in runs]
