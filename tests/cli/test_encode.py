"""The annotated video: H.264 that browsers play, at the true rate, under any name."""

import os
import shutil
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from jtrack.cli import encode, outputs

BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
COLOURS = [(200, 40, 40), (40, 180, 60), (50, 60, 200)]


def frames(size=(97, 129), count=12):
    return [np.full((*size, 3), COLOURS[index % 3], np.uint8) for index in range(count)]


def write(path, fps=25.0, **options):
    with outputs.video_writer(path, fps) as append:
        for frame in frames(**options):
            append(frame)
    return path


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 29.635])
def test_it_is_h264_as_the_web_wants_it(tmp_path, fps):
    path = write(tmp_path / "some" / "where" / "a.mp4", fps)  # folders are made
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, codec.width, codec.height) == ("h264", "yuv420p", 130, 98)
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-4)
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index is first: it plays while it is loaded
    assert len(found) == 12
    for frame, true in zip(found, frames(), strict=True):
        np.testing.assert_allclose(frame[5:90, 5:120].mean((0, 1)), true[0, 0], atol=5)
    assert [each.name for each in path.parent.iterdir()] == ["a.mp4"]


def test_opencv_reads_it_too(tmp_path):
    capture = cv2.VideoCapture(str(write(tmp_path / "a.mp4")))
    ok, image = capture.read()
    assert ok and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    np.testing.assert_allclose(image[5:90, 5:120, ::-1].mean((0, 1)), COLOURS[0], atol=5)


@pytest.mark.parametrize("name", ["10:15.mp4", "http:a.mp4", "vid\udce9o.mp4", "100%.mp4", "%d.mp4"])
def test_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(outputs.Path(name))
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name)]


def test_without_an_encoder_for_it_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(encode, "ENCODERS", {"libnone264": {}, "mpeg4": encode.ENCODERS["mpeg4"]})
    path = write(tmp_path / "a.mp4")
    assert "a.mp4 will be mpeg4, which browsers do not play" in capsys.readouterr().err
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == 12


def test_rates_are_fractions_that_players_know():
    assert encode.frame_rate(30000 / 1001) == Fraction(30000, 1001)
    assert encode.frame_rate(25.0) == 25 and encode.frame_rate(12.5) == Fraction(25, 2)
    assert encode.frame_rate(1 / 3600) == Fraction(1, 3600)  # a time lapse
    assert encode.frame_rate(1e9) == encode.FASTEST


PAGE = """<video id=v muted src=a.mp4></video><script>
v.onloadeddata = () => document.title = `size ${v.videoWidth}x${v.videoHeight} ${v.duration.toFixed(2)}`;
v.onerror = () => document.title = "error " + v.error.message; </script>"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no chromium and chromedriver on the PATH (apt-get install chromium-driver)",
)
def test_a_browser_plays_it(tmp_path):
    from selenium import webdriver

    write(tmp_path / "a.mp4")
    (tmp_path / "a.html").write_text(PAGE)
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = f"--user-data-dir={tmp_path / 'chromium'}"
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", profile):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.get((tmp_path / "a.html").as_uri())
        until = time.monotonic() + 30
        while not driver.title.startswith(("size", "error")) and time.monotonic() < until:
            time.sleep(0.05)
        assert driver.title == "size 130x98 0.48"
    finally:
        driver.quit()
