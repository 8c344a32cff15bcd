"""Numbers as a page and a JSON file hold them."""

import math
from typing import Any

import numpy as np


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
