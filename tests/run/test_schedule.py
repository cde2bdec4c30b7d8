"""Lanes never wait: how many of their steps are used, over the real lengths of OTB-100's sequences."""

import json
from pathlib import Path

import numpy as np
import pytest

from jtrack.data import FrameSource
from jtrack.run.schedule import Job, Schedule

LENGTHS = json.loads(Path(__file__).with_name("otb100_lengths.json").read_text())
BOX = np.zeros(4, np.float32)
AT_ONCE = 8
TRE, SRE = 20, 12  # starts of a sequence


def video(length):
    return FrameSource("video", (48, 64), length, None, lambda: iter(()))


def parcels(protocol):
    """The jobs of OTB-100 under a protocol, longest videos first."""
    for length in sorted(LENGTHS.values(), reverse=True):
        frames = video(length)
        starts = {"ope": [0], "ope x 3": [0] * 3, "sre": [0] * SRE}.get(protocol)
        if starts is None:
            starts = [part * max(length - 20, 0) // (TRE - 1) for part in range(TRE)]
        yield [Job(frames, BOX, start, length) for start in starts]


def run(jobs, lanes):
    """Runs a schedule with a tracker that costs nothing: (dispatches, lane-steps used, frames tracked)."""
    schedule = Schedule.of(jobs, lanes)
    dispatches = used = tracked = 0
    while schedule.fill() or schedule.running:
        steps = 0
        for running in schedule.running.values():
            begins = running.box is not None
            ahead = running.ahead(AT_ONCE + begins)
            running.move(ahead.stop)
            steps += len(ahead) - begins
            tracked += len(ahead)
        dispatches += steps > 0
        used += steps
    return dispatches, used, tracked


@pytest.mark.parametrize("lanes", [8, 32, 128])
@pytest.mark.parametrize("protocol", ["ope", "tre", "sre", "ope x 3"])
def test_lanes_are_used(protocol, lanes):
    jobs = [job for parcel in parcels(protocol) for job in parcel]
    dispatches, used, tracked = run(parcels(protocol), lanes)
    assert tracked == sum(job.end - job.start for job in jobs)
    longest = -(-(max(LENGTHS.values()) - 1) // AT_ONCE)  # dispatches
    share = used / (dispatches * lanes * AT_ONCE)
    print(f"{protocol} {lanes}: {dispatches * AT_ONCE} steps, {share:.3f} used, longest {longest * AT_ONCE}")
    assert share >= 0.95 or dispatches <= longest * 1.05


def test_a_free_lane_takes_the_next_job_at_once_and_parcels_are_fetched_when_needed():
    fetched = []

    def lazily():
        for number, length in enumerate((30, 9, 20)):
            fetched.append(number)
            frames = video(length)
            yield [Job(frames, BOX, 0, length, name=(number, each)) for each in range(2)]

    schedule = Schedule.of(lazily(), 3)
    assert [running.job.name for running in schedule.fill()] == [(0, 0), (0, 1), (1, 0)]
    assert fetched == [0, 1] and not schedule.fill()
    schedule.running[2].move(9)
    assert [(running.lane, running.job.name) for running in schedule.fill()] == [(2, (1, 1))]
    assert fetched == [0, 1]
    schedule.running[0].move(30)
    assert [(running.lane, running.job.name) for running in schedule.fill()] == [(0, (2, 0))]


def test_it_knows_which_frames_are_still_needed():
    first, second = video(30), video(12)
    parcels = [[Job(first, BOX, 4, 30), Job(first, BOX, 20, 30)], [Job(second, BOX, 0, None)]]
    schedule = Schedule.of(parcels, 2)
    schedule.fill()
    schedule.running[0].move(9)
    needs = schedule.needs()
    assert needs == {id(first): [range(9, 30), range(20, 30)]}
    schedule.running[1].move(30)
    schedule.fill()
    assert 10**9 in schedule.needs()[id(second)][0] and schedule.needs()[id(first)] == [range(9, 30)]
