"""Images as frames: refused by their headers, of 16 bits, by numbered patterns, in benchmarks' folders."""

import os
import resource
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest

from jtrack.data import from_arrays, open_source
from jtrack.data.annotated import initial_box
from jtrack.data.folder import image_folder, images_in, open_folder, read_image
from jtrack.data.image_header import declared_size
from jtrack.errors import JtrackError
from jtrack.untrusted import PIXELS

SUFFIXES = [".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm", ".gif"]


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_declared_size_is_that_of_the_image(suffix):
    for height, width in ((17, 300), (301, 5), (1, 1)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        data = cv2.imencode(suffix, image)[1].tobytes()
        assert declared_size(data) == (height, width)
        assert declared_size(data[:5]) is None


def test_the_declared_size_of_rarer_kinds():
    image = np.zeros((17, 300, 3), np.uint8)
    lossy = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 50])[1].tobytes()
    assert lossy[12:16] == b"VP8 " and declared_size(lossy) == (17, 300)
    extended = b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<II", 10, 0) + b"\x2b\1\0\x10\0\0"
    assert declared_size(extended) == (17, 300)
    progressive = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert declared_size(progressive) == (17, 300)
    upside = struct.pack("<2sIHHIIii", b"BM", 0, 0, 0, 54, 40, 300, -17)
    assert declared_size(upside) == (17, 300)
    assert declared_size(struct.pack("<2sIHHIIHH", b"BM", 0, 0, 0, 54, 12, 300, 17)) == (17, 300)
    motorola = b"MM\0*" + struct.pack(">IH", 8, 2)
    motorola += struct.pack(">HHIHH", 256, 3, 1, 300, 0) + struct.pack(">HHII", 257, 4, 1, 17)
    assert declared_size(motorola) == (17, 300)
    big = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2)
    big += struct.pack("<HHQQ", 256, 4, 1, 300) + struct.pack("<HHQQ", 257, 16, 1, 17)
    assert declared_size(big) == (17, 300)
    grey = cv2.imencode(".pgm", image[:, :, 0])[1].tobytes()
    assert declared_size(grey) == (17, 300)
    assert declared_size(b"P6 # made by hand\n300\n17\n255\n") == (17, 300)


