"""The page of a sequence: what its data hold, against what runs did."""

import base64
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from report_world import HOSTILE, build, failing, run

from jtrack.benchmark import metrics, scoring, view
from jtrack.benchmark.overlap import pixel_overlap
from jtrack.benchmark.response_maps import ResponseMaps
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory
from jtrack.benchmark.view import pictures, tracks
from jtrack.data import Annotation, from_arrays
from jtrack.errors import JtrackError

FRAMES = 12
BOXES = np.array([[10.0 + 2 * n, 20, 30, 24] for n in range(FRAMES)])
TRUTH = Annotation("walk", BOXES, size=(96, 128))
GREYS = [np.full((96, 128, 3), 20 * n, np.uint8) for n in range(FRAMES)]
CLIP = from_arrays(GREYS)


def data_of(page):
    """What the script of a page draws."""
    return json.loads(re.search(r'<script type="application/json" id="view">(.*?)</script>', page, re.S)[1])


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def levels(text):
    found = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.where(found == 255, np.nan, found / 250)


def single(drift=1.0, **more):
    return run("near", drift, {"walk": TRUTH}, **more)


def picture(address):
    kind, _, text = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)


def test_boxes_overlaps_and_scores_are_those_of_the_run():
    results = single()
    (trial,) = results.trajectories["walk"]
    scores = np.linspace(1, 0, FRAMES)
    lost = np.arange(FRAMES) >= 9
    results = replace(results, trajectories={"walk": [replace(trial, scores=scores, lost=lost)]})
    data = data_of(view.page(TRUTH, [results], frames=CLIP))
    (tracker,) = data["trackers"]
    (shown,) = tracker["trials"]
    corners = floats(shown["outlines"]).reshape(FRAMES, 4, 2)
    np.testing.assert_allclose(corners[:, 0], trial.boxes[:, :2], rtol=1e-6)
    np.testing.assert_allclose(corners[:, 2], trial.boxes[:, :2] + trial.boxes[:, 2:], rtol=1e-6)
    np.testing.assert_allclose(
        levels(shown["overlaps"]), metrics.overlap(trial.boxes, BOXES), rtol=0, atol=0.0021
    )
    np.testing.assert_allclose(levels(shown["scores"]), scores, rtol=0, atol=0.0021)
    assert shown["states"] == "i" + "t" * 8 + "lll" and shown["events"] == [["lost", 9, 11]]
    truth = floats(data["truth"]).reshape(FRAMES, 4, 2)
    np.testing.assert_allclose(truth[:, 0], BOXES[:, :2], rtol=1e-6)
    assert data["size"] == [128, 96] and data["length"] == FRAMES and data["frames"] == list(range(FRAMES))


def test_pictures_are_the_frames_made_small():
    data = data_of(view.page(TRUTH, [single()], frames=CLIP, height=48, every=5))
    assert data["frames"] == [0, 5, 10] and data["length"] == FRAMES
    found = [picture(address) for address in data["images"]]
    assert [image.shape for image in found] == [(48, 64, 3)] * 3
    np.testing.assert_allclose([image.mean() for image in found], [0, 100, 200], atol=3)
    (shown,) = data["trackers"][0]["trials"]
    assert len(floats(shown["outlines"])) == 3 * 8 and len(levels(shown["overlaps"])) == FRAMES
    np.testing.assert_allclose(floats(data["truth"]).reshape(3, 4, 2)[1, 0], BOXES[5, :2])


def test_no_picture_is_enlarged():
    data = data_of(view.page(TRUTH, [single()], frames=CLIP, height=4000))
    assert picture(data["images"][0]).shape == (96, 128, 3)


def test_frames_that_cannot_be_picked_are_read_in_order():
    for every in (1, 5):
        data = data_of(view.page(TRUTH, [single()], frames=from_arrays(iter(GREYS)), every=every))
        shown = [picture(address).mean() for address in data["images"]]
        np.testing.assert_allclose(shown, [20 * n for n in range(0, FRAMES, every)], atol=3)


@pytest.mark.parametrize("picked", [True, False])
def test_an_unreadable_frame_has_no_picture_and_the_page_says_so(picked):
    def pick(frame):
        if frame >= 10:
            raise JtrackError("damaged")
        return GREYS[frame]

    source = replace(CLIP, pick=pick if picked else None, read=lambda: map(pick, range(FRAMES)))
    page = view.page(TRUTH, [single()], frames=source)
    assert [address is None for address in data_of(page)["images"]] == [False] * 10 + [True] * 2
    assert "2 of 12 frames could not be read" in page


