"""A trial of a tracker on a sequence, in one lane: restarted where the protocol says so, each frame timed."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import numpy as np

from jtrack import data
from jtrack.benchmark import vot_measures
from jtrack.benchmark.adapters import EvaluatedTracker
from jtrack.benchmark.protocol import Protocol, Trial, noisy, shown
from jtrack.benchmark.response_maps import Small, gathered, small
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, Trajectory
from jtrack.checks import there
from jtrack.data import FrameSource, Sequence
from jtrack.errors import JtrackError


def run_trial(
    evaluated: EvaluatedTracker,
    sequence: Sequence,
    protocol: Protocol,
    trial: Trial,
    on_frame: Callable[[], object] = lambda: None,
) -> Trajectory:
    """Runs one trial, restarting the tracker after failures where the protocol says so.

    Args:
      evaluated: the tracker.
      sequence: the trial's.
      protocol: the trial's.
      trial: what to run.
      on_frame: called after every frame that is tracked.

    Raises:
      JtrackError: the frames end before the trial does, or cannot be read; a box that cannot be tracked.
    """
    session = evaluated.start(trial.seed)
    truth = vot_measures.ground_truth(sequence)
    length = trial.end - trial.start
    boxes, scores, seconds = np.full((length, 4), np.nan), np.full(length, np.nan), np.full(length, np.nan)
    lost, learnt = np.full((2, length), np.nan)
    responses: list[Small | None] = [None] * length
    ahead = data.prefetch(_frames(sequence.frames, protocol, trial))

    def image_of(frame: int) -> np.ndarray:
        for index, image in images:
            if index == frame:
                return image
        raise JtrackError(f"{sequence.name} has ended before frame {trial.start + frame}, which is annotated")

    def start(frame: int) -> None:
        image, at = image_of(frame), trial.start + frame
        box = noisy(protocol, trial, at, sequence.boxes[at]) if frame else trial.box
        session.prepare(image, box)
        began = time.perf_counter()
        session.init(image, box)
        seconds[frame] = time.perf_counter() - began
        boxes[frame], scores[frame], lost[frame], learnt[frame] = box, 1, 0, 0
        on_frame()

    def step(frame: int) -> bool:
        image = image_of(frame)
        began = time.perf_counter()
        said = session.update(image)
        seconds[frame] = time.perf_counter() - began
        boxes[frame], scores[frame], lost[frame] = said.box, _known(said.score), _known(said.lost)
        learnt[frame] = _known(said.learnt)
        responses[frame] = None if said.response is None else small(said.response)
        on_frame()
        at = trial.start + frame
        return protocol.restart_after is not None and vot_measures.failed(
            said.box, truth[at], sequence.frames.size
        )

    with closing(ahead):
        images = enumerate(ahead)
        status = vot_measures.supervise(length, start, step, restart_after=protocol.restart_after)
    boxes[np.isin(status, (FAILED, SKIPPED))] = np.nan
    unknown = status != INITIALISED
    maps = gathered(responses)
    return Trajectory(
        boxes,
        status,
        trial.start,
        None if evaluated.keeps_maps else seconds,  # fetching maps takes time that the tracker does not need
        None if np.isnan(scores[unknown]).all() else scores,
        None if np.isnan(lost[unknown]).all() else lost > 0,
        learnt=None if np.isnan(learnt[unknown]).all() else learnt > 0,
        maps=None if maps is None else functools.partial(there, maps),
    )


def _frames(source: FrameSource, protocol: Protocol, trial: Trial) -> Iterator[np.ndarray]:
    """The frames of a trial, as the protocol shows them."""
    source = shown(protocol, source)
    if source.pick is not None:  # then what is before the trial need not be read
        last = trial.end if source.length is None else min(trial.end, source.length)
        return map(source.pick, range(trial.start, last))
    return islice(source, trial.start, trial.end)


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)
