"""Takes the picture of a report that README.md shows: the top of its page, and below it an open sequence.

    python bench/screenshot.py report/report.html docs/report.png [--sequence Couple]

It needs chromium and chromedriver (Debian's `chromium-driver`) and selenium, which the extra `test` brings.
"""

import argparse
import base64
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OPEN = """
const [name, done] = arguments;
const shown = [...document.querySelectorAll(".open")].filter((button) => button.offsetParent);
shown.find((button) => button.textContent === name).click();
const dialog = document.querySelector("dialog");
const style = "max-height: none; max-width: none; width: 100vw; border-radius: 0; border-width: 1px 0 0";
dialog.style.cssText = style;
Promise.all([...dialog.querySelectorAll("img")].map((image) => image.decode())).then(() => {
  document.activeElement.blur();
  const box = dialog.getBoundingClientRect();
  done([box.x, box.y, box.width, dialog.querySelector(".card").getBoundingClientRect().y - box.y]);
});
"""


def picture(browser: webdriver.Chrome, x: float, y: float, width: float, height: float) -> np.ndarray:
    """A part of the page [H, W, 3] BGR, beyond the window too."""
    clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return cv2.imdecode(np.frombuffer(base64.b64decode(taken["data"]), np.uint8), cv2.IMREAD_COLOR)


def main() -> None:
    """Writes one PNG file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sequence", help="one to open; none: the page alone")
    parser.add_argument("--width", type=int, default=1320)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile:
        settings = webdriver.ChromeOptions()
        settings.binary_location = shutil.which("chromium") or ""
        for option in (*OPTIONS, f"--user-data-dir={profile}", f"--window-size={options.width},1400"):
            settings.add_argument(option)
        browser = webdriver.Chrome(settings, Service(shutil.which("chromedriver")))
        try:
            browser.get(options.page.resolve().as_uri())
            wide = browser.execute_script("return document.documentElement.clientWidth")
            # To the end of the plots.
            last = "return document.querySelector('.plots').getBoundingClientRect().bottom + scrollY"
            shown = [picture(browser, 0, 0, wide, browser.execute_script(last) + 20)]
            if options.sequence:
                shown.append(picture(browser, *browser.execute_async_script(OPEN, options.sequence)))
        finally:
            browser.quit()
    width = min(image.shape[1] for image in shown)
    whole = Image.fromarray(np.vstack([image[:, :width, ::-1] for image in shown]))
    whole.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
