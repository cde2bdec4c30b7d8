"""What is to be run for a paper, and how long it may take by what earlier runs took.

for job in jobs(paper, material, open_dataset("otb", root), store.available()):
    print(job.profile, job.network, job.frames, job.seconds)
"""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

from jtrack.benchmark import metrics
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark.papers import Paper, Run
from jtrack.benchmark.papers.matching import Material, sources
from jtrack.benchmark.results import Results
from jtrack.data import Dataset, otb


class Job(NamedTuple):
    """A run that fills a row, of the paper's tracker."""

    profile: str
    network: str
    protocol: str
    sequences: tuple[str, ...]
    frames: int  # of all its trials, each start once
    fps: float | None  # of an earlier run on this network, of the same profile if there is one; None for none

    @property
    def seconds(self) -> float | None:
        """How long it may take, on the machine of that run; None if there is none."""
        return self.frames / self.fps if self.fps else None


class Wanted(NamedTuple):
    """A run that a table asks for."""

    run: Run
    protocol: str
    list: str


def jobs(paper: Paper, material: Material, dataset: Dataset, available: Collection[str]) -> list[Job]:
    """The runs that lack some of a dataset's sequences, in the order of the tables.

    Args:
      paper: see `jtrack.benchmark.papers.load`.
      material: what there is.
      dataset: of OTB, what can be run on.
      available: the networks that there are weights of, and those that need none.

    Returns:
      One a profile, network and protocol: on the best network that is available. A run whose networks none is
      available is left out.
    """
    wanted: dict[tuple[str, str, str], dict[str, None]] = {}
    for run, protocol, name in _wanted(paper, material, dataset):
        network = next((each for each in run.networks if each in available), None)
        if network is not None:
            names = wanted.setdefault((run.profile, network, protocol), {})
            names |= dict.fromkeys(each for each in otb.lists()[name] if each in dataset.names)
    return [
        Job(
            *key,
            tuple(names),
            _frames(key[2], tuple(names), dataset),
            _speed(paper.tracker, key[0], key[1], material),
        )
        for key, names in wanted.items()
        if names
    ]


def _wanted(paper: Paper, material: Material, dataset: Dataset) -> dict[Wanted, None]:
    """Of each table the runs of its rows that are missing, or lack sequences of the dataset."""
    found = dict[Wanted, None]()
    for table in paper.all_tables:
        for method in map(paper.methods.__getitem__, table.methods):
            runs = sources(paper, method, table.protocol, material)[: len(method.runs)]
            for run, source in zip(method.runs, runs, strict=True):
                for name in dict.fromkeys(column.list for column in table.columns):
                    there = [each for each in otb.lists()[name] if each in dataset.names]
                    if source.found is None or material.count(source.found, there) < len(there):
                        found[Wanted(run, table.protocol, name)] = None
    return found


def _frames(protocol: str, names: tuple[str, ...], dataset: Dataset) -> int:
    once = dataclasses.replace(protocols.load(protocol), repetitions=1)
    return sum(
        trial.end - trial.start
        for name in names
        for trial in protocols.trials(once, dataset.annotation(name), omitted=otb.omitted(name))
    )


def _speed(tracker: str, profile: str, network: str, material: Material) -> float | None:
    """Frames a second of the latest run on a network, rather of the same profile than of another."""
    alike = [
        each
        for each in material.results
        if (each.label.get("tracker"), each.label.get("backbone")) == (tracker, network)
    ]
    alike.sort(key=lambda each: (each.profile == profile, str(each.label.get("date", ""))))
    return next((fps for each in reversed(alike) if (fps := _fps(each)) is not None), None)


def _fps(results: Results) -> float | None:
    trials = [trial for found in results.trajectories.values() for trial in found]
    return metrics.speed([trial.seconds for trial in trials if trial.seconds is not None])
