"""A real browser for the tests of pages, and what it saw."""

import json
import shutil
from contextlib import contextmanager

import pytest

BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER),
        reason="no chromium and chromedriver on the PATH (apt-get install chromium-driver)",
    ),
]
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


@contextmanager
def started(profile):
    """A browser with a folder of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    driver.get("about:blank")  # in place of the page it starts with, which asks for things of its own
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def opened(browser, address):
    """A freshly opened page; afterwards, it must have complained of nothing and asked for nothing."""
    browser.get_log("performance")
    browser.get(address)
    yield browser
    complaints = browser.get_log("browser")
    assert complaints == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    asked = {url for url in sent if not url.startswith(("data:", "blob:"))}
    assert asked == {address}


@contextmanager
def window(page, width):
    """A window of so many pixels, and the page loaded anew in it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.refresh()
        yield page
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def css(page, selector):
    """The visible elements of a selector."""
    found = page.find_elements("css selector", selector)
    return [element for element in found if element.is_displayed()]


def texts(page, selector):
    return [element.text for element in css(page, selector)]
