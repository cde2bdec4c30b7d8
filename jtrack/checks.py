"""How a tracker's config refuses what it cannot work with: in a sentence, when it is made."""

import dataclasses
import typing
from numbers import Integral
from typing import Any, Literal

from jtrack.errors import JtrackError, unknown_name


def require(condition: bool, sentence: str) -> None:
    """Raises a `JtrackError` with this sentence unless the condition holds."""
    if not condition:
        raise JtrackError(sentence)


def there[T](value: T | None) -> T:
    """What the config says is there: for what it says is not, nobody asks."""
    assert value is not None
    return value


def choices(config: Any) -> None:
    """Refuses a field that is not one of the words its `Literal` type allows, or not one of its parts.

    Raises:
      JtrackError: names the field, what it is and what there is.
    """
    for name, parts in _parts(type(config)).items():
        if not isinstance(getattr(config, name), parts):
            spelt = {type(None): "None", tuple: "(height, width)"}
            able = ", ".join(spelt.get(part, f"{part.__name__}()") for part in parts)
            raise JtrackError(
                f"{name} of {_owner(config)} is {getattr(config, name)!r}: it must be one of {able}"
            )
    for name, allowed in _literals(type(config)).items():
        if getattr(config, name) not in allowed:
            raise unknown_name(f"{name} of {_owner(config)}", str(getattr(config, name)), allowed)


def at_least(least: int, config: Any, *names: str) -> None:
    """Refuses fields that are not whole numbers of at least `least`.

    Raises:
      JtrackError: names the field and its value.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, Integral) or value < least:
            raise JtrackError(
                f"{name} of {_owner(config)} is {value!r}: it must be a whole number of at least {least}"
            )


def size(config: Any, name: str) -> None:
    """Refuses a size that is not two positive whole numbers.

    Raises:
      JtrackError: names the field and its value.
    """
    value = getattr(config, name)
    whole = isinstance(value, tuple) and all(isinstance(side, Integral) and int(side) > 0 for side in value)
    if not whole or len(value) != 2:
        raise JtrackError(
            f"{name} of {_owner(config)} is {value!r}: it must be (height, width) in whole numbers > 0"
        )


def _owner(config: Any) -> str:
    """The tracker that a config is of; a part by its own name."""
    kind = type(config)
    return kind.__module__.rpartition(".")[2] if kind.__name__ == "Config" else kind.__name__


def _parts(kind: Any) -> dict[str, tuple[type, ...]]:
    """The fields that are parts, with the classes that each may be of."""
    hints = typing.get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):
        classes = typing.get_args(hints[field.name]) or (hints[field.name],)
        if any(dataclasses.is_dataclass(each) for each in classes):
            plain = (typing.get_origin(each) or each for each in classes)
            found[field.name] = tuple(each for each in plain if isinstance(each, type))
    return found


def _literals(kind: Any) -> dict[str, tuple[str, ...]]:
    hints = typing.get_type_hints(kind)
    return {
        field.name: typing.get_args(hints[field.name])
        for field in dataclasses.fields(kind)
        if typing.get_origin(hints[field.name]) is Literal
    }
