"""The report: what it says is what was scored, whatever things are called; it appears whole or not at all."""

import csv
import html.parser
import io
import itertools
import json
import re
import resource
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from report_world import FRAMES, HOSTILE, build, failing, run, scored

from jtrack.benchmark import metrics, published, report, scoring
from jtrack.benchmark.report import figures, filmstrip, sections, tables
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Trajectory
from jtrack.data import Annotation, from_arrays, open_dataset
from jtrack.errors import JtrackError

QUICK = {"resamples": 50}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return build(tmp_path_factory.mktemp("otb"))


@pytest.fixture(scope="module")
def compared(dataset):
    return scored(dataset)


@pytest.fixture(scope="module")
def arranged(compared, dataset):
    return sections.arrange(compared, [dataset] * len(compared))


@pytest.fixture(scope="module")
def written(compared, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "report"
    report.write(compared, out, dataset=dataset)
    return out


@pytest.fixture
def quick(monkeypatch):
    """No figures, which take most of the time."""
    monkeypatch.setattr(figures, "write", lambda section, folder: None)


def read_csv(path):
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture
def unequal(dataset):
    """Two whole runs, and better ones of the first frames and of one sequence alone."""
    truth = scoring.annotations(dataset)
    whole = [scoring.score(run(name, drift, truth), truth, **QUICK) for name, drift in (("a", 1), ("b", 2))]
    deer = {"Deer": truth["Deer"]}
    part = scoring.score(run("part", 0, deer), deer, **QUICK)
    some = {"Deer": replace(truth["Deer"], boxes=truth["Deer"].boxes[:5])}
    first = scoring.score(run("first", 0, some, label={"limit_frames": 5}), deer, **QUICK)
    unranked = replace(part, unranked="1 of 3 sequences"), replace(first, unranked="first 5 frames")
    return [*unranked, *whole]


def test_what_cannot_be_compared_is_named_and_never_leads(unequal, dataset, tmp_path, quick):
    (section,) = sections.arrange(unequal, [dataset] * 4)
    names = ["a", "b", "part (not ranked: 1 of 3 sequences)", "first (not ranked: first 5 frames)"]
    assert sorted(entry.name for entry in section.entries) == sorted(names)
    assert [entry.name for entry in section.entries][:2] == ["a", "b"]
    assert [entry.name for entry, _ in section.ranked(section.curves[0])][:2] == ["a", "b"]
    for table in tables.tables(section):
        lines = tables.marks(table) if table.down else list(zip(*tables.marks(table), strict=True))
        assert not any(map(any, lines[2:])) and any(map(any, lines[:2]))
    report.write(unequal, tmp_path / "r", dataset=dataset)
    rows = read_csv(tmp_path / "r" / "tables" / "ope-overall.csv")
    assert sorted(row[0] for row in rows[1:]) == sorted(names) and [row[0] for row in rows[1:3]] == ["a", "b"]
    latex = (tmp_path / "r" / "tables" / "ope-overall.tex").read_text()
    assert r"\textbf" not in latex[latex.index("part") :] and "not ranked: 1 of 3 sequences" in latex
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "part (not ranked: 1 of 3 sequences): it is not compared with the others." in page
    assert '"ranked":[true,true,false,false]' in page


# ---- sections


def test_one_section_a_protocol_best_first_and_a_tracker_looks_the_same_in_all(arranged):
    assert [section.title for section in arranged] == ["OPE", "SRE", "Baseline"]
    assert [entry.name for entry in arranged[0].entries] == ["steady", HOSTILE, "_lost"]
    assert [entry.name for entry in arranged[1].entries] == [HOSTILE, "steady"]
    looks = {(entry.name, entry.look) for section in arranged for entry in section.entries}
    assert len(looks) == 3 and len({look[1:] for look in looks}) == 3
    # No stretch is long enough for EAO, which would come before accuracy.
    assert [section.measures[0].key for section in arranged] == ["auc", "auc", "accuracy"]


def test_trackers_of_one_name_are_told_apart_by_as_much_as_it_takes(dataset):
    truth = scoring.annotations(dataset)
    runs = [
        run("kcf", 0, truth),
        run("hcft", 0, truth, profile="paper", label={"backbone": "vgg19"}),
        run("hcft", 1, truth, profile="default", label={"backbone": "vgg19", "digest": "aaaa"}),
        run("hcft", 2, truth, profile="default", label={"backbone": "vgg19", "digest": "bbbb"}),
        run("hcft", 2, truth, profile="default", label={"backbone": "vgg19", "digest": "bbbb"}),
        run("gdt", 0, truth, label={"digest": "cccc"}),
        run("gdt", 1, truth, label={"digest": "dddd", "changes": "units=100"}),
        run("hcft", 0, truth, profile="paper", protocol="sre", trials=12),
    ]
    compared = [scoring.score(each, truth, resamples=2) for each in runs]
    first, second = sections.arrange(compared, [dataset] * len(compared))
    names = [
        "gdt",
        "gdt units=100",
        "hcft default aaaa",
        "hcft default bbbb",
        "hcft default bbbb #2",
        "hcft paper",
        "kcf",
    ]
    assert sorted(entry.name for entry in first.entries) == names
    assert [entry.name for entry in second.entries] == ["hcft paper"]


def test_datasets_and_lists_of_one_protocol_are_sections_of_their_own(dataset, compared, tmp_path):
    other = build(tmp_path, images=False)
    found = sections.arrange([compared[0], compared[1]], [dataset, other])
    assert len(found) == 2 and len({section.title for section in found}) == 2
    assert len({section.key for section in found}) == 2


@pytest.mark.parametrize(
    "values, low, digits, places",
    [
        ([0.1, 0.3, 0.2], False, 3, [0, 1, 2]),
        ([0.1, 0.3, 0.2], True, 3, [1, 0, 2]),
        ([0.3001, 0.3002, 0.1, 0.05], False, 3, [1, 1, 2, 0]),
        ([np.nan, 0.2, np.nan], False, 3, [0, 1, 0]),
        ([np.nan], True, 3, [0]),
    ],
)
def test_the_best_and_the_second_as_far_as_it_is_shown(values, low, digits, places):
    assert sections.best(values, low=low, digits=digits) == places


# ---- filmstrips

TRUTH = np.array([[0.0, 0, 10, 10]] * 6)


def test_overlap_over_time_by_hand():
    shifted = np.add(TRUTH, [5.0, 0, 0, 0])  # a third
    first = Trajectory(shifted, np.array([INITIALISED, TRACKED, FAILED, SKIPPED, SKIPPED, TRACKED], np.uint8))
    second = Trajectory(TRUTH[4:], np.full(2, TRACKED, np.uint8), start=4)
    truth = TRUTH.copy()
    truth[1] = 0  # absent
    got = filmstrip.overlaps([first, second], truth)
    np.testing.assert_allclose(got, [1 / 3, np.nan, 0, np.nan, 1, (1 + 1 / 3) / 2])


def test_long_curves_are_averaged_to_a_bounded_number_of_points(monkeypatch):
    monkeypatch.setattr(filmstrip, "LONGEST", 3)
    values, step = filmstrip.thinned(np.array([0, 1, np.nan, 0.5, np.nan, np.nan, 0.25]))
    assert step == 3
    np.testing.assert_allclose(values, [0.5, 0.5, 0.25])
    assert filmstrip.thinned(np.arange(3.0))[1] == 1


def test_frames_shown_are_spread_and_the_worst():
    curve = np.ones(101)
    curve[[37, 38, 39]] = [0.2, 0.1, 0.2]
    curve[52], curve[80] = 0.0, 0.5  # 52 is next to the middle frame, which is shown anyway
    even, worst = filmstrip.choose([curve, np.full(101, np.nan)])
    assert even == [0, 25, 50, 75, 100] and worst[0] == 38 and 52 not in worst
    assert filmstrip.choose([np.full(1, np.nan)]) == ([0], [])


def test_a_film_has_the_frames_it_says_and_survives_one_that_is_unreadable(dataset):
    annotation, source = dataset.annotation("Deer"), dataset.sequence("Deer").frames
    curve = np.ones(24)
    curve[3] = 0.1
    film = filmstrip.film(annotation, [curve], source, 128)
    assert 3 in film.frames and film.worst[film.frames.index(3)] and film.size == (96, 128)
    for frame, image in itertools.islice(enumerate(source), 24):
        if frame in film.frames:
            data = np.frombuffer(film.images[film.frames.index(frame)], np.uint8)
            shown = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
            assert np.abs(shown.astype(int) - image).mean() < 8

    def pick(frame):
        if frame == 3:
            raise JtrackError("damaged")
        return source.pick(frame)

    damaged = filmstrip.film(
        annotation, [curve], type(source)("x", (96, 128), 24, None, source.read, pick), 64
    )
    assert [image is None for image in damaged.images] == [frame == 3 for frame in film.frames]


def test_frames_are_reached_in_order_where_they_cannot_be_picked():
    images = [np.full((8, 8, 3), 10 * n, np.uint8) for n in range(12)]
    film = filmstrip.film(Annotation("x", np.ones((12, 4))), [np.ones(12)], from_arrays(iter(images)), 8)
    levels = [cv2.imdecode(np.frombuffer(data, np.uint8), 0).mean() for data in film.images]
    np.testing.assert_allclose(levels, [10 * frame for frame in film.frames], atol=3)


def test_pictures_get_smaller_the_more_there_are():
    sides = [filmstrip.picture_side(number, 7 << 20) for number in (1, 800, 10**6)]
    assert sides[0] > sides[1] > sides[2] > 0


# ---- tables


def test_csv_holds_what_was_scored(written, arranged):
    section = arranged[0]
    head, *rows = read_csv(written / "tables" / "ope-overall.csv")
    for row, entry in zip(rows, section.entries, strict=True):
        assert row[0] == entry.name
        got = dict(zip(head[1:], row[1:], strict=True))
        assert float(got["AUC"]) == pytest.approx(entry.scored.measures["auc"], rel=1e-5)
        assert float(got["fps"] or "nan") == pytest.approx(entry.scored.fps or np.nan, rel=1e-5, nan_ok=True)
    head, *rows = read_csv(written / "tables" / "ope-sequences-precision20.csv")
    want = [
        [entry.scored.sequences[row[0]].measures["precision20"] for entry in section.entries] for row in rows
    ]
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), want, rtol=1e-5)
    assert [row[0] for row in rows] == sorted(FRAMES)
    head, *rows = read_csv(written / "tables" / "ope-success.csv")
    best = section.entries[0]
    column = [float(row[head.index(best.name)]) for row in rows]
    np.testing.assert_allclose(column, best.scored.curves["success"], rtol=1e-5)
    np.testing.assert_allclose([float(row[0]) for row in rows], metrics.OVERLAP_THRESHOLDS, atol=1e-6)


