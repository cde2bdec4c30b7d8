"""A descent that can be interrupted at any time: steps, checkpoints, a log, a look at what is held out.

`log.csv` has a row a checkpoint: the step, the means of the figures of the steps since the one before, those
of what is held out, and the seconds so far. On a CPU a training that was interrupted, however often, ends
with the very bits of one that was not.
"""

import csv
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtrack.data.sequence import prefetch
from jtrack.data.text import read_text
from jtrack.errors import JtrackError
from jtrack.train import checkpoint
from jtrack.types import PyTree
from jtrack.untrusted import reading
from jtrack.whole import replacing

CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"
Figures = Mapping[str, Any]  # name -> number


class DivergedError(JtrackError):
    """The loss is not finite, or beyond all bounds; the last good checkpoint is kept."""


class Progress(NamedTuple):
    """Where a training is."""

    step: int  # steps done
    figures: Mapping[str, float]  # of the last step
    held_out: Mapping[str, float] | None  # after a checkpoint


class Done(NamedTuple):
    """Where a training ended."""

    state: PyTree
    step: int  # fewer than wanted if it was stopped
    held_out: Mapping[str, float]
    seconds: float  # of all runs of it


@dataclass(frozen=True)
class Descent:
    """What a training does and where it is kept; its state is given apart.

    Attributes:
      folder: of the checkpoint and the log; made if need be.
      identity: what must be the same for a training to go on, of JSON.
      steps: how many.
      keep_every: steps between checkpoints.
      batches: (start, stop) -> for each step its number and its batch.
      advance: (state, step, batch) -> the state and the figures of the step; the state is given away.
      judge: state -> figures of what is held out.
      figures: names of the figures of a step.
    """

    folder: Path
    identity: Mapping[str, Any]
    steps: int
    keep_every: int
    batches: Callable[[int, int], Generator[tuple[int, Any]]]
    advance: Callable[[PyTree, int, Any], tuple[PyTree, Figures]]
    judge: Callable[[PyTree], Mapping[str, float]]
    figures: tuple[str, ...] = ("loss",)


def descend(
    descent: Descent,
    first: PyTree,
    *,
    on_step: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Done:
    """Trains, or goes on where a training in the same folder stopped.

    Args:
      descent: what.
      first: the state before the first step: a tree of arrays.
      on_step: called after each step.
      stop: asked after each step; if true the state is kept, and what there is returned.

    Raises:
      DivergedError: a figure is not finite.
      JtrackError: a folder that holds another training, data that cannot be read, a disk that is full.
    """
    path = descent.folder / CHECKPOINT
    state, step, before = _resumed(path, first, descent) or (jax.tree.map(jnp.array, first), 0, 0.0)
    log, begun = Log(descent.folder / LOG, step, descent.figures), time.perf_counter()

    def seconds() -> float:
        return before + time.perf_counter() - begun

    def keep(state: PyTree, step: int) -> Mapping[str, float]:
        figures = descent.judge(state)
        _check_finite(figures, step, path)
        # The log first: a row too many is dropped by whoever goes on, one too few would be lost.
        log.write(step, figures, seconds())
        about = {"identity": dict(descent.identity), "step": step, "seconds": seconds()}
        checkpoint.save(path, state, about)
        return figures

    # Kept before the first step: a full disk or a loss that is not finite shows at once.
    judged = keep(state, 0) if step == 0 else descent.judge(state)
    with closing(prefetch(descent.batches(step, descent.steps))) as batches:
        for number, batch in batches:
            state, measured = descent.advance(state, number, batch)
            figures = {name: float(value) for name, value in measured.items()}
            _check_finite(figures, number + 1, path)
            log.add(figures)
            step, stopped = number + 1, stop()
            due = stopped or step % descent.keep_every == 0 or step == descent.steps
            if due:
                judged = keep(state, step)
            on_step(Progress(step, figures, judged if due else None))
            if stopped:
                break
    return Done(jax.device_get(state), step, judged, seconds())


def _resumed(path: Path, like: PyTree, descent: Descent) -> tuple[PyTree, int, float] | None:
    """The state, step and seconds as a checkpoint has them; None where there is none."""
    if not path.exists():
        return None
    about = checkpoint.about(path)
    found, step, seconds = (about.get(name, -1) for name in ("identity", "step", "seconds"))
    numbers = type(step) is int and step >= 0 and isinstance(seconds, int | float)
    if not isinstance(found, dict) or not numbers:
        raise JtrackError(f"the checkpoint {path} does not say how far it came: delete it")
    for name, value in descent.identity.items():
        if found.get(name) != value:
            raise JtrackError(
                f"{path} is of a training with other {name} ({found.get(name)}, now {value}): give the same, "
                "another --out, or --overwrite to begin anew"
            )
    if step > descent.steps:
        raise JtrackError(
            f"{path} has done {step} steps, {descent.steps} are wanted: give more, another --out, or "
            "--overwrite to begin anew"
        )
    return jax.tree.map(jnp.array, checkpoint.load(path, like)), step, seconds


def _check_finite(figures: Mapping[str, float], step: int, path: Path) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            kept = "there is no checkpoint yet"
            if path.is_file():
                kept = (
                    f"the last good checkpoint, of step {checkpoint.about(path)['step']}, is kept in {path}"
                )
            raise DivergedError(
                f"training diverged after step {step}: {name} is {value}; {kept}: begin anew with a lower "
                "learning rate"
            )


class Log:
    """`log.csv`: a row a checkpoint, with the means of the steps since the one before."""

    def __init__(self, path: Path, step: int, figures: tuple[str, ...]):
        self.path = path
        self.figures = figures
        self.steps: list[Mapping[str, float]] = []
        rows = []
        if step and path.is_file():  # what came after the checkpoint is done again
            with reading(f"the log {path}", "delete it"):
                header, *found = list(csv.reader(read_text(path).splitlines())) or [[]]
                whole = [row for row in found if row and len(row) == len(header) and row[0].isdecimal()]
                rows = [header] * bool(header) + [row for row in whole if int(row[0]) <= step]
        with writing(path), replacing(path) as unfinished:
            append(unfinished, rows)

    def add(self, figures: Mapping[str, float]) -> None:
        """Notes the figures of a step."""
        self.steps.append(figures)

    def write(self, step: int, held_out: Mapping[str, float], seconds: float) -> None:
        """Writes a row, and the header before the first."""
        means = [np.mean([each[name] for each in self.steps]) if self.steps else "" for name in self.figures]
        self.steps = []
        values = [f"{value:.6g}" if value != "" else "" for value in (*means, *held_out.values())]
        header = ["step", *self.figures, *(f"held_out_{name}" for name in held_out), "seconds"]
        with writing(self.path):
            rows = [] if self.path.stat().st_size else [header]
            append(self.path, [*rows, [str(step), *values, f"{seconds:.1f}"]])


def append(path: Path, rows: list[list[str]]) -> None:
    """Adds rows to a CSV file."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in a sentence that a log cannot be written."""
    try:
        yield
    except OSError as error:
        raise JtrackError(
            f"cannot write {path}: {error.strerror or error}; the last checkpoint is kept: make room and run "
            "the same command again"
        ) from None
