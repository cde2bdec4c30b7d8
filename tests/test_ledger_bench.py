"""The ledger's command and the tables that are made from it."""

import gzip
import json
import shutil

import pytest

from bench import ledger, parting, tables
from jtrack.benchmark import results, scoring
from jtrack.data import open_dataset
from jtrack.errors import JtrackError
from tests import test_bench
from tests.conftest import ROOT

LENGTHS, data = test_bench.LENGTHS, test_bench.data  # data: the fixture
PLAN = {"protocol": "ope", "data": [["otb", "otb"]], "runs": ["hcft default hog"], "repeats": 1}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "runs")
    monkeypatch.setattr(parting, "LEDGER", tmp_path / "runs")
    monkeypatch.setattr(ledger, "plans", lambda: {"small": PLAN})
    return tmp_path


def test_a_plan_goes_on_where_it_stopped(place, data, capsys):
    ledger.carry_out("small", place / "results", data, None)
    assert f"{len(LENGTHS)} run, 0 were there, 0 failed" in capsys.readouterr().out
    (kept,) = (place / "runs").glob("*.run.json.gz")
    content = json.loads(gzip.decompress(kept.read_bytes()))
    assert {name: len(trials[0]["boxes"]) for name, trials in content["trials"]["ope"].items()} == LENGTHS
    assert content["command"] == "python bench/ledger.py run small" and len(content["commit"]) >= 12
    shutil.rmtree(place / "results")  # another machine
    before = kept.read_bytes()
    ledger.carry_out("small", place / "results", data, None)
    assert f"0 run, {len(LENGTHS)} were there" in capsys.readouterr().out and kept.read_bytes() == before

    table = {"data": "otb", "runs": {"A run": kept.name.removesuffix(".run.json.gz")}}
    lines = tables.render(table, data).splitlines()
    assert lines[0] == "|  | A run |"
    figures = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines[2:]}
    assert set(LENGTHS) <= set(figures) and figures["frames"] == str(sum(LENGTHS.values()))
    (found,) = results.load(next((place / "results").glob("hcft-*")))
    truth = scoring.annotations(open_dataset("otb", data / "otb"))
    expected = scoring.score(found, truth, resamples=10).measures
    assert figures["**mean**"] == f"{expected['precision20']:.3f} / {expected['auc']:.3f}"
    assert figures["**mean**"].count("of") == 0 and figures["commit"] == content["commit"][:7]

    head, _, row = tables.render(table | {"means": "setting"}, data).splitlines()
    assert head == "| setting | precision at 20 px | AUC | SR@.5 | SR@.6 | seeds | commit | date |"
    of_run = [f"{expected[measure]:.3f}" for measure in ("precision20", "auc", "success50", "success60")]
    assert row.split(" | ")[:6] == ["| A run", *of_run, "1"]


def test_a_plan_may_set_numbers(place, data, monkeypatch):
    plan = PLAN | {"runs": ["hcft default hog learning_rate=0.02 scale=none"]}
    monkeypatch.setattr(ledger, "plans", lambda: {"small": plan})
    ledger.carry_out("small", place / "results", data, None)
    (kept,) = (place / "runs").glob("*.run.json.gz")
    label = json.loads(gzip.decompress(kept.read_bytes()))
    assert label["hyper"]["learning_rate"] == pytest.approx(0.02) and "scale=None" in label["config"]


def test_a_page_and_its_tables_belong_together():
    page = "a\n<!-- table: one -->\nold\n<!-- end of table -->\nb\n"
    assert tables.rendered(page, {"one": {"x": 1}}, lambda table: f"new {table}") == page.replace(
        "old", "new {'x': 1}"
    )
    for wrong in ({}, {"one": {}, "two": {}}, {"two": {}}):
        with pytest.raises(JtrackError, match=r"places for \['one'\]"):
            tables.rendered(page, wrong, str)
    with pytest.raises(JtrackError, match="run its plan"):
        tables.kept("nothing", "ope")


def test_the_tables_of_the_page_are_the_ledgers(data_folder):
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    made = tables.rendered(page, tables.specifications(), lambda table: tables.render(table, data_folder))
    assert made == page
