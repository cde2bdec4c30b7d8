"""The vocabulary of jtrack and its conventions, stated once.

A tracker is a few pure functions over pytrees, as optax writes an optimiser:

    tracker       = jtrack.trackers.hcft.hcft(backbone, config)
    state         = tracker.init(params, key, frame, box)
    state, output = tracker.step(params, state, frame)
    state         = tracker.learn(params, state)        # only when `state.due`; None for HCFT

`jtrack.advance(tracker, params, state, frame)` is the last two together.

Nothing inside is jitted, does I/O, reads a clock or keeps hidden state. Randomness is a `key` carried in
the state. `jtrack.run` decides how a tracker is executed: jit for one stream, vmap over targets and
sequences.

Conventions:
  * An image is (row, column); colours are RGB in 0..255 until a backbone's own preprocessing; a grey video
    is three equal channels.
  * A box is (x, y, w, h) in pixels: x, y of the top-left corner, 0-based and continuous. Pixel (r, c) covers
    [c, c + 1) x [r, r + 1), so its centre is (c + 0.5, r + 0.5). OTB files are 1-based: 1 is subtracted on
    reading and added on writing.
  * Maps from a backbone are NHWC. Correlation-filter spectra are [C, H, W // 2 + 1].
  * Angles are radians, distances pixels.
  * `params = {"backbone": ..., "tracker": ...}` is a plain pytree: `backbone` the weights, shared by
    every target; `tracker` the profile's numeric hyper-parameters as float32 arrays, which can be swept by
    vmap and differentiated without recompiling. What is learnt per target lives in the state.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jtrack.errors import JtrackError, unknown_name

Array = jax.Array
Box = Array  # [..., 4] float32: x, y, w, h
Key = Array  # a typed PRNG key, `jax.random.key(seed)`
PyTree = Any
TrackerParams = dict[str, Any]  # {"backbone": weights, "tracker": hyper-parameters}
# Hyper-parameters: numbers in a profile, arrays in `params["tracker"]`.
Scalar = Any  # a float, or an array ()
Vector = Any  # a tuple of floats, or an array [N]


def floating(*values: Any) -> np.dtype:
    """float64 if one of the arrays is, else float32: what is computed in. Python numbers do not count."""
    double = any(getattr(value, "dtype", None) == np.float64 for value in values)
    return jax.dtypes.canonicalize_dtype(np.float64 if double else np.float32)


class Frame(NamedTuple):
    """One image on a canvas.

    A canvas may be larger than the image, so that videos of nearby sizes share one compilation: the valid
    part is the top-left `size[0]` rows and `size[1]` columns, and nothing outside it is ever read.
    """

    pixels: Array  # [H, W, 3] RGB 0..255; uint8, or float32 when differentiated with respect to it
    size: Array  # [2] int32: height and width of the valid part

    def __repr__(self) -> str:
        return f"Frame(pixels={_brief(self.pixels)}, size={_brief(self.size)})"


class Output(NamedTuple):
    """What every tracker says about a frame."""

    box: Box  # [4] float32
    score: Array  # () float32 in [0, 1]; each tracker says how it is calibrated
    lost: Array  # () bool: the target is believed to be out of view or the box not to be trusted
    info: dict[str, Array]  # the tracker's own diagnostics; empty unless its config asks for them

    def __repr__(self) -> str:
        info = ", ".join(f"{name}: {_brief(value)}" for name, value in self.info.items())
        box, score, lost = _brief(self.box), _brief(self.score), _brief(self.lost)
        return f"Output(box={box}, score={score}, lost={lost}, info={{{info}}})"


class Init(Protocol):
    """Begins with a target."""

    def __call__(self, params: TrackerParams, key: Key, frame: Frame, box: Box, /) -> Any:
        """What is learnt of a target in the first frame.

        Args:
          params: {"backbone": weights, "tracker": hyper-parameters}.
          key: a PRNG key, kept in the state by a tracker that draws.
          frame: the first frame.
          box: [4] x, y, w, h of the target in it.

        Returns:
          The state: a pytree whose shapes and types no step changes.
        """


class Step(Protocol):
    """Follows the target into another frame."""

    def __call__(self, params: TrackerParams, state: Any, frame: Frame, /) -> tuple[Any, Output]:
        """Locates the target, and learns of it what is cheap.

        Args:
          params: as of `Init`.
          state: of the frame before.
          frame: this frame.

        Returns:
          The state, of the same shapes and types, and the output for the frame. Finite on any frame: on a
          hopeless one the last box is kept and `lost` is set.
        """


class Learn(Protocol):
    """Learns what is rare and heavy."""

    def __call__(self, params: TrackerParams, state: Any, /) -> Any:
        """Learns from the samples that `Step` left in the state.

        Args:
          params: as of `Init`.
          state: whose `due` () bool is true. `jtrack.advance` applies `learn` only then.

        Returns:
          The state, of the same shapes and types, with `due` false.
        """


class Tracker(NamedTuple):
    """The pure functions that make a tracker."""

    init: Init
    step: Step
    learn: Learn | None  # None: nothing is ever due

    def __repr__(self) -> str:
        functions = ("init", "step") if self.learn is None else ("init", "step", "learn")
        module = getattr(getattr(self.init, "func", self.init), "__module__", "")
        return f"Tracker({', '.join(functions)} of {module})"


def _brief(value: Any) -> str:
    """A few numbers as they are, another array as its dtype and shape, anything else as Python says it."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return repr(value)
    if math.prod(value.shape) <= 4 and not isinstance(value, jax.core.Tracer):
        try:
            return repr(value.tolist())
        except (AttributeError, RuntimeError):
            pass  # a shape alone, or an array that was donated
    return f"{value.dtype}{list(value.shape)}"


