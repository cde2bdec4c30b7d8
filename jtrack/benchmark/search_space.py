"""Which settings a sweep tries: a grid of values, or random draws.

    space = search_space.parse(profile, ["learning_rate=0.005,0.01", "layer_weights=1,0.5,0.2;1,1,1"])
    search_space.grid(space)     # [("learning_rate=0.005", "layer_weights=1,0.5,0.2"), ...]

What a text gives a field is

    one value, as `jtrack.settings` has it    layer_weights=1,0.5,0.2    scale=none
    values with ; between                     layer_weights=1,0.5,0.2;1,1,1
    values with commas between, where one     learning_rate=0.005,0.01,0.02
    value has none
    a range of numbers, to be drawn from      learning_rate=0.001..0.1

A setting is a tuple of texts NAME=VALUE, as `settings.apply` takes them.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jtrack import settings
from jtrack.errors import JtrackError
from jtrack.types import Profile

BETWEEN = ";"  # values that may have commas themselves
TO = ".."  # between the ends of a range
# Settings of a sweep. Each holds a lock, an open file, of every sequence in work; and the best of very many
# settings on a few dozen sequences says little.
MOST = 256
DIGITS = 4  # significant ones of a number that is drawn: a setting can be typed again

type Setting = tuple[str, ...]


@dataclass(frozen=True)
class Values:
    """Values of a field to be tried."""

    name: str
    texts: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        """One of them."""
        return self.texts[rng.integers(len(self.texts))]


@dataclass(frozen=True)
class Range:
    """Numbers to be drawn from: evenly in their logarithm where both ends are positive, else evenly."""

    name: str
    low: float  # whole numbers, where those alone are drawn
    high: float

    def draw(self, rng: np.random.Generator) -> str:
        """One of them, rounded to four digits."""
        if self.low > 0:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        rounded = round(value) if isinstance(self.low, int) else float(f"{value:.{DIGITS}g}")
        return str(min(max(rounded, self.low), self.high))


type Space = Sequence[Values | Range]


def parse(profile: Profile[Any, Any], texts: Iterable[str]) -> list[Values | Range]:
    """What is to be tried of each field.

    Args:
      profile: whose fields they are.
      texts: NAME=VALUES, each as the module says.

    Raises:
      JtrackError: a text without `=`, a name that is unknown or given twice, a value that the field does not
        take, or a range of what is no number.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise JtrackError(f"{text!r} tries nothing: give NAME=VALUES, such as learning_rate=0.005,0.01")
        if name in given:
            raise JtrackError(f"{name} is given twice: put all its values behind one --set")
        given[name] = values
    space: dict[str, Values | Range] = {}
    for name in sorted(given, key=lambda name: name.count(".")):  # a part before its fields
        space[name] = field = _field(profile, name, given[name])
        if isinstance(field, Values) and any(other.startswith(f"{name}.") for other in given):
            profile = settings.apply(profile, [f"{name}={field.texts[0]}"])
    return [space[name] for name in given]


def grid(space: Space) -> list[Setting]:
    """Every combination of the values; the last field changes fastest.

    Raises:
      JtrackError: there is a range, or there are more than `MOST`.
    """
    for field in space:
        if isinstance(field, Range):
            raise JtrackError(f"{field.name} is a range: say how many settings to draw by --draws N")
    fields = [field for field in space if isinstance(field, Values)]
    count = math.prod(len(field.texts) for field in fields)
    if count > MOST:
        raise JtrackError(f"these are {count} settings, more than {MOST}: draw some of them by --draws N")
    named = [[f"{field.name}={text}" for text in field.texts] for field in fields]
    return list(itertools.product(*named))


def draws(space: Space, count: int, *, seed: int = 0) -> list[Setting]:
    """Random settings, no two the same; each field is drawn by itself.

    Args:
      space: what to draw from.
      count: how many. More of them begin with the same ones.
      seed: of the draw.

    Raises:
      JtrackError: less than one, more than `MOST`, or more than there are; a negative seed.
    """
    if not 1 <= count <= MOST:
        raise JtrackError(f"the number of draws is {count}: give 1 to {MOST}")
    if seed < 0:
        raise JtrackError(f"the seed is {seed}: give 0 or more")
    rng = np.random.default_rng(seed)
    found: dict[Setting, None] = {}
    for _ in range(1000 * count):
        if len(found) == count:
            break
        found[tuple(f"{field.name}={field.draw(rng)}" for field in space)] = None
    if len(found) < count:
        raise JtrackError(f"there are no {count} different settings to draw, only {len(found)}: draw fewer")
    return list(found)


def _field(profile: Profile[Any, Any], name: str, text: str) -> Values | Range:
    if BETWEEN in text:
        return _values(profile, name, text.split(BETWEEN))
    try:
        return _values(profile, name, [text])
    except JtrackError as error:
        refused = error
    if TO in text:
        return _range(profile, name, *text.split(TO, 1))
    first, *others = text.split(",")
    if not others:
        raise refused
    try:
        _values(profile, name, [first])
    except JtrackError:
        raise JtrackError(f"{refused}; put {BETWEEN} between values that have commas themselves") from None
    return _values(profile, name, [first, *others])


def _values(profile: Profile[Any, Any], name: str, texts: Sequence[str]) -> Values:
    for text in texts:
        settings.parse(profile, name, text)  # refuses what the field does not take
    return Values(name, tuple(dict.fromkeys(texts)))


def _range(profile: Profile[Any, Any], name: str, *ends: str) -> Range:
    low, high = (settings.parse(profile, name, end) for end in ends)
    if not all(type(end) in (int, float) and math.isfinite(end) for end in (low, high)):
        raise JtrackError(f"{name} takes no range: it is no number")
    if not low < high:
        raise JtrackError(f"the range of {name} is {TO.join(ends)}: its first end must be the lower one")
    return Range(name, low, high)