def test_a_name_is_no_formula_of_a_spreadsheet(tmp_path):
    tables.write_csv(tmp_path / "a.csv", ["=cmd|' /C calc'!A0"], [["-0.5"], ["-x"], ["KCF"]])
    assert [row[0] for row in read_csv(tmp_path / "a.csv")] == ["'=cmd|' /C calc'!A0", "-0.5", "'-x", "KCF"]


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1+cmd|' /C calc'!A0",
        "-2",
        "@SUM(A1)",
        "\t=1",
        "\n=1",
        "\r\n=1",
        " =1",
        "\u00a0=1",
        "＝1",
        "\tx",
    ],
)
def test_no_name_is_run_as_a_formula(tmp_path, name):
    tables.write_csv(tmp_path / "a.csv", ["Tracker"], [[name], ["KCF"]])
    told = read_csv(tmp_path / "a.csv")[1][0]
    assert told == (name if name == "-2" else "'" + name)  # a plain number is none


@pytest.mark.parametrize(
    "cell", ["-1.5", "-0.5", "-12", "1e-05", "-1.2e+06", "0", "", "KCF", "a=b", "re-run", "[x]"]
)
def test_numbers_and_plain_names_stay(tmp_path, cell):
    tables.write_csv(tmp_path / "a.csv", ["Tracker"], [[cell, "x"]])
    assert read_csv(tmp_path / "a.csv")[1][0] == cell


