"""Videos as they come: interlaced, of wrong declarations, of any name, damaged, or no videos at all."""

import http.server
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from jtrack.data import FrameError, decode, open_source, video
from jtrack.data.annotated import dataset as open_own
from jtrack.data.annotated import load
from jtrack.data.sequence import prefetch
from jtrack.errors import JtrackError

COUNT, HEIGHT, WIDTH = 24, 96, 128


def picture(index):
    """Its brightness tells its number."""
    image = np.full((HEIGHT, WIDTH, 3), 40 + 8 * index, np.uint8)
    image[:20, :20] = 255  # which way is up
    return image


def number(frame):
    return round((float(np.median(frame)) - 40) / 8)


def write(path, codec="libx264", *, rate=25, stamps=None, rotation=0, options=None, count=COUNT, form=None):
    """A video of `picture`s; `stamps` are their times in milliseconds."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        if stamps is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(source, **options):
    return [number(frame) for frame in open_source(source, **options)]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme", "q": "2"}),
        ("a.mp4", "libx264", {"x264-params": "interlaced=1:tff=1"}),
        ("a.ts", "libx264", {"x264-params": "interlaced=1:tff=1"}),
    ],
)
def test_interlaced_frames_are_the_true_ones(tmp_path, name, codec, options):
    path = write(tmp_path / name, codec, options=options)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    assert numbers(path) == list(range(COUNT))


def declare(path, count):
    """Writes another number of frames into an AVI's header."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 24, count)
    struct.pack_into("<I", data, data.index(b"strh") + 40, count)
    path.write_bytes(data)


@pytest.mark.parametrize("declared", [10, 90])
def test_a_declared_count_is_an_estimate(tmp_path, declared):
    path = write(tmp_path / "a.avi", "mpeg4", options={"b": "8M"})
    declare(path, declared)
    source = open_source(path)
    assert (source.length, source.declared, source.expected) == (None, declared, declared)
    assert [number(frame) for frame in source] == list(range(COUNT))
    assert numbers(path, start=20) == list(range(20, COUNT))
    assert numbers(path, start=20, end=22) == [20, 21]
    with pytest.raises(
        JtrackError, match=rf"frames 30 to its end select nothing of a\.avi, which has {COUNT}"
    ):
        list(open_source(path, start=30))


def sequence_of(path):
    path.with_suffix(".txt").write_text("10,10,20,20\n" * COUNT)
    return load(path)


@pytest.mark.parametrize("declared", [10, 90])
def test_annotations_are_held_against_frames_that_decode(tmp_path, declared):
    path = write(tmp_path / "a.avi", "mpeg4")
    declare(path, declared)
    assert len(sequence_of(path).boxes) == COUNT
    path.with_suffix(".txt").write_text("10,10,20,20\n" * 12)
    with pytest.raises(JtrackError, match=rf"has {COUNT} frames but .*a\.txt has 12 boxes"):
        load(path)
    path.with_suffix(".txt").write_text("10,10,20,20\n")
    assert load(path).frames.length == COUNT


@pytest.mark.parametrize("suffix", ["mp4", "ts", "flv", "webm", "mkv"])
def test_one_list_of_videos(tmp_path, suffix):
    codec = {"webm": "libvpx", "flv": "flv"}.get(suffix, "libx264")
    sequence_of(write(tmp_path / f"walk.{suffix}", codec))
    assert open_own(tmp_path, None).names == ("walk",)
    assert len(numbers(tmp_path / f"walk.{suffix}")) == COUNT


@pytest.mark.parametrize(
    ("name", "codec", "rate", "stamps", "expected"),
    [
        ("a.mp4", "libx264", 25, None, 25),
        ("a.mkv", "libx264", Fraction(30000, 1001), None, 30000 / 1001),
        # A recording of a browser: its stamps, in milliseconds, are all that is known.
        ("a.webm", "libvpx", 1000, [34 * index for index in range(COUNT)], 1000 / 34),
        # Slow first, then fast: the mean.
        ("a.webm", "libvpx", 1000, [*range(0, 1200, 100), *range(1200, 1440, 20)], 23 / 1.42),
    ],
)
def test_the_rate_is_that_of_the_time_stamps(tmp_path, name, codec, rate, stamps, expected):
    path = write(tmp_path / name, codec, rate=rate, stamps=stamps, options={"lag-in-frames": "0"})
    assert open_source(path).fps == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_a_video_is_upright(tmp_path, degrees, corner):
    """The number says how far to turn, against the clock."""
    source = open_source(write(tmp_path / "a.mp4", rotation=degrees))
    frame = next(iter(source))
    assert frame.shape[:2] == source.size == ((WIDTH, HEIGHT) if degrees % 180 else (HEIGHT, WIDTH))
    corners = {(y, x): frame[y, x, 0] for y in (0, -1) for x in (0, -1)}
    assert max(corners, key=corners.get) == corner


