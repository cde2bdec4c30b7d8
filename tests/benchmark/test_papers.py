"""The papers' figures as data, and what stands beside them, on results that the tests make up."""

import csv
import math

import numpy as np
import pytest
import report_world as world

from jtrack import trackers
from jtrack.benchmark import papers, published, scoring, stored_curves
from jtrack.benchmark.papers import layout, matching, writing
from jtrack.benchmark.papers.jobs import jobs
from jtrack.benchmark.papers.matching import Material
from jtrack.benchmark.results import Results
from jtrack.data import Annotation, open_dataset, otb
from jtrack.errors import JtrackError

MADE_UP = """
title = "Made up"
authors = "A and B"
venue = "C 2000"
tracker = "hcft"
networks = ["vgg19", "hog"]

[methods]
Ours = { published = "Boxes", runs = [{ profile = "paper" }, { profile = "c5", networks = ["tiny"] }] }
Rival = { curves = "Near" }
Unknown = {}

[[tables]]
id = "table1"
title = "Table 1"
caption = "Success rate at .6"
list = "cvpr13"
columns = [{ measure = "success60" }, { measure = "success60", attribute = "OCC" }]

[tables.values]
Ours = [0.5, nan]
Rival = [0.25, 0.125]
Unknown = [0.1, 0.2]

[[tables]]
id = "table2"
title = "Table 2"
caption = "Success by sequence"
list = "cvpr13"
measure = "auc"
by_sequence = true
methods = ["Ours"]

[[plots]]
id = "figure1"
title = "Figure 1"
caption = "Success plots"
curve = "success"
list = "cvpr13"

[plots.values]
Ours = [0.5]

[[plots]]
id = "figure2"
title = "Figure 2"
caption = "Precision by attribute"
curve = "precision"
list = "cvpr13"
attributes = ["OCC", "FM"]
"""


@pytest.fixture(scope="module")
def paper():
    return papers.parse("made_up", MADE_UP)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return scoring.annotations(world.build(tmp_path_factory.mktemp("otb"), images=False))


def run(truth, drift=1.0, *, network="hog", profile="paper", **label):
    """A run of jtrack's own."""
    label = {"tracker": "hcft", "backbone": network, "date": "2000-01-01", **label}
    return world.run("hcft", drift, truth, profile=profile, label=label)


def found(paper, material, method="Ours"):
    return matching.sources(paper, paper.methods[method], "ope", material)


# What the files say.


def test_every_tracker_has_its_paper():
    baseline = "correlation"  # of three papers, which jtrack does not make again
    assert papers.names() == sorted(set(trackers.names()) - {baseline})
    for name in papers.names():
        paper = papers.load(name)
        assert paper.tracker == name and paper.plots
        assert any(method.runs for method in paper.methods.values())
        assert {method for table in paper.all_tables for method in table.methods} == set(paper.methods)


def printed(name, table):
    return next(each for each in papers.load(name).all_tables if each.id == table)


def test_attributes_have_as_many_sequences_as_the_papers_say():
    """CNN-SVM, Tables 1 and 2, print the number of sequences of each attribute; HCFT's list has 100."""
    counts = [25, 39, 28, 29, 19, 12, 17, 31, 6, 21, 4]
    for table in ("table1", "table2"):
        columns = printed("cnn_svm", table).columns
        assert [len(column.sequences) for column in columns] == [*counts, 51]
    assert len(printed("hcft", "figure5-ope-success").columns[0].sequences) == 100


@pytest.mark.parametrize(("table", "other"), [("table1", "table3"), ("table2", "table2")])
def test_two_papers_print_the_same_of_the_same_tracker(table, other):
    """Both took them from the benchmark, but FCNT has .293 for SCM on motion blur, as the curves have not."""
    first, second = printed("cnn_svm", table), printed("fcnt", other)
    assert first.columns == second.columns
    both = first.values.keys() & second.values.keys()
    assert both == {"SCM", "Struck", "TLD", "ASLA", "CXT"}
    parting = {
        (method, column.attribute): (ours, theirs)
        for method in both
        for column, ours, theirs in zip(
            first.columns, first.values[method], second.values[method], strict=True
        )
        if ours != theirs
    }
    assert parting == ({("SCM", "MB"): (0.298, 0.293)} if table == "table1" else {})