def test_names_that_are_not_utf8_are_shown_as_python_escapes_them(dataset, tmp_path):
    """A tracker is called by its folder, whose name may be in another encoding."""
    truth = scoring.annotations(dataset)
    name, label = "caf\udce9", {"root": "/data/caf\udce9"}
    one = scoring.score(run(name, 1, truth, label=label), truth, **QUICK)
    report.write([one], tmp_path / "r", dataset=dataset)
    assert [row[0] for row in read_csv(tmp_path / "r" / "tables" / "ope-overall.csv")] == [
        "Tracker",
        r"caf\udce9",
    ]
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert r"caf\udce9" in page and r"/data/caf\udce9" in page
    assert (tmp_path / "r" / "figures" / "ope-success.pdf").stat().st_size > 1000


def table(values, *, down, low=False, rows=None):
    values = np.array(values)
    measure = sections.Measure("m", "M", "m", 2, low)
    rows = rows or [f"row {n}" for n in range(len(values))]
    names = [f"column {n}" for n in range(values.shape[1])]
    measures = [measure] * (values.shape[1] if down else len(values))
    return tables.Table("t", "Caption.", "Corner", rows, names, values, measures, down)


def test_latex_marks_the_best_of_columns_or_rows():
    values = [[0.1, 0.9, np.nan], [0.3, 0.8, 0.5], [0.2, 0.7, 0.6]]
    down = tables.latex(table(values, down=True), label="tab:x").splitlines()
    assert r"row 1 & \textbf{0.30} & \underline{0.80} & \underline{0.50} \\" in down
    assert r"row 0 & 0.10 & \textbf{0.90} & -- \\" in down
    along = tables.latex(table(values, down=False, low=True), label="tab:x")
    assert r"row 1 & \textbf{0.30} & 0.80 & \underline{0.50} \\" in along
    alone = tables.latex(table(values[:1], down=True), label="tab:x")
    assert "textbf" not in alone and "underline" not in alone


