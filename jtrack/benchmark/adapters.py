"""Everything that can be evaluated: jtrack's trackers, OpenCV's, and any other that fits ten lines.

A tracker from elsewhere is a class, or a function that makes an object, with two methods:

    class Still:
        '''Says that nothing moves.'''

        deterministic = True  # draws no random numbers; left out, it is run as often as a protocol asks

        def init(self, frame, box):  # frame: uint8 [H, W, 3] RGB; box: x, y, w, h in pixels, 0-based
            self.box = box

        def update(self, frame):  # the box in the next frame; None where the target is not found
            return self.box

    jtrack eval --tracker still.py:Still ...     # or module:Still for what Python can import

Its file is run as code, with all that you may do yourself. An object is made for every trial. One that takes
the argument `seed` is given that of the trial. Its results are filed by its name and the contents of its
file; `version`, if it has one, is part of that too.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import cv2
import jax
import jaxlib
import numpy as np

import jtrack
from jtrack import trackers
from jtrack.benchmark import machine
from jtrack.benchmark.response_maps import Response
from jtrack.data.text import FARTHEST
from jtrack.errors import JtrackError, unknown_name
from jtrack.names import match
from jtrack.run.inputs import canvas_of, check_boxes, to_frame
from jtrack.run.stream import build, make_tracker
from jtrack.run.together import Executable, executable
from jtrack.settings import apply
from jtrack.trackers import BoundTracker, Row
from jtrack.types import Array, Frame, PyTree, Tracker
from jtrack.weights import store

# What shapes boxes, scores and times of any tracker: frames, protocols, and what tells a failure.
_RUNNING = (
    *("data/**/*.py", "data/*.toml", "benchmark/protocols/*.toml"),
    *(f"benchmark/{name}.py" for name in ("adapters", "evaluate", "work", "one_trial", "trials_in_lanes")),
    *(f"benchmark/{name}.py" for name in ("overlap", "protocol", "vot_measures")),
)
# The rest of the package counts for our trackers, new folders too, but for these: they change no box.
_APART = (
    *("benchmark/**/*", "cli/**/*", "integrations/**/*", "train/**/*"),
    *("archives.py", "draw.py", "hdf5.py", "matlab.py", "whole.py"),
)


class Prediction(NamedTuple):
    """What a tracker says of a frame."""

    box: np.ndarray  # [4] float64 x, y, w, h, 0-based; NaN where there is none
    score: float | None = None  # in [0, 1]
    lost: bool | None = None
    learnt: bool | None = None  # whether its rare, heavy learning ran after the frame; None: not known
    response: Response | None = None  # of its filters, where it is to be kept


class Session(Protocol):
    """A tracker at work on one target after another."""

    def prepare(self, image: np.ndarray, box: np.ndarray) -> None:
        """Does what `init` and `update` would do once only, such as compiling, so that they can be timed."""

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        """Starts on a target: image uint8 [H, W, 3] RGB, box [4] x, y, w, h, 0-based."""

    def update(self, image: np.ndarray) -> Prediction:
        """Tracks it in the next frame."""


class EvaluatedTracker(NamedTuple):
    """A tracker that can be evaluated."""

    label: Mapping[str, Any]  # all that shapes its numbers but the data; "tracker" is its name
    about: Mapping[str, Any]  # what else is worth knowing
    deterministic: bool  # whether it draws no random numbers
    start: Callable[[int], Session]  # given a seed
    bound: BoundTracker | None = None  # of a tracker of jtrack

    @property
    def keeps_maps(self) -> bool:
        """Whether its response maps are kept: its config asks for them (`info`), and it has some."""
        bound = self.bound
        return bound is not None and bound.row.response_maps is not None and bound.config.info

    @property
    def identifier(self) -> tuple[str, ...]:
        """What names it among the trackers of a toolkit: short words, for changes in its profile a digest."""
        words = [self.label.get(what) for what in ("tracker", "profile", "backbone", "trained")]
        words += [self.label["configuration"][:8]] if self.label.get("changes") else []
        return tuple(str(word) for word in words if word)


class External(Protocol):
    """A tracker from elsewhere."""

    def init(self, frame: np.ndarray, box: tuple[float, float, float, float]) -> object:
        """Starts on a target."""

    def update(self, frame: np.ndarray) -> Sequence[float] | None:
        """The box in the next frame."""


def evaluated(
    tracker: str | BoundTracker,
    *,
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
    weights: str | Path | None = None,
    changes: trackers.Changes | None = None,
    models: Sequence[str | Path] = (),
) -> EvaluatedTracker:
    """Finds a tracker by name.

    Args:
      tracker: one of `jtrack.trackers.names()`, or what `jtrack.trackers.create` returned; `opencv:NAME` of
        `OPENCV`; `module:NAME` or `file.py:NAME` of a tracker from elsewhere, **whose code is run**.
      profile: of a tracker of jtrack.
      backbone: of a tracker of jtrack.
      precision: of a tracker of jtrack.
      weights: a network trained for objectness, by name or path, as `trackers.create` takes it.
      changes: of the profile, as `trackers.create` takes them.
      models: files of a tracker of OpenCV that needs them.

    Raises:
      JtrackError: there is no such tracker, or it does not fit.
    """
    if isinstance(tracker, BoundTracker) or ":" not in tracker:
        if models:
            raise JtrackError(
                f"tracker {tracker} takes no --model: its weights are named by --backbone or --weights"
            )
        if isinstance(tracker, str) and tracker.endswith(".py"):
            raise JtrackError(f"which tracker of {tracker}? give {tracker}:NAME, a class or function in it")
        bound = build(
            tracker,
            profile=profile,
            backbone=backbone,
            precision=precision,
            weights=weights,
            changes=changes,
        )
        return ours(bound)
    if (profile, backbone, precision, weights, changes) != ("default", None, "float32", None, None):
        raise JtrackError(
            f"{tracker} is not a tracker of jtrack: it takes no --profile, --set, --backbone, --precision or "
            "--weights"
        )
    where, _, name = tracker.rpartition(":")
    if where.casefold() == "opencv":
        return opencv(name, models)
    if models:
        raise JtrackError(
            f"tracker {tracker} takes no --model, which is for OpenCV's: let it open its own files"
        )
    return external(tracker)


def in_settings(
    tracker: str,
    settings: Iterable[Iterable[str]],
    *,
    profile: str = "default",
    backbone: str | None = None,
    precision: str = "float32",
    weights: str | Path | None = None,
) -> list[EvaluatedTracker]:
    """A tracker of jtrack as it is, and in several settings; weights that are the same are held once.

    Args:
      tracker: one of `jtrack.trackers.names()`.
      settings: of each the texts, as `jtrack.settings.apply` takes them.
      profile: as of `evaluated`.
      backbone: as of `evaluated`.
      precision: as of `evaluated`.
      weights: as of `evaluated`.

    Returns:
      The tracker as it is, then each setting as `evaluated` makes it; what comes to the same, once.

    Raises:
      JtrackError: as of `evaluated`, or the tracker is not one of jtrack's.
    """
    name = match("tracker of jtrack", tracker, trackers.names())
    options: Any = {"profile": profile, "backbone": backbone, "precision": precision, "weights": weights}
    found: dict[str, EvaluatedTracker] = {}
    held: dict[str, PyTree] = {}  # weights by their digest
    for setting in [(), *settings]:
        bound = build(name, changes=functools.partial(apply, settings=tuple(setting)), **options)
        if bound.changes in found:
            continue
        digest = store.digest(bound.params["backbone"])
        if digest not in held:
            held[digest] = jax.device_put(bound.params["backbone"])
        found[bound.changes] = ours(bound._replace(params={**bound.params, "backbone": held[digest]}))
    return list(found.values())


def ours(bound: BoundTracker) -> EvaluatedTracker:
    """A tracker of jtrack."""
    hyper = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf).tolist()
        for path, leaf in jax.tree_util.tree_leaves_with_path(bound.params["tracker"])
    }
    facts = bound.label()
    facts["configuration"] = facts.pop("digest")
    params = jax.device_put(bound.params)
    ready: set[tuple[Tracker, tuple[int, int]]] = set()
    return EvaluatedTracker(
        label=facts | {"code": code_digest(bound.name, _file_of(bound.row))} | _numerics(),
        about={"config": str(bound.config), "hyper": hyper},
        deterministic=draws_nothing(bound),
        start=lambda seed: _Stream(bound, params, seed, ready),
        bound=bound,
    )


def keeping_maps(evaluated: EvaluatedTracker) -> EvaluatedTracker:
    """The tracker, whose response maps are kept: in runs of their own, as another program makes their boxes.

    Raises:
      JtrackError: it has none.
    """
    bound = evaluated.bound
    if bound is None or bound.row.response_maps is None:
        able = " or ".join(trackers.names_with("response_maps"))
        raise JtrackError(
            f"response maps are those of a tracker's filters: {evaluated.label['tracker']} has none, leave "
            f"out --keep-maps or use {able}"
        )
    return ours(bound._replace(config=dataclasses.replace(bound.config, info=True)))


def _numerics() -> dict[str, Any]:
    """What changes the numbers that JAX computes on any device: compiler, precision and flags."""
    return {
        "jaxlib": jaxlib.__version__,
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "xla_flags": machine.numeric_flags(),
    }


@functools.cache
def code_digest(tracker: str | None = None, file: Path | None = None) -> str:
    """Eight hexadecimal digits for the code that shapes a result, whatever its comments and docstrings.

    A version says too little in a checkout of the project, where code changes from hour to hour. Of the
    trackers' files that of `tracker` counts, and those that it imports; for a tracker from elsewhere (None)
    only what runs it does. `file` counts, too: of a tracker of jtrack's kind whose row is not the registry's.
    """
    root = Path(jtrack.__file__).parent
    paths = _matching(root, _RUNNING)
    if tracker is not None:
        others = {root / "trackers" / f"{name}.py" for name in trackers.names()}
        others -= _with_imports(root / "trackers" / f"{tracker}.py", others)
        paths |= _matching(root, ("**/*.py",)) - _matching(root, _APART) - others
    total = hashlib.sha256()
    for path in [*sorted(paths), *filter(None, [file])]:
        total.update(path.name.encode() if path == file else path.relative_to(root).as_posix().encode())
        if path.suffix == ".toml":
            total.update(repr(tomllib.loads(path.read_text("utf-8"))).encode())
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                del node.body[0]
        total.update(ast.dump(tree).encode())
    return total.hexdigest()[:8]


def _file_of(row: Row) -> Path | None:
    """The file of a tracker that is not part of jtrack."""
    source = inspect.getsourcefile(row.factory)
    own = source is not None and not Path(source).is_relative_to(Path(jtrack.__file__).parent)
    return Path(source) if own and source else None


def _matching(root: Path, patterns: Sequence[str]) -> set[Path]:
    return {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}


def _with_imports(path: Path, among: set[Path]) -> set[Path]:
    """A file, and those of `among` that it imports, directly or through others."""
    found, left = set(), [path]
    while left:
        file = left.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.rpartition(".")[2] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").rpartition(".")[2])
                names.update(alias.name for alias in node.names)
        left += [other for other in among if other.stem in names]
    return found


def draws_nothing(bound: BoundTracker) -> bool:
    """Whether a tracker does not look at its key: then every seed gives the same boxes.

    Traced, not run: `init` is where a tracker gets its key, and keeps what it needs of it.
    """
    config = bound.for_target(_SOME_BOX, _SOME_SIZE)
    leaves, structure = jax.tree.flatten(bound.params)
    shapes = tuple(jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves)
    return _draws_nothing(make_tracker(bound.factory, bound.backbone, config), structure, shapes)


_SOME_SIZE, _SOME_BOX = (128, 128), (40.0, 40.0, 48.0, 48.0)


@functools.lru_cache(maxsize=32)
def _draws_nothing(made: Tracker, structure: Any, shapes: tuple[Any, ...]) -> bool:
    """Settings that differ in numbers alone are traced once."""
    params = jax.tree.unflatten(structure, shapes)
    box = np.array(_SOME_BOX, np.float32)
    frame = Frame(
        jax.ShapeDtypeStruct((*_SOME_SIZE, 3), np.uint8),  # type: ignore[arg-type]
        jax.ShapeDtypeStruct((2,), np.int32),  # type: ignore[arg-type]
    )

    def init(key: Array, params: PyTree, frame: Frame, box: Array) -> PyTree:
        return made.init(params, key, frame, box)

    jaxpr = jax.make_jaxpr(init)(jax.random.key(0), params, frame, box).jaxpr
    used = [*jaxpr.outvars, *(variable for equation in jaxpr.eqns for variable in equation.invars)]
    return all(variable is not jaxpr.invars[0] for variable in used)


class _Stream:
    """One of jtrack's trackers, frame by frame, compiled once a canvas."""

    def __init__(
        self, bound: BoundTracker, params: PyTree, seed: int, ready: set[tuple[Tracker, tuple[int, int]]]
    ) -> None:
        self._bound, self._params, self._key, self._ready = bound, params, jax.random.key(seed), ready
        self._maps = bound.row.response_maps is not None and bound.config.info
        self._run: Executable | None = None
        self._canvas, self._state = (0, 0), None

    def prepare(self, image: np.ndarray, box: np.ndarray) -> None:
        made, canvas = self._made(image, box), canvas_of(image.shape[:2])
        if (made, canvas) not in self._ready:
            self.init(image, box)
            self.update(image)
            self._ready.add((made, canvas))

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        self._canvas = canvas_of(image.shape[:2])
        self._run = executable(self._made(image, box), lanes=False)
        start = np.asarray(box, np.float32)
        self._state = self._run.init(self._params, self._key, to_frame(image, self._canvas), start)
        jax.block_until_ready(self._state)

    def update(self, image: np.ndarray) -> Prediction:
        if self._run is None:
            raise JtrackError("a tracker is asked for its second frame before it was given its first")
        frame = to_frame(image, self._canvas)
        self._state, output, learnt = self._run.watched_step(self._params, self._state, frame)
        box, score, lost, learnt = jax.device_get((output.box, output.score, output.lost, learnt))
        known = None if learnt is None else bool(learnt)
        response = None
        if self._maps:
            response = Response(*jax.device_get((output.info["response"], output.info["window"])))
        return Prediction(np.asarray(box, np.float64), float(score), bool(lost), known, response)

    def _made(self, image: np.ndarray, box: np.ndarray) -> Tracker:
        size = image.shape[:2]
        checked = check_boxes(box, size, inside=False)
        return make_tracker(self._bound.factory, self._bound.backbone, self._bound.for_target(checked, size))


