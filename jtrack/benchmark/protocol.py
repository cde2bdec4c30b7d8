"""Protocols of evaluation, each a small file of data in `protocols/`: from which frames and boxes to start.

protocol = benchmark.protocol.load("sre")
for trial in benchmark.protocol.trials(protocol, sequence): ...
"""

import tomllib
import types
import typing
import zlib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from importlib import resources
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from jtrack.data import Annotation, FrameSource, Sequence
from jtrack.data.otb import ORIGIN
from jtrack.errors import JtrackError, printable, unknown_name
from jtrack.names import match
from jtrack.untrusted import reading

_SHORTEST = 20  # frames of a segment, as the OTB toolkit has it
# The range of every number, ends included. More starts than these are a mistake: each is a trial to be run.
_RANGES: dict[str, tuple[float, float]] = {
    "segments": (1, 1000),
    "shifts": (-1, 1),  # of the box's size: further off a tracker sees nothing of its target
    "corners": (-1, 1),
    "scales": (0.1, 10),
    "noise": (0, 0.9),
    "restart_after": (1, 1000),
    "burn_in": (0, 10_000),
    "repetitions": (1, 1000),
}
_MOST_BOXES = 1000  # to start from in a frame


@dataclass(frozen=True)
class Protocol:
    """How a benchmark runs a tracker and pools what comes out. The fields are those of its file."""

    name: str  # "ope"; the name of the file
    title: str  # "one-pass evaluation"
    source: str  # the paper, and the toolkit it was checked against
    measures: Literal["otb", "vot", "got"]  # which measures it is scored by, and whose files it writes
    pooling: Literal["sequences", "frames"]  # whether the trials of a sequence count once or by their frames
    segments: int = 1  # starts spread over the sequence (TRE)
    shifts: tuple[tuple[float, float], ...] = ()  # of the first box, in its width and height (SRE)
    corners: tuple[tuple[float, float], ...] = ()  # of one corner of it, right and down, the same (SRE)
    scales: tuple[float, ...] = ()  # of the first box about its centre (SRE)
    noise: float = 0.0  # a first box is moved and scaled at random by at most this part of its size
    greyscale: bool = False  # frames are turned grey
    restart_after: int | None = None  # frames from a failure to the next start; None: never restarted
    burn_in: int = 0  # frames after a start that do not count in accuracy
    repetitions: int = 1  # of every start, where the tracker or the protocol draws random numbers

    @property
    def starts_once(self) -> bool:
        """Whether a sequence has one start, from its annotated box."""
        return self.segments == 1 and not (self.shifts or self.corners or self.scales)


class Trial(NamedTuple):
    """One trial of a sequence: frames [start, end), from a first box."""

    sequence: str
    number: int  # among the trials of the sequence, from 0
    start: int
    end: int
    box: np.ndarray  # [4] x, y, w, h, 0-based
    seed: int


def names() -> list[str]:
    """The protocols there are."""
    return sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.suffix == ".toml")


def load(name: str) -> Protocol:
    """Reads a protocol.

    Raises:
      JtrackError: there is none of this name.
    """
    name = match("protocol", name, names())
    return parse(name, (_folder() / f"{name}.toml").read_text("utf-8"))


def parse(name: str, text: str) -> Protocol:
    """Reads a protocol from the text of its file.

    Raises:
      JtrackError: an unknown or missing key, or a value of another type than the field's or out of its range.
    """
    with reading(f"protocol {name}", fault="is not TOML"):
        table = tomllib.loads(text)
    hints = typing.get_type_hints(Protocol)
    known = {field.name: field for field in fields(Protocol) if field.name != "name"}
    for key, value in table.items():
        if key not in known:
            raise unknown_name(f"key of protocol {name}", key, known)
        if not _fits(value, hints[key]):
            raise JtrackError(f"{key} of protocol {name} is {value!r}: needed is {_said(hints[key])}")
        _check_range(name, key, value)
    for key, field in known.items():
        if field.default is MISSING and key not in table:
            raise JtrackError(f"protocol {name} lacks {key}: needed is {_said(hints[key])}")
    return Protocol(name=name, **{key: _frozen(value) for key, value in table.items()})


def _check_range(name: str, key: str, value: Any) -> None:
    """Refuses numbers out of the field's range; NaN is in none."""
    if key not in _RANGES:
        return
    low, high = _RANGES[key]
    if outside := [number for number in _flat(value) if not low <= number <= high]:
        shown = printable(outside[0], 40)
        raise JtrackError(f"{key} of protocol {name} has {shown}: allowed is {low:g} to {high:g}")
    if isinstance(value, list) and len(value) > _MOST_BOXES:
        raise JtrackError(f"{key} of protocol {name} are {len(value)}: at most {_MOST_BOXES} are allowed")


def _flat(value: Any) -> list[float]:
    return [number for part in value for number in _flat(part)] if isinstance(value, list) else [value]


def trials(
    protocol: Protocol,
    annotation: Annotation,
    *,
    repeats: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    omitted: Iterable[tuple[int, int]] = (),
) -> list[Trial]:
    """The trials of a sequence under a protocol.

    Args:
      protocol: how to start.
      annotation: of the sequence. Where it has one row only, as in a test set, and frames, all are run.
      repeats: how often each start is tried, each time with another seed; None for the protocol's own number.
      seed: of the first repetition; the next ones count up.
      limit: only so many frames of each trial.
      omitted: first and last frame of each part in which no segment must start (`data.otb.omitted`).

    Returns:
      The trials: all starts of the first repetition, then of the next.

    Raises:
      JtrackError: an annotation without a frame to start from.
    """
    length = len(annotation.boxes)
    if length == 1 and isinstance(annotation, Sequence):
        length = annotation.frames.length or length
    first = _starts(annotation, omitted, length, protocol.segments)
    starts = [(start, box) for start in first for box in _perturbed(protocol, annotation, start)]
    found: list[Trial] = []
    for repetition in range(protocol.repetitions if repeats is None else repeats):
        for start, box in starts:
            end = length if limit is None else min(length, start + limit)
            trial = Trial(annotation.name, len(found), start, end, box, seed + repetition)
            found.append(trial._replace(box=noisy(protocol, trial, start, box)))
    return found


