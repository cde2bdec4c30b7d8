"""The synthetic clip: its ground truth against its pixels."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from jtrack.benchmark import metrics
from jtrack.data import synthetic
from jtrack.errors import JtrackError


@pytest.fixture(scope="module")
def clip():
    sequence = synthetic.clip()
    return sequence, np.stack(list(sequence.frames))


def without_ladybird(**arguments):
    """The same clip with the ladybird taken away (its sprite made transparent)."""
    with pytest.MonkeyPatch.context() as patch:
        body = synthetic._body
        patch.setattr(synthetic, "_body", lambda detail: body(detail) * np.array([1, 1, 1, 0], np.float32))
        return np.stack(list(synthetic.clip(**arguments).frames))


def silhouettes(**arguments):
    """How much of each pixel the ladybird covers, [T, H, W] in 0..1: it is painted white, then black."""

    def painted(value):
        with pytest.MonkeyPatch.context() as patch:
            body, leaf = synthetic._body, synthetic._leaf
            white = np.array([0, 0, 0, 1], np.float32), np.array([value, value, value, 0], np.float32)
            patch.setattr(synthetic, "_body", lambda detail: body(detail) * white[0] + white[1])
            patch.setattr(synthetic, "_leaf", lambda detail, rng: leaf(detail, rng) * np.float32(0))
            patch.setattr(synthetic, "_light", lambda cloud, x: np.ones_like(x))
            return np.stack([frame[:, :, 0] for frame in synthetic.clip(**arguments).frames]).astype(float)

    return (painted(255) - painted(0)) / 255


@pytest.mark.parametrize("arguments", [{}, {"seed": 5}, {"size": (360, 640), "frames": 30}])
def test_boxes_are_those_of_the_pixels(arguments):
    """The moments of an ellipse give its box: its centre, and 4 standard deviations across.

    The soft outline, up to 3 px wide, adds its own variance (below 0.75 px^2), which is 0.11 px across at the
    smallest half width of 14 px.
    """
    boxes = synthetic.clip(**arguments).boxes
    for cover, box in zip(silhouettes(**arguments), boxes, strict=True):
        rows, columns = (np.arange(n) + 0.5 for n in cover.shape)
        x = np.average(columns, weights=cover.sum(axis=0))
        y = np.average(rows, weights=cover.sum(axis=1))
        w = 4 * np.sqrt(np.average((columns - x) ** 2, weights=cover.sum(axis=0)))
        h = 4 * np.sqrt(np.average((rows - y) ** 2, weights=cover.sum(axis=1)))
        np.testing.assert_allclose(box, [x - w / 2, y - h / 2, w, h], atol=0.12)


def test_shape_and_story(clip):
    sequence, frames = clip
    assert frames.shape == (120, 240, 320, 3)
    assert frames.dtype == np.uint8
    assert (sequence.frames.size, sequence.frames.length, sequence.boxes.shape) == ((240, 320), 120, (120, 4))
    assert set(sequence.events) == {"occlusion", "illumination", "scale", "rotation"}
    for marks in sequence.events.values():
        assert 8 < marks.sum() < 100
        assert not marks[0]
    x, y, w, h = sequence.boxes.T
    assert min(x.min(), y.min()) > 0 and (x + w).max() < 320 and (y + h).max() < 240
    centre = np.stack([x + w / 2, y + h / 2], axis=1)
    assert np.hypot(*np.diff(centre, axis=0).T).max() < 8
    assert (w * h).max() / (w * h).min() > 2


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_keeps_the_target_inside(seed):
    for size in ((240, 320), (240, 240), (480, 270)):
        x, y, w, h = synthetic.clip(seed=seed, size=size, frames=30).boxes.T
        assert min(x.min(), y.min()) > 0
        assert (x + w).max() < size[1] and (y + h).max() < size[0]


def test_illumination_is_marked_where_it_is_dark(clip):
    """The ground around the target is darker in the marked frames than in the others."""
    sequence, frames = clip
    brightness = []
    for frame, (x, y, w, h) in zip(frames, sequence.boxes, strict=True):
        brightness.append(frame[int(y) : int(y + h), int(x) : int(x + w)].mean())
    brightness = np.array(brightness)
    marks = sequence.events["illumination"]
    assert brightness[marks].mean() < 0.7 * brightness[~marks].mean()


def test_occlusion_is_marked_where_the_leaf_is(clip):
    """Taking the ladybird away changes fewer pixels of its box where it is covered."""
    sequence, frames = clip
    bare = without_ladybird().astype(int)
    visible = []
    for frame, empty, (x, y, w, h) in zip(frames, bare, sequence.boxes, strict=True):
        part = np.s_[int(y) : int(y + h), int(x) : int(x + w)]
        visible.append((np.abs(frame[part] - empty[part]).max(axis=2) > 12).mean())
    visible = np.array(visible)
    marks = sequence.events["occlusion"]
    bright = ~sequence.events["illumination"]
    assert visible[marks].max() < np.quantile(visible[~marks & bright], 0.1)
    assert 0.2 < visible[marks].min() < 0.5  # partial: never gone


def test_standing_still_is_not_enough(clip):
    sequence, _ = clip
    still = np.repeat(sequence.boxes[:1], 120, axis=0)
    assert metrics.score(still, sequence.boxes).auc < 0.3


def test_same_pixels_in_another_process(clip):
    _, frames = clip
    code = (
        "import hashlib; from jtrack.data import synthetic;"
        "h = hashlib.sha256(); [h.update(f.tobytes()) for f in synthetic.clip().frames]; print(h.hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(frames.tobytes()).hexdigest()


def test_seeds_differ(clip):
    _, frames = clip
    other = next(iter(synthetic.clip(seed=1).frames))
    assert np.abs(other.astype(int) - frames[0]).mean() > 5


@pytest.mark.parametrize("arguments", [{"frames": 1}, {"size": (40, 320)}])
def test_refusals(arguments):
    with pytest.raises(JtrackError, match="is too small"):
        synthetic.clip(**arguments)


def test_masks_are_the_ladybird_where_it_is_seen():
    arguments = {"frames": 40, "size": (120, 160), "seed": 1}
    sequence, masks = synthetic.clip(**arguments), synthetic.masks(**arguments)
    assert masks.shape == (40, 120, 160) and masks.dtype == np.bool_
    covered = sequence.events["occlusion"]
    for mask, box, hidden in zip(masks, sequence.boxes, covered, strict=True):
        rows, columns = np.nonzero(mask)
        found = np.array([columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1])
        if not hidden:
            # An ellipse; up to 15 % of it may be covered.
            assert np.abs(found[:2] - box[:2]).max() < 8
            assert mask.sum() <= np.pi / 4 * box[2] * box[3] * 1.1
        assert (found[:2] > box[:2] - 1.5).all() and (found[:2] + found[2:] < box[:2] + box[2:] + 1.5).all()
    areas = masks.sum((1, 2)) / sequence.boxes[:, 2:].prod(axis=1)
    assert areas[covered].min() < 0.8 * np.median(areas[~covered])
