"""Runs the trials of an evaluation on the workers of a Ray cluster, or of Ray on this machine.

    make = functools.partial(adapters.in_settings, "hcft", [], backbone="hog")
    videos = functools.partial(jtrack.data.open_dataset, "folder", root)
    with cluster.workers("ray", make, videos, protocol) as crew:
        evaluate_all(crew.trackers, videos(), protocol, "results", executor=crew)

A worker is a process with a part of a machine's processors or GPUs. It makes the trackers and opens the
dataset itself, and keeps what it has compiled. It is given one video after another, with the trials that are
missing of it, and sends each trial home as it ends. The driver alone writes results, so that no disk need be
shared. A worker that dies loses the trials in work; another is given what is left of its video.
"""

import functools
import logging
import os
import queue
import textwrap
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping
from collections.abc import Sequence as Several
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from jtrack import trackers
from jtrack.benchmark.adapters import EvaluatedTracker, Session, code_digest
from jtrack.benchmark.evaluate import Here
from jtrack.benchmark.protocol import Protocol, Trial
from jtrack.benchmark.results import Store, Trajectory
from jtrack.benchmark.work import Lanes, Meter, Plan, Progress, Run, Video, Work, described
from jtrack.checks import there
from jtrack.data import Dataset
from jtrack.errors import JtrackError, missing_extra, printable

TRIES = 3  # workers that a video is given to while they die of it
WAIT = 1.0  # seconds that news are waited for
GATHERING = 120.0  # seconds that all workers are waited for, once there is one
MEMORY = 0.9  # of a GPU, that the workers on it take together

type Make = Callable[[], list[EvaluatedTracker]]
type OpenVideos = Callable[[], Dataset]


class Part(NamedTuple):
    """What of a `Plan` is sent to a worker."""

    tracker: int  # its place among all
    trials: list[Trial]
    boxes: np.ndarray
    size: tuple[int, int]


class Ended(NamedTuple):
    """What came of a trial; or, without one, why its video failed."""

    tracker: int
    trial: Trial | None
    result: Trajectory | str


class News(NamedTuple):
    """What a worker has done since it was last asked."""

    frames: int  # of its video
    ended: list[Ended]
    over: bool  # whether that was the last of its video


class Equipment(NamedTuple):
    """What a worker works with."""

    node: str
    names: list[str]  # of the dataset's sequences
    decoders: dict[str, str]  # versions of what makes pixels of files
    labels: list[Mapping[str, Any]]  # of each tracker, as of `EvaluatedTracker`
    about: list[Mapping[str, Any]]
    deterministic: list[bool]
    machines: list[Mapping[str, Any]]
    lanes: Lanes


class Worker:
    """What runs in a worker's process. Ray calls `news` while `run` is at work."""

    def __init__(self, num_gpus: float) -> None:
        # JAX asks for both when it makes its first array.
        if not num_gpus:
            jax.config.update("jax_platforms", "cpu")
        elif num_gpus < 1:
            os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", f"{MEMORY * num_gpus:.3f}")
        self._news: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._frames = 0

    def equip(self, make: Make, open_videos: OpenVideos, protocol: Protocol, lanes: Lanes) -> Equipment:
        """Makes the trackers and opens the dataset.

        Raises:
          JtrackError: something is missing; the node is named.
        """
        import ray

        node = ray.util.get_node_ip_address()
        try:
            self._dataset, self._trackers, self._protocol = open_videos(), make(), protocol
            self._lanes = Here().lanes(lanes, self._trackers)
        except JtrackError as error:
            raise JtrackError(f"on {node}: {error}") from None
        return Equipment(
            node,
            list(self._dataset.names),
            _decoders(),
            [each.label for each in self._trackers],
            [each.about for each in self._trackers],
            [each.deterministic for each in self._trackers],
            [Here().machine(each, self._lanes) for each in self._trackers],
            self._lanes,
        )

    def run(self, name: str, parts: list[Part], contents: Mapping[str, str]) -> None:
        """Runs what is missing of a video. Whatever comes of it is told by `news`."""
        self._frames = 0
        try:
            self._run(name, parts, contents)
        except Exception:
            for part in parts:
                self._news.put(Ended(part.tracker, None, traceback.format_exc()))
        finally:
            self._news.put(None)

    def news(self) -> News:
        """What has ended since; waits a moment for it."""
        found = []
        with suppress(queue.Empty):
            found.append(self._news.get(timeout=WAIT))
            while True:
                found.append(self._news.get_nowait())
        return News(self._frames, [each for each in found if each is not None], None in found)

    def _run(self, name: str, parts: list[Part], contents: Mapping[str, str]) -> None:
        if described(replace(self._dataset, names=(name,)))[0] != contents:
            raise JtrackError(f"{name} has other files or annotations on this worker's machine")
        plans = []
        for part in parts:
            run = Run(self._trackers[part.tracker], self._protocol, _Outbox(part.tracker, self._news))
            plans.append(Plan(run, name, len(part.trials), part.trials, part.boxes, part.size))
        meter = Meter(self._count, sum(plan.frames for plan in plans))
        Here().run(Work(self._dataset, self._protocol, self._lanes, contents), plans, meter)

    def _count(self, done: Progress) -> None:
        self._frames = done.frames


