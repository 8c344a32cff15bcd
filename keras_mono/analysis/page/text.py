"""Texts and numbers as a page and a JSON file hold them."""

import math
import re
from typing import Any

import numpy as np

# Characters without a picture, and those that turn the direction of what follows.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u2069\ufeff]"
)


def as_text(value: Any) -> str:
    """A value as text that UTF-8 can hold: other bytes are shown as escapes."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def visible(value: Any) -> Any:
    """A text whose hidden characters are shown as escapes; other values unchanged."""
    if type(value) is not str:
        return value
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", as_text(value))


def numbers(values: Any) -> list[Any]:
    """Nested lists of numbers with four significant digits; None if not finite."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return [numbers(v) if isinstance(v, list) else _number(v) for v in values]


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