def test_without_frames_boxes_stand_on_a_plain_ground():
    page = view.page(replace(TRUTH, size=None), [single()])
    data = data_of(page)
    assert data["images"] == [None] * FRAMES and "There are no frames" in page
    assert data["size"] == [10 + 22 + 30, 20 + 24]  # as far as the boxes go


def test_a_supervised_run_fails_is_skipped_and_restarts():
    results = failing("a", {"walk": TRUTH}, 4)
    (shown,) = data_of(view.page(TRUTH, [results]))["trackers"][0]["trials"]
    assert shown["states"] == "ittt" + "f" + "ssss" + "itt"
    assert shown["events"] == [["failed", 4, 4], ["skipped", 5, 8], ["restarted", 9, 9]]
    overlaps = levels(shown["overlaps"])
    assert overlaps[4] == 0 and np.isnan(overlaps[[0, 5, 6, 7, 8, 9]]).all()
    # Shifted by two of thirty pixels.
    np.testing.assert_allclose(overlaps[[1, 2, 3, 10, 11]], 28 / 32, rtol=0, atol=0.0021)
    assert np.isnan(floats(shown["outlines"]).reshape(FRAMES, 4, 2)[4:9]).all()


def test_polygons_are_drawn_and_measured_as_such():
    diamond = np.array([[0.0, -10], [10, 0], [0, 10], [-10, 0]])
    polygons = np.stack([np.add(diamond, [40 + n, 40]) for n in range(FRAMES)])
    boxes = np.array([[30.0 + n, 30, 20, 20] for n in range(FRAMES)])
    truth = Annotation("walk", boxes, polygons, size=(96, 128))
    status = np.full(FRAMES, TRACKED, np.uint8)
    status[0] = INITIALISED
    runs = [
        Results(name, "unsupervised", {"walk": [Trajectory(boxes, status, polygons=shape)]})
        for name, shape in (("diamond", polygons), ("box", None))
    ]
    data = data_of(view.page(truth, runs))
    same, boxed = (tracker["trials"][0] for tracker in data["trackers"])
    np.testing.assert_allclose(floats(same["outlines"]).reshape(FRAMES, 4, 2), polygons, rtol=1e-6)
    np.testing.assert_allclose(levels(same["overlaps"])[1:], 1)
    want = pixel_overlap(boxes, polygons, (96, 128))[1:]  # of whole pixels: about half of the square
    assert want.min() > 0.5 and want.max() < 0.6
    np.testing.assert_allclose(levels(boxed["overlaps"])[1:], want, rtol=0, atol=0.0021)


def test_trials_that_start_later_stand_where_they_belong():
    boxes = BOXES[7:]
    trial = Trajectory(boxes, np.array([INITIALISED, *[TRACKED] * 4], np.uint8), start=7)
    whole = run("t", 0.0, {"walk": TRUTH}).trajectories["walk"][0]
    results = Results("t", "tre", {"walk": [whole, trial]})
    first, second = tracks.tracks([results], ["t"], TRUTH)[0].trials
    assert first.states == "i" + "t" * 11 and second.states == "-" * 7 + "itttt"
    assert tracks.events(second.states) == []  # its start is no restart
    assert np.isnan(second.overlaps[:7]).all() and (second.overlaps[7:] == 1).all()
    assert np.isnan(second.outlines[:7]).all() and np.isfinite(second.outlines[7:]).all()


def learning(results, *frames):
    """A run of which it is known after which of its frames it learnt, counted in each trial."""
    known = [
        replace(trial, learnt=np.isin(np.arange(len(trial.boxes)), frames))
        for trial in results.trajectories["walk"]
    ]
    return replace(results, trajectories={"walk": known})


def test_when_a_tracker_learnt_stands_in_the_frames_of_the_sequence():
    late = Trajectory(BOXES[7:], np.array([INITIALISED, *[TRACKED] * 4], np.uint8), start=7)
    both = replace(single(), trajectories={"walk": [*single().trajectories["walk"], late]})
    data = data_of(view.page(TRUTH, [learning(both, 2, 3), single()], every=3))
    assert [trial["learnt"] for trial in data["trackers"][0]["trials"]] == [[2, 3], [9, 10]]
    assert [trial["learnt"] for trial in data["trackers"][1]["trials"]] == [None]
    states = [trial["states"] for trial in data["trackers"][0]["trials"]]
    assert states == ["i" + "t" * 11, "-" * 7 + "itttt"]  # a tracker that learns tracks as well


