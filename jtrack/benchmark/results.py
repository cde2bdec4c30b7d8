"""What a tracker did on the sequences of a benchmark: the form in which everything is stored and scored.

A run of one protocol holds one or more trajectories a sequence (segments, perturbations or repetitions); a
trajectory has a row a frame.

A results folder holds a folder a run: one tracker in one configuration, named by both.

    RESULTS/hcft-default-googlenet-DIGEST/
      run.json                       what identifies the run, its sequences, and the machines that made it
      ope/Basketball.csv             a trial, whole; it is there once the trial is done
      ope/Basketball.maps.npz        its response maps, if they were to be kept
      ope/Basketball.txt             the same as the benchmark's own kit has it, here OTB's
      baseline/bag/bag_001.csv       ... of several trials the first, with bag_001.txt and more for VOT's kit
      ope/Coke.error                 why a sequence has no result
"""

import errno
import functools
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jtrack.benchmark import response_maps
from jtrack.benchmark.protocol import Protocol, Trial
from jtrack.benchmark.response_maps import ResponseMaps
from jtrack.data.folder import natural_key
from jtrack.data.otb import ORIGIN
from jtrack.data.text import FARTHEST, MOST_LINES, check_name
from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.untrusted import json_of, listed, read_file, reading, warn_left_out
from jtrack.whole import remove_dead_parts, write_whole

if TYPE_CHECKING:
    from filelock import BaseFileLock

# How a process claims what it works on: by a lock of the system, or by a file that it touches now and then.
CLAIMS = ("lock", "lease")
LEASE = 60.0  # seconds without a touch, by the clock of whoever waits, after which a lease is anybody's
# Of the folder's layout: 1 took the processor for a part of what identifies a run, 2 did not say when a
# tracker learnt. Runs of both are read; one of 2 goes on as one of 3.
VERSION = 3
# What a row of a trajectory is. All but TRACKED have no box (NaN) but INITIALISED, which has the given one.
TRACKED, INITIALISED, FAILED, SKIPPED = range(4)

# Of a trial's file. Boxes are 0-based; `machine` counts in run.json's `machines`, from 0; NaN: not known.
_COLUMNS = "frame,status,x,y,w,h,score,lost,seconds,machine,learnt"
_BEFORE = tuple(_COLUMNS[: _COLUMNS.index(last)] for last in (",machine", ",learnt"))  # of layouts 1 and 2
_LARGEST = 1 << 26  # bytes of a trial's file
_LARGEST_RUN = 1 << 24  # bytes of run.json
# What is used of run.json: key -> type.
_TYPES: dict[str, type] = dict.fromkeys(
    ("tracker", "profile", "changes", "backbone", "digest", "identity", "dataset", "root", "list"), str
) | {"limit_frames": int, "sequences": dict, "machines": list}


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One trial: T frames of a sequence from frame `start` on. Row t belongs to frame `start + t`."""

    boxes: np.ndarray  # [T, 4] float64: x, y, w, h, 0-based, not rounded
    status: np.ndarray  # [T] uint8: TRACKED, INITIALISED, FAILED or SKIPPED
    start: int = 0  # 0-based, in the frames the protocol runs on
    seconds: np.ndarray | None = None  # [T] float64 a frame took; NaN where it was not timed
    scores: np.ndarray | None = None  # [T] float64 in [0, 1], the tracker's own
    lost: np.ndarray | None = None  # [T] bool, the tracker's own
    polygons: np.ndarray | None = None  # [T, P, 2] float64, 0-based, of a tracker that gives polygons; then
    # `boxes` are about them
    machine: int | None = None  # the one that made it: its place in `Results.machines`
    # [T] bool: whether the tracker's rare, heavy learning (`Tracker.learn`) ran after the frame. None where
    # that is not known: it learns within its step or is not jtrack's, or the run is of an earlier layout.
    learnt: np.ndarray | None = None
    maps: Callable[[], ResponseMaps] | None = None  # reads those that were kept, or a JtrackError; None: none

    def __repr__(self) -> str:
        failed = int((self.status == FAILED).sum())
        failures = f", {failed} failure{'s' * (failed != 1)}" if failed else ""
        return f"Trajectory({len(self.boxes)} frames from frame {self.start}{failures})"


@dataclass(frozen=True)
class Results:
    """The trajectories of one tracker under one protocol."""

    tracker: str  # how tables and legends call it
    protocol: str  # a name of `jtrack.benchmark.protocol`
    trajectories: Mapping[str, list[Trajectory]]  # sequence -> its trials, in their order
    profile: str | None = None
    label: Mapping[str, Any] = field(default_factory=dict)  # what `run.json` says: digest, versions
    failures: Mapping[str, str] = field(default_factory=dict)  # sequence -> why it has none
    machines: Sequence[Mapping[str, Any]] = ()  # those that made it, each as `machine.describe` says

    def __repr__(self) -> str:
        trials = sum(len(each) for each in self.trajectories.values())
        name = f"{self.tracker} {self.profile}" if self.profile else self.tracker
        failed = f", {len(self.failures)} failed" if self.failures else ""
        of = f"{trials} trials of {len(self.trajectories)} sequences"
        return f"Results({name!r}, {self.protocol}: {of}{failed})"


def load(folder: str | Path) -> list[Results]:
    """Reads the results of one run, or of all runs of a results folder.

    Returns:
      One `Results` a run and protocol.

    Raises:
      JtrackError: there are none, or all are damaged or of a newer version of jtrack; one among others costs
        a warning.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise JtrackError(f"cannot open results {folder}: there is no such folder")
    runs = [folder] if is_run(folder) else sorted(filter(is_run, _children(folder)))
    if not runs:
        raise JtrackError(
            f"{folder} holds no results: there is no run.json, neither in it nor in its folders"
        )
    found: list[Results] = []
    refused = []
    for run in runs:
        try:
            found += _load_run(run)
        except JtrackError as error:
            refused.append(error)
    if len(refused) == len(runs):
        raise refused[0]
    warn_left_out(refused, folder)
    return found