def test_latex_shows_any_name_as_it_is():
    text = tables.latex(
        table([[1.0], [2.0]], down=True, rows=["a_b & 50% {x} #1 $y$ ~^\\", "new\nline"]), label="t"
    )
    assert r"a\_b \& 50\% \{x\} \#1 \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{} &" in text
    assert "newline &" in text
    assert r"\begin{longtable}" in tables.latex(table([[1.0]] * 41, down=True), label="t")


# ---- figures


def test_curves_are_drawn_as_scored_and_ranked(arranged):
    section = arranged[0]
    (axes,) = figures.curves(section, section.curves[0]).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    want = sorted(section.entries, key=lambda entry: -entry.scored.measures["auc"])
    assert labels == [f"{entry.name} [{entry.scored.measures['auc']:.3f}]" for entry in want]
    for line, entry in zip(axes.get_lines(), want, strict=True):
        np.testing.assert_allclose(line.get_xdata(), metrics.OVERLAP_THRESHOLDS, atol=1e-12)
        np.testing.assert_array_equal(line.get_ydata(), entry.scored.curves["success"])
        assert line.get_color() == entry.look.colour


@pytest.mark.parametrize(("number", "measure"), [(0, "auc"), (1, "precision20")])
def test_curves_by_attribute_are_means_over_its_sequences(arranged, number, measure):
    section = arranged[0]
    curve = section.curves[number]
    shown = {axes.get_title(): axes for axes in figures.curves_by_attribute(section, curve).axes}
    for attribute, names in section.attributes.items():
        axes = shown[f"{attribute} ({len(names)})"]
        for line in axes.get_lines():
            entry = next(e for e in section.entries if line.get_label().startswith(f"{e.name} ["))
            rows = [entry.scored.sequences[name].curves[curve.key] for name in names]
            np.testing.assert_allclose(line.get_ydata(), np.mean(rows, axis=0))
            value = np.mean([entry.scored.sequences[name].measures[measure] for name in names])
            assert line.get_label() == f"{entry.name} [{value:.3f}]"