@pytest.mark.parametrize(
    ("table", "legend"), [("table1", "figure4-success"), ("table2", "figure4-precision")]
)
def test_legends_print_the_means_of_the_tables(table, legend):
    table, legend = printed("cnn_svm", table), printed("cnn_svm", legend)
    assert table.columns[-1].measure == legend.columns[0].measure
    for method, row in table.values.items():
        assert legend.values[method] == row[-1:]


@pytest.mark.parametrize("name", ["cnn_svm", "fcnt", "gdt", "hcft"])
def test_a_paper_prints_one_figure_of_one_thing(name):
    """A method's measure on a whole list is the same in every table and legend, to the digits of each."""
    found = {}
    for table in papers.load(name).all_tables:
        for method, row in table.values.items():
            for column, value in zip(table.columns, row, strict=True):
                if column.is_overall and not math.isnan(value):
                    key = method, table.protocol, column.measure, column.list
                    found.setdefault(key, []).append(value)
    assert max(map(len, found.values())) > 1
    assert {key: values for key, values in found.items() if len(set(values)) > 1} == {}


def test_the_mean_is_of_sequences_not_of_attributes():
    """What CNN-SVM calls a weighted average is not the mean weighted by the counts that it prints."""
    table = printed("cnn_svm", "table1")
    counts = [len(column.sequences) for column in table.columns[:-1]]
    assert round(float(np.average(table.values["Ours"][:-1], weights=counts)), 3) == 0.567
    assert table.values["Ours"][-1] == 0.597


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('tracker = "hcft"', 'tracker = "hcf"', "unknown tracker 'hcf': did you mean 'hcft'"),
        ('profile = "paper"', 'profile = "papers"', "unknown profile of hcft 'papers'"),
        ('"vgg19", "hog"', '"vgg18"', "unknown network 'vgg18'"),
        ('list = "cvpr13"', 'list = "cvpr"', "unknown list of OTB 'cvpr'"),
        ('"success60" }', '"tsr" }', "unknown measure 'tsr'"),
        ('attribute = "OCC"', 'attribute = "XX"', "unknown attribute 'XX'"),
        ("Ours = [0.5, nan]", "Ours = [0.5]", "Ours has 1 numbers in 2 columns"),
        ("Ours = [0.5, nan]", "Ours = [50, nan]", "Ours has 50.0 for success60"),
        ("Ours = [0.5, nan]", "Us = [0.5, nan]", "unknown method 'Us'"),
        ('id = "table2"', 'id = "table1"', "the same id"),
        ('curve = "success"', 'curve = "auc"', "unknown curve 'auc'"),
        ('venue = "C 2000"', "", "venue"),
        ('title = "Made up"', "title = ", "paper made_up cannot be read"),
        ('title = "Table 1"', 'name = "Table 1"', "unknown key 'name'"),
    ],
)
def test_a_wrong_file_is_refused(before, after, message):
    assert before in MADE_UP
    with pytest.raises(JtrackError, match=message):
        papers.parse("made_up", MADE_UP.replace(before, after, 1))


# What stands beside them.


def test_the_best_network_then_the_most_sequences_then_the_latest(paper, truth):
    fewer = {name: truth[name] for name in ("Deer", "Coke")}
    best = run(truth, date="2000-02-01")
    others = [run(truth), run(fewer, date="2000-03-01"), run(truth, date="2000-01-31")]
    assert found(paper, Material([*others, best], truth))[0].found is best
    vgg19 = run(fewer, network="vgg19")
    assert found(paper, Material([best, vgg19], truth))[0].found is vgg19
    assert found(paper, Material([vgg19], truth))[0].title == "hcft paper on vgg19"