def possible(done: Trajectory, where: str | Path) -> Trajectory:
    """Returns a trajectory that was read; refuses one with numbers that no tracker has.

    Raises:
      JtrackError: a box is infinite, or a time is infinite or negative. NaN says that there is none.
    """
    regions = [done.boxes] if done.polygons is None else [done.boxes, done.polygons]
    for rows in regions:
        if (far := np.abs(rows) > FARTHEST).any():
            row, shown = np.argwhere(far)[0][0] + 1, rows[far][0]
            raise JtrackError(
                f"{where} has a box of {shown:g} pixels in row {row}: a box is finite, or NaN for none"
            )
    if done.seconds is not None and (np.isinf(done.seconds) | (done.seconds < 0)).any():
        shown = done.seconds[np.isinf(done.seconds) | (done.seconds < 0)][0]
        raise JtrackError(f"{where} has a frame that took {shown:g} seconds: a time is 0 or more")
    return done


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "run.json").is_file()


def digest(label: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits for all that a label says."""
    return hashlib.sha256(json.dumps(label, sort_keys=True).encode()).hexdigest()[:12]


def open_store(
    results: str | Path,
    label: Mapping[str, Any],
    about: Mapping[str, Any],
    sequences: Mapping[str, str] | None = None,
    machine: Mapping[str, Any] | None = None,
    *,
    claims: str = "lock",
) -> "Store":
    """Opens the folder of a run in a results folder, making both if need be.

    A run continues if its label is the same and if each sequence that it knows still consists of the same
    files and annotations. So sequences can be added to a run, and changed data begins a new one.

    Args:
      results: the results folder.
      label: all that shapes the numbers but the sequences; "tracker" at least.
      about: what else is worth knowing: where, when and how the run was made.
      sequences: those to run -> what they consist of (`jtrack.data.identity.digest`).
      machine: what it runs on (`jtrack.benchmark.machine.describe`). It is noted, and identifies nothing.
      claims: one of `CLAIMS`, the same for all processes that work in the folder; see `Store`.

    Raises:
      JtrackError: a folder that cannot be written, or was written by a newer version of jtrack.
    """
    results, sequences, claims = Path(results), dict(sequences or {}), match("claim", claims, CLAIMS)
    name = "-".join(
        re.sub(r"[^A-Za-z0-9_.+]+", "-", str(label[what])).strip("-.")
        for what in ("tracker", "profile", "backbone")
        if label.get(what)
    )
    with _writing(results):
        results.mkdir(parents=True, exist_ok=True)
        with _claim(results / ".runs", claims):
            folder, content = _begun(results, name, label, sequences)
            _check_unlinked(folder)
            if not content:
                content = dict(label) | dict(about) | {"identity": digest(label)}
            content["version"] = VERSION  # of what will be written
            content["digest"] = folder.name.rpartition("-")[2]
            content["sequences"] = content.get("sequences", {}) | sequences
            content.setdefault("machines", [])
            number = None if machine is None else _noted(content, machine)
            (folder / ".locks").mkdir(parents=True, exist_ok=True)
            write_whole(folder / "run.json", json.dumps(content, indent=1) + "\n")
        protocols = _children(folder)
        for place in (results, folder, *protocols, *(each for one in protocols for each in _children(one))):
            remove_dead_parts(place)
        with tempfile.TemporaryFile(dir=folder):
            pass  # whether it can be written is known before the work begins
    return Store(folder, number, claims)


def _noted(content: dict[str, Any], machine: Mapping[str, Any]) -> int:
    """The place of a machine among those of a run, which it is given if it has none."""
    machines = content.setdefault("machines", [])
    if machine not in machines:
        machines.append(dict(machine))
    return machines.index(machine)


def _begun(
    results: Path, name: str, label: Mapping[str, Any], sequences: Mapping[str, str]
) -> tuple[Path, dict[str, Any]]:
    """The run to continue and what its `run.json` says; or the folder of a new run, and nothing."""
    for folder in filter(is_run, _children(results)):
        if folder.name.rpartition("-")[0] != name:
            continue
        found = read_label(folder)
        known = found.get("sequences", {})
        if found.get("identity") == digest(label) and all(
            known.get(sequence, content) == content for sequence, content in sequences.items()
        ):
            return folder, found
    new = results / f"{name}-{digest(dict(label) | {'sequences': dict(sequences)})}"
    if is_run(new):
        found = read_label(new)
        raise JtrackError(
            f"{new / 'run.json'} is of another run, {found.get('digest')}: give another --results, or "
            "remove it"
        )
    return new, {}


def _claim(path: Path, claims: str) -> "BaseFileLock":
    """What claims a thing for this process: a lock, or a file that is there as long as it is held."""
    from filelock import FileLock, SoftFileLease

    if claims == "lock":
        return FileLock(f"{path}.lock")
    # Not asked for twenty times a second, as a lock is: each time is a question to the disk's server.
    return SoftFileLease(f"{path}.lease", lease_duration=LEASE, poll_interval=LEASE / 60, thread_local=False)


@dataclass(frozen=True)
class Store:
    """Where the trials of one run are kept. A sequence is worked on under its claim only.

    A lock is the operating system's and ends with its process, at once. Whether it holds between machines
    that share a network disk depends on the disk. A lease is a file beside the results, which its holder
    touches every `LEASE / 3` seconds. Whoever waits for it takes it over when its process is known to be
    gone, which can be known on the same machine, or when it has not changed for `LEASE` seconds. These are
    counted by the clock of whoever waits: no two machines' clocks are ever compared. A process that was
    stopped for longer and then goes on repeats what another has taken over. Nothing is lost by that: files
    are replaced whole.
    """

    folder: Path
    machine: int | None = None  # the one that writes: its place in the run's `machines`
    claims: str = "lock"  # one of `CLAIMS`
    # Kept, for each remembers since when it has seen no change.
    _leases: dict[Path, "BaseFileLock"] = field(default_factory=dict, init=False, repr=False, compare=False)

    @contextmanager
    def lock(self, protocol: Protocol, sequence: str, *, wait: bool) -> Generator[bool]:
        """Claims a sequence for this process; yields whether it has it.

        Args:
          protocol: under which the sequence is run.
          sequence: its name.
          wait: whether to wait for another process that works on it.
        """
        from filelock import Timeout

        path = self.folder / ".locks" / f"{protocol.name}-{check_name(sequence, 'the dataset')}"
        self._check_there(path.parent)
        claim = self._leases.get(path) or _claim(path, self.claims)
        if self.claims == "lease":
            self._leases[path] = claim
        with _writing(path), suppress(Timeout):
            claim.acquire(blocking=wait)
        try:
            yield claim.is_locked
        finally:
            claim.release()

    def note(self, machine: Mapping[str, Any]) -> int:
        """Notes a machine that makes trials of this run; returns its place, for `Trajectory.machine`.

        Raises:
          JtrackError: it cannot be written.
        """
        self._check_there(self.folder)
        with _writing(self.folder), _claim(self.folder.parent / ".runs", self.claims):
            content = read_label(self.folder)
            number = _noted(content, machine)
            write_whole(self.folder / "run.json", json.dumps(content, indent=1) + "\n")
        return number

    def read(self, protocol: Protocol, trial: Trial) -> Trajectory | None:
        """What is kept of a trial; None where there is nothing.

        Raises:
          JtrackError: what is kept is damaged, or of a trial of another sequence that has the same name.
        """
        path = self._file(protocol, trial, ".csv")
        if not path.is_file():
            return None
        _check_unlinked(self.folder, path)
        found = read_trajectory(path)
        length = trial.end - trial.start
        if (
            len(found.boxes) != length
            or found.start != trial.start
            or not np.allclose(found.boxes[0], trial.box)
        ):
            kept, wanted = (
                f"{frames} frames from frame {start} and box {','.join(f'{value:g}' for value in box)}"
                for frames, start, box in (
                    (len(found.boxes), found.start, found.boxes[0]),
                    (length, trial.start, trial.box),
                )
            )
            raise JtrackError(
                f"{path} is of another sequence that is called {trial.sequence}: it has {kept}, and wanted"
                f" are {wanted}: give another --results"
            )
        return found

    def write(self, protocol: Protocol, trial: Trial, done: Trajectory) -> None:
        """Keeps a trial, whole or not at all; its failure before, if there was one, is forgotten.

        It is of this store's machine, unless the trajectory says of which.

        Raises:
          JtrackError: it cannot be written.
        """
        path = self._file(protocol, trial, ".csv")
        self._check_there(path.parent)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            for suffix, text in _official(protocol, done).items():
                write_whole(self._file(protocol, trial, suffix), text)
            self._write_times(protocol, trial, done)
            if done.maps is not None:
                response_maps.write(path.with_suffix(response_maps.SUFFIX), done.maps())
            machine = self.machine if done.machine is None else done.machine
            write_whole(path, "".join(f"{line}\n" for line in _lines(replace(done, machine=machine))))
            self._error(protocol, trial.sequence).unlink(missing_ok=True)

    def fail(self, protocol: Protocol, sequence: str, traceback: str) -> Path:
        """Keeps why a sequence could not be run, the reason in the last line. Returns the file."""
        path = self._error(protocol, sequence)
        self._check_there(path.parent)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, traceback.rstrip() + "\n")
        return path

    def _check_there(self, place: Path) -> None:
        """Refuses to write into a run that was removed meanwhile, or through a link in it."""
        if not is_run(self.folder):
            raise JtrackError(f"{self.folder} was removed while it was in use: run again")
        _check_unlinked(self.folder, place)

    def _error(self, protocol: Protocol, sequence: str) -> Path:
        return self.folder / protocol.name / f"{check_name(sequence, 'the dataset')}.error"

    def _file(self, protocol: Protocol, trial: Trial, suffix: str) -> Path:
        """A file of a trial. OTB's kit has one trial of a sequence, the other kits number them."""
        name = check_name(trial.sequence, "the dataset")
        folder = self.folder / protocol.name
        if protocol.measures == "otb" and protocol.starts_once and not trial.number:
            return folder / f"{name}{suffix}"
        return folder / name / f"{name}_{trial.number + 1:03d}{suffix}"

    def _write_times(self, protocol: Protocol, trial: Trial, done: Trajectory) -> None:
        """Seconds a frame, a column a trial, as GOT's and VOT's kits have them beside the boxes."""
        if protocol.measures == "otb" or done.seconds is None:
            return
        columns = [done.seconds]
        for number in reversed(range(trial.number)):
            path = self._file(protocol, trial._replace(number=number), ".csv")
            before = read_trajectory(path).seconds if path.is_file() else None
            columns.insert(0, np.full(len(done.boxes), np.nan) if before is None else before)
        rows = np.stack(columns, axis=1)
        text = "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in rows)
        write_whole(self._file(protocol, trial, ".txt").with_name(f"{trial.sequence}_time.txt"), text)


def read_label(run: Path) -> dict[str, Any]:
    """What `run.json` says.

    Raises:
      JtrackError: it is missing, damaged, or of a newer version.
    """
    path = run / "run.json"
    with reading(str(path), "remove its folder", fault="does not say what was run"):
        label = check_label(json_of(read_file(path, largest=_LARGEST_RUN)))
    if label["version"] > VERSION:
        raise JtrackError(
            f"{run} was written by a newer jtrack (layout {label['version']}, this one knows {VERSION}):"
            " update jtrack, or give another folder"
        )
    return label


def check_label(label: Any) -> dict[str, Any]:
    """Returns what a run says of itself, as `run.json` holds it; that of a newer layout is not looked into.

    Raises:
      ValueError: it is something else.
    """
    if not isinstance(label, dict) or type(label.get("version")) is not int:
        raise ValueError("it has no version")
    for key, kind in _TYPES.items() if label["version"] <= VERSION else ():
        if label.get(key) is not None and type(label[key]) is not kind:
            raise ValueError(f"its {key} is {str(label[key])[:60]!r}")
    if type(limit := label.get("limit_frames")) is int and limit < 1:
        raise ValueError(f"its limit_frames is {limit}")
    return label


def read_trajectory(path: Path) -> Trajectory:
    """Reads a trial's own file, with a row a frame and the columns of `_COLUMNS`.

    Raises:
      JtrackError: it holds something else.
    """
    with reading(str(path), "remove it, and it is run again", fault="is not a trial's file"):
        text = read_file(path, largest=_LARGEST).decode("ascii")
        if text.count("\n") > MOST_LINES:
            raise ValueError(f"it has more than {MOST_LINES} lines")
        first, _, rest = text.partition("\n")
        lines = rest.split("\n")
        if first not in (_COLUMNS, *_BEFORE):
            raise ValueError(f"its first line is not {_COLUMNS}")
        rows = np.loadtxt(lines if any(lines) else ["nothing"], delimiter=",", ndmin=2, comments=None)
        if rows.shape[1:] != (first.count(",") + 1,) or not len(rows):
            raise ValueError(f"it has not {first.count(',') + 1} numbers in every line")
        frames, status = rows[:, 0], rows[:, 1]
        if not np.array_equal(frames, frames[0] + np.arange(len(rows))) or not 0 <= frames[0] < 2**31:
            raise ValueError("its frames are not consecutive")
        if not np.isin(status, range(4)).all():
            raise ValueError("it has a status other than 0 to 3")
        absent = np.full((len(rows), _COLUMNS.count(",") - first.count(",")), np.nan)
        rows = np.hstack([rows, absent])
        machine = rows[0, 9]
        if not (np.isnan(machine) or (0 <= machine < 2**31 and (rows[:, 9] == machine).all())):
            raise ValueError("its machine is not one number")
    scores, lost, seconds, learnt = (
        None if np.isnan(column).all() else column for column in rows[:, [6, 7, 8, 10]].T
    )
    maps = path.with_suffix(response_maps.SUFFIX)
    done = Trajectory(
        rows[:, 2:6],
        status.astype(np.uint8),
        int(frames[0]),
        seconds,
        scores,
        None if lost is None else lost > 0,
        machine=None if np.isnan(machine) else int(machine),
        learnt=None if learnt is None else learnt > 0,
        maps=functools.partial(response_maps.read, maps, len(rows))
        if maps.is_file() and not maps.is_symlink()
        else None,
    )
    return possible(done, path)


def _load_run(run: Path) -> list[Results]:
    label = read_label(run)
    found = []
    for folder in _children(run):
        trials, failures = _load_protocol(folder)
        if trials or failures:
            name, profile = str(label.get("tracker", run.name)), label.get("profile")
            found.append(
                Results(name, folder.name, trials, profile, label, failures, label.get("machines", ()))
            )
    return found


def _load_protocol(folder: Path) -> tuple[dict[str, list[Trajectory]], dict[str, str]]:
    """The trials of each sequence; of those that have none, or whose files are damaged, why."""
    failures = {path.stem: _last_line(path) for path in _files(folder, "*.error")}
    found = {path.stem: [path] for path in _files(folder, "*.csv")}
    for child in _children(folder):
        numbered = re.compile(re.escape(child.name) + r"_[0-9]{3,}\.csv")
        if several := [path for path in _files(child, "*.csv") if numbered.fullmatch(path.name)]:
            found[child.name] = found.get(child.name, []) + sorted(several, key=natural_key)
    trials = {}
    for name, files in found.items():
        try:
            if {path.name for path in files} >= {f"{name}.csv", f"{name}_001.csv"}:
                raise JtrackError(f"{files[0]} and {files[1]} both hold {name}'s first trial: remove one")
            trials[name] = [read_trajectory(path) for path in files]
        except JtrackError as error:
            failures[name] = str(error)
    return trials, failures


def _files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder, hidden ones and links excepted."""
    return [path for path in listed(folder, pattern) if path.is_file() and not path.is_symlink()]


def _children(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones and links excepted."""
    return [path for path in listed(folder) if path.is_dir() and not path.is_symlink()]


def _check_unlinked(folder: Path, inside: Path | None = None) -> None:
    """Refuses a run whose folder, or a folder in it, is a link: what it leads to is none of jtrack's."""
    places = [folder]
    if inside is not None:
        places += [place for place in (inside, *inside.parents) if folder in place.parents]
    if linked := [place for place in places if place.is_symlink()]:
        raise JtrackError(
            f"{linked[0]} is a link, through which no results are kept: remove it, or give another --results"
        )


def _last_line(path: Path) -> str:
    with reading(str(path)), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return (file.read(4096).decode("utf-8", "replace").strip().splitlines() or ["unknown"])[-1]


def _lines(done: Trajectory) -> Iterable[str]:
    """The lines of a trial's own file; every number is read back as it is."""
    length = len(done.boxes)
    nothing = np.full(length, np.nan)
    machine = None if done.machine is None else np.full(length, done.machine)
    columns = [
        nothing if c is None else np.asarray(c, np.float64)
        for c in (done.scores, done.lost, done.seconds, machine, done.learnt)
    ]
    numbers = np.column_stack([np.asarray(done.boxes, np.float64), *columns])
    yield _COLUMNS
    for t, (status, row) in enumerate(zip(done.status.tolist(), numbers.tolist(), strict=True)):
        yield f"{done.start + t},{status},{','.join(map(_number, row))}"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _official(protocol: Protocol, done: Trajectory) -> dict[str, str]:
    """The files of a trial in the form of the benchmark's own kit: suffix -> text."""
    origin = ORIGIN if protocol.measures == "otb" else 0.0
    rows = [",".join(map(_number, row)) for row in (np.asarray(done.boxes, np.float64) + origin).tolist()]
    if protocol.measures != "vot":
        return {".txt": "".join(f"{row}\n" for row in rows)}
    codes = {INITIALISED: "1", FAILED: "2", SKIPPED: "0"}
    said = [codes.get(status, row) for status, row in zip(done.status.tolist(), rows, strict=True)]
    files = {".txt": said}
    if done.scores is not None:
        files["_confidence.value"] = ["" if np.isnan(score) else f"{score:.9g}" for score in done.scores]
    if done.seconds is not None:
        files["_time.value"] = [f"{seconds:.9g}" for seconds in done.seconds]
    return {suffix: "".join(f"{line}\n" for line in lines) for suffix, lines in files.items()}


@contextmanager
def _writing(path: Path) -> Generator[None]:
    """Turns what keeps a file from being written into one sentence."""
    try:
        yield
    except OSError as error:
        hint = ": this disk has no locks, give --claims lease" if error.errno == errno.ENOLCK else ""
        raise JtrackError(f"cannot write {path}: {error.strerror or error}{hint}") from None
