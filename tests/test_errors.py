"""The sentence about an unknown name."""

from jtrack.errors import unknown_name


def test_a_short_list_is_shown_whole_with_the_nearest_name():
    message = str(unknown_name("tracker", "hctf", ["hcft", "fcnt"]))
    assert message == "unknown tracker 'hctf': did you mean 'hcft'? known: hcft, fcnt"


def test_of_a_long_list_the_nearest_names_are_shown():
    layers = [f"conv{n}_{k}" for n in range(1, 11) for k in range(1, 11)]
    message = str(unknown_name("layer of net", "conv5-4", layers))
    assert "did you mean 'conv5_4'" in message
    assert "conv1_1, ..., conv10_10" in message
    assert len(message) < 200


def test_nothing_near():
    assert "did you mean" not in str(unknown_name("tracker", "zzz", ["hcft"]))
