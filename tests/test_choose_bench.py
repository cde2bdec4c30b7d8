"""Choosing settings by what they make of sequences that were left out."""

import json

import cv2
import numpy as np
import pytest

from bench import choose
from bench.choose import BASE, Start

VIDEOS = ("A", "B", "C-1", "C-2")


def outcomes(gains, starts=4, spread=0.0):
    """A setting's outcomes: .5 AUC and precision plus a gain on each target."""
    jitter = spread * np.tile([-1, 1], starts)[:starts]
    return {
        video: [
            Start(0.5 + gain + shift, 0.5 + gain, 0.0, ("tre6", number))
            for number, shift in enumerate(jitter)
        ]
        for video, gain in zip(VIDEOS, gains, strict=True)
    }


def test_targets_of_one_video_are_one():
    assert [choose.video_of(name) for name in ("Jogging-1", "Jogging-2", "Human4-2", "David")] == [
        "Jogging",
        "Jogging",
        "Human4",
        "David",
    ]
    assert choose.means(outcomes([0.0, 0.1, 0.2, 0.4])).tolist() == [
        pytest.approx([0.5, 0.5]),
        pytest.approx([0.6, 0.6]),
        pytest.approx([0.8, 0.8]),
    ]


def test_what_helps_one_video_alone_is_no_gain_where_that_is_left_out():
    found = {BASE: outcomes([0, 0, 0, 0]), "lucky": outcomes([0.6, -0.1, -0.1, -0.1])}
    gains, chosen = choose.left_out(found)
    # Without A the setting is worse than the profile; without B or C it looks better, and loses there.
    assert chosen == [BASE, "lucky", "lucky"]
    np.testing.assert_allclose(gains[:, 0], [0, -0.1, -0.1])
    assert "| lucky |" in choose.table(found) and "| no |" in choose.table(found)


def test_a_gain_everywhere_is_taken_and_a_loss_beyond_the_spread_is_not():
    base = outcomes([0, 0, 0, 0])
    table = choose.table({BASE: base, "better": outcomes([0.1, 0.12, 0.11, 0.11])})
    assert "| better | 0.610 | 0.610 | 0.000 | +0.110 " in table and table.count("| yes |") == 1
    assert "chosen: better 3 times" in table
    video, loss = choose.worst_loss(outcomes([0.2, -0.1, 0.2, 0.2], spread=0.02), base)
    assert video == "B" and loss == pytest.approx(0.1 - np.std([0.02, -0.02] * 2, ddof=1) / 2)


def test_a_setting_that_was_given_up_is_compared_from_the_starts_it_has():
    base = outcomes([0, 0, 0, 0])
    for starts in base.values():  # the profile fails from the starts that the other did not run from
        starts[2:] = [start._replace(auc=0.1, precision=0.1) for start in starts[2:]]
    table = choose.table({BASE: base, "quit": outcomes([0.05] * 4, starts=2)})
    assert "| quit, from 8 of 16 starts | 0.550 | 0.550 | 0.000 | +0.050 " in table
    assert f"chosen: {BASE} 3 times" in table


@pytest.mark.slow
def test_a_search_runs_halves_and_goes_on(tmp_path, monkeypatch, capsys):
    from jtrack.data import otb, synthetic

    for number in range(2):
        folder = tmp_path / "data" / "made" / f"Clip{number}"
        clip = synthetic.clip(frames=40, size=(120, 160), seed=number)
        (folder / "img").mkdir(parents=True)
        for index, image in enumerate(clip.frames):
            cv2.imwrite(str(folder / "img" / f"{index + 1:04d}.jpg"), image[:, :, ::-1])
        otb.write_boxes(folder / "groundtruth_rect.txt", clip.boxes)
    monkeypatch.setattr(choose, "LEDGER", tmp_path / "runs")
    monkeypatch.setattr(choose, "CUT", 5)
    search = {
        "tracker": "hcft",
        "profile": "default",
        "network": "hog",
        "data": ["made"],
        "candidates": {
            "slow": {"set": ["learning_rate=0.001"]},
            "fast": {"set": ["learning_rate=0.05"]},
        },
    }
    (tmp_path / "runs").mkdir()
    choose.carry_out("small", search, tmp_path / "results", tmp_path / "data")
    kept = json.loads((tmp_path / "runs" / "choices-small.json").read_text())
    assert list(kept) == [BASE, "slow", "fast"] and len(list((tmp_path / "runs").glob("*.run.json.gz"))) == 3
    found = choose.outcomes("small", search, tmp_path / "results", tmp_path / "data")
    counts = sorted(len(starts) for each in found.values() for starts in each.values())
    assert counts == [4] * 2 + [10] * 4  # one candidate was given up
    capsys.readouterr()
    choose.carry_out("small", search, tmp_path / "elsewhere", tmp_path / "data")  # from the ledger alone
    assert choose.table(found).splitlines()[2].startswith(f"| {BASE} |")
