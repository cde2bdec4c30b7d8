"""Settings of a tracker in the lanes of one program: what each gives alone, at the price of one."""

import dataclasses

import numpy as np
import pytest

from jtrack.benchmark import adapters, protocol, results
from jtrack.benchmark.evaluate import evaluate, evaluate_all
from jtrack.data import Dataset, FrameSource, Sequence, from_arrays
from tests.conftest import ROOT
from tests.run import fake

OPE = protocol.load("ope")
RATES = (1.0, 0.0, 0.5, 2.0, 3.0)


def moving(name, frames, size=(60, 90)):
    """A sequence that the fake tracker follows at rate 1."""
    moves = np.random.default_rng(frames).integers(0, 3, (frames, 2))
    boxes = fake.path([10.0, 12, 20, 16], moves).astype(np.float64)
    return Sequence(name, boxes, size=size, frames=from_arrays(fake.video(moves, size), name=name))


def dataset(*sequences):
    by_name = {each.name: each for each in sequences}
    return Dataset("folder", ROOT, None, tuple(by_name), by_name.__getitem__, by_name.__getitem__)


# Two canvases.
DATA = dataset(moving("a", 23), moving("b", 31), moving("c", 9, (300, 200)))


def settings(rates=RATES, **config):
    return [adapters.ours(fake.build(fake.Config(**config), rate)) for rate in rates]


def boxes_of(folder):
    (loaded,) = results.load(folder)
    return {name: [each.boxes for each in done] for name, done in loaded.trajectories.items()}


@pytest.mark.parametrize(
    "lanes", [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("rules", ["ope", pytest.param("region_noise", marks=pytest.mark.slow)])
def test_each_setting_is_what_a_single_run_makes_of_it(tmp_path, lanes, rules):
    rules = protocol.load(rules)
    together = evaluate_all(settings(), DATA, rules, tmp_path / "together", lanes=lanes)
    for setting, done in zip(settings(), together, strict=True):
        alone = evaluate(setting, DATA, rules, tmp_path / "alone")
        assert done.folder.name == alone.folder.name
        assert (done.made, done.kept, done.failures) == (alone.made, 0, {})
        expected = boxes_of(alone.folder)
        found = boxes_of(done.folder)
        assert sorted(found) == sorted(expected) == ["a", "b", "c"]
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_the_rate_is_the_settings_own(tmp_path):
    """The boxes by hand."""
    start = DATA.sequence("a").boxes[0]
    moves = DATA.sequence("a").boxes - start
    for rate, done in zip(RATES, evaluate_all(settings(), DATA, OPE, tmp_path, lanes=4), strict=True):
        np.testing.assert_array_equal(boxes_of(done.folder)["a"], [start + rate * moves])


def test_more_settings_compile_nothing(tmp_path, compilations):
    evaluate_all(settings([1.0]), DATA, OPE, tmp_path / "one", lanes=4)
    with compilations() as seen:
        evaluate_all(settings(), DATA, OPE, tmp_path / "five", lanes=4)
    assert not seen


def test_a_video_is_decoded_once_for_all_settings(tmp_path):
    plain = moving("a", 23)
    images, read = list(plain.frames), []

    def pick(number):
        read.append(number)
        return images[number]

    source = FrameSource("a", plain.frames.size, len(images), None, lambda: iter(images), pick)
    counted = dataset(dataclasses.replace(plain, frames=source))
    done = evaluate_all(settings(), counted, OPE, tmp_path, lanes=3)
    assert [each.made for each in done] == [1] * len(RATES)
    assert sorted(read) == list(range(23))


def test_it_goes_on_with_what_single_runs_and_interrupted_sweeps_have_kept(tmp_path):
    first = evaluate(settings()[2], dataset(DATA.sequence("b")), OPE, tmp_path)

    def interrupt(progress):
        if progress.frames > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_all(settings(), DATA, OPE, tmp_path, lanes=2, on_progress=interrupt)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")}
    assert 1 < len(before) < 15
    done = evaluate_all(settings(), DATA, OPE, tmp_path, lanes=2)
    assert done[2].folder == first.folder
    assert sum(each.kept for each in done) == len(before)
    assert sum(each.made for each in done) == 15 - len(before)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")}.items()
    assert evaluate(settings()[4], DATA, OPE, tmp_path).made == 0


def test_settings_of_another_structure_run_as_well(tmp_path):
    mixed = [*settings([1.0, 2.0]), *settings([1.0, 2.0], learns=False), *settings([2.0], grid=2)]
    done = evaluate_all(mixed, DATA, OPE, tmp_path, lanes=4)
    assert len({each.folder for each in done}) == 5
    for rate, each in zip([1, 2, 1, 2, 2], done, strict=True):
        start = DATA.sequence("b").boxes[0]
        np.testing.assert_array_equal(
            boxes_of(each.folder)["b"], [start + rate * (DATA.sequence("b").boxes - start)]
        )


def test_a_failure_is_its_own_settings_alone(tmp_path):
    one = evaluate(settings()[1], dataset(DATA.sequence("a")), OPE, tmp_path)
    (one.folder / "ope" / "a.csv").write_text("nonsense")
    done = evaluate_all(settings(), DATA, OPE, tmp_path, lanes=4)
    assert [sorted(each.failures) for each in done] == [[], ["a"], [], [], []]
    assert [each.made for each in done] == [3, 2, 3, 3, 3]


def test_a_video_that_ends_early_fails_in_every_setting_and_takes_no_other_along(tmp_path):
    short = moving("short", 12)
    short = dataclasses.replace(short, frames=from_arrays(list(short.frames)[:5]))
    done = evaluate_all(settings(), dataset(short, DATA.sequence("a")), OPE, tmp_path, lanes=4)
    assert all(list(each.failures) == ["short"] and each.made == 1 for each in done)
    assert "its frames end after 5" in done[3].failures["short"].read_text()


def test_progress_counts_all_settings(tmp_path):
    evaluate(settings()[0], DATA, OPE, tmp_path)
    seen = []
    evaluate_all(settings(), DATA, OPE, tmp_path, lanes=4, on_progress=seen.append)
    assert {each.total for each in seen} == {(23 + 31 + 9) * 4}
    assert seen[-1].frames == seen[-1].total
    assert [each.frames for each in seen] == sorted(each.frames for each in seen)


def test_settings_of_a_name_are_those_of_single_runs_and_share_their_weights():
    texts = [["lost_below=0.02"], ["lost_below=0.1"], ["lost_below=2e-2"], ["scale=none"]]
    found = adapters.in_settings("hcft", texts, backbone="tiny")
    assert [each.bound.changes for each in found] == ["", "lost_below=0.02", "scale=none"]
    for each, changes in zip(found, [{}, {"lost_below": 0.02}, {"scale": None}], strict=True):
        single = adapters.evaluated("hcft", backbone="tiny", changes=changes)
        assert dict(each.label) == dict(single.label)
        assert each.deterministic == single.deterministic
    assert len({id(each.bound.params["backbone"]) for each in found}) == 1