@dataclass(frozen=True)
class _Outbox:
    """Holds what a worker has run until it is fetched. Of claims and what is kept only the driver knows."""

    tracker: int
    news: "queue.SimpleQueue[Ended | None]"

    @property
    def folder(self) -> Path:
        return Path(f"{self.tracker:06d}")  # sorts as the trackers do

    @contextmanager
    def lock(self, protocol: Protocol, sequence: str, *, wait: bool) -> Generator[bool]:
        del protocol, sequence, wait
        yield True

    def read(self, protocol: Protocol, trial: Trial) -> Trajectory | None:
        del protocol, trial
        return None

    def write(self, protocol: Protocol, trial: Trial, done: Trajectory) -> None:
        del protocol
        self.news.put(Ended(self.tracker, trial, done))

    def fail(self, protocol: Protocol, sequence: str, traceback: str) -> Path:
        del protocol, sequence
        self.news.put(Ended(self.tracker, None, traceback))
        return self.folder


@dataclass(eq=False)
class _Errand:
    """A video that is claimed and to be run."""

    name: str
    plans: dict[int, Plan]  # by the tracker's place among all
    claims: ExitStack
    frames: int = 0  # that its worker has done
    deaths: int = 0  # of its workers


@dataclass(eq=False)
class _Hired:
    """A worker, as the driver knows it."""

    actor: Any
    asked: Any  # what it has not answered yet: first its equipment, then its news; None: nothing
    equipment: Equipment | None = None
    errand: _Errand | None = None
    noted: dict[int, int] = field(default_factory=dict)  # by tracker: its machine among those of the run


class _DeathError(Exception):
    """A worker is no more, and why."""


@contextmanager
def workers(
    address: str,
    make: Make,
    open_videos: OpenVideos,
    protocol: Protocol,
    *,
    lanes: Lanes = 1,
    num_cpus: float = 1,
    num_gpus: float | None = None,
) -> Generator["Crew"]:
    """Hires the workers that a cluster has room for, and lets them go at the end.

    Nothing is begun before all have what they need: the same code, packages and weights, and the videos. More
    are hired when the cluster grows.

    Args:
      address: "ray" for the cluster that this machine is part of, or else for Ray on this machine alone;
        "ray://HOST:PORT" for another cluster.
      make: makes the trackers, in each worker. Like `open_videos` it is sent there, and a worker imports by
        name what it is made of.
      open_videos: opens the dataset, in each worker.
      protocol: how they are run.
      lanes: as of `evaluate`, of each worker.
      num_cpus: processors that are set aside for a worker.
      num_gpus: GPUs for a worker, also a part of one; None for one, or none where the cluster has none.

    Raises:
      JtrackError: there is no such cluster, or no room in it, or something is missing on one of its machines.
    """
    try:
        import ray
    except ImportError as error:
        raise missing_extra("--on ray", "cluster", error) from None
    with _connected(address):
        if num_gpus is None:
            num_gpus = 1 if ray.cluster_resources().get("GPU") else 0
        shares = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        _check_shares(shares)
        crew = Crew(functools.partial(_hire, (make, open_videos, protocol, lanes), shares), shares)
        try:
            crew.gather()
            yield crew
        finally:
            crew.dismiss()