def test_the_legend_has_ticks_only_where_it_is_known_when_a_tracker_learnt():
    tick = '<i class="learnt">'
    named = replace(single(), tracker=HOSTILE)
    known = learning(replace(single(), tracker="far"), 4)
    assert tick not in view.page(TRUTH, [single()])
    page = view.page(TRUTH, [known])
    assert tick in page and "that is not known" not in page
    page = view.page(TRUTH, [known, named, single()])
    assert tick in page and "<img src=x" not in page
    assert re.search(r"that is not known of &lt;img src=x[^<>]*, near\.</p>", page)


def with_maps(results, frames=FRAMES):
    """A run with maps of two cells, the right one higher, in all frames but the first."""
    levels = np.tile(np.uint8([[0, 248]]), (frames, 1, 1))
    places = np.float32([[5 + n, 10, 40, 20] for n in range(frames)])
    levels[0], places[0] = 0, np.nan
    (trial,) = results.trajectories["walk"]
    start = trial.start
    return replace(
        results,
        trajectories={"walk": [replace(trial, maps=lambda: ResponseMaps(levels[start:], places[start:]))]},
    )


def test_kept_response_maps_lie_where_they_belong():
    data = data_of(view.page(TRUTH, [with_maps(single()), single()], frames=CLIP, every=4))
    first, second = (tracker["trials"][0]["maps"] for tracker in data["trackers"])
    assert first[0] is None and second is None
    assert [place for _, place in first[1:]] == [[9, 10, 40, 20], [13, 10, 40, 20]]
    for address, _ in first[1:]:
        kind, _, text = address.partition(",")
        assert kind == "data:image/png;base64"
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)
        assert shown.shape == (1, 2, 4) and shown[0, :, 3].tolist() == [0, 248]  # the higher, the more opaque


def test_a_switch_for_response_maps_is_there_only_where_some_are_kept():
    assert 'id="responses"' not in view.page(TRUTH, [single()])
    assert 'id="responses"' in view.page(TRUTH, [with_maps(single())])


def test_maps_of_a_later_trial_stand_in_its_frames():
    late = Trajectory(BOXES[7:], np.array([INITIALISED, *[TRACKED] * 4], np.uint8), start=7)
    found = with_maps(replace(single(), trajectories={"walk": [late]}))
    (shown,) = tracks.tracks([found], ["near"], TRUTH)[0].trials
    assert np.isnan(shown.maps.places[:7]).all()
    assert shown.maps.places[7:, 0].tolist() == [12, 13, 14, 15, 16]


def test_too_many_response_maps_are_refused(monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 400)
    with pytest.raises(JtrackError, match=r"the page of walk would have .* give --every"):
        view.page(TRUTH, [with_maps(single())])


def test_the_first_frames_of_a_run_are_shown_to_where_it_ends():
    limited = single(label={"limit_frames": 5})
    (trial,) = limited.trajectories["walk"]
    limited = replace(
        limited, trajectories={"walk": [replace(trial, boxes=trial.boxes[:5], status=trial.status[:5])]}
    )
    page = view.page(TRUTH, [limited], frames=CLIP)
    data = data_of(page)
    assert data["frames"] == [0, 1, 2, 3, 4] and "the first 5 of 12 frames" in page
    assert "near (5 frames)" in page and data["trackers"][0]["trials"][0]["states"] == "itttt" + "-" * 7


def test_what_is_annotated_by_frame_is_an_event():
    boxes = BOXES.copy()
    boxes[3:5] = np.nan
    occluded = np.arange(FRAMES) > 8
    truth = Annotation("walk", boxes, events={"occlusion": occluded, "absent": np.arange(FRAMES) == 3})
    assert tracks.scene(truth) == [("absent", 3, 4), ("occlusion", 9, 11)]
    (shown,) = tracks.tracks([single()], ["near"], truth)[0].trials
    assert np.isnan(shown.overlaps[3:5]).all() and np.isfinite(shown.overlaps[5:]).all()


