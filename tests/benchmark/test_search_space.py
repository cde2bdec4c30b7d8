"""What a sweep tries: values, ranges, grids and draws."""

import numpy as np
import pytest

from jtrack import settings, trackers
from jtrack.benchmark import search_space
from jtrack.benchmark.search_space import Range, Values
from jtrack.errors import JtrackError

PROFILE = trackers.profile("hcft", "default", "tiny")


def space(*texts):
    return search_space.parse(PROFILE, texts)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("learning_rate=0.005,0.01,0.02", ("0.005", "0.01", "0.02")),
        ("learning_rate=0.02", ("0.02",)),
        ("learning_rate=0.02,0.02", ("0.02",)),
        ("layer_weights=1,0.5,0.2", ("1,0.5,0.2",)),
        ("layer_weights=1,0.5,0.2;1,1,1", ("1,0.5,0.2", "1,1,1")),
        ("grid=32,32;none", ("32,32", "none")),
        ("localisation=cell,soft", ("cell", "soft")),
        ("scale=none,Pyramid", ("none", "Pyramid")),
        ("scale.count=17,33", ("17", "33")),
    ],
)
def test_values_are_told_apart(text, values):
    assert space(text) == [Values(text.partition("=")[0], values)]


def test_fields_of_a_part_that_is_set_as_well():
    without = PROFILE.replace(scale=None)
    found = search_space.parse(without, ["scale.count=9,17", "scale=Pyramid"])
    assert [field.name for field in found] == ["scale.count", "scale"]
    counts = [settings.apply(without, each).config.scale.count for each in search_space.grid(found)]
    assert counts == [9, 17]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["learning_rate"], "'learning_rate' tries nothing: give NAME=VALUES"),
        (["learning_rate=1", "learning_rate=2"], "learning_rate is given twice"),
        (["learning_rat=1,2"], "did you mean 'learning_rate'"),
        (["learning_rate=0.1,fast"], "learning_rate is 'fast': it must be a number"),
        (["learning_rate=0.1,,0.2"], "learning_rate is ''"),
        (["grid=32,32,48,48"], "put ; between values that have commas themselves"),
        (["learning_rate=0.1..0.01"], "its first end must be the lower one"),
        (["learning_rate=0.1..inf"], "learning_rate takes no range"),
        (["info=false..true"], "info takes no range"),
        (["localisation=cell..soft"], "localisation takes no range"),
        (["learning_rate=0.1.."], "learning_rate is ''"),
    ],
)
def test_what_is_refused(texts, said):
    with pytest.raises(JtrackError, match="^[^\n]*" + said.replace("(", r"\(")):
        space(*texts)


def test_the_grid_is_every_combination():
    both = space("learning_rate=0.1,0.2", "layer_weights=1,0.5,0.2;1,1,1")
    assert search_space.grid(both) == [
        ("learning_rate=0.1", "layer_weights=1,0.5,0.2"),
        ("learning_rate=0.1", "layer_weights=1,1,1"),
        ("learning_rate=0.2", "layer_weights=1,0.5,0.2"),
        ("learning_rate=0.2", "layer_weights=1,1,1"),
    ]


def test_a_grid_has_no_range_and_an_end():
    with pytest.raises(JtrackError, match="learning_rate is a range: say how many settings to draw"):
        search_space.grid(space("learning_rate=0.1..0.2"))
    many = ",".join(f"0.{number:02d}" for number in range(1, 18))
    with pytest.raises(JtrackError, match="these are 289 settings, more than 256"):
        search_space.grid(space(f"learning_rate={many}", f"temperature={many}"))


def drawn(field, count=200):
    return np.array([float(text.partition("=")[2]) for (text,) in search_space.draws([field], count)])


def test_a_range_is_drawn_evenly_in_its_logarithm():
    values = drawn(Range("learning_rate", 0.001, 0.1))
    assert (values >= 0.001).all() and (values <= 0.1).all()
    # Of 200 even draws the mean is within 5 standard errors, 5 / sqrt(12 * 200), of the middle.
    assert abs(np.log10(values).mean() + 2) < 2 * 5 / np.sqrt(12 * 200)
    assert all(float(f"{value:.4g}") == value for value in values)


def test_a_range_that_is_not_positive_is_drawn_evenly():
    values = drawn(Range("radius", 0.0, 8.0))
    assert abs(values.mean() - 4) < 8 * 5 / np.sqrt(12 * 200)


def test_whole_numbers_stay_whole_and_reach_both_ends():
    assert space("scale.count=5..9") == [Range("scale.count", 5, 9)]
    texts = [text for (text,) in search_space.draws(space("scale.count=5..9"), 5)]
    assert sorted(texts) == [f"scale.count={number}" for number in range(5, 10)]


def test_draws_are_repeated_by_their_seed_and_differ():
    both = space("learning_rate=0.001..0.1", "localisation=cell,soft")
    first = search_space.draws(both, 5, seed=3)
    assert search_space.draws(both, 9, seed=3)[:5] == first
    assert search_space.draws(both, 5, seed=4) != first
    assert len(set(first)) == 5
    for setting in first:
        settings.apply(PROFILE, setting)


def test_no_more_draws_than_there_are_settings():
    few = space("localisation=cell,soft", "info=true,false")
    assert sorted(search_space.draws(few, 4)) == sorted(search_space.grid(few))
    with pytest.raises(JtrackError, match="no 5 different settings to draw, only 4"):
        search_space.draws(few, 5)
    for count in (0, 257):
        with pytest.raises(JtrackError, match=f"the number of draws is {count}: give 1 to 256"):
            search_space.draws(few, count)
    with pytest.raises(JtrackError, match="the seed is -1: give 0 or more"):
        search_space.draws(few, 2, seed=-1)