@dataclass
class Crew:
    """The workers of an evaluation: an `evaluate.Executor`."""

    hire: Callable[[], _Hired]
    shares: Mapping[str, float]  # of a machine, for a worker
    hired: list[_Hired] = field(default_factory=list)
    stillborn: int = 0  # workers that died before they were equipped, one after another
    hiring: bool = True  # no more once a machine that has joined lacks something
    trackers: list[EvaluatedTracker] = field(default_factory=list)  # what all have made; none runs here
    first: Equipment | None = None  # that all others agree with

    def lanes(self, wanted: Lanes, trackers: Several[EvaluatedTracker]) -> Lanes:
        """As of `Executor`: what the first worker has made of it."""
        del wanted, trackers
        return there(self.first).lanes

    def machine(self, evaluated: EvaluatedTracker, lanes: Lanes) -> None:
        """As of `Executor`: each trial says which worker's machine made it."""
        del evaluated, lanes

    def gather(self) -> None:
        """Hires workers, and waits until all are equipped; not for ever where others take their room.

        Raises:
          JtrackError: there is no room for one, or one lacks something.
        """
        has = _resources()
        if not _room(has, self.shares):
            cpus, gpus = (f"{has.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU"))
            raise JtrackError(
                f"the cluster has {cpus} and {gpus}: there is no room for a worker of --num-cpus"
                f" {self.shares['num_cpus']:g} and --num-gpus {self.shares['num_gpus']:g}"
            )
        count = max(1, _room(_resources(free=True), self.shares))
        begun = time.monotonic()
        while self.first is None or (
            any(each.equipment is None for each in self.hired) and time.monotonic() - begun < GATHERING
        ):
            self._fill(count)
            for worker in self._heard():
                self._welcome(worker)

    def dismiss(self) -> None:
        """Lets all workers go."""
        while self.hired:
            self._forget(self.hired[0])

    def run(self, work: Work, plans: Several[Plan], meter: Meter) -> None:
        """As of `Executor`."""
        videos: dict[str, Video] = {}
        for plan in sorted(plans, key=lambda plan: plan.run.store.folder):  # as all processes claim them
            if plan.missing:
                videos.setdefault(plan.name, []).append(plan)
        if absent := sorted({*videos} - {*there(self.first).names}):
            raise JtrackError(f"on {there(self.first).node}: the dataset has no sequence {absent[0]}")
        longest_first = sorted(videos.values(), key=lambda video: -sum(plan.frames for plan in video))
        waiting = self._work_off(longest_first, work, meter, wait=False)
        # Then what others had in work: one at a time, so that none is held while another is waited for.
        for plan in waiting:
            self._work_off([[plan]], work, meter, wait=True)

    def _work_off(self, videos: list[Video], work: Work, meter: Meter, *, wait: bool) -> list[Plan]:
        """Gives out videos until all are done; returns what other processes have in work."""
        left, others, again = deque(videos), list[Plan](), deque[_Errand]()
        with ExitStack() as claims:

            def following() -> _Errand | None:
                while not again and left:
                    if errand := self._claim(left.popleft(), others, work, meter, wait=wait):
                        claims.callback(errand.claims.close)
                        again.append(errand)
                return again.popleft() if again else None

            while True:
                for worker in self.hired:
                    if worker.equipment and not worker.errand and (errand := following()):
                        self._give(worker, errand, work)
                errands = [each.errand for each in self.hired if each.errand]
                if not (errands or left or again):
                    return others
                _tell(errands, meter)
                self._fill(min(_room(_resources(), self.shares), len(errands) + len(left) + len(again)))
                for worker in self._heard():
                    try:
                        self._take(worker, work, meter)
                    except _DeathError as error:
                        self._forget(worker)
                        if worker.errand and _outlives(worker.errand, error, meter):
                            again.append(worker.errand)

    def _claim(
        self, video: Video, others: list[Plan], work: Work, meter: Meter, *, wait: bool
    ) -> _Errand | None:
        """Claims what is not done of a video; None where nothing is left of it for this process."""
        places = {id(tracker): place for place, tracker in enumerate(self.trackers)}
        errand = _Errand(video[0].name, {}, ExitStack())
        for plan in video:
            if not errand.claims.enter_context(plan.run.store.lock(work.protocol, plan.name, wait=wait)):
                others.append(plan)
                continue
            try:
                missing = plan.run.missing(plan.missing)
            except Exception:  # what is kept is damaged
                plan.run.fail(plan.name)
                missing = []
            if missing:
                errand.plans[places[id(plan.run.evaluated)]] = plan
            else:
                meter.end([plan])
        if errand.plans:
            return errand
        errand.claims.close()
        return None

    def _give(self, worker: _Hired, errand: _Errand, work: Work) -> None:
        """Gives a worker what is missing of a video by now."""
        parts = [
            Part(place, plan.run.missing(plan.missing), plan.boxes, plan.size)
            for place, plan in errand.plans.items()
        ]
        contents = {errand.name: work.contents[errand.name]} if errand.name in work.contents else {}
        worker.errand = errand
        worker.actor.run.remote(errand.name, [part for part in parts if part.trials], contents)
        worker.asked = worker.actor.news.remote()

    def _take(self, worker: _Hired, work: Work, meter: Meter) -> None:
        """Takes what a worker has to say."""
        if worker.errand is None:
            self._let_in(worker)
            return
        news: News = _answer(worker)
        errand = worker.errand
        for place, trial, result in news.ended:
            run = errand.plans[place].run
            if isinstance(result, Trajectory):
                run.keep(there(trial), replace(result, machine=_noted(worker, run, place)))
            else:
                run.failures[errand.name] = run.store.fail(work.protocol, errand.name, result)
        errand.frames = news.frames
        worker.asked = None if news.over else worker.actor.news.remote()
        if news.over:
            worker.errand = None
            _end(errand, meter)

    def _let_in(self, worker: _Hired) -> None:
        """Welcomes a worker while others are at work, whom it does not stop by what it lacks."""
        try:
            self._welcome(worker)
        except JtrackError as error:
            warnings.warn(f"no more workers are hired: {error}", stacklevel=1)
            self.hiring = False
            self._forget(worker)

    def _welcome(self, worker: _Hired) -> None:
        """Takes a worker's equipment.

        Raises:
          JtrackError: it is not that of the driver and of the others; or one worker after another dies of it.
        """
        try:
            found: Equipment = _answer(worker)
        except _DeathError as error:
            self._forget(worker)
            self.stillborn += 1
            if self.stillborn == TRIES:
                raise JtrackError(f"{TRIES} workers died before they had begun: {error}") from None
            return
        self.stillborn = 0
        if self.first is None:
            _check_code(found)
            self.first = found
            makings = zip(found.labels, found.about, found.deterministic, strict=True)
            self.trackers = [EvaluatedTracker(*each, _elsewhere) for each in makings]
        _check_same(self.first, found)
        worker.equipment, worker.asked = found, None

    def _fill(self, count: int) -> None:
        while self.hiring and len(self.hired) < count:
            self.hired.append(self.hire())

    def _heard(self) -> list[_Hired]:
        """The workers that have answered, after a moment."""
        import ray

        by_question = {each.asked: each for each in self.hired if each.asked is not None}
        if not by_question:
            raise JtrackError("no worker is left: see the warnings above, and run again for what is missing")
        answered, _ = ray.wait([*by_question], num_returns=1, timeout=WAIT)
        return [by_question[each] for each in answered]

    def _forget(self, worker: _Hired) -> None:
        import ray

        if worker in self.hired:
            self.hired.remove(worker)
        with suppress(Exception):  # it may be gone, and its node as well
            ray.kill(worker.actor)


