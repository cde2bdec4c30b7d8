"""Where rates, cost or strengths meet a network's activations, their magnitude must not matter.

torchvision's networks have a tenth of the magnitude of Caffe's. FCNT scales features by their spectral norm
in the first frame, CNN-SVM by their mean norm there, GDT each box by its root mean square.
"""

import numpy as np
import pytest

import jtrack
from jtrack import trackers
from jtrack.data import synthetic

FRAMES = 6


def scaled(params, factor):
    """`tiny` whose maps of stride 4, 8 and 16 are so many times as large."""

    def times(layer, kernel, bias):
        return {"kernel": layer["kernel"] * kernel, "bias": layer["bias"] * bias}

    last = {"conv3_4": 1, "conv4_4": factor, "conv5_4": factor}
    return {
        name: times(layer, factor / last[name], factor) if name in last else layer
        for name, layer in params.items()
    }


def followed(tracker, profile, changes, factor):
    bound = trackers.create(tracker, profile=profile, backbone="tiny", changes=changes)
    clip = synthetic.clip(frames=FRAMES)
    params = bound.params | {"backbone": scaled(bound.params["backbone"], factor)}
    track = jtrack.track(clip.frames, clip.boxes[0], tracker=bound._replace(params=params))
    return track.boxes, track.scores


FCNT = {"input_size": 96, "hidden": 4, "selection_iterations": 5}
SVM = {"candidates": 40, "first_samples": 24, "samples": 24, "budget": 48}
CASES = [
    ("fcnt", "default", FCNT),
    pytest.param("fcnt", "release2016", FCNT, marks=pytest.mark.slow),
    pytest.param("cnn_svm", "default", SVM, marks=pytest.mark.slow),
    pytest.param("cnn_svm", "svm_only", SVM, marks=pytest.mark.slow),
    ("gdt", "default", {"hidden": 32, "units": 24, "candidates": 60, "first_iterations": 40, "batch": 32}),
]


@pytest.mark.parametrize("factor", [0.125, pytest.param(16.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "tracker, profile, changes", CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_network_of_other_magnitude_gives_the_same_boxes(tracker, profile, changes, factor):
    boxes, scores = followed(tracker, profile, changes, 1.0)
    others, other_scores = followed(tracker, profile, changes, factor)
    assert np.ptp(boxes[:, 0]) > 1
    np.testing.assert_allclose(others, boxes, atol=0.05)
    np.testing.assert_allclose(other_scores, scores, atol=0.02)
