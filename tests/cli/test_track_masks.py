"""`jtrack track --masks`: the targets' pixels, as images and in the video."""

import cv2
import numpy as np
import pytest
from cli_tools import read_video

from jtrack.benchmark import mask_measures as scoring
from jtrack.data import synthetic

SVM = ("--tracker", "cnn_svm", "--backbone", "hog", "--end", "4")
CLIP = {"frames": 120, "size": (96, 128)}


@pytest.fixture
def walk(tmp_path):
    """The first frames of a slow walk as a folder, and its first box."""
    clip = synthetic.clip(**CLIP)
    folder = tmp_path / "slow"
    folder.mkdir()
    for index, image in zip(range(4), clip.frames, strict=False):
        cv2.imwrite(str(folder / f"{index:04d}.png"), image[:, :, ::-1])
    return folder, ",".join(f"{value:.1f}" for value in clip.boxes[0])


@pytest.mark.slow
def test_masks_are_written_as_images_and_drawn_into_the_video(jtrack, walk, tmp_path):
    folder, box = walk
    masks, video = tmp_path / "masks", tmp_path / "v.mp4"
    said = jtrack("track", folder, "--init", box, *SVM, "--masks", masks, "--video", video)
    assert str(masks) in said.stdout
    assert sorted(path.name for path in masks.iterdir()) == [f"{t:06d}.png" for t in (1, 2, 3)]
    truth = np.stack(list(synthetic.masks(**CLIP))[:4])
    overlaps = []
    for t in (1, 2, 3):
        stored = cv2.imread(str(masks / f"{t:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert stored.shape == (96, 128) and set(np.unique(stored)) == {0, 1}
        overlaps.append(scoring.overlap(scoring.read(masks / f"{t:06d}.png"), truth[t]))
    assert np.mean(overlaps) > 0.5, overlaps
    # The video's frames, which are enlarged, are tinted where the target is, and hardly elsewhere.
    for t, shown in zip((1, 2, 3), read_video(video)[1:], strict=True):
        image = cv2.imread(str(folder / f"{t:04d}.png"))[:, :, ::-1]
        small = cv2.resize(shown, (128, 96), interpolation=cv2.INTER_AREA)
        apart = np.abs(small.astype(int) - image).mean(axis=-1)
        far = cv2.dilate(truth[t].astype(np.uint8), np.ones((25, 25))) == 0
        assert np.median(apart[truth[t]]) > 2 * np.median(apart[far]) + 5


@pytest.mark.slow
def test_every_target_has_its_number_and_files_are_not_replaced_unasked(jtrack, walk, tmp_path):
    folder, box = walk
    masks = tmp_path / "masks"
    two = ("track", folder, "--init", box, "--init", "5,5,20,20", *SVM, "--masks", masks)
    jtrack(*two)
    stored = cv2.imread(str(masks / "000003.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(stored)) == {0, 1, 2}
    rows, columns = np.nonzero(stored == 2)
    assert rows.max() < 40 and columns.max() < 40
    jtrack(*two, code=2)
    said = jtrack(
        "track", folder, "--init", box, *SVM, "--profile", "svm_only", "--masks", tmp_path / "m", code=2
    )
    assert "svm_only makes no saliency map" in said.stderr
