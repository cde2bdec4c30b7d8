"""Settings: a profile changed by text, NAME=VALUE, and said as text.

    changed = settings.apply(profile, ["learning_rate=0.02", "scale.count=17"])

A name is that of a hyper-parameter or of a field of the config; one of a part is named after the part and a
dot. The type of the field says what its text is:

    a number, a word, true or false     learning_rate=0.02    localisation=cell    label_noise=false
    several, with commas between        layer_weights=1,0.5,0.2    grid=32,32
    layers that share a filter, with +  layers=relu5_4,relu4_4+relu3_4
    a part, by its class                filters=Primal    cue_range=Stretched
    none, where the field may be None   scale=none
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from types import GenericAlias, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from jtrack.errors import JtrackError, unknown_name
from jtrack.types import Profile, as_arrays

SEPARATORS = ",+"  # of several values, and of several within one of them
# A value that stands alone, and several.
SINGLE = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), str: ("a name", "names")}


def apply(profile: Profile[Any, Any], settings: Iterable[str]) -> Profile[Any, Any]:
    """The profile with some fields changed.

    Args:
      profile: as `trackers.profile` makes it.
      settings: texts NAME=VALUE. A part is set before its fields, whatever their order.

    Raises:
      JtrackError: a text without `=`, a name that is unknown or set twice, a value that the field does not
        take, or values that the config refuses.

    Example:
      >>> from jtrack import settings, trackers
      >>> profile = trackers.profile("hcft", "default", "tiny")
      >>> settings.apply(profile, ["scale.count=17", "update=EveryFrame"]).config.scale
      Pyramid(count=17, step=1.02, size=(24, 24))
    """
    texts: dict[str, str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise JtrackError(f"{setting!r} sets nothing: give NAME=VALUE, such as learning_rate=0.02")
        if name in texts:
            raise JtrackError(f"{name} is set twice, to {texts[name]!r} and to {text!r}: leave one out")
        texts[name] = text
    for depth in sorted({name.count(".") for name in texts}):
        chosen = {name: text for name, text in texts.items() if name.count(".") == depth}
        profile = profile.replace(**{name: parse(profile, name, text) for name, text in chosen.items()})
    return profile


def parse(profile: Profile[Any, Any], name: str, text: str) -> Any:
    """One value of a field, as `Profile.replace` takes it.

    Args:
      profile: whose field it is.
      name: the field's.
      text: the value.

    Raises:
      JtrackError: there is no such field, or it does not take this value.

    Example:
      >>> from jtrack import settings, trackers
      >>> profile = trackers.profile("hcft", "default", "tiny")
      >>> [settings.parse(profile, "learning_rate", text) for text in ("0.005", "0.01")]
      [0.005, 0.01]
    """
    kind, present = _field(profile, name)
    for part in _parts(kind):
        if part.__name__.casefold() == text.casefold():
            return _made(name, part, present)
    try:
        return _value(kind, text)
    except ValueError:
        raise JtrackError(
            f"{name} is {text!r}: it must be {_needed(kind, present) or 'set from Python'}"
        ) from None


def difference(before: Profile[Any, Any], after: Profile[Any, Any]) -> dict[str, str]:
    """What changes one profile into another of the same tracker: name -> text, as `apply` takes them.

    Numbers are compared and said as float32, which trackers compute in.
    """
    old, new = (_values(profile._replace(hyper=as_arrays(profile.hyper))) for profile in (before, after))
    return {field: text for name in new for field, text in _differences(name, old[name], new[name])}


def describe(profile: Profile[Any, Any]) -> dict[str, tuple[str, str]]:
    """All that can be set in a profile: name -> what it is, as text, and what it takes."""
    return {
        name: about
        for field, value in _values(profile).items()
        for name, about in _described(field, value, _kinds(profile)[field])
    }


def _described(name: str, value: Any, kind: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    if needed := _needed(kind, value):
        yield name, (type(value).__name__ if dataclasses.is_dataclass(value) else _text(value), needed)
    if dataclasses.is_dataclass(value):
        for field, inner in vars(value).items():
            yield from _described(f"{name}.{field}", inner, _kinds(value)[field])


def _differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """The settings that make a field what it is: of a part its class, and the fields that are not its own."""
    if not dataclasses.is_dataclass(new):
        if not (np.array_equal(old, new) if isinstance(new, np.ndarray) else old == new):
            yield name, _text(new)
        return
    part: Any = type(new)
    if type(old) is not part:
        yield name, part.__name__
        try:
            old = _made(name, part, old)
        except JtrackError:  # it was made in Python: all that it has is said
            old = None
    for field, value in vars(new).items():
        yield from _differences(f"{name}.{field}", getattr(old, field, ...), value)


def _text(value: Any, separators: str = SEPARATORS) -> str:
    """What `parse` reads as this value."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return _text(value[()])
    if isinstance(value, tuple | np.ndarray):
        return separators[0].join(_text(each, separators[1:]) for each in value)
    if value is None or isinstance(value, bool):
        return str(value).casefold()
    return str(value).removesuffix(".0")


