"""A long video: memory does not grow with its length."""

import subprocess
import sys

import av
import numpy as np
import pytest

COUNT, EVERY = 10_000, 1000

TRACK = """
import sys
import jtrack
from jtrack.data import open_source

jtrack.keep_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1])

def on_frame(index, image, said):
    if index % int(sys.argv[2]) == 0:
        print(index, resident(), flush=True)

source, box = open_source(sys.argv[1]), (60, 55, 24, 24)
done = jtrack.track(source, box, tracker="hcft", backbone="hog", on_frame=on_frame)
print(len(done.boxes), resident())
assert done.stopped is None
"""


def long_video(path):
    """A square goes round on noise."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (120, 160, 3), np.uint8)
    square = rng.integers(0, 256, (24, 24, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 30, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        for index in range(COUNT):
            image = ground.copy()
            y, x = round(48 + 20 * np.sin(index / 50) + 7), round(60 + 40 * np.sin(index / 70))
            image[y : y + 24, x : x + 24] = square
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_stays_flat_after_the_first_thousand_frames(tmp_path):
    long_video(tmp_path / "long.mp4")
    command = [sys.executable, "-c", TRACK, str(tmp_path / "long.mp4"), str(EVERY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr
    table = np.array([line.split() for line in done.stdout.splitlines()], int)
    assert table[-1, 0] == COUNT
    pages = table[table[:, 0] >= EVERY, 1]
    print("MiB resident:", (pages * 4096 >> 20).tolist())
    assert pages.max() <= 1.05 * pages[0], pages.tolist()
