"""What goes into a page that needs no other file: its own assets, data, numbers and pictures as text.

The packages of the extra `report` are imported where a page is filled.
"""

import base64
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from markupsafe import Markup

_LEVELS = 250  # of a value in [0, 1]; what lies above is free to say that there is none
_NONE = 255


def fill(package: str, template: str, values: Mapping[str, Any]) -> str:
    """Fills a template of a package with values, each escaped unless it is `trusted`."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset(package, template)).render(values)


def asset(package: str, name: str) -> "Markup":
    """A package's own file as it stands in a page."""
    return trusted(_asset(package, name))


def trusted(text: str) -> "Markup":
    """Text that stands in the page as it is. All else is escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def json_text(data: Any) -> "Markup":
    """JSON that may stand in a script element, whatever the names in it."""
    return trusted(json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def number(value: float) -> float | None:
    """A number as JSON has it, to six decimals; None where there is none."""
    return round(float(value), 6) if math.isfinite(value) else None


def base64_text(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode("ascii")


def data_url(picture: bytes, kind: str) -> str:
    """A picture's file of a kind, "jpeg" or "png", as an address that holds it."""
    return f"data:image/{kind};base64,{base64_text(picture)}"


def levels(values: np.ndarray) -> str:
    """Values [T] in [0, 1] as bytes, 0 to 250, and 255 for none."""
    known = np.rint(np.clip(np.nan_to_num(values), 0, 1) * _LEVELS)
    return base64_text(np.where(np.isfinite(values), known, _NONE).astype(np.uint8).tobytes())


def _asset(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text("utf-8")
