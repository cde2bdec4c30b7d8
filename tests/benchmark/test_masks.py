"""Overlap of masks by counting, and folders of mask images as users have them."""

import os
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest

from jtrack.benchmark import mask_measures
from jtrack.errors import JtrackError

Image = pytest.importorskip("PIL.Image")


def disc(centre, radius=8, shape=(30, 40)):
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def test_overlap_by_counting():
    first, second = disc((12, 15)), disc((14, 18))
    common = len(set(zip(*np.nonzero(first), strict=True)) & set(zip(*np.nonzero(second), strict=True)))
    assert mask_measures.overlap(first, second) == common / (first.sum() + second.sum() - common)
    values = mask_measures.overlap(np.stack([first, ~first, np.zeros_like(first)]), first)
    np.testing.assert_array_equal(values, [1, 0, 0])


def test_empty_masks_agree():
    nothing = np.zeros((2, 5, 6), bool)
    np.testing.assert_array_equal(mask_measures.overlap(nothing, nothing), [1, 1])
    with pytest.raises(JtrackError, match="masks are 6x5 but the true ones 5x6"):
        mask_measures.overlap(nothing, np.zeros((2, 6, 5), bool))


def test_success():
    """Strictly above, as for boxes; the area is the mean of 21 values."""
    overlaps = np.array([0.5, 0.7, 0.2, 0.9])
    assert mask_measures.success_rate(overlaps) == 0.5
    assert mask_measures.success_rate(overlaps, 0.8) == 0.25
    area, curve = mask_measures.score(overlaps)
    expected = [np.mean(overlaps > threshold) for threshold in np.linspace(0, 1, 21).round(2)]
    np.testing.assert_array_equal(curve, expected)
    assert area == pytest.approx(np.mean(expected))