@pytest.mark.parametrize(
    "label",
    [
        {"changes": "learning_rate=0.1"},
        {"limit_frames": 5},
        {"tracker": "fcnt"},
        {"network": "tiny"},
        {"profile": "default"},
    ],
)
def test_other_runs_are_not_taken(paper, truth, label):
    source = found(paper, Material([run(truth, **label)], truth))[0]
    assert source.found is None and source.need == "hcft paper on vgg19 or hog"


def test_runs_and_boxes_are_told_apart(paper, truth):
    """A run of somebody's tracker of the same name is not what was published."""
    boxes, mine = world.run("Boxes", 2.0, truth), run(truth)
    same = world.run("Boxes", 0.0, truth, label={"tracker": "Boxes"})
    assert all(source.found is not same for source in found(paper, Material([same, boxes, mine], truth)))
    paper_run, other_run, published_boxes = found(paper, Material([boxes, mine], truth))
    assert paper_run.found is mine and paper_run.is_run
    assert other_run.found is None
    assert published_boxes.found is boxes and not published_boxes.is_run


def test_a_row_has_the_paper_s_measure_on_the_sequences_there_are(paper, truth):
    mine = run(truth)
    (row, *_) = matching.rows(paper, paper.tables[0], Material([mine], truth))
    scored = scoring.score(mine, truth)
    assert row.value(paper.tables[0].columns[0]) == pytest.approx(scored.measures["success60"])
    assert row.value(paper.tables[0].columns[1]) == scored.sequences["Coke"].measures["success60"]
    assert [row.covered(column) for column in paper.tables[0].columns] == [3, 1]


def test_published_boxes_come_again_on_the_sequences_of_the_run(paper, truth):
    boxes = world.run("Boxes", 2.0, truth)
    part = {name: truth[name] for name in ("Deer", "Coke")}
    rows = matching.rows(paper, paper.tables[0], Material([boxes, run(part)], truth))
    assert [(row.source.is_run, row.note) for row in rows] == [
        (True, ""),
        (False, ""),
        (False, "on the sequences of the run"),
    ]
    column = paper.tables[0].columns[0]
    assert [row.covered(column) for row in rows] == [2, 3, 2]
    assert rows[2].value(column) == pytest.approx(scoring.score(boxes, part).measures["success60"])


def test_results_that_cannot_be_scored_are_said(paper, truth):
    longer = {name: world.run("x", 1.0, truth).trajectories[name] for name in truth}
    damaged = run(truth)
    damaged.trajectories["Deer"][0] = longer["Fish"][0]  # of another length
    material = Material([damaged], truth)
    assert matching.rows(paper, paper.tables[0], material) == []
    assert "Deer" in next(iter(material.refused))


def test_a_figure_stands_beside_the_same_measure_alone(paper, truth):
    laid = layout.lay_out(
        paper.tables[0], matching.rows(paper, paper.tables[0], Material([run(truth)], truth))
    )
    assert laid.titles == ["SR@0.6", "OCC (29)", "AUC", "P@20", "SR@0.5", "Error"]
    theirs, ours = laid.lines[:2]
    assert (theirs.source, ours.source) == ("the paper", "hcft paper on hog")
    assert theirs.cells[0].text == "0.500" and ours.coverage == "3 of 51"
    assert all(math.isnan(cell.value) for cell in theirs.cells[1:])
    assert all(np.isfinite(cell.value) for cell in ours.cells)
    assert ours.cells[1].part == "1/29"


def test_equal_figures_are_marked_where_all_sequences_are_there(paper):
    """Boxes that are right everywhere have a rate of 1: of the paper's .5 and 1 one is equal."""
    annotation = {name: otb_annotation(name) for name in otb.lists()["cvpr13"]}
    perfect = world.run("Boxes", 0.0, annotation)
    table = papers.parse("x", MADE_UP.replace("[0.5, nan]", "[0.5, 1.0]")).tables[0]
    laid = layout.lay_out(table, matching.rows(paper, table, Material([perfect], annotation)))
    line = laid.lines[1]
    assert [cell.same for cell in line.cells] == [False, True, False, False, False, False]
    assert [(same, compared) for _, same, compared in layout.agreement(laid)] == [(1, 2)]
    part = {name: annotation[name] for name in ("Coke", "Deer")}
    laid = layout.lay_out(table, matching.rows(paper, table, Material([perfect], part)))
    assert not any(cell.same for cell in laid.lines[1].cells) and layout.agreement(laid) == []


