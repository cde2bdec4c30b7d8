"""Protocols as data, and the frames and boxes they start from."""

import gzip
import json
from importlib import resources

import numpy as np
import pytest

from jtrack.benchmark import protocol
from jtrack.benchmark.protocol import Protocol, Trial, load, noisy, parse, trials
from jtrack.data import Annotation, synthetic
from jtrack.data.otb import ORIGIN, ranges, read_boxes
from jtrack.errors import JtrackError

LEAST = 'title = "t"\nsource = "s"\nmeasures = "otb"\npooling = "frames"\n'


def walk(length, *, box=(10, 20, 30, 40), size=None, name="walk"):
    return Annotation(name, np.tile(np.array(box, float), (length, 1)) - ORIGIN, size=size)


@pytest.mark.parametrize("name", protocol.names())
def test_every_file_is_a_protocol(name):
    found = load(name)
    assert found.name == name
    assert len(found.title) > 5 and len(found.source) > 20
    assert found.segments >= 1 and found.repetitions >= 1 and 0 <= found.noise < 1
    assert found.restart_after is None or found.restart_after >= 1
    for other in (found.shifts, found.corners):
        assert all(len(pair) == 2 for pair in other)
    hash(found)


def test_the_protocols_are_those_of_the_benchmarks():
    assert protocol.names() == [
        *("baseline", "got10k", "grayscale", "ope", "region_noise"),
        *("sre", "sre4", "tre", "tre6", "unsupervised"),
    ]
    files = {path.name for path in (resources.files("jtrack.benchmark") / "protocols").iterdir()}
    assert files == {f"{name}.toml" for name in protocol.names()}
    for name in ("baseline", "region_noise", "grayscale"):
        supervised = load(name)
        assert (supervised.restart_after, supervised.burn_in, supervised.repetitions) == (5, 10, 15)
    assert load("region_noise").noise == 0.1 and load("grayscale").greyscale
    assert load("unsupervised").restart_after is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segment = 3", "unknown key of protocol x 'segment': did you mean 'segments'"),
        ("segments = 2.5", "segments of protocol x is 2.5: needed is int"),
        ("segments = true", "segments of protocol x is True"),
        ("shifts = [[0.1]]", r"shifts of protocol x is \[\[0.1\]\]"),
        ("restart_after = 'no'", "restart_after of protocol x is 'no'"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused(text, message):
    with pytest.raises(JtrackError, match=message):
        parse("x", LEAST + text)


def test_missing_and_wrong_words_are_refused():
    with pytest.raises(JtrackError, match="lacks title"):
        parse("x", LEAST.replace('title = "t"', ""))
    with pytest.raises(
        JtrackError, match="measures of protocol x is 'tob': needed is 'otb' or 'vot' or 'got'"
    ):
        parse("x", LEAST.replace("otb", "tob"))
    with pytest.raises(JtrackError, match="did you mean 'ope'"):
        load("opee")


def test_one_pass_is_the_whole_sequence_from_its_annotation():
    (trial,) = trials(load("ope"), walk(30))
    assert trial[:4] == ("walk", 0, 0, 30) and trial.seed == 0
    np.testing.assert_array_equal(trial.box, [9, 19, 30, 40])
    (short,) = trials(load("ope"), walk(30), limit=7, seed=4)
    assert (short.end, short.seed) == (7, 4)


def test_segments_of_the_toolkit_by_hand():
    # 400 frames: the last start is frame 381 (counted from 1), and 19 others are 381 / 19 frames apart.
    starts = [trial.start for trial in trials(load("tre"), walk(400))]
    assert starts == [int(1 + k * 381 / 19) - 1 for k in range(19)] + [380]
    assert all(trial.end == 400 for trial in trials(load("tre"), walk(400)))


def reference_segments(rows, excluded, segments=20, least=20):
    """The toolkit's own steps, written out in numbers counted from 1."""
    index = [i for i in range(1, len(rows) + 1) if not any(a <= i <= b for a, b in excluded)]
    index = [i for i in index if not ((rows[i - 1] < 0).any() or (rows[i - 1] <= 0).all())]
    last = max(k for k, i in enumerate(index, 1) if len(rows) - i + 1 >= least)
    places, at = [], 1.0
    while at <= last:
        places.append(int(at))
        at = 1 + len(places) * (last / (segments - 1))
    return [index[place - 1] - 1 for place in [*places, last]]


@pytest.mark.parametrize("length", [30, 45, 71, 400, 725])
@pytest.mark.parametrize("excluded", [[], [(1, 5), (9, 15)], [(8, 27)]])
def test_segments_are_those_of_the_toolkits_steps(length, excluded):
    annotation = walk(length)
    annotation.boxes[3] = -5  # a negative row is no start
    omitted = [(first - 1, last - 1) for first, last in excluded]
    starts = [trial.start for trial in trials(load("tre"), annotation, omitted=omitted)]
    assert starts == reference_segments(annotation.boxes + ORIGIN, excluded)


def test_a_start_is_a_frame_with_a_target():
    annotation = walk(40)
    annotation.boxes[:2] = np.zeros(4) - ORIGIN
    (trial,) = trials(load("ope"), annotation)
    assert trial.start == 2
    annotation.boxes[:] = np.nan
    with pytest.raises(JtrackError, match="walk has no frame to start from"):
        trials(load("ope"), annotation)


@pytest.mark.parametrize("name", ["ope", "sre", "baseline", "unsupervised", "got10k"])
def test_a_target_across_the_border_is_a_start(name):
    """Boxes of VOT and GOT-10k may begin left of the image: their kits start in frame 0 all the same."""
    annotation = walk(40)
    annotation.boxes[0, :2] = [-7, -2]
    assert {trial.start for trial in trials(load(name), annotation, repeats=1)} == {0}


def test_shifted_boxes_by_hand():
    boxes = [trial.box + ORIGIN for trial in trials(load("sre"), walk(5, box=(198, 214, 34, 81)))]
    expected = [  # left, right, up, down, the corners, .8, .9, 1.1, 1.2
        [194, 214, 34, 81], [202, 214, 34, 81], [198, 205, 34, 81], [198, 223, 34, 81],
        [195, 206, 37, 89], [198, 206, 37, 89], [195, 214, 37, 89], [198, 214, 37, 89],
        [201, 222, 27, 65], [200, 218, 31, 73], [196, 210, 37, 89], [195, 206, 41, 97],
    ]  # fmt: skip
    np.testing.assert_array_equal(boxes, expected)


def test_shifted_boxes_are_those_the_authors_started_from(data_folder):
    """The first boxes of a tracker's published SRE results, on 51 sequences."""
    folder = data_folder / "otb_benchmark"
    with gzip.open(folder / "results" / "CT_SRE.json.gz") as file:
        published = json.load(file)
    seen = 0
    for name, runs in published.items():
        boxes = read_boxes(folder / "annotations" / "anno" / f"{name}.txt")
        first, last = ranges().get(name, (1, len(boxes)))
        if len(boxes) != last - first + 1:
            boxes = boxes[first - 1 : last]
        size = (352, 624) if name == "Singer1" else None  # the only one whose boxes leave the image
        found = trials(load("sre"), Annotation(name, boxes, size=size))
        np.testing.assert_array_equal([t.box + ORIGIN for t in found], [run["res"][0] for run in runs], name)
        seen += len(found)
    assert seen == 612


def test_repetitions_follow_each_other():
    found = trials(load("tre"), walk(400), repeats=2, seed=5)
    assert [trial.number for trial in found] == list(range(40))
    assert [trial.start for trial in found[:20]] == [trial.start for trial in found[20:]]
    assert {trial.seed for trial in found[:20]} == {5} and {trial.seed for trial in found[20:]} == {6}
    assert len(trials(load("baseline"), walk(30))) == 15


def test_region_noise_moves_and_scales_by_a_tenth():
    noise = load("region_noise")
    found = trials(noise, walk(30, box=(101, 201, 40, 20)), repeats=400)
    boxes = np.array([trial.box for trial in found])
    assert len(np.unique(boxes, axis=0)) == 400
    scale = boxes[:, 2:] / [40, 20] - 1
    move = (boxes[:, :2] + boxes[:, 2:] / 2 - [120, 210]) / [40, 20]
    for part in (scale, move):  # evenly spread over [-0.1, 0.1]: its deviation is 0.1 / sqrt(3)
        assert np.abs(part).max() <= 0.1
        np.testing.assert_allclose(part.std(axis=0), 0.1 / np.sqrt(3), rtol=0.1)
        np.testing.assert_allclose(part.mean(axis=0), 0, atol=0.012)


def test_region_noise_is_seeded():
    noise, box = load("region_noise"), np.array([10.0, 10, 40, 20])
    trial = Trial("walk", 0, 0, 9, box, 3)
    first = noisy(noise, trial, 5, box)
    np.testing.assert_array_equal(first, noisy(noise, trial, 5, box))
    others = [noisy(noise, trial, 6, box), noisy(noise, trial._replace(seed=4), 5, box)]
    others.append(noisy(noise, trial._replace(sequence="run"), 5, box))
    assert not any(np.array_equal(first, other) for other in others)
    np.testing.assert_array_equal(noisy(load("baseline"), trial, 5, box), box)


def test_a_test_set_has_one_box_and_all_its_frames():
    clip = synthetic.clip(frames=6, size=(48, 64))
    hidden = type(clip)(clip.name, clip.boxes[:1], frames=clip.frames)
    (trial,) = trials(load("got10k"), hidden, repeats=1)
    assert (trial.start, trial.end) == (0, 6)


def test_a_protocol_is_one_value():
    with pytest.raises(AttributeError):
        load("ope").segments = 3
    assert isinstance(load("ope"), Protocol) and load("ope") == load("ope")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("segments = 100000000", "segments of protocol x has 100000000: allowed is 1 to 1000"),
        ("segments = 0", "segments of protocol x has 0: allowed is 1 to 1000"),
        ("segments = 1" + "0" * 400, "segments of protocol x has 10+ ... 0+: allowed"),
        ("restart_after = -1", "restart_after of protocol x has -1: allowed is 1 to 1000"),
        ("restart_after = 0", "restart_after of protocol x has 0"),
        ("repetitions = 0", "repetitions of protocol x has 0: allowed is 1 to 1000"),
        ("burn_in = -1", "burn_in of protocol x has -1: allowed is 0 to 10000"),
        ("scales = [1.0, nan]", "scales of protocol x has nan: allowed is 0.1 to 10"),
        ("scales = [0]", "scales of protocol x has 0: allowed"),
        ("scales = [-inf]", "scales of protocol x has -inf: allowed"),
        ("shifts = [[0.1, 1e9]]", "shifts of protocol x has 1000000000.0: allowed is -1 to 1"),
        ("corners = [[0.1, nan]]", "corners of protocol x has nan: allowed is -1 to 1"),
        ("noise = 1.0", "noise of protocol x has 1.0: allowed is 0 to 0.9"),
        ("noise = -0.1", "noise of protocol x has -0.1: allowed is 0 to 0.9"),
        ("scales = [" + "1.1," * 1001 + "]", "scales of protocol x are 1001: at most 1000 are allowed"),
        ("a = " + "[" * 10_000, "protocol x is not TOML .it is nested too deeply"),
    ],
)
def test_every_number_of_a_protocol_has_a_range(line, why):
    with pytest.raises(JtrackError, match=why):
        parse("x", LEAST + line)


def test_the_ends_of_ranges_are_allowed():
    text = LEAST + "segments = 1000\nnoise = 0\nscales = [0.1, 10]\nshifts = [[-1.0, 1]]\nrestart_after = 1"
    assert parse("x", text).segments == 1000
