"""What a sweep comes to: differences to the base, what they allow to say, the table and the plots."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from jtrack import trackers
from jtrack.benchmark import bootstrap, layouts, sensitivity
from jtrack.benchmark.report import sensitivity_plots
from jtrack.benchmark.results import Results
from jtrack.benchmark.sensitivity import Outcome, compare_to_base
from jtrack.data import Annotation
from jtrack.errors import JtrackError

LENGTH = 30
THRESHOLDS = np.linspace(0, 1, 21)


def moved(pixels):
    """A box of 20 x 20 in every frame, so many pixels to the right of the target."""
    return np.tile([20.0 + pixels, 20, 20, 20], (LENGTH, 1))


def truth(count):
    return {f"S{n}": Annotation(f"S{n}", moved(0), size=(99, 99)) for n in range(count)}


def results(shifts):
    """A setting whose boxes are so many pixels off in all frames of a sequence; None: it has none of it."""
    trials = {f"S{n}": [layouts.tracked(moved(s))] for n, s in enumerate(shifts) if s is not None}
    return Results("fake", "ope", trials)


def auc(shift):
    """By hand: the part of the thresholds that the overlap is above. The first box is given."""
    given, found = ((overlap > THRESHOLDS).mean() for overlap in (1, (20 - shift) / (20 + shift)))
    return (given + (LENGTH - 1) * found) / LENGTH


def outcome(**values):
    changes = " ".join(f"{name}={value}" for name, value in values.items() if value != "0.01")
    return Outcome(changes, values, Path(f"run-{changes}"))


def swept(*shifts, rates=("0.01", "0.02", "0.05", "0.2")):
    """Settings of a learning rate, the base first."""
    outcomes = [outcome(learning_rate=rate) for _, rate in zip(shifts, rates, strict=False)]
    return compare_to_base(outcomes, [results(each) for each in shifts], truth(len(shifts[0])))


BASE, BETTER, MIXED = [2, 4, 6, 8, 5, 3], [1, 3, 4, 7, 4, 2], [1, 9, 2, 12, 5, 6]


def test_differences_are_paired_by_sequence():
    base, mixed = swept(BASE, MIXED)
    own, others = np.array([list(map(auc, shifts)) for shifts in (MIXED, BASE)])
    expected = bootstrap.difference_interval(own, others)
    assert base.differences == {} and base.scored.measures["auc"] == pytest.approx(others.mean())
    assert mixed.differences["auc"] == pytest.approx([float(each) for each in expected])
    assert mixed.differences["auc"].mean == pytest.approx(own.mean() - others.mean())


def test_the_sequences_it_loses_most_on():
    _, mixed, better = swept(BASE, MIXED, BETTER)
    names, losses = zip(*mixed.losses, strict=True)
    assert names == ("S1", "S3")
    assert losses == pytest.approx([auc(9) - auc(4), auc(12) - auc(8)])
    assert better.losses == []


def test_only_an_interval_above_zero_is_called_better():
    said = sensitivity.verdict(swept(BASE, BETTER, MIXED))
    gain = np.mean(list(map(auc, BETTER))) - np.mean(list(map(auc, BASE)))
    assert said.startswith(f"learning_rate=0.02 is better than the base in AUC by {gain:+.3f} [+")
    # Higher in the mean, by one sequence alone.
    lucky = [*BASE[:3], 0, *BASE[4:]]
    said = sensitivity.verdict(swept(BASE, lucky, MIXED))
    assert said.startswith("none of 2 settings is shown to be better than the base in AUC: the highest, ")
    assert "learning_rate=0.02, by +" in said
    said = sensitivity.verdict(swept(BASE, BETTER, BETTER))
    assert said.endswith("; 1 more of 2 are, too")


def test_a_single_sequence_shows_nothing():
    outcomes = swept([5], [1])
    assert math.isnan(outcomes[1].differences["auc"].low)
    assert "not shown to be better" in sensitivity.verdict(outcomes)
    assert sensitivity.verdict(swept([5])) == "there is no setting but the base"


def test_cautions():
    assert sensitivity.cautions(swept(BASE, MIXED)) == []
    (few,) = sensitivity.cautions(swept(BASE[:4], MIXED[:4]))
    assert few.startswith("the number of sequences is 4")
    (many,) = sensitivity.cautions(swept(BASE, MIXED, BETTER))
    assert many.startswith("2 settings were compared")


def test_a_setting_that_lacks_a_sequence_is_not_compared_and_the_others_are():
    base, lacking, whole = swept(BASE, [*MIXED[:4], None, None], MIXED)
    assert lacking.why == "4 of 6 sequences" and lacking.scored is None and not lacking.differences
    assert len(whole.scored.sequences) == len(base.scored.sequences) == 6
    base, whole = swept([*BASE[:5], None], MIXED)  # what the base lacks is left out
    assert list(whole.scored.sequences) == list(base.scored.sequences) == [f"S{n}" for n in range(5)]


def test_without_the_base_there_is_no_comparison():
    with pytest.raises(JtrackError, match="the base has no results"):
        compare_to_base([outcome(learning_rate="0.01")], [None], truth(3))
    base, gone = outcome(learning_rate="0.01"), outcome(learning_rate="0.02")
    _, gone = compare_to_base([base, gone], [results(BASE), None], truth(6))
    assert gone.why == "0 of 6 sequences"


def test_the_file_holds_what_was_found(tmp_path):
    outcomes = swept(BASE, MIXED, [*MIXED[:4], None, None])
    sensitivity.write_csv(tmp_path / "sweep.csv", outcomes)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        base, mixed, lacking = csv.DictReader(file)
    assert [row["learning_rate"] for row in (base, mixed, lacking)] == ["0.01", "0.02", "0.05"]
    assert base["setting"] == "" and mixed["setting"] == "learning_rate=0.02"
    assert float(base["auc"]) == pytest.approx(np.mean(list(map(auc, BASE))), rel=1e-5)
    assert base["auc_difference"] == lacking["auc"] == ""
    numbers = [float(mixed[f"auc_{part}"]) for part in ("difference", "low", "high")]
    assert numbers == pytest.approx(list(outcomes[1].differences["auc"]), rel=1e-5)
    assert mixed["loses_most_on"].startswith("S1:-0.") and mixed["run"] == outcomes[1].folder.name
    assert lacking["not_compared"] == "4 of 6 sequences"


def test_values_of_a_tracker_as_text():
    changed = {"learning_rate": 0.02, "scale": None}
    bound = trackers.create("hcft", backbone="tiny", changes=changed)
    names = ["learning_rate", "scale", "scale.count", "layer_weights"]
    assert sensitivity.values_of(bound, names) == {
        "learning_rate": "0.02",
        "scale": "none",
        "scale.count": "",
        "layer_weights": "1,0.5,0.25",
    }


def test_only_single_numbers_that_change_are_plotted():
    values = {"learning_rate": "0.01", "label_width": "0.1", "scale": "none", "scale.count": ""}
    outcomes = [Outcome("", values, Path("a"))]
    changed = {"learning_rate": "0.02", "scale": "Pyramid", "scale.count": "17"}
    outcomes.append(Outcome("x", values | changed, Path("b")))
    assert sensitivity_plots.numbers(outcomes) == ["learning_rate"]


def test_a_plot_shows_the_figures_the_intervals_and_the_base():
    outcomes = swept(BASE, MIXED, BETTER, [*MIXED[:4], None, None])
    sheet = sensitivity_plots.plot(outcomes, "learning_rate")
    assert [axes.get_ylabel() for axes in sheet.axes] == ["AUC", "P@20"]
    level, line, star = sheet.axes[0].get_lines()
    measured = [each.scored.measures["auc"] for each in outcomes[:3]]
    np.testing.assert_allclose(line.get_xydata(), np.transpose([[0.01, 0.02, 0.05], measured]))
    np.testing.assert_allclose(star.get_xydata(), [[0.01, measured[0]]])
    assert level.get_ydata() == [measured[0]] * 2
    bars = [bar.get_segments()[0][:, 1] for bar in sheet.axes[0].collections]
    ends = [measured[0] + np.array(each.differences["auc"][1:]) for each in outcomes[1:3]]
    np.testing.assert_allclose(bars, ends)
    low, high = sheet.axes[0].get_ylim()
    assert low < np.min(bars) and np.max([*np.ravel(bars), *measured]) < high
    assert sheet.axes[0].get_xlim()[0] < 0.01 and sheet.axes[0].get_xlim()[1] > 0.05
    assert sheet.axes[0].get_xscale() == "log"  # 0.01 to 0.2, the last of which could not be compared


def grid(rates, widths):
    """A grid of two numbers, of which the base is one; figures are the same everywhere."""
    values = [(rate, width) for rate in rates for width in widths]
    outcomes = [Outcome(f"{n}", {"rate": r, "width": w}, Path(f"{n}")) for n, (r, w) in enumerate(values)]
    return compare_to_base(outcomes, [results(BASE)] * len(values), truth(6), resamples=20)


def test_settings_that_differ_in_one_number_alone_are_joined():
    lines = sensitivity_plots.joined(grid(["1", "2", "3"], ["5", "6"]), "rate")
    assert {title: [each.values["rate"] for each in line] for title, line in lines.items()} == {
        "width=5": ["1", "2", "3"],
        "width=6": ["1", "2", "3"],
    }


def test_a_base_like_no_other_is_a_star_alone():
    base, *others = grid(["1", "2"], ["5", "6"])
    apart = Outcome("", {"rate": "1", "width": "9"}, base.folder, base.scored)
    assert list(sensitivity_plots.joined([apart, *others], "rate")) == ["width=6", "width=5"]


def test_more_lines_than_a_legend_holds_are_coloured_by_the_other_number():
    few = sensitivity_plots.plot(grid(["1", "2"], ["5", "6", "7"]), "rate")
    assert len(few.axes) == 2 and len(few.legends) == 1
    few.draw_without_rendering()
    assert few.legends[0].get_window_extent().x0 > max(axes.get_window_extent().x1 for axes in few.axes)
    many = sensitivity_plots.plot(grid(["1", "2"], [str(n) for n in range(1, 9)]), "rate")
    assert not many.legends
    assert many.axes[2].get_ylabel() == "width"  # of the bar of colours
    lines = many.axes[0].get_lines()[1:-1]
    assert len({tuple(line.get_color()) for line in lines}) == len(lines) == 8


def test_the_plots_are_files(tmp_path):
    paths = sensitivity_plots.write(swept(BASE, MIXED), tmp_path)
    assert [path.name for path in paths] == ["sweep-learning_rate.png", "sweep-learning_rate.pdf"]
    assert paths[0].read_bytes()[:4] == b"\x89PNG" and paths[1].read_bytes()[:4] == b"%PDF"
    assert sorted(tmp_path.iterdir()) == sorted(paths)