def otb_annotation(name):
    boxes = np.tile([5.0, 5, 10, 10], (4, 1))
    return Annotation(name, boxes, attributes=otb.attributes(name))


# What is written.


def test_a_page_without_anything(paper, tmp_path):
    written = writing.write(paper, Material(), tmp_path / "out")
    page = written.page.read_text("utf-8")
    assert "Rival (OPE): stored curves of Near" in page and "hcft c5 on tiny" in page
    assert "<dt>c5</dt><dd>Figure 7: release2016 with the filter on the deepest layer alone.</dd>" in page
    assert written.missing == 4 and written.agreement == []
    with (tmp_path / "out" / "tables" / "table1.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["Method"], row["SR@0.6"], row["OCC (29)"]) for row in rows] == [
        ("Ours", "0.5", ""),
        ("Rival", "0.25", "0.125"),
        ("Unknown", "0.1", "0.2"),
    ]
    assert list((tmp_path / "out" / "figures").iterdir()) == []


def test_a_page_with_results(paper, truth, tmp_path):
    curves = [
        stored_curves.Stored(
            name, "ope", dict.fromkeys(truth, np.full(21, level)), dict.fromkeys(truth, np.full(51, level))
        )
        for name, level in (("Near", 0.1), ("A", 0.4), ("B", 0.3), ("C", 0.2))
    ]
    material = Material([run(truth), world.run("Boxes", 2.0, truth)], truth, curves)
    writing.write(paper, material, tmp_path / "out", top=2)
    figures = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert figures == [f"figure{number}-shared.{suffix}" for number in (1, 2) for suffix in ("pdf", "png")]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "one-pass evaluation, 3 of 51 sequences of cvpr13" in page
    latex = (tmp_path / "out" / "tables" / "table1.tex").read_text()
    assert r"Ours: hcft paper on hog, 3 of 51 &" in latex
    turned = (tmp_path / "out" / "tables" / "table2.csv").read_text().splitlines()
    assert turned[0].startswith('Sequence,"Ours: hcft paper on hog, 3 of 51"')
    assert [row.split(",")[0] for row in turned[1:]] == [*otb.lists()["cvpr13"], "AUC"]


@pytest.mark.parametrize(("top", "names"), [(0, []), (1, ["A"]), (2, ["A", "B"]), (9, ["A", "B", "Rival"])])
def test_the_best_others_stand_in_a_plot(paper, truth, top, names):
    curves = [
        stored_curves.Stored(
            name, "ope", dict.fromkeys(truth, np.full(21, level)), dict.fromkeys(truth, np.full(51, level))
        )
        for name, level in (("Near", 0.1), ("B", 0.3), ("A", 0.4))
    ]
    lacking = stored_curves.Stored("D", "ope", {"Deer": np.ones(21)}, {"Deer": np.ones(51)})
    material = Material([run(truth)], truth, [*curves, lacking])
    plot = paper.plots[1]
    assert matching.selections(paper, plot, material) == [otb.lists()["cvpr13"], ("Coke", "Deer", "Fish")]
    drawn = matching.entrants(paper, plot, ("Coke", "Deer", "Fish"), material, top=top)
    assert [entrant.name for entrant in drawn] == ["hcft paper on hog", *names]
    assert matching.entrants(paper, plot, otb.lists()["cvpr13"], material, top=top) == []