@pytest.mark.parametrize("trackers", [2, 9, 30])
def test_a_legend_covers_nothing(arranged, trackers):
    first = arranged[0].entries[0]
    many = tuple(replace(first, name=f"t{number}", number=number) for number in range(trackers))
    section = replace(arranged[0], entries=many)
    for figure in (figures.curves(section, section.curves[0]), figures.radar(section)):
        (axes,) = figure.axes
        figure.draw_without_rendering()
        legend = axes.get_legend().get_window_extent()
        names = [label.get_window_extent() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        assert legend.x0 >= axes.get_window_extent().x1
        assert not legend.count_overlaps([each for each in names if each.width])


def points_of(arranged, places):
    """A point a tracker, at (x, y)."""
    first = arranged[0].entries[0]
    return [
        (replace(first, name=f"tracker {n}", number=n), float(x), float(y)) for n, (x, y) in enumerate(places)
    ]


@pytest.mark.parametrize("log", [False, True])
def test_names_stand_beside_points_and_cover_nothing(arranged, log):
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    points = points_of(arranged, np.stack([30 + 25 * np.cos(angles), 0.5 + 0.1 * np.sin(angles)], axis=1))
    figure = figures.scatter(arranged[0], "across", "up", points, log=log)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    names = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert names.keys() == {entry.name for entry, *_ in points} and axes.get_legend() is None
    dots = [axes.transData.transform(point[1:]) for point in points]
    for name, place in names.items():
        others = [other for key, other in names.items() if key != name]
        assert not place.count_overlaps(others) and not any(place.contains(*dot) for dot in dots)
        own = dots[int(name.split()[1])]
        assert max(abs(np.clip(own, place.min, place.max) - own)) < 12  # pixels


def test_names_without_room_are_in_a_legend(arranged):
    points = points_of(arranged, [(30, 0.5)] * 12)
    (axes,) = figures.scatter(arranged[0], "across", "up", points, log=True).axes
    assert len(axes.texts) < 12 and len(axes.get_legend().get_texts()) == 12


@pytest.mark.parametrize("ends", [(20.0, 21.0), (4.0, 30.0), (0.5, 60.0), (0.1, 900.0)])
def test_labels_of_speeds_do_not_collide(arranged, ends):
    points = points_of(arranged, [(ends[0], 0.4), (ends[1], 0.5)])
    figure = figures.scatter(arranged[0], "across", "up", points, log=True)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    labels = [
        label.get_window_extent()
        for label, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
        if low <= at <= high and label.get_text()
    ]
    assert len(labels) >= 2
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(labels))


def test_radar_has_a_spoke_an_attribute(arranged):
    (axes,) = figures.radar(arranged[0]).axes
    entry, line = arranged[0].entries[0], axes.get_lines()[0]
    values = [entry.scored.by_attribute[name]["auc"] for name in arranged[0].attributes]
    np.testing.assert_allclose(line.get_ydata(), [*values, values[0]])


def test_every_figure_comes_in_three_formats(written):
    kinds = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    found = {path.stem for path in (written / "figures").iterdir()}
    assert {
        "ope-success",
        "ope-precision",
        "ope-normalised-precision",
        "ope-attributes",
        "ope-speed",
    } <= found
    assert {"sre-success", "baseline-accuracy-robustness", "baseline-expected-overlap"} <= found
    for stem, (kind, start) in itertools.product(found, kinds.items()):
        assert (written / "figures" / f"{stem}.{kind}").read_bytes().startswith(start)


def test_accuracy_and_robustness_are_those_scored(dataset):
    truth = scoring.annotations(dataset)
    compared = [scoring.score(failing("a", truth, at), truth, resamples=2) for at in (6, 7)]
    (section,) = sections.arrange(compared, [dataset] * 2)
    points = figures.accuracy_robustness_points(section)
    assert [point[1:] for point in points] == [
        (entry.scored.measures["robustness"], entry.scored.measures["accuracy"]) for entry in section.entries
    ]
    # One failure in each of three sequences of 20 frames on average.
    assert points[0][1] == pytest.approx(np.exp(-30 * 3 / sum(FRAMES.values())))


# ---- the page