@pytest.mark.parametrize(
    "name", ["10:15:30.mp4", "http:a.mp4", "vid\udce9o.mp4", "a\nb.mp4", "%d.mp4", "-.mp4"]
)
def test_any_name(tmp_path, monkeypatch, name):
    write(tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert numbers(name) == numbers(tmp_path / name) == list(range(COUNT))


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def silence(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 800)


def unknown_codec(path):
    write(path, "mpeg4" if path.suffix == ".avi" else "libx264")
    data = path.read_bytes()
    for name, other in ((b"avc1", b"Zq7x"), (b"FMP4", b"Zq7x"), (b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ZZZ")):
        data = data.replace(name, other)
    path.write_bytes(data)


def no_index(path):
    cut(write(path, "mpeg4"), 0.6)  # this muxer writes the index at the end


def suddenly_huge(path):
    """The file declares 128 x 96, its frames 20000 x 20000."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", 25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuvj420p")))
        container.mux(stream.encode())
    size = struct.pack(">BHH", 8, HEIGHT, WIDTH)
    path.write_bytes(path.read_bytes().replace(size, struct.pack(">BHH", 8, 20000, 20000)))


def playlist(path):
    write(path.with_name("other.ts"))
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nother.ts\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.mp4", unknown_codec, r"there is no decoder for its video \(Zq7x\): convert it to H\.264"),
        ("a.avi", unknown_codec, r"there is no decoder for its video \(Zq7x\): convert it to H\.264"),
        ("a.mkv", unknown_codec, r"there is no decoder for its video: convert it to H\.264"),
        ("a.mp4", no_index, r"is incomplete: its index \(moov\) is missing"),
        ("a.wav", silence, "has no video, only audio"),
        ("a.avi", lambda path: path.touch(), "is empty"),
        ("a.txt", lambda path: path.write_text("10,20,30,40\n" * 300), "a.txt is text, not a video"),
        (
            "a.mp4",
            lambda path: path.write_text("<html>not found</html>"),
            "is not a video that can be decoded",
        ),
        ("a.m3u8", playlist, "is not a video that can be decoded"),
        ("a.ffconcat", lambda path: path.write_text("ffconcat version 1.0\nfile b.mp4"), "is not a video"),
        ("a.avi", suddenly_huge, "has no frame that can be decoded"),
        ("a.mp4", os.mkfifo, "a.mp4: it is a pipe, not a file"),
        ("a.mp4", lambda path: path.symlink_to("/dev/zero"), "a.mp4: it is a device, not a file"),
    ],
)
def test_why_it_cannot_be_decoded(tmp_path, name, make, words):
    make(tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(JtrackError, match=words) as caught:
        open_source(tmp_path / name)
    assert name in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB


def test_frames_of_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4")
    monkeypatch.setattr(decode, "PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(JtrackError, match=r"a\.mp4 declares frames of 128x96: at most 12287 pixels are read"):
        open_source(path)


def test_a_sparse_file_is_no_video(tmp_path):
    with (tmp_path / "a.mp4").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(JtrackError, match=r"a\.mp4 is not a video"):
        open_source(tmp_path / "a.mp4")


def test_damage_is_said_and_never_shown(tmp_path):
    path = write(tmp_path / "a.mp4", options={"g": "1", "movflags": "faststart"})
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.pos]
    data = bytearray(path.read_bytes())
    for at, size in places[5:7]:
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.warns(
        UserWarning, match=r"a\.mp4 is damaged: 2 parts of it could not be decoded and left out"
    ):
        found = numbers(path)
    assert found == [*range(5), *range(7, COUNT)]


def test_a_video_that_cannot_be_read_any_longer_stops_there(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4")
    source = open_source(path)

    def failing(stream):
        for count, packet in enumerate(stream.container.demux(stream)):
            if count == 12:
                raise OSError(5, "Input/output error")
            yield packet

    monkeypatch.setattr(decode, "_packets", failing)
    frames = []
    with pytest.raises(
        FrameError, match=r"frame \d+ of a\.mp4: video .* cannot be read \(Input/output error\)"
    ) as c:
        frames.extend(source)
    assert c.value.frame >= len(frames)


def served(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_an_address(tmp_path):
    write(tmp_path / "a.ts")
    server = served(tmp_path)
    try:
        address = f"http://user:secret@127.0.0.1:{server.server_port}/a.ts"
        source = open_source(address)
        assert (source.name, source.size, source.length, source.live) == ("a", (HEIGHT, WIDTH), None, False)
        assert numbers(address) == list(range(COUNT))
        assert open_source(address, live=True).live
        with pytest.raises(JtrackError, match=r"http://127\S*/b\.ts cannot be read \(.*404") as caught:
            open_source(address.replace("a.ts", "b.ts"))
        assert "secret" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http"])
def test_an_address_that_nobody_answers(scheme):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(JtrackError, match=rf"video {scheme}://127.0.0.1:{port}/x cannot be read"):
        open_source(f"{scheme}://127.0.0.1:{port}/x")


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(decode, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        with pytest.raises(JtrackError, match=r"x\.ts cannot be read \(nothing came for 0\.3 seconds\)"):
            open_source(address)


def test_only_streams_and_cameras_are_live(tmp_path):
    with pytest.raises(JtrackError, match=r"a\.mp4 is not live, all its frames are tracked"):
        open_source(write(tmp_path / "a.mp4"), live=True)
    with pytest.raises(JtrackError, match=r"a\.mp4 is no folder of images"):
        open_source(tmp_path / "a.mp4", levels=(0, 4095))


def test_newest_drops_what_has_not_been_taken_but_not_the_last():
    taken, done = threading.Event(), threading.Event()

    def camera():
        yield 0
        taken.wait(10)
        yield from range(1, 100)
        done.set()

    frames = prefetch(camera(), newest=True)
    first = next(frames)
    taken.set()
    assert done.wait(10)
    rest = list(frames)
    assert first == 0 and rest == [99]


GOING = threading.Event()


class Capture:
    """A camera of OpenCV's. It goes on only once it is let to."""

    def __init__(self, _):
        self.taken = 0
        self.going = GOING

    def read(self):
        self.taken += 1
        if self.taken == 2:
            assert self.going.wait(10)
        return self.taken <= 50, np.full((HEIGHT, WIDTH, 3), self.taken, np.uint8)

    def get(self, _):
        return 30.0

    def release(self):
        pass


def test_a_camera_drops_frames_only_if_it_is_asked_to(monkeypatch):
    monkeypatch.setattr(video.cv2, "VideoCapture", Capture)
    source = open_source(0)
    assert source.live and source.length is None and source.fps == 30
    GOING.set()
    assert [frame[0, 0, 0] for frame in source] == list(range(1, 51))
    assert [frame[0, 0, 0] for frame in open_source("0", start=2, end=4)] == [3, 4]
    GOING.clear()
    frames = iter(open_source(0, live=True))
    first = next(frames)[0, 0, 0]
    GOING.set()
    until = time.monotonic() + 10
    while any(t.name == "jtrack-prefetch" for t in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.002)
    assert [first, *(frame[0, 0, 0] for frame in frames)] == [1, 50]


def test_without_pyav_it_is_said(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        JtrackError, match=r"videos need av, which cannot be imported \(.*\): run `python -m pip install av`"
    ):
        open_source(path)


READ = """
import sys
from jtrack.data import open_source
print(sum(1 for _ in open_source(sys.argv[1])))
"""


@pytest.mark.parametrize("variables", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_path_that_is_not_utf8(tmp_path, variables):
    """In a process of its own, which a decoder may crash."""
    write(tmp_path / "a.mp4").rename(tmp_path / "vid\udce9o.mp4")
    command = [sys.executable, "-c", READ, os.fsencode(tmp_path / "vid\udce9o.mp4")]
    done = subprocess.run(command, env=os.environ | variables, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, str(COUNT)), done.stderr