def test_names_are_escaped(truth, tmp_path):
    quoted = world.HOSTILE.replace("\\", "\\\\").replace('"', '\\"')
    text = MADE_UP.replace("Unknown =", f'"{quoted}" =').replace("Made up", quoted).replace("A and B", quoted)
    hostile = papers.parse("x", text)
    damaged = {world.HOSTILE: world.run("x", 1.0, truth).trajectories["Deer"]}
    boxes = Results("Boxes", "ope", {**damaged, **world.run("x", 1.0, truth).trajectories})
    boxes.trajectories["Coke"] = boxes.trajectories["Deer"]  # of another length
    page = writing.write(hostile, Material([boxes], truth), tmp_path / "out").page.read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert "What could not be scored" in page
    latex = (tmp_path / "out" / "tables" / "table1.tex").read_text()
    assert r"\textless{}img" in latex and "<img" not in latex


# The real ones.


@pytest.fixture(scope="module")
def benchmark(data_folder):
    folder = data_folder / "otb_benchmark"
    return Material(
        published.read(folder / "results"),
        scoring.annotations(open_dataset("otb", folder / "annotations")),
        stored_curves.read(folder / "curves"),
    )


def equal(name, tables, benchmark):
    """(table, method) -> (figures of ours that are the paper's to its last digit, figures compared)."""
    paper = papers.load(name)
    return {
        (table.id, line.method): (same, compared)
        for table in paper.tables
        if table.id in tables
        for line, same, compared in layout.agreement(
            layout.lay_out(table, matching.rows(paper, table, benchmark))
        )
    }


def test_cnn_svm_s_tables_from_the_published_boxes_and_curves(benchmark):
    """Tables 1 and 2: "Ours" and the ten trackers of the benchmark, eleven attributes and the mean."""
    methods = ["DFT", "LSK", "CSK", "VTS", "VTD", "CXT", "ASLA", "TLD", "Struck", "SCM", "Ours"]
    wanted = {(table, method): (12, 12) for table in ("table1", "table2") for method in methods}
    assert equal("cnn_svm", ("table1", "table2"), benchmark) == wanted


def test_hcft_s_table_from_the_published_boxes(benchmark):
    """Table 1's precision, success rate and error on both lists; its speeds are of another machine."""
    assert equal("hcft", ("table1",), benchmark)["table1", "Ours"] == (6, 6)
    assert equal("hcft", ("section6",), benchmark)["section6", "Ours"] == (1, 1)


def test_fcnt_s_tables_from_the_stored_curves(benchmark):
    found = equal("fcnt", ("table2", "table3"), benchmark)
    for table in ("table2", "table3"):
        for method in ("SCM", "Struck", "TLD", "ASLA", "CXT", "KCF"):
            misprinted = (table, method) == ("table3", "SCM")
            assert found[table, method] == (11 if misprinted else 12, 12)


# What is to be run.


def test_jobs_are_what_rows_lack(paper, truth, tmp_path):
    dataset = world.build(tmp_path, images=False)
    part = {"Deer": truth["Deer"]}
    older = world.run("hcft", 0.0, truth, profile="c5", seconds=0.5, label={"tracker": "hcft"})
    older.label.update(backbone="hog", date="1999-01-01")
    material = Material([run(part), older], truth)
    todo = jobs(paper, material, dataset, {"hog", "tiny"})
    # Deer, Coke and Fish have 24, 20 and 16 frames; only c5 was timed on hog, and nothing on tiny.
    assert [(job.profile, job.network, job.protocol, job.frames, job.seconds) for job in todo] == [
        ("paper", "hog", "ope", 60, 30.0),
        ("c5", "tiny", "ope", 60, None),
    ]
    assert set(todo[0].sequences) == {"Deer", "Coke", "Fish"}
    assert [job.profile for job in jobs(paper, Material([run(truth)], truth), dataset, {"hog"})] == []
    assert [job.network for job in jobs(paper, Material(), dataset, {"hog", "vgg19"})] == ["vgg19"]


def test_jobs_count_the_starts_of_a_protocol(truth, tmp_path):
    dataset = world.build(tmp_path, images=False)
    text = MADE_UP.replace('id = "table1"', 'id = "table1"\nprotocol = "sre"')
    found = {job.protocol: job.frames for job in jobs(papers.parse("x", text), Material(), dataset, {"hog"})}
    assert found == {"sre": 12 * 60, "ope": 60}