def noisy(protocol: Protocol, trial: Trial, frame: int, box: np.ndarray) -> np.ndarray:
    """The box [4] a tracker is given in a frame it is started in, for the true box.

    Under VOT's region noise its centre is moved, and each side scaled, by a part of the size drawn evenly
    from [-noise, noise], as the toolkit does (stack_vot2013). The same trial and frame give the same box.
    """
    if not protocol.noise:
        return box
    rng = np.random.default_rng([zlib.crc32(trial.sequence.encode()), trial.seed, frame])
    scale, move = rng.uniform(-protocol.noise, protocol.noise, (2, 2))
    size = box[2:] * (1 + scale)
    centre = box[:2] + box[2:] / 2 + box[2:] * move
    return np.concatenate([centre - size / 2, size])


def begun_with(protocol: Protocol, annotation: Annotation, trials: Iterable[Trial]) -> np.ndarray:
    """Boxes [N, 4] as large as any that a tracker may be begun with, restarts included."""
    boxes = [trial.box for trial in trials]
    if boxes and protocol.restart_after is not None:
        annotated = annotation.boxes[~annotation.absent]
        boxes += [*np.concatenate([annotated[:, :2], annotated[:, 2:] * (1 + protocol.noise)], axis=1)]
    return np.array(boxes, np.float64).reshape(-1, 4)


def shown(protocol: Protocol, source: FrameSource) -> FrameSource:
    """The frames of a source as the protocol shows them: grey, .299 R + .587 G + .114 B, where it says so."""
    if not protocol.greyscale:
        return source
    pick = source.pick
    return replace(
        source,
        read=lambda: map(_grey, source.read()),
        pick=None if pick is None else lambda number: _grey(pick(number)),
        encoded=None,
    )


def _grey(image: np.ndarray) -> np.ndarray:
    """In three channels."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def _starts(
    annotation: Annotation, omitted: Iterable[tuple[int, int]], length: int, segments: int
) -> list[int]:
    """The first frame with a box; of several segments those that the OTB toolkit's splitSeqTRE takes.

    Of several, frames that are omitted or whose annotation has a negative entry (counted from 1) are no
    starts. The last segment has at least 20 frames, or as many as there are.
    """
    rows = annotation.boxes + ORIGIN
    usable = np.isfinite(rows).all(axis=1) & (rows[:, 2:] > 0).all(axis=1)
    if segments > 1:
        usable &= (rows >= 0).all(axis=1)
        for first, last in omitted:
            usable[first : last + 1] = False
    frames = np.flatnonzero(usable)
    if not len(frames):
        raise JtrackError(f"sequence {annotation.name} has no frame to start from: no box in it is usable")
    if segments == 1:
        return [int(frames[0])]
    last = max(1, int(np.count_nonzero(frames <= length - _SHORTEST)))  # counted from 1, as the toolkit does
    steps = segments - 1
    chosen = [1 + step * last // steps for step in range(steps) if step * last <= (last - 1) * steps]
    return [int(frames[number - 1]) for number in [*chosen, last]]


def _perturbed(protocol: Protocol, annotation: Annotation, start: int) -> list[np.ndarray]:
    """The boxes [4] to start from in a frame: the annotated one, or those of SRE in the toolkit's order.

    The toolkit's shiftInitBB works on whole pixels counted from 1: shifts are rounded up, other sides to the
    nearest, and what leaves the image is cut off on the right and at the bottom.
    """
    box = annotation.boxes[start] + ORIGIN
    corner, size = box[:2], box[2:]
    end = corner + size
    found: list[np.ndarray] = []
    for part in np.array(protocol.shifts).reshape(-1, 2):
        found.append(np.concatenate([corner + np.sign(part) * np.ceil(np.abs(part) * size), size]))
    for part in np.array(protocol.corners).reshape(-1, 2):
        low = np.where(part < 0, _rounded(corner + part * size), corner)
        high = np.where(part > 0, _rounded(end - 1 + part * size) + 1, end)
        found.append(np.concatenate([low, high - low]))
    for scale in protocol.scales:
        scaled = scale * size
        found.append(_rounded(np.concatenate([corner + size / 2 - scaled / 2, scaled])))
    if not found:
        return [annotation.boxes[start]]
    return [_inside(shifted, annotation.size) - ORIGIN for shifted in found]


def _inside(box: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A box counted from 1 with its corner in the image, and its end, where the image's size is known."""
    corner = np.maximum(box[:2], 1)
    width_height = np.array([np.inf, np.inf]) if size is None else np.array(size[::-1], np.float64)
    return np.concatenate([corner, np.minimum(box[2:], width_height - corner + 1)])


def _rounded(values: np.ndarray) -> np.ndarray:
    """To whole numbers, halves away from zero, as MATLAB rounds."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def _folder() -> Any:
    return resources.files("jtrack.benchmark") / "protocols"


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of TOML is what a field's type says."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is types.UnionType:
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, list):
            return False
        if arguments[-1] is Ellipsis:
            return all(_fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    return type(value) is hint or (hint is float and type(value) is int)


def _said(hint: Any) -> str:
    """A type, as a sentence names it."""
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