def external(tracker: str) -> EvaluatedTracker:
    """Loads a tracker from elsewhere, `module:NAME` or `file.py:NAME`, **by running its code**.

    Raises:
      JtrackError: the file or module cannot be loaded, or what it names does not fit.
    """
    where, _, name = tracker.rpartition(":")
    module = _load_file(Path(where)) if where.endswith(".py") else _import(where)
    make = getattr(module, name, None)
    if not callable(make):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown_name(f"class or function of {where}", name, public)
    source = Path(module.__file__) if module.__file__ else None
    package = module.__name__.partition(".")[0]
    label = {
        "tracker": name,
        "source": tracker if source is None else source.name,
        "sha256": None if source is None else _sha256(source),
        "release": str(getattr(make, "version", "") or _version(package) or ""),
        "jtrack": jtrack.__version__,
    }
    return _adapted(make, label, {"file": str(source)})


def opencv(name: str, models: Sequence[str | Path] = ()) -> EvaluatedTracker:
    """One of OpenCV's trackers: `mil`; `vit`, which needs its file; `nano`, which needs two (backbone, head).

    MIL takes its random numbers from the clock: no seed repeats its boxes.

    Args:
      name: one of `OPENCV`.
      models: the tracker's files, in the order of `OPENCV`.

    Raises:
      JtrackError: there is no such tracker in this OpenCV, or its files are missing or of no use.
    """
    name = match("tracker of OpenCV", name, OPENCV)
    kind, files = OPENCV[name]
    paths = [Path(model) for model in models]
    if len(paths) != len(files):
        needed = " and ".join(f"--model {file.upper()}.onnx" for file in files) or "none"
        raise JtrackError(f"OpenCV's {name} needs {len(files)} model files, got {len(paths)}: give {needed}")
    for path in paths:
        if not path.is_file():
            raise JtrackError(f"there is no model file {path} for OpenCV's {name}")
    if not hasattr(cv2, f"Tracker{kind}"):
        raise JtrackError(
            f"this OpenCV ({cv2.__version__}) has no tracker {name}: install opencv-python >= 4.10"
        )

    def make() -> External:
        factory = getattr(cv2, f"Tracker{kind}")
        parameters = getattr(cv2, f"Tracker{kind}_Params")()
        for file, path in zip(files, paths, strict=True):
            setattr(parameters, file, str(path))
        try:
            return _OpenCV(factory.create(parameters))
        except cv2.error as error:
            shown = ", ".join(map(str, paths))
            raise JtrackError(f"OpenCV cannot make its tracker {name} of {shown}: {error.err}") from None

    label = {"tracker": f"opencv-{name}", "release": cv2.__version__, "jtrack": jtrack.__version__}
    label |= {file: _sha256(path) for file, path in zip(files, paths, strict=True)}
    return _adapted(make, label, {"models": [str(path) for path in paths]}, deterministic=bool(files))