def _values(owner: Any) -> dict[str, Any]:
    """The fields of a profile or a part."""
    if isinstance(owner, Profile):
        return vars(owner.config) | owner.hyper._asdict()
    return vars(owner) if dataclasses.is_dataclass(owner) else {}


def _kinds(owner: Any) -> dict[str, Any]:
    """The types of the fields of a profile or a part."""
    if isinstance(owner, Profile):
        defaults = owner.hyper._asdict() | type(owner.hyper)._field_defaults
        return _kinds(owner.config) | {name: _numbers(np.shape(value)) for name, value in defaults.items()}
    return get_type_hints(type(owner))


def _numbers(shape: tuple[int, ...]) -> Any:
    """The type of a hyper-parameter, by the shape of its default: (0,) is any number of numbers."""
    return GenericAlias(tuple, (float,) * shape[0] or (float, ...)) if shape else float


def _field(profile: Profile[Any, Any], name: str) -> tuple[Any, Any]:
    """The type and the value of a field, perhaps of a part."""
    called, kind, value = "the profile", Any, profile
    for step in name.split("."):
        if not (fields := _values(value)):
            able = [part.__name__ for part in _parts(kind) if dataclasses.fields(part) and _able(part, value)]
            hint = f": set {' or '.join(f'{called}={part}' for part in able)} as well" if able else ""
            raise JtrackError(f"{called} is {_text(value)}, which has no field {step!r}{hint}")
        if step not in fields:
            raise unknown_name(f"field of {called}", step, sorted(fields))
        kind, value = _kinds(value)[step], fields[step]
        called = step if called == "the profile" else f"{called}.{step}"
    return kind, value


def _alternatives(kind: Any) -> list[Any]:
    """The types that a field may be of. None comes first: "none" could be a name as well."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return sorted(kinds, key=lambda each: each is not NoneType)


def _parts(kind: Any) -> list[Any]:
    """The classes of parts that a field may be of."""
    return [each for each in _alternatives(kind) if dataclasses.is_dataclass(each)]


def _able(part: Any, present: Any) -> bool:
    """Whether a part of a class can take the place of what is there."""
    return all(hasattr(present, field) for field in _without_default(part))


def _without_default(part: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(part) if field.default is dataclasses.MISSING]


def _made(name: str, part: Any, present: Any) -> Any:
    """A part of a class; fields that have no default are those of the part that is there."""
    needed = _without_default(part)
    if missing := [field for field in needed if not hasattr(present, field)]:
        raise JtrackError(f"{name} cannot be {part.__name__}, which has no default for {', '.join(missing)}")
    return part(**{field: getattr(present, field) for field in needed})


def _value(kind: Any, text: str, separators: str = SEPARATORS) -> Any:
    """What the text means to a type; a ValueError where it means nothing."""
    for each in _alternatives(kind):
        try:
            return _one_value(each, text, separators)
        except ValueError:
            pass
    raise ValueError(text)


def _one_value(kind: Any, text: str, separators: str) -> Any:
    if get_origin(kind) is tuple:
        texts = text.split(separators[0]) if text else []
        kinds = get_args(kind)
        kinds = kinds[:1] * len(texts) if kinds[1:] == (...,) else kinds
        return tuple(_value(*pair, separators[1:]) for pair in zip(kinds, texts, strict=True))
    if kind in SINGLE and text:
        value = kind(text)
        if not (kind is float and math.isnan(value)):
            return value
    for word, value in _words(kind).items():
        if word == text.casefold():
            return value
    raise ValueError(text)


def _words(kind: Any) -> dict[str, Any]:
    """The words that a type takes, and what each means."""
    if kind is NoneType:
        return {"none": None}
    if kind is bool:
        return {"true": True, "false": False}
    return {word: word for word in get_args(kind)} if get_origin(kind) is Literal else {}


def _needed(kind: Any, present: Any) -> str:
    """What a field takes in place of what is there, as a sentence ends."""
    return " or ".join(each for one in _alternatives(kind) for each in _phrases(one, present))


def _phrases(kind: Any, present: Any) -> Iterable[str]:
    if kind in SINGLE:
        return [SINGLE[kind][0]]
    if get_origin(kind) is not tuple:
        return [*_words(kind), *(part.__name__ for part in _parts(kind) if _able(part, present))]
    first, *others = get_args(kind)
    count = "" if others == [...] else f"{1 + len(others)} "
    nested = get_origin(first) is tuple
    what = SINGLE[get_args(first)[0] if nested else first][1]
    return [f"{count}{what} with commas between" + (", or + in one that is several" if nested else "")]
