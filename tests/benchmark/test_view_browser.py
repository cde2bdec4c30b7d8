"""The page of a sequence in a real browser: it is gone through as a reader would."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from browser_tools import NEEDS_BROWSER, css, opened, texts, window
from report_world import HOSTILE, failing, run
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from jtrack.benchmark import view
from jtrack.benchmark.response_maps import ResponseMaps
from jtrack.benchmark.view import pictures
from jtrack.data import Annotation, from_arrays

pytestmark = NEEDS_BROWSER

FRAMES = 20
BOXES = np.array([[10.0 + 2 * n, 20, 30, 24] for n in range(FRAMES)])
TRUTH = Annotation("walk", BOXES, events={"occlusion": np.arange(FRAMES) >= 15})
CLIP = from_arrays([np.full((96, 128, 3), 12 * n, np.uint8) for n in range(FRAMES)])
DRIFTS = {"near": 1.0, HOSTILE: 2.0}


def runs():
    """Two runs of one trial, one that failed and began again, in two trials."""
    truth = {"walk": TRUTH}
    single = [run(name, drift, truth) for name, drift in DRIFTS.items()]
    scored = [
        replace(
            each,
            trajectories={
                "walk": [
                    replace(trial, scores=np.linspace(1, 0, FRAMES), lost=np.arange(FRAMES) >= 18)
                    for trial in each.trajectories["walk"]
                ]
            },
        )
        for each in single
    ]
    first, second = (failing("again", truth, at) for at in (4, 10))
    trials = [*first.trajectories["walk"], *second.trajectories["walk"]]
    learnt = np.isin(np.arange(FRAMES), (3, 6, 7))
    levels, places = np.full((FRAMES, 1, 2), 200, np.uint8), np.tile(np.float32([5, 10, 40, 20]), (FRAMES, 1))
    places[0] = np.nan
    (trial,) = scored[0].trajectories["walk"]
    trial = replace(trial, learnt=learnt, maps=lambda: ResponseMaps(levels, places))
    scored[0] = replace(scored[0], trajectories={"walk": [trial]})
    return [*scored, replace(first, trajectories={"walk": trials})]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    for number in (2, 3):
        cv2.imwrite(str(folder / f"{number:06d}.png"), np.full((30, 90, 3), 60 * number, np.uint8))
    page = view.page(TRUTH, runs(), frames=CLIP, maps=pictures.open_maps(folder), notes=[HOSTILE])
    (folder / "walk.html").write_text(page, "utf-8")
    return (folder / "walk.html").as_uri()


@pytest.fixture
def page(browser, address):
    with opened(browser, address):
        until(browser, 1)
        yield browser


def until(page, frame):
    """Waits for the frame of a number to be drawn."""
    WebDriverWait(page, 10, poll_frequency=0.02).until(
        lambda page: texts(page, "#frame") == [f"{frame} / {FRAMES}"]
    )


def press(page, *keys, shift=False):
    chain = ActionChains(page)
    if shift:
        chain.key_down(Keys.SHIFT)
    chain.send_keys(*keys)
    if shift:
        chain.key_up(Keys.SHIFT)
    chain.perform()


# The brightness of the middle of a picture, read from a copy.
COPY = """
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
context.drawImage(arguments[0], 0, 0, 9, 9);
return context.getImageData(4, 4, 1, 1).data[0];
"""


def grey(page):
    """The brightness of the picture drawn."""
    return page.execute_script(COPY, page.find_element("id", "picture"))


def corner(page, tracker):
    """The first corner of the outline drawn of a tracker; None for none."""
    found = page.find_elements("css selector", f"#outlines polygon[data-tracker='{tracker}']")
    if not found:
        return None
    x, y, *_ = found[0].get_attribute("points").split()
    return float(x), float(y)


def shown(page, frame):
    """Checks that what is drawn is of a frame, counted from 0."""
    until(page, frame + 1)
    assert abs(grey(page) - 12 * frame) <= 3
    x, y = BOXES[frame, :2]
    assert corner(page, "truth") == pytest.approx((x, y))
    for number, drift in enumerate(DRIFTS.values()):
        assert corner(page, number) == pytest.approx((x + drift * frame, y))
    cursors = page.find_elements("css selector", ".cursor")
    assert {float(line.get_attribute("x1")) for line in cursors} == {frame + 0.5}
    assert page.find_element("id", "slider").get_property("value") == str(frame)


def test_keys_go_through_the_frames(page):
    shown(page, 0)
    press(page, Keys.ARROW_RIGHT)
    shown(page, 1)
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    shown(page, 3)
    press(page, Keys.ARROW_RIGHT, shift=True)
    shown(page, 13)
    press(page, Keys.ARROW_LEFT)
    shown(page, 12)
    press(page, Keys.END)
    shown(page, FRAMES - 1)
    press(page, Keys.ARROW_RIGHT)  # stays at the end
    shown(page, FRAMES - 1)
    press(page, Keys.HOME)
    shown(page, 0)
    press(page, Keys.ARROW_LEFT)
    shown(page, 0)


def test_space_plays_to_the_end_and_pauses(page):
    press(page, Keys.SPACE)
    assert texts(page, "#play") == ["❚❚"]
    until(page, FRAMES)
    shown(page, FRAMES - 1)
    assert texts(page, "#play") == ["▶"]
    press(page, Keys.SPACE)  # begins anew
    WebDriverWait(page, 10, poll_frequency=0.02).until(
        lambda page: texts(page, "#frame") != [f"{FRAMES} / {FRAMES}"]
    )
    press(page, Keys.SPACE)
    paused = texts(page, "#frame")
    page.execute_async_script("setTimeout(arguments[0], 400)")
    assert texts(page, "#frame") == paused and texts(page, "#play") == ["▶"]


def test_the_slider_and_a_curve_lead_to_a_frame(page):
    page.execute_script(
        "const s = document.getElementById('slider'); s.value = 7; s.dispatchEvent(new Event('input'))"
    )
    shown(page, 7)
    (plane,) = css(page, "[data-chart=overlaps] .plane")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plane)
    ActionChains(page).move_to_element_with_offset(
        plane, round(0.27 * plane.size["width"]), 0
    ).click().perform()
    shown(page, 15)  # 0.77 of twenty frames


def test_numbers_and_clicks_hide_and_show(page):
    curves = "[data-chart=overlaps] path[data-tracker]"
    assert [len(css(page, each)) for each in (curves, ".lane[data-tracker]")] == [3, 3]
    press(page, "2")
    assert corner(page, 1) is None and corner(page, 0) and corner(page, "truth")
    assert [len(css(page, each)) for each in (curves, ".lane[data-tracker]")] == [2, 2]
    button = css(page, "[data-toggle='1']")[0]
    assert button.get_attribute("aria-pressed") == "false"
    press(page, "0")
    assert corner(page, "truth") is None
    button.click()
    press(page, "0")
    assert corner(page, 1) and corner(page, "truth")
    assert [len(css(page, each)) for each in (curves, ".lane[data-tracker]")] == [3, 3]
    press(page, "9")  # there is none
    press(page, Keys.SPACE)  # after a click, the keyboard still plays
    assert texts(page, "#play") == ["❚❚"]


def test_the_table_says_overlap_score_and_state_of_the_frame(page):
    cells = page.find_elements("css selector", ".trackers tbody tr")

    def told():
        return [[cell.text for cell in each.find_elements("css selector", "td")] for each in cells]

    press(page, Keys.ARROW_RIGHT)
    shown(page, 1)
    assert told()[1] == [f"{29 / 31:.2f}", f"{1 - 1 / 19:.2f}", ""]
    press(page, Keys.END)
    shown(page, FRAMES - 1)
    assert told()[0][2] == "occlusion"
    assert told()[1] == [f"{11 / 49:.2f}", "0.00", "lost"]
    page.execute_script(
        "const s = document.getElementById('slider'); s.value = 4; s.dispatchEvent(new Event('input'))"
    )
    shown(page, 4)
    assert told()[3] == ["0.00", "–", "failed"] and corner(page, 2) is None


# What is seen at each frame in the lane of a tracker: an event, and the frame that it begins in.
EVENTS = """
const lane = document.querySelector('.lane[data-tracker="2"]');
lane.scrollIntoView({block: "center"});
const { left, top, width, height } = lane.getBoundingClientRect();
return [...Array(arguments[0]).keys()].map((frame) => {
  const seen = document.elementFromPoint(left + ((frame + 0.5) / arguments[0]) * width, top + height / 2);
  return seen.dataset.frame === undefined ? "" : `${seen.getAttribute("class")} ${seen.dataset.frame}`;
});
"""


def test_events_and_trials(page):
    press(page, Keys.END)  # where the cursor covers none of them
    until(page, FRAMES)

    def events():
        return [event for event in dict.fromkeys(page.execute_script(EVENTS, FRAMES)) if event]

    assert events() == ["failed 4", "skipped 5", "restarted 9"]
    (choice,) = css(page, "#trial")
    choice.send_keys("2")
    WebDriverWait(page, 5).until(lambda page: events() == ["failed 10", "skipped 11", "restarted 15"])
    assert corner(page, 0)  # a run of one trial is the same in all
    titles = page.execute_script(
        "return [...document.querySelectorAll('.lane title')].map((t) => t.textContent)"
    )
    assert "occlusion, frames 16 to 20" in titles and "lost, frames 19 to 20" in titles


def test_a_tick_is_a_frame_after_which_a_tracker_learnt(page):
    (ticks,) = page.find_elements("css selector", ".lane .learnt")
    assert ticks.find_element("xpath", "..").find_element("xpath", "..").get_attribute("data-tracker") == "0"
    assert ticks.get_attribute("d") == "M3.5 .75V1M6.5 .75V1M7.5 .75V1"
    assert ticks.find_element("tag name", "title").get_property("textContent") == "learnt after 3 frames"
    state = page.find_elements("css selector", ".trackers tbody tr")[1].find_element("css selector", ".state")
    for frame in range(1, 5):
        press(page, Keys.ARROW_RIGHT)
        until(page, frame + 1)
        assert state.text == ("learnt" if frame == 3 else "")


def test_kept_response_maps_are_laid_over_the_frame_by_button_and_key(page):
    def laid():
        found = page.find_elements("css selector", "#outlines image")
        return [[each.get_attribute(name) for name in ("x", "y", "width", "height")] for each in found]

    (button,) = css(page, "#responses")
    press(page, Keys.ARROW_RIGHT)
    until(page, 2)
    assert laid() == []
    press(page, "m")
    assert laid() == [["5", "10", "40", "20"]] and button.get_attribute("aria-pressed") == "true"
    press(page, "1")  # hides the tracker
    assert laid() == []
    press(page, "1", Keys.HOME)
    until(page, 1)
    assert laid() == []  # the first frame has none
    press(page, Keys.ARROW_RIGHT)
    until(page, 2)
    assert len(laid()) == 1
    button.click()
    assert laid() == [] and button.get_attribute("aria-pressed") == "false"


def test_response_maps_stand_beside_their_frames(page):
    assert not css(page, "#map") and css(page, "#no-map")
    for frame in (2, 3):
        page.execute_script(
            "const s = document.getElementById('slider'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            frame,
        )
        until(page, frame + 1)
        page.execute_async_script("document.getElementById('map').decode().then(arguments[0])")
        level = page.execute_script(COPY, page.find_element("id", "map"))
        assert abs(level - 60 * frame) <= 3 and not css(page, "#no-map")


def test_hostile_names_are_words(page):
    assert page.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    assert any(HOSTILE in text for text in texts(page, ".trackers tbody th"))
    assert texts(page, ".warnings li")[0] == HOSTILE


@pytest.mark.parametrize("width", [390, 1280])
def test_a_window_of_any_width_scrolls_only_downwards(page, width):
    with window(page, width):
        until(page, 1)
        root = "document.documentElement"
        assert page.execute_script(f"return {root}.scrollWidth === {root}.clientWidth")


def test_light_and_dark(page):
    def ground():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = ground()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        WebDriverWait(page, 10).until(lambda page: ground() != light)
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