# Our name -> OpenCV's, and the parameters that name its files.
OPENCV: dict[str, tuple[str, tuple[str, ...]]] = {
    "mil": ("MIL", ()),
    "vit": ("Vit", ("net",)),
    "nano": ("Nano", ("backbone", "neckhead")),
}


class _OpenCV:
    """OpenCV's interface, whose boxes are whole numbers and whose frames are BGR."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def init(self, frame: np.ndarray, box: tuple[float, float, float, float]) -> None:
        x, y, w, h = (round(value) for value in box)
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), (x, y, w, h))

    def update(self, frame: np.ndarray) -> Sequence[float] | None:
        found, box = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        return box if found else None


class _Adapted:
    """A tracker from elsewhere, checked."""

    def __init__(self, make: Callable[[], External]) -> None:
        self._make = make
        self._tracker: External | None = None

    def prepare(self, image: np.ndarray, box: np.ndarray) -> None:
        pass

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        x, y, w, h = check_boxes(box, image.shape[:2], inside=False).tolist()
        self._tracker = self._make()
        self._tracker.init(image, (x, y, w, h))

    def update(self, image: np.ndarray) -> Prediction:
        assert self._tracker is not None
        box = self._tracker.update(image)
        if box is None:
            return Prediction(np.full(4, np.nan), lost=True)
        try:
            said = np.asarray(box, np.float64)
        except (TypeError, ValueError, OverflowError):
            said = np.empty(0)
        if said.shape != (4,):
            raise JtrackError(f"the tracker's update returned {box!r}: needed is a box x, y, w, h, or None")
        if not (np.abs(said) <= FARTHEST).all():  # no box: it would not be read back either
            return Prediction(np.full(4, np.nan), lost=True)
        return Prediction(said, lost=False)


def _adapted(
    make: Callable[..., Any],
    label: dict[str, Any],
    about: dict[str, Any],
    *,
    deterministic: bool | None = None,
) -> EvaluatedTracker:
    """The evaluated tracker of what makes one, which is tried once."""
    label = label | {"code": code_digest()}
    seeded = "seed" in _parameters(make)
    first = make(seed=0) if seeded else make()
    for method in ("init", "update"):
        if not callable(getattr(first, method, None)):
            raise JtrackError(
                f"tracker {label['tracker']} has no method {method}: it needs init(frame, box) and"
                " update(frame)"
            )
    if deterministic is None:
        deterministic = bool(getattr(first, "deterministic", False))

    def start(seed: int) -> Session:
        return _Adapted(lambda: make(seed=seed) if seeded else make())

    return EvaluatedTracker(label, about, deterministic, start)


def _parameters(make: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):  # of a class that is not Python's
        return {}


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise JtrackError(f"there is no file {path} to load a tracker from")
    name = f"jtrack_external_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise JtrackError(f"{path} fails when it is run: {type(error).__name__}: {error}") from error
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise JtrackError(f"cannot import {name} for its tracker: {type(error).__name__}: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
