"""Targets in lanes give what they give alone, whatever the lanes, their order and the devices."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import jtrack
from jtrack.data import synthetic
from jtrack.errors import JtrackError
from jtrack.run import engine
from jtrack.run.schedule import Job
from jtrack.run.stream import make_tracker
from tests.conftest import ROOT
from tests.run import fake

SIZE, CANVAS = (96, 128), (288, 384)
RNG = np.random.default_rng(4)


def moving(frames, start=0):
    """Jobs of a made-up video for the fake tracker: from its first frame, and from others."""
    video = fake.video(RNG.integers(0, 5, (frames, 2)), SIZE)
    source = jtrack.run.inputs.open_frames(video)
    box = np.float32((4 + frames % 3, 5, 6 + frames % 4, 7))
    return [Job(source, box, at, frames, seed=at) for at in range(start, frames, 7)]


PARCELS = [moving(frames) for frames in (23, 16, 9, 31, 2)]


def followed(parcels, bound, **options):
    tracker = make_tracker(bound.factory, bound.backbone, bound.config)
    options = {"store": 4 << 20} | options
    return list(engine.follow(tracker, bound.params, parcels, CANVAS, **options))


def alone(job, bound):
    return jtrack.track(job.frames, job.box, tracker=bound, start=job.start, end=job.end, seed=job.seed)


@pytest.mark.parametrize("lanes", [1, 4, 16, 64])
@pytest.mark.parametrize("at_once", [1, 5])
def test_equal_to_single_runs(lanes, at_once):
    bound = fake.build()
    done = followed(PARCELS, bound, lanes=lanes, at_once=at_once)
    assert len(done) == sum(map(len, PARCELS))
    for each in done:
        want = alone(each.job, bound)
        np.testing.assert_array_equal(each.boxes, want.boxes)
        np.testing.assert_array_equal(each.scores, want.scores)
        np.testing.assert_array_equal(each.lost, want.lost)


def test_the_order_of_admission_does_not_matter():
    bound = fake.build()
    reverse = [parcel[::-1] for parcel in PARCELS[::-1]]
    one = {(id(each.job.frames), each.job.start): each for each in followed(PARCELS, bound, lanes=3)}
    for each in followed(reverse, bound, lanes=5):
        np.testing.assert_array_equal(each.boxes, one[id(each.job.frames), each.job.start].boxes)


def test_every_video_is_decoded_once_and_sent_once():
    usage = engine.Usage()
    done = followed(PARCELS, fake.build(), lanes=6, usage=usage, store=64 << 20)
    assert usage.decoded == usage.sent == sum(parcel[0].end for parcel in PARCELS)
    assert usage.taken == sum(len(each.boxes) - 1 for each in done) <= usage.steps


def test_hyper_parameters_of_its_own_for_every_lane():
    rates = [0.0, 1.0, 2.5, 3.0, 7.0]
    job = PARCELS[0][0]
    jobs = [job._replace(hyper={"rate": np.float32(rate)}, name=rate) for rate in rates]
    done = followed([jobs], fake.build(), lanes=3)
    assert sorted(each.job.name for each in done) == rates
    for each in done:
        np.testing.assert_array_equal(each.boxes, alone(job, fake.build(rate=each.job.name)).boxes)


def test_a_frame_that_cannot_be_read_ends_the_jobs_that_need_it():
    bound, pictures = fake.build(), list(PARCELS[0][0].frames)

    def broken(number):
        if number == 5:
            raise ValueError("no such frame")
        return pictures[number]

    source = dataclasses.replace(PARCELS[0][0].frames, pick=broken)
    bad = [job._replace(frames=source) for job in PARCELS[0]]
    for each in followed([bad, *PARCELS[1:]], bound, lanes=4):
        cut = each.job.frames is source and each.job.start <= 5
        want = alone(each.job._replace(frames=PARCELS[0][0].frames) if cut else each.job, bound).boxes
        np.testing.assert_array_equal(each.boxes, want[: 5 - each.job.start] if cut else want)
        assert each.stopped == ("ValueError: no such frame" if cut else None)


def test_what_is_asked_after_a_frame_and_fails_ends_its_own_job_only():
    bound = fake.build()

    def after(frame, box):
        raise IndexError(f"nothing at {frame}")

    asked = [PARCELS[0][0]._replace(after=after), *PARCELS[0][1:]]
    with pytest.raises(ValueError, match="need at_once=1"):
        followed([asked], bound, lanes=2)
    for each in followed([asked, PARCELS[1]], bound, lanes=2, at_once=1):
        if each.job.after:
            assert each.stopped == "IndexError: nothing at 1" and len(each.boxes) == 2
        else:
            np.testing.assert_array_equal(each.boxes, alone(each.job, bound).boxes)


@pytest.mark.parametrize("seed", [-1, 7, 2**31 + 5])
def test_seeds_are_those_of_a_single_run(seed):
    data = np.asarray(jax.random.key_data(jax.random.key(seed)))
    np.testing.assert_array_equal(engine.key_data(seed), data)
    images = list(PARCELS[0][0].frames)
    (got,) = jtrack.track_batch([(images, (4, 5, 6, 7))], tracker=fake.build(), seed=seed)
    np.testing.assert_array_equal(
        got.boxes, jtrack.track(images, (4, 5, 6, 7), tracker=fake.build(), seed=seed).boxes
    )


def test_too_little_memory_is_one_sentence(monkeypatch):
    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")

    monkeypatch.setattr(engine.Lanes, "advance", exhausted)
    with pytest.raises(JtrackError, match="4 lanes need more memory than there is: give fewer"):
        followed(PARCELS, fake.build(), lanes=4)


def test_one_compilation_for_thirty_sizes(compilations):
    sizes = [(60 + 7 * n, 80 + 9 * n) for n in range(30)]

    def jobs(sizes):
        return [(fake.video(RNG.integers(0, 4, (4, 2)), size), (4, 5, 6, 7)) for size in sizes]

    jtrack.track_batch(jobs([(60, 80)] * 30), tracker=fake.build(), lanes=3)
    with compilations() as seen:
        jtrack.track_batch(jobs(sizes), tracker=fake.build(), lanes=3)
    assert not seen


@pytest.mark.slow
def test_grids_that_follow_the_target_are_one_compilation(compilations):
    bound = jtrack.trackers.create("hcft", profile="release2016", backbone="hog")
    sizes = [(90 + 9 * n, 120 + 7 * n) for n in range(12)]
    clips = [synthetic.clip(frames=2, size=size, seed=n) for n, size in enumerate(sizes)]
    jobs = [(clip.frames, clip.boxes[0] + (0, 0, n, 2 * n)) for n, clip in enumerate(clips)]
    jtrack.track_batch(jobs, tracker=bound, lanes=3)
    with compilations() as seen:
        jtrack.track_batch(jobs[::-1], tracker=bound, lanes=3)
    assert not seen


CASES = [
    ("hcft", "default", "hog"),
    ("hcft", "default", "tiny"),
    ("fcnt", "default", "tiny"),
    ("gdt", "default", "tiny"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile", "network"), CASES)
def test_trackers_in_lanes_stay_within_a_tenth_of_a_pixel(name, profile, network):
    bound = jtrack.trackers.create(name, profile=profile, backbone=network)
    parcels = []
    for seed in range(2):
        clip = synthetic.clip(frames=31, size=(200, 260), seed=seed)
        starts = (0, 0, 1) if seed else (0,)
        parcels.append(
            [Job(clip.frames, np.float32(clip.boxes[start]), start, 31, seed=each)
             for each, start in enumerate(starts)]
        )  # fmt: skip
    for each in followed(parcels, bound, lanes=3, store=64 << 20):
        np.testing.assert_allclose(each.boxes, alone(each.job, bound).boxes, atol=0.1)


DEVICES = """
import json, sys
import jax, numpy as np
import jtrack
from tests.run import fake, test_engine
assert jax.local_device_count() == 8
done = test_engine.followed(test_engine.PARCELS, fake.build(), lanes=16)
print(json.dumps([[each.job.start, each.job.end, each.boxes.tolist()] for each in done]))
"""


def test_eight_devices_give_what_one_gives():
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", DEVICES],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)},
    )
    many = {(start, end): boxes for start, end, boxes in json.loads(done.stdout)}
    for each in followed(PARCELS, fake.build(), lanes=16):
        np.testing.assert_array_equal(each.boxes, np.float32(many[each.job.start, each.job.end]))
