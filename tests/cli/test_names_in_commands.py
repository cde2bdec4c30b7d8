"""Commands take names whatever their case, and results carry them as they are known."""

import json

import numpy as np
import pytest


@pytest.mark.slow
def test_a_run_is_kept_and_scored_by_names_in_any_case(jtrack, tmp_path):
    results = tmp_path / "results"
    tracker = ("--tracker", "HCFT", "--profile", "Default", "--backbone", "HOG", "--precision", "Float32")
    dataset = ("--dataset", "Synthetic", "--sequences", "ladybird-4", "--limit-frames", 3)
    said = jtrack("eval", *dataset, "--results", results, "--protocol", "OPE", *tracker).stdout
    assert "one-pass evaluation: 1 trial run" in said
    (run,) = results.glob("hcft-default-hog-*")
    label = json.loads((run / "run.json").read_text())
    assert [label[key] for key in ("tracker", "profile", "backbone", "precision", "dataset")] == [
        *("hcft", "default", "hog", "float32", "synthetic")
    ]
    again = jtrack("eval", *dataset, "--results", results, "--protocol", "ope", *map(str.lower, tracker))
    assert "0 trials run, 1 were there" in again.stdout
    figures = tmp_path / "figures.json"
    score = ("score", run, "--root", tmp_path, "--dataset", "SYNTHETIC", "--sequences", "ladybird-4")
    jtrack(*score, "--protocol", "Ope", "--json", figures)
    assert np.isfinite(json.loads(figures.read_text())["auc"])
    assert "unknown protocol of these results 'TRE'" in jtrack(*score, "--protocol", "TRE", code=2).stderr


def test_the_entry_for_the_vot_toolkit_has_the_known_names(jtrack):
    said = jtrack(
        "vot", "entry", "--tracker", "CNN-SVM", "--backbone", "Tiny", "--precision", "FLOAT32"
    ).stdout
    for option in ("--tracker=cnn_svm", "--profile=default", "--backbone=tiny", "--precision=float32"):
        assert option in said


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--tracker", "HCTF", "unknown tracker 'HCTF': did you mean 'hcft'"),
        ("--profile", "Papr", "unknown profile of hcft 'Papr': did you mean 'paper'"),
        ("--backbone", "VGG18", "unknown backbone 'VGG18': did you mean 'vgg19'"),
        ("--precision", "Float16", "unknown precision 'Float16': did you mean 'bfloat16'"),
    ],
)
def test_a_wrong_name_is_one_sentence(jtrack, folder, box, option, name, message):
    assert message in jtrack("track", folder, "--init", box, option, name, code=2).stderr