class Page(html.parser.HTMLParser):
    """Elements of a page, its scripts and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.words, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text("utf-8"))


def test_page_says_that_intervals_are_of_few_sequences(page):
    assert (
        sum("Intervals over 3 sequences are narrower" in words for words in page.words) == 3
    )  # a section each


def test_page_asks_for_nothing(page):
    outside = [
        (tag, value)
        for tag, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "action", "data") and not value.startswith("data:")
    ]
    assert not outside
    (policy,) = (a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_names_are_text_on_the_page(page):
    tags = [tag for tag, _ in page.elements]
    assert "img" not in tags and len(page.scripts) == 3
    assert any(HOSTILE in words for words in page.words)
    data = json.loads(page.scripts[0])
    assert HOSTILE in [tracker["name"] for tracker in data["trackers"]]


def test_page_has_the_figures_with_their_intervals(page, arranged):
    words = " ".join(page.words)
    for entry in arranged[0].entries:
        low, high = entry.scored.intervals["auc"]
        assert f"{entry.scored.measures['auc']:.3f}" in words and f"{low:.3f}–{high:.3f}" in words
    assert "versions.jax" in words and "0123456789abcdef" in words


def test_page_says_what_is_lacking(quick, dataset, tmp_path):
    truth = scoring.annotations(dataset)
    part = {name: truth[name] for name in ("Deer", "Fish")}
    failed = run("short", 1, part)
    failed = type(failed)(
        "short", "ope", failed.trajectories, failures={"Coke": "Traceback\n  x\nOSError: gone"}
    )
    compared = [scoring.score(run("whole", 0, truth), truth), scoring.score(failed, part)]
    text = report.write(compared, tmp_path / "r", dataset=dataset).read_text("utf-8")
    assert "short lacks 1 of 3 sequences (Coke)" in text and "short failed on Coke: OSError: gone" in text


def test_without_images_there_are_boxes_all_the_same(quick, compared, tmp_path):
    bare = build(tmp_path / "bare", images=False)
    text = report.write(compared[:2], tmp_path / "r", dataset=bare).read_text("utf-8")
    film = json.loads(Page(text).scripts[0])["films"][0]
    assert not any(film["images"]) and len(film["path"]) > 5 and all(film["truth"])
    assert "data:image/jpeg" not in text


def test_frames_may_come_from_elsewhere(quick, compared, dataset, tmp_path):
    bare = build(tmp_path / "bare", images=False)
    path = report.write(compared[:2], tmp_path / "r", dataset=bare, images=dataset)
    assert path.read_text("utf-8").count("data:image/jpeg") > 10


# ---- the folder


def test_a_folder_is_replaced_only_if_it_holds_a_report(quick, compared, dataset, tmp_path):
    out = tmp_path / "report"
    out.mkdir()  # an empty one is taken
    report.write(compared[:1], out, dataset=dataset)
    with pytest.raises(JtrackError, match="not empty: give another, or --overwrite"):
        report.write(compared[:1], out, dataset=dataset)
    report.write(compared[:2], out, dataset=dataset, title="Again", overwrite=True)
    assert "Again" in (out / "report.html").read_text("utf-8")
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(JtrackError, match=r"'thesis.txt', which is of no report"):
        report.write(compared[:1], out, dataset=dataset, overwrite=True)
    assert (out / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (out.stat().st_mode & 0o777) == ((tmp_path / "report" / "figures").stat().st_mode & 0o777)


def test_refused_before_the_work(compared, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    for out, why in (
        ("file", "it is a file"),
        ("none/report", "there is no folder"),
        ("file/x", "there is no folder"),
    ):
        with pytest.raises(JtrackError, match=why):
            report.write(compared[:1], tmp_path / out, dataset=dataset)
    with pytest.raises(JtrackError, match="no results to report"):
        report.write([], tmp_path / "new", dataset=dataset)


def test_a_full_disk_is_one_sentence_and_keeps_the_earlier_report(quick, compared, dataset, tmp_path):
    out = tmp_path / "report"
    report.write(compared[:1], out, dataset=dataset, title="First")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # tables fit, the page does not
    try:
        with pytest.raises(JtrackError, match=r"cannot write the report .*: make room and run again"):
            report.write(compared[:1], out, dataset=dataset, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "First" in (out / "report.html").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_missing_packages_are_one_sentence(monkeypatch, compared, dataset, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(JtrackError, match=r"^a report needs .* plotly, .* -e '\.\[report\]'"):
        report.write(compared[:1], tmp_path / "r", dataset=dataset)


def test_import_loads_no_plotting():
    code = (
        "import sys, jtrack.benchmark.report, jtrack.cli.report;"
        "print([name for name in ('matplotlib', 'plotly', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_published_trackers_on_cvpr13(data_folder):
    """The legend of the paper: HCFT (CF2) .605."""
    folder = data_folder / "otb_benchmark"
    dataset = open_dataset("otb", folder / "annotations", subset="cvpr13")
    truth = scoring.annotations(dataset)
    found = [
        each for name in ("CF2", "KCF") for each in published.read(folder / "results" / f"{name}_OPE.json.gz")
    ]
    compared = [scoring.score(each, truth, subset="cvpr13") for each in found]
    (section,) = sections.arrange(compared, [dataset] * 2)
    (axes,) = figures.curves(section, section.curves[0]).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["CF2 [0.605]", "KCF [0.514]"]
    text = io.StringIO(tables.latex(tables.tables(section)[0], label="t")).read()
    assert re.search(r"CF2 & \\textbf\{0.605\} & \\textbf\{0.891\}", text)
