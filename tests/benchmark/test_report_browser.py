"""The report's page in a real browser: it is clicked through as a reader would."""

import itertools

import pytest
from browser_tools import NEEDS_BROWSER, css, opened, texts, window
from report_world import HOSTILE, build, run, scored

from jtrack.benchmark import report, scoring
from jtrack.benchmark.report import figures

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of three trackers under three protocols."""
    folder = tmp_path_factory.mktemp("report")
    dataset = build(folder / "otb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "write", lambda section, folder: None)
        return report.write(scored(dataset), folder / "out", dataset=dataset).as_uri()


@pytest.fixture
def page(browser, address):
    with opened(browser, address):
        yield browser


def lines(page, kind):
    """How many curves a plot on view has drawn."""
    return len(css(page, f"[data-curve={kind}] .scatterlayer .trace .lines path"))


def boxes(page):
    """How many boxes of trackers are drawn, those outside of the picture too."""
    return page.execute_script(
        "return [...document.querySelectorAll('dialog rect.boxes')]"
        ".filter((box) => getComputedStyle(box).display !== 'none').length"
    )


def click(page, element):
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def test_plots_are_drawn_and_ranked_in_their_legends(page):
    assert [lines(page, kind) for kind in ("success", "precision", "normalised_precision")] == [3, 3, 3]
    legend = texts(page, "[data-curve=success] .legend li")
    values = [float(text.rsplit("[", 1)[1].rstrip("]")) for text in legend]
    assert values == sorted(values, reverse=True) and legend[0].startswith("steady")
    assert css(page, "[data-plot=radar] .scatterpolar .trace, [data-plot=radar] .polarlayer path")
    assert len(css(page, "[data-plot=speed] .points path")) == 2  # the third was not timed


def test_a_click_in_a_legend_hides_a_tracker_everywhere(page):
    (first, *_) = css(page, "[data-curve=success] .legend button")
    click(page, first)
    assert first.get_attribute("aria-pressed") == "false"
    assert lines(page, "success") == lines(page, "precision") == 2
    assert page.switch_to.active_element == first  # the keyboard goes on where it was
    click(page, first)
    assert lines(page, "success") == 3 and first.get_attribute("aria-pressed") == "true"


def test_hovering_shows_values(page):
    from selenium.webdriver.common.action_chains import ActionChains

    (plot,) = css(page, "[data-curve=success] .plot")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(page).move_to_element(plot).perform()
    ActionChains(page).move_by_offset(5, 5).perform()
    shown = page.execute_script(
        "return document.querySelector('[data-curve=success] .hoverlayer').textContent"
    )
    assert "Overlap threshold" in shown and "steady" in shown and HOSTILE in shown


def test_plots_of_an_attribute_rank_anew(page):
    (choice,) = css(page, "select.attribute")
    before = texts(page, "[data-curve=success] .legend li")
    name = choice.find_elements("css selector", "option")[1].text
    page.execute_script(
        "arguments[0].value = '0'; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", choice
    )
    assert texts(page, "[data-curve=success] h3") == [f"Success, {name.split(' (')[0]}"]
    # As the table of attributes, which was computed in Python, has it.
    want = {row.find_element("css selector", "th").text: row for row in css(page, ".attributes tbody tr")}
    after = texts(page, "[data-curve=success] .legend li")
    assert after != before
    for text in after:
        tracker, value = text.rsplit("[", 1)
        assert want[tracker.strip()].find_element("css selector", "td").text == value.rstrip("]")


def test_tables_sort_by_a_column_and_back(page):
    def column():
        return [float(text) for text in texts(page, ".sequences tbody tr td:nth-child(2) span")]

    (heading,) = css(page, ".sequences thead th:nth-child(2) button")
    click(page, heading)
    assert column() == sorted(column(), reverse=True)
    click(page, heading)
    assert column() == sorted(column())
    (cell,) = css(page, ".sequences thead th:nth-child(2)")
    assert cell.get_attribute("aria-sort") == "ascending"


def test_measure_and_search_change_the_table_of_sequences(page):
    before = texts(page, ".sequences tbody td")
    page.execute_script(
        "const s = document.querySelector('select.measure'); s.value = 'mean_error';"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert texts(page, ".sequences tbody td") != before
    assert len(css(page, ".sequences tbody td.best")) == 3
    css(page, "input.find")[0].send_keys("dee")
    assert texts(page, ".sequences tbody .open") == ["Deer"]


def test_a_sequence_opens_a_filmstrip(page):
    from selenium.webdriver.common.keys import Keys

    for button in css(page, ".sequences .open"):
        if button.text == "Deer":
            click(page, button)
    assert texts(page, "dialog h2") == ["Deer"]
    pictures = css(page, "dialog .strip img")
    page.execute_async_script("Promise.all([...document.images].map((i) => i.decode())).then(arguments[0])")
    assert len(pictures) >= 5 and all(int(picture.get_property("naturalWidth")) > 0 for picture in pictures)
    assert len(css(page, "dialog rect.truth")) == 2 * len(pictures)
    assert boxes(page) == 2 * 3 * len(pictures)  # each with a dark rim
    assert len(css(page, "dialog .scatterlayer .trace .lines path")) == 3
    click(page, css(page, "dialog .legend button")[0])
    assert boxes(page) == 2 * 2 * len(pictures)
    css(page, "dialog .next")[0].click()
    assert texts(page, "dialog h2") == ["Fish"]
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert texts(page, "dialog h2") == ["Deer"]
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not css(page, "dialog")


def test_protocols_switch_by_mouse_and_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    tabs = css(page, "[role=tab]")
    assert [tab.text for tab in tabs] == ["OPE", "SRE", "Baseline"]
    tabs[1].click()
    assert lines(page, "success") == 2 and texts(page, "h2 small")[0].startswith("spatial robustness")
    tabs[1].send_keys(Keys.ARROW_RIGHT)
    assert tabs[2].get_attribute("aria-selected") == "true" and page.switch_to.active_element == tabs[2]
    assert len(css(page, "[data-plot=robustness] .points path")) == 2
    assert lines(page, "expected_overlap") == 2


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """The page of nine trackers of much the same speed and success."""
    folder = tmp_path_factory.mktemp("crowd")
    dataset = build(folder / "otb", images=False)
    truth = scoring.annotations(dataset)
    runs = [
        run(f"tracker of number {n}", 0.5 + 0.3 * (n % 5), truth, seconds=0.01 * (1 + 0.1 * (n * 4 % 9)))
        for n in range(9)
    ]
    compared = [scoring.score(each, truth, resamples=2) for each in runs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "write", lambda section, folder: None)
        return report.write(compared, folder / "out", dataset=dataset).as_uri()


BOUNDS = """
return [...document.querySelectorAll(arguments[0])].map((each) => {
  const { left, top, right, bottom } = each.getBoundingClientRect();
  return [left, top, right, bottom];
});
"""


@pytest.mark.parametrize("width", [390, 1280])
def test_names_of_points_cover_nothing(browser, crowd, width):
    with opened(browser, crowd), window(browser, width):
        names, dots = (
            browser.execute_script(BOUNDS, f"[data-plot=speed] {each}")
            for each in (".textpoint text", ".points path")
        )
    names = [box for box in names if box[0] < box[2]]  # an empty name has no width
    assert len(dots) == 9 and len(names) >= 3
    for one, other in [*itertools.combinations(names, 2), *itertools.product(names, dots)]:
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_hostile_names_are_words(page):
    assert page.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    assert any(text.startswith(HOSTILE) for text in texts(page, ".overall tbody th"))


@pytest.mark.parametrize("width", [400, 1000])
def test_a_narrow_window_scrolls_only_downwards(page, width):
    with window(page, width):
        root = "document.documentElement"
        assert page.execute_script(f"return {root}.scrollWidth === {root}.clientWidth")


def theme(page):
    return page.execute_script("return document.documentElement.dataset.theme")


def test_prints_light_and_whole(page):
    from selenium.webdriver.support.ui import WebDriverWait

    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        WebDriverWait(page, 10).until(lambda page: theme(page) == "dark")
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert theme(page) == "light"
        page.execute_script("dispatchEvent(new Event('afterprint'))")
        assert theme(page) == "dark"
        assert page.execute_cdp_cmd("Page.printToPDF", {})["data"].startswith("JVBERi0")
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