def _hire(needs: tuple[Make, OpenVideos, Protocol, Lanes], shares: Mapping[str, float]) -> _Hired:
    import ray

    options: Any = {"max_concurrency": 2, **shares}
    actor: Any = ray.remote(**options)(Worker).remote(shares["num_gpus"])
    return _Hired(actor, actor.equip.remote(*needs))


def _answer(worker: _Hired) -> Any:
    """What a worker has answered.

    Raises:
      JtrackError: it lacks something.
      _DeathError: it is dead, or cannot be reached.
    """
    import ray

    try:
        return ray.get(worker.asked)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, JtrackError):
            raise error.cause from None
        raise JtrackError(f"a worker cannot begin: {error.cause}".partition("\n")[0]) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise _DeathError(textwrap.shorten(reason, 240, placeholder=" ...")) from None


def _noted(worker: _Hired, run: Run, place: int) -> int:
    """The place of a worker's machine among those of a run."""
    if place not in worker.noted:
        assert isinstance(run.store, Store)
        worker.noted[place] = run.store.note(there(worker.equipment).machines[place])
    return worker.noted[place]


def _outlives(errand: _Errand, error: _DeathError, meter: Meter) -> bool:
    """Whether a video is given to another worker after the death of one; else it has failed."""
    errand.deaths += 1
    errand.frames = 0
    if errand.deaths < TRIES:
        warnings.warn(f"a worker died at {errand.name}, which another is given: {error}", stacklevel=1)
        return True
    for plan in errand.plans.values():
        plan.run.fail(errand.name, JtrackError(f"{TRIES} workers died at it, the last so: {error}"))
    _end(errand, meter)
    return False