def png(width, height):
    """A whole PNG of black, which packs well: 20000 x 20000 are 49 kB."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


HUGE = {
    "a.png": png(20000, 20000),
    "a.bmp": struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 0, 0, 0, 54, 40, 20000, 20000, 1, 24, 0, 0, 0, 0, 0, 0),
    "a.ppm": b"P6 20000 20000 255\n",
    "a.jpg": b"\xff\xd8\xff\xc0\0\x0b\x08\x4e\x20\x4e\x20\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
}


@pytest.mark.parametrize("name", HUGE)
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, name):
    (tmp_path / name).write_bytes(HUGE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = rf"{name} declares 20000x20000 pixels: at most {PIXELS} pixels are read of an image"
    with pytest.raises(JtrackError, match=words):
        open_source(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # KiB: 400 MPixels are more


def test_what_is_no_image_of_a_known_kind_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x76\x2f\x31\x01" + bytes(999))  # OpenEXR
    with pytest.raises(JtrackError, match=r"a\.png is not a readable image \(1003 bytes, no JPEG, PNG"):
        open_source(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_only_files_are_images(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(JtrackError, match=r"a\.png: it is a (pipe|device), not a file"):
        open_source(tmp_path)


def test_a_sparse_image_is_refused_by_its_length(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(JtrackError, match=r"a\.png has 1099511627776 bytes: at most"):
        open_source(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_by_their_range(tmp_path, suffix, channels):
    ramp = np.linspace(0, 4095, 64).astype(np.uint16)
    image = np.repeat(np.tile(ramp, (48, 1))[:, :, None], channels, axis=2)
    save(tmp_path / f"1{suffix}", image)
    save(tmp_path / f"2{suffix}", image)
    with pytest.warns(
        UserWarning, match=r"1\.\w+ has 16 bits but no value above 4095 .*--range 0,4095"
    ) as said:
        dark = list(open_source(tmp_path))
    assert len(said) == 1 and dark[0].max() == 15
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(tmp_path, levels=(0, 4095))
        frames = list(source)
    expected = np.rint(ramp * (255 / 4095))
    for frame in (*frames, source.pick(1)):
        assert frame.dtype == np.uint8 and frame.shape == (48, 64, 3)
        np.testing.assert_array_equal(frame[3, :, 1], expected)
    frame = next(iter(open_source(tmp_path, levels=(1000, 2000))))
    np.testing.assert_array_equal(frame[3, :, 1], np.rint(np.clip((ramp - 1000.0) * 0.255, 0, 255)))
    assert source.encoded is None  # the files are not what was read


def test_sixteen_bits_that_fill_their_range_are_not_warned_of(tmp_path):
    save(tmp_path / "1.png", np.full((48, 64), 1 << 14, np.uint16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(iter(open_source(tmp_path)))[0, 0, 0] == 64


def test_dark_arrays_are_warned_of():
    with pytest.warns(UserWarning, match="the first image of frames has 16 bits but no value above 900"):
        from_arrays(np.full((2, 48, 64), 900, np.uint16))


def test_values_that_are_no_numbers_of_bits_need_a_range(tmp_path):
    image = np.tile(np.linspace(-1, 1, 64, dtype=np.float32), (48, 1))
    save(tmp_path / "1.tif", image)
    with pytest.raises(JtrackError, match=r"1\.tif holds float32 values: say which are black and white"):
        open_source(tmp_path)
    frame = next(iter(open_source(tmp_path, levels=(-1, 1))))
    np.testing.assert_array_equal(frame[0, :, 0], np.rint((image[0] + 1) * 127.5))


@pytest.mark.parametrize("levels", [(5, 5), (9, 1), (0, float("nan")), (float("-inf"), 1)])
def test_a_range_that_is_none(tmp_path, levels):
    save(tmp_path / "1.png", np.zeros((48, 64), np.uint16))
    with pytest.raises(JtrackError, match=r"the range .* is none: give LOW,HIGH with LOW below HIGH"):
        open_source(tmp_path, levels=levels)


def grey(value):
    return np.full((48, 64, 3), value, np.uint8)


def test_a_size_that_decoders_understand_otherwise_is_refused(tmp_path):
    """What is declared twice, and a comment that ends by a carriage return."""
    whole = cv2.imencode(".tiff", np.zeros((48, 64), np.uint8))[1].tobytes()
    first = int.from_bytes(whole[4:8], "little")
    count = int.from_bytes(whole[first : first + 2], "little")
    entries = whole[first + 2 : first + 2 + 12 * count]
    small = [struct.pack("<HHIHH", tag, 3, 1, 10, 0) for tag in (256, 257)]
    directory = struct.pack("<H", count + 2) + entries + b"".join(small) + bytes(4)
    twice = whole[:4] + len(whole).to_bytes(4, "little") + whole[8:] + directory
    (tmp_path / "twice.tiff").write_bytes(twice)
    with pytest.raises(JtrackError, match="is not a readable image"):
        read_image(tmp_path / "twice.tiff")
    comment = b"P5\n#a\r40 40\n#\n10 10\n255\n" + bytes(1700)
    assert declared_size(comment) == (40, 40)


def means(source):
    return [round(float(frame.mean())) for frame in source]


def test_a_pattern_with_the_number(tmp_path):
    for index, value in ((7, 10), (8, 20), (9999, 30), (10000, 40)):
        save(tmp_path / "walk" / f"f{index:04d}.png", grey(value))
    save(tmp_path / "walk" / "f1.png", grey(90))
    save(tmp_path / "walk" / "g0009.png", grey(90))
    source = open_source(tmp_path / "walk" / "f%04d.png")
    assert source.name == "walk" and means(source) == [10, 20, 30, 40]
    assert means(open_source(tmp_path / "walk" / "f%d.png", start=1)) == [10, 20, 30, 40]
    with pytest.raises(JtrackError, match=r"asks for 0*99999999 digits"):
        open_source(tmp_path / "walk" / "f%099999999d.png")
    with pytest.raises(JtrackError, match=r"pattern '.*f%06d\.png' matches no image"):
        open_source(tmp_path / "walk" / "f%06d.png")
    save(tmp_path / "walk" / "%d" / "1.png", grey(50))
    assert means(open_source(tmp_path / "walk" / "%d")) == [50]  # what there is goes before patterns


@pytest.mark.parametrize("inside", ["img", "color"])
def test_the_folder_of_a_sequence(tmp_path, inside):
    save(tmp_path / "Walk" / inside / "0001.png", grey(60))
    source = open_source(tmp_path / "Walk")
    assert source.name == "Walk" and means(source) == [60]
    save(tmp_path / "Walk" / "0001.png", grey(80))
    assert means(open_source(tmp_path / "Walk")) == [80]  # its own images go first


@pytest.mark.parametrize(
    ("name", "text", "frame", "expected"),
    [
        ("groundtruth_rect.txt", "11,21,30,40\n12,22,30,40\n", 0, [10, 20, 30, 40]),
        ("groundtruth_rect.1.txt", "11\t21\t30\t40\n12\t22\t30\t40\n", 1, [11, 21, 30, 40]),
        ("groundtruth.txt", "10,20,30,40\n12,22,30,40\n", 1, [12, 22, 30, 40]),
        ("groundtruth.txt", "10,20,40,20,40,60,10,60\n", 0, [10, 20, 30, 40]),
        ("one.txt", "10 20 30 40\n", 7, [10, 20, 30, 40]),
        ("b.csv", "frame,target,x,y,w,h,score,lost\n0,1,10,20,30,40,1,0\n", 0, [10, 20, 30, 40]),
    ],
)
def test_the_first_box_by_the_convention_of_its_file(tmp_path, name, text, frame, expected):
    (tmp_path / name).write_text(text)
    np.testing.assert_array_equal(initial_box(tmp_path / name, frame), expected)


def test_the_first_box_of_a_sequence_of_which_a_part_is_annotated(tmp_path):
    """OTB's David has 770 images and the boxes of the last 471."""
    path = tmp_path / "David" / "groundtruth_rect.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{row + 1},2,30,40\n" for row in range(471)))
    np.testing.assert_array_equal(initial_box(path, 299), [0, 1, 30, 40])
    np.testing.assert_array_equal(initial_box(path, 769), [470, 1, 30, 40])
    for frame in (0, 298, 770):
        with pytest.raises(
            JtrackError, match=rf"has no box for frame {frame}, only for 299 to 769: start at"
        ):
            initial_box(path, frame)