def write(folder, name, mask, kind="grey"):
    """One mask as the kind of image that the world's tools save it as."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    if kind == "grey":
        cv2.imwrite(str(path), mask.astype(np.uint8) * 255)
    elif kind == "ones":
        cv2.imwrite(str(path), mask.astype(np.uint8))
    elif kind == "colours":
        cv2.imwrite(str(path), np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2))
    elif kind == "bits":
        Image.fromarray(mask).convert("1").save(path)
    elif kind == "alpha":
        grey = mask.astype(np.uint8) * 255
        Image.fromarray(np.stack([grey, np.full_like(grey, 255)], axis=-1), "LA").save(path)
    elif kind == "palette":
        image = Image.fromarray(mask.astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 0, 0])  # 3 looks like 1
        image.save(path)
    return path


@pytest.mark.parametrize("kind", ["grey", "ones", "colours", "bits", "alpha", "palette"])
@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_images_of_masks(tmp_path, kind, suffix):
    if (kind, suffix) == ("alpha", ".bmp"):
        pytest.skip("there is no such image")
    mask = disc((12, 15))
    path = write(tmp_path, "mask" + suffix, mask, kind)
    np.testing.assert_array_equal(mask_measures.read(path), mask)


def test_a_label_of_a_palette(tmp_path):
    """Indices are what is stored, whatever colours they have; without a label they are listed."""
    labels = np.zeros((30, 40), np.uint8)
    labels[5:10, 5:10], labels[20:25, 5:10], labels[5:10, 30:35] = 1, 2, 3
    path = write(tmp_path, "labels.png", labels, "palette")
    for label in range(4):
        np.testing.assert_array_equal(mask_measures.read(path, label=label), labels == label)
    with pytest.raises(JtrackError, match=r"labels.png has the labels 1, 2, 3: say which"):
        mask_measures.read(path)


@pytest.fixture
def folders(tmp_path):
    """Twelve frames, numbered without padding, of a disc that moves off its true place."""
    expected = []
    for frame in range(12):
        first, second = disc((12, 10 + frame)), disc((12, 12))
        write(tmp_path / "masks", f"{frame}.png", first)
        write(tmp_path / "truth", f"{frame}.bmp", second)
        expected.append(np.sum(first & second) / np.sum(first | second))
    return tmp_path / "masks", tmp_path / "truth", np.array(expected)


def test_folders_in_natural_order(folders):
    first, second, expected = folders
    (first / ".hidden.png").write_bytes(b"")
    (first / "notes.txt").write_text("of the tracker")
    assert [path.stem for path in mask_measures.files(first)] == [str(frame) for frame in range(12)]
    np.testing.assert_array_equal(mask_measures.folder_agreement(first, second).masks, expected)


def test_boxes_around_masks(folders):
    """Squares of 17 px that move apart one pixel a frame, in a frame that cuts them nowhere."""
    first, second, _ = folders
    away = np.abs(np.arange(12) - 2)
    expected = (17 - away) / (17 + away)
    np.testing.assert_allclose(mask_measures.folder_agreement(first, second).boxes, expected)
    np.testing.assert_array_equal(mask_measures.box_around(disc((12, 15))), [7, 4, 17, 17])
    np.testing.assert_array_equal(mask_measures.box_around(np.zeros((3, 4), bool)), [0, 0, 0, 0])
    for folder, suffix in ((first, "png"), (second, "bmp")):  # nothing there, and nothing found
        write(folder, f"0.{suffix}", np.zeros((30, 40), bool))
    agreement = mask_measures.folder_agreement(first, second)
    assert agreement.masks[0] == agreement.boxes[0] == 1


def test_some_frames_are_annotated(folders):
    """Then they belong together by name."""
    first, second, expected = folders
    for frame in (0, 1, 4, 11):
        (second / f"{frame}.bmp").unlink()
    kept = [frame for frame in range(12) if frame not in (0, 1, 4, 11)]
    np.testing.assert_array_equal(mask_measures.folder_agreement(first, second).masks, expected[kept])


def test_other_names_belong_together_by_order(folders):
    first, second, expected = folders
    for path in mask_measures.files(second):
        path.rename(path.with_stem(f"truth{int(path.stem) + 1:04}"))
    np.testing.assert_array_equal(mask_measures.folder_agreement(first, second).masks, expected)
    (first / "3.png").unlink()
    with pytest.raises(JtrackError, match=r"has 11 masks but .* 12, and none is called truth0001"):
        mask_measures.folder_agreement(first, second)


def test_masks_of_another_size(folders):
    first, second, _ = folders
    write(first, "7.png", disc((5, 5), shape=(20, 40)))
    with pytest.raises(JtrackError, match=r"7.png is 40x20 but .*7.bmp 40x30"):
        mask_measures.folder_agreement(first, second)


def test_files_that_are_no_masks(tmp_path):
    with pytest.raises(JtrackError, match="there is no folder"):
        mask_measures.files(tmp_path / "none")
    with pytest.raises(JtrackError, match="there are no masks in"):
        mask_measures.files(tmp_path)
    path = write(tmp_path, "mask.png", disc((12, 15)))
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(JtrackError, match=r"cut.png is truncated"):
        mask_measures.read(tmp_path / "cut.png")
    (tmp_path / "text.bmp").write_text("no image")
    with pytest.raises(JtrackError, match=r"text.bmp is not a readable mask"):
        mask_measures.read(tmp_path / "text.bmp")
    cv2.imwrite(str(tmp_path / "frame.png"), np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8))
    with pytest.raises(JtrackError, match=r"frame.png is in colours"):
        mask_measures.read(tmp_path / "frame.png")
    with pytest.raises(JtrackError, match=r"cannot read .*none.png: No such file"):
        mask_measures.read(tmp_path / "none.png")


def test_without_the_extra_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(JtrackError, match=r"^reading mask .*a\.png needs pillow, .* -e '\.\[masks\]'"):
        mask_measures.read(tmp_path / "a.png")


def test_pictures_too_large_are_not_decoded(tmp_path):
    """A header that claims a gigabyte."""
    data = bytearray(write(tmp_path, "mask.png", disc((12, 15))).read_bytes())
    data[16:24] = struct.pack(">II", 40_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(JtrackError, match=r"huge.png is (40000x30000|not a readable mask)"):
        mask_measures.read(tmp_path / "huge.png")


def test_boxes_as_masks():
    boxes = np.array([(1.0, 2.0, 3.0, 2.0), (-2.0, -1.0, 4.0, 3.4), (20.0, 0.0, 5.0, 5.0)])
    made = mask_measures.filled(boxes, (6, 8))
    expected = np.zeros((3, 6, 8), bool)
    expected[0, 2:4, 1:4] = True
    expected[1, :2, :2] = True
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(mask_measures.filled(boxes[0], (6, 8)), expected[0])
    # A target that fills half of its box: its mask scores 1, its box 0.5.
    truth = expected[0] & (np.arange(6)[:, None] == 2)
    assert mask_measures.overlap(truth, truth) == 1 and mask_measures.overlap(made[0], truth) == 0.5


def test_masks_that_are_no_files_or_too_large_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(JtrackError, match=r"pipe\.png: it is a pipe, not a file"):
        mask_measures.read(tmp_path / "pipe.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(JtrackError, match=r"sparse\.png has 1099511627776 bytes: at most 268435456 are read"):
        mask_measures.read(tmp_path / "sparse.png")
    (tmp_path / "wide.pgm").write_bytes(b"P5 65536 1025 255\n" + bytes(64))
    with pytest.raises(JtrackError, match=r"wide\.pgm is 65536x1025: it is not an image of a video"):
        mask_measures.read(tmp_path / "wide.pgm")


def test_two_masks_of_a_frame_are_refused(tmp_path):
    """One of them was taken without a word."""
    for name in ("1.png", "1.bmp"):
        write(tmp_path, name, disc((12, 15)))
    with pytest.raises(JtrackError, match="has several masks called 1: keep one of them"):
        mask_measures.files(tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "I", "P"])
def test_masks_of_all_depths(tmp_path, mode):
    image = pytest.importorskip("PIL.Image")
    mask = disc((12, 15))
    dtype = {"I;16": np.uint16, "I": np.int32}.get(mode, np.uint8)
    pixels = image.fromarray(mask.astype(dtype) * (1 if mode == "P" else 255))
    path = tmp_path / "a.tif"
    (pixels.convert(mode) if mode == "1" else pixels).save(path)
    np.testing.assert_array_equal(mask_measures.read(path), mask)
    label = 1 if mode == "1" else 255 if mode != "P" else 1
    np.testing.assert_array_equal(mask_measures.read(path, label=label), mask)
    assert not mask_measures.read(path, label=-1).any()
    assert not mask_measures.read(path, label=70_000).any()