class Profile[C, H](NamedTuple):
    """A named choice: a tracker's structure and its numeric hyper-parameters."""

    config: C  # a frozen dataclass, static under jit
    hyper: H  # a NamedTuple with defaults: floats and tuples of floats

    def replace(self, **changes: Any) -> "Profile[C, H]":
        """The profile with other fields of its config or its hyper-parameters, by their names.

        A field of a part is named after the part and a dot.

        Raises:
          JtrackError: neither has a field of this name, or the config refuses the value.

        Example:
          >>> from jtrack import trackers
          >>> changes = {"candidates": 300, "floor": 0.2, "scale.count": 17}
          >>> changed = trackers.profile("fcnt", "default", "tiny").replace(**changes)
          >>> changed.config.candidates, changed.hyper.floor, changed.config.scale.count
          (300, 0.2, 17)
        """
        config: Any = self.config
        hyper: Any = self.hyper
        whole = _whole_fields("the profile", vars(config) | hyper._asdict(), changes)
        inside = {name: value for name, value in whole.items() if name in vars(config)}
        others = {name: value for name, value in whole.items() if name not in inside}
        return Profile(dataclasses.replace(config, **inside), hyper._replace(**others))


def _whole_fields(called: str, fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of fields alone: those of a part's fields are made in the part, which is changed as a whole."""
    whole: dict[str, Any] = {}
    of_parts: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        part, dot, field = name.partition(".")
        if dot:
            of_parts.setdefault(part, {})[field] = value
        else:
            whole[name] = value
    for name in (*whole, *of_parts):
        if name not in fields:
            raise unknown_name(f"field of {called}", name, sorted(fields))
    for part, inner in of_parts.items():
        old = whole.get(part, fields[part])
        if not dataclasses.is_dataclass(old) or isinstance(old, type):
            raise JtrackError(f"{part} is {old!r}, which has no fields to change: {', '.join(inner)}")
        whole[part] = dataclasses.replace(old, **_whole_fields(part, vars(old), inner))
    return whole


def variant[**P, C, H](
    make: Callable[P, Profile[C, H]], about: str, **changes: Any
) -> Callable[P, Profile[C, H]]:
    """A function that makes another profile: that of `make` with some fields changed.

    Args:
      make: makes the profile.
      about: what the other profile is, in one line.
      **changes: as `Profile.replace` takes them.
    """

    def changed(*args: P.args, **kwargs: P.kwargs) -> Profile[C, H]:
        return make(*args, **kwargs).replace(**changes)

    changed.__doc__ = about
    return changed


def ablations[**P, C, H](
    of: str, make: Callable[P, Profile[C, H]], table: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> dict[str, Callable[P, Profile[C, H]]]:
    """A profile without a part each: functions that make profiles, by their names.

    Args:
      of: the profile's name. The ablations of another than `default` are named after it and a hyphen.
      make: makes it.
      table: name -> what is different, in words, and the changes as `Profile.replace` takes them.
    """
    prefix = "" if of == "default" else f"{of}-"
    return {
        prefix + name: variant(make, f"Ablation of {of}: {about}.", **changes)
        for name, (about, changes) in table.items()
    }


def as_arrays(hyper: Any, dtype: Any = np.float32) -> Any:
    """Makes hyper-parameters what `params["tracker"]` holds: the same NamedTuple of arrays.

    The arrays are NumPy's: this touches no device.

    Args:
      hyper: a NamedTuple of floats and tuples of floats. A tuple has as many as the field's default; where
        that is (), any number.
      dtype: of the arrays.

    Raises:
      JtrackError: one is no number, NaN or too large; or there are too many or too few.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in hyper._asdict().items():
        shape = np.shape(type(hyper)._field_defaults.get(name, value))
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.size and array.dtype.kind not in "iuf":
            raise JtrackError(f"{name} is {value!r}: it must be a number, or several")
        if array.ndim != len(shape) or (shape not in ((0,), array.shape)):
            count = f"{shape[0] or 'several'} numbers" if shape else "one number"
            raise JtrackError(f"{name} is {value!r}: it must be {count}")
        with np.errstate(over="ignore"):
            arrays[name] = array.astype(dtype)
        if not np.array_equal(np.isinf(arrays[name]), np.isinf(array.astype(np.float64))):
            raise JtrackError(f"{name} is {value!r}: it is too large for {np.dtype(dtype).name}")
        if np.isnan(arrays[name]).any():
            raise JtrackError(f"{name} is {value!r}: it must not be NaN")
    return type(hyper)(**arrays)