def test_a_run_without_the_sequence_is_named_with_the_reason():
    short = replace(
        single(), tracker="short", trajectories={"walk": [Trajectory(BOXES[:7], np.ones(7, int))]}
    )
    broken = replace(single(), tracker="broken", trajectories={}, failures={"walk": "ValueError: no room"})
    page = view.page(TRUTH, [single(), short, broken], frames=CLIP)
    assert [len(tracker["trials"]) for tracker in data_of(page)["trackers"]] == [1, 0, 0]
    assert "short: short has 7 boxes of walk, whose annotation has 12" in page
    assert "broken: failed: ValueError: no room" in page
    with pytest.raises(JtrackError, match="nothing is shown of walk: failed: ValueError: no room"):
        view.page(TRUTH, [broken])


def test_names_are_those_of_a_report(tmp_path):
    label = {"digest": "0123456789abcdef", "backbone": "hog"}
    found = [
        single(label=label, profile="a"),
        single(label=label, profile="b"),
        run("far", 3, {"walk": TRUTH}),
    ]
    assert view.called(found) == ["near a", "near b", "far"]
    assert view.called([*found, failing("far", {"walk": TRUTH}, 4)])[2:] == ["far · ope", "far · baseline"]


def test_hostile_names_are_text():
    hostile = replace(single(), tracker=HOSTILE, failures={})
    page = view.page(replace(TRUTH, name=HOSTILE, attributes=(HOSTILE,)), [
        replace(hostile, trajectories={HOSTILE: hostile.trajectories["walk"]})
    ], notes=[HOSTILE])  # fmt: skip
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert page.count("</script>") == 2 and data_of(page)["trackers"][0]["name"] == HOSTILE


def test_a_page_asks_nothing_of_the_network():
    page = view.page(TRUTH, [single()], frames=CLIP)
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\s\"'`)]+", page)) == {"http://www.w3.org/2000/svg"}


def test_too_many_pictures_are_refused_with_what_would_fit(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 96, 128, 3)).astype(np.uint8)
    whole = pictures.embed("walk", range(FRAMES), from_arrays(noise), None, height=96)
    sizes = [len(address) for address in whole.images]
    monkeypatch.setattr(pictures, "LARGEST", sum(sizes[:7]))
    with pytest.raises(JtrackError, match=r"the page of walk would have .* give --every 2, or a smaller"):
        view.page(TRUTH, [single()], frames=from_arrays(noise))
    view.page(TRUTH, [single()], frames=from_arrays(noise), every=2)
    monkeypatch.setattr(pictures, "LARGEST", sum(sizes[:1]))
    with pytest.raises(JtrackError, match="give --every 12"):
        view.page(TRUTH, [single()], frames=from_arrays(noise), every=2)


def test_response_maps_stand_at_their_frames(tmp_path):
    for number in (1, 3):
        cv2.imwrite(str(tmp_path / f"{number:06d}.png"), np.full((30, 90, 3), 60 * number, np.uint8))
    (tmp_path / "000004.png").write_bytes(b"damaged")
    (tmp_path / "notes.png").write_bytes(b"")
    data = data_of(view.page(TRUTH, [single()], maps=pictures.open_maps(tmp_path)))
    assert [number for number, address in enumerate(data["maps"]) if address] == [1, 3]
    np.testing.assert_allclose([picture(data["maps"][n]).mean() for n in (1, 3)], [60, 180], atol=3)
    with pytest.raises(JtrackError, match="holds no response maps"):
        pictures.open_maps(tmp_path / "nowhere")


def test_the_frames_of_a_dataset(tmp_path):
    dataset = build(tmp_path)
    truth = scoring.annotations(dataset)
    sequence = dataset.sequence("Fish")
    data = data_of(view.page(sequence, [run("a", 1, truth)], frames=sequence.frames))
    for place in (0, 7, 15):
        shown = picture(data["images"][place]).astype(int)[:, :, ::-1]
        assert np.abs(shown - sequence.frames.pick(place)).mean() < 8


def test_the_status_of_every_kind_is_a_letter():
    status = np.array([INITIALISED, TRACKED, FAILED, SKIPPED] * 3, np.uint8)
    (shown,) = tracks.tracks([Results("a", "baseline", {"walk": [Trajectory(BOXES, status)]})], ["a"], TRUTH)[
        0
    ].trials
    assert shown.states == "itfs" * 3 and set(shown.states) <= set(tracks.STATES)