def _end(errand: _Errand, meter: Meter) -> None:
    errand.claims.close()
    meter.end([*errand.plans.values()])


def _tell(errands: Several[_Errand], meter: Meter) -> None:
    name = errands[0].name if len(errands) == 1 else f"{len(errands)} sequences"
    meter.tell(name, sum(errand.frames for errand in errands))


def _check_code(found: Equipment) -> None:
    """Refuses a worker whose code makes other boxes than the driver's, or whose decoders other pixels."""
    for label in found.labels:
        ours = label["tracker"] if "profile" in label else None
        if ours in (None, *trackers.names()) and label["code"] != (mine := code_digest(ours)):
            raise JtrackError(
                f"on {found.node}: its code of jtrack is {label['code']}, here it is {mine}: install the same"
            )
    if found.decoders != (own := _decoders()):
        raise JtrackError(f"on {found.node}: it has {found.decoders}, here are {own}: install the same")


def _check_same(first: Equipment, found: Equipment) -> None:
    """Refuses a worker whose results would not be those of the first."""
    for wanted, label in zip([first.decoders, *first.labels], [found.decoders, *found.labels], strict=True):
        if differing := sorted(key for key in {*wanted, *label} if wanted.get(key) != label.get(key)):
            key = differing[0]
            theirs, firsts = (printable(each.get(key), 200) for each in (label, wanted))
            raise JtrackError(f"on {found.node}: its {key} is {theirs}, on {first.node} it is {firsts}")
    if absent := {*first.names} ^ {*found.names}:
        raise JtrackError(f"{min(absent)} is a sequence on one of {first.node} and {found.node} alone")


def _decoders() -> dict[str, str]:
    return {"opencv": cv2.__version__, "av": version("av")}


def _elsewhere(seed: int) -> Session:
    raise AssertionError(f"a trial of seed {seed} was run by the driver")


def _resources(*, free: bool = False) -> dict[str, float]:
    import ray

    return ray.available_resources() if free else ray.cluster_resources()


def _room(has: Mapping[str, float], shares: Mapping[str, float]) -> int:
    """How many workers a cluster has room for. Several may share a GPU; none has parts of two."""
    cpus, gpus = shares["num_cpus"], shares["num_gpus"]
    rooms = [has.get("CPU", 0) / cpus] if cpus else []
    if gpus:
        rooms.append(has.get("GPU", 0) * int(1 / gpus) if gpus < 1 else has.get("GPU", 0) / gpus)
    return int(min(rooms))


def _check_shares(shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if not (0 <= share <= 1 or share in range(1001)):
            option = name.replace("_", "-")
            raise JtrackError(f"--{option} is {share:g}: give a part of one, such as 0.5, or a whole number")
    if not any(shares.values()):
        raise JtrackError("--num-cpus and --num-gpus are both 0: a worker needs some of either")


@contextmanager
def _connected(address: str) -> Generator[None]:
    """A connection to a cluster; that of the caller, if there is one."""
    import ray

    if address != "ray" and not address.startswith("ray://"):
        raise JtrackError(f"--on is {printable(address, 80)}: give ray, or ray://HOST:PORT")
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # which Ray would send to its makers
    try:
        ray.init(None if address == "ray" else address, log_to_driver=False, logging_level=logging.ERROR)
    except ImportError as error:
        raise missing_extra(f"--on {address}", "cluster", error) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise JtrackError(f"cannot use {printable(address, 80)}: {printable(error, 400)}") from None
    try:
        yield
    finally:
        ray.shutdown()