def test_a_first_box_that_is_none(tmp_path):
    path = tmp_path / "groundtruth.txt"
    path.write_text("nan,nan,nan,nan\n1,2,30,40\n")
    with pytest.raises(JtrackError, match=r"says that the target is absent in frame 0: start at another"):
        initial_box(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JtrackError, match="pipe: it is a pipe, not a file"):
        initial_box(tmp_path / "pipe")


def test_orientation_of_a_photograph_is_heeded(tmp_path):
    """As before 16 bits were read: an EXIF header turns the picture."""
    data = cv2.imencode(".jpg", np.vstack([grey(255), grey(0)]))[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    (tmp_path / "1.jpg").write_bytes(turned)
    frame = read_image(tmp_path / "1.jpg")
    assert frame.shape == (64, 96, 3) and frame[:, -8:].min() > 200 and frame[:, :8].max() < 50


def test_a_part_of_a_png_that_declares_gigabytes_is_not_allocated(tmp_path):
    data = bytearray(cv2.imencode(".png", grey(90))[1].tobytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 3_690_993_571)
    (tmp_path / "a.png").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(JtrackError, match=r"a\.png is truncated"):
        open_source(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # KiB


def test_images_are_those_of_the_user_in_their_order(tmp_path):
    """Not what systems scatter about; and a file that has a folder's name is none."""
    for name in ("10.png", "2.png", ".2.png", "._3.png", "vid\udce9o.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    assert [path.name for path in images_in(tmp_path)] == ["2.png", "10.png", "vid\udce9o.png"]
    assert images_in(tmp_path / "notes.txt") == images_in(tmp_path / "nowhere") == []
    (tmp_path / "img").touch()
    assert image_folder(tmp_path) == tmp_path
    with pytest.raises(JtrackError, match=r"there is no folder .*nowhere"):
        open_folder(tmp_path / "nowhere")
