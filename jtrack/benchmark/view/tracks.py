"""What runs did in one sequence, frame by frame: outlines, overlaps, scores and events."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from jtrack.benchmark import protocol as protocols
from jtrack.benchmark import scoring, vot_measures
from jtrack.benchmark.overlap import as_polygons
from jtrack.benchmark.report import filmstrip
from jtrack.benchmark.report.looks import Look, look
from jtrack.benchmark.response_maps import ResponseMaps
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED, Results, Trajectory
from jtrack.data import Annotation
from jtrack.errors import JtrackError

# What a run is in a frame, a letter each; what it has no row for is "-".
STATES = {"i": "initialised", "t": "tracked", "l": "lost", "f": "failed", "s": "skipped", "-": "not run"}
_OF_STATUS = {INITIALISED: "i", TRACKED: "t", FAILED: "f", SKIPPED: "s"}
EVENTS = {"l": "lost", "f": "failed", "s": "skipped", "i": "restarted"}

type Stretch = tuple[str, int, int]  # what happens, and its first and last frame, from 0


class Trial(NamedTuple):
    """One trial, in the T frames of its sequence."""

    outlines: np.ndarray  # [T, P, 2] float32: corners x, y; NaN where there is none
    overlaps: np.ndarray  # [T] with the annotation, as the protocol measures it; NaN where none counts
    scores: np.ndarray | None  # [T] in [0, 1], the tracker's own; NaN where there is none
    states: str  # T letters of `STATES`
    end: int  # the frame after its last
    learnt: list[int] | None  # the frames after which it learnt, from 0; None where that is not known
    maps: ResponseMaps | None  # of the T frames; None: none are kept


class Track(NamedTuple):
    """A run in a sequence."""

    name: str
    look: Look
    trials: tuple[Trial, ...]
    missing: str  # why it has none; empty if it has


def tracks(found: Sequence[Results], names: Sequence[str], annotation: Annotation) -> list[Track]:
    """What each run, called by its name, did in a sequence; one that has nothing of it says why."""
    shown = []
    for number, (results, name) in enumerate(zip(found, names, strict=True)):
        trials, missing = fitting(results, annotation)
        shown.append(
            Track(
                name,
                look(number),
                tuple(trial_of(each, annotation, results.protocol) for each in trials),
                missing,
            )
        )
    return shown


def fitting(results: Results, annotation: Annotation) -> tuple[Sequence[Trajectory], str]:
    """The trials of a sequence, or why there are none."""
    try:
        return scoring.fitted(results, {annotation.name: annotation})[annotation.name], ""
    except JtrackError as error:
        why = results.failures.get(annotation.name)
        return (), str(error) if why is None else f"failed: {why}"


def trial_of(trial: Trajectory, annotation: Annotation, protocol: str) -> Trial:
    """A trial as it is shown."""
    length = len(annotation.boxes)
    rows = slice(trial.start, trial.start + len(trial.boxes))

    def whole(values: np.ndarray) -> np.ndarray:
        """Values of the trial's frames as values of all."""
        all_frames = np.full((length, *values.shape[1:]), np.nan, values.dtype)
        all_frames[rows] = values
        return all_frames

    return Trial(
        whole(outlines(trial.boxes, trial.polygons)),
        _overlaps(trial, annotation, protocol),
        None if trial.scores is None else whole(trial.scores),
        _states(trial, length),
        rows.stop,
        None if trial.learnt is None else (trial.start + np.flatnonzero(trial.learnt)).tolist(),
        None if trial.maps is None else _maps(trial.maps(), rows, length),
    )


def _maps(kept: ResponseMaps, rows: slice, length: int) -> ResponseMaps:
    """The maps of a trial, which has some of the frames, as maps of all."""
    levels = np.zeros((length, *kept.levels.shape[1:]), np.uint8)
    places = np.full((length, 4), np.nan, np.float32)
    levels[rows], places[rows] = kept
    return ResponseMaps(levels, places)


def outlines(boxes: np.ndarray, polygons: np.ndarray | None) -> np.ndarray:
    """The corners [T, P, 2] float32 of polygons, or of boxes where there are none; NaN for no box."""
    corners = np.array(as_polygons(boxes) if polygons is None else polygons, np.float32)
    if polygons is None:
        corners[~filmstrip.present(boxes)] = np.nan
    return corners


def _overlaps(trial: Trajectory, annotation: Annotation, protocol: str) -> np.ndarray:
    """Overlap with the annotation in each of its frames [T]: of regions in VOT, else of boxes."""
    if protocols.load(protocol).measures != "vot":
        values = filmstrip.overlaps([trial], annotation.boxes)
        values[annotation.absent] = np.nan
        return values
    values = vot_measures.frame_overlaps(trial, annotation, burn_in=1)
    values[trial.start + np.flatnonzero(trial.status == FAILED)] = 0
    return values


def _states(trial: Trajectory, length: int) -> str:
    states = np.full(length, "-")
    states[trial.start : trial.start + len(trial.boxes)] = [_OF_STATUS[int(each)] for each in trial.status]
    if trial.lost is not None:
        lost = np.zeros(length, bool)
        lost[trial.start : trial.start + len(trial.boxes)] = trial.lost
        states[lost & (states == "t")] = "l"
    return "".join(states)


def events(states: str) -> list[Stretch]:
    """What happened to a run: stretches in which it was lost, failed or skipped, and its restarts."""
    begun = len(states) - len(states.lstrip("-"))
    return [
        (EVENTS[state], first, last)
        for state, first, last in stretches(states)
        if state in EVENTS and not (state == "i" and first == begun)
    ]


def scene(annotation: Annotation) -> list[Stretch]:
    """What is annotated: where the target is absent, and every event that a benchmark marks by frame."""
    marks: Mapping[str, np.ndarray] = {"absent": annotation.absent} | {
        name: np.asarray(mark, bool)
        for name, mark in annotation.events.items()
        if name not in vot_measures.PRESENCE
    }
    return [
        (name, first, last)
        for name, mark in marks.items()
        for happens, first, last in stretches(mark.tolist())
        if happens
    ]


def stretches[T](values: Iterable[T]) -> list[tuple[T, int, int]]:
    """Equal values in succession: the value, and the first and last place of each stretch."""
    found, place = [], 0
    for value, same in groupby(values):
        count = len(list(same))
        found.append((value, place, place + count - 1))
        place += count
    return found
